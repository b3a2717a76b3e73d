# SPDX-License-Identifier: Apache-2.0
"""Truth against answer over time, as numbers that a template makes an SVG of: no drawing library, no markup here.

A timeline is what `readers.details` writes into the JSON report. Truth is what the domain had spent since the first
sample; the answer is what the reader said, or, of a reader that says what counters show, how far that is from what it
said first. A sample without an answer leaves a gap.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["HEIGHT", "WIDTH", "Mark", "Plot", "Tick", "plot"]

#: The picture, in the units of its viewBox, and the frame of the axes inside it.
WIDTH, HEIGHT = 640, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 12, 14, 34
_TICKS = 5
#: (joules per unit, its name), from large to small.
_UNITS = ((10**6, "MJ"), (10**3, "kJ"), (1, "J"), (1e-3, "mJ"))
_UJ_PER_J = 10**6
_ANSWER = re.compile(r"(-?[0-9]+) uJ")


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark of an axis: how far along, and what stands beside it."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Mark:
    """One sample in the picture; `told` is what a pointer that rests on it shows."""

    x: float
    y: float
    told: str


@dataclass(frozen=True, slots=True)
class Plot:
    """One picture: `truth` and `answer` are unbroken lines of marks, `silent` are samples without an answer."""

    domain: str
    told: str
    unit: str
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    truth: tuple[tuple[Mark, ...], ...]
    answer: tuple[tuple[Mark, ...], ...]
    silent: tuple[Mark, ...]
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    top: int = _TOP
    bottom: int = HEIGHT - _BOTTOM


def plot(timeline: Mapping[str, Any], *, counters: bool = False) -> Plot | None:
    """The picture of one timeline; None where there is no truth, or no answer at all, to hold against the other."""
    samples = timeline["samples"]
    if not samples:
        return None
    truth = [None if one["spent_uj"] is None else one["spent_uj"] / _UJ_PER_J for one in samples]
    answer = _answers(samples, counters=counters)
    known = [value for value in (*truth, *answer) if value is not None]
    if all(value is None for value in truth) or not any(one["said"] for one in samples):
        return None
    times = [float(one["at_s"]) for one in samples]
    scale, unit = _unit(max(map(abs, known)))
    across = _ticks(min(times), max(times))
    up = _ticks(min(0.0, *(value / scale for value in known)), max(value / scale for value in known))

    def x(at_s: float) -> float:
        return _between(at_s, across, _LEFT, WIDTH - _RIGHT)

    def y(value: float) -> float:
        return _between(value, up, HEIGHT - _BOTTOM, _TOP)

    def lines(values: Sequence[float | None], who: str) -> tuple[tuple[Mark, ...], ...]:
        marks = [
            None if value is None else Mark(x(at_s), y(value / scale), f"{at_s:.12g} s: {who} {value:.9g} J")
            for at_s, value in zip(times, values, strict=True)
        ]
        return tuple(_unbroken(marks))

    return Plot(
        domain=timeline["domain"],
        told=_told(timeline["domain"], truth, answer),
        unit=unit,
        across=tuple(Tick(x(value), f"{value:.12g}") for value in across),
        up=tuple(Tick(y(value), f"{value:.12g}") for value in up),
        truth=lines(truth, "spent"),
        answer=lines(answer, "answered"),
        silent=tuple(
            Mark(x(at_s), HEIGHT - _BOTTOM, f"{at_s:.12g} s: {one['said'] or 'no answer'}")
            for at_s, value, one in zip(times, answer, samples, strict=True)
            if value is None
        ),
    )


def _answers(samples: Sequence[Mapping[str, Any]], *, counters: bool) -> list[float | None]:
    """What was said, in joules. Of energies that are counted from the first sample on, that itself need not be told."""
    found = [_ANSWER.fullmatch(one["said"]) for one in samples]
    said = [None if one is None else int(one[1]) for one in found]
    if not counters and not samples[0]["said"]:
        said[0] = 0
    first = next((value for value in said if value is not None), 0) if counters else 0
    return [None if value is None else (value - first) / _UJ_PER_J for value in said]


def _told(domain: str, truth: Sequence[float | None], answer: Sequence[float | None]) -> str:
    """The picture in a sentence, for who does not see it."""
    spent = next((value for value in reversed(truth) if value is not None), 0.0)
    last = next((value for value in reversed(answer) if value is not None), None)
    said = "the reader never gave an energy" if last is None else f"the reader's last answer is {last:.9g} J"
    return f"{domain}: {spent:.9g} J were spent in the end, and {said}."


def _unit(most_j: float) -> tuple[float, str]:
    """The unit in which the largest value is at least one."""
    return next(((scale, name) for scale, name in _UNITS if most_j >= scale), (1e-6, "uJ"))


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers that reach from below `low` to above `high`, some five."""
    # Moments that lie closer together than floats can tell are spread out.
    span = max(high - low, abs(high) * 1e-9) or 1.0
    high = max(high, low + span)
    rough = span / _TICKS
    size = 10.0 ** math.floor(math.log10(rough))
    step = size * next(factor for factor in (1, 2, 5, 10) if factor * size >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def _between(value: float, ticks: Sequence[float], start: int, end: int) -> float:
    """Where a value lies on an axis, in units of the picture, to a hundredth."""
    return round(start + (value - ticks[0]) / (ticks[-1] - ticks[0]) * (end - start), 2)


def _unbroken(marks: Sequence[Mark | None]) -> list[tuple[Mark, ...]]:
    """The marks in runs without a gap."""
    runs: list[list[Mark]] = [[]]
    for mark in marks:
        if mark is not None:
            runs[-1].append(mark)
        elif runs[-1]:
            runs.append([])
    return [tuple(run) for run in runs if run]
