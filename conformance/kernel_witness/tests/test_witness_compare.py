# SPDX-License-Identifier: Apache-2.0
"""Whether two recordings are told apart by everything but the day."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from kernel_witness.compare import compare_recordings
from kernel_witness.main import main
from raplica_fixtures import recording_paths
from raplica_fixtures.recording import Label, Recording, dump_recording, load_recording

SMALL = min(recording_paths(), key=lambda path: path.stat().st_size)


@pytest.fixture(scope="module")
def recording() -> Recording:
    return load_recording(SMALL)


def test_the_day_may_differ(recording: Recording) -> None:
    assert list(compare_recordings(recording, replace(recording, recorded="1999-01-01"))) == []


def test_a_head_that_differs_is_named(recording: Recording) -> None:
    assert list(compare_recordings(replace(recording, what="a"), replace(recording, what="b"))) == ["what: a and b"]


def test_a_log_that_differs_is_told_by_its_lines(recording: Recording) -> None:
    first, second = (replace(recording, log=("same", *more)) for more in ((), ("more",)))
    assert list(compare_recordings(first, second)) == ["log: nothing and ['more'], or the order"]


def test_a_step_that_differs_is_named_with_its_place(recording: Recording) -> None:
    first, second = (replace(recording, steps=(Label("x"), Label(text))) for text in ("a", "b"))
    assert list(compare_recordings(first, second)) == ["step 1 (label): text: {'text': 'a'} and {'text': 'b'}"]


def test_steps_that_are_missing_are_counted(recording: Recording) -> None:
    first = replace(recording, steps=(Label("x"),))
    assert list(compare_recordings(first, replace(recording, steps=()))) == ["1 steps and 0"]


def test_folders_are_compared_by_what_both_have(
    recording: Recording, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        shutil.copy(SMALL, folder / "same.json.xz")
    dump_recording(recording, first / "more.json.xz")
    dump_recording(replace(recording, steps=()), second / "other.json.xz")
    dump_recording(recording, first / "other.json.xz")
    assert main(["compare", str(first), str(second)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "other.json.xz: differs"
    assert "same.json.xz: the same" in lines
    assert lines[-1] == f"2 compared, 1 differ; 1 are only in {first}"
    assert main(["compare", str(first / "more.json.xz"), str(second / "same.json.xz")]) == 0


def test_what_is_no_recording_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(tmp_path), str(tmp_path)]) == 1
    (tmp_path / "wrong.json.xz").write_bytes(b"x")
    assert main(["compare", str(tmp_path), str(tmp_path)]) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert "have no recording in common" in first
    assert "wrong.json.xz" in second
