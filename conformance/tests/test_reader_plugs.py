# SPDX-License-Identifier: Apache-2.0
"""Readers of every kind on trial: the reference reader is right whichever way it is plugged in, wrong ones are not."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from raplica_conformance.clause import ClauseFailed, ClauseNotApplicable
from raplica_conformance.judge import judge
from raplica_conformance.loop import run
from raplica_conformance.readers.adapter import find_adapter
from raplica_conformance.readers.called import CalledPlug
from raplica_conformance.readers.case_clauses import all_clauses, case_clauses, clause_of
from raplica_conformance.readers.moment import Gauge, Moment, Spent
from raplica_conformance.readers.plug import Look, Reading
from raplica_conformance.readers.stage import Stage
from raplica_conformance.readers.subject import PluggedReader
from raplica_conformance.readers.timed import as_looked, best_findings
from raplica_conformance.readers.trial import run_case
from raplica_conformance.subjects.reader import FollowingReader, powercap
from raplica_conformance.verdicts import Verdict, summary
from raplica_fixtures.cases import Case, Expect, load_case
from raplica_simulator.surfaces.fuse_mounting import obstacle

CASES: dict[str, Case] = {}

mounted = pytest.mark.skipif(obstacle() is not None, reason=f"nothing can be mounted here: {obstacle()}")

OWN_CASE = """
title      = "Ten seconds of a machine on which nothing goes wrong"
level      = "must"
bug_class  = "base"
effect     = "joules that nobody spent"
threads    = ["mlco2/codecarbon#322"]
kernel_ref = "drivers/powercap/intel_rapl_common.c get_energy_counter"
interfaces = ["powercap", "msr"]
scenario   = "base"
samples_s  = [0, 1.5, 10]

[[expect]]
domain = "*"
energy = "truth"

[[expect]]
domain = "total"
energy = "truth"
"""


class Unspeakable(Exception):
    """An error that cannot even say what it is."""

    def __str__(self) -> str:
        raise ValueError

    def fail(self) -> None:
        raise self


@pytest.fixture
def own_case(tmp_path: Path) -> Case:
    """A case of this test's own, as anybody may write one."""
    file = tmp_path / "own" / "base.toml"
    file.parent.mkdir()
    file.write_text(OWN_CASE)
    return load_case(file)


def plug_of(function: Callable[..., Any], **keys: Any) -> CalledPlug:
    return CalledPlug("own", function, **keys)


