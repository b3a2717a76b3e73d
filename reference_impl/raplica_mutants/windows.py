# SPDX-License-Identifier: Apache-2.0
"""Readers that are wrong about what Windows shows: registers behind a driver, or the system's own meters."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from raplica_mutants.books import Books, Interval
from raplica_mutants.gauge import Between, behind
from raplica_mutants.right import TOTAL, Reading, RightWindows
from raplica_reader.counter import RawCounter
from raplica_reader.meter import Delta, Meter
from raplica_reader.msr_models import INTEL_UNIT, Domain, domains
from raplica_reader.overlap import shares
from raplica_reader.processor import Place, Processor
from raplica_reader.source import Source
from raplica_reader.step import Step
from raplica_reader.windows import DriverRegister, Scaphandre
from raplica_reader.windows_calls import INVALID_FUNCTION, Answer, Calls, Completion, ProcessorInfo
from raplica_reader.windows_driver import DriverRegisters
from raplica_reader.zone import Zone

__all__ = [
    "AsksForEveryRegister",
    "ChannelsAdded",
    "DriverErrorIsZero",
    "DriverOfOneProtocol",
    "DriverPsysWhenAnswered",
    "DriverWrapIgnored",
    "IndexTrusted",
    "IntelBehindDriverOnly",
    "MeterWrapsAt32Bits",
    "MirroredMetersAdded",
    "NothingFoundIsZero",
    "OneCpuBehindDriver",
    "PowerOfNoTime",
    "ThreadTrusted",
    "UnitErrorIsOne",
]

PSYS = 0x64D
WORD = 8
LARGEST = (1 << 64) - 1
SOME_INTEL = Processor("GenuineIntel", 6, 0x9E)


class _ZeroWord(Between):
    """A register that shows 0 where it cannot be read."""

    def read(self, read: Callable[[], bytes]) -> bytes:
        try:
            return read()
        except OSError:
            return bytes(WORD)


class DriverErrorIsZero(RightWindows):
    """Takes 0 for a read that the driver failed, and so the whole counter for what is spent until the next one."""

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """Each with a counter that never fails."""
        return behind(_ZeroWord, zones)

    def meter(self) -> Meter:
        """Books that take a fall to 0 for no energy, and what comes after it for the whole counter."""

        def trusting(it: Interval, right: Step) -> Step:
            return Step(max(it.back, 0), None) if 0 in (it.before, it.after) else right

        return Books(trusting)


class _UnitOfOne(Scaphandre):
    """1 J a step where the unit register cannot be read."""

    def _ask(self, cpus: Sequence[int], register: int) -> int:
        try:
            return super()._ask(cpus, register)
        except OSError:
            if register != INTEL_UNIT:
                raise
            return 0


class UnitErrorIsOne(RightWindows):
    """Goes on with a unit of 1 where the unit register cannot be read."""

    def driver(self, calls: Calls) -> Source:
        """The registers in joules."""
        return _UnitOfOne(calls)


class NothingFoundIsZero(RightWindows):
    """Says 0 of the package and the machine where the driver refuses all that it is asked for."""

    def answer(self) -> dict[str, Reading]:
        """0 where there is no zone."""
        return super().answer() or {"package-0": Reading(0), TOTAL: Reading(0)}


class IntelBehindDriverOnly(RightWindows):
    """Asks the driver for Intel's registers on every processor."""

    def driver(self, calls: Calls) -> Source:
        """Those of some Intel processor."""
        return Scaphandre(calls, SOME_INTEL)


class _PsysAnswers(Scaphandre):
    """psys exists if its register can be read."""

    def _exists(self, cpus: Sequence[int], register: int) -> bool:
        return super()._exists(cpus, register) or (register == PSYS and self._ask(cpus, register) == 0)


class DriverPsysWhenAnswered(RightWindows):
    """Takes a platform register that the driver answers for one that counts."""

    def driver(self, calls: Calls) -> Source:
        """The registers, and psys wherever it does not fault."""
        return _PsysAnswers(calls)


class DriverWrapIgnored(RightWindows):
    """Takes a register behind the driver for a counter of 64 bits."""

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """Each with 64 bits."""
        return tuple(_bits(zone, 64) for zone in zones)


