# SPDX-License-Identifier: Apache-2.0
"""The commands about readers in this process, and what a person sees of a run on a terminal."""

import json
import runpy
from collections.abc import Sequence
from importlib import import_module
from io import StringIO
from pathlib import Path

import pytest

from raplica_conformance.clause import Clause
from raplica_conformance.cli import main
from raplica_conformance.judge import judge
from raplica_conformance.terminal import progress
from raplica_mutants import PROGRAMS, Program


def status_of(arguments: Sequence[str | Path]) -> int:
    """The exit status of the command in this process."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_a_reader_is_tried_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(["smoke", "--reader", "raplica-reader", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["works"] is True


def test_the_selftest_says_what_is_wrong_with_the_suite(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from raplica_conformance import selftest

    monkeypatch.setattr(selftest, "check", lambda say: selftest.Selftest(problems=[f"told: {say}"]))
    assert status_of(["selftest", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["problems"] == ["told: None"]


def test_cases_are_exported_into_a_folder_that_is_new(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "cases"
    assert status_of(["export", out, "topology/package-alone"]) == 0
    assert capsys.readouterr().out == f"1 case written to {out}\n"
    assert (out / "topology/package-alone/case.json").is_file()
    assert status_of(["export", out, "topology/package-alone"]) == 2
    told = capsys.readouterr().err
    assert "is not empty" in told
    assert told.count("\n") == 1


@pytest.mark.parametrize("is_new", [True, False])
def test_an_export_that_is_interrupted_leaves_no_half_and_what_was_there_before(
    is_new: bool,  # noqa: FBT001
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "cases"
    if not is_new:
        out.mkdir()

    def write(directory: str, _patterns: object) -> None:
        Path(directory).mkdir(exist_ok=True)
        Path(directory, "README.md").write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr("raplica_conformance.export.export", write)
    assert status_of(["export", out]) == 130
    assert out.exists() is not is_new


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["matrix", "no-such-tool"], "there is no such program"),
        (["matrix", "--full", "--case", "units/*"], "--full is every case"),
        (["smoke"], "name one reader"),
        (["smoke", "--reader", "no-such-program"], "there is no such program"),
        (["export", "here", "no/such"], "no/such"),
        (["run", "--unit", "J"], "name it with --reader"),
    ],
)
def test_what_is_asked_in_a_wrong_way_is_one_line_with_status_2(
    arguments: list[str], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert status_of(arguments) == 2
    told = capsys.readouterr().err
    assert why in told
    assert told.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_case_is_explained_with_what_is_right(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(["explain", "arithmetic/one-wrap"]) == 0
    told = capsys.readouterr().out
    for words in ("bug class", "effect", "read by", "scenario", "samples", "right", "thread", "conformance run arith"):
        assert words in told
    assert status_of(["explain", "arithmetic/one-warp"]) == 2
    assert "the nearest is arithmetic/one-wrap" in capsys.readouterr().err


def test_who_reads_the_output_may_go_away(monkeypatch: pytest.MonkeyPatch) -> None:
    given_up: list[bool] = []
    monkeypatch.setattr("raplica_conformance.cli._give_up_stdout", lambda: given_up.append(True))

    def gone(*_arguments: object, **_options: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("raplica_conformance.cli.click.echo", gone)
    assert status_of(["list"]) == 141
    assert given_up == [True]


def test_the_package_runs_as_a_module(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["conformance", "explain", "topology/all-sockets"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("raplica_conformance", run_name="__main__")
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("topology/all-sockets\n")


def test_on_a_terminal_the_lines_of_subjects_stand_above_a_bar(
    harness: dict[str, Clause], bare: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    pairs = [(harness[f"selftest.{name}"], bare(subject)) for subject in ("one", "[two]") for name in ("pass", "fail")]
    with progress(pairs, quiet=False) as each:
        for pair in pairs:
            each(judge(*pair))
    shown = terminal.getvalue()
    assert "judging" in shown
    # What rich would take for markup is shown as it is.
    for subject in ("one", "[two]"):
        assert f"{subject:<5}  1 pass, 1 fail" in shown


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_a_program_that_is_no_reader_does_nothing_when_it_is_imported(
    program: Program, capfd: pytest.CaptureFixture[str]
) -> None:
    name = f"raplica_mutants.programs.{program.name}"
    assert import_module(name).__doc__
    assert capfd.readouterr() == ("", "")
