# SPDX-License-Identifier: Apache-2.0
"""The MMIO interface of the RAPL driver: a second set of limits for package 0, in the host bridge's memory.

Mirrors drivers/thermal/intel/int340x_thermal/processor_thermal_rapl.c.  The registers have the layout of the MSRs.
Linux 6.1 lets the package follow its processors and knows no PL4; 6.12 registers package 0 once and for all, without
a processor that leads it.  From 7.1 on it knows its own fields and arithmetic and works on any processor.
"""

import os
from errno import EINVAL, ENODEV

from raplica_simulator.hardware.words import WordSpace
from raplica_simulator.linux.intel_rapl_common import RaplCommon
from raplica_simulator.linux.rapl_domain import RaplInterface, RaplPackage
from raplica_simulator.linux.rapl_hotplug import CpuFollower, HotplugSlots
from raplica_simulator.linux.rapl_models import RaplDefaults
from raplica_simulator.linux.rapl_primitives import RegisterKind, mmio_primitives

__all__ = ["MmioDriver"]

_UNIT = 0x5938
_PEAK_POWER_REGISTER = 0x59B0
_PACKAGE = {
    RegisterKind.LIMIT: 0x59A0,
    RegisterKind.STATUS: 0x593C,
    RegisterKind.PERF: 0x58F0,
    RegisterKind.INFO: 0x5930,
}
_DRAM = {RegisterKind.LIMIT: 0x58E0, RegisterKind.STATUS: 0x58E8, RegisterKind.PERF: 0x58EC}


class MmioDriver:
    """processor_thermal_rapl once the thermal device has called it."""

    def __init__(self, common: RaplCommon, slots: HotplugSlots, mmio: WordSpace) -> None:
        """Register the control type and package 0 (proc_thermal_rapl_add).

        OSError: EEXIST where somebody else has the control type, ENODEV where the package fails or, before 7.1, the
        processor is not listed.
        """
        self._common = common
        self._slots = slots
        self._control_type = common.powercap.register_control_type("intel-rapl-mmio")
        self._follower: CpuFollower | None = None
        self._package: RaplPackage | None = None
        try:
            self._add_package(mmio)
        except OSError:
            self.abandon()
            raise

    def _add_package(self, mmio: WordSpace) -> None:
        common = self._common
        # That nobody knows how to treat the processor is noticed when the control type is there already.
        if common.mmio_defaults is None:
            raise OSError(ENODEV, os.strerror(ENODEV))
        interface = _interface(common, common.mmio_defaults, mmio)
        interface.control_type = self._control_type
        if common.kernel.mmio_follows_cpus:
            cpus = common.topology.cpus
            self._follower = CpuFollower(common, interface, lambda cpu: cpus[cpu].package == 0)
            self._slots.add(self._follower)
        else:
            self._package = common.add_package(interface, 0)

    def remove(self) -> None:
        """Take package 0 away, then the control type (proc_thermal_rapl_remove)."""
        if self._follower is not None:
            self._slots.remove(self._follower)
        if self._package is not None:
            self._common.remove_package(self._package)
        self.abandon()

    def abandon(self) -> None:
        """Take the control type away; no package of it is left."""
        self._common.drop_control_type(self._control_type)


def _interface(common: RaplCommon, defaults: RaplDefaults, mmio: WordSpace) -> RaplInterface:
    peak_power = common.kernel.mmio_has_peak_power
    package = _PACKAGE | ({RegisterKind.PL4: _PEAK_POWER_REGISTER} if peak_power else {})

    def read(reader: int, register: int, mask: int) -> int:
        if not register:
            raise OSError(EINVAL, "no such register in MMIO")
        return mmio.driver_read(0, reader, register, mask)

    def write(reader: int, register: int, mask: int, bits: int) -> None:
        if not register:
            raise OSError(EINVAL, "no such register in MMIO")
        mmio.driver_write(0, reader, register, mask, bits)

    return RaplInterface(
        registers={"package": package, "core": {}, "uncore": {}, "dram": dict(_DRAM), "psys": {}},
        limits={"package": (1, 2, 4) if peak_power else (1, 2), "dram": (1, 2)},
        unit_register=_UNIT,
        read=read,
        write=write,
        primitives=mmio_primitives(common.kernel),
        defaults=defaults,
        state=common.state,
    )