class MeterWrapsAt32Bits(RightWindows):
    """Takes a channel of a meter for a counter of 32 bits, which is full every 15 J."""

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """Each channel with 32 bits."""
        return tuple(_bits(zone, 32) if zone.control_type == "emi" else zone for zone in zones)


class OneCpuBehindDriver(RightWindows):
    """Reads every register behind the driver on the first processor."""

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """All asked of one processor."""
        return tuple(
            replace(zone, gauge=replace(zone.gauge, cpu=0)) if isinstance(zone.gauge, DriverRegister) else zone
            for zone in zones
        )


class _Index(Scaphandre):
    """The index of a CPU is believed."""

    def _settle(self, registers: DriverRegisters, found: dict[int, Place]) -> None:  # noqa: ARG002 - as it is called
        registers.obeys_index = True


class IndexTrusted(RightWindows):
    """Believes that the driver goes to the processor whose index it is sent."""

    def driver(self, calls: Calls) -> Source:
        """By index."""
        return _Index(calls)


class _Thread(Scaphandre):
    """The CPU of the thread is believed."""

    def _settle(self, registers: DriverRegisters, found: dict[int, Place]) -> None:  # noqa: ARG002 - as it is called
        registers.obeys_index = False


class ThreadTrusted(RightWindows):
    """Believes that the driver reads on the processor on which its caller runs."""

    def driver(self, calls: Calls) -> Source:
        """By the thread."""
        return _Thread(calls)


class _Unafraid(Scaphandre):
    """Every domain is looked for."""

    def domains(self, model: Processor) -> tuple[Domain, ...]:
        return domains(model)


class AsksForEveryRegister(RightWindows):
    """Asks for registers that the processor may not have, of a driver that does not survive that."""

    def driver(self, calls: Calls) -> Source:
        """All of them."""
        return _Unafraid(calls)


class _EightOnly:
    """Calls of which requests that are not 8 bytes long are refused, as if they were never sent."""

    def __init__(self, calls: Calls) -> None:
        self.create_file = calls.create_file
        self.close_handle = calls.close_handle
        self.device_interfaces = calls.device_interfaces
        self.cpu_vendor = calls.cpu_vendor
        self.cpu_signature = calls.cpu_signature
        self.set_thread_group_affinity = calls.set_thread_group_affinity
        self._calls = calls

    def logical_processors(self) -> Sequence[ProcessorInfo]:
        return self._calls.logical_processors()

    def device_io_control(self, handle: int, code: int, data: bytes | None, size: int) -> Completion:
        if data is None or len(data) != WORD:
            return Answer(ok=False, error=INVALID_FUNCTION, returned=None, output=bytes(size))
        return self._calls.device_io_control(handle, code, data, size)


class DriverOfOneProtocol(RightWindows):
    """Speaks the driver's later protocol alone, and finds nothing behind its first versions."""

    def driver(self, calls: Calls) -> Source:
        """8 bytes or nothing."""
        return Scaphandre(_EightOnly(calls))


class PowerOfNoTime(RightWindows):
    """Divides what was spent by the time since, which may be 0, and cuts what comes out to the largest number."""

    def say(self, delta: Delta) -> Reading:
        """The largest number for no time."""
        return super().say(delta) if delta.duration_ns else Reading(LARGEST)


class ChannelsAdded(RightWindows):
    """Adds up every channel of every meter."""

    def counted(self, zones: Sequence[Zone]) -> Sequence[bool]:
        """All of them."""
        return [right or zone.control_type == "emi" for right, zone in zip(super().counted(zones), zones, strict=True)]


class MirroredMetersAdded(RightWindows):
    """Adds up the meters of all dies, which show one counter."""

    def counted(self, zones: Sequence[Zone]) -> Sequence[bool]:
        """Mirrors as well."""
        return [share.counted for share in shares([replace(zone, mirror_of=None) for zone in zones])]


def _bits(zone: Zone, bits: int) -> Zone:
    """The zone with a counter of another width."""
    return replace(zone, counter=RawCounter(zone.counter.unit, bits)) if isinstance(zone.counter, RawCounter) else zone
