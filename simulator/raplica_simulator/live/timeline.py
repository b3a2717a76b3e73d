# SPDX-License-Identifier: Apache-2.0
"""What happens to a machine over its time, from several hands, in the order of the moments.

A load plan, a scenario's faults, the host that is followed: each is a course that knows when it is due.  Nothing ticks.
Whoever is about to look at a machine lets its timeline catch up first, and what has become due meanwhile is then done,
each thing at the moment to which it belongs.
"""

from collections.abc import Iterable
from typing import Protocol

from raplica_simulator.live.clock import LiveClock

__all__ = ["Course", "Timeline"]


class Course(Protocol):
    """One sequence of things to be done to one machine."""

    def due_ns(self) -> int | None:
        """The moment of the next thing to do, in ns since power-on; None when there will be none."""
        ...

    def go(self, until_ns: int) -> None:
        """Do what is due up to and with ``until_ns``, each thing with the clock held at its moment.

        Afterwards :meth:`due_ns` is later than ``until_ns``.  Raises nothing: what can be wrong was found at the start.
        """
        ...


class Timeline:
    """The courses of one machine; of two that are due at once the one named first goes first."""

    def __init__(self, clock: LiveClock, courses: Iterable[Course]) -> None:
        self._clock = clock
        self._courses = tuple(courses)

    def catch_up(self) -> None:
        """Do everything that is due by now, and let the clock show this moment until it is looked at again."""
        # Before every read of every file: most machines have none.
        if not self._courses:
            return
        now_ns = self._clock.look()
        while due := [(at, index) for index, one in enumerate(self._courses) if (at := one.due_ns()) is not None]:
            due.sort()
            (first_ns, index), *others = due
            if first_ns > now_ns:
                return
            # As far as nobody else is due: a course may take a long way in one step.
            until_ns = min([now_ns, *(max(first_ns, at - 1) for at, _ in others)])
            self._courses[index].go(until_ns)
