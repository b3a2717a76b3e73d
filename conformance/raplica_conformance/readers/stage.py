# SPDX-License-Identifier: Apache-2.0
"""The machine that a case plays on: its time stands still until the case goes on, and it knows what was really spent.

A reader in this process reads it by `tree`; for a reader that is a program it is mounted, the first time that somebody
asks for a path. Both see the same machine at the same moment.
"""

import errno
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path

from raplica_conformance.clause import skip
from raplica_conformance.ending import held
from raplica_conformance.readers.doors import SHOWN, MachineTree, counter_of, powercap_unit_nj
from raplica_conformance.readers.moment import Moment, Spent
from raplica_fixtures import mac_ids
from raplica_fixtures.cases import Case
from raplica_simulator import Machine
from raplica_simulator.counters import COUNTER_MASK, Counter, counters_of
from raplica_simulator.linux.perf_power import power_pmus
from raplica_simulator.live.clock import LiveClock
from raplica_simulator.live.machine import start
from raplica_simulator.live.measured import domains, zones
from raplica_simulator.live.ownership import give_to_caller
from raplica_simulator.live.read_log import Call, ReadLog
from raplica_simulator.machine_registers import msr_units
from raplica_simulator.macos.mac_files import read_mac
from raplica_simulator.profile.shape import Where
from raplica_simulator.scenario.punctual import Punctual
from raplica_simulator.scenario.scenario import Scenario
from raplica_simulator.surfaces.fuse import CannotMount, FuseMount

__all__ = ["Stage", "scenario_of"]

_NS_PER_S = 10**9
_GRID_NS = 1_000_000  # the counters of every machine move once in so long (SDM vol. 3B, "RAPL Interfaces")
_MICROJOULE_NJ = Fraction(1000)

_SOME_MACHINE = "kabylake"  # where only the rest of a scenario is read

# A case is played with one reader after the other, and its scenario is data that nobody changes. Kept with the case, so
# that no other one can have its number.
_SCENARIOS: dict[int, tuple[Case, Scenario]] = {}
_MOST_SCENARIOS = 256


def scenario_of(case: Case) -> Scenario:
    """The scenario that a case names or holds. ValueError in one line where it is wrong."""
    known = _SCENARIOS.get(id(case))
    if known is not None and known[0] is case:
        return known[1]
    scenario = Scenario.load(case.scenario) if isinstance(case.scenario, str) else _own_scenario(case, case.scenario)
    if len(_SCENARIOS) >= _MOST_SCENARIOS:
        _SCENARIOS.clear()
    _SCENARIOS[id(case)] = case, scenario
    return scenario


def _own_scenario(case: Case, table: Mapping[str, object]) -> Scenario:
    """The scenario that stands in a case; its machine may be a Mac, which scenarios themselves know nothing of."""
    where = Where(case.id).at("scenario")
    machine = table["machine"]
    mac = read_mac(machine) if isinstance(machine, str) and machine in mac_ids() else None
    if mac is None:
        return Scenario.of(table, where, case.path.parent, case.id)
    others = Scenario.of({**table, "machine": _SOME_MACHINE}, where, case.path.parent, case.id)
    return replace(others, profile=mac[0])


