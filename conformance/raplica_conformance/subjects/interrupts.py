# SPDX-License-Identifier: Apache-2.0
"""SIGINT, SIGTERM and SIGHUP while something is changed that has to be put back.

The first of them ends the run as KeyboardInterrupt does; further ones change nothing; none interrupts what is being
put back. SIGTERM and SIGHUP then end the process as they would have done at once.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Generator
from types import FrameType
from typing import Any

__all__ = ["Interrupts"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Handlers from `install` to `remove`. Without `install` it does nothing: signals go where they went."""

    def __init__(self) -> None:
        self.raised = False
        self._first: int | None = None
        self._held = False
        self._before: dict[int, Any] = {}

    def install(self) -> None:
        """Take the signals that are not ignored; only the main thread of a process can."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._caught)

    @contextlib.contextmanager
    def held(self) -> Generator[None, None, None]:
        """Nothing is raised in the body; what came in the meantime is raised after it, unless the body raised."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._first is not None and not self.raised:
            self._raise()

    def remove(self) -> None:
        """Give the signals back; one that asked for the end of the process now gets it."""
        while self._before:
            signal.signal(*self._before.popitem())
        first, self._first = self._first, None
        if first in (signal.SIGTERM, signal.SIGHUP):
            os.kill(os.getpid(), first)

    def check(self) -> None:
        """Raise again what somebody on the way has swallowed."""
        if self.raised:
            raise KeyboardInterrupt

    def _caught(self, number: int, _frame: FrameType | None) -> None:
        if self._first is None:
            self._first = number
        if not self._held and not self.raised:
            self._raise()

    def _raise(self) -> None:
        self.raised = True
        raise KeyboardInterrupt
