# SPDX-License-Identifier: Apache-2.0
"""The command without packages: it says what `conformance` says, in the same words and with the same status."""

import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from raplica_conformance import cli, ending, plain
from raplica_conformance.clause import RETIRED, load_clauses
from raplica_fixtures.recording import RecordingError

RECORDINGS = Path(__file__).resolve().parents[2] / "fixtures" / "recordings"


def command(*arguments: object) -> int:
    """The status of the installed command."""
    with pytest.raises(SystemExit) as ended:
        cli.main([str(argument) for argument in arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def plainly(*arguments: object) -> int:
    """The status of the command without packages."""
    return plain.main([str(argument) for argument in arguments])


@pytest.fixture
def faulty_tree(right_tree: Path) -> Path:
    """A tree with one mistake: a name without its newline."""
    name = right_tree / "devices/virtual/powercap/intel-rapl/intel-rapl:0/name"
    name.chmod(0o644)
    name.write_text("package-0")
    return right_tree


def test_both_say_and_return_the_same_of_a_tree_and_of_a_recording(
    faulty_tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = RECORDINGS / "alderlake-6.12.json.xz"
    for arguments in (
        ["--tree", faulty_tree],
        ["powercap.zone.*", "--tree", faulty_tree, "--kernel", "6.1", "--json"],
        ["powercap.zone.*", "--tree", faulty_tree, "*.name-*", "--select", "*.errno.*", "--level", "must"],
        ["rapl.zone.*", "--recording", recording, "--tree", faulty_tree],
    ):
        said = []
        for run in (command, plainly):
            status = run("run", *arguments)
            printed = capsys.readouterr()
            said.append((status, printed.out, printed.err))
        assert said[0] == said[1]
        assert (said[0][0] == 1) == ("name-newline" in said[0][1])


@pytest.mark.parametrize("ending_", [".json", ".badge.json", ".xml", ".tap", ".ktap"])
def test_both_write_the_same_reports(ending_: str, faulty_tree: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"{name}{ending_}" for name in ("big", "plain")]
    for run, file in zip((command, plainly), files, strict=True):
        assert run("run", "powercap.zone.*", "--tree", faulty_tree, "--report", file) == 1
    assert files[0].read_text() == files[1].read_text() != ""


def test_todays_failures_are_expected_tomorrow(faulty_tree: Path, tmp_path: Path) -> None:
    known = tmp_path / "known.txt"
    assert plainly("run", "powercap.zone.*", "--tree", faulty_tree, "--emit-expectations", known) == 1
    assert "powercap.zone.name-newline" in known.read_text()
    assert plainly("run", "powercap.zone.*", "--tree", faulty_tree, "--expect", known) == 0
    assert command("run", "powercap.zone.*", "--tree", faulty_tree, "--expect", known) == 0


def test_both_list_the_same_clauses_and_cases_are_the_commands_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert plainly("list", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert command("list", "--json") == 0
    everything = json.loads(capsys.readouterr().out)
    assert listed == [entry for entry in everything if "/" not in entry["id"]]
    assert plainly("list") == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == sorted(load_clauses())


@pytest.mark.parametrize("clause_id", ["powercap.zone.name-newline", "no.such.clause", "rapl.old.rule"])
def test_both_explain_in_the_same_words(
    clause_id: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(RETIRED, "rapl.old.rule", "it was wrong on AMD")
    said = []
    for run in (command, plainly):
        status = run("explain", clause_id)
        printed = capsys.readouterr()
        # click says which command it was, and where its help is.
        said.append((status, printed.out, printed.err.partition(": ")[2].partition(" (see ")[0].strip()))
    assert said[0] == said[1]
    assert said[0][0] == (2 if clause_id.startswith("no.") else 0)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["run"], "name it with --real, --tree DIR, --recording FILE or --powermetrics CMD"),
        (["run", "--machine", "kabylake"], "--machine needs the simulator, which is not here"),
        (["run", "--reader", "./my-reader {sysfs}"], "--reader needs the simulator, which is not here"),
        (["run", "--tree", ".", "--report", "x.html"], "x.html: the page needs an installed raplica"),
        (["run", "--tree", ".", "--report", "x.txt"], "x.txt: there is no report"),
        (["run", "--tree", ".", "--report", "missing/x.json"], "the folder missing does not exist"),
        (["run", "--tree", ".", "--emit-expectations", "missing/x"], "the folder missing does not exist"),
        (["run", "--tree", ".", "--expect", "missing"], "missing: cannot be read"),
        (["run", "--tree", ".", "--kernel", "abc"], "--kernel 'abc' is not a kernel version"),
        (["run", "--tree", "x\ny"], r"--tree x\ny: is no directory"),
        (["run", "--recording", "missing.json"], "missing.json"),
        (["run", "--powermetrics", "'"], "No closing quotation"),
        (["run", "--tree", ".", "--live", "no.such.*"], "no clause matches 'no.such.*'"),
        (["run", "--tree", ".", "reader.*"], "about a reader"),
        (["run", "--tree", ".", "--level", "often"], "'must', 'should', 'may'"),
        (["run", "--rea"], "--rea"),
        (["run", "--tree", ".", "--wild-writes"], "allow that with --allow-writes"),
        (["explain"], "ID"),
        (["judge\n"], r"judge\n"),
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
    assert plainly(*arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert complaint in printed.err
    assert printed.err.count("\n") == 1


def test_a_place_without_powercap_is_status_3_in_the_same_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    for run in (command, plainly):
        assert run("run", "--tree", tmp_path, "--json") == 3
        said.append(capsys.readouterr())
    assert said[0] == said[1]
    assert "nothing to judge" in said[0].err


def test_a_tree_that_passes_beside_a_place_without_powercap_is_no_success(right_tree: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert plainly("run", "powercap.zone.*", "--tree", right_tree, "--tree", tmp_path / "empty") == 3


def test_the_tool_of_macos_is_judged_by_its_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert plainly("run", "macos.*", "--powermetrics", "false", "--json") == 1
    results = json.loads(capsys.readouterr().out)["results"]
    assert {result["subject"] for result in results} == {"false"}
    assert plainly("run", "macos.*", "--powermetrics", "/no/such/powermetrics") == 2
    assert "there is no program /no/such/powermetrics" in capsys.readouterr().err


def test_help_says_each_command_and_without_one_it_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert plainly("--help") == 0
    assert "run|list|explain|restore|record" in capsys.readouterr().out
    assert plainly() == 2
    assert plainly("run", "--help") == 0
    assert "Exit status" in capsys.readouterr().out


def test_the_version_is_the_installed_ones_or_the_given_one_or_said_to_be_unknown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from importlib import metadata

    assert plainly("--version") == 0
    assert capsys.readouterr().out == f"conformance (raplica) {metadata.version('raplica')}\n"
    assert plain.main(["--version"], version="1.2.3") == 0
    assert capsys.readouterr().out == "conformance (raplica) 1.2.3\n"

    def unknown(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", unknown)
    assert plainly("--version") == 0
    assert "unknown" in capsys.readouterr().out


def raising(error: BaseException) -> Callable[..., None]:
    def run(*_arguments: object, **_options: object) -> None:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (KeyboardInterrupt(), 130, "conformance: interrupted\n"),
        (BrokenPipeError(32, "Broken pipe"), 141, ""),
        (OSError(28, "No space left on device"), 3, "conformance: No space left on device\n"),
        (OSError(5, "Input/output error", "/x"), 3, "conformance: /x: Input/output error\n"),
    ],
    ids=["interrupt", "nobody reads", "full disk", "a file"],
)
def test_how_it_ends_when_it_cannot_go_on(
    error: BaseException,
    status: int,
    line: str,
    right_tree: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given_up: list[int] = []
    monkeypatch.setattr(os, "dup2", lambda _from, to: given_up.append(to))
    monkeypatch.setattr(plain, "run", raising(error))
    assert plainly("run", "--tree", right_tree) == status
    assert capsys.readouterr().err == line
    assert given_up == ([] if status == 130 else [1])


def test_a_signal_that_ends_it_is_named(right_tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import signal

    monkeypatch.setattr(ending, "asked_by", lambda: signal.SIGTERM)
    monkeypatch.setattr(ending, "status", lambda: 143)
    monkeypatch.setattr(plain, "run", raising(KeyboardInterrupt()))
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    assert plainly("run", "--tree", right_tree) == 143
    assert said.getvalue() == "conformance: ended by SIGTERM\n"


def test_expectations_that_cannot_be_written_are_one_line(
    right_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(plain, "emit_expectations", raising(OSError(28, "No space left on device")))
    assert plainly("run", "powercap.zone.*", "--tree", right_tree, "--emit-expectations", tmp_path / "known.txt") == 2
    assert "known.txt: cannot be written: No space left on device" in capsys.readouterr().err


def test_both_record_the_same_tree(right_tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    for run, name in ((command, "big.json"), (plainly, "plain.json")):
        assert run("record", "--sysfs", right_tree, "--kernel", "6.12", "-o", tmp_path / name) == 0
        said.append(capsys.readouterr().err.replace("big", "plain"))
    assert (tmp_path / "big.json").read_text() == (tmp_path / "plain.json").read_text()
    assert said[0] == said[1]
    assert plainly("record", "--sysfs", right_tree, "--kernel", "6.12", "--quiet") == 0
    printed = capsys.readouterr()
    assert (json.loads(printed.out)["format"], printed.err) == (1, "")


@pytest.mark.parametrize(
    ("arguments", "complaint", "status"),
    [
        (["--sysfs", "missing"], "--sysfs missing: is no directory", 2),
        (["-o", "machine.txt"], "-o machine.txt: must end in one of .json", 2),
        (["-o", "missing/machine.json"], "the folder missing does not exist; make it first", 2),
        (["--load-seconds", "-1"], "range", 2),
        (["--load-seconds", "many"], "--load-seconds", 2),
        (["--sysfs", ".", "--kernel", "abc"], "abc", 2),
        (["--sysfs", "."], "nothing to record", 3),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_recorded_is_refused_in_one_line(
    arguments: list[str],
    complaint: str,
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for run in (command, plainly):
        assert run("record", *arguments) == status
        printed = capsys.readouterr()
        assert printed.out == ""
        assert complaint in printed.err
        assert printed.err.count("\n") == 1


def test_a_copy_that_knows_its_version_says_it_in_what_it_records(
    right_tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["record", "--sysfs", str(right_tree), "--kernel", "6.12", "--quiet"]
    assert plain.main(arguments, version="7.8.9") == 0
    assert json.loads(capsys.readouterr().out)["capture"]["program"] == "conformance record (raplica 7.8.9)"


def test_what_does_not_fit_a_recording_is_said_so(
    right_tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("raplica_conformance.record.command.record", raising(RecordingError("tree: a name too odd")))
    said = []
    for run in (command, plainly):
        assert run("record", "--sysfs", right_tree, "--kernel", "6.12") == 3
        said.append(capsys.readouterr().err)
    assert said[0] == said[1]
