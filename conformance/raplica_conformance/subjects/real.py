# SPDX-License-Identifier: Apache-2.0
"""This machine: /sys as the running kernel shows it, only ever read.

What an unprivileged user may open is tried, not computed from modes: a child gives up root and opens. It is
forked once, answers one path after another, and goes with the subject. Opening for writing is not tried, so
what it would give is not known here.
"""

import contextlib
import errno
import os
import platform
import signal
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path

from raplica_conformance.subject import CannotTell, Mode, User
from raplica_conformance.subjects.files import FileTree
from raplica_conformance.subjects.tree import read_as_ourselves

__all__ = ["RealMachine"]

#: The user and group that own nothing: what Linux calls overflowuid.
_NOBODY = 65534

_LENGTH = struct.Struct("=I")
_READY = b"."  # what the child says once it is nobody


class RealMachine(FileTree):
    """/sys of the running kernel. `root` is given by tests only."""

    name = "real"
    arguments = ("--real",)

    def __init__(self, root: str = "/sys") -> None:
        super().__init__(root)
        self.kernel = platform.release()
        ours = {"root", "nobody"} if os.geteuid() == 0 else {"nobody"}
        self.can = frozenset({"content", "errno", "modes", "links", "order", "size", "live"} | ours)
        self.facts = _facts()
        self._nobody: _Nobody | None = None

    def read(self, path: str) -> bytes:
        """What reads now; CannotTell for a file that is root's while we are not."""
        return read_as_ourselves(self, path)

    def open_errno(self, path: str, mode: Mode, user: User) -> int:
        """The errno of opening for reading as root or as nobody, 0 if it opens."""
        if mode == "w":
            raise CannotTell(0, f"whether {path} opens for writing: a real machine is only ever read")
        if user == "root" and os.geteuid() != 0:
            raise CannotTell(0, f"whether root may open {path}")
        try:
            entry = os.fsencode(self.inside(path))
        except OSError as error:
            return error.errno or errno.EIO
        if user == "root" or os.geteuid() != 0:
            return _try_open(entry)
        if self._nobody is None:
            self._nobody = _Nobody()
        try:
            return self._nobody.open_errno(entry)
        except BaseException:
            # An answer that was not waited for would be taken for the answer to the next question.
            self.close()
            raise

    def close(self) -> None:
        """End the child that asks as nobody, if there is one."""
        if self._nobody is not None:
            self._nobody.close()
            self._nobody = None


def _facts() -> dict[str, str]:
    """What a report says of this machine: nothing that tells it from others of its kind."""
    facts = {"architecture": platform.machine(), "judged as": "root" if os.geteuid() == 0 else "a user without rights"}
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
        if cpu := next(named, ""):
            facts["CPU"] = cpu
    return facts


class _Nobody:
    """A child process that has given up root and opens what it is told, for reading."""

    def __init__(self) -> None:
        """CannotTell where nobody can be become: a user namespace of one user, a container without CAP_SETUID."""
        questions_out, questions_in = os.pipe()
        answers_out, answers_in = os.pipe()
        with warnings.catch_warnings():
            # Python warns of forking beside threads; this child makes system calls only, and takes no lock.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = os.fork()
        if self.pid == 0:
            with contextlib.suppress(BaseException):
                _close_all_but(questions_out, answers_in)
                _give_up_root()
                os.write(answers_in, _READY)
                for path in _questions(questions_out):
                    os.write(answers_in, _LENGTH.pack(_try_open(path)))
            os._exit(0)
        os.close(questions_out)
        os.close(answers_in)
        self.ask = questions_in
        self.answers = answers_out
        try:
            if os.read(self.answers, len(_READY)) != _READY:
                reason = f"the child that asks could not give up root for user {_NOBODY}"
                raise CannotTell(0, f"what an unprivileged user may open: {reason}")
        except BaseException:
            self.close()
            raise

    def open_errno(self, path: bytes) -> int:
        """0 or the errno; OSError(EPIPE) when the child has ended."""
        os.write(self.ask, _LENGTH.pack(len(path)) + path)
        answer = os.read(self.answers, _LENGTH.size)
        if len(answer) != _LENGTH.size:
            raise OSError(errno.EPIPE, "the child that asks as nobody ended")
        return int(_LENGTH.unpack(answer)[0])

    def close(self) -> None:
        """End the child and wait for it; it may be in the middle of an open that does not return."""
        os.close(self.ask)
        os.close(self.answers)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def _close_all_but(*kept: int) -> None:
    """Close what the parent holds: a lock or a pipe must not outlive it here."""
    first = 3
    for handle in sorted(kept):
        os.closerange(first, handle)
        first = handle + 1
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))


def _questions(pipe: int) -> Iterator[bytes]:
    """Paths, each behind its length, until the other end closes."""
    while len(head := os.read(pipe, _LENGTH.size)) == _LENGTH.size:
        yield os.read(pipe, _LENGTH.unpack(head)[0])


def _give_up_root() -> None:
    """Become nobody for good: no groups, no saved ids, and with them no capabilities."""
    os.setgroups([])
    os.setresgid(_NOBODY, _NOBODY, _NOBODY)
    os.setresuid(_NOBODY, _NOBODY, _NOBODY)


def _try_open(path: bytes) -> int:
    """0 where the path opens for reading, else the errno."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        return error.errno or errno.EIO
    return 0
