# SPDX-License-Identifier: Apache-2.0
"""The registers of one machine in all three places - MSR, MMIO, TPMI - put over one set of meters and limits.

A profile's tables become registers here, each with its layout, with the meter behind it where it counts energy, and
with the domain that it limits.  Counters of one domain count the same joules, each from a starting value of its own.
Limits are separate registers: writing one never shows in another, and of those that are enabled the lowest binds
(unverified: no witness has a processor, and no manual says so of MSR and MMIO).  Limits of psys bind nothing.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction

from raplica_simulator.hardware.domains import Domains
from raplica_simulator.hardware.limits import Limit, limits_of
from raplica_simulator.hardware.msr import RegisterFile
from raplica_simulator.hardware.registers import Register, counter_units, counter_width, lookup
from raplica_simulator.hardware.units import Units, exact_units, unit_style, usual_unit
from raplica_simulator.hardware.words import WordSpace
from raplica_simulator.linux.rapl_models import is_amd
from raplica_simulator.profile.profile import Profile
from raplica_simulator.profile.tpmi_layout import TPMI_DOMAIN_SIZE, tpmi_kinds, tpmi_words

__all__ = ["MachineRegisters", "msr_units", "psys_is_wired"]

_AMD_UNIT = 0xC0010299
_INTEL_UNIT = 0x606
_MMIO_UNIT = 0x5938
_TPMI_UNIT = 0x08
_TPMI_DOMAIN_INFO = 0x50
# Which registers limit a kind of domain, in the order in which a limit's place names it.
_MSR_LIMITS = {"package": (0x610, 0x601), "core": (0x638,), "uncore": (0x640,), "dram": (0x618,)}
_MMIO_LIMITS = {"package": (0x59A0, 0x59B0), "dram": (0x58E0,)}
_TPMI_LIMITS = (0x10, 0x18, 0x20, 0x28)
_32_BITS = 0xFFFFFFFF
_Counts = tuple[Callable[[], int], int]


def msr_units(profile: Profile) -> dict[str, Fraction]:
    """The joules per raw step in which the MSR counters of a machine count, by kind of domain."""
    return _units(profile, _msr_unit_raw(profile))


def _units(profile: Profile, unit_raw: int) -> dict[str, Fraction]:
    units = dict(counter_units(profile.cpu.id, unit_raw)) | dict(profile.units)
    if "core" in profile.units:
        # On AMD the zone that is called core counts single cores.
        units["cpu-core"] = profile.units["core"]
    return units


def _msr_unit_raw(profile: Profile) -> int:
    """What the unit register says, or usually says where this machine has none."""
    cpu = profile.cpu.id
    address = _AMD_UNIT if is_amd(cpu) else _INTEL_UNIT
    found = (registers[address] for registers in profile.registers.values() if address in registers)
    return next(found, usual_unit(cpu))


def psys_is_wired(profile: Profile, address: int, die: int) -> bool:
    """Whether the platform counter of a die has a meter behind it: on most boards it has none and answers 0 for ever.

    Without one it begins at 0, and either another socket has the meter or nobody gave the platform watts.
    """
    starts_at = {other: words.get(address, 0) for other, words in profile.registers.items()}
    return starts_at.get(die) != 0 or not (
        any(starts_at.values()) or profile.load is None or profile.load.psys_uw is None
    )


class MachineRegisters:
    """All registers of a machine.

    Attributes:
        msr: by processor.
        mmio: those of MCHBAR, of package 0 alone.
        tpmi: those of the TPMI devices, by package.
    """

    def __init__(self, profile: Profile, domains: Domains) -> None:
        """Make them as they are at time 0."""
        cpu = profile.cpu.id
        silicon = profile.rules == "silicon"
        topology = profile.topology
        self._profile = profile
        self._topology = topology
        self._domains = domains
        self._msr_limits = {
            kind: {address: register for address in addresses if (register := lookup(address, cpu)) is not None}
            for kind, addresses in ({} if is_amd(cpu) else _MSR_LIMITS).items()
        }
        self._msr_units = exact_units(_msr_unit_raw(profile), unit_style(cpu))
        mmio_unit_raw = (profile.mmio or {}).get(_MMIO_UNIT, usual_unit(cpu))
        self._mmio_units = exact_units(mmio_unit_raw, unit_style(cpu))
        self._mmio_counter_units = _units(profile, mmio_unit_raw)
        self._tpmi_words = tpmi_words(profile.tpmi or {})
        self._tpmi_kinds = tpmi_kinds(profile.tpmi or {})
        self.msr = RegisterFile(
            silicon=silicon,
            instances={place.number: (place.logical_die, place.core_index) for place in topology.cpus},
            core_scoped=self._is_core_scoped,
            rules=lambda address: lookup(address, cpu),
            meter=self._msr_meter,
            changed=self._msr_changed,
        )
        self.mmio = WordSpace(
            "mmio",
            silicon=silicon,
            packages=(0,),
            rules=lambda _, offset: lookup(offset, cpu, "mmio"),
            meter=self._mmio_meter,
            changed=self._mmio_changed,
            log=self.msr.log,
        )
        self.tpmi = WordSpace(
            "tpmi",
            silicon=silicon,
            packages=sorted({*range(topology.packages), *self._tpmi_words}),
            rules=lambda _, offset: lookup(offset % TPMI_DOMAIN_SIZE, cpu, "tpmi"),
            meter=self._tpmi_meter,
            changed=self._tpmi_changed,
            log=self.msr.log,
        )
        self._load()

    def load_firmware(self) -> None:
        """Let the registers hold what the profile's ``[firmware]`` says, if anything."""
        if self._profile.firmware is not None:
            self._poke(self._profile.firmware.dies, self._profile.firmware.cores)

    def reset(self) -> None:
        """Forget everything, be as at time 0 again, then load what firmware loads."""
        for space in (self.msr, self.mmio, self.tpmi):
            space.clear()
        self._load()
        self.load_firmware()

    def counter_units(self, space: str) -> dict[str, Fraction]:
        """The joules per raw step in which the counters of "msr", "mmio" or "tpmi" count, by kind of domain.

        A space that the machine does not have has none.  Of several TPMI packages it is the first one's units.
        """
        if space == "msr":
            return msr_units(self._profile)
        if space == "mmio":
            return {kind: self._mmio_counter_units[kind] for kind in _MMIO_LIMITS} if self._profile.mmio else {}
        units: dict[str, Fraction] = {}
        for (package, base), kind in self._tpmi_kinds.items():
            units.setdefault(kind, self._tpmi_units(package, base).energy_j)
        return units

    # From the profile.

    def _load(self) -> None:
        self._poke(self._profile.registers, self._profile.core_registers)
        for offset, value in (self._profile.mmio or {}).items():
            self.mmio.poke(offset, value)
        for package, words in self._tpmi_words.items():
            for offset, value in words.items():
                self.tpmi.poke(offset, value, package)
        self._inject_faults()

    def _poke(self, dies: Mapping[int, Mapping[int, int]], cores: Mapping[tuple[int, int], Mapping[int, int]]) -> None:
        """Let MSRs hold what a table says: by logical die, and by (logical die, core in it)."""
        for die, registers in dies.items():
            cpu = self._topology.cpus_of_die(die)[0]
            for address, value in registers.items():
                self.msr.poke(cpu, address, value)
        first_cpu = {(place.logical_die, place.core): place.number for place in reversed(self._topology.cpus)}
        for core, registers in cores.items():
            for address, value in registers.items():
                self.msr.poke(first_cpu[core], address, value)

    def _inject_faults(self) -> None:
        for fault in self._profile.faults.registers:
            # Every processor, since a register may be one per core.
            for cpu in self._topology.cpus:
                if fault.package not in (None, cpu.package) or fault.die not in (None, cpu.die):
                    continue
                if fault.on is not None:
                    self.msr.inject(cpu.number, fault.register, fault.on, fault.errno)
                if fault.write_mask is not None:
                    self.msr.write_mask(cpu.number, fault.register, fault.write_mask)
                if fault.ignore_when_locked is not None:
                    self.msr.ignore_when_locked(cpu.number, fault.register, fault.ignore_when_locked)

    # Counters.

    def _is_core_scoped(self, address: int) -> bool:
        # The table of a recording knows only dies.
        if self._profile.recorded:
            return False
        register = lookup(address, self._profile.cpu.id)
        return register is not None and register.scope == "core"

    def _msr_meter(self, address: int, die: int, core: int) -> _Counts | None:
        """The steps of the meter behind an MSR, and which of its bits count; None where it counts no energy."""
        cpu = self._profile.cpu.id
        register = lookup(address, cpu)
        if register is None or register.counter is None:
            return None
        if register.domain == "psys" and not psys_is_wired(self._profile, address, die):
            return None
        if register.scope == "core":
            meter = self._domains.meter("cpu-core", core_index=core)
        else:
            meter = self._domains.meter(register.domain, die)
        return meter.steps, (1 << counter_width(cpu)) - 1

    def _mmio_meter(self, _: int, offset: int) -> _Counts | None:
        register = lookup(offset, self._profile.cpu.id, "mmio")
        if register is None or register.counter is None:
            return None
        unit_j = self._mmio_counter_units[register.domain]
        return self._domains.counter(register.domain, self._topology.dies_of_package(0), unit_j), _32_BITS

    def _tpmi_meter(self, package: int, offset: int) -> _Counts | None:
        base = offset - offset % TPMI_DOMAIN_SIZE
        kind = self._tpmi_kinds.get((package, base))
        register = lookup(offset - base, self._profile.cpu.id, "tpmi")
        if kind is None or register is None or register.counter is None or package >= self._topology.packages:
            return None
        if kind == "psys" and not self._tpmi_words[package].get(base + _TPMI_DOMAIN_INFO, 0) & 1:
            return None  # another package's system domain is the root
        unit_j = self._tpmi_units(package, base).energy_j
        dies = range(1) if kind == "psys" else self._topology.dies_of_package(package)
        return self._domains.counter(kind, dies, unit_j), _32_BITS

    def _tpmi_units(self, package: int, base: int) -> Units:
        raw = self._tpmi_words[package].get(base + _TPMI_UNIT, usual_unit(None, "tpmi"))
        return exact_units(raw, "tpmi")

    # Limits: new contents bind the domain from now on.

    def _msr_changed(self, die: int, address: int) -> None:
        for kind, registers in self._msr_limits.items():
            if address in registers:
                self._bind(kind, die)

    def _mmio_changed(self, _: int, offset: int) -> None:
        for kind, offsets in _MMIO_LIMITS.items():
            if offset in offsets:
                self._bind_package(kind, 0)

    def _tpmi_changed(self, package: int, offset: int) -> None:
        kind = self._tpmi_kinds.get((package, offset - offset % TPMI_DOMAIN_SIZE), "psys")
        if kind != "psys" and offset % TPMI_DOMAIN_SIZE in _TPMI_LIMITS and package < self._topology.packages:
            self._bind_package(kind, package)

    def _bind_package(self, kind: str, package: int) -> None:
        for die in self._topology.dies_of_package(package):
            self._bind(kind, die)

    def _bind(self, kind: str, die: int) -> None:
        cpu = self._topology.cpus_of_die(die)[0]
        msr = [
            limit
            for address, register in self._msr_limits.get(kind, {}).items()
            for limit in _limits(register, self.msr.content(cpu, address), self._msr_units)
        ]
        package = self._topology.package_of_die(die)
        shared = [*self._mmio_limits(kind, package), *self._tpmi_limits(kind, package)]
        # A limit of a whole package is shared out evenly among its dies.
        dies = self._topology.dies_per_package
        self._domains.set_limits(kind, die, (*msr, *(replace(one, limit_uw=one.limit_uw // dies) for one in shared)))

    def _mmio_limits(self, kind: str, package: int) -> Iterator[Limit]:
        for offset in _MMIO_LIMITS.get(kind, ()) if package == 0 else ():
            register = lookup(offset, self._profile.cpu.id, "mmio")
            yield from _limits(register, self.mmio.content(offset), self._mmio_units)

    def _tpmi_limits(self, kind: str, package: int) -> Iterator[Limit]:
        for (owner, base), found in self._tpmi_kinds.items():
            for offset in _TPMI_LIMITS if (owner, found) == (package, kind) else ():
                register = lookup(offset, self._profile.cpu.id, "tpmi")
                yield from _limits(register, self.tpmi.content(base + offset, package), self._tpmi_units(package, base))


def _limits(register: Register | None, raw: int | None, units: Units) -> tuple[Limit, ...]:
    """What a register limits; one that is absent has its places all the same, since limits are known by their place."""
    return () if register is None else limits_of(register, raw or 0, units)
