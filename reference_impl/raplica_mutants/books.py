# SPDX-License-Identifier: Apache-2.0
"""A meter that keeps one line for each zone, so that a mutant can replace the arithmetic of one interval.

It does what `raplica_reader.Meter` does, without learning from steps how much power is possible: the last good reading
of a zone is its baseline, a reading that fails costs nothing but its own interval, and a zone of which one interval is
unknown is unknown as a whole.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from raplica_reader.meter import Delta, Meter
from raplica_reader.sample import Sample
from raplica_reader.step import Step, step
from raplica_reader.zone import Zone

__all__ = ["Books", "Change", "Interval", "Line"]

GONE = "ENODEV"


class Interval(NamedTuple):
    """Two counts of a zone, and the time between them."""

    zone: Zone
    before: int
    after: int
    duration_ns: int

    @property
    def back(self) -> int:
        """How far the counter went, in its parts; below 0 for one that went back."""
        position = self.zone.counter.position
        return (position(self.after) or 0) - (position(self.before) or 0)

    @property
    def period(self) -> int:
        """The counter's period in its parts; 0 where nobody knows it."""
        return self.zone.counter.period or 0


Change = Callable[[Interval, Step], Step]
"""What a mutant makes of an interval and of the right answer to it."""


def _nothing(_: Interval, right: Step) -> Step:
    return right


@dataclass(slots=True)
class Line:
    """One zone: its last good count and when, its sum in the counter's parts, and why that is unknown, if it is.

    `latest_error`: that of the latest reading. `trouble`: that of an interval, which stays.
    """

    zone: Zone
    last: int | None
    last_ns: int
    parts: int = 0
    latest_error: str | None = None
    trouble: str | None = None


class Books(Meter):
    """The lines of all zones by their paths; `samples` is how many were booked, the first and the latest at `…_ns`.

    `change` is what is wrong with an interval.
    """

    def __init__(self, change: Change = _nothing) -> None:
        super().__init__()
        self.change = change
        self.lines: dict[str, Line] = {}
        self.samples = 0
        self.first_ns = 0
        self.latest_ns = 0

    def add(self, sample: Sample) -> tuple[Delta, ...]:
        """Book a sample; what it means is told by `total`."""
        is_first = self.samples == 0
        self.samples += 1
        self.latest_ns = sample.at_ns
        if is_first:
            self.first_ns = sample.at_ns
        for zone, count, error in zip(sample.zones, sample.counts, sample.errors, strict=True):
            line = self.lines.get(zone.path)
            if line is None or line.zone.counter != zone.counter:
                self.lines[zone.path] = self.begin(zone, sample.at_ns, count, error, is_first=is_first)
            else:
                line.zone = zone
                self.book(line, sample.at_ns, count, error)
        here = {zone.path for zone in sample.zones}
        for path, line in self.lines.items():
            if path not in here:
                self.book(line, sample.at_ns, None, GONE)
        return ()

    def total(self) -> tuple[Delta, ...]:
        """What each zone spent since the first sample."""
        duration_ns = self.latest_ns - self.first_ns
        return tuple(self.told(line, duration_ns) for line in self.lines.values())

    def told(self, line: Line, duration_ns: int) -> Delta:
        """One zone: a number if every interval is known and the latest reading is good."""
        error = line.trouble or line.latest_error
        known = error is None and line.last is not None
        return Delta(line.zone, duration_ns, line.zone.counter.energy_nj(line.parts) if known else None, error)

    def begin(self, zone: Zone, at_ns: int, count: int | None, error: str | None, *, is_first: bool) -> Line:
        """The first reading of a zone: nothing is known of what was spent before it."""
        late = None if is_first or not zone.has_energy else error or GONE
        return Line(zone, count, at_ns, latest_error=error, trouble=late or error)

    def book(self, line: Line, at_ns: int, count: int | None, error: str | None) -> None:
        """One more reading of a zone."""
        line.latest_error = error
        if count is None:
            self.failed(line)
            return
        if line.last is not None:
            interval = Interval(line.zone, line.last, count, at_ns - line.last_ns)
            right = step(line.zone.counter, line.last, count, interval.duration_ns, line.zone.possible_w)
            parts, unknown = self.change(interval, right)
            line.parts += parts or 0
            line.trouble = line.trouble or unknown
        line.last, line.last_ns = count, at_ns

    def failed(self, line: Line) -> None:
        """Keep the baseline of a zone that could not be read."""
