# SPDX-License-Identifier: Apache-2.0
"""Who read what when, and what had been spent at that very moment.

The log answers the question that decides whether a reader is right: what it was told, and the truth at the moments of
its own reads.  It is off until somebody switches it on, keeps the newest calls and counts those that it let go.
"""

from collections import deque
from itertools import islice
from pathlib import Path
from typing import NamedTuple

__all__ = ["MOST_DATA", "Call", "ReadLog"]

#: Bytes of a call that are written down.
MOST_DATA = 256

_ROOM = 100_000
_NAMES_KEPT = 4096


class Call(NamedTuple):
    """One call of a program on a file of the machine.

    Attributes:
        number: counts from 1, without gaps, also past those that were dropped.
        at_ns: the machine's time, which stood during the call.
        pid: the calling thread; 0 where it is in a process namespace that cannot be seen into.
        command: its name (``comm``), at its last open as a rule; "" where it cannot be known.
        operation: "open", "read" or "write", of which the ioctls of an msr device are the last two.
        path: the file as the machine has it: ``sys/...`` without links, ``dev/cpu/N/msr``, ``proc/cpuinfo``.
        offset: in the file; of an msr device the register.
        size: the bytes asked for, of a read, or offered, of a write.
        errno: 0 or the errno.
        data: what was read, or was to be written; of very much the first 256 bytes.
        domain: whose energy the file or register shows; None where it shows none.
        truth_uj: what that domain had really spent since time 0, in whole microjoules.
    """

    number: int
    at_ns: int
    pid: int
    command: str
    operation: str
    path: str
    offset: int
    size: int
    errno: int
    data: bytes = b""
    domain: str | None = None
    truth_uj: int | None = None

    @property
    def value(self) -> str | None:
        """What was read, or to be written, as a person writes it: text, or an MSR's first word in hexadecimal."""
        if not self.data:
            return None
        if self.path.startswith("dev/"):
            return f"{int.from_bytes(self.data[:8], 'little'):#x}"
        return self.data.decode(errors="backslashreplace").removesuffix("\n")


class ReadLog:
    """The newest calls.  One thread at a time: who holds the machine.

    Attributes:
        on: whether calls are written down.
        with_truth: whether the truth is written down beside what shows energy.
    """

    def __init__(self, room: int = _ROOM) -> None:
        """Keep at most ``room`` calls."""
        self.on = False
        self.with_truth = True
        self._calls: deque[Call] = deque(maxlen=room)
        self._cleared = 0
        self._last = 0
        self._commands: dict[int, str] = {}

    def switch(self, *, on: bool, with_truth: bool = True) -> None:
        """Begin or end; what was written down stays."""
        self.on = on
        self.with_truth = with_truth

    def add(self, call: Call) -> None:
        """Write a call down; its number is the one after :attr:`last`."""
        self._last = call.number
        self._calls.append(call)

    def command_of(self, pid: int, *, anew: bool) -> str:
        """The name of a thread, which is asked for ``anew`` at each open, since numbers come again, and else kept."""
        known = None if anew else self._commands.get(pid)
        if known is None:
            if len(self._commands) >= _NAMES_KEPT:
                self._commands.clear()
            try:
                known = Path(f"/proc/{pid}/comm").read_bytes().decode(errors="backslashreplace").removesuffix("\n")
            except OSError:
                known = ""
            self._commands[pid] = known
        return known

    def since(self, number: int = 0, most: int | None = None) -> list[Call]:
        """The calls after that number, oldest first, at most so many."""
        newer = min(self._last - number, len(self._calls))
        if newer <= 0 or most == 0:
            return []
        first = len(self._calls) - newer
        return list(islice(self._calls, first, None if most is None else first + most))

    def clear(self) -> None:
        """Forget what was written down; numbers go on."""
        self._calls.clear()
        self._cleared = self._last

    @property
    def last(self) -> int:
        """The number of the newest call, 0 before the first."""
        return self._last

    @property
    def dropped(self) -> int:
        """How many were let go to keep newer ones, since the log was cleared."""
        return self._last - self._cleared - len(self._calls)
