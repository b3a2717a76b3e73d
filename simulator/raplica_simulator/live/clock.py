# SPDX-License-Identifier: Apache-2.0
"""The clock of a machine that others look at while it runs: it stands until it is started, then follows the host.

A machine is put together, loaded and brought to its first moment while its time stands; only then does it go.  In
step mode it is never let go, and time moves only when it is told to.  What becomes known late (a step of a trace, the
host's utilisation) is done at the moment to which it belongs: the clock can be held there for as long as that takes.

Where things happen to a machine over time, whoever looks at it sees the moment up to which they have happened, and no
later one however long the look takes: else it would be shown what the next event, done late, takes back.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from fractions import Fraction

from raplica_simulator.clock import MonotonicClock, VirtualClock

__all__ = ["LiveClock"]


class LiveClock:
    """Time that stands, or runs ``speed`` times as fast as the host's.

    One thread at a time.  Raises TypeError for a float speed, ValueError for one that is not above 0.

    Attributes:
        speed: nanoseconds of the machine for each of the host's, while it runs.
        running: whether it runs.
    """

    __slots__ = ("_held_ns", "_seen_ns", "_time", "running", "speed")

    def __init__(self, speed: int | Fraction | Decimal = 1) -> None:
        MonotonicClock(speed)  # refuses a speed that is none
        self.speed = speed
        self._time: VirtualClock | MonotonicClock = VirtualClock()
        self._held_ns: int | None = None
        self._seen_ns: int | None = None
        self.running = False

    @property
    def now_ns(self) -> int:
        """Nanoseconds since the machine was switched on."""
        if self._held_ns is not None:
            return self._held_ns
        return self._time.now_ns if self._seen_ns is None else self._seen_ns

    def look(self) -> int:
        """The present moment, at which time that runs is shown from now on, until the next look or order."""
        if self._held_ns is not None:
            return self._held_ns
        now_ns = self._time.now_ns
        if self.running:
            self._seen_ns = now_ns
        return now_ns

    def advance(self, seconds: int | Fraction | Decimal = 0, *, nanoseconds: int = 0) -> None:
        """Move time forward, whether it stands or runs; as :meth:`.VirtualClock.advance`."""
        self._time.advance(seconds, nanoseconds=nanoseconds)
        self._seen_ns = None

    def start(self) -> None:
        """Let time run from where it stands."""
        if not self.running:
            self._time = MonotonicClock(self.speed, start_ns=self._time.now_ns)
            self.running = True

    def stop(self) -> None:
        """Let time stand from now on: it moves only when it is told to."""
        if self.running:
            self._time = VirtualClock(self._time.now_ns)
            self._seen_ns = None
            self.running = False

    def set_speed(self, speed: int | Fraction | Decimal) -> None:
        """Go so fast from now on; errors as for the class, and the old speed then stays."""
        MonotonicClock(speed)
        running = self.running
        self.stop()
        self.speed = speed
        if running:
            self.start()

    @contextmanager
    def held_at(self, moment_ns: int) -> Iterator[None]:
        """Show ``moment_ns`` while something is done that belongs to that moment, then again what was shown before."""
        before_ns = self._held_ns
        self._held_ns = moment_ns
        try:
            yield
        finally:
            self._held_ns = before_ns

    def __repr__(self) -> str:
        return f"LiveClock(now_ns={self.now_ns}, {'running' if self.running else 'standing'})"