def changed(change: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> Callable[..., Any]:
    """The reference reader, whose answer is changed before it is given."""

    class Changed(FollowingReader):
        def answer(self) -> Any:
            return change(super().answer())

    def made(tree: Any, clock: Any) -> Changed:
        right = powercap(tree, clock)
        return Changed(right._follower.source, clock)

    return made


@pytest.mark.untraced  # test_selftest.py shows it
@pytest.mark.parametrize("reader", ["raplica-reader", "raplica-reader-msr", "raplica-reader-perf"])
def test_the_reference_reader_passes_every_must_and_should_case_in_process(reader: str) -> None:
    subject = PluggedReader(find_adapter(reader).plug())
    clauses = all_clauses()
    cases = [clause for clause in case_clauses().values() if clause.level != "may"]
    verdicts = run([(case, subject) for case in cases], registry=clauses)
    counts = summary(verdicts)
    wrong = [(one.clause.id, one.reason) for one in verdicts if one.verdict not in ("pass", "not-applicable")]
    assert wrong == []
    assert counts["pass"] > 0


@mounted
@pytest.mark.parametrize(
    ("reader", "judged"),
    [("raplica-reader-stepped", 2), ("raplica-reader-list", 1)],
)
def test_the_reference_reader_is_right_as_a_program_too(reader: str, judged: int) -> None:
    plug = find_adapter(reader).plug()
    passed = 0
    try:
        for case_id in ("errors/enodata", "topology/all-sockets", "arithmetic/one-wrap"):
            try:
                run_case(load_case(case_id), plug)
                passed += 1
            except ClauseNotApplicable:
                # Who shows counters cannot say what was spent across a wrap.
                assert plug.counter
    finally:
        plug.close()
    assert passed >= judged


@mounted
def test_a_reader_with_a_clock_of_its_own_is_held_against_its_own_looks(tmp_path: Path) -> None:
    file = tmp_path / "own" / "window.toml"
    file.parent.mkdir()
    file.write_text(OWN_CASE.replace("1.5, 10", "1").replace('"base"\nsamples', '"wrap"\nsamples'))
    run_case(load_case(file), find_adapter("raplica-reader-read").plug())
    source = (
        "import json, pathlib, sys, time\n"
        "look = lambda: int(pathlib.Path(sys.argv[1], 'class/powercap/intel-rapl:0/energy_uj').read_text())\n"
        "first = look(); time.sleep(float(sys.argv[2]))\n"
        "print(json.dumps({'intel-rapl:0': (look() - first) * 2}))\n"
    )
    command = json.dumps(["{python}", "-c", source, "{sysfs}", "{seconds}"])
    adapter = tmp_path / "double.toml"
    adapter.write_text(f'kind = "timed"\ncommand = {command}\n')
    with pytest.raises(ClauseFailed, match="too much") as raised:
        run_case(load_case(file), find_adapter(str(adapter)).plug())
    (timeline,) = [one for one in raised.value.details.timelines if one.domain == "package-0"]  # type: ignore[attr-defined]
    assert [row.seen is not None for row in timeline.rows] == [True, True]


@mounted
@pytest.mark.parametrize(
    ("looks", "said", "why"),
    [
        (
            "for _ in range(2): look(); time.sleep(0.01)",
            "{'intel-rapl:0': 0}",
            r"ended \d\.\d+ s after its first look at",
        ),
        ("pass", "{'total': 0}", "never looked at a counter, where 10 s were to be measured, and says energies"),
    ],
)
def test_a_reader_with_a_clock_of_its_own_that_ends_early_has_measured_nothing(
    tmp_path: Path, looks: str, said: str, why: str
) -> None:
    source = (
        "import json, pathlib, sys, time\n"
        "look = pathlib.Path(sys.argv[1], 'class/powercap/intel-rapl:0/energy_uj').read_text\n"
        f"{looks}\n"
        f"print(json.dumps({said}))\n"
    )
    adapter = tmp_path / "early.toml"
    adapter.write_text(f'kind = "timed"\ncommand = {json.dumps(["{python}", "-c", source, "{sysfs}", "{seconds}"])}\n')
    case = tmp_path / "own" / "window.toml"
    case.parent.mkdir()
    # Longer than what a busy system takes for a program that ends at once.
    case.write_text(OWN_CASE.replace("1.5, 10", "10"))
    with pytest.raises(ClauseFailed, match=why):
        run_case(load_case(case), find_adapter(str(adapter)).plug())
    # One that ends early and says that it knows nothing is no worse than others that know nothing.
    adapter.write_text(adapter.read_text().replace(said, said.replace("0}", "None}")))
    with pytest.raises(ClauseFailed, match=r"where .* uJ are right|does not list it"):
        run_case(load_case(case), find_adapter(str(adapter)).plug())


def test_looks_at_one_end_of_a_window_are_not_what_a_reader_measured() -> None:
    """Ten milliseconds that are right are no answer for two seconds."""
    gauge = Gauge("intel-rapl:0", "package-0")
    ends = tuple(
        Moment(at_s * 10**9, (gauge,), {"package-0": Spent(at_s * 10**8, at_s * 10**8, Fraction(1000))})
        for at_s in (0, 2)
    )
    early = [Look(at_ns, "0", at_ns // 10) for at_ns in (0, 5 * 10**6, 10 * 10**6)]
    last = Look(19 * 10**8, "0", 19 * 10**7)
    assert as_looked((ends[0], ends[1]), {"package-0": early})[1].spent == ends[1].spent
    _, after = as_looked((ends[0], ends[1]), {"package-0": [*early, last]}, 2, 2)
    assert after.spent["package-0"].truth_uj == last.truth_uj
    answered = (ends[0], replace(ends[1], answer={"package-0": Reading(10**6)}))
    (finding,) = best_findings(Expect("package-0", "truth", 0, 1), 2, answered, {"package-0": early})
    assert "it says 1000000 uJ, and 200000000 uJ are right" in finding.wrong


def test_a_window_too_long_to_be_waited_for_is_not_applicable() -> None:
    with pytest.raises(ClauseNotApplicable, match="of real time"):
        run_case(load_case("arithmetic/an-hour"), find_adapter("true {seconds} {sysfs}").plug())


def test_a_case_about_other_doors_is_not_applicable(own_case: Case) -> None:
    with pytest.raises(ClauseNotApplicable, match="about powercap or msr, and this reader reads perf"):
        run_case(own_case, plug_of(powercap, interfaces=frozenset({"perf"})))


def test_a_case_of_anybodys_own_is_a_clause(own_case: Case) -> None:
    verdict = judge(clause_of(own_case), PluggedReader(plug_of(powercap)))
    assert (verdict.verdict, verdict.reason, verdict.clause.id) == ("pass", "", "own/base")
    assert verdict.clause.threads == ("https://github.com/mlco2/codecarbon/issues/322",)


def test_plain_numbers_and_none_are_an_answer(own_case: Case) -> None:
    plain = changed(lambda answer: {key: one.energy_uj for key, one in answer.items()})
    run_case(own_case, plug_of(plain))


def test_a_failure_tells_its_story(own_case: Case) -> None:
    double = changed(lambda answer: {key: one.energy_uj * 2 for key, one in answer.items() if key == "intel-rapl:0"})
    verdict = judge(clause_of(own_case), PluggedReader(plug_of(double), ("--reader", "m:f")))
    assert verdict.verdict == "fail"
    assert verdict.reason.startswith("package-0 from 0 s to 10 s: it says 999997440 uJ, and 499998720 uJ are right")
    assert verdict.reason.endswith("(and 7 more)")
    assert verdict.reproduce == "conformance run own/base --reader m:f"
    story = verdict.details
    assert story is not None
    said = story.as_json()
    assert said["errors"][0] == {"domain": "package-0", "energy_j": 499.99872, "power_w": 49.999872}
    samples = said["timelines"][0]["samples"]
    assert [row["at_s"] for row in samples] == [0.0, 1.5, 10.0]
    assert [row["spent_uj"] for row in samples] == [0, 75_000_000, 500_000_000]
    assert [row["said"] for row in samples] == ["0 uJ", "149999616 uJ", "999997440 uJ"]
    # What the reader saw is the counter, in the kernel's words.
    assert [int(row["seen"]) for row in samples] == [row["counter"] * 61035 // 1000 for row in samples]
    json.dumps(said)
    lines = list(story.lines())
    assert lines[0] == "effect  joules that nobody spent (base)"
    assert "error   package-0: +499.999 J, +49.9999 W" in lines
    assert all(line.isprintable() for line in lines)


def test_what_a_reader_could_not_read_is_in_its_story_by_its_errno() -> None:
    zero = changed(lambda answer: {key: one.energy_uj or 0 for key, one in answer.items()})
    with pytest.raises(ClauseFailed) as raised:
        run_case(load_case("errors/eacces"), plug_of(zero))
    seen = {row.seen for line in raised.value.details.timelines for row in line.rows}  # type: ignore[attr-defined]
    assert "EACCES" in seen


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda _tree, _clock: 1 / 0, "it cannot be made: it raised ZeroDivisionError"),
        (lambda _tree, _clock: SimpleNamespace(sample=lambda: CASES["x"]), "sample.*: it raised KeyError: 'x'"),
        (lambda _tree, _clock: SimpleNamespace(sample=lambda: None, answer=lambda: 5), "answers int"),
        (
            lambda _tree, _clock: SimpleNamespace(sample=lambda: None, answer=lambda: {"a": 0.5}),
            "of a it says 0.5: whole microjoules or null are wanted",
        ),
        (
            lambda _tree, _clock: SimpleNamespace(
                sample=lambda: None, answer=lambda: {"total": SimpleNamespace(energy_uj=1, status="fine")}
            ),
            "of total it says the status fine: ok, unknown, reset, error are known",
        ),
        (lambda _tree, _clock: sys.exit("enough"), "it cannot be made: it raised SystemExit: enough"),
        (lambda _tree, _clock: SimpleNamespace(sample=sys.exit), r"sample\(\): it raised SystemExit"),
        (
            lambda _tree, _clock: SimpleNamespace(sample=lambda: None, answer=lambda: sys.exit(5)),
            "raised SystemExit: 5",
        ),
        (
            lambda _tree, _clock: SimpleNamespace(sample=lambda: None, answer=lambda: {"total": 10**5000}),
            "of total it says an energy of 16610 bits",
        ),
        (
            lambda _tree, _clock: SimpleNamespace(sample=lambda: None, answer=dict, close=lambda: 1 / 0),
            r"close\(\): it raised ZeroDivisionError",
        ),
        (lambda _tree, _clock: Unspeakable().fail(), "it raised Unspeakable: something of type Unspeakable"),
        (lambda _tree, _clock: SimpleNamespace(sample=lambda: None, answer=dict), "does not list it"),
    ],
)
def test_a_function_that_breaks_down_fails_the_case(own_case: Case, function: Any, why: str) -> None:
    with pytest.raises(ClauseFailed, match=why):
        run_case(own_case, plug_of(function))


def test_a_function_that_hangs_is_a_timeout_and_leaves_nothing_behind(own_case: Case) -> None:
    def hang() -> None:
        while True:
            pass

    closed: list[bool] = []
    reader = SimpleNamespace(sample=hang, answer=dict, close=lambda: closed.append(True))
    # What is made once, on a busy system, is not to use up the time of this reader.
    run_case(own_case, plug_of(powercap))
    subject = PluggedReader(plug_of(lambda _tree, _clock: reader, limit_s=1))
    verdict = judge(clause_of(own_case), subject)
    assert (verdict.verdict, verdict.reason) == ("timeout", "did not end within 1 s")
    assert closed == [True]
    subject.close()
    assert closed == [True]


def test_one_of_several_alternatives_is_enough() -> None:
    clauses = all_clauses()
    subject = PluggedReader(find_adapter("raplica-reader").plug())
    chosen = [clause for clause in clauses.values() if clause.alternatives == "lost-interval"]
    verdicts: list[Verdict] = run([(clause, subject) for clause in chosen], registry=clauses)
    assert len(chosen) > 1
    assert {one.verdict for one in verdicts} == {"pass", "not-applicable"}


def test_what_is_optional_is_no_failure_of_who_does_without(own_case: Case) -> None:
    nothing = changed(lambda _answer: {})
    optional = replace(own_case, level="may")
    verdict = judge(clause_of(optional), PluggedReader(plug_of(nothing)))
    assert verdict.verdict == "not-applicable"
    assert verdict.reason.startswith("optional, and this reader does without: package-0 from 0 s")
    assert judge(clause_of(own_case), PluggedReader(plug_of(nothing))).verdict == "fail"


def test_the_doors_of_a_stage_show_one_machine(own_case: Case) -> None:
    stage = Stage(own_case)
    try:
        stage.go_to(3 * 10**9)
        text = stage.tree.read("class/powercap/intel-rapl:0/energy_uj")
        word = stage.tree.registers.read(0, 0x611)
        assert int(text) == (word & 0xFFFFFFFF) * 61035 // 1000
        assert stage.tree.listdir("bus/event_source/devices") == ["power"]
        assert stage.tree.read("devices/system/cpu/cpu0/topology/physical_package_id") == b"0\n"
        assert b"processor\t: 0" in stage.tree.cpuinfo
        assert stage.take_seen() == {"intel-rapl:0": text.decode().strip(), "package-0": f"{word:#x}"}
        assert stage.take_seen() == {}
    finally:
        stage.close()


@mounted
def test_a_mount_shows_the_machine_of_the_tree_and_its_reads_are_seen(own_case: Case) -> None:
    stage = Stage(own_case)
    try:
        file = Path(stage.sysfs_dir, "class/powercap/intel-rapl:1:2/energy_uj")
        assert file.read_bytes() == stage.tree.read("class/powercap/intel-rapl:1:2/energy_uj")
        stage.take_seen()
        stage.go_to(5 * 10**9)
        text = file.read_text()
        assert stage.take_seen() == {"intel-rapl:1:2": text.strip()}
        assert Path(stage.dev_dir, "cpu/0/msr").exists()
        folder = Path(stage.sysfs_dir).parent.parent
    finally:
        stage.close()
        stage.close()
    assert not folder.exists()


def test_a_case_that_begins_before_its_machine_is_refused(own_case: Case) -> None:
    wrong = replace(own_case, scenario={"machine": "kabylake", "at_s": 5})
    with pytest.raises(ValueError, match="lies before 5 s"):
        Stage(wrong)
