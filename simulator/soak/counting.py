# SPDX-License-Identifier: Apache-2.0
"""What a counter may show at a moment, when everything about it is known: the power is constant, the clock the host's.

Whoever reads knows when the read began and when it ended.  Between two reads the counter has moved by the power times
the time between, within those bounds, modulo its range.  A torn number, a stale one and a step backward all lie
outside; a wrap does not.  Standard library only: a reader imports this and nothing else of the project.
"""

from dataclasses import dataclass
from fractions import Fraction

__all__ = ["PERIOD", "Course", "Judge"]

PERIOD = 1 << 32  # raw steps from one wrap to the next
_GRID_NS = 1_000_000  # of the machine's time: how often a counter is brought up to date


@dataclass(frozen=True, slots=True)
class Course:
    """How a counter moves.

    Attributes:
        steps_per_ns: raw steps in a nanosecond of the host.
        grid_steps: what one update of the counter adds, rounded up.
    """

    steps_per_ns: Fraction
    grid_steps: int

    @classmethod
    def of(cls, watts: int, unit_j: Fraction, speed: int) -> "Course":
        """The course under ``watts`` of a counter of ``unit_j`` joules a step, ``speed`` times as fast as the host."""
        steps_per_machine_ns = watts / unit_j / 10**9
        return cls(steps_per_machine_ns * speed, -int(-steps_per_machine_ns * _GRID_NS // 1))


class Judge:
    """Judges one reader's values one after the other.

    Attributes:
        wraps: how often the counter began anew.
        unsure: values about which nothing can be said, because the read took longer than a whole period.
    """

    def __init__(self, course: Course) -> None:
        self.wraps = 0
        self.unsure = 0
        self._numerator = course.steps_per_ns.numerator
        self._denominator = course.steps_per_ns.denominator
        # The counter may be one update behind, at the anchor and now; and one step for each rounding.
        self._slack = course.grid_steps + 2
        self._last = -1
        # What all others are compared with: the value that was read in the shortest time so far.
        self._anchor = -1
        self._anchor_ns = (0, 0)

    def judge(self, raw: int, before_ns: int, after_ns: int) -> str:
        """What is wrong with ``raw``, read between two moments of the host's monotonic clock; "" for nothing."""
        wrong = ""
        if self._anchor < 0:
            self._anchor, self._anchor_ns = raw, (before_ns, after_ns)
        else:
            least = self._steps(before_ns - self._anchor_ns[1]) - self._slack
            most = self._steps(after_ns - self._anchor_ns[0]) + self._slack
            over = (raw - self._anchor - least) % PERIOD - (most - least)
            if most - least >= PERIOD:
                self.unsure += 1
            elif over > 0:
                # Nearer to the end, seen round the circle, or to the beginning of where it may be.
                early = over <= (PERIOD - (most - least)) // 2
                wrong = "ahead" if early else "stale" if raw == self._last else "behind"
            elif after_ns - before_ns < self._anchor_ns[1] - self._anchor_ns[0]:
                self._anchor, self._anchor_ns = raw, (before_ns, after_ns)
        if not wrong:
            self.wraps += raw < self._last
            self._last = raw
        return wrong

    def _steps(self, span_ns: int) -> int:
        return span_ns * self._numerator // self._denominator
