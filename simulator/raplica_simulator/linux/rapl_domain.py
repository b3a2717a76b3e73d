# SPDX-License-Identifier: Apache-2.0
"""A RAPL package and its domains, and how the driver gets at a field of theirs.

Mirrors ``struct rapl_package``, ``struct rapl_domain``, rapl_read_data_raw and rapl_write_data_raw of
drivers/powercap/intel_rapl_common.c.  A field that a domain does not have is EINVAL without any access; a
register that faults is EIO.  Both disappear in powercap_sys.py, but which accesses were made does not.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from errno import EACCES, EINVAL

from raplica_simulator.linux.kernel import Kernel, KernelCrash
from raplica_simulator.linux.powercap_sys import Zone
from raplica_simulator.linux.rapl_models import RaplDefaults
from raplica_simulator.linux.rapl_primitives import (
    LIMIT_PRIMITIVES,
    PRIMITIVES,
    PSYS_FIXUPS,
    Primitive,
    RegisterKind,
    Unit,
)
from raplica_simulator.linux.rapl_units import RaplUnits, atom_units, core_units

__all__ = ["DOMAIN_NAMES", "RaplDomain", "RaplInterface", "RaplPackage"]

_U64 = (1 << 64) - 1

# In the order of enum rapl_domain_type, which is the order of everything the driver does.
DOMAIN_NAMES = ("package", "core", "uncore", "dram", "psys")

_NO_UNITS = RaplUnits(energy_unit_nj=0, power_unit_uw=0, time_unit_us=0, style="core")


@dataclass(slots=True, eq=False)
class RaplInterface:
    """The way to the registers (``struct rapl_if_priv``).

    Attributes:
        control_type: the name of the control type.
        unit_register: the address of the unit register.
        registers: per domain, the addresses by :class:`RegisterKind`; 0 where there is none.
        limits: per domain, the power limits (1, 2, 4) that it is declared to have.
        read: ``read(cpu, register, mask)`` gives the masked bits or raises OSError(EIO).
        write: ``write(cpu, register, mask, bits)`` replaces them in one read-modify-write.
        lock_bit: which bit the one lock primitive of kernels before 6.5 tests.  It lives with the module and
            moves for good from 31 to 63 when a domain of exactly two limits is looked at.
        floor_freq_word: the power unit's word that the floor-frequency hook of Atom chips found when it was
            first called, 0 before.  It lives with the module, too.
    """

    control_type: str
    unit_register: int
    registers: dict[str, tuple[int, int, int, int, int, int]]
    limits: dict[str, tuple[int, ...]]
    read: Callable[[int, int, int], int]
    write: Callable[[int, int, int, int], None]
    lock_bit: int = 31
    floor_freq_word: int = 0


@dataclass(slots=True, eq=False)
class RaplPackage:
    """One package object: a die on Intel, a physical package on AMD with newer kernels.

    Attributes:
        id: what the driver knows it by; psys is called ``psys-N`` where this is above 0.
        name: the name of its zone.
        physical_id: the physical package, the N of ``psys-N``.
        cpus: its online processors.
        lead_cpu: the one that executes every access.
        saved_pln: the PLN interrupt enable before the first limit write, None while nothing is saved.
    """

    id: int
    name: str
    physical_id: int
    cpus: set[int]
    lead_cpu: int
    domains: "list[RaplDomain]" = field(default_factory=list)
    zone: Zone | None = None
    saved_pln: int | None = None


class RaplDomain:
    """One domain of a package: its registers, units, power limits and locks.

    Attributes:
        name: package, core, uncore, dram or psys.
        limits: the power limits that exist, ascending; set by detection.
        locked: those that the BIOS has locked (kernels from 6.5).
        bios_locked: the one flag of older kernels.
        saved_limits_uw: what suspend found, by power limit.
    """

    __slots__ = (
        "_defaults",
        "_interface",
        "_kernel",
        "bios_locked",
        "declared",
        "limits",
        "locked",
        "name",
        "package",
        "registers",
        "saved_limits_uw",
        "units",
        "zone",
    )

    def __init__(
        self, package: RaplPackage, name: str, interface: RaplInterface, defaults: RaplDefaults, kernel: Kernel
    ) -> None:
        self.package = package
        self.name = name
        self._interface = interface
        self._defaults = defaults
        self._kernel = kernel
        self.registers = interface.registers[name]
        # Every domain is taken to have PL1 until its register says otherwise.
        self.declared = interface.limits.get(name, (1,))
        self.limits = self.declared
        self.locked: set[int] = set()
        self.bios_locked = False
        self.units = _NO_UNITS
        self.saved_limits_uw: dict[int, int] = {}
        self.zone: Zone | None = None

    # Fields.

    def read(self, primitive: str, *, translate: bool = True) -> int:
        """A field, in powercap's units or (``translate=False``) raw.  EINVAL where there is none, EIO on a fault."""
        found = self._primitive(primitive)
        register = self.registers[found.kind]
        if not register:
            raise OSError(EINVAL, "the domain has no such register")
        if primitive == "fw_lock" and not self._kernel.per_limit_locks:
            found = self._moving_lock()
        bits = self._interface.read(self.package.lead_cpu, register, found.mask)
        value = bits >> found.shift
        return self._from_raw(found.unit, value) if translate else value

    def write(self, primitive: str, value: int) -> None:
        """Put ``value`` (in powercap's units) into a field.  A register number of 0 is not checked here."""
        found = self._primitive(primitive)
        bits = (self._to_raw(found.unit, value) << found.shift) & found.mask
        self._interface.write(self.package.lead_cpu, self.registers[found.kind], found.mask, bits)

    def _primitive(self, name: str) -> Primitive:
        if self._defaults.wide_psys and self.name == "psys":
            name = PSYS_FIXUPS.get(name, name)
        return PRIMITIVES[name]

    def _moving_lock(self) -> Primitive:
        """The lock primitive of kernels before 6.5, which is changed in place and never put back."""
        if len(self.declared) == 2:
            self._interface.lock_bit = 63
        bit = self._interface.lock_bit
        return Primitive(1 << bit, bit, RegisterKind.LIMIT, Unit.ARBITRARY)

    def _from_raw(self, unit: Unit, value: int) -> int:
        if unit is Unit.ENERGY:
            return self.units.energy_to_uj(value)
        if unit is Unit.POWER:
            return self.units.power_to_uw(value)
        if unit is Unit.TIME:
            return self.units.window_to_us(value, self._kernel.number)
        return value

    def _to_raw(self, unit: Unit, value: int) -> int:
        try:
            if unit is Unit.POWER:
                return self.units.uw_to_power_raw(value)
            if unit is Unit.TIME:
                return self.units.us_to_window_raw(value, self._kernel.number)
        except ZeroDivisionError as error:
            # rapl_unit_xlate divides by a unit that could not be read.
            message = "divide error in rapl_unit_xlate: the unit register could not be read at load"
            raise KernelCrash(message) from error
        return value

    # Power limits.

    def read_limit(self, limit: int, what: str) -> int:
        """A field of a power limit (enable, clamp, limit, window, max_power); EINVAL where it does not exist."""
        return self.read(self._limit_primitive(limit, what))

    def write_limit(self, limit: int, what: str, value: int) -> None:
        """Write a field of a power limit.  EACCES when the BIOS has locked it."""
        primitive = self._limit_primitive(limit, what)
        if limit in self.locked:
            raise OSError(EACCES, "locked by BIOS")
        self.write(primitive, value)

    def _limit_primitive(self, limit: int, what: str) -> str:
        primitive = LIMIT_PRIMITIVES[limit].get(what)
        if limit not in self.limits or primitive is None:
            raise OSError(EINVAL, "no such power limit")
        return primitive

    # Detection.

    def find_units(self) -> None:
        """Read the unit register for this domain alone (kernels from 6.5); units stay 0 where it faults."""
        try:
            raw = self._interface.read(self.package.lead_cpu, self._interface.unit_register, _U64)
        except OSError:
            return
        self.set_units(raw)

    def set_units(self, raw: int) -> None:
        """Take the units from the unit register's content, and this domain's own where its class has any."""
        style = atom_units if self._defaults.style == "atom" else core_units
        units = style(raw)
        own = {"dram": self._defaults.dram_unit_nj, "psys": self._defaults.psys_unit_nj}.get(self.name, 0)
        self.units = RaplUnits(
            energy_unit_nj=own or units.energy_unit_nj,
            power_unit_uw=units.power_unit_uw,
            time_unit_us=units.time_unit_us,
            style=units.style,
        )

    def find_limits(self) -> None:
        """Keep the limits whose register can be read, and note which ones are locked (rapl_detect_powerlimit)."""
        if self._kernel.per_limit_locks:
            self.limits = tuple(limit for limit in self.declared if self._limit_exists(limit))
            return
        try:
            self.bios_locked = bool(self.read("fw_lock", translate=False))
        except OSError:
            self.bios_locked = False
        # The driver looks at three slots; one that no limit fills holds primitive 0, the energy counter.
        enables = [f"pl{limit}_enable" for limit in self.declared]
        found = [self._can_read(name) for name in (*enables, *["energy_counter"] * (3 - len(enables)))]
        self.limits = tuple(limit for limit, exists in zip(self.declared, found, strict=False) if exists)

    def _limit_exists(self, limit: int) -> bool:
        if limit != 4:  # the MSR interface has no lock for PL4
            lock = "fw_high_lock" if 2 in self.declared else "fw_lock"
            try:
                if self.read(lock, translate=False):
                    self.locked.add(limit)
            except OSError:
                pass
        return self._can_read(LIMIT_PRIMITIVES[limit]["limit"])

    def _can_read(self, primitive: str) -> bool:
        try:
            self.read(primitive, translate=False)
        except OSError:
            return False
        return True
