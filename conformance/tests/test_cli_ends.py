# SPDX-License-Identifier: Apache-2.0
"""The command `conformance` where something breaks, a clause, the output or the host: what it says, and its status."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from raplica_conformance.cli import main

# A whole suite or tree each time: the quick set of the other Pythons leaves them out.
pytestmark = pytest.mark.slow


def status_of(arguments: Sequence[str | Path]) -> int:
    """The exit status of the command in this process."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


#: A command line with two more clauses: one that raises what it should not, one that hangs.
WITH_BAD_CLAUSES = """
import sys
from raplica_conformance import clause, expect, host_pytest
from raplica_conformance.cli import main
meta = {"level": "must", "title": "A rule.", "group": "selftest", "source": "nowhere"}
@clause("selftest.crash", **meta)
def crash(tree):
    raise ZeroDivisionError("division by zero")
@clause("selftest.hang", **meta)
def hang(tree):
    while True: pass
@clause("selftest.fail", **meta)
def fail(tree):
    expect(1, 2, "one is two")
@clause("selftest.pass", **meta)
def good(tree):
    expect(1, 1, "one is one")
real = host_pytest.judge
host_pytest.judge = lambda *a, **k: real(*a, **{**k, "limit_s": 0.1 if a[0].id == "selftest.hang" else 60})
main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("names", "status", "words"),
    [
        ("pass", 0, "pass"),
        ("pass crash", 3, "broken pass"),
        ("pass hang", 1, "pass timeout"),
        ("crash fail", 1, "broken fail"),
        ("crash", 3, "broken"),
    ],
)
def test_what_crashes_is_3_what_hangs_is_1_and_1_wins(names: str, status: int, words: str, right_tree: Path) -> None:
    ids = [f"selftest.{name}" for name in names.split()]
    ran = subprocess.run(
        [sys.executable, "-c", WITH_BAD_CLAUSES, "run", *ids, "--tree", str(right_tree), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (status, "")
    assert sorted(result["verdict"] for result in json.loads(ran.stdout)["results"]) == words.split()


def test_a_reader_of_the_output_that_goes_away_gets_no_traceback() -> None:
    gone, pipe = os.pipe()
    os.close(gone)
    command = [sys.executable, "-m", "raplica_conformance", "list"]
    with os.fdopen(pipe, "w") as stdout:
        ran = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (141, "")


@pytest.mark.parametrize("arguments", [["list"], ["explain", "rapl.zone.energy"], ["run", "--machine", "kabylake"]])
def test_output_that_cannot_be_written_is_one_line_with_status_3(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "raplica_conformance", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (ran.returncode, ran.stderr) == (3, "conformance: No space left on device\n")


@pytest.mark.parametrize("trouble", ["no temporary folder", "only the user's folder", "no folder at all", "no pytest"])
def test_where_pytest_cannot_be_the_plain_loop_judges_the_same(
    trouble: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = ["run", "--machine", "kabylake", "--json"]
    assert status_of(wanted) == 0
    under_pytest = capsys.readouterr().out

    def gone(*_arguments: object, **_options: object) -> str:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(pytest, "main", gone)
    monkeypatch.chdir(tmp_path)
    if trouble == "no temporary folder":
        monkeypatch.setattr("tempfile.gettempdir", gone)
    elif trouble == "only the user's folder":
        monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    elif trouble == "no folder at all":
        monkeypatch.setattr(os, "getcwd", gone)
    else:
        monkeypatch.setitem(sys.modules, "raplica_conformance.host_pytest", None)
    assert status_of(wanted) == 0
    assert capsys.readouterr().out == under_pytest
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_is_one_line_and_its_usual_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("raplica_conformance.host_pytest.run", interrupt)
    assert status_of(["run", "--machine", "kabylake"]) == 130
    assert capsys.readouterr().err == "conformance: interrupted\n"


def test_a_host_that_breaks_down_is_status_3_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pytest, "main", lambda *_, **__: pytest.ExitCode.INTERNAL_ERROR)
    assert status_of(["run", "--machine", "kabylake"]) == 3
    printed = capsys.readouterr().err
    assert "pytest stopped after 0 of" in printed
    assert printed.count("\n") == 1


def test_a_report_onto_a_full_disk_is_one_line_and_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fchmod", full)
    assert status_of(["run", "--machine", "kabylake", "--report", tmp_path / "report.json"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
