# SPDX-License-Identifier: Apache-2.0
"""How a run ends when somebody wants it to: SIGINT, SIGTERM and SIGHUP all let it take away what it has put up.

A run has programs started, machines mounted and folders made, and the usual end by SIGTERM or SIGHUP would leave them.
So each of these signals is a KeyboardInterrupt, raised once: supervisors and terminals send several, and what is taken
away meanwhile is not to be disturbed by the next. One that comes when that has lasted long counts again.
"""

import signal
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

__all__ = ["asked_by", "check", "held", "orderly", "status"]

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
#: Seconds that an end may take before a further signal counts again.
_PATIENCE_S = 10.0


class _Ending:
    """What has been asked for in this process; its main thread alone hears of signals."""

    def __init__(self) -> None:
        self.first: signal.Signals | None = None
        self.heard_s = 0.0
        self.holders = 0
        self.owed = False

    def caught(self, number: int, _frame: FrameType | None) -> None:
        """Raise, now or when nobody holds it any more."""
        now_s = time.monotonic()
        impatient = self.first is not None and now_s - self.heard_s >= _PATIENCE_S
        if self.first is not None and not impatient:
            return
        self.first = self.first or signal.Signals(number)
        self.heard_s = now_s
        if self.holders and not impatient:
            self.owed = True
        else:
            raise KeyboardInterrupt


_ending = _Ending()


@contextmanager
def orderly() -> Generator[None, None, None]:
    """In the body the signals that are not ignored raise KeyboardInterrupt; afterwards all is as it was before.

    Only the main thread of a process can; in another one this does nothing.
    """
    global _ending  # noqa: PLW0603 - signals belong to the process, and so does what is known of them
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    outer, _ending = _ending, _Ending()
    # None is a handler that was not set from Python, and could not be set again.
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    mine = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]
    try:
        for number in mine:
            signal.signal(number, _ending.caught)
        yield
    finally:
        for number in mine:
            signal.signal(number, before[number])
        _ending = outer


@contextmanager
def held() -> Generator[None, None, None]:
    """Nothing is raised in the body: something is put up or taken away in it that must not be left half done.

    What came meanwhile is raised after it. Signals are heard in the main thread, and for others this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ending = _ending
    ending.holders += 1
    try:
        yield
    finally:
        ending.holders -= 1
    if ending.owed and not ending.holders:
        ending.owed = False
        raise KeyboardInterrupt


def check() -> None:
    """Raise again what was raised and came nowhere: Python drops what a signal raises in a destructor, for one."""
    if _ending.first is not None and not _ending.holders:
        raise KeyboardInterrupt


def asked_by() -> signal.Signals | None:
    """The signal that asked for the end, None where none did; to be asked inside `orderly`."""
    return _ending.first


def status() -> int:
    """The exit status of a run that was ended: as a shell has it for a program that a signal ended; 130 without one."""
    return 128 + (_ending.first or signal.SIGINT)
