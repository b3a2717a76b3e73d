# SPDX-License-Identifier: Apache-2.0
"""The powercap class: registering control types and zones, and taking them out again.

Mirrors drivers/powercap/powercap_sys.c (powercap_register_control_type, powercap_register_zone and their opposites) as
it is, its odd corners too: children are not asked when a zone goes, a zone is counted where the caller says it was,
and a parent may belong to another control type.  What the functions behind a zone are is in powercap_ops.py, what they
look like from user space in powercap_attributes.py.
"""

from __future__ import annotations

from contextlib import suppress
from errno import EEXIST, EINVAL, ENODEV, ENOMEM

from raplica_simulator.linux.device import Device, DeviceClass, Uevent
from raplica_simulator.linux.kernel import Kernel
from raplica_simulator.linux.powercap_attributes import make_constraint, make_enabled, make_monitors
from raplica_simulator.linux.powercap_ops import ConstraintOps, ControlTypeOps, ZoneOps
from raplica_simulator.linux.sysfs import Sysfs

__all__ = ["ConstraintOps", "ControlType", "ControlTypeOps", "Powercap", "Zone", "ZoneOps"]

_MAX_CONSTRAINTS = 10  # MAX_CONSTRAINTS_PER_ZONE


class _Ids:
    """Hands out the lowest free number, as an idr does."""

    def __init__(self) -> None:
        self._taken: set[int] = set()

    def take(self) -> int:
        number = 0
        while number in self._taken:
            number += 1
        self._taken.add(number)
        return number

    def release(self, number: int) -> None:
        self._taken.discard(number)


class Powercap:
    """The class ``powercap`` of one machine: ``class/powercap`` and ``devices/virtual/powercap``.

    Attributes:
        control_types: those that are registered, by name.
    """

    def __init__(self, sysfs: Sysfs, uevents: list[Uevent], kernel: Kernel) -> None:
        self.sysfs = sysfs
        self.kernel = kernel
        self.device_class = DeviceClass(sysfs, "powercap", uevents)
        self.control_types: dict[str, ControlType] = {}

    def register_control_type(
        self, name: str | None, ops: ControlTypeOps | None = None, *, caller_owned: bool = False
    ) -> ControlType:
        """Add a control type (powercap_register_control_type).

        ``caller_owned`` stands for memory that the caller brought along.  OSError: EINVAL without a name, with an
        empty one, and for memory of the caller's own without ``ops.release``; EEXIST where the name is taken by
        another control type or by the directory of a zone ("intel-rapl:0").
        """
        if name is None:
            raise OSError(EINVAL, "a control type needs a name")
        if caller_owned and (ops is None or ops.release is None):
            raise OSError(EINVAL, "memory of the caller's own needs ops.release")
        control_type = ControlType(self, name, ops or ControlTypeOps())
        try:
            control_type.device.add()
        except FileExistsError:
            raise OSError(EEXIST, f"control type {name!r} exists") from None
        ops = control_type.ops
        make_enabled(self.sysfs, control_type.device.directory, control_type, ops.get_enable, ops.set_enable)
        self.control_types[name] = control_type
        control_type.device.announce("add")
        return control_type

    def unregister_control_type(self, control_type: ControlType) -> None:
        """Take a control type out (powercap_unregister_control_type).

        OSError: EINVAL while its count of zones is not 0, ENODEV for one that is not registered.
        """
        if control_type.zone_count:
            raise OSError(EINVAL, "Zones of this type still not freed")
        if not self._has(control_type):
            raise OSError(ENODEV, f"control type {control_type.name!r} is not registered")
        del self.control_types[control_type.name]
        control_type.device.remove()

    def register_zone(
        self,
        control_type: ControlType | None,
        name: str | None,
        ops: ZoneOps | None,
        *,
        parent: Zone | None = None,
        constraints: int = 0,
        constraint_ops: ConstraintOps | None = None,
        driver_data: object = None,
        caller_owned: bool = False,
    ) -> Zone:
        """Add a zone below a control type, or below another zone (powercap_register_zone).

        ``driver_data`` is kept in the zone for the functions in ``ops``.  OSError: EINVAL where the control type, the
        name, ``ops`` or any of the four constraint functions is missing (even for no constraint), for a zone that
        measures neither energy nor power, a control type that is not registered, more than 10 constraints, and memory
        of the caller's own without ``ops.release``; ENOMEM for a negative number of constraints; ENOENT below a zone
        that has gone; EEXIST where a control type has the name of the zone's directory.
        """
        if name is None or ops is None or (ops.get_energy_uj is None and ops.get_power_uw is None):
            raise OSError(EINVAL, "a zone needs a name, and energy or power to read")
        if constraints > _MAX_CONSTRAINTS or control_type is None or not self._has(control_type):
            raise OSError(EINVAL, "at most 10 constraints, in a control type that is registered")
        if caller_owned and ops.release is None:
            raise OSError(EINVAL, "memory of the caller's own needs ops.release")
        if constraints < 0:
            raise OSError(ENOMEM, "a negative number of constraints")
        if constraint_ops is None or not constraint_ops.complete():
            raise OSError(EINVAL, "all of set/get limit and window are needed")
        if parent and parent.device.is_released:
            raise ValueError(f"zone {parent.device.name} has gone, and what the kernel knew of it")
        zone = Zone(control_type, name, ops, parent, constraint_ops, driver_data)
        zone.device.add()
        here = zone.device.directory
        make_enabled(self.sysfs, here, zone, ops.get_enable, ops.set_enable)
        make_monitors(self.sysfs, here, zone, self.kernel)
        for number in range(constraints):
            make_constraint(self.sysfs, here, zone, number, self.kernel)
        control_type.zone_count += 1
        zone.device.announce("add")
        return zone

    def unregister_zone(self, control_type: ControlType | None, zone: Zone | None) -> None:
        """Take a zone out (powercap_unregister_zone): it is one less for ``control_type``, whosever it is.

        Children are not asked; their directories go with this one.  OSError(EINVAL) without a control type or a
        zone; ValueError for a zone that is out already, whose memory the kernel would trip over.
        """
        if zone is None or control_type is None:
            raise OSError(EINVAL, "a zone and a control type are needed")
        if not zone.device.added:
            raise ValueError(f"zone {zone.device.name} has been unregistered already")
        control_type.zone_count -= 1
        zone.device.remove()

    def _has(self, control_type: ControlType) -> bool:
        return self.control_types.get(control_type.name) is control_type


