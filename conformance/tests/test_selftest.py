# SPDX-License-Identifier: Apache-2.0
"""The suite on trial: every mutant fails what it lists, and the harness outlives what is no reader at all."""

import json
import os
from collections.abc import Mapping
from dataclasses import replace

import pytest

from raplica_conformance import selftest
from raplica_conformance.chorus import play
from raplica_conformance.clause import ClauseFailed, ClauseNotApplicable
from raplica_conformance.judge import judge
from raplica_conformance.readers.called import CalledPlug
from raplica_conformance.readers.case_clauses import clause_of
from raplica_conformance.readers.subject import PluggedReader
from raplica_conformance.readers.trial import run_case
from raplica_conformance.selftest import PATIENT, check, selftest_command
from raplica_conformance.survival import survived
from raplica_fixtures.cases import GROUPS, Case, case_ids, load_case
from raplica_mutants import PROGRAMS, Mutant, Program, Right, mutants

SMALL = (
    "arithmetic/one-wrap",
    "errors/one-read-fails",
    "errors/one-register-read-fails",
    "errors/refused-meanwhile",
    "interfaces/perf-every-event",
    "interfaces/powermetrics-package",
    "interfaces/windows-sockets-of-one-group",
    "topology/driver-comes-back",
    "units/dram-15-uj-skylake-sp",
)
"""Of each kind one: with a wrap, with counted reads, with zones that go, by each of the doors."""


def cases(*names: str) -> list[Case]:
    return [load_case(name) for name in names]


def some(*names: str, **changes: object) -> Mapping[str, Mutant]:
    """These mutants, with other rows in the table."""
    return {name: replace(mutants()[name], **changes) for name in names}  # type: ignore[arg-type]


@pytest.mark.parametrize("group", GROUPS)
def test_every_mutant_fails_what_it_lists_and_nothing_else(group: str) -> None:
    """And the reference passes what a reader must and should, and some mutant fails each case."""
    tried = check(cases(*(name for name in case_ids() if name.startswith(f"{group}/"))), programs=())
    assert tried.problems == []
    assert tried.mutants > 30


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_the_harness_outlives_a_program_that_is_no_reader(program: Program) -> None:
    outcomes = list(survived(program, load_case(PATIENT)))
    assert [(kind, wrong) for kind, wrong, _ in outcomes] == [("oneshot", ""), ("stepped", "")]
    untried = [reason for _, _, reason in outcomes if reason]
    if untried and os.environ.get("RAPLICA_FUSE") == "required":
        pytest.fail(f"RAPLICA_FUSE=required, and nothing can be mounted here: {untried}")


def test_the_harness_outlives_a_reader_in_its_own_process_that_never_returns() -> None:
    class Loops(Right):
        def sample(self) -> None:
            while True:
                pass

    reader = PluggedReader(CalledPlug("loops", Loops))
    reader.limit_s = 0.2
    verdict = judge(clause_of(load_case(PATIENT)), reader, limit_s=0.2)
    reader.close()
    assert (verdict.verdict, verdict.reason) == ("timeout", "did not end within 0.2 s")


def test_a_program_that_earns_another_verdict_is_told() -> None:
    (silent,) = (program for program in PROGRAMS if program.name == "silent")
    ((kind, wrong, _), *_) = survived(replace(silent, verdict="pass"), load_case(PATIENT))
    assert kind == "oneshot"
    assert wrong.startswith("is fail: ")


