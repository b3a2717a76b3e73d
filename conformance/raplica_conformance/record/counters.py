# SPDX-License-Identifier: Apache-2.0
"""Watching energy counters: how often each one changes, and by what.

RAPL counters move about once a millisecond, by a unit of energy that is 2^-n J on most machines (Intel SDM vol. 3B
15.10.1; AMD PPR, RAPL_PWR_UNIT) and another one for DRAM on some servers. Both are measured here from outside, so that
a recording can be held against what the registers claim. All counters are read in turn, as fast as the machine answers.
"""

from __future__ import annotations

import os
import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median

from raplica_fixtures.recording import CounterFacts, Entry

__all__ = ["UNITS_NJ", "Clock", "facts_of", "sample", "unit_of"]

Clock = Callable[[], int]

#: Units that the Linux driver works with, in whole nanojoules as it cuts them: 2^-n J, and DRAM's 15.3 uJ.
UNITS_NJ = tuple(sorted({1_000_000_000 >> n for n in range(31)} | {15_300}, reverse=True))
# A file has whole microjoules: two of them are off by less than one each, and no smaller unit leaves a trace.
_BLUR_NJ = 1000
_MOST_TEXT = 64
_TOLD_EVERY_NS = 100_000_000


@dataclass(slots=True)
class _Watched:
    """One counter while it is watched: the moments at which a new value was seen first."""

    path: str
    handle: int
    range_uj: int | None
    reads: int = 0
    # A thousand changes a second, for up to an hour: as machine words.
    times_ns: array[int] = field(default_factory=lambda: array("Q"))
    values_uj: array[int] = field(default_factory=lambda: array("Q"))


def sample(
    root: Path,
    tree: Mapping[str, Entry],
    seconds: float,
    told: Callable[[float], None],
    clock: Clock = time.monotonic_ns,
) -> tuple[CounterFacts, ...]:
    """Read every `energy_uj` that read before, in turn, for so many seconds; `told` hears the part that is done.

    A counter that fails meanwhile is left out.
    """
    watched = _open_all(root, tree)
    try:
        start_ns = now_ns = clock()
        end_ns = start_ns + int(seconds * 1e9)
        next_ns = start_ns
        while watched and now_ns < end_ns:
            watched = [one for one in watched if _read(one, clock)]
            now_ns = clock()
            if now_ns >= next_ns:
                told(min((now_ns - start_ns) / max(end_ns - start_ns, 1), 1.0))
                next_ns = now_ns + _TOLD_EVERY_NS
        span_ns = now_ns - start_ns
    finally:
        for one in watched:
            os.close(one.handle)
    return tuple(facts_of(one.path, one.times_ns, one.values_uj, one.reads, span_ns, one.range_uj) for one in watched)


def _open_all(root: Path, tree: Mapping[str, Entry]) -> list[_Watched]:
    watched = []
    for path, entry in tree.items():
        folder, _, name = path.rpartition("/")
        if name == "energy_uj" and entry.read is not None and entry.read.content is not None:
            try:
                handle = os.open(root / path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError:
                continue
            watched.append(_Watched(path, handle, _range_uj(tree.get(f"{folder}/max_energy_range_uj"))))
    return watched


def _range_uj(entry: Entry | None) -> int | None:
    text = entry.read.content if entry is not None and entry.read is not None else None
    return int(text) if text and len(text) < _MOST_TEXT and text.strip().isdigit() else None


def _read(one: _Watched, clock: Clock) -> bool:
    """One read; tells whether the counter still answers, and closes it where it does not."""
    try:
        # sysfs makes the text anew for each read at offset 0.
        value = int(os.pread(one.handle, _MOST_TEXT, 0))
        if not 0 <= value < 1 << 64:
            raise ValueError("the kernel counts in 64 bits")
    except (OSError, ValueError):
        os.close(one.handle)
        return False
    one.reads += 1
    if not one.values_uj or value != one.values_uj[-1]:
        one.times_ns.append(clock())
        one.values_uj.append(value)
    return True


def facts_of(
    path: str, times_ns: Sequence[int], values_uj: Sequence[int], reads: int, span_ns: int, range_uj: int | None
) -> CounterFacts:
    """What the moments and values at which a counter was seen to change say about it.

    The first pair is where watching began, in the middle of an interval, so two changes are needed for one interval. A
    step back is a wrap, or, where no range is known, left out.
    """
    forward = [after - before for before, after in pairwise(values_uj) if after > before]
    wrapped = [after - before + range_uj for before, after in pairwise(values_uj) if after < before and range_uj]
    gaps = [after - before for before, after in pairwise(times_ns[1:])]
    return CounterFacts(
        path=path,
        reads=reads,
        changes=max(len(values_uj) - 1, 0),
        span_ns=span_ns,
        drawn_uj=sum(forward) + sum(wrapped),
        read_gap_ns=span_ns // reads if reads else 0,
        interval_ns=int(median(gaps)) if gaps else None,
        shortest_ns=min(gaps, default=None),
        longest_ns=max(gaps, default=None),
        smallest_step_uj=min((*forward, *wrapped), default=None),
        # What a wrap adds is known to the driver's unit only, and would blur the rest.
        unit_nj=unit_of(forward),
    )


def unit_of(steps_uj: Sequence[int]) -> int | None:
    """The largest of `UNITS_NJ` of which every step is a whole number, but for the cutting to microjoules; or None.

    None as well where there is no step, or where only units are left that are too small to be told apart.
    """
    distinct = set(steps_uj)
    for unit_nj in UNITS_NJ:
        if distinct and unit_nj > 2 * _BLUR_NJ and all(_explains(unit_nj, step_uj * 1000) for step_uj in distinct):
            return unit_nj
    return None


def _explains(unit_nj: int, step_nj: int) -> bool:
    count = (step_nj + unit_nj // 2) // unit_nj
    return count > 0 and abs(step_nj - count * unit_nj) < _BLUR_NJ
