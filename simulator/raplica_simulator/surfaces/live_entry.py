# SPDX-License-Identifier: Apache-2.0
"""What a file of a live surface is, whatever lies behind it: sysfs, or a device of a processor.

Whatever shows entries to other processes has checked the permission bits before it opens one; what sysfs and the msr
device ask beyond the bits is asked by the entry.  Numbers are never used twice for different things.
"""

import stat
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from raplica_simulator.surfaces.caller import Caller

__all__ = ["Entry", "Folder", "LiveFile", "LiveLink", "OpenFile", "Owned", "Status"]


class Status(NamedTuple):
    """What stat shows of a file."""

    mode: int
    nlink: int
    uid: int
    gid: int
    size: int


class OpenFile(Protocol):
    """An open file, as sysfs and the msr device both give it."""

    def pread(self, size: int, offset: int) -> bytes:
        """Read at an offset."""
        ...

    def pwrite(self, data: bytes, offset: int) -> int:
        """Write at an offset; the bytes taken."""
        ...

    def poll(self) -> int:
        """The events of a poll."""
        ...

    def lseek(self, offset: int, whence: int) -> int:
        """Move the position, which only matters for where the end is: every read and write names its offset."""
        ...


class Entry(ABC):
    """One file, directory or link.

    Attributes:
        ino: its number; a node that comes back under the same name has another.
        lookups: how often it was handed out, less what was given back.
        told: what stat last showed of it; None before.
        called_in: whether its name was called in after it had gone.
        times_ns: access, modification and change time.
        keeps: whether what stat showed of it may be shown again until it is called in.
    """

    __slots__ = ("called_in", "ino", "lookups", "times_ns", "told")
    keeps = True

    def __init__(self, ino: int, moment_ns: int) -> None:
        self.ino = ino
        self.lookups = 0
        self.told: Status | None = None
        self.called_in = False
        self.times_ns = (moment_ns, moment_ns, moment_ns)

    @property
    def alive(self) -> bool:
        """Whether it is in the tree."""
        return True

    @abstractmethod
    def place(self) -> tuple[int, str]:
        """The number of its directory and its name there."""

    @abstractmethod
    def status(self) -> Status:
        """What stat shows, also of what has gone while somebody held it open."""

    @abstractmethod
    def change(self, mode: int | None, uid: int | None, gid: int | None) -> None:
        """Let it have other permission bits or another owner."""


class Folder(Entry):
    """A directory."""

    __slots__ = ()

    @abstractmethod
    def find(self, name: str) -> Entry | None:
        """What lies in it under a name."""

    @abstractmethod
    def listing(self) -> Iterable[tuple[int, int, str]]:
        """Number, mode and name of what lies in it, in the order in which the kernel shows it."""


class LiveLink(Entry):
    """A symbolic link."""

    __slots__ = ()

    @property
    @abstractmethod
    def target(self) -> str:
        """Its text."""


class LiveFile(Entry):
    """What can be opened, read and written."""

    __slots__ = ()

    @property
    @abstractmethod
    def path(self) -> str:
        """Where it lies, or lay, below the surface's root: ``sys/...`` without links, ``dev/cpu/N/msr``."""

    @abstractmethod
    def open(self, flags: int, caller: Caller) -> OpenFile:
        """Open it.  OSError as the kernel's own open beyond the permission bits; ESTALE for what has gone."""


class Owned(Entry):
    """What keeps its own permission bits and owner, because nothing of the machine does."""

    __slots__ = ("_gid", "_mode", "_uid")

    def __init__(self, ino: int, moment_ns: int, mode: int) -> None:
        super().__init__(ino, moment_ns)
        self._mode = mode
        self._uid = 0
        self._gid = 0

    def change(self, mode: int | None, uid: int | None, gid: int | None) -> None:
        """Let it have other permission bits or another owner."""
        self._mode = self._mode if mode is None else stat.S_IFMT(self._mode) | mode
        self._uid = self._uid if uid is None else uid
        self._gid = self._gid if gid is None else gid

    def status_with(self, nlink: int) -> Status:
        """What stat shows, of size 0."""
        return Status(self._mode, nlink, self._uid, self._gid, 0)
