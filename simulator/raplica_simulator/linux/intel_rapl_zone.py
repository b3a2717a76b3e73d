# SPDX-License-Identifier: Apache-2.0
"""What the zones of the first RAPL driver answer, and how it gets at a register: from source, not witnessed.

Mirrors the callbacks, rapl_read_data_raw, rapl_write_data_raw and rapl_unit_xlate of drivers/powercap/intel_rapl.c as
Linux 3.13 has it.  A value is not cut to its field when it is written, the range of every counter is that of package
0's unit, and a write that faults claims success.
"""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field
from errno import EACCES, EINVAL, ENODEV
from typing import cast

from raplica_simulator.hardware.msr import RegisterFile
from raplica_simulator.hardware.topology import Topology
from raplica_simulator.linux.kernel import Kernel, KernelCrash
from raplica_simulator.linux.powercap_sys import ConstraintOps, Zone, ZoneOps
from raplica_simulator.linux.rapl_primitives import Unit, msr_primitives
from raplica_simulator.linux.rapl_units import DivisorUnits, divisor_units

__all__ = ["Domain", "Fields", "Package", "SingleZoneOps"]

_ENERGY_MASK = 0xFFFFFFFF
_U64 = (1 << 64) - 1
_PACKAGE_THERM_INTERRUPT = 0x1B2
_PLN_ENABLE = 1 << 24

# Per domain: limit, status, perf, policy, info, as RegisterKind counts them.
_REGISTERS = {
    "package": (0x610, 0x611, 0x613, 0, 0x614),
    "core": (0x638, 0x639, 0, 0x63A, 0),
    "uncore": (0x640, 0x641, 0, 0x642, 0),
    "dram": (0x618, 0x619, 0x61B, 0, 0x61C),
}
# By constraint number: its name, limit, window and largest power.
_CONSTRAINTS = (
    ("long_term", "power_limit1", "time_window1", "thermal_spec_power"),
    ("short_term", "power_limit2", "time_window2", "max_power"),
)


@dataclass(slots=True, eq=False)
class Package:
    """A physical package.

    Attributes:
        id: its number.
        cpus: how many of its processors the driver was told of.
        units: its own, as the unit register says.
        domains: those that were seen to count.
        saved_pln: the PLN interrupt enable before the first limit write, None while nothing is saved.
    """

    id: int
    cpus: int = 1
    units: DivisorUnits = field(default_factory=lambda: divisor_units(0))
    domains: "list[Domain]" = field(default_factory=list)
    saved_pln: int | None = None


@dataclass(slots=True, eq=False)
class Domain:
    """A domain of a package; ``locked`` is what the driver takes for a lock."""

    name: str
    package: Package
    locked: bool = False
    zone: Zone | None = None

    @property
    def limits(self) -> tuple[str, ...]:
        """The names of its power limits, whether or not there is a register for them."""
        names = tuple(name for name, *_ in _CONSTRAINTS)
        return names if self.name == "package" else names[:1]


class Fields:
    """The fields of a domain's registers, which the lowest processor of its package reads and writes.

    ``online`` gives the processors that run; with ``notifies`` the first written limit switches the power limit
    notification off.
    """

    def __init__(
        self,
        msr: RegisterFile,
        topology: Topology,
        kernel: Kernel,
        online: Callable[[], AbstractSet[int]],
        notifies: bool,  # noqa: FBT001 - what the processor can
    ) -> None:
        self.read_register = msr.driver_read
        self._msr = msr
        self._topology = topology
        self._table = msr_primitives(kernel)
        self._online = online
        self._notifies = notifies
        # Tested at bit 63 for good once a package was looked at; only whether it can be read matters here.
        self._lock_bit = 31

    def read(self, domain: Domain, name: str) -> int:
        """A field in powercap's units.  EINVAL where the domain has none, EIO on a fault, ENODEV without a CPU."""
        value = self._read_raw(domain, name)
        unit = self._table.fields[name].unit
        units = domain.package.units
        if unit is Unit.ENERGY:
            return _divided(units.energy_to_uj, value)
        if unit is Unit.POWER:
            return units.power_to_uw(value)
        return units.window_to_us(value) if unit is Unit.TIME else value

    def _read_raw(self, domain: Domain, name: str) -> int:
        found = self._table.fields[name]
        register = _REGISTERS[domain.name][found.kind]
        if not register:
            raise OSError(EINVAL, "the domain has no such register")
        return self.read_register(self._lead(domain.package), register, found.mask) >> found.shift

    def write(self, domain: Domain, name: str, value: int) -> None:
        """Put a value (in powercap's units) into a field, and what does not fit there into the bits above it."""
        found = self._table.fields[name]
        units = domain.package.units
        if found.unit is Unit.POWER:
            value = units.uw_to_power_raw(value)
        elif found.unit is Unit.TIME:
            value = units.us_to_window_raw(value)
        register = _REGISTERS[domain.name][found.kind]
        self._msr.driver_write(self._lead(domain.package), register, found.mask, value << found.shift & _U64)

    def read_lock(self, domain: Domain) -> None:
        """Read the lock bit, whatever it says.  EIO on a fault."""
        if domain.name == "package":
            self._lock_bit = 63
        self.read_register(self._lead(domain.package), _REGISTERS[domain.name][0], 1 << self._lock_bit)

    def update(self, package: Package) -> None:
        """Read every field of every domain once; nothing is done with the values (rapl_update_domain_data)."""
        for domain in package.domains:
            for name in self._table.update_order:
                with suppress(OSError):
                    if name == "fw_lock":
                        self.read_lock(domain)
                    else:
                        self._read_raw(domain, name)

    def save_notification(self, package: Package) -> None:
        """Switch the power limit notification off, and remember it as it was at first."""
        if self._notifies:
            with suppress(OSError):
                lead = self._lead(package)
                enabled = self.read_register(lead, _PACKAGE_THERM_INTERRUPT, _PLN_ENABLE)
                if package.saved_pln is None:
                    package.saved_pln = enabled
                self._msr.driver_write(lead, _PACKAGE_THERM_INTERRUPT, _PLN_ENABLE, 0)

    def restore_notification(self, package: Package) -> None:
        """Put the notification back as it was found."""
        if package.saved_pln is not None:
            with suppress(OSError):
                lead = self._lead(package)
                self._msr.driver_write(lead, _PACKAGE_THERM_INTERRUPT, _PLN_ENABLE, package.saved_pln)

    def _lead(self, package: Package) -> int:
        """The lowest processor of the package that runs (find_active_cpu_on_package)."""
        cpus = self._topology.cpus
        try:
            return min(cpu for cpu in self._online() if cpus[cpu].package == package.id)
        except ValueError:
            raise OSError(ENODEV, "all CPUs of the package are offline") from None


