# SPDX-License-Identifier: Apache-2.0
"""Where the domains of one machine stand in a load that changes in steps: a course of the machine's timeline.

It goes through the steps that have become due.  Where many have, most are not made one by one: those that no limit
cuts are added up (:meth:`.Domains.leap`), and of those that come again and again one round is made and the others are
told to be alike (:meth:`.Domains.repeat`).  Both give what the single steps give, to the last bit; tests compare them.
"""

from raplica_simulator.hardware.domains import Domains, Mark
from raplica_simulator.load.steps import LoadSteps

__all__ = ["LoadWalk"]

_WORTH_IT = 8
_LONGEST_PAUSE = 64


class LoadWalk:
    """One machine's way through its load."""

    def __init__(self, domains: Domains, steps: LoadSteps) -> None:
        self._domains = domains
        self._steps = steps
        # The edge that comes next, and by how much later than the first time it comes.
        self._next = 0
        self._later_ns = 0

    def due_ns(self) -> int | None:
        """The moment of the next step; None when there will be none."""
        edges_ns = self._steps.edges_ns
        return edges_ns[self._next] + self._later_ns if self._next < len(edges_ns) else None

    def go(self, until_ns: int) -> None:
        """Make all steps up to a moment, each at its own."""
        # A leap leaves unknown what was visible on the way, so the last tick of the counters' grid is walked.
        far_ns = until_ns - self._domains.grid_ns
        mark: Mark | None = None
        walked, pause = 0, 1
        while (now_ns := self.due_ns()) is not None and now_ns <= until_ns:
            place = self._wrapped()
            self._domains.begin_step(self._steps, place, now_ns)
            if place == self._steps.first_again:
                mark = self._repeat(mark, now_ns, far_ns)
            self._next = place + 1
            walked += 1
            last = self._steps.place_at(far_ns - self._later_ns)
            if last > place and walked >= pause:
                reached = self._domains.leap(self._steps, place, last, self._later_ns)
                self._next = max(self._next, reached)
                # Where limits cut every few steps, looking for a leap costs more than it spares.
                walked, pause = 0, 1 if reached - place >= _WORTH_IT else min(2 * pause, _LONGEST_PAUSE)

    def _wrapped(self) -> int:
        """The place of the step that comes next; behind the last edge it is where all comes again."""
        if self._next == self._steps.count and self._steps.first_again is not None:
            self._next = self._steps.first_again
            self._later_ns += self._steps.again_ns
        return self._next

    def _repeat(self, mark: Mark | None, now_ns: int, far_ns: int) -> Mark | None:
        """Repeat what has happened since the mark, one round, as often as goes; the mark for the next round."""
        round_ns = self._steps.again_ns
        if mark is not None:
            times = self._domains.repeat(mark, now_ns, (far_ns - now_ns) // round_ns)
            self._later_ns += times * round_ns
            now_ns += times * round_ns
        # A round more, and one at least to be told alike.
        return self._domains.mark(now_ns) if far_ns - now_ns >= 2 * round_ns else None
