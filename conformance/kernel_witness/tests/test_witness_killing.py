# SPDX-License-Identifier: Apache-2.0
"""What is made of the kills in a virtual machine, and what the committed ones say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kernel_witness.failure import StepError
from kernel_witness.killing import ENDING, kills_in, wrong_in

REPORTS = sorted((Path(__file__).parents[1] / "reports").glob(f"*{ENDING}"))
WHOLE = {"op": "whole run", "status": 0, "restored": True}
KILL = {
    "op": "killed",
    "number": 0,
    "restore_status": 0,
    "changed_at_kill": ["0 0x610 0x1"],
    "changed_after_restore": [],
}


def text(*lines: dict[str, Any]) -> str:
    return "".join(json.dumps(line) + "\n" for line in (*lines, {"end": {}}))


def test_the_whole_run_and_each_kill_are_read_from_what_the_machine_said() -> None:
    found = kills_in(text({"head": {}}, WHOLE, KILL, KILL))
    assert found["whole_run"] == {"status": 0, "restored": True}
    assert [kill["number"] for kill in found["kills"]] == [0, 0]
    assert wrong_in(found) == []


def test_a_machine_that_never_came_to_the_end_of_a_run_is_told() -> None:
    with pytest.raises(StepError, match="did not come to the end of one whole run"):
        kills_in(text({"head": {}}))


@pytest.mark.parametrize(
    ("whole", "kill"),
    [
        ({"status": 1}, {}),
        ({"restored": False}, {}),
        ({}, {"restore_status": 1}),
        ({}, {"changed_after_restore": ["0 0x610 0x1"]}),
    ],
)
def test_whatever_is_not_as_before_is_told(whole: dict[str, Any], kill: dict[str, Any]) -> None:
    assert len(wrong_in(kills_in(text(WHOLE | whole, KILL | kill)))) == 1


def test_fifty_kills_on_each_kernel_left_every_register_as_it_was() -> None:
    documents = [json.loads(path.read_text(encoding="utf-8")) for path in REPORTS]
    assert {document["kernel"] for document in documents} == {"6.1", "6.12"}
    for document in documents:
        assert wrong_in(document) == []
        assert len(document["kills"]) == 50
        # Kills before the first write and after the last one prove little: enough have to come between.
        assert sum(bool(kill["changed_at_kill"]) for kill in document["kills"]) >= 5
