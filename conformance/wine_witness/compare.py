# SPDX-License-Identifier: Apache-2.0
"""Whether somebody else answers a script as Wine did: everything has to be equal but the known departures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from wine_witness.departures import DEPARTURES
from wine_witness.recording import Recording
from wine_witness.step import Answer, Step, Windows, answer

__all__ = ["Comparison", "compare", "compare_recordings"]


@dataclass(frozen=True)
class Comparison:
    """What came of a comparison: each cell of a `Sweep` is a point, each other step is one.

    Attributes:
        points: how many were compared.
        excluded: how many of them were allowed to differ in some fields, and did, by departure.
        differences: a line for each step that differs where it may not, or does not where it should.
    """

    points: int
    excluded: dict[str, int]
    differences: tuple[str, ...]


def compare(recording: Recording, other: Windows) -> Comparison:
    """Let somebody else answer a recording's script, and compare."""
    points, excluded, differences = 0, dict[str, int](), []
    for number, (step, said) in enumerate(zip(recording.script.steps, recording.answers, strict=True)):
        pairs = list(_pairs(step, said, answer(step, other)))
        points += len(pairs)
        unlike = [pair for pair in pairs if pair[0] != pair[1]]
        if step.departure is not None:
            excluded[step.departure] = excluded.get(step.departure, 0) + len(unlike)
            if not unlike:
                differences.append(f"{_name(recording, number)}: {step.departure} makes no difference here any more")
        for wine, model in unlike:
            if _without(wine, step) != _without(model, step):
                differences.append(f"{_name(recording, number)}: Wine: {wine}, the other: {model}")
    return Comparison(points, excluded, tuple(differences))


def compare_recordings(first: Recording, second: Recording) -> tuple[str, ...]:
    """Return a line for each step that differs; the versions may."""
    if first.script != second.script:
        return (f"{first.script.name}: the scripts are not the same",)
    return tuple(
        f"{_name(first, number)}: {one} and {other}"
        for number, (one, other) in enumerate(zip(first.answers, second.answers, strict=True))
        if one != other
    )


def _name(recording: Recording, number: int) -> str:
    step = recording.script.steps[number]
    arguments = " ".join(f"{key}={value}" for key, value in step.arguments.items())
    return f"{recording.script.name}: step {number}: {step.call} {arguments}".rstrip()


def _without(said: Answer, step: Step) -> Answer:
    if step.departure is None:
        return said
    departure = DEPARTURES[step.departure]
    return {field: value for field, value in said.items() if not departure.covers(field)}


def _pairs(step: Step, wine: Answer, model: Answer) -> Iterator[tuple[Answer, Answer]]:
    if step.call == "Sweep":
        yield from zip(_cells(wine), _cells(model), strict=True)
    else:
        yield wine, model


def _cells(said: Answer) -> Iterator[Answer]:
    answers, rows = said["answers"], said["rows"]
    if not isinstance(answers, dict) or not isinstance(rows, list):
        raise TypeError("the answer of a sweep has answers and rows")
    for row in rows:
        for letter in row:
            yield answers[letter]
