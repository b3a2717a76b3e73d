# SPDX-License-Identifier: Apache-2.0
"""The events of a scenario on one machine, each done at its moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from raplica_simulator.faults.event import Event
from raplica_simulator.linux.kernel import KernelCrash
from raplica_simulator.linux.msr_dev import MsrModule
from raplica_simulator.live.clock import LiveClock
from raplica_simulator.machine import Machine
from raplica_simulator.profile.shape import Where

__all__ = ["ScenarioCourse", "TimedEvent"]


@dataclass(frozen=True, slots=True)
class TimedEvent:
    """An event with its moment.

    Attributes:
        at_ns: when it happens, in ns since power-on.
        event: what happens.
        where: its place in the file, for messages.
    """

    at_ns: int
    event: Event
    where: Where


class ScenarioCourse:
    """Where one machine stands in a scenario.

    Attributes:
        done: how many events have been tried.
        missed: a line for each event that could not be done, because the machine was no longer as the scenario
            leaves it: somebody else has unloaded a driver, or taken the last processor but one down.
    """

    def __init__(
        self,
        events: Sequence[TimedEvent],
        machine: Machine,
        clock: LiveClock,
        module: MsrModule,
        *,
        rehearsal: bool = False,
    ) -> None:
        """``events`` are in the order of their moments.  In a ``rehearsal`` what cannot be done is raised."""
        self.done = 0
        self.missed: list[str] = []
        self._events = events
        self._machine = machine
        self._clock = clock
        self._module = module
        self._rehearsal = rehearsal

    def due_ns(self) -> int | None:
        """The moment of the next event."""
        return self._events[self.done].at_ns if self.done < len(self._events) else None

    def go(self, until_ns: int) -> None:
        """Let happen what is due, each event at its moment; ValueError only in a rehearsal."""
        while self.done < len(self._events) and self._events[self.done].at_ns <= until_ns:
            timed = self._events[self.done]
            # First, so that an event that goes wrong is not tried for ever.
            self.done += 1
            with self._clock.held_at(timed.at_ns):
                self._happen(timed)

    def _happen(self, timed: TimedEvent) -> None:
        try:
            timed.event.check(self._machine)
            timed.event.do(self._machine, self._module)
        except (ValueError, OSError, KernelCrash) as error:
            why = error.strerror or "fails" if isinstance(error, OSError) else str(error)
            if isinstance(error, KernelCrash):
                why = f"crashes this kernel: {error}"
            wrong = timed.where.error(f"at {timed.at_ns / 10**9:g} s: {why}")
            if self._rehearsal:
                raise wrong from None
            self.missed.append(str(wrong))
