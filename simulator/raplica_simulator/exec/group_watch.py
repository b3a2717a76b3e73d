# SPDX-License-Identifier: Apache-2.0
"""Telling a signal that was sent to one process from one that was sent to its whole process group.

Who stands between a sender and a command passes on what was sent to itself alone: what the group got the command has
already.  The kernel tells a process who sent a signal and not to whom, so a second process is in the group that does
nothing but keep what it gets, and is asked.

It also sees the end of the first one, and takes a command with it that has undone PR_SET_PDEATHSIG: changes of rights
do, such as those of setpriv(1).
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
_ASK, _GUARD = b"?", b"!"
# A sender goes through a group process by process; that this process has woken up does not mean that it is through.
_THROUGH_S = 0.002


class GroupWatch:
    """The second process; a context manager.  Begin and end it in the same thread, with every signal blocked."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._pid = os.fork()
        except OSError:
            self._ours.close()
            theirs.close()
            raise
        if self._pid == 0:
            try:
                _keep(theirs)
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

    def guard(self, pid: int) -> None:
        """Kill a process, if it is still there, when this one has ended without a word, as after a SIGKILL."""
        with suppress(OSError):  # kernels before 5.3 have no pidfd_open(2), and filters of system calls do not know it
            descriptor = os.pidfd_open(pid)
            try:
                socket.send_fds(self._ours, [_GUARD], [descriptor])
            finally:
                os.close(descriptor)

    def got(self, number: int, sender: int) -> bool:
        """Whether the whole group got a signal that has just come from ``sender``, a process."""
        time.sleep(_THROUGH_S)
        try:
            self._ours.send(_ASK)
            seen = self._ours.recv(_MOST)
        except OSError:
            return False  # somebody has killed it
        return (number, sender) in _SEEN.iter_unpack(seen)


def _keep(asked: socket.socket) -> None:
    """Hold every signal back, and say which there were whenever somebody asks, until nobody can ask any more."""
    # One that was stopped with its group goes on, and sees that nobody can ask.
    calls.die_with_parent(signal.SIGCONT)
    # Nobody's pipe is to stay open because of it.
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - numbers
        with suppress(OSError):
            if int(name) != asked.fileno():
                os.close(int(name))
    guarded: list[int] = []
    with suppress(OSError):
        while (request := socket.recv_fds(asked, 1, 1))[0]:
            if request[0] == _GUARD:
                guarded += request[1]
                continue
            seen = b""
            while found := signal.sigtimedwait(signal.valid_signals(), 0):
                seen += _SEEN.pack(found.si_signo, found.si_pid)
            asked.send(seen)
    for descriptor in guarded:
        with suppress(OSError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
