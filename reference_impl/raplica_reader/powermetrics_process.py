# SPDX-License-Identifier: Apache-2.0
"""A powermetrics that runs and takes a sample whenever it is told to, so that samples begin and end where ours do.

It samples at SIGINFO, signal 29 of macOS, and by itself so seldom that this matters to nobody but one whose reader has
been killed: it ends as it writes. The energies of its samples are added up here, so
they can be read like counters that begin at 0.
"""

import errno
import os
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from weakref import finalize

from raplica_reader.powermetrics_output import ENDING, Reading, from_plist
from raplica_reader.powermetrics_tally import Tally

__all__ = ["COMMAND", "Powermeter"]

COMMAND = ("powermetrics",)
ARGUMENTS = ("--samplers", "cpu_power", "-i", "600000", "-f", "plist", "-b", "0")
REFUSAL = b"must be invoked as the superuser"
SIGINFO = 29
"""The number that macOS gives to this signal. Linux, where a stand-in may run, has SIGIO there."""

SOON_S, AGAIN_S = 0.02, 0.5
"""A program that was just started may not listen yet: it is told again after the first, then after twice as long and
so on up to the second, which holds for good once it has answered."""
LONGEST_S = 10.0
MOST_AT_ONCE = 1 << 16


class Powermeter(Tally):
    """One running powermetrics; the energies of all its samples, by the names of `NAMES`.

    It ends with this object. Errors: OSError ENOENT where there is no such program, EPERM where it refuses who is not
    root, ESRCH where it has ended, ETIMEDOUT where it is silent, and those of `from_plist`.
    """

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        super().__init__()
        self._patience_s = SOON_S
        self._rest = b""
        # Where nothing listens yet, it would end a program of Linux. Only a main thread may say so.
        before = None
        with suppress(ValueError):
            before = signal.signal(SIGINFO, signal.SIG_IGN)
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the tool that was asked for
                [*command, *ARGUMENTS],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
            )
        finally:
            if before is not None:
                signal.signal(SIGINFO, before)
        self._finish = finalize(self, _end, self._process)

    def close(self) -> None:
        """End it."""
        self._finish()

    def take(self) -> None:
        """Take a sample now."""
        # What still came of an earlier time ends before this one.
        while self._next(0) is not None:
            pass
        until_s = time.monotonic() + LONGEST_S
        while (now_s := time.monotonic()) < until_s:
            self._process.send_signal(SIGINFO)
            if self._next(min(self._patience_s, until_s - now_s)) is not None:
                self._patience_s = AGAIN_S
                return
            self._patience_s = min(2 * self._patience_s, AGAIN_S)
        raise OSError(errno.ETIMEDOUT, "powermetrics takes no sample")

    def _next(self, longest_s: float) -> Reading | None:
        """Book the next sample, if one comes in that time."""
        until_s = time.monotonic() + longest_s
        while ENDING not in self._rest:
            left_s = max(0.0, until_s - time.monotonic())
            pipe = self._pipe()
            if not select.select([pipe], [], [], left_s)[0]:
                return None
            content = os.read(pipe, MOST_AT_ONCE)
            if not content:
                raise self._ended()
            self._rest += content
        document, _, self._rest = self._rest.partition(ENDING)
        reading = from_plist(document + ENDING)
        self.book(reading)
        return reading

    def _pipe(self) -> int:
        """Where its output comes."""
        pipe = self._process.stdout
        if pipe is None or pipe.closed:
            raise self._ended()
        return pipe.fileno()

    def _ended(self) -> OSError:
        """Why it has ended."""
        if REFUSAL in self._rest:
            return PermissionError(errno.EPERM, "powermetrics is for root alone")
        return OSError(errno.ESRCH, "powermetrics has ended")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a process, and leave nothing of it."""
    with suppress(OSError):  # of another user, behind sudo: it ends with its pipe
        process.terminate()
    if process.stdout is not None:
        process.stdout.close()
    try:
        process.wait(LONGEST_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
