# SPDX-License-Identifier: Apache-2.0
"""A tree that the operating system shows: what written trees, mounted trees and this machine's /sys share.

It only ever reads: every file is opened with O_RDONLY, also where nothing would be written.
"""

import errno
import os
import stat
from pathlib import Path
from typing import NoReturn

from raplica_conformance.printable import printable
from raplica_conformance.subject import CannotTell, Kind, Mode, Stat, User

__all__ = ["FileTree", "ReadOnly", "kind_of", "shown"]

#: More than any attribute of sysfs gives: a read returns at most one page there.
_MOST = 65536


class ReadOnly:
    """What no tree on disk can do; each call says so, in case a clause did not ask `can` first."""

    def write(self, path: str, data: bytes) -> NoReturn:
        """Never: nothing that is only looked at is written."""
        raise CannotTell(0, f"what writing {data!r} to {path} gives: this subject is only read")

    def msr_read(self, cpu: int, register: int) -> NoReturn:
        """Never: there are no registers."""
        raise CannotTell(0, f"register {register:#x} of CPU {cpu}")

    def msr_write(self, cpu: int, register: int, value: int) -> NoReturn:
        """Never: there are no registers."""
        raise CannotTell(0, f"register {register:#x} of CPU {cpu} as {value:#x}")

    def cpus(self) -> NoReturn:
        """Not known."""
        raise CannotTell(0, "which CPUs there are")

    def advance(self, nanoseconds: int) -> NoReturn:
        """Never: this subject has no time of its own."""
        raise CannotTell(0, f"what {nanoseconds} ns change")


class FileTree(ReadOnly):
    """Entries below a directory that stands for the root of sysfs; nothing outside it is looked at."""

    name: str
    kernel: str | None
    can: frozenset[str]
    arguments: tuple[str, ...]

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root).resolve()

    def listdir(self, path: str) -> list[str]:
        """The names in the operating system's order."""
        return os.listdir(self.inside(path))  # noqa: PTH208 - names are what is asked for

    def readlink(self, path: str) -> str:
        """The target as it is written."""
        return os.readlink(self.above(path))  # noqa: PTH115 - as written, not tidied into a Path

    def stat(self, path: str) -> Stat:
        """lstat; anything that is neither directory nor link is called a file."""
        found = os.lstat(self.above(path))
        kind, mode = kind_of(found.st_mode)
        return Stat(kind, mode, found.st_nlink, found.st_size, found.st_uid, found.st_gid)

    def read(self, path: str) -> bytes:
        """One read from the start of the file."""
        # A fifo in a tree must not hold up the run.
        handle = os.open(self.inside(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return os.read(handle, _MOST)
        finally:
            os.close(handle)

    def open_errno(self, path: str, mode: Mode, user: User) -> int:
        """Not known for files in general: who may open them says nothing about a kernel."""
        raise CannotTell(0, f"whether {user} may open {path} ({mode})")

    def above(self, path: str) -> Path:
        """The entry itself: the directory it lies in is resolved, its own last name is not."""
        head, _, last = path.rstrip("/").rpartition("/")
        return self.inside(head) / last if last else self.inside("")

    def inside(self, path: str) -> Path:
        """The entry with every link followed; ENOENT for one that leads out of the tree."""
        found = Path(os.path.realpath(self.root / path.lstrip("/"), strict=True))
        if not found.is_relative_to(self.root):
            raise FileNotFoundError(errno.ENOENT, "leads out of the tree", path)
        return found


def kind_of(st_mode: int) -> tuple[Kind, int]:
    """Split the st_mode of lstat into what the entry is and its permission bits."""
    kind: Kind = "dir" if stat.S_ISDIR(st_mode) else "link" if stat.S_ISLNK(st_mode) else "file"
    return kind, stat.S_IMODE(st_mode)


def shown(path: str | os.PathLike[str]) -> str:
    """A path as one line that prints: bytes that are no UTF-8 and characters that do not print become escapes."""
    return printable(os.fsencode(path).decode("utf-8", "backslashreplace"))