class SingleZoneOps:
    """The callbacks of every zone; ``packages`` is the driver's list, in which the range of package 0 is looked up."""

    def __init__(self, fields: Fields, packages: list[Package]) -> None:
        self._fields = fields
        self._packages = packages
        self.zone = ZoneOps(
            get_energy_uj=lambda zone: fields.read(_domain(zone), "energy_counter"),
            get_max_energy_range_uj=self._get_range,
            set_enable=self._set_enable,
            get_enable=self._get_enable,
        )
        self.constraints = ConstraintOps(
            set_power_limit_uw=self._set_power_limit,
            get_power_limit_uw=lambda zone, number: fields.read(_domain(zone), _CONSTRAINTS[number][1]),
            set_time_window_us=lambda zone, number, us: self._try_write(_domain(zone), _CONSTRAINTS[number][2], us),
            get_time_window_us=lambda zone, number: fields.read(_domain(zone), _CONSTRAINTS[number][2]),
            get_max_power_uw=lambda zone, number: fields.read(_domain(zone), _CONSTRAINTS[number][3]),
            get_name=lambda _, number: _CONSTRAINTS[number][0],
        )

    def _get_range(self, _: Zone) -> int:
        """The largest counter in package 0's unit; where there is no package 0, the counter itself."""
        first = next((package for package in self._packages if package.id == 0), None)
        return _ENERGY_MASK if first is None else _divided(first.units.energy_to_uj, _ENERGY_MASK)

    def _get_enable(self, zone: Zone) -> bool:
        domain = _domain(zone)
        return not domain.locked and bool(self._fields.read(domain, "pl1_enable"))

    def _set_enable(self, zone: Zone, on: bool) -> None:  # noqa: FBT001 - the kernel's callback
        domain = _unlocked(zone)
        for limit in range(1, len(domain.limits) + 1):
            for switch in ("enable", "clamp"):
                self._try_write(domain, f"pl{limit}_{switch}", on)

    def _set_power_limit(self, zone: Zone, number: int, limit_uw: int) -> None:
        domain = _unlocked(zone)
        self._try_write(domain, _CONSTRAINTS[number][1], limit_uw)
        self._fields.save_notification(domain.package)

    def _try_write(self, domain: Domain, name: str, value: int) -> None:
        """Write and not ask what became of it."""
        with suppress(OSError):
            self._fields.write(domain, name, value)


def _domain(zone: Zone) -> Domain:
    return cast("Domain", zone.driver_data)


def _unlocked(zone: Zone) -> Domain:
    domain = _domain(zone)
    if domain.locked:
        raise OSError(EACCES, "locked by BIOS, monitoring only")
    return domain


def _divided(translate: Callable[[int], int], value: int) -> int:
    """Silvermont's unit can be so large that its divisor is 0, and the kernel divides by it."""
    try:
        return translate(value)
    except ZeroDivisionError as error:
        message = "divide error in rapl_unit_xlate: the energy unit is more than a joule"
        raise KernelCrash(message) from error
