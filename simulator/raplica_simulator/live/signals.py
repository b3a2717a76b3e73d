# SPDX-License-Identifier: Apache-2.0
"""Signals that end a program, as a word to a command that shows a machine until somebody says stop."""

import select
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["Stop", "stopped_by_signals"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_WORD = b"\0"  # the number of no signal


class Stop:
    """That something is to end: said by anybody, as often as they like, and waited for by one.

    A :class:`threading.Event` would not do.  Where two signals come at once the kernel may hand both to another thread,
    and who waits for a lock is not told; and a handler that interrupts another waits for the lock that it holds.
    """

    def __init__(self) -> None:
        self._heard, self.said = socket.socketpair()
        self.said.setblocking(False)

    def set(self) -> None:
        """Say so; nothing happens when it is over."""
        with suppress(OSError):  # nobody needs to be told a thousand times either
            self.said.send(_WORD)

    def is_set(self) -> bool:
        """Whether something was said that nobody has waited for."""
        return bool(select.select([self._heard], [], [], 0)[0])

    def wait(self) -> None:
        """Wait until somebody says so."""
        ends = {_WORD, *(bytes([number]) for number in _SIGNALS)}
        while self._heard.recv(1) not in ends:  # of a signal that somebody else has a handler for
            pass

    def close(self) -> None:
        """Nobody waits any more."""
        self._heard.close()
        self.said.close()


@contextmanager
def stopped_by_signals() -> Iterator[Stop]:
    """Let SIGINT, SIGTERM and SIGHUP say stop instead; one that was ignored from the start (nohup) stays so.

    For the main thread.
    """
    before = {one: signal.getsignal(one) for one in _SIGNALS}
    caught = [one for one in _SIGNALS if before[one] != signal.SIG_IGN]
    stop = Stop()
    # Whichever thread a signal is handed to writes its number there, before a handler of Python's has its turn.
    wakeup = signal.set_wakeup_fd(stop.said.fileno(), warn_on_full_buffer=False)
    try:
        for one in caught:
            signal.signal(one, lambda _number, _frame: None)
        yield stop
    finally:
        for one in caught:
            signal.signal(one, before[one])
        signal.set_wakeup_fd(wakeup)
        stop.close()
