# SPDX-License-Identifier: Apache-2.0
"""The MSR interface of the RAPL driver: register numbers, and the device that it is bound to.

Mirrors drivers/powercap/intel_rapl_msr.c.  Its packages follow the processors; one package that fails rolls all of
them back.
"""

import os
from contextlib import suppress
from errno import ENODEV

from raplica_simulator.hardware.msr import RegisterFile
from raplica_simulator.hardware.registers import CpuId
from raplica_simulator.linux.intel_rapl_common import RaplCommon
from raplica_simulator.linux.powercap_sys import Zone
from raplica_simulator.linux.rapl_domain import RaplInterface
from raplica_simulator.linux.rapl_hotplug import CpuFollower, HotplugSlots
from raplica_simulator.linux.rapl_models import RaplDefaults, has_peak_power, is_amd
from raplica_simulator.linux.rapl_primitives import RegisterKind, msr_primitives

__all__ = ["MsrDriver"]

_KINDS = (RegisterKind.LIMIT, RegisterKind.STATUS, RegisterKind.PERF, RegisterKind.POLICY, RegisterKind.INFO)

# Per domain: limit, status, perf, policy, info.
_INTEL_REGISTERS = {
    "package": (0x610, 0x611, 0x613, 0, 0x614),
    "core": (0x638, 0x639, 0, 0x63A, 0),
    "uncore": (0x640, 0x641, 0, 0x642, 0),
    "dram": (0x618, 0x619, 0x61B, 0, 0x61C),
    "psys": (0x65C, 0x64D, 0, 0, 0),
}
_INTEL_UNIT = 0x606
_PEAK_POWER_REGISTER = 0x601

_AMD_REGISTERS = {
    "package": (0, 0xC001029B, 0, 0, 0),
    "core": (0, 0xC001029A, 0, 0, 0),
    "uncore": (0, 0, 0, 0, 0),
    "dram": (0, 0, 0, 0, 0),
    "psys": (0, 0, 0, 0, 0),
}
_AMD_UNIT = 0xC0010299


class MsrDriver:
    """intel_rapl_msr while it is bound to its device."""

    def __init__(self, common: RaplCommon, slots: HotplugSlots, msr: RegisterFile, cpu: CpuId) -> None:
        """Register the control type and every package.

        OSError: ENODEV for a processor that the driver does not list and where a package has no domains, EEXIST where
        somebody else has the control type or the name of a zone.
        """
        if common.defaults is None:
            raise OSError(ENODEV, os.strerror(ENODEV))
        self._common = common
        self._slots = slots
        self._interface = _interface(common, common.defaults, msr, cpu)
        self._control_type = common.powercap.register_control_type("intel-rapl")
        self._interface.control_type = self._control_type
        self._psys: Zone | None = None
        self._follower = CpuFollower(common, self._interface)
        try:
            slots.add(self._follower)
        except OSError:
            self.abandon()
            raise
        # Before 6.0 psys is the machine's, and comes when all packages are there.
        if not common.kernel.psys_per_package:
            with suppress(OSError):
                self._psys = common.add_platform(self._interface)

    def remove(self) -> None:
        """Unbind it: its packages go, then its control type."""
        self._slots.remove(self._follower)
        self.abandon()

    def abandon(self) -> None:
        """Take the control type away; no package of it is left."""
        if self._psys is not None:
            self._psys.unregister()
            self._psys = None
        self._common.drop_control_type(self._control_type)


def _interface(common: RaplCommon, defaults: RaplDefaults, msr: RegisterFile, cpu: CpuId) -> RaplInterface:
    amd = is_amd(cpu)
    table = _AMD_REGISTERS if amd else _INTEL_REGISTERS
    registers = {name: dict(zip(_KINDS, numbers, strict=True)) for name, numbers in table.items()}
    limits: dict[str, tuple[int, ...]] = {} if amd else {"package": (1, 2), "psys": (1, 2)}
    if has_peak_power(cpu, common.kernel):
        limits["package"] = (1, 2, 4)
        registers["package"][RegisterKind.PL4] = _PEAK_POWER_REGISTER
    return RaplInterface(
        registers=registers,
        limits=limits,
        unit_register=_AMD_UNIT if amd else _INTEL_UNIT,
        read=msr.driver_read,
        write=msr.driver_write,
        primitives=msr_primitives(common.kernel),
        defaults=defaults,
        state=common.state,
    )
