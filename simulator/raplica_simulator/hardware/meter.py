# SPDX-License-Identifier: Apache-2.0
"""The energy of one domain: a straight line, bent where the draw changes, and what a counter shows of it.

Mirrors the energy status registers of Intel SDM vol. 3B 15.10: a counter steps about once a millisecond, in whole steps
of its unit.  Nothing ticks and no rounding adds up.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Protocol

from raplica_simulator.clock import Clock

__all__ = ["Meter"]

_FEMTOJOULES_PER_J = 10**15


class _Owner(Protocol):
    """Who bends the lines: the domains of a machine, which know until when the present ones hold."""

    until_ns: int

    def settle(self, now_ns: int) -> None: ...


class Meter:
    """The energy of one domain. Made by `Domains.meter`, one for each domain."""

    __slots__ = ("_clock", "_grid_ns", "_joules_per", "_line", "_owner", "_rate", "denominator", "unit_j")

    def __init__(self, owner: _Owner, clock: Clock, grid_ns: int, unit_j: Fraction, scale: int) -> None:
        self._owner = owner
        self._clock = clock
        self._grid_ns = grid_ns
        # One part for one nanosecond is 1 / (10^15 x scale) J: the factor to raw steps as a reduced fraction
        # whose numerator goes into the line and whose denominator divides once, at the read.
        step = 1 / (unit_j * _FEMTOJOULES_PER_J * scale)
        self.unit_j = unit_j
        self.denominator = step.denominator
        self._joules_per = Fraction(1, step.numerator * _FEMTOJOULES_PER_J * scale)
        self._rate = step.numerator
        # Since when the line holds, the fractions of a step that were visible then, offset and rate: read in one go.
        self._line = (0, 0, 0, 0)

    def steps(self) -> int:
        """Whole raw steps counted since time 0, as visible at the last tick of the update grid; never wraps."""
        # As `fractions`, said again because every read of a counter comes here and a call costs as much as the rest.
        now_ns = self._clock.now_ns
        owner = self._owner
        if now_ns >= owner.until_ns:
            owner.settle(now_ns)
        since_ns, held, offset, rate = self._line
        tick_ns = now_ns - now_ns % self._grid_ns
        return (held if tick_ns < since_ns else offset + rate * tick_ns) // self.denominator

    def fractions(self) -> int:
        """The same in steps of ``unit_j`` / ``denominator``, of which nothing is cut off."""
        now_ns = self._clock.now_ns
        owner = self._owner
        if now_ns >= owner.until_ns:
            owner.settle(now_ns)
        since_ns, held, offset, rate = self._line
        tick_ns = now_ns - now_ns % self._grid_ns
        if tick_ns < since_ns:
            return held
        return offset + rate * tick_ns

    def joules(self) -> Fraction:
        """Exactly the joules spent from time 0 until now, not on the grid."""
        now_ns = self._clock.now_ns
        self._owner.settle(now_ns)
        _, _, offset, rate = self._line
        return (offset + rate * now_ns) * self._joules_per

    def draw_w(self) -> Fraction:
        """Exactly the watts drawn now, limits included."""
        self._owner.settle(self._clock.now_ns)
        return self._line[3] * self._joules_per * 1_000_000_000

    def bend(self, now_ns: int, parts: int) -> None:
        """Draw so many parts from now on; for the owner only."""
        since_ns, held, offset, rate = self._line
        new_rate = parts * self._rate
        if new_rate == rate:
            return
        tick_ns = now_ns - now_ns % self._grid_ns
        if tick_ns >= since_ns:
            held = offset + rate * tick_ns
        self._line = (now_ns, held, offset + (rate - new_rate) * now_ns, new_rate)

    def spent(self, now_ns: int) -> int:
        """Everything until a moment on the present line, in `fractions`, not on the grid; for the owner only."""
        _, _, offset, rate = self._line
        return offset + rate * now_ns

    def leap(self, until_ns: int, spent: int) -> None:
        """Be further on, with so much spent until then (as `spent`), and go on as before; for the owner only.

        What was visible on the way is not known: nobody may look before the next tick of the grid after `until_ns`.
        """
        rate = self._line[3]
        self._line = (until_ns, spent, spent - rate * until_ns, rate)

    def fractions_of(self, parts_ns: int) -> int:
        """An energy in parts x ns as `fractions` count it."""
        return parts_ns * self._rate
