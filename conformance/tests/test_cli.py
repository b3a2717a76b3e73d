# SPDX-License-Identifier: Apache-2.0
"""The command `conformance`: what it prints, what it refuses, and how it exits."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from raplica_conformance.clause import RETIRED, load_clauses
from raplica_conformance.cli import main
from raplica_conformance.listing import explained
from raplica_conformance.readers.case_clauses import all_clauses
from raplica_conformance.running import REFERENCE
from raplica_conformance.verdicts import VERDICTS
from raplica_fixtures import profile_ids

# A whole suite or tree each time: the quick set of the other Pythons leaves them out.
pytestmark = pytest.mark.slow

RECORDINGS = Path(__file__).resolve().parents[2] / "fixtures" / "recordings"


def conformance(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "raplica_conformance", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, **options)  # type: ignore[call-overload,no-any-return]


def status_of(arguments: Sequence[str | Path]) -> int:
    """The exit status of the command in this process."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture
def faulty_tree(right_tree: Path) -> Path:
    """A tree with one mistake: a name without its newline."""
    name = right_tree / "devices/virtual/powercap/intel-rapl/intel-rapl:0/name"
    name.chmod(0o644)
    name.write_text("package-0")
    name.chmod(0o444)
    return right_tree


def test_a_machine_and_the_reader_on_it_pass_and_the_status_is_0() -> None:
    ran = conformance("run", "--machine", "kabylake", "--kernel", "6.1")
    assert (ran.returncode, ran.stderr) == (0, "")
    lines = ran.stdout.splitlines()
    assert lines[0].split()[0] == "kabylake@6.1"
    assert lines[1].split()[0] == "raplica-reader:kabylake@6.1"
    about_them = [entry for entry in load_clauses().values() if entry.kind in ("provider", "reader")]
    assert lines[-1].startswith(f"{len(about_them)} clauses on 2 subjects: ")
    assert "fail" not in ran.stdout


