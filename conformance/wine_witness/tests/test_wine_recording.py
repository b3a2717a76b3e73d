# SPDX-License-Identifier: Apache-2.0
"""Whether a recording is read back as it was written, and what is none is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wine_witness.failure import WitnessError
from wine_witness.recording import FOLDER, Recording, dump, load
from wine_witness.step import Answer, Script, Step, fold

words = st.text(min_size=1, max_size=8)
names = words.filter(lambda word: word not in ("call", "said", "departure"))
steps = st.builds(Step, words, st.dictionaries(names, words | st.integers(), max_size=3), st.none() | words)
answers = st.dictionaries(words, st.booleans() | st.integers() | words, max_size=3)


@given(st.lists(st.tuples(steps, answers), max_size=4), words, words)
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[Step, Answer]], name: str, version: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "recording.json"
    script = Script(name, "what", tuple(step for step, _ in pairs))
    recording = Recording(script, tuple(said for _, said in pairs), version, "12")
    path.write_text(dump(recording), encoding="utf-8")
    assert load(path) == recording


@given(st.lists(st.sampled_from(("x", "y", "z")), min_size=6, max_size=6))
def test_the_rows_of_a_sweep_lead_back_to_each_answer(said: list[str]) -> None:
    sweep = Step("Sweep", {"inputs": 1, "outputs": 2})
    folded = fold(sweep, [{"ok": one} for one in said])
    answers, rows = folded["answers"], folded["rows"]
    assert isinstance(answers, dict)
    assert isinstance(rows, list)
    assert [answers[letter] for row in rows for letter in row] == [{"ok": one} for one in said]
    assert [len(row) for row in rows] == [3, 3]


def test_a_recording_has_a_line_for_each_step() -> None:
    path = FOLDER / "service-life.json"
    recording = load(path)
    assert dump(recording) == path.read_text(encoding="utf-8")
    assert len(path.read_text(encoding="utf-8").splitlines()) == len(recording.script.steps) + 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x", "is no recording of Wine's"),
        ("[]", "is no recording of Wine's"),
        ("{}", "KeyError('format'): record it again"),
        (json.dumps({"format": 2}), "has format 2, this program reads 1"),
        (json.dumps({"format": 1, "name": "n", "what": "w", "wine": "", "mingw": "", "steps": [{}]}), "KeyError"),
    ],
)
def test_what_is_no_recording_is_refused_in_one_line(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "recording.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(WitnessError) as caught:
        load(path)
    assert told in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(WitnessError, match=r"none\.json: No such file or directory"):
        load(tmp_path / "none.json")
