# SPDX-License-Identifier: Apache-2.0
"""The TPMI interface of the RAPL driver: servers from Granite Rapids on, one device for each package.

Mirrors drivers/powercap/intel_rapl_tpmi.c (Linux 6.5 and later).  A device is a row of domains of 128 bytes; the
header of each says what it is and which registers it has.  Newer kernels read the units as they read the headers: past
the accessors, with no access logged and no fault seen.  All devices share the control type ``intel-rapl``, which they
cannot have where the MSR interface came first.
"""

import os
from errno import EEXIST, EINVAL, ENODEV

from raplica_simulator.hardware.words import WordSpace
from raplica_simulator.linux.intel_rapl_common import RaplCommon
from raplica_simulator.linux.powercap_sys import ControlType
from raplica_simulator.linux.rapl_domain import RaplInterface, RaplPackage
from raplica_simulator.linux.rapl_models import RaplDefaults
from raplica_simulator.linux.rapl_primitives import TPMI_PRIMITIVES, RegisterKind

__all__ = ["TpmiDriver"]

_DOMAIN_SIZE = 128
_INVALID_VERSION = 0xFF
_DOMAINS = {1: "psys", 2: "package", 4: "dram"}
_SYSTEM = 1
_DOMAIN_INFO = 10
# By the number of a register, which is also that of its presence flag.
_REGISTERS = {
    1: RegisterKind.UNIT,
    2: RegisterKind.LIMIT,
    3: RegisterKind.PL2,
    5: RegisterKind.PL4,
    7: RegisterKind.STATUS,
    8: RegisterKind.PERF,
    9: RegisterKind.INFO,
}
_LIMITS = {2: 1, 3: 2, 5: 4}
_MANDATORY = (1, 7)
# The units are the interface's own affair and no processor's.
_DEFAULTS = RaplDefaults(style="tpmi")


class TpmiDriver:
    """intel_rapl_tpmi while it is loaded."""

    def __init__(self, common: RaplCommon, tpmi: WordSpace) -> None:
        self._common = common
        self._tpmi = tpmi
        self._control_type: ControlType | None = None
        self._packages: dict[int, RaplPackage] = {}

    @property
    def bound(self) -> tuple[int, ...]:
        """The packages whose device it drives, in the order in which they came."""
        return tuple(self._packages)

    def probe(self, package: int) -> None:
        """A package's device is there: register its domains (intel_rapl_tpmi_probe).

        OSError: EEXIST where somebody else has the control type or the package is there already, EINVAL and ENODEV
        for a layout that the driver does not take, ENODEV without domains.
        """
        if self._control_type is None:
            self._control_type = self._common.powercap.register_control_type("intel-rapl")
        try:
            interface = self._read_layout(package)
            interface.control_type = self._control_type
            if self._common.find_package(interface, package) is not None:
                raise OSError(EEXIST, os.strerror(EEXIST))
            self._packages[package] = self._common.add_package(interface, package)
        finally:
            self._release()

    def remove(self, package: int) -> None:
        """A package's device goes; nothing happens where it is not driven."""
        found = self._packages.pop(package, None)
        if found is not None:
            self._common.remove_package(found)
            self._release()

    def abandon(self) -> None:
        """Forget every device; their packages are gone."""
        self._packages.clear()
        self._release()

    def _release(self) -> None:
        """Take the control type away with the last device."""
        if self._control_type is not None and not self._packages:
            self._common.drop_control_type(self._control_type)
            self._control_type = None

    def _read_layout(self, package: int) -> RaplInterface:
        """What the headers of a device say; they are read past the register accesses that are counted."""
        interface = self._interface(package)
        size = max(self._tpmi.addresses(package), default=-1) + 1
        for base in range(0, size, _DOMAIN_SIZE):
            self._read_domain(interface, package, base)
        return interface

    def _read_domain(self, interface: RaplInterface, package: int, base: int) -> None:
        """One header (parse_one_domain).  OSError: ENODEV for a version, EINVAL for anything else that is wrong."""
        header = self._tpmi.content(base, package) or 0
        version, kind, size, flags = header & 0xFF, header >> 8 & 0xFF, header >> 16 & 0xFF, header >> 32 & 0xFFFF
        if version == _INVALID_VERSION or version >> 5:
            raise OSError(ENODEV, f"TPMI version {version:#x} is not supported")
        present = {number for number in range(1, 15) if flags >> number & 1}
        if size != 1 or not present.issuperset(_MANDATORY) or kind not in _DOMAINS:
            raise OSError(EINVAL, "the TPMI header has another size, lacks a register, or is of an unknown type")
        if kind == _SYSTEM:
            if _DOMAIN_INFO not in present:
                raise OSError(EINVAL, "the TPMI system domain lacks its domain information")
            if not (self._tpmi.content(base + 8 * _DOMAIN_INFO, package) or 0) & 1:
                return  # another package's system domain is the root
        name = _DOMAINS[kind]
        if interface.registers[name]:
            raise OSError(EINVAL, "the TPMI has two domains of one type")
        registers = {kind: base + 8 * number for number, kind in _REGISTERS.items() if number in present}
        interface.registers[name].update(registers)
        # PL1 is taken to be there whatever the flags say; its register then is not.
        interface.limits[name] = tuple(limit for number, limit in _LIMITS.items() if number in present or limit == 1)

    def _interface(self, package: int) -> RaplInterface:
        tpmi = self._tpmi

        def read(reader: int, register: int, mask: int) -> int:
            if not register:
                raise OSError(EINVAL, "no such register in TPMI")
            return tpmi.driver_read(package, reader, register, mask)

        def write(reader: int, register: int, mask: int, bits: int) -> None:
            if not register:
                raise OSError(EINVAL, "no such register in TPMI")
            tpmi.driver_write(package, reader, register, mask, bits)

        def read_units(_: int, register: int) -> int:
            return tpmi.content(register, package) or 0

        return RaplInterface(
            registers={"package": {}, "core": {}, "uncore": {}, "dram": {}, "psys": {}},
            limits={},
            unit_register=0,
            read=read,
            write=write,
            primitives=TPMI_PRIMITIVES,
            defaults=_DEFAULTS,
            state=self._common.state,
            read_units=read_units if self._common.kernel.tpmi_reads_units_itself else None,
        )
