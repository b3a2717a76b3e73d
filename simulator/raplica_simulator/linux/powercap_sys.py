# SPDX-License-Identifier: Apache-2.0
"""The powercap class: control types, zones and constraints over any set of callbacks.

Mirrors drivers/powercap/powercap_sys.c.  The framework decides which attributes exist, their modes, how values
are printed and parsed, and which errno user space sees; it throws the driver's own errno away.  What a value
means is the business of the callbacks, as in ``powercap_register_zone``.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from errno import EEXIST, EINVAL, ENODATA, ENODEV, ENOMEM, ENOSYS

from raplica_simulator.linux.device import Device, DeviceClass, Uevent
from raplica_simulator.linux.kstrtox import kstrtobool, kstrtoull
from raplica_simulator.linux.sysfs import Sysfs

__all__ = ["ConstraintOps", "ControlType", "ControlTypeOps", "Powercap", "Zone", "ZoneOps"]

_MAX_CONSTRAINTS = 10
_CONSTRAINT_NAME_MAX = 29  # POWERCAP_CONSTRAINT_NAME_LEN - 1; the newline comes on top


@dataclass(frozen=True, slots=True)
class ControlTypeOps:
    """What a control type may answer: ``enabled`` of the control type itself.  Both may be missing."""

    set_enable: Callable[["ControlType", bool], None] | None = None
    get_enable: Callable[["ControlType"], bool] | None = None


@dataclass(frozen=True, slots=True)
class ZoneOps:
    """What a zone answers, in microjoules and microwatts.  An attribute exists when its function does.

    Every function raises OSError to fail; the framework shows its own errno instead.
    """

    get_max_energy_range_uj: Callable[["Zone"], int] | None = None
    get_energy_uj: Callable[["Zone"], int] | None = None
    reset_energy_uj: Callable[["Zone"], None] | None = None
    get_max_power_range_uw: Callable[["Zone"], int] | None = None
    get_power_uw: Callable[["Zone"], int] | None = None
    set_enable: Callable[["Zone", bool], None] | None = None
    get_enable: Callable[["Zone"], bool] | None = None


@dataclass(frozen=True, slots=True)
class ConstraintOps:
    """What the constraints of a zone answer, by constraint number; microwatts and microseconds.

    The first four must be there, even for a zone of no constraints.
    """

    set_power_limit_uw: Callable[["Zone", int, int], None] | None = None
    get_power_limit_uw: Callable[["Zone", int], int] | None = None
    set_time_window_us: Callable[["Zone", int, int], None] | None = None
    get_time_window_us: Callable[["Zone", int], int] | None = None
    get_max_power_uw: Callable[["Zone", int], int] | None = None
    get_min_power_uw: Callable[["Zone", int], int] | None = None
    get_max_time_window_us: Callable[["Zone", int], int] | None = None
    get_min_time_window_us: Callable[["Zone", int], int] | None = None
    get_name: Callable[["Zone", int], str | None] | None = None

    def complete(self) -> bool:
        """Whether the four mandatory functions are there."""
        mandatory = (
            self.set_power_limit_uw,
            self.get_power_limit_uw,
            self.set_time_window_us,
            self.get_time_window_us,
        )
        return None not in mandatory


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
    """The class ``powercap`` of one machine: ``class/powercap`` and ``devices/virtual/powercap``."""

    def __init__(self, sysfs: Sysfs, uevents: list[Uevent]) -> None:
        self.sysfs = sysfs
        self.device_class = DeviceClass(sysfs, "powercap", uevents)
        self.control_types: dict[str, ControlType] = {}

    def register_control_type(self, name: str | None, ops: ControlTypeOps | None = None) -> "ControlType":
        """Mirrors powercap_register_control_type.  EINVAL without a name, EEXIST for one that is taken."""
        if not name:
            raise OSError(EINVAL, "a control type needs a name")
        if name in self.control_types:
            raise OSError(EEXIST, f"control type {name!r} exists")
        control_type = ControlType(self, name, ops or ControlTypeOps())
        self.control_types[name] = control_type
        return control_type

    def unregister_control_type(self, control_type: "ControlType") -> None:
        """Mirrors powercap_unregister_control_type.

        EINVAL while any of its zones is left, ENODEV for one that is not registered.
        """
        if control_type.zone_count:
            raise OSError(EINVAL, "Zones of this type still not freed")
        if not self._has(control_type):
            raise OSError(ENODEV, f"control type {control_type.name!r} is not registered")
        del self.control_types[control_type.name]
        control_type.device.remove()

    def register_zone(
        self,
        control_type: "ControlType",
        name: str | None,
        ops: ZoneOps,
        *,
        parent: "Zone | None" = None,
        constraints: int = 0,
        constraint_ops: ConstraintOps | None,
        driver_data: object = None,
    ) -> "Zone":
        """Mirrors powercap_register_zone; ``driver_data`` is kept in the zone for the callbacks.

        EINVAL for a zone that measures neither energy nor power, for a control type that is not registered, for
        more than 10 constraints and for incomplete constraint functions; ENOMEM for a negative number of
        constraints.
        """
        if name is None or (ops.get_energy_uj is None and ops.get_power_uw is None):
            raise OSError(EINVAL, "a zone needs a name, and energy or power to read")
        if constraints > _MAX_CONSTRAINTS or not self._has(control_type):
            raise OSError(EINVAL, "at most 10 constraints, in a control type that is registered")
        if constraints < 0:
            raise OSError(ENOMEM, "a negative number of constraints")
        if constraint_ops is None or not constraint_ops.complete():
            raise OSError(EINVAL, "all of set/get limit and window are needed")
        return Zone(control_type, name, ops, parent, constraints, constraint_ops, driver_data)

    def _has(self, control_type: "ControlType") -> bool:
        return self.control_types.get(control_type.name) is control_type


@dataclass(slots=True, eq=False)
class ControlType:
    """A control type: a device with ``enabled`` and the top zones."""

    powercap: Powercap
    name: str
    ops: ControlTypeOps
    device: Device = field(init=False)
    ids: _Ids = field(init=False, default_factory=_Ids)
    zone_count: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.device = Device(self.powercap.device_class, self.name)
        self.powercap.sysfs.make_attribute(
            self.device.directory, "enabled", 0o644, self._show_enabled, self._store_enabled
        )
        self.device.announce("add")

    def _show_enabled(self) -> bytes:
        # Without a callback a control type is on (powercap_sys.c enabled_show).
        try:
            on = self.ops.get_enable(self) if self.ops.get_enable else True
        except OSError:
            on = False
        return b"1\n" if on else b"0\n"

    def _store_enabled(self, data: bytes) -> None:
        on = kstrtobool(data)
        try:
            if self.ops.set_enable is None:
                raise OSError(ENOSYS, "no set_enable")
            self.ops.set_enable(self, on)
        except OSError as error:
            raise OSError(ENOSYS, "the driver refused") from error


class Zone:
    """A power zone: a device named ``PARENT:ID`` (ID in hexadecimal) with its monitors and constraints.

    Attributes:
        name: the text of its ``name`` attribute, not of its directory.
        driver_data: what the driver gave at registration.
    """

    def __init__(
        self,
        control_type: ControlType,
        name: str,
        ops: ZoneOps,
        parent: "Zone | None",
        constraints: int,
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
        self._children = 0
        self._registered = True
        self._ids = parent.child_ids if parent else control_type.ids
        self.id = self._ids.take()
        above = parent.device if parent else control_type.device
        try:
            self.device: Device = Device(control_type.powercap.device_class, f"{above.name}:{self.id:x}", above)
        except OSError:
            self._ids.release(self.id)
            raise
        self._make_monitors()
        for number in range(constraints):
            self._make_constraint(number)
        control_type.zone_count += 1
        if parent:
            parent._children += 1  # noqa: SLF001 - a zone keeps its parent's reference count
        self.device.announce("add")

    def unregister(self) -> None:
        """Mirrors powercap_unregister_zone: children are not asked; their directories go with this one."""
        self.control_type.zone_count -= 1
        self.device.remove()
        self._registered = False
        self._release()

    def _release(self) -> None:
        # The id is free again when the last reference is gone, and a child holds one on its parent.
        if not self._registered and not self._children:
            self._ids.release(self.id)
            if self.parent:
                self.parent._children -= 1  # noqa: SLF001
                self.parent._release()  # noqa: SLF001

    def _make_monitors(self) -> None:
        ops = self.ops
        make = self.control_type.powercap.sysfs.make_attribute
        here = self.device.directory
        text = self.name.encode() + b"\n"
        make(here, "name", 0o444, lambda: text)
        make(here, "enabled", 0o644, self._show_enabled, self._store_enabled)
        if ops.get_energy_uj:
            # The counter is root's alone since CVE-2020-8694; it can be written only where it can be reset.
            store = self._store_energy if ops.reset_energy_uj else None
            make(here, "energy_uj", 0o600 if store else 0o400, self._shows(ops.get_energy_uj), store)
        for name, get in (
            ("max_energy_range_uj", ops.get_max_energy_range_uj),
            ("power_uw", ops.get_power_uw),
            ("max_power_range_uw", ops.get_max_power_range_uw),
        ):
            if get:
                make(here, name, 0o444, self._shows(get))

    def _shows(self, get: Callable[["Zone"], int]) -> Callable[[], bytes]:
        """The show function of a monitor: whatever the driver's errno, user space sees EINVAL."""

        def show() -> bytes:
            try:
                value = get(self)
            except OSError as error:
                raise OSError(EINVAL, "the driver could not read it") from error
            return b"%d\n" % (value if value < 1 << 63 else value - (1 << 64))

        return show

    def _store_energy(self, data: bytes) -> None:
        # Only 0 resets; any other number is accepted and does nothing.
        if kstrtoull(data) == 0 and self.ops.reset_energy_uj:
            try:
                self.ops.reset_energy_uj(self)
            except OSError as error:
                raise OSError(EINVAL, "the driver could not reset it") from error

    def _show_enabled(self) -> bytes:
        try:
            on = self.ops.get_enable(self) if self.ops.get_enable else True
        except OSError:
            on = False
        return b"1\n" if on else b"0\n"

    def _store_enabled(self, data: bytes) -> None:
        on = kstrtobool(data)
        try:
            if self.ops.set_enable is None:
                raise OSError(ENOSYS, "no set_enable")
            self.ops.set_enable(self, on)
        except OSError as error:
            raise OSError(ENOSYS, "the driver refused") from error

    def _make_constraint(self, number: int) -> None:
        ops = self.constraint_ops
        make = self.control_type.powercap.sysfs.make_attribute
        here = self.device.directory
        prefix = f"constraint_{number}_"
        for name, get, put in (
            ("power_limit_uw", ops.get_power_limit_uw, ops.set_power_limit_uw),
            ("time_window_us", ops.get_time_window_us, ops.set_time_window_us),
        ):
            # Registration refuses a zone that lacks any of these.
            if get and put:
                make(here, prefix + name, 0o644, self._constraint_shows(get, number), self._stores(put, number))
        for name, optional in (
            ("max_power_uw", ops.get_max_power_uw),
            ("min_power_uw", ops.get_min_power_uw),
            ("max_time_window_us", ops.get_max_time_window_us),
            ("min_time_window_us", ops.get_min_time_window_us),
        ):
            if optional:
                make(here, prefix + name, 0o444, self._constraint_shows(optional, number))
        if ops.get_name:
            make(here, prefix + "name", 0o444, self._shows_name(ops.get_name, number))

    def _constraint_shows(self, get: Callable[["Zone", int], int], number: int) -> Callable[[], bytes]:
        def show() -> bytes:
            try:
                value = get(self, number)
            except OSError as error:
                raise OSError(ENODATA, "the driver could not read it") from error
            return b"%d\n" % (value if value < 1 << 63 else value - (1 << 64))

        return show

    def _stores(self, put: Callable[["Zone", int, int], None], number: int) -> Callable[[bytes], None]:
        def store(data: bytes) -> None:
            value = kstrtoull(data)
            try:
                put(self, number, value)
            except OSError as error:
                raise OSError(ENODATA, "the driver refused") from error

        return store

    def _shows_name(self, get: Callable[["Zone", int], str | None], number: int) -> Callable[[], bytes]:
        def show() -> bytes:
            name = get(self, number)
            if name is None:
                raise OSError(ENODATA, "the driver has no name for it")
            return name.encode()[:_CONSTRAINT_NAME_MAX] + b"\n"

        return show
