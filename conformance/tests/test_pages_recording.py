# SPDX-License-Identifier: Apache-2.0
"""What a browser saw of the pages, replayed: of today's templates, in both themes, and with nothing to mend."""

import json
from typing import Any

import pytest

from page_witness.main import RECORDING, made_of
from page_witness.samples import HOSTILE, pages


@pytest.fixture(scope="module")
def recording() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(RECORDING.read_text(encoding="utf-8"))
    return document


def test_the_recording_is_of_todays_templates(recording: dict[str, Any]) -> None:
    assert recording["templates"] == made_of(), "the templates have changed: run `tox -e browser`, and look at them"


def test_every_page_was_seen_by_day_and_by_night_on_a_desk_and_on_a_telephone(recording: dict[str, Any]) -> None:
    names = [name for name, _ in pages()]
    assert names
    looks = [f"{name}, {width} px, {theme}" for name in names for width in (1200, 400) for theme in ("light", "dark")]
    assert sorted(recording["seen"]) == sorted(looks)


def test_nothing_was_to_mend(recording: dict[str, Any]) -> None:
    for look, seen in recording["seen"].items():
        assert seen["is_good"], look
        assert seen["passes"] > 20, look
        for what in ("violations", "said", "asked_for", "wrong"):
            assert seen[what] == [], look


def test_the_pages_that_are_looked_at_hold_text_that_wants_to_be_markup() -> None:
    for name, text in pages():
        assert "<script>window.hacked" not in text
        assert ("&lt;script&gt;window.hacked" in text) is (name != "report-of-one")
    assert "\u202e" in HOSTILE