class Stage:
    """One machine for one case, brought to the moment of its first sample.

    Attributes:
        live: the machine and its time.
        tree: the way in for readers in this process.
    """

    def __init__(self, case: Case) -> None:
        """ValueError for a scenario that is wrong, or that begins after the first sample."""
        scenario = scenario_of(case)
        if scenario.at_s > case.samples_s[0]:
            raise ValueError(
                f"{case.id}: the first sample lies before {scenario.at_s} s, where its machine is first shown"
            )
        self.live = start(scenario=scenario)
        self.live.log = self._log = _Log()
        self.tree = MachineTree(self.live.machine, case.driver)
        self._mount: FuseMount | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._log_read = 0
        self._units: dict[str, Fraction] = {}
        self._counters: dict[str, tuple[Counter, str] | None] = {}
        named = {expect.domain for expect in case.expects} | {name for expect in case.expects for name in expect.of}
        self._names = dict.fromkeys([*_possible(self.live.machine), *domains(self.live.machine), *sorted(named)])
        self.go_to(case.samples_ns[0])

    # The machine as a reader gets at it.

    @property
    def sysfs_dir(self) -> str:
        """The root of its sysfs, as a directory; skips the case where nothing can be mounted."""
        return f"{self.mount().directory}/sys"

    @property
    def dev_dir(self) -> str:
        """The directory that has its `cpu/N/msr`."""
        return f"{self.mount().directory}/dev"

    @property
    def cpu(self) -> str:
        """Its processor as FAMILY:MODEL, for a program that would else ask the one that it runs on."""
        cpu = self.live.machine.profile.cpu.id
        return f"{cpu.family}:{cpu.model}"

    def now_ns(self) -> int:
        """The machine's time."""
        return int(self.live.machine.clock.now_ns)

    def mount(self) -> FuseMount:
        """The mount, made at the first call; its reads are written down."""
        if self._mount is None:
            with held():
                self._folder = tempfile.TemporaryDirectory(prefix="raplica-case-")
                with self.live.held() as machine:
                    give_to_caller(machine)
                try:
                    self._mount = FuseMount(self.live, Path(self._folder.name, "machine"), host_files=True)
                except CannotMount as error:
                    self.close()
                    skip(f"nothing can be mounted here: {error}")
            # Where time stands between two samples, `look` knows the truth of all reads.
            self.live.log.switch(on=True, with_truth=False)
        return self._mount

    def close(self) -> None:
        """Unmount and leave nothing behind; closing twice does nothing."""
        if self._mount is not None:
            self._mount.close()
            self._mount = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    # What the suite does with it.

    def go_to(self, at_ns: int) -> None:
        """Let time go on to a moment, and everything happen that is due by then.

        A moment that is past is now: drivers up to 3.13 sleep while they look for domains, and time goes on meanwhile.
        """
        self.live.advance(nanoseconds=max(0, at_ns - self.now_ns()))
        if self._mount is not None:
            with self._changing():
                pass

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Hold the mounted machine; what comes meanwhile is the reader's as well, and known to it at the end."""
        with self.mount().held() as machine:
            yield
            give_to_caller(machine)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let time run by itself, once a program has looked at a counter for the first time.

        Until then it starts up, which takes as long as it takes and is no part of the case.
        """
        self.mount()
        with Punctual(self.live, self._changing):
            self._log.with_truth = True
            self._log.when_looked = self.live.let_time_run
            try:
                yield
            finally:
                self._log.when_looked, self._log.with_truth = None, False
                clock = self.live.machine.clock
                if isinstance(clock, LiveClock):
                    clock.stop()

    def energy_reads(self) -> list[Call]:
        """The looks at counters so far that were answered, oldest first; each knows the truth of its moment."""
        with self.live.held():
            return [
                call
                for call in self.live.log.since()
                if call.operation == "read" and call.truth_uj is not None and not call.errno and call.data
            ]

    def look(self, interface: str) -> Moment:
        """What there is to know now, by one interface. The answer of the reader is not in it yet."""
        with self.live.held() as machine:
            shown = tuple(SHOWN[interface](machine))
            if interface == "powercap":
                self._learn_units(machine)
            names = dict.fromkeys([*self._names, *(gauge.path for gauge in shown)])
            self._names = names
            spent = {name: one for name in names if (one := self._spent(machine, name, interface)) is not None}
            return Moment(self.now_ns(), shown, spent)

    def take_seen(self) -> dict[str, str]:
        """What the reader was given since the last call, the latest of each counter."""
        seen = dict(self.tree.seen)
        self.tree.seen.clear()
        if self._mount is not None:
            with self.live.held() as machine:
                for call in self.live.log.since(self._log_read):
                    self._log_read = call.number
                    key = counter_of(call.path, call.offset, machine)
                    if key is not None and call.errno:
                        seen[key] = errno.errorcode.get(call.errno, str(call.errno))
                    elif key is not None and call.operation == "read" and call.value is not None:
                        seen[key] = call.value
        return seen

    # The truth.

    def _spent(self, machine: Machine, name: str, interface: str) -> Spent | None:
        """What a domain has spent, in its counter's steps; None for a name that is no domain here."""
        try:
            joules = machine.truth_joules(name)
        except ValueError:
            return None
        truth_uj = int(joules * 1_000_000)
        if interface == "powermetrics":
            # It counts no register's steps, and rounds each sample by itself: cases give it a tolerance.
            return Spent(truth_uj, truth_uj, _MICROJOULE_NJ)
        if name not in self._counters:
            self._counters[name] = _counter_behind(machine, name)
        found = self._counters[name]
        if found is None:
            # Registered with the framework, with no register behind it: it counts whole microjoules at once.
            return Spent(truth_uj, truth_uj, _MICROJOULE_NJ)
        counter, kind = found
        kind_or_name = kind if interface == "perf" else name
        exact_j = counter.unit_j if interface == "powercap" else self._msr_units[kind]
        # Visible is what was spent up to the last update of the counters.
        late_ns = self.now_ns() % _GRID_NS
        visible_j = joules - machine.draw_w(name) * Fraction(late_ns, _NS_PER_S) if late_ns else joules
        unit_nj = {"powercap": self._units, "perf": self._perf_units}.get(interface, {}).get(kind_or_name)
        worth_nj = exact_j * _NS_PER_S if unit_nj is None else unit_nj
        return Spent(truth_uj, visible_j // exact_j, worth_nj, counter.content & COUNTER_MASK)

    @cached_property
    def _msr_units(self) -> dict[str, Fraction]:
        """The joules of a register's step in silicon, by kind of domain."""
        return msr_units(self.live.machine.profile)

    @cached_property
    def _perf_units(self) -> dict[str, Fraction]:
        """What perf takes a register's step for, in nJ by kind of domain: 2^-16 J also where silicon has 15.3 uJ."""
        return {
            event.kind: Fraction(_NS_PER_S << pmu.shift(event), 1 << 32)
            for pmu in power_pmus(self.live.machine)
            for event in pmu.events
        }

    def _learn_units(self, machine: Machine) -> None:
        """Note for every zone that is there what powercap says that a step is worth."""
        for zone in zones(machine):
            if zone.names not in self._units and (unit_nj := powercap_unit_nj(zone)) is not None:
                self._units[zone.names] = unit_nj


class _Log(ReadLog):
    """The log of a mount; somebody may want to hear of the next look at a counter, once.

    Attributes:
        when_looked: whom to tell, while the machine is held.
    """

    def __init__(self) -> None:
        super().__init__()
        self.when_looked: Callable[[], None] | None = None

    def command_of(self, pid: int, *, anew: bool) -> str:  # noqa: ARG002 - as it is called
        """Nothing: whoever looks here belongs to the reader that is judged."""
        return ""

    def add(self, call: Call) -> None:
        """Write a call down, and tell of it."""
        super().add(call)
        if self.when_looked is not None and call.truth_uj is not None and call.operation == "read":
            told, self.when_looked = self.when_looked, None
            told()


def _counter_behind(machine: Machine, name: str) -> tuple[Counter, str] | None:
    """The first register that counts a domain, and its kind; None where there is none. It is the same for good."""
    try:
        return counters_of(machine, name)[0], machine.place_of(name).kind
    except ValueError:
        return None


def _possible(machine: Machine) -> Iterator[str]:
    """Names of domains that this machine may have, whether or not a zone shows them at first."""
    topology = machine.profile.topology
    yield "psys"
    for package in range(topology.packages):
        for part in ("", "/core", "/uncore", "/dram"):
            yield f"package-{package}{part}"