@pytest.mark.untraced  # test_clauses_machines.py, test_reader_clauses.py and test_selftest.py show it
@pytest.mark.parametrize("kernel", ["6.1", "6.12"])
def test_every_built_in_machine_passes_on_both_kernels(kernel: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(["run", "--kernel", kernel, "--json"]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert {result["verdict"] for result in results} == {"pass", "not-applicable"}
    # The tree and the reader on each machine, and the reader on cases by each of its doors.
    assert len({result["subject"] for result in results}) == 2 * len(profile_ids()) + len(REFERENCE)


# All of them are judged by test_clauses_machines; here it is the command.
@pytest.mark.parametrize("recording", ["amd_19h-6.12.json.xz", "mmio-only-6.1.json.xz", "skx_2s-6.12.json.xz"])
def test_a_recorded_kernel_passes(recording: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(["run", "--recording", RECORDINGS / recording]) == 0
    assert "0 pass" not in capsys.readouterr().out


def test_a_right_tree_passes_and_a_faulty_one_fails_with_everything_that_a_person_needs(faulty_tree: Path) -> None:
    ran = conformance("run", "--tree", faulty_tree)
    assert (ran.returncode, ran.stderr) == (1, "")
    assert "\nFAIL  " in ran.stdout
    for word in ("rule", "reason", "source", "thread", "again"):
        assert f"\n    {word} " in ran.stdout
    again = next(line for line in ran.stdout.splitlines() if line.startswith("    again"))
    clause_id = again.split()[3]
    alone = conformance("run", clause_id, "--tree", faulty_tree, "--json")
    assert alone.returncode == 1
    (result,) = json.loads(alone.stdout)["results"]
    assert (result["id"], result["verdict"]) == (clause_id, "fail")


def test_json_is_one_document_alone_on_stdout_and_its_summary_counts_its_results(faulty_tree: Path) -> None:
    ran = conformance("run", "--tree", faulty_tree, "--machine", "kabylake", "--json")
    assert (ran.returncode, ran.stderr) == (1, "")
    document = json.loads(ran.stdout)
    assert document["format"] == 1
    counted = Counter(result["verdict"] for result in document["results"])
    assert document["summary"] == {word: counted[word] for word in VERDICTS}
    assert {frozenset(result) for result in document["results"]} == {
        frozenset({"id", "subject", "level", "verdict", "reason"})
    }


def test_reports_of_every_form_say_the_same(faulty_tree: Path, tmp_path: Path) -> None:
    paths = [tmp_path / f"report{suffix}" for suffix in (".json", ".xml", ".tap")]
    reports = [argument for path in paths for argument in ("--report", path)]
    ran = conformance("run", "--tree", faulty_tree, *reports)
    assert ran.returncode == 1
    summary = json.loads(paths[0].read_text())["summary"]
    suites = ET.parse(paths[1]).getroot()  # noqa: S314 - written a moment ago
    assert int(suites.attrib["failures"]) == summary["fail"] >= 1
    assert int(suites.attrib["tests"]) == sum(summary.values())
    tap = paths[2].read_text().splitlines()
    assert tap[:2] == ["TAP version 14", f"1..{sum(summary.values())}"]
    assert sum(line.startswith("not ok") for line in tap) == summary["fail"]


@pytest.mark.parametrize("suffix", [".txt", ".json"])
def test_known_failures_are_written_then_expected_then_stale(suffix: str, faulty_tree: Path, tmp_path: Path) -> None:
    known = tmp_path / f"known{suffix}"
    assert status_of(["run", "--tree", faulty_tree, "--emit-expectations", known]) == 1
    assert status_of(["run", "--tree", faulty_tree, "--expect", known]) == 0
    name = faulty_tree / "devices/virtual/powercap/intel-rapl/intel-rapl:0/name"
    name.chmod(0o644)
    name.write_text("package-0\n")
    name.chmod(0o444)
    assert status_of(["run", "--tree", faulty_tree]) == 0
    assert status_of(["run", "--tree", faulty_tree, "--expect", known]) == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["run", "no.such.clause"], "no clause matches 'no.such.clause'"),
        (["run", "powercap.*", "no.such.*"], "no clause matches 'no.such.*'"),
        (["run", "--select", "no.such.*"], "no clause matches 'no.such.*'"),
        (["run", "--machine", "kabylak"], "did you mean kabylake"),
        (["run", "--machine", "missing.toml"], "missing.toml"),
        (["run", "--machine", "kabylake", "--kernel", "6.5"], "nearest"),
        (["run", "--recording", "missing.json"], "missing.json"),
        (["run", "--tree", "missing"], "--tree missing: is no directory"),
        (["run", "--live"], "--tree DIR"),
        (["run", "--tree", ".", "--kernel", "abc"], "--kernel 'abc' is not a kernel version"),
        (["run", "--kernel", ""], "--kernel is empty"),
        (["run", "--tree", "x\ny\x1b[31m"], r"--tree x\ny\x1b[31m: is no directory"),
        (["run", "--report", "x\ny.pdf"], r"x\ny.pdf: there is no report"),
        (["run", "--expect", "x\ny"], r"x\ny: cannot be read"),
        (["run", "--machine", "x\ny.toml"], "y.toml"),
        (["run", "--allow-writes"], "name it with --real"),
        (["run", "--real", "--journal", "journal"], "allow that with --allow-writes"),
        (["run", "--real", "--kernel", "6.12"], "leave --kernel out"),
        (["run", "--reader", "./tool {sysfs}"], "./tool: there is no such program"),
        (["run", "--unit", "J"], "name it with --reader"),
        (["run", "--level", "often"], "'must', 'should', 'may'"),
        (["run", "--report", "report.pdf"], "'.pdf'"),
        (["run", "--report", "missing/report.json"], "the folder missing does not exist"),
        (["run", "--emit-expectations", "missing/known.txt"], "the folder missing does not exist"),
        (["run", "--expect", "missing.txt"], "cannot be read"),
        (["run", "reader.*", "--tree", "."], "about a reader"),
        (["run", "--no-such-option"], "--no-such-option"),
        (["run", "--machine"], "--machine"),
        (["explain", "no.such.clause"], "no clause"),
        (["explain"], "ID"),
        (["judge"], "judge"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_done_is_refused_in_one_line_with_status_2(
    arguments: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "class/powercap").mkdir(parents=True)
    assert status_of(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert complaint in printed.err
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("conformance")


def test_a_place_without_powercap_is_said_in_one_line_with_status_3(tmp_path: Path) -> None:
    ran = conformance("run", "--tree", tmp_path)
    assert (ran.returncode, ran.stdout) == (3, "")
    assert ran.stderr.startswith(f"conformance: no {tmp_path}/class/powercap here")
    assert ran.stderr.count("\n") == 1
    quiet = conformance("run", "--tree", tmp_path, "--json")
    assert quiet.returncode == 3
    assert json.loads(quiet.stdout) == {"format": 1, "summary": dict.fromkeys(VERDICTS, 0), "results": []}


def test_a_place_without_powercap_beside_others_takes_the_0_away_and_not_the_1(
    faulty_tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert status_of(["run", "--machine", "kabylake", "--tree", empty]) == 3
    assert status_of(["run", "--tree", faulty_tree, "--tree", empty]) == 1
    assert capsys.readouterr().err.count("conformance: no ") == 2


def test_this_machine_is_judged_or_has_nothing_to_judge_and_its_status_says_which() -> None:
    ran = conformance("run", "--real", "--json")
    results = json.loads(ran.stdout)["results"]
    if Path("/sys/class/powercap").exists():
        assert {result["subject"] for result in results} == {"real"}
        assert ran.returncode in (0, 1)
    else:
        assert results == []
        assert ran.returncode == 3
        assert "no /sys/class/powercap here" in ran.stderr


def test_a_hostile_folder_changes_nothing_and_gets_no_file(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    (tmp_path / "conftest.py").write_text("raise SystemExit(77)\n")
    (tmp_path / "tox.ini").write_text("[pytest]\nminversion = 999\n")
    hostile = {**os.environ, "PYTEST_ADDOPTS": "--no-such-option", "PYTEST_PLUGINS": "no_such_plugin"}
    before = sorted(tmp_path.iterdir())
    there = conformance("run", "--machine", "kabylake", "--json", cwd=tmp_path, env=hostile)
    assert (there.returncode, there.stderr) == (0, "")
    assert sorted(tmp_path.iterdir()) == before
    # Nobody can make a file in /proc, not even root.
    assert conformance("run", "--machine", "kabylake", "--json", cwd="/proc").stdout == there.stdout


def test_list_names_every_clause_once_in_the_order_of_ids(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == sorted(all_clauses())
    assert status_of(["list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [entry["id"] for entry in listed] == sorted(all_clauses())
    assert all({"id", "level", "title", "group", "source", "threads"} <= set(entry) for entry in listed)


def test_explain_tells_of_every_clause_its_rule_its_source_and_its_threads(capsys: pytest.CaptureFixture[str]) -> None:
    clauses = load_clauses()
    for entry in clauses.values():
        said = explained(clauses, entry.id)
        for text in (entry.id, entry.title, entry.level, entry.source, *entry.threads, f"conformance run {entry.id}"):
            assert text in said
    some = min(clauses)
    assert status_of(["explain", some]) == 0
    assert capsys.readouterr().out.rstrip("\n") == explained(clauses, some).rstrip("\n")


@pytest.mark.parametrize(
    "command", [[], ["run"], ["smoke"], ["restore"], ["selftest"], ["export"], ["list"], ["explain"]], ids=str
)
def test_every_command_has_help_with_an_example(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of([*command, "--help"]) == 0
    assert "Example" in capsys.readouterr().out


def test_the_version_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(["--version"]) == 0
    assert capsys.readouterr().out.startswith("conformance (raplica) ")


def test_without_a_command_the_help_is_shown_and_the_status_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of([]) == 2
    assert "Usage: conformance" in capsys.readouterr().err


def test_a_tree_of_any_name_is_judged_in_printable_lines_and_its_failures_are_expected_again(
    faulty_tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = faulty_tree.rename(tmp_path / "x\ny # \x1b[31m")
    known = tmp_path / "known.txt"
    assert status_of(["run", "--tree", odd, "--emit-expectations", known]) == 1
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert all(line.isprintable() for line in printed.split("\n"))
    assert status_of(["run", "--tree", odd, "--expect", known]) == 0


def test_a_place_without_powercap_is_named_in_one_printable_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x\ny").mkdir()
    assert status_of(["run", "--tree", tmp_path / "x\ny"]) == 3
    assert capsys.readouterr().err.startswith(rf"conformance: no {tmp_path}/x\ny/class/powercap here")


def test_explain_says_what_replaced_a_retired_clause(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(RETIRED, "rapl.old.rule", "it was wrong on AMD; rapl.zone.energy replaced it")
    assert status_of(["explain", "rapl.old.rule"]) == 0
    assert capsys.readouterr().out == ("rapl.old.rule\n  retired: it was wrong on AMD; rapl.zone.energy replaced it\n")
