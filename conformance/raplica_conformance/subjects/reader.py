# SPDX-License-Identifier: Apache-2.0
"""The reference reader as a subject: it reads a simulated machine in process, and the machine knows the truth.

The reader asks three calls of the tree that it reads; a simulated sysfs answers them itself, so no file and no
system call stands between the two. `powercap`, `msr`, `perf`,
`windows` and `powermetrics` are the same reader as a function that cases plug in.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from raplica_conformance.readers.plug import TOTAL, Answer, Reading
from raplica_conformance.subjects.simulator import SimulatedMachine, SimulatedTree
from raplica_reader import Follower, Handle, Meter, Powercap, Sampler, Source, discover, total
from raplica_reader.msr import Msr
from raplica_reader.perf import Perf
from raplica_reader.powermetrics import Powermetrics
from raplica_reader.powermetrics_output import from_plist
from raplica_reader.powermetrics_tally import Tally
from raplica_reader.windows import Scaphandre
from raplica_reader.windows_emi import Emi
from raplica_reader.windows_emi_layout import GUID_DEVICE_ENERGY_METER

if TYPE_CHECKING:
    from raplica_conformance.readers.doors import MachinePowermetrics, MachineTree

__all__ = ["FollowingReader", "ReferenceReader", "msr", "perf", "powercap", "powermetrics", "windows"]


class FollowingReader:
    """raplica_reader on one source of one machine, as a case wants it: told when to look, asked what was spent."""

    def __init__(self, source: Source, clock: Callable[[], int]) -> None:
        try:
            zones = source.discover()
        except OSError:
            # They may come later; until then there is nothing to list.
            zones = ()
        self._by_id = source.name == "powercap"
        self._follower = Follower(source, Sampler(zones, clock=clock))

    def sample(self) -> None:
        """Look once."""
        self._follower.sample()

    def answer(self) -> Answer:
        """What every zone with a counter has spent since the first look, and the machine as a whole."""
        spent = self._follower.meter.total()
        answer = {
            part.zone.id if self._by_id else part.zone.path: Reading(part.energy_uj, part.status, part.error)
            for part in spent
            if part.status != "none"
        }
        whole = total(spent)
        if whole.zones:
            status = "ok" if whole.energy_nj is not None else "unknown"
            answer[TOTAL] = Reading(whole.energy_uj, status, whole.error)
        return answer

    def close(self) -> None:
        """Give back what is open."""
        self._follower.sampler.close()


def powercap(tree: "MachineTree", clock: Callable[[], int]) -> FollowingReader:
    """The reader on the powercap tree."""
    return FollowingReader(Powercap(tree), clock)


def msr(tree: "MachineTree", clock: Callable[[], int]) -> FollowingReader:
    """The reader on the registers."""
    return FollowingReader(Msr(tree.registers, tree, tree.cpuinfo), clock)


def perf(tree: "MachineTree", clock: Callable[[], int]) -> FollowingReader:
    """The reader on perf events."""
    return FollowingReader(Perf(_Events(tree), tree, tree.cpuinfo), clock)


def windows(tree: "MachineTree", clock: Callable[[], int]) -> FollowingReader:
    """The reader on Windows: its energy meters where there are any, else the registers behind the driver."""
    calls = tree.windows()
    is_metered = calls.device_interfaces(GUID_DEVICE_ENERGY_METER)
    return FollowingReader(Emi(calls) if is_metered else Scaphandre(calls), clock)


def powermetrics(tree: "MachineTree", clock: Callable[[], int]) -> FollowingReader:
    """The reader on macOS's powermetrics."""
    return FollowingReader(Powermetrics(begin=lambda: _Printed(tree.powermetrics())), clock)


class _Printed(Tally):
    """What the machine's powermetrics prints, added up."""

    def __init__(self, program: "MachinePowermetrics") -> None:
        super().__init__()
        self._program = program

    def take(self) -> None:
        """Let it take a sample."""
        self.book(from_plist(self._program.sample()))


class _Events:
    """The machine's perf events in the reader's own words."""

    def __init__(self, tree: "MachineTree") -> None:
        self._tree = tree

    def open(self, pmu_type: int, config: int, cpu: int) -> Handle:
        """Begin to count."""
        return Handle(self._tree.events.open(pmu_type, config, cpu).read, None)


class ReferenceReader:
    """raplica_reader on one machine."""

    kind = "reader"
    can: frozenset[str] = frozenset()

    def __init__(self, machine: SimulatedMachine) -> None:
        self._machine = machine
        self.name = f"raplica-reader:{machine.name}"
        self.kernel = machine.kernel
        self.arguments = machine.arguments

    def fresh(self) -> "ReaderRun":
        """The reader before its first sample, on a machine that nobody has touched."""
        return ReaderRun(self._machine.anew(), self.name)


class ReaderRun:
    """The reader at work."""

    can: frozenset[str] = frozenset()

    def __init__(self, tree: SimulatedTree, name: str) -> None:
        self.name = name
        self.kernel = tree.kernel
        self.tree = tree
        self._zones = discover(tree)
        self._sampler = Sampler(self._zones, clock=lambda: tree.clock.now_ns)
        self._meter = Meter()

    def listed(self) -> dict[str, str]:
        """The path of each zone by its id."""
        return {zone.id: zone.path for zone in self._zones}

    def sample(self) -> None:
        """Take one sample and book it."""
        self._meter.add(self._sampler.sample())

    def restart(self) -> None:
        """Begin a new series."""
        self._meter = Meter()

    def spent_uj(self) -> dict[str, int | None]:
        """What each zone spent from the first sample to the latest, by id."""
        return {delta.zone.id: delta.energy_uj for delta in self._meter.total()}

    def truth_uj(self, path: str) -> int | None:
        """What the machine knows; nothing about zones without a meter."""
        try:
            return self.tree.machine.truth_uj(path)
        except ValueError:
            return None

    def break_reads(self, path: str, errno: int) -> None:
        """Let the kernel refuse every read of the attribute from now on."""
        self.tree.machine.sysfs.inject(path, on="read", errno=errno)
