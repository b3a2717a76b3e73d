# SPDX-License-Identifier: Apache-2.0
"""Programs under test: started, listened to for a bounded time and a bounded number of bytes, and ended for good.

A reader may crash, hang, print for ever, or start others that outlive it. It is the head of a process group of its own,
which is killed as a whole; whoever left the group still carries a mark in the environment, and is found by that. What
is left of its output is not waited for.
"""

import os
import selectors
import signal
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

from raplica_conformance.ending import held
from raplica_conformance.readers.plug import ReaderFault, ReaderHung

__all__ = ["MOST_BYTES", "Printed", "Program"]

#: What a reader may print for one answer, in bytes.
MOST_BYTES = 1 << 20

_MARK = "RAPLICA_READER"
_ERRORS_KEPT = 4096
_PIECE = 1 << 16
_SHOWN = 120
#: A shell gives 128 and the number of the signal that ended its command.
_BY_SIGNAL = 129
#: What runtimes say when nobody handled an error (Python, Go, Rust, Java and its like).
_CRASHES = (b"Traceback (most recent call last)", b"panic: ", b"panicked at", b"Exception in thread")
#: Seconds in which a program that has ended may still have something to say, by way of others that hold its output.
_AFTERWARDS_S = 0.2


class Printed(NamedTuple):
    """All that a program printed until it ended in order.

    `ending` is its status where that is not 0, `complaint` this and the last line on stderr, where it said one.
    """

    text: str
    ending: str = ""
    complaint: str = ""


class Program:
    """One process and all that it starts. Close it whatever happened; closing twice does nothing."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Start it in the current folder, where its user would. ReaderFault where it cannot be executed.

        To be called with signals held: what is not in anybody's hands yet, nobody can close.
        """
        self._mark = uuid.uuid4().hex
        self._errors = b""
        self._unread = b""
        self._closed = False
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the command is the user's own
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, **(environment or {}), _MARK: self._mark},
                start_new_session=True,
                bufsize=0,
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ReaderFault(f"{command[0]}: cannot be started: {reason}") from error
        self._selector = selectors.DefaultSelector()
        for stream in (self._out, self._err):
            os.set_blocking(stream.fileno(), False)
            self._selector.register(stream, selectors.EVENT_READ)

    def tell(self, line: str) -> None:
        """Give it one line. ReaderFault where it listens no more."""
        try:
            self._in.write(line.encode() + b"\n")
        except OSError as error:
            raise ReaderFault(f"it ended before it was told to{self.last_words()}") from error

    def line(self, limit_s: float) -> str:
        """The next line that it prints. ReaderHung after `limit_s` seconds, ReaderFault where there is none."""
        until_s = time.monotonic() + limit_s
        while b"\n" not in self._unread:
            self._refuse_flood()
            if not self._hear(until_s, f"it did not answer within {limit_s:g} s"):
                raise ReaderFault(f"it ended without an answer{self.last_words()}")
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode(errors="backslashreplace")

    def surplus(self) -> str:
        """What it has printed by now beyond the lines that were taken; "" for nothing. ReaderFault for a flood."""
        with suppress(ReaderHung):
            while self._hear(time.monotonic(), ""):
                self._refuse_flood()
        return self._unread.decode(errors="backslashreplace")

    def output(self, limit_s: float) -> Printed:
        """All that it prints until it ends, and how it ended.

        Errors as `line`; ReaderFault for a program that was killed or that ended in a traceback or a panic.
        """
        with suppress(OSError):
            self._in.close()
        until_s = time.monotonic() + limit_s
        while self._process.poll() is None:
            self._refuse_flood()
            if not self._hear(until_s, f"it did not end within {limit_s:g} s"):
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(max(0.0, until_s - time.monotonic()))
                if self._process.poll() is None:
                    raise ReaderHung(f"it did not end within {limit_s:g} s")
        # Others may hold the pipe open for ever; what the program itself printed is there by now.
        with suppress(ReaderHung):
            while self._hear(time.monotonic() + _AFTERWARDS_S, "") and len(self._unread) <= MOST_BYTES:
                pass
        self._refuse_flood()
        code = self._process.returncode
        text = self._unread.decode(errors="backslashreplace")
        if not code:
            return Printed(text)
        words = self.last_words()
        ending = f"it ended with {_status(code)}"
        if not 0 < code < _BY_SIGNAL or any(word in self._errors for word in _CRASHES):
            raise ReaderFault(f"{ending}{words}")
        return Printed(text, ending, f"{ending}{words}" if words else "")

    def last_words(self) -> str:
        """The last line that it said on stderr, as the end of a message."""
        lines = self._errors.decode(errors="backslashreplace").strip().splitlines()
        return f": {lines[-1].strip()[:_SHOWN]}" if lines else ""

    @property
    def has_ended(self) -> bool:
        """Whether the process itself is gone."""
        return self._process.poll() is not None

    def close(self) -> None:
        """End it and all that it started."""
        if self._closed:
            return
        with held():
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            _kill_marked(self._mark)
            self._selector.close()
            for stream in (self._in, self._out, self._err):
                with suppress(OSError):
                    stream.close()
            self._closed = True

    def _hear(self, until_s: float, late: str) -> bool:
        """Take in what there is to hear; False where nobody can say anything any more. ReaderHung when it is late."""
        if not self._selector.get_map():
            return False
        # Not only until somebody speaks: a program may end while others keep its pipe open, and say nothing.
        ready = self._selector.select(max(0.0, min(until_s - time.monotonic(), _AFTERWARDS_S)))
        if not ready and time.monotonic() >= until_s:
            raise ReaderHung(late)
        for key, _ in ready:
            stream = key.fileobj
            piece = os.read(key.fd, _PIECE)
            if not piece:
                self._selector.unregister(stream)
            elif stream is self._err:
                self._errors = (self._errors + piece)[-_ERRORS_KEPT:]
            else:
                self._unread += piece
        return ready != [] or not self.has_ended

    def _refuse_flood(self) -> None:
        if len(self._unread) > MOST_BYTES:
            raise ReaderFault(f"it prints more than {MOST_BYTES} bytes")

    @property
    def _in(self) -> IO[bytes]:
        return _there(self._process.stdin)

    @property
    def _out(self) -> IO[bytes]:
        return _there(self._process.stdout)

    @property
    def _err(self) -> IO[bytes]:
        return _there(self._process.stderr)


def _there(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:  # pragma: no cover - all three are pipes
        raise AssertionError("a program without its pipes")
    return stream


def _status(code: int) -> str:
    """An exit status as a person says it."""
    if code >= 0:
        return f"status {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def _kill_marked(mark: str) -> None:
    """Kill every process that carries the mark, until none is left: they may start others meanwhile."""
    wanted = f"{_MARK}={mark}".encode()
    for _ in range(100):
        found = [pid for pid in _processes() if wanted in _environment(pid)]
        if not found:
            return
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _processes() -> list[int]:
    try:
        return [int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit()]
    except OSError:
        return []


def _environment(pid: int) -> list[bytes]:
    """What a process was started with; nothing of one that is gone, is a zombie, or is somebody else's."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []
