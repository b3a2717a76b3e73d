# SPDX-License-Identifier: Apache-2.0
"""Whether a difference is seen, a departure lets through what it names and nothing else, and a stale one is told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from wine_witness.compare import compare, compare_recordings
from wine_witness.recording import Recording
from wine_witness.step import Answer, Script, Step, answer, call, unfold

SWEEP = call("Sweep", handle="h", code="0x22d844", input="aabb", inputs=1, outputs=2)


class Told:
    """Somebody who answers what it was told to, one answer after the other."""

    def __init__(self, answers: Iterable[Answer]) -> None:
        self._answers: Iterator[Answer] = iter(answers)

    def do(self, step: Step) -> Answer:
        del step
        return next(self._answers)

    def publish(self, machine: str, seconds: int) -> Answer:
        return {machine: seconds}

    def reboot(self) -> Answer:
        return {"rebooted": True}


def recording(step: Step, said: Answer) -> Recording:
    return Recording(Script("script", "what", (step,)), (said,), "wine-8.0", "12")


def test_equal_answers_are_one_point_and_no_difference() -> None:
    found = compare(recording(call("CreateFile", path="x"), {"ok": True}), Told([{"ok": True}]))
    assert (found.points, found.excluded, found.differences) == (1, {}, ())


def test_a_difference_is_told_with_its_step_and_both_answers() -> None:
    found = compare(recording(call("CreateFile", path="x"), {"ok": True}), Told([{"ok": False, "error": 2}]))
    assert found.differences == (
        "script: step 0: CreateFile path=x: Wine: {'ok': True}, the other: {'ok': False, 'error': 2}",
    )


def test_a_field_that_is_missing_is_a_difference() -> None:
    found = compare(recording(call("DeviceIoControl"), {"ok": True, "returned": 8}), Told([{"ok": True}]))
    assert len(found.differences) == 1


def test_a_departure_lets_its_fields_differ() -> None:
    step = call("StartService", "image-errors", service="s")
    found = compare(recording(step, {"ok": False, "error": 1114}), Told([{"ok": False, "error": 2}]))
    assert (found.excluded, found.differences) == ({"image-errors": 1}, ())


def test_a_departure_lets_no_other_field_differ() -> None:
    step = call("StartService", "image-errors", service="s")
    assert len(compare(recording(step, {"ok": False, "error": 1114}), Told([{"ok": True}])).differences) == 1


def test_a_departure_of_the_whole_answer_lets_everything_differ() -> None:
    step = call("StartService", "start-of-a-marked-service", service="s")
    assert compare(recording(step, {"ok": True}), Told([{"ok": False, "error": 1072}])).differences == ()


def test_a_departure_that_makes_no_difference_is_told() -> None:
    step = call("StartService", "image-errors", service="s")
    found = compare(recording(step, {"ok": False, "error": 2}), Told([{"ok": False, "error": 2}]))
    assert found.differences == (
        "script: step 0: StartService service=s: image-errors makes no difference here any more",
    )


def test_publishing_and_rebooting_are_asked_for_and_compared() -> None:
    said: tuple[Answer, ...] = ({"intel": 3}, {"rebooted": False})
    both = Recording(Script("s", "w", (call("Publish", machine="intel", seconds=3), call("Reboot"))), said, "", "")
    assert compare(both, Told([])).differences == (
        "s: step 1: Reboot: Wine: {'rebooted': False}, the other: {'rebooted': True}",
    )


def test_each_cell_of_a_sweep_is_a_point() -> None:
    one: Answer = {"ok": True}
    other: Answer = {"ok": False, "error": 1}
    wine = [one, one, one, other, other, other]
    said = answer(SWEEP, Told(wine))
    assert said == {"answers": {"a": one, "b": other}, "rows": ["aaa", "bbb"]}
    assert compare(recording(SWEEP, said), Told(wine)).points == 6
    found = compare(recording(SWEEP, said), Told([one, other, one, other, other, other]))
    assert len(found.differences) == 1


def test_a_sweep_asks_for_each_pair_of_lengths() -> None:
    assert [(step.arguments["input"], step.arguments["output_length"]) for step in unfold(SWEEP)] == [
        ("", 0),
        ("", 1),
        ("", 2),
        ("aa", 0),
        ("aa", 1),
        ("aa", 2),
    ]


def test_two_recordings_may_differ_in_their_versions_only() -> None:
    step = call("CreateFile", path="x")
    first = recording(step, {"ok": True})
    assert compare_recordings(first, Recording(first.script, first.answers, "wine-10", "14")) == ()
    assert compare_recordings(first, recording(step, {"ok": False, "error": 2})) == (
        "script: step 0: CreateFile path=x: {'ok': True} and {'ok': False, 'error': 2}",
    )
    assert compare_recordings(first, recording(call("CreateFile", path="y"), {"ok": True})) == (
        "script: the scripts are not the same",
    )
