# SPDX-License-Identifier: Apache-2.0
"""The reader that every mutant is made of: the reference reader, put together so that each part can be replaced.

Zones, counters, samples and sums are `raplica_reader`'s own. What stands here is only where a mutant can put something
else: which source (`source`), which zones it finds (`zones`), what adds them up (`meter`), which of them make the total
(`total`), and what it says of all that (`answer`). As it stands it is right: whatever the reference reader passes, it
passes too, so that what a mutant fails it fails by its own mistake.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from raplica_reader.files import Files
from raplica_reader.follow import Follower
from raplica_reader.meter import Delta, Meter
from raplica_reader.msr import Msr
from raplica_reader.overlap import shares
from raplica_reader.perf import Perf
from raplica_reader.perf_event import PerfEvents
from raplica_reader.powercap import Powercap
from raplica_reader.powermetrics import Powermetrics
from raplica_reader.powermetrics_output import Reading as Sample
from raplica_reader.powermetrics_output import from_plist
from raplica_reader.powermetrics_tally import Tally
from raplica_reader.registers import Registers
from raplica_reader.sample import Sampler
from raplica_reader.source import Source
from raplica_reader.windows import Scaphandre
from raplica_reader.windows_calls import Calls
from raplica_reader.windows_emi import Emi
from raplica_reader.windows_emi_layout import GUID_DEVICE_ENERGY_METER
from raplica_reader.zone import Zone

__all__ = ["Reading", "Right", "RightMsr", "RightPerf", "RightPowermetrics", "RightWindows", "TOTAL", "Tree"]

TOTAL = "total"
"""The key of an answer that is about the machine as a whole."""


class Program(Protocol):
    """powermetrics, which takes a sample when it is told to."""

    def sample(self, *, plist: bool = True) -> bytes:
        """What it prints of the time since the last one."""
        ...


class Tree(Files, Protocol):
    """A machine as a reader in this process meets it: a sysfs tree, with the other doors beside it."""

    @property
    def registers(self) -> Registers:
        """Its registers."""
        ...

    @property
    def events(self) -> PerfEvents:
        """Its perf events."""
        ...

    def windows(self) -> Calls:
        """The calls of a Windows on it."""
        ...

    def powermetrics(self) -> Program:
        """The tool of macOS on it."""
        ...

    @property
    def cpuinfo(self) -> bytes:
        """The text of its /proc/cpuinfo."""
        ...


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reader says of one domain: microjoules since its first sample, or None and why.

    `status` is "ok", "unknown", "reset" or "error"; `error` the errno name behind it, if there is one.
    """

    energy_uj: int | None
    status: str = "ok"
    error: str | None = None


class Right:
    """A right reader of powercap. `clock` gives the machine's nanoseconds."""

    interfaces = frozenset({"powercap"})

    def __init__(self, tree: Tree, clock: Callable[[], int]) -> None:
        self.tree = tree
        found = _Found(self.source(), self.zones)
        try:
            zones = found.discover()
        except OSError:
            zones = ()
        self.follower = Follower(found, Sampler(zones, clock=clock))
        self.follower.meter = self.meter()

    def source(self) -> Source:
        """Where zones are looked for."""
        return Powercap(self.tree)

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """What is made of the zones that were found, each time that they are looked for."""
        return zones

    def meter(self) -> Meter:
        """What adds up the samples."""
        return Meter()

    def sample(self) -> None:
        """Look at every counter; the first time is the baseline."""
        self.follower.sample()

    def close(self) -> None:
        """Give back every descriptor."""
        self.follower.sampler.close()

    def answer(self) -> dict[str, Reading]:
        """What every zone, by its path, and the machine spent since the baseline."""
        deltas = self.follower.meter.total()
        return {delta.zone.path: self.say(delta) for delta in deltas} | self.total(deltas)

    def say(self, delta: Delta) -> Reading:
        """What is said of one zone."""
        return Reading(delta.energy_uj, "unknown" if delta.status == "none" else delta.status, delta.error)

    def total(self, deltas: Sequence[Delta]) -> dict[str, Reading]:
        """What is said of the machine: nothing where no zone is counted."""
        counted = self.counted([delta.zone for delta in deltas])
        return self.added([delta for delta, one in zip(deltas, counted, strict=True) if one])

    def counted(self, zones: Sequence[Zone]) -> Sequence[bool]:
        """Which zones make the total: the packages and their memory, each once."""
        return [share.counted for share in shares(zones)]

    def added(self, deltas: Sequence[Delta]) -> dict[str, Reading]:
        """The sum of these zones, unknown where one of them is."""
        unknown = next((delta for delta in deltas if delta.energy_nj is None), None)
        if unknown is not None:
            return {TOTAL: Reading(None, unknown.status, unknown.error)}
        if not deltas:
            return {}
        return {TOTAL: Reading(sum(delta.energy_nj or 0 for delta in deltas) // 1000)}


class RightMsr(Right):
    """A right reader of registers."""

    interfaces = frozenset({"msr"})

    def source(self) -> Source:
        """The registers."""
        return Msr(self.tree.registers, self.tree, self.tree.cpuinfo)


class RightPerf(Right):
    """A right reader of perf events."""

    interfaces = frozenset({"perf"})

    def source(self) -> Source:
        """The PMUs `power` and `power_core`."""
        return Perf(self.tree.events, self.tree, self.tree.cpuinfo)


class RightWindows(Right):
    """A right reader on Windows: of its meters, or of the registers behind a driver."""

    interfaces = frozenset({"windows"})

    def source(self) -> Source:
        """The meters where there are any."""
        calls = self.tree.windows()
        if calls.device_interfaces(GUID_DEVICE_ENERGY_METER):
            return self.meters(calls)
        return self.driver(calls)

    def meters(self, calls: Calls) -> Source:
        """What reads the meters."""
        return Emi(calls)

    def driver(self, calls: Calls) -> Source:
        """What reads the registers."""
        return Scaphandre(calls)


class RightPowermetrics(Right):
    """A right reader of powermetrics."""

    interfaces = frozenset({"powermetrics"})

    def source(self) -> Source:
        """What it prints, added up."""
        return Powermetrics(begin=lambda: _Printed(self.tree.powermetrics(), self.read))

    def read(self, printed: bytes) -> Sample:
        """What one sample says."""
        return from_plist(printed)


class _Printed(Tally):
    """What powermetrics prints, as a reader understands it, added up."""

    def __init__(self, program: Program, read: Callable[[bytes], Sample]) -> None:
        super().__init__()
        self._program = program
        self._read = read

    def take(self) -> None:
        """Let it take a sample."""
        self.book(self._read(self._program.sample()))


class _Found:
    """A source whose zones go through the hands of a reader first."""

    def __init__(self, source: Source, change: Callable[[tuple[Zone, ...]], tuple[Zone, ...]]) -> None:
        self._source = source
        self._change = change

    @property
    def name(self) -> str:
        return self._source.name

    def signature(self) -> object:
        return self._source.signature()

    def discover(self) -> tuple[Zone, ...]:
        return self._change(self._source.discover())
