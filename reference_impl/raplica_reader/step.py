# SPDX-License-Identifier: Apache-2.0
"""Tell what a counter spent between two readings, or that nobody can tell.

A counter shows its position and nothing else. Between two readings it may have started again once, which can be put
right, or more than once, which cannot be seen, or somebody may have set it to another value (suspend, kexec, firmware,
a virtual machine that moved). What separates these is time: a domain has a power that it cannot exceed, so it has an
energy that it cannot have spent since the last reading.

* If one more turn than the least would still be possible in that time, the energy is *unknown*. It is never guessed.
* If the counter went backward, and even one turn is more than was possible, it is a *reset*: what was spent before it
  and after it is unknown, and the new reading is where counting begins again.
* A counter that only went forward is believed, whatever the power is.
"""

from typing import NamedTuple

from raplica_reader.counter import Counter

__all__ = ["CANNOT_BE", "MORE_TURNS", "RESET", "SLACK_NS", "UNEVEN", "Step", "step", "verdict", "word"]

CANNOT_BE = "ERANGE"
"""The error of a counter that went backward with no range by which that could be a wrap, or stands above its range."""
MORE_TURNS = "EOVERFLOW"
"""The error of a counter that may have started again more often than can be seen."""
RESET = "ESTALE"
"""The error of a counter that was set to another value since the last reading."""

UNEVEN = "EDOM"
"""The error of a sum whose parts are the energies of different times, which is the energy of none of them."""

SLACK_NS = 1_000_000_000
"""Added to the time between two readings: counters move about once a millisecond and not on the dot (SDM volume 3B,
"RAPL Interfaces"), and the zones of one sample are read one after the other."""

VERDICTS = {CANNOT_BE: "unknown", MORE_TURNS: "unknown", RESET: "reset", UNEVEN: "unknown"}


class Step(NamedTuple):
    """Energy in the counter's parts, or None and the error that says why."""

    parts: int | None
    error: str | None


def step(counter: Counter, before: int, after: int, duration_ns: int, possible_w: int) -> Step:
    """Compare two counts of one counter, `duration_ns` apart, of a domain that draws at most `possible_w` watts."""
    start, end = counter.position(before), counter.position(after)
    if start is None or end is None:
        return Step(None, CANNOT_BE)
    period = counter.period
    if period is None:
        return Step(end - start, None) if end >= start else Step(None, CANNOT_BE)
    most = counter.parts(possible_w * (duration_ns + SLACK_NS))  # W x ns = nJ
    spent = end - start if end >= start else end - start + period
    if end < start and spent > most:
        return Step(None, RESET)
    if spent + period <= most:
        return Step(None, MORE_TURNS)
    return Step(spent, None)


def verdict(error: str | None) -> str:
    """Name the status that an error stands for: ok, unknown, reset, or error for everything that a reading can give."""
    return "ok" if error is None else VERDICTS.get(error, "error")


def word(error: str) -> str:
    """What to call an error in a table: "unknown" or "reset", and a failed reading by its errno's name."""
    return VERDICTS.get(error, error)
