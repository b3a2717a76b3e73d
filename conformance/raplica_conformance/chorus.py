# SPDX-License-Identifier: Apache-2.0
"""One case played with many readers of this process at once: the machine is made once, and all look at it in turn.

Most of what a case costs is its machine, and readers that only read do not disturb each other: while time stands, what
one was given is given to the next. Where a fault counts the reads ("the third read fails") they do disturb each other,
and there each reader has a machine of its own. The judging is that of `readers.trial`, and a test holds the two against
each other.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from raplica_conformance.clause import ClauseFailed, ClauseNotApplicable, ClauseTimedOut
from raplica_conformance.readers.called import CalledPlug
from raplica_conformance.readers.doors import MachineTree
from raplica_conformance.readers.moment import Moment
from raplica_conformance.readers.plug import INTERFACES, ReaderFault, Running
from raplica_conformance.readers.rule import findings
from raplica_conformance.readers.stage import Stage, scenario_of
from raplica_conformance.readers.trial import run_case
from raplica_fixtures.cases import Case

__all__ = ["play"]


def play(case: Case, plugs: Sequence[CalledPlug]) -> dict[str, str | None]:
    """What is wrong with each reader by its name: "" where nothing is, None where the case is not about it."""
    fit = [plug for plug in plugs if plug.interfaces & set(case.interfaces)]
    found = {plug.name: _alone(case, plug) for plug in fit} if _counts_reads(case) else _together(case, fit)
    return {plug.name: found.get(plug.name) for plug in plugs}


def _counts_reads(case: Case) -> bool:
    """Whether something happens at a certain read and not at a moment."""
    scenario = scenario_of(case)
    events = (one.event for one in scenario.events)
    counting = any(getattr(event, key, None) for event in events for key in ("after", "times", "read"))
    return counting or bool(scenario.profile.faults.sysfs)


def _alone(case: Case, plug: CalledPlug) -> str | None:
    try:
        run_case(case, plug)
    except ClauseNotApplicable:
        return None
    except (ClauseFailed, ClauseTimedOut) as failed:
        return str(failed)
    return ""


def _together(case: Case, plugs: Sequence[CalledPlug]) -> dict[str, str | None]:
    stage = Stage(case)
    stage.tree = echo = _Echo(stage, case.driver)
    voices = [_Voice(case, plug) for plug in plugs]
    try:
        for voice in voices:
            voice.open(stage)
        for at_ns in case.samples_ns:
            stage.go_to(at_ns)
            echo.forget()
            for voice in voices:
                voice.sample()
            looks = {door: stage.look(door) for door in {door for voice in voices for door in voice.moments}}
            for voice in voices:
                voice.note(looks)
        for voice in voices:
            voice.close()
        return {voice.name: voice.wrong() for voice in voices}
    finally:
        for voice in voices:
            voice.close()
        stage.close()


class _Echo(MachineTree):
    """The machine's tree, which says to all what it said to the first, an error as well, until it is to forget."""

    def __init__(self, stage: Stage, driver: str | None) -> None:
        super().__init__(stage.live.machine, driver)
        self._said: dict[tuple[str, str], Any] = {}

    def forget(self) -> None:
        """Time has passed."""
        self._said.clear()

    def listdir(self, path: str) -> list[str]:
        return list(self._once("listdir", path, super().listdir))

    def readlink(self, path: str) -> str:
        return str(self._once("readlink", path, super().readlink))

    def read(self, path: str) -> bytes:
        return bytes(self._once("read", path, super().read))

    @property
    def cpuinfo(self) -> bytes:
        return bytes(self._once("cpuinfo", "", lambda _: MachineTree.cpuinfo.__get__(self)))

    def _once(self, call: str, path: str, ask: Callable[[str], object]) -> Any:
        said = self._said.get((call, path))
        if said is None:
            try:
                said = ask(path)
            except OSError as error:
                said = error
            self._said[call, path] = said
        if isinstance(said, OSError):
            # Anew each time: an error that is raised again collects the frames of all who raised it.
            raise OSError(said.errno, said.strerror, said.filename)
        return said


class _Voice:
    """One reader among the others; silent from its first mistake on that is none of an answer."""

    def __init__(self, case: Case, plug: CalledPlug) -> None:
        self.name = plug.name
        self._case = case
        self._plug = plug
        self._running: Running | None = None
        self._fault = ""
        self.moments: Mapping[str, list[Moment]] = {
            door: [] for door in INTERFACES if door in plug.interfaces and door in case.interfaces
        }

    def open(self, stage: Stage) -> None:
        try:
            self._running = self._plug.open(stage)
        except ReaderFault as fault:
            self._fault = str(fault)

    def sample(self) -> None:
        if self._running is not None and not self._fault:
            try:
                self._running.sample()
            except ReaderFault as fault:
                self._fault = str(fault)

    def note(self, looks: Mapping[str, Moment]) -> None:
        if self._running is not None and not self._fault:
            try:
                answer = self._running.answer()
            except ReaderFault as fault:
                self._fault = str(fault)
                return
            for door, moments in self.moments.items():
                moments.append(replace(looks[door], answer=answer))

    def wrong(self) -> str | None:
        """As `Trial` judges it: by whichever door it read, one has to make it right."""
        if self._fault:
            return self._fault
        found = [
            [one for wanted in self._case.expects for one in findings(wanted, moments)]
            for moments in self.moments.values()
        ]
        best = min(found, key=lambda some: sum(bool(one.wrong) for one in some))
        if wrong := [one.wrong for one in best if one.wrong]:
            return wrong[0]
        return "" if any(not one.not_judged for one in best) else None

    def close(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            try:
                running.close()
            except ReaderFault as fault:
                self._fault = self._fault or str(fault)
