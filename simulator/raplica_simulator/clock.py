# SPDX-License-Identifier: Apache-2.0
"""A machine's time, in whole nanoseconds since it was switched on.

Everything a machine does follows from its profile, its load and this number (fidelity rule 8), so the clock
is the only place where a real clock may come in. `VirtualClock` stands still until it is told to move and is
what tests, step mode and generated trees use; `MonotonicClock` follows the host for live surfaces.
"""

from __future__ import annotations

import time
from decimal import Decimal
from fractions import Fraction
from typing import Protocol

_NS_PER_S = 1_000_000_000


class Clock(Protocol):
    """What the domains need of a clock: a number of nanoseconds that never gets smaller."""

    @property
    def now_ns(self) -> int:
        """Nanoseconds since the machine was switched on."""
        ...

    def advance(self, seconds: int | Fraction | Decimal = 0, *, nanoseconds: int = 0) -> None:
        """Move time forward."""
        ...


def exact(value: object, what: str) -> Fraction:
    """Return an int, Fraction or Decimal as a Fraction.

    Raises TypeError for floats (a float of seconds has already lost what it stood for) and anything else,
    ValueError for a Decimal that is not finite. `what` names the value in the message.
    """
    if isinstance(value, bool) or not isinstance(value, int | Fraction | Decimal):
        raise TypeError(f"{what} is {value!r}, it must be an int, a Fraction or a Decimal")
    if isinstance(value, Decimal) and not value.is_finite():
        raise ValueError(f"{what} is {value}, it must be finite")
    return Fraction(value)


def _whole_ns(value: object, what: str) -> int:
    if type(value) is not int:
        raise TypeError(f"{what} is {value!r}, it must be a whole number; give fractions as seconds=")
    if value < 0:
        raise ValueError(f"{what} is {value}, time only moves forward: give 0 or more")
    return value


class _Steps:
    """The time by which a clock was moved by hand, exactly."""

    __slots__ = ("_moved_ns", "_remainder_ns")

    def __init__(self, start_ns: int = 0) -> None:
        self._moved_ns = _whole_ns(start_ns, "start_ns")
        self._remainder_ns = Fraction(0)

    def advance(self, seconds: int | Fraction | Decimal = 0, *, nanoseconds: int = 0) -> None:
        """Move time forward by `seconds` plus `nanoseconds`.

        What is left below one nanosecond is kept exactly and counts at the next call: three times a third of
        a nanosecond is one nanosecond. Raises TypeError for floats and ValueError for a negative step.
        """
        step_s = exact(seconds, "seconds")
        if step_s < 0:
            raise ValueError(f"seconds is {seconds}, time only moves forward: give 0 or more")
        step_ns = step_s * _NS_PER_S + self._remainder_ns
        whole_ns = step_ns.numerator // step_ns.denominator
        moved_ns = self._moved_ns + whole_ns + _whole_ns(nanoseconds, "nanoseconds")
        self._remainder_ns = step_ns - whole_ns
        self._moved_ns = moved_ns


class VirtualClock(_Steps):
    """Time that moves only when told."""

    __slots__ = ()

    @property
    def now_ns(self) -> int:
        """Nanoseconds since the machine was switched on."""
        return self._moved_ns

    def __repr__(self) -> str:
        return f"VirtualClock(now_ns={self._moved_ns})"


class MonotonicClock(_Steps):
    """The host's monotonic time since this clock was made, `speed` times as fast, starting at `start_ns`.

    It can be moved forward besides.

    Raises TypeError for a float speed, ValueError for one that is not above 0.
    """

    __slots__ = ("_denominator", "_numerator", "_origin_ns")

    def __init__(self, speed: int | Fraction | Decimal = 1, *, start_ns: int = 0) -> None:
        rate = exact(speed, "speed")
        if rate <= 0:
            raise ValueError(f"speed is {speed}, it must be above 0")
        self._numerator = rate.numerator
        self._denominator = rate.denominator
        super().__init__(start_ns)
        self._origin_ns = time.monotonic_ns()

    @property
    def now_ns(self) -> int:
        """Nanoseconds since the machine was switched on, rounded down."""
        return self._moved_ns + (time.monotonic_ns() - self._origin_ns) * self._numerator // self._denominator

    def __repr__(self) -> str:
        return f"MonotonicClock(speed={Fraction(self._numerator, self._denominator)}, start_ns={self._moved_ns})"
