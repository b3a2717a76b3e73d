# SPDX-License-Identifier: Apache-2.0
"""A scenario: a machine, what it draws, and what goes wrong with it at which moment.  Data, and no code.

What a reader of energy must survive is written down here once, and the same file drives a machine in process, a mount
and ``raplica exec``.  Scenarios are TOML; the built-in ones lie in raplica_fixtures/scenarios.

>>> from raplica_simulator.live.machine import start
>>> live = start(scenario=Scenario.load("counter-reset"))
>>> with live.held() as machine:
...     before = int(machine.sysfs.read("class/powercap/intel-rapl:0/energy_uj"))
>>> live.advance(seconds=15)
>>> with live.held() as machine:
...     int(machine.sysfs.read("class/powercap/intel-rapl:0/energy_uj")) < before
True
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Self

from raplica_fixtures import scenario_ids, scenario_path
from raplica_simulator.faults.event import Event, read_seconds_value
from raplica_simulator.faults.verbs import read_event
from raplica_simulator.linux.kernel import find_kernel
from raplica_simulator.linux.msr_dev import MsrModule
from raplica_simulator.live.clock import LiveClock
from raplica_simulator.live.timeline import Timeline
from raplica_simulator.load.plan import LoadPlan, read_load
from raplica_simulator.machine import Machine
from raplica_simulator.profile.profile import Profile, load_profile, profile_of, read_document
from raplica_simulator.profile.shape import ProfileError, Where, describe, file_name, known_keys, text
from raplica_simulator.scenario.course import ScenarioCourse, TimedEvent

__all__ = ["Scenario"]

_KEYS = ("title", "why", "threads", "machine", "kernel", "load", "at_s", "near_wrap_s", "event")
_WHEN = ("at_s", "until_s")
_NS_PER_S = 10**9
_MOST_EVENTS = 10_000
_FILES = (".toml", ".json", ".json.gz", ".json.xz")


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario; make one with :meth:`load`.

    Attributes:
        id: its name: that of its file.
        title: one line for a list.
        why: which kind of bug it hunts.
        threads: where people have met it, ``owner/repository#number`` or an address.
        profile: its own machine.
        kernel: its own kernel, or None for the profile's.
        load_spec: what the machine draws, as ``--load`` has it; None for what its profile says.
        load_plan: the same, read.
        at_s: the seconds that the machine has run when it is first shown.
        near_wrap_s: the seconds after that at which every counter that moves wraps; None for no such thing.
        events: what happens, in the order of the moments.
    """

    id: str
    title: str
    why: str
    threads: tuple[str, ...]
    profile: Profile
    kernel: str | None = None
    load_spec: str | None = None
    load_plan: LoadPlan | None = None
    at_s: Fraction = Fraction(0)
    near_wrap_s: Fraction | None = None
    events: tuple[TimedEvent, ...] = ()

    @classmethod
    def load(cls, name_or_path: str | os.PathLike[str]) -> Self:
        """The built-in scenario of an id, or that of a ``.toml`` file.

        Raises ProfileError (a ValueError) in one line with the file, the key, what is wrong and what would be right.
        """
        name = os.fspath(name_or_path)
        if isinstance(name_or_path, str) and name in scenario_ids():
            return cls._read(scenario_path(name), name, name)
        if name.endswith(".toml"):
            path = Path(name)
            try:
                return cls._read(path, name, path.name.removesuffix(".toml"))
            except RecursionError:
                raise ProfileError(f"{file_name(name)}: is nested too deeply to be a scenario") from None
        near = difflib.get_close_matches(name, scenario_ids(), n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"the built-in ones are {', '.join(scenario_ids())}"
        raise ProfileError(f"{file_name(name)}: unknown scenario; {hint} (or give the path of a .toml file)")

    @classmethod
    def _read(cls, path: Path, file: str, scenario_id: str) -> Self:
        where = Where(file_name(file))
        # Installers that make links instead of copies make one for each file.
        folder = path.resolve().parent if path.is_symlink() else path.parent
        return cls.of(read_document(path, where, "scenario"), where, folder, scenario_id)

    @classmethod
    def of(cls, document: Mapping[str, object], where: Where, folder: Path, scenario_id: str) -> Self:
        """The scenario that a table says; ``where`` is its place in a file, and what it names lies in ``folder``.

        Raises as :meth:`load`.
        """
        known_keys(document, _KEYS, where)
        if "machine" not in document:
            raise where.error('machine is missing: give the id of one, such as machine = "skylake-sp-2s", or [machine]')
        spec = text(document["load"], where.at("load")) if "load" in document else None
        wrap_s = document.get("near_wrap_s")
        if wrap_s is not None and not (wrap_s := read_seconds_value(wrap_s, where.at("near_wrap_s"))):
            raise where.at("near_wrap_s").error("counters wrap after some time: say how many seconds, above 0")
        return cls(
            id=scenario_id,
            title=text(document.get("title", scenario_id), where.at("title")),
            why=text(document.get("why", "not said"), where.at("why")),
            threads=_read_threads(document.get("threads", []), where.at("threads")),
            profile=_read_machine(document["machine"], where.at("machine"), folder, scenario_id),
            kernel=_read_kernel(document["kernel"], where.at("kernel")) if "kernel" in document else None,
            load_spec=spec,
            load_plan=None if spec is None else _read_load(spec, where.at("load"), folder),
            at_s=read_seconds_value(document.get("at_s", 0), where.at("at_s")),
            near_wrap_s=wrap_s,
            events=_read_events(document.get("event", []), where.at("event")),
        )

    def begin(self, machine: Machine, clock: LiveClock, module: MsrModule | None = None) -> ScenarioCourse:
        """The events, to be done to ``machine`` as its ``clock`` goes on; ``module`` is its ``/dev/cpu/N/msr``."""
        return ScenarioCourse(self.events, machine, clock, module or MsrModule(machine))

    def rehearse(
        self, profile: Profile | None = None, kernel: str | None = None, load_plan: LoadPlan | None = None
    ) -> None:
        """Let everything happen on a machine that nobody sees, to its last event.

        ``profile``, ``kernel`` and ``load_plan`` replace the scenario's own.  Raises ProfileError (a ValueError), one
        line with the file, the event, its moment and what to do, for an event that does not fit the machine as it is
        by then.
        """
        if not self.events:
            return
        clock = LiveClock()
        machine = Machine.from_profile(profile or self.profile, kernel=kernel or self.kernel, clock=clock)
        plan = load_plan or self.load_plan
        load = None if plan is None else plan.begin(machine, clock)
        events = ScenarioCourse(self.events, machine, clock, MsrModule(machine), rehearsal=True)
        timeline = Timeline(clock, [events] if load is None else [load, events])
        timeline.catch_up()
        clock.advance(nanoseconds=max(0, self.events[-1].at_ns - clock.now_ns))
        timeline.catch_up()


def _read_kernel(value: object, where: Where) -> str:
    version = text(value, where)
    try:
        return find_kernel(version).version
    except ValueError as error:
        raise where.error(str(error)) from None


def _read_threads(value: object, where: Where) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise where.error(f"must be an array of texts, not {describe(value)}")
    return tuple(text(one, where.at(index)) for index, one in enumerate(value))


def _read_machine(value: object, where: Where, folder: Path, scenario_id: str) -> Profile:
    """A profile by its id, by a file beside the scenario, or written into it."""
    if isinstance(value, dict):
        return profile_of(value, where, scenario_id)
    name = text(value, where)
    machine = _beside(name, where, folder) if name.endswith(_FILES) else name
    try:
        return load_profile(machine)
    except ProfileError as error:
        raise where.error(str(error)) from None


def _read_load(spec: str, where: Where, folder: Path) -> LoadPlan:
    try:
        return read_load(str(_beside(spec, where, folder)) if spec.endswith(".csv") else spec)
    except ProfileError:
        raise
    except OSError as error:
        raise where.error(f"{spec}: {error.strerror}: name a file that can be read") from None
    except ValueError as error:
        raise where.error(str(error).removeprefix("load: ")) from None


def _beside(name: str, where: Where, folder: Path) -> Path:
    """A file that lies beside the scenario or below: a scenario from somewhere else reads nothing else."""
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise where.error(f"{name}: must lie beside the scenario or below it: give a relative path without ..")
    path = folder / name
    if path.exists():
        if not path.resolve().is_relative_to(folder.resolve()):
            raise where.error(f"{name}: must lie beside the scenario or below it, and this link leads out: copy it")
        if not path.is_file():
            raise where.error(f"{name}: is no file: name one that lies beside the scenario")
    return path


def _read_events(value: object, where: Where) -> tuple[TimedEvent, ...]:
    if not isinstance(value, list):
        raise where.error(f"must be an array of tables [[event]], not {describe(value)}")
    if len(value) > _MOST_EVENTS:
        raise where.error(f"{len(value)} events are too many: at most {_MOST_EVENTS}")
    events = [timed for index, table in enumerate(value) for timed in _timed(table, where.at(index))]
    # Of two at the same moment the one that stands first in the file happens first.
    return tuple(sorted(events, key=lambda timed: timed.at_ns))


def _timed(table: object, where: Where) -> Iterator[TimedEvent]:
    """One event, and where it has an end also that."""
    if not isinstance(table, dict):
        raise where.error(f"must be a table [[event]], not {describe(table)}")
    event: Event = read_event(table, where, _WHEN)
    at_ns = int(read_seconds_value(table.get("at_s", 0), where.at("at_s")) * _NS_PER_S)
    yield TimedEvent(at_ns, event, where)
    if "until_s" in table:
        until_ns = int(read_seconds_value(table["until_s"], where.at("until_s")) * _NS_PER_S)
        end = event.opposite()
        if end is None:
            raise where.at("until_s").error(f"{table['do']} has no end: write another event for what comes later")
        if until_ns <= at_ns:
            raise where.at("until_s").error("must be later than at_s: an event ends after it began")
        yield TimedEvent(until_ns, end, where.at("until_s"))
