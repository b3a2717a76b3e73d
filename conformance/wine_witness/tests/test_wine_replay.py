# SPDX-License-Identifier: Apache-2.0
"""The simulator's Windows answers every script as Wine did, but where Wine is known to be unlike Windows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from wine_witness.compare import compare
from wine_witness.departures import DEPARTURES
from wine_witness.model import Model
from wine_witness.recording import FOLDER, Recording, load_all
from wine_witness.scripts import SCRIPTS

RECORDINGS = {recording.script.name: recording for recording in load_all()}
PAGE = Path(__file__).resolve().parents[3] / "docs" / "wine.md"


@pytest.mark.parametrize("recording", RECORDINGS.values(), ids=RECORDINGS.keys())
def test_the_model_answers_as_wine_did(recording: Recording) -> None:
    found = compare(recording, Model(recording.script))
    assert found.differences == ()
    assert found.points >= len(recording.script.steps)


def test_every_script_is_recorded_as_it_stands() -> None:
    assert {name: recording.script for name, recording in RECORDINGS.items()} == {one.name: one for one in SCRIPTS}
    assert {path.stem for path in FOLDER.iterdir()} == set(RECORDINGS)


def test_all_recordings_come_from_the_same_versions() -> None:
    assert len({(recording.wine, recording.mingw) for recording in RECORDINGS.values()}) == 1


def test_only_the_known_departures_are_excluded_and_each_is_met() -> None:
    named = Counter(step.departure for script in SCRIPTS for step in script.steps if step.departure is not None)
    assert set(named) == set(DEPARTURES)


def test_the_manual_names_each_departure_with_its_reason() -> None:
    page = PAGE.read_text(encoding="utf-8").splitlines()
    rows = [f"| `{name}` | {one.wine} | {one.windows} | {one.source} |" for name, one in DEPARTURES.items()]
    assert [line for line in page if line.startswith("| `")] == rows