class ControlType:
    """A control type: a device with ``enabled`` and the top zones; made by `Powercap.register_control_type`.

    Attributes:
        zone_count: how many zones were registered with it and not unregistered from it; can be below 0.
    """

    def __init__(self, powercap: Powercap, name: str, ops: ControlTypeOps) -> None:
        self.powercap = powercap
        self.name = name
        self.ops = ops
        self.ids = _Ids()
        self.zone_count = 0
        self.device: Device = Device(powercap.device_class, name, None, self._release)

    def __repr__(self) -> str:
        return f"<ControlType {self.name}>"

    def _release(self) -> None:
        if self.ops.release:
            # Whatever it says: nobody looks.
            with suppress(OSError):
                self.ops.release(self)


class Zone:
    """A power zone: a device named ``PARENT:ID`` (ID in hexadecimal); made by `Powercap.register_zone`.

    Attributes:
        name: the text of its ``name`` attribute, not of its directory.
        driver_data: what the driver gave at registration.
    """

    def __init__(
        self,
        control_type: ControlType,
        name: str,
        ops: ZoneOps,
        parent: Zone | None,
        constraint_ops: ConstraintOps,
        driver_data: object,
    ) -> None:
        self.control_type = control_type
        self.name = name
        self.ops = ops
        self.parent = parent
        self.constraint_ops = constraint_ops
        self.driver_data = driver_data
        self.child_ids = _Ids()
        self._ids = parent.child_ids if parent else control_type.ids
        self.id = self._ids.take()
        above = parent.device if parent else control_type.device
        name = f"{above.name}:{self.id:x}"
        self.device: Device = Device(control_type.powercap.device_class, name, above, self._release)

    def __repr__(self) -> str:
        return f"<Zone {self.device.name} {self.name!r}>"

    def unregister(self) -> None:
        """Take it out of its control type; see `Powercap.unregister_zone`."""
        self.control_type.powercap.unregister_zone(self.control_type, self)

    def _release(self) -> None:
        # The id is free again when the last reference is gone, and a child holds one on its parent.
        self._ids.release(self.id)
        if self.ops.release:
            # Whatever it says: nobody looks.
            with suppress(OSError):
                self.ops.release(self)
