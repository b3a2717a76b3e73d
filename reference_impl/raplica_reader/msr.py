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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from raplica_reader.files import Files, errno_name
from raplica_reader.msr_models import AMD_UNIT, ENERGY_FILTERING, INTEL_UNIT
from raplica_reader.processor import Place, Processor, places, processor
from raplica_reader.register_zones import RegisterZones
from raplica_reader.registers import WORD, Devices, Registers
from raplica_reader.zone import Handle, Zone

__all__ = ["EnergyRegister", "Msr", "energy_filtering"]

T = TypeVar("T")


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


class Msr(RegisterZones):
    """The registers of a machine, as a source.

    `files` is its sysfs tree, where the places of the CPUs stand; `cpuinfo` the text of its /proc/cpuinfo, None where
    there is none; `known` its processor, where the caller knows better. `notes` are lines about what is left out.
    """

    name = "msr"

    def __init__(
        self, registers: Registers, files: Files, cpuinfo: bytes | None = None, known: Processor | None = None
    ) -> None:
        super().__init__()
        self.registers = registers
        self.files = files
        self.cpuinfo = cpuinfo
        self.known = known

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
        return self.zones(model, found)

    def gauge(self, register: int, cpus: Sequence[int]) -> EnergyRegister:
        """The register, asked of the first of these CPUs that is up."""
        return EnergyRegister(self.registers, register, tuple(cpus))

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
