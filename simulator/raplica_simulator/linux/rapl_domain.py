# SPDX-License-Identifier: Apache-2.0
"""A RAPL package and its domains, and how the driver gets at a field of theirs.

Mirrors ``struct rapl_package``, ``struct rapl_domain``, rapl_read_data_raw and rapl_write_data_raw of
drivers/powercap/intel_rapl_common.c.  A field that a domain does not have is EINVAL without any access; a
register that faults is EIO.  Both disappear in powercap_sys.py, but which accesses were made does not.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from errno import EACCES, EINVAL

from raplica_simulator.linux.kernel import Kernel, KernelCrash
from raplica_simulator.linux.powercap_sys import ControlType, Zone
from raplica_simulator.linux.rapl_models import RaplDefaults
from raplica_simulator.linux.rapl_primitives import PSYS_FIXUPS, Primitive, PrimitiveTable, RegisterKind, Unit
from raplica_simulator.linux.rapl_units import RaplUnits, atom_units, core_units, tpmi_units

__all__ = ["DOMAIN_NAMES", "CommonState", "RaplDomain", "RaplInterface", "RaplPackage"]

_U64 = (1 << 64) - 1

# In the order of enum rapl_domain_type, which is the order of everything the driver does.
DOMAIN_NAMES = ("package", "core", "uncore", "dram", "psys")

_NO_UNITS = RaplUnits(energy_unit_nj=0, power_unit_uw=0, time_unit_us=0, style="core")
_UNITS = {"core": core_units, "atom": atom_units, "tpmi": tpmi_units}


@dataclass(slots=True)
class CommonState:
    """What intel_rapl_common keeps while it is loaded, whatever interfaces come and go.

    Attributes:
        lock_bit: which bit the one lock primitive of kernels before 6.5 tests, in MSR and MMIO alike.  It moves for
            good from 31 to 63 when a domain of exactly two limits is looked at.
        floor_freq_word: the power unit's word that the floor-frequency hook of Atom chips found when it was first
            called, 0 before.
    """

    lock_bit: int = 31
    floor_freq_word: int = 0


@dataclass(slots=True, eq=False)
class RaplInterface:
    """The way to the registers (``struct rapl_if_priv``).

    Attributes:
        registers: per domain, the addresses by :class:`RegisterKind`; what is missing there has no register (0).
        limits: per domain, the power limits (1, 2, 4) that it is declared to have.
        unit_register: the address of the unit register; 0 where each domain has its own.
        read: ``read(reader, register, mask)`` gives the masked bits or raises OSError: EIO on a fault, EINVAL where
            the interface knows that there is no such register.
        write: ``write(reader, register, mask, bits)`` replaces them in one read-modify-write.
        primitives: what fields there are.
        defaults: how the processor is treated.
        state: what lives longer than an interface.
        control_type: where its zones go, None while it is not registered.
        read_units: ``read_units(reader, register)`` gives a unit register, which cannot fail; None where it is read as
            any other.
    """

    registers: dict[str, dict[RegisterKind, int]]
    limits: dict[str, tuple[int, ...]]
    unit_register: int
    read: Callable[[int, int, int], int]
    write: Callable[[int, int, int, int], None]
    primitives: PrimitiveTable
    defaults: RaplDefaults
    state: CommonState
    control_type: ControlType | None = None
    read_units: Callable[[int, int], int] | None = None


@dataclass(slots=True, eq=False)
class RaplPackage:
    """One package object: a die on Intel, a physical package on AMD with newer kernels, on TPMI and on newer MMIO.

    Attributes:
        interface: the one that it was found through.
        id: what the driver knows it by; psys is called ``psys-N`` where this is above 0.
        name: the name of its zone.
        physical_id: the physical package, the N of ``psys-N``.
        lead_cpu: the processor that executes every access; None where accesses go by the package.
        cpus: its online processors, as far as the interface follows them.
        saved_pln: the PLN interrupt enable before the first limit write, None while nothing is saved.
    """

    interface: RaplInterface
    id: int
    name: str
    physical_id: int
    lead_cpu: int | None
    cpus: set[int] = field(default_factory=set)
    domains: "list[RaplDomain]" = field(default_factory=list)
    zone: Zone | None = None
    saved_pln: int | None = None

    @property
    def reader(self) -> int:
        """Whom an access names: the lead processor, or the package's id (get_rid)."""
        return self.id if self.lead_cpu is None else self.lead_cpu


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
        "_interface",
        "_kernel",
        "_primitives",
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

    def __init__(self, package: RaplPackage, name: str, kernel: Kernel) -> None:
        interface = package.interface
        self.package = package
        self.name = name
        self._interface = interface
        self._primitives = interface.primitives
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
        register = self.registers.get(found.kind, 0)
        if not register:
            raise OSError(EINVAL, "the domain has no such register")
        if primitive == "fw_lock" and not self._kernel.per_limit_locks:
            found = self._moving_lock()
        bits = self._interface.read(self.package.reader, register, found.mask)
        value = bits >> found.shift
        return self._from_raw(found.unit, value) if translate else value

    def write(self, primitive: str, value: int) -> None:
        """Put ``value`` (in powercap's units) into a field.  A register number of 0 is not checked here."""
        found = self._primitive(primitive)
        bits = (self._to_raw(found.unit, value) << found.shift) & found.mask
        self._interface.write(self.package.reader, self.registers.get(found.kind, 0), found.mask, bits)

    def _primitive(self, name: str) -> Primitive:
        if self._interface.defaults.wide_psys and self.name == "psys":
            name = PSYS_FIXUPS.get(name, name)
        return self._primitives.fields[name]

    def _moving_lock(self) -> Primitive:
        """The lock primitive of kernels before 6.5, which is changed in place and never put back."""
        state = self._interface.state
        if len(self.declared) == 2:
            state.lock_bit = 63
        bit = state.lock_bit
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
            # The unit register could not be read at load, and what it should have given is divided by.
            style = "atom" if self.units.style == "atom" else "core"
            where = f"rapl_compute_time_window_{style}" if unit is Unit.TIME else "rapl_unit_xlate"
            message = f"divide error in {where}: the unit register could not be read at load"
            raise KernelCrash(message) from error
        return value

    # Power limits.

    def read_limit(self, limit: int, what: str) -> int:
        """A field of a power limit (enable, clamp, limit, window, max_power); EINVAL where it does not exist."""
        self._require(limit)
        return self.read(self.limit_primitive(limit, what))

    def limit_primitive(self, limit: int, what: str) -> str:
        """The name of a field of a power limit, whether or not the domain has that limit; EINVAL for no such field."""
        name = self._primitives.limits[limit].get(what)
        if name is None:
            raise OSError(EINVAL, "the power limit has no such field")
        return name

    def write_limit(self, limit: int, what: str, value: int) -> None:
        """Write a field of a power limit.  EACCES when the BIOS has locked it."""
        self._require(limit)
        primitive = self.limit_primitive(limit, what)
        if limit in self.locked:
            raise OSError(EACCES, "locked by BIOS")
        self.write(primitive, value)

    def _require(self, limit: int) -> None:
        if limit not in self.limits:
            raise OSError(EINVAL, "no such power limit")

    # Detection.

    def find_units(self) -> None:
        """Read the unit register for this domain alone (kernels from 6.5); units stay 0 where it faults."""
        register = self.registers.get(RegisterKind.UNIT) or self._interface.unit_register
        interface, reader = self._interface, self.package.reader
        if interface.read_units is not None:
            self.set_units(interface.read_units(reader, register))
            return
        try:
            raw = interface.read(reader, register, _U64)
        except OSError:
            return
        self.set_units(raw)

    def set_units(self, raw: int) -> None:
        """Take the units from the unit register's content, and this domain's own where its class has any."""
        defaults = self._interface.defaults
        units = _UNITS[defaults.style](raw)
        own = {"dram": defaults.dram_unit_nj, "psys": defaults.psys_unit_nj}.get(self.name, 0)
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
        # The driver looks at every slot; one that no limit fills holds primitive 0, the energy counter.
        enables = [f"pl{limit}_enable" for limit in self.declared]
        empty = self._kernel.limit_slots - len(enables)
        found = [self._can_read(name) for name in (*enables, *["energy_counter"] * empty)]
        self.limits = tuple(limit for limit, exists in zip(self.declared, found, strict=False) if exists)

    def _limit_exists(self, limit: int) -> bool:
        lock = self._lock_primitive(limit)
        if lock is not None:
            with suppress(OSError):
                if self.read(lock, translate=False):
                    self.locked.add(limit)
        return self._can_read(self.limit_primitive(limit, "limit"))

    def _lock_primitive(self, limit: int) -> str | None:
        """The lock of a limit (get_pl_lock_prim): its own, else by how many limits the domain has; none for PL4."""
        own = self._primitives.limits[limit].get("lock")
        if own is not None or limit == 4:
            return own
        return "fw_high_lock" if 2 in self.declared else "fw_lock"

    def _can_read(self, primitive: str) -> bool:
        try:
            self.read(primitive, translate=False)
        except OSError:
            return False
        return True
