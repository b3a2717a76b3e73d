# SPDX-License-Identifier: Apache-2.0
"""Signals that end a program, as a word to a command that shows a machine until somebody says stop."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["stopped_by_signals"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP set ``stop`` instead; one that was ignored from the start (nohup) stays so."""
    before = {one: signal.getsignal(one) for one in _SIGNALS}
    caught = [one for one in _SIGNALS if before[one] != signal.SIG_IGN]
    try:
        for one in caught:
            signal.signal(one, lambda _number, _frame: stop.set())
        yield
    finally:
        for one in caught:
            signal.signal(one, before[one])
