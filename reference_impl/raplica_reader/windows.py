# SPDX-License-Identifier: Apache-2.0
"""Find zones in the registers that the Scaphandre driver for Windows hands out.

Windows has no powercap and no msr device: a driver has to be installed that reads registers for others, and this one
lets everybody (`windows_driver` has its protocols). What the registers mean is the same as on Linux, so the zones are
made by the same code, with the model's own units, and where the unit cannot be read there is nothing: no unit is usual.

Packages that show one counter, because nothing brings the driver to the right CPU, are counted once.
"""

import errno
from collections.abc import Sequence
from dataclasses import dataclass, replace

from raplica_reader.msr_models import Domain, domains
from raplica_reader.processor import Place, Processor, cores, groups
from raplica_reader.register_zones import RegisterZones
from raplica_reader.registers import WORD
from raplica_reader.windows_calls import Calls
from raplica_reader.windows_driver import BY_CODE, DriverRegisters
from raplica_reader.windows_models import documented
from raplica_reader.zone import Handle, Zone

__all__ = ["DriverRegister", "Scaphandre", "processor_of"]

PACKAGE_LIMIT = 0x610
UNGUARDED = (
    "this version of the driver may take the machine down with it if a register is not there, so only those are asked "
    "for that this processor is documented to have"
)
UNDIVIDED = "several cores of {} show one counter, so the driver does not go where it is sent: they are left out"


@dataclass(frozen=True, slots=True)
class DriverRegister:
    """An energy register behind the driver, as a gauge, asked on one CPU that reads it."""

    registers: DriverRegisters
    register: int
    cpu: int

    counts_on = True

    def open(self) -> Handle:
        """Hold the driver's device open."""
        self.registers.device.hold()
        return Handle(self.once, None, self.registers.device.release)

    def once(self) -> bytes:
        """Ask."""
        return self.registers.read(self.cpu, self.register).to_bytes(WORD, "little")

    def check(self) -> None:
        """A register is always the same one."""

    def decode(self, content: bytes) -> int:
        """The 64 bits; what a counter does not have of them its `RawCounter` cuts off."""
        return int.from_bytes(content, "little")


class Scaphandre(RegisterZones):
    """The registers of a Windows machine, as a source. `known` is its processor, where the caller knows better.

    `about` says in words how the driver is asked.
    """

    name = "scaphandre"

    def __init__(self, calls: Calls, known: Processor | None = None) -> None:
        super().__init__()
        self.calls = calls
        self.known = known
        self.about = ""
        self._registers: DriverRegisters | None = None

    def signature(self) -> object:
        """Always the same: Windows takes no CPU away, and that a driver was stopped its failures show."""
        return self.name

    def discover(self) -> tuple[Zone, ...]:
        """Find the domains of every package.

        Errors: OSError where the driver cannot be opened (ENOENT: it does not run), refuses every request (ENOSYS), or
        the processor has no energy registers (ENXIO).
        """
        model = self.known or processor_of(self.calls)
        registers = self._registers = DriverRegisters(self.calls, model)
        with registers.device:
            registers.learn()
            notes = [] if registers.is_guarded or model.is_amd or registers.dialect is BY_CODE else [UNGUARDED]
            found = registers.places()
            self._settle(registers, found)
            zones = self._each_once(registers, self.zones(model, found), notes)
        self.notes = tuple(notes)
        way = "by the index of a CPU" if registers.obeys_index else "by the thread that asks"
        self.about = f"{registers.dialect.name}; placed {way}" if registers.dialect else ""
        return zones

    def gauge(self, register: int, cpus: Sequence[int]) -> DriverRegister:
        """The register, asked on the first of these CPUs."""
        if self._registers is None:
            raise OSError(errno.ENODEV, "nobody looked for the driver yet")
        return DriverRegister(self._registers, register, cpus[0])

    def domains(self, model: Processor) -> tuple[Domain, ...]:
        """The domains that may be looked for: all where a fault is survived, else what the model surely has."""
        registers = self._registers
        if registers is None or registers.is_guarded or model.is_amd:
            return domains(model)
        names = {"package"} if registers.dialect is BY_CODE else documented(model)
        return tuple(
            domain._replace(limits=tuple(limit for limit in domain.limits if limit[0] == PACKAGE_LIMIT))
            for domain in domains(model)
            if domain.name in names
        )

    def _settle(self, registers: DriverRegisters, found: dict[int, Place]) -> None:
        """Find out how the driver is brought to a CPU, by whatever this machine has several of."""
        package, core = (domain.register for domain in domains(registers.processor)[:2])
        firsts = [cpus[0] for cpus in groups(found, per_die=False).values()]
        if len(firsts) > 1:
            registers.settle(package, firsts)
        elif registers.processor.is_amd:
            registers.settle(core, [threads[0] for threads in cores(found, found).values()])

    def _each_once(self, registers: DriverRegisters, zones: Sequence[Zone], notes: list[str]) -> tuple[Zone, ...]:
        """Mark packages that show the counter of another one, and leave out what would be counted twice by that.

        Where Windows says that the thread was on each of them, they have a counter each, whatever that shows.
        """
        if registers.is_moved:
            return tuple(zones)
        packages: list[Zone] = []
        left_out: set[str] = set()
        kept: list[Zone] = []
        for zone in zones:
            if zone.parent is None and (zone.name or "").startswith("package-"):
                twin = next((one for one in packages if _show_the_same(registers, one, zone)), None)
                if twin is None:
                    packages.append(zone)
                else:
                    left_out.add(zone.id)
                kept.append(zone if twin is None else replace(zone, mirror_of=twin.id))
            elif zone.parent not in left_out:
                kept.append(zone)
        for package in packages if registers.processor.is_amd else ():
            inner = [zone for zone in kept if zone.parent == package.id]
            if any(_show_the_same(registers, inner[0], zone) for zone in inner[1:]):
                notes.append(UNDIVIDED.format(package.path))
                kept = [zone for zone in kept if zone not in inner]
        return tuple(kept)


def _show_the_same(registers: DriverRegisters, one: Zone, other: Zone) -> bool:
    """Whether two zones of a kind show one counter."""
    here, there = (zone.gauge for zone in (one, other) if isinstance(zone.gauge, DriverRegister))
    return registers.show_the_same(here.register, here.cpu, there.cpu)


def processor_of(calls: Calls) -> Processor:
    """The processor as Windows names it."""
    family, model, _ = calls.cpu_signature()
    return Processor(calls.cpu_vendor(), family, model)
