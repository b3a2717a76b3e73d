# SPDX-License-Identifier: Apache-2.0
"""The command, as far as it goes without Wine: what it skips, lists, compares and refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from wine_witness.images import COMPILER
from wine_witness.main import main
from wine_witness.recording import FOLDER
from wine_witness.scripts import SCRIPTS


def put(folder: Path, *names: str) -> None:
    folder.mkdir()
    for name in names:
        shutil.copy(FOLDER / f"{name}.json", folder)


@pytest.mark.parametrize("command", ["record", "check"])
def test_without_wine_it_skips_and_says_what_is_missing(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main([command, str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.startswith("wine witness: skipped: there is no wine on this machine; Debian has it")
    assert list(tmp_path.iterdir()) == []


def test_without_a_compiler_it_skips_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("wine", "wineboot", "wineserver"):
        (tmp_path / name).write_text("#!/bin/sh\necho wine-0.0\n", encoding="ascii")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["record", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.startswith(f"wine witness: skipped: there is no {COMPILER} on this machine")


def test_it_lists_the_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [script.name for script in SCRIPTS]


def test_a_script_that_there_is_not_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["record", "--script", "nothing", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "wine witness: there is no script 'nothing'; `list` tells those that there are\n"


def test_replaying_tells_the_points_and_what_was_excluded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path / "some", "service-stale-link", "open-refused")
    assert main(["replay", str(tmp_path / "some")]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines == ["31 points compared, 0 differ; 3 excluded as departures:", "stale-link 2", "status-of-an-open 1"]


def test_replaying_what_wine_did_not_say_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path / "some", "service-stale-link")
    path = tmp_path / "some" / "service-stale-link.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"state":1', '"state":4'), encoding="utf-8")
    assert main(["replay", str(tmp_path / "some")]) == 1
    assert "service-stale-link: step 5: ControlService" in capsys.readouterr().out


def test_a_folder_without_recordings_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(tmp_path)]) == 1
    assert main(["compare", str(FOLDER), str(tmp_path)]) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"wine witness: {tmp_path} has no recordings (*.json): `record` makes them"
    assert "have no recording in common" in second


def test_two_sets_of_recordings_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path / "one", "open-refused", "open-names")
    put(tmp_path / "same", "open-refused", "open-names")
    put(tmp_path / "other", "open-refused")
    changed = tmp_path / "same" / "open-names.json"
    head, *rest = changed.read_text(encoding="utf-8").splitlines(keepends=True)
    changed.write_text(head.replace("wine-8.0", "wine-11.0") + "".join(rest), encoding="utf-8")
    assert main(["compare", str(tmp_path / "one"), str(tmp_path / "same")]) == 0
    assert main(["compare", str(tmp_path / "one"), str(tmp_path / "other")]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "2 recordings compared, 0 steps differ; only in one: none",
        "1 recordings compared, 0 steps differ; only in one: open-names",
    ]
    changed.write_text(json.dumps(json.loads(changed.read_text(encoding="utf-8")) | {"steps": []}), encoding="utf-8")
    assert main(["compare", str(tmp_path / "one"), str(tmp_path / "same")]) == 1
    assert "open-names: the scripts are not the same" in capsys.readouterr().out
