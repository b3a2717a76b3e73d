# SPDX-License-Identifier: Apache-2.0
"""`python -m raplica_simulator.parity`: what it counts, what it tells, and how it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from raplica_fixtures import recordings_dir
from raplica_simulator.linux import rapl_units
from raplica_simulator.parity import main

SMALL = recordings_dir() / "amd_19h-6.12.json.xz"


def test_a_recording_is_counted_and_agrees(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(SMALL)]) == 0
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first.startswith("amd_19h-6.12.json.xz: 150 tree entries, 37 reads and writes, ")
    assert last.startswith("1 recordings: 150 tree entries, ")
    assert last.endswith(" 0 differences")


def test_a_difference_is_told_and_is_the_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rapl_units, "_NJ_PER_J", 1_000_100_000)
    assert main([str(SMALL)]) == 1
    assert "energy_uj" in capsys.readouterr().out


def test_what_is_no_recording_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "no.json").write_text("{}", encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path / "no.json")])
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