def test_what_a_harness_leaves_behind_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that forgets to end what its readers started, and to remove a file."""
    monkeypatch.setattr("raplica_conformance.readers.program._kill_marked", lambda _mark: None)
    (forks,) = (program for program in PROGRAMS if program.name == "forks")
    outcomes = survived(forks, load_case(PATIENT))
    _, wrong, _ = next(outcomes)
    outcomes.close()
    name, _, pids = wrong.partition(": ")
    for pid in pids.split(", "):
        os.kill(int(pid), 9)
    assert name == "leaves processes behind"


def test_a_mutant_that_lists_too_much_is_told() -> None:
    fails = ("arithmetic/one-wrap", "arithmetic/reset-to-zero")
    tried = check(cases(*fails), some("wrap_ignored", fails=fails), ())
    assert any(
        line.startswith("wrap_ignored passes arithmetic/reset-to-zero, which it should fail") for line in tried.problems
    )


def test_a_mutant_that_lists_too_little_is_told() -> None:
    tried = check(cases("arithmetic/one-wrap"), some("wrap_ignored", fails=()), ())
    (line,) = tried.problems
    assert line.startswith("wrap_ignored fails arithmetic/one-wrap, which it does not list: ")


def test_a_case_that_no_mutant_fails_is_told() -> None:
    tried = check(cases("topology/every-zone"), some("wrap_ignored"), ())
    assert tried.problems == ["no mutant fails topology/every-zone: nobody knows whether a reader can"]


def test_a_case_may_say_why_no_mutant_fails_it_until_one_does() -> None:
    excused = replace(load_case("topology/every-zone"), no_mutant="nobody has been seen to")
    assert check([excused], some("wrap_ignored"), ()).problems == []
    excused = replace(load_case("arithmetic/one-wrap"), no_mutant="nobody has been seen to")
    (line,) = check([excused], some("wrap_ignored"), ()).problems
    assert line == "arithmetic/one-wrap says that no mutant fails it, and wrap_ignored does"


def test_a_case_that_is_passed_by_saying_0_is_told() -> None:
    case = load_case("topology/package-alone-beside-psys")
    loose = replace(case, expects=tuple(one for one in case.expects if one.energy == "at-most-truth"))
    told = [line for line in check([loose], {}, ()).problems if "which is never right" in line]
    assert [line.partition(", which")[0] for line in told] == [
        "topology/package-alone-beside-psys is passed by says_zero",
        "topology/package-alone-beside-psys is passed by says_zero_of_all",
    ]
    assert not [line for line in check([case], {}, ()).problems if "which is never right" in line]


def test_a_case_that_fails_right_readers_is_told() -> None:
    wrong = load_case("topology/every-zone")
    wrong = replace(wrong, expects=tuple(replace(one, energy="zero") for one in wrong.expects))
    told = [line for line in check([wrong], {}, ()).problems if "topology/every-zone (must)" in line]
    assert [line.partition(" is right, ")[0] for line in told] == ["right", "raplica-reader"]


def test_of_alternatives_a_reader_needs_one() -> None:
    """The reference fails one of the two, as every reader does; who adds psys to the packages fails both."""
    pair = cases("topology/total-is-psys", "topology/total-of-packages-and-memory")
    assert check(pair, some("psys_added", fails=("topology/total-of-packages-and-memory",)), ()).problems == []


@pytest.mark.parametrize("case_id", SMALL)
def test_many_readers_at_once_are_judged_as_each_alone(case_id: str) -> None:
    case = load_case(case_id)
    chosen = [mutants()[name] for name in mutants() if mutants()[name].interfaces & set(case.interfaces)][::4]
    plugs = [CalledPlug(mutant.name, mutant.open, mutant.interfaces) for mutant in chosen]
    plugs.append(CalledPlug("right", Right, Right.interfaces))
    together = play(case, plugs)
    for plug in plugs:
        try:
            run_case(case, plug)
            alone: str | None = ""
        except ClauseNotApplicable:
            alone = None
        except ClauseFailed as failed:
            alone = str(failed)
        said = together[plug.name]
        # A trial counts what else is wrong behind the first line.
        assert said == alone or (said and alone and alone.startswith(f"{said} (and ")), plug.name


def test_a_reader_among_many_that_breaks_down_when_it_is_closed_is_told_as_alone() -> None:
    class Unclosable(Right):
        def close(self) -> None:
            raise OSError("it will not")

    case, plug = load_case("topology/every-zone"), CalledPlug("unclosable", Unclosable)
    together = play(case, [plug, CalledPlug("right", Right)])
    with pytest.raises(ClauseFailed) as raised:
        run_case(case, plug)
    assert together == {"unclosable": str(raised.value), "right": ""}
    assert str(raised.value).startswith("close(): it raised OSError: it will not")


def test_the_command_prints_what_is_wrong_and_its_status_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def small(say: object) -> selftest.Selftest:
        del say
        return check(cases("arithmetic/one-wrap"), some("wrap_ignored", fails=()), ())

    monkeypatch.setattr(selftest, "check", small)
    assert selftest_command(as_json=False) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("wrong: wrap_ignored fails arithmetic/one-wrap")
    assert lines[1] == "1 mutants on 1 cases, 0 programs that are no readers: 1 wrong"
    assert selftest_command(as_json=True) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["format"], told["cases"], told["mutants"], told["programs"]) == (1, 1, 1, 0)
    assert len(told["problems"]) == 1


def test_the_command_ends_well_where_nothing_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def small(say: selftest.Say | None) -> selftest.Selftest:
        return check(cases("arithmetic/one-wrap"), some("wrap_ignored", fails=("arithmetic/one-wrap",)), (), say=say)

    monkeypatch.setattr(selftest, "check", small)
    assert selftest_command(as_json=False) == 0
    printed = capsys.readouterr()
    assert printed.out == "1 mutants on 1 cases, 0 programs that are no readers: all as it should be\n"
    assert printed.err == "arithmetic: 1 cases with 13 readers\n"
