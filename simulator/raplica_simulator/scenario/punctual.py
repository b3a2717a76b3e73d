# SPDX-License-Identifier: Apache-2.0
"""Events on time, also while nobody reads: names that a scenario takes away go from under those who hold them.

Nothing ticks in a machine: what is due happens when somebody looks.  The kernel, though, answers from what it was told
(a name, the attributes of a file) without a look at the machine, and has to be told when that no longer holds.  This is
the one who looks at the right moment.
"""

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from errno import EAGAIN
from fractions import Fraction
from types import TracebackType
from typing import Self

from raplica_simulator.live.clock import LiveClock
from raplica_simulator.live.machine import LiveMachine
from raplica_simulator.scenario.course import ScenarioCourse

__all__ = ["Punctual"]

_LONGEST_S = 0.5  # the clock may be stopped, moved or made faster meanwhile


class Punctual:
    """Looks at a machine whenever an event of its scenario is due; a context manager.

    ``held`` is how a surface lets the machine be changed, such as :meth:`.FuseMount.held`: what has gone or come is
    known to everybody when that ends.  Nothing is started for a machine without events, and the last one ends it.
    """

    def __init__(
        self,
        live: LiveMachine,
        held: Callable[[], AbstractContextManager[object]],
        tell: Callable[[str], None] = lambda _line: None,
    ) -> None:
        """``tell`` gets a line for each event that could not be done any more, see :class:`.ScenarioCourse`."""
        self._live = live
        self._held = held
        self._tell = tell
        self._missed = 0
        self._stop = threading.Event()
        self._told = 0
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        events = self._live.events
        if events is not None and events.due_ns() is not None:
            self._told = events.done
            thread = threading.Thread(target=self._run, args=(events,), name="raplica-punctual", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                raise OSError(EAGAIN, os.strerror(EAGAIN)) from None
            self._thread = thread
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._tell_missed()

    def _run(self, events: ScenarioCourse) -> None:
        while (wait_s := self._look(events)) is not None and not self._stop.wait(wait_s):
            pass

    def _look(self, events: ScenarioCourse) -> float | None:
        """Let happen what is due and tell of it; the seconds until the next look, None when there will be none."""
        # Also what a reader's look has let happen: the thread that answers cannot tell of it.
        with self._live.held():
            done = events.done
        if done != self._told:
            with self._held():
                self._told = events.done
        self._tell_missed()
        with self._live.held() as machine:
            due_ns, clock = events.due_ns(), machine.clock
            if events.done != self._told:
                return 0
            if due_ns is None:
                return None
            if not isinstance(clock, LiveClock) or not clock.running:
                return _LONGEST_S
            return min(_LONGEST_S, float(Fraction(due_ns - clock.now_ns, 10**9) / Fraction(clock.speed)))

    def _tell_missed(self) -> None:
        missed = [] if self._live.events is None else self._live.events.missed[self._missed :]
        self._missed += len(missed)
        for line in missed:
            self._tell(f"warning: {line}")
