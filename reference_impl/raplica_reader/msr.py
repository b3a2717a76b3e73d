# SPDX-License-Identifier: Apache-2.0
"""Find zones in the registers themselves (what drivers/powercap/intel_rapl_msr.c does, without the driver).

Each package, or each die of an Intel processor that has several, has its registers, and any of its CPUs reads them; on
AMD each core has one more of its own. So one CPU of each is asked, and if it goes offline the next one of the same
package. A domain exists if its counter can be read and does not stand at 0, as for the driver: a register that is there
and counts nothing reads 0 for ever.

Counters are raw: steps of the unit in silicon, not of the driver's, which cuts units to whole nanojoules (2.6 ppm less
at 2^-14 J). So the joules read here are nearer to the truth than powercap's by that.
"""

import errno
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from raplica_reader.counter import RawCounter
from raplica_reader.files import Files, errno_name
from raplica_reader.msr_models import AMD_UNIT, ENERGY_FILTERING, INTEL_UNIT, Domain, bits_of, domains, unit_of
from raplica_reader.possible import possible_w
from raplica_reader.processor import Place, Processor, cores, groups, has_dies, places, processor
from raplica_reader.registers import WORD, Devices, Registers
from raplica_reader.zone import Handle, Zone

__all__ = ["EnergyRegister", "Msr", "energy_filtering"]

T = TypeVar("T")

LOW_HALF = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class EnergyRegister:
    """An energy register, as a gauge: `cpus` all read the same one, and the first that is up is asked."""

    registers: Registers
    register: int
    cpus: tuple[int, ...]

    counts_on = True

    def open(self) -> Handle:
        """Open the device of the first CPU that is up."""
        return self._first(self._open)

    def once(self) -> bytes:
        """Ask the first CPU that is up."""
        return self._first(self._read)

    def check(self) -> None:
        """A register is always the same one."""

    def decode(self, content: bytes) -> int:
        """The 64 bits; what a counter does not have of them its `RawCounter` cuts off."""
        if len(content) != WORD:
            raise OSError(errno.ENODATA, "not a whole register")
        return int.from_bytes(content, "little")

    def _open(self, cpu: int) -> Handle:
        if isinstance(self.registers, Devices):
            descriptor, read = self.registers.keep_open(cpu, self.register)
            return Handle(read, descriptor)
        self._read(cpu)
        return Handle(partial(self._read, cpu), None)

    def _read(self, cpu: int) -> bytes:
        return self.registers.read(cpu, self.register).to_bytes(WORD, "little")

    def _first(self, ask: Callable[[int], T]) -> T:
        """What the first CPU answers that is up; a register that faults does so on every CPU."""
        failure = OSError(errno.ENXIO, "no CPU is up")
        for cpu in self.cpus:
            try:
                return ask(cpu)
            except OSError as error:
                failure = error
                if error.errno == errno.EIO:
                    break
        raise failure


