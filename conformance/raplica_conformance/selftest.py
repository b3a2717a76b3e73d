# SPDX-License-Identifier: Apache-2.0
"""`conformance selftest`: the suite on trial.

A suite can be wrong in two ways, and both look like success: a case that nobody can fail, and one that fails readers
which are right. So readers that are wrong on purpose (`raplica_mutants`) have to fail the cases that they list and no
others, the reference reader has to pass all that a reader must and should, every case has to be failed by some mutant
or say why there is none, nobody may pass by saying 0 where something was spent, and programs that are no readers at all
must not harm the suite.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from raplica_conformance.chorus import play
from raplica_conformance.printable import printable
from raplica_conformance.readers.adapter import find_adapter
from raplica_conformance.readers.called import CalledPlug
from raplica_conformance.readers.plug import INTERFACES, TOTAL
from raplica_conformance.survival import survived
from raplica_fixtures.cases import Case, case_ids, load_case
from raplica_mutants import (
    PROGRAMS,
    Mutant,
    Program,
    Right,
    RightMsr,
    RightPerf,
    RightPowermetrics,
    RightWindows,
    mutants,
)

__all__ = ["Say", "Selftest", "check", "selftest_command"]

REFERENCES = (
    "raplica-reader",
    "raplica-reader-msr",
    "raplica-reader-perf",
    "raplica-reader-powermetrics",
    "raplica-reader-windows",
)
RIGHT = {
    "right": Right,
    "right_msr": RightMsr,
    "right_perf": RightPerf,
    "right_powermetrics": RightPowermetrics,
    "right_windows": RightWindows,
}
PATIENT = "topology/every-zone"
"""The case that programs are started on which are no readers."""


class SaysZero:
    """A reader of no use: 0 uJ for every zone that it finds, and for the machine."""

    def __init__(self, tree: Any, _clock: Callable[[], int]) -> None:
        self._tree = tree

    def sample(self) -> None:
        """It need not look."""

    def answer(self) -> Mapping[str, int]:
        """0."""
        return {TOTAL: 0} | {name: 0 for name in self._tree.listdir("class/powercap") if ":" in name}


class SaysZeroOfAll(SaysZero):
    """The same, and it tells of no zone."""

    def answer(self) -> Mapping[str, int]:
        """0."""
        return {TOTAL: 0}


IDLE = {"says_zero": SaysZero, "says_zero_of_all": SaysZeroOfAll}

Say = Callable[[str], None]
"""Told how it goes on, in lines."""

Failures = Mapping[str, Mapping[str, str | None]]
"""By the id of a case and the name of a reader: what is wrong, "" for nothing, None where the case is not about it."""


@dataclass(slots=True)
class Selftest:
    """What came out: how much was tried, what is wrong with the suite, and what could not be tried."""

    cases: int = 0
    mutants: int = 0
    programs: int = 0
    problems: list[str] = field(default_factory=list)
    untried: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """As a program reads it."""
        return {
            "format": 1,
            "cases": self.cases,
            "mutants": self.mutants,
            "programs": self.programs,
            "problems": self.problems,
            "untried": self.untried,
        }


def selftest_command(*, as_json: bool) -> int:
    """Try the suite and print what came out; the exit status: 0 nothing is wrong, 1 something is."""
    selftest = check(say=None if as_json else _progress)
    if as_json:
        click.echo(json.dumps(selftest.as_json(), indent=2))
        return 1 if selftest.problems else 0
    for line in selftest.untried:
        click.echo(printable(f"not tried: {line}"))
    for line in selftest.problems:
        click.echo(printable(f"wrong: {line}"))
    what = f"{selftest.mutants} mutants on {selftest.cases} cases, {selftest.programs} programs that are no readers"
    click.echo(f"{what}: {f'{len(selftest.problems)} wrong' if selftest.problems else 'all as it should be'}")
    return 1 if selftest.problems else 0


def _progress(text: str) -> None:
    click.echo(printable(text), err=True)


def check(
    cases: Sequence[Case] | None = None,
    table: Mapping[str, Mutant] | None = None,
    programs: Sequence[Program] = PROGRAMS,
    *,
    say: Say | None = None,
) -> Selftest:
    """Try the suite: all of it, or these cases with these mutants and these programs. `say` is told how it goes on."""
    whole = cases is None
    cases = [load_case(case_id) for case_id in case_ids()] if cases is None else cases
    table = mutants() if table is None else table
    selftest = Selftest(len(cases), len(table), len(programs))
    found = _played(cases, table.values(), say)
    _check_right(selftest, cases, found)
    for mutant in table.values():
        _check_mutant(selftest, mutant, cases, found, whole=whole)
    _check_cases(selftest, cases, found, table)
    _check_zero(selftest, cases, found)
    _check_programs(selftest, programs, say)
    return selftest


def _played(cases: Sequence[Case], table: Iterable[Mutant], say: Say | None) -> Failures:
    """Every case with every reader."""
    plugs = [CalledPlug(name, reader, reader.interfaces) for name, reader in RIGHT.items()]
    plugs += [CalledPlug(name, idle, frozenset(INTERFACES)) for name, idle in IDLE.items()]
    plugs += [CalledPlug(mutant.name, mutant.open, mutant.interfaces) for mutant in table]
    for name in REFERENCES:
        plug = find_adapter(name).plug()
        if not isinstance(plug, CalledPlug):
            raise TypeError(f"{name}: is a {plug.kind} reader, and only callables can be played together")
        plugs.append(plug)
    found: dict[str, Mapping[str, str | None]] = {}
    group = ""
    for case in cases:
        if say is not None and case.group != group:
            group = case.group
            say(f"{group}: {sum(one.group == group for one in cases)} cases with {len(plugs)} readers")
        found[case.id] = play(case, plugs)
    return found


def failed(reader: str, cases: Sequence[Case], found: Failures) -> dict[str, str]:
    """The cases that a reader fails, and how; of alternatives only where it fails all of their set."""
    said = {case.id: found[case.id].get(reader) for case in cases}
    held = {case.alternative for case in cases if case.alternative is not None and said[case.id] == ""}
    return {case.id: reason for case in cases if (reason := said[case.id]) and case.alternative not in held}


def _check_right(selftest: Selftest, cases: Sequence[Case], found: Failures) -> None:
    """The reference reader, and the reader that mutants are made of, pass what a reader must and should."""
    levels = {case.id: case.level for case in cases}
    for reader in (*RIGHT, *REFERENCES):
        selftest.problems.extend(
            f"{reader} is right, and fails {case_id} ({levels[case_id]}): {reason}"
            for case_id, reason in failed(reader, cases, found).items()
            if levels[case_id] != "may"
        )


def _check_mutant(selftest: Selftest, mutant: Mutant, cases: Sequence[Case], found: Failures, *, whole: bool) -> None:
    """A mutant fails what it lists, and nothing else that the right reader passes."""
    (right,) = (name for name, reader in RIGHT.items() if reader.interfaces == mutant.interfaces)
    inherited = {case.id for case in cases if found[case.id].get(right)}
    fails = {case_id: why for case_id, why in failed(mutant.name, cases, found).items() if case_id not in inherited}
    known = {case.id for case in cases}
    for case_id in mutant.fails:
        if case_id not in known and whole:
            selftest.problems.append(f"{mutant.name} lists {case_id}, which is no case")
        elif case_id in known and case_id not in fails:
            selftest.problems.append(f"{mutant.name} passes {case_id}, which it should fail: {mutant.wrong}")
    selftest.problems.extend(
        f"{mutant.name} fails {case_id}, which it does not list: {reason}"
        for case_id, reason in fails.items()
        if case_id not in mutant.fails
    )


def _check_cases(selftest: Selftest, cases: Sequence[Case], found: Failures, table: Mapping[str, Mutant]) -> None:
    """Every case has teeth, or says why no mutant shows them."""
    for case in cases:
        biting = [name for name, reason in found[case.id].items() if reason and (name in table or name in RIGHT)]
        if not biting and case.no_mutant is None:
            selftest.problems.append(f"no mutant fails {case.id}: nobody knows whether a reader can")
        elif biting and case.no_mutant is not None:
            selftest.problems.append(f"{case.id} says that no mutant fails it, and {biting[0]} does")


def _check_zero(selftest: Selftest, cases: Sequence[Case], found: Failures) -> None:
    """Saying 0 is right only where 0 is what a case asks for."""
    for case in cases:
        if any(wanted.energy == "zero" for wanted in case.expects):
            continue
        for name, idle in IDLE.items():
            if found[case.id].get(name) == "":
                about = (idle.__doc__ or "").partition("\n")[0]
                selftest.problems.append(f"{case.id} is passed by {name}, which is never right: {about}")


def _check_programs(selftest: Selftest, programs: Sequence[Program], say: Say | None) -> None:
    """What is no reader earns its verdict and leaves nothing behind."""
    case = load_case(PATIENT)
    for program in programs:
        if say is not None:
            say(f"{program.name}: {program.wrong}")
        for kind, wrong, untried in survived(program, case):
            if wrong:
                selftest.problems.append(f"{program.name} as a {kind} reader {wrong} (due: {program.verdict})")
            if untried:
                selftest.untried.append(f"{program.name} as a {kind} reader: {untried}")
