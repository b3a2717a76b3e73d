# SPDX-License-Identifier: Apache-2.0
"""Telling a signal that was sent to one process from one that was sent to its whole process group.

Who stands between a sender and a command passes on what was sent to itself alone: what the group got the command has
already.  The kernel tells a process who sent a signal and not to whom, so a second process is in the group that does
nothing but keep what it gets, and is asked.
"""

import os
import signal
import socket
import struct
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

from raplica_simulator.surfaces import namespace_calls as calls

__all__ = ["GroupWatch"]

_SEEN = struct.Struct("=iI")  # signal, sender
_MOST = 4096
# A sender goes through a group process by process; that this process has woken up does not mean that it is through.
_THROUGH_S = 0.002


class GroupWatch:
    """The second process; a context manager.  Begin and end it in the same thread, with every signal blocked."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        parent = os.getpid()
        try:
            self._pid = os.fork()
        except OSError:
            self._ours.close()
            theirs.close()
            raise
        if self._pid == 0:
            try:
                _keep(theirs, parent)
            finally:
                os._exit(0)
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # It ends when nobody can ask any more, and a kill is quicker than that.
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        self._ours.close()

    def got(self, number: int, sender: int) -> bool:
        """Whether the whole group got a signal that has just come from ``sender``, a process."""
        time.sleep(_THROUGH_S)
        try:
            self._ours.send(b"?")
            seen = self._ours.recv(_MOST)
        except OSError:
            return False  # somebody has killed it
        return (number, sender) in _SEEN.iter_unpack(seen)


def _keep(asked: socket.socket, parent: int) -> None:
    """Hold every signal back, and say which there were whenever somebody asks."""
    calls.die_with_parent(signal.SIGKILL)
    if os.getppid() != parent:
        return
    # Nobody's pipe is to stay open because of it.
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - numbers
        with suppress(OSError):
            if int(name) != asked.fileno():
                os.close(int(name))
    with suppress(OSError):
        while asked.recv(1):
            seen = b""
            while found := signal.sigtimedwait(signal.valid_signals(), 0):
                seen += _SEEN.pack(found.si_signo, found.si_pid)
            asked.send(seen)