class Msr:
    """The registers of a machine, as a source.

    `files` is its sysfs tree, where the places of the CPUs stand; `cpuinfo` the text of its /proc/cpuinfo, None where
    there is none; `known` its processor, where the caller knows better. `notes` are lines about what is left out.
    """

    name = "msr"

    def __init__(
        self, registers: Registers, files: Files, cpuinfo: bytes | None = None, known: Processor | None = None
    ) -> None:
        self.registers = registers
        self.files = files
        self.cpuinfo = cpuinfo
        self.known = known
        self.notes: tuple[str, ...] = ()
        self._has_dies = False  # once seen it is so for good: CPUs that are down are in no die

    def signature(self) -> object:
        """The CPUs that are up."""
        try:
            return frozenset(self.registers.cpus())
        except OSError as error:
            return error.errno

    def discover(self) -> tuple[Zone, ...]:
        """Find the domains of every package.

        Errors: OSError where no CPU can be asked at all, with the errno of the first refusal (EACCES, EPERM, ENOENT).
        """
        cpus = sorted(self.registers.cpus())
        if not cpus:
            raise OSError(errno.ENOENT, "no CPU has an msr device")
        notes = []
        model = self.known or processor(self.files, self.cpuinfo) or self._by_registers(cpus)
        if model is None:
            return ()
        found = places(self.files, cpus, self.cpuinfo)
        if not found:
            found = {cpus[0]: Place(0, 0, 0)}
            if len(cpus) > 1:
                notes.append(
                    f"nobody says which CPUs share a package: only CPU {cpus[0]} is asked, and called package-0"
                )
        if model.family == 0:
            notes.append("the CPU model is not known, so dram and psys are left out: say it with --cpu FAMILY:MODEL")
        self.notes = tuple(notes)
        zones: list[Zone] = []
        self._has_dies = self._has_dies or has_dies(found)
        for package, group in groups(found, per_die=self._has_dies and not model.is_amd).items():
            zones.extend(self._package(model, package, group, found))
        return tuple(zones)

    def _by_registers(self, cpus: Sequence[int]) -> Processor | None:
        """Tell Intel from AMD by which unit register can be read; family 0 stands for a model that is not known."""
        for vendor, register in (("GenuineIntel", INTEL_UNIT), ("AuthenticAMD", AMD_UNIT)):
            try:
                self.registers.read(cpus[0], register)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
            else:
                return Processor(vendor, 0, 0)
        return None

    def _package(self, model: Processor, package: str, cpus: list[int], found: dict[int, Place]) -> Iterator[Zone]:
        """The zones of one package: itself first, then what is in it."""
        try:
            unit_raw = self._ask(cpus, AMD_UNIT if model.is_amd else INTEL_UNIT)
        except OSError as error:
            if error.errno == errno.EIO:
                return
            raise
        watts = 0
        for domain in domains(model):
            name = package if domain.name == "package" else domain.name
            if domain.name == "core" and model.is_amd:
                yield from self._cores(model, package, unit_raw, cpus, found)
                continue
            unit = unit_of(model, domain.name, unit_raw)
            limits_uw = self._limits_uw(cpus, domain, unit_raw)
            zone_w = possible_w(name, limits_uw, watts or None)
            watts = watts or zone_w
            if unit is not None and self._exists(cpus, domain.register):
                if domain.name == "psys":  # the platform's, whichever package it is read in; named as the driver does
                    number = package.removeprefix("package-").partition("-")[0]
                    name = "psys" if number == "0" else f"psys-{number}"
                above = None if domain.name in {"package", "psys"} else package
                yield self._zone(model, name, above, unit, zone_w, (domain.register, tuple(cpus)))

    def _cores(
        self, model: Processor, package: str, unit_raw: int, cpus: list[int], found: dict[int, Place]
    ) -> Iterator[Zone]:
        """One zone for each core of an AMD package."""
        unit = unit_of(model, "core", unit_raw)
        register = domains(model)[1].register
        for name, threads in cores(found, cpus).items():
            if unit is not None and self._exists(threads, register):
                where = register, tuple(threads)
                yield self._zone(model, name, package, unit, possible_w(package, ()), where)

    def _zone(
        self,
        model: Processor,
        name: str,
        above: str | None,
        unit: tuple[int, int],
        watts: int,
        where: tuple[int, tuple[int, ...]],
    ) -> Zone:
        path = name if above is None else f"{above}/{name}"
        return Zone(
            id=f"msr:{path}",
            path=path,
            name=name,
            control_type="msr",
            parent=None if above is None else f"msr:{above}",
            max_energy_range_uj=None,
            has_energy=True,
            error=None,
            counter=RawCounter(unit, bits_of(model)),
            possible_w=watts,
            mirror_of=None,
            gauge=EnergyRegister(self.registers, *where),
        )

    def _exists(self, cpus: Sequence[int], register: int) -> bool:
        """Whether a counter can be read and has counted. Other refusals than a fault are told when it is sampled."""
        try:
            return self._ask(cpus, register) & LOW_HALF != 0
        except OSError as error:
            return error.errno != errno.EIO

    def _limits_uw(self, cpus: Sequence[int], domain: Domain, unit_raw: int) -> list[int]:
        """Every limit and every maximum that the registers name, in microwatts (SDM: 1/2^PSU W)."""
        limits_uw: list[int] = []
        for register, lowest_bit in domain.limits:
            try:
                field = self._ask(cpus, register) >> lowest_bit & 0x7FFF
            except OSError:
                continue
            limits_uw.append(field * 1_000_000 >> (unit_raw & 0xF))
        return limits_uw

    def _ask(self, cpus: Sequence[int], register: int) -> int:
        return int.from_bytes(EnergyRegister(self.registers, register, tuple(cpus)).once(), "little")


def energy_filtering(registers: Registers) -> tuple[bool | None, str]:
    """Tell whether energy filtering is on, and in words; None where that cannot be known.

    With filtering the counters get noise, so that they reveal less of what programs compute (CVE-2020-8694).
    """
    try:
        is_on = bool(registers.read(min(registers.cpus(), default=0), ENERGY_FILTERING) & 1)
    except OSError as error:
        if error.errno == errno.EIO:
            return None, "energy filtering: this processor has no switch for it (MSR 0xbc cannot be read)"
        return None, f"energy filtering: not known, MSR 0xbc cannot be read ({errno_name(error)})"
    if is_on:
        return True, "energy filtering: on (MSR 0xbc bit 0): the counters of short times have noise in them"
    return False, "energy filtering: off (MSR 0xbc bit 0)"
