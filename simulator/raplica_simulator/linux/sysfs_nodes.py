# SPDX-License-Identifier: Apache-2.0
"""The three kinds of node in sysfs: directory, symbolic link, attribute (mirrors fs/kernfs/dir.c, symlink.c, file.c).

What stat shows is fixed by kind: 4096 bytes for an attribute, 0 for a directory or link, no blocks.  The readdir
order is that of a hash of the name, so it is neither alphabetical nor the order of creation, but the same on
every boot.
"""

import os
import stat
from collections.abc import Callable
from errno import ENODEV
from functools import cache

from raplica_simulator.faults.trigger import Trigger

__all__ = ["PAGE_SIZE", "Attribute", "Cover", "Directory", "EarlyDirectory", "Link", "Node", "name_hash"]

PAGE_SIZE = 4096
_U64 = (1 << 64) - 1
_GOLDEN_RATIO_64 = 0x61C8864680B583EB  # include/linux/hash.h
_INT_MAX = 0x7FFFFFFF


@cache
def name_hash(name: str) -> int:
    """The key by which kernfs orders a directory (fs/kernfs/dir.c kernfs_name_hash, fs/namei.c partial_name_hash)."""
    return _place((_mix(name) * _GOLDEN_RATIO_64 & _U64) >> 32)


@cache
def early_name_hash(name: str) -> int:
    """The same before the hash was multiplied (fs/sysfs/dir.c sysfs_name_hash of 3.13): its low bits as they are."""
    return _place(_mix(name))


def _mix(name: str) -> int:
    value = 0
    for byte in name.encode():
        value = (value + (byte << 4) + (byte >> 4)) * 11 & _U64
    return value


def _place(value: int) -> int:
    """31 bits, in which 0, 1 and INT_MAX are reserved for "." and ".." and the end of the directory."""
    value &= _INT_MAX
    if value < 2:
        value += 2
    return min(value, _INT_MAX - 1)


class Node:
    """What directories, links and attributes share."""

    __slots__ = ("dead", "gid", "inode", "mode", "name", "parent", "triggers", "uid", "unlinked")

    kind = 0
    size = 0

    def __init__(self, name: str, parent: "Directory | None", mode: int) -> None:
        self.name = name
        self.parent = parent
        self.mode = mode
        self.uid = 0
        self.gid = 0
        self.inode = 0
        self.dead = False
        self.unlinked = False
        self.triggers: tuple[Trigger, ...] = ()

    @property
    def hidden(self) -> bool:
        """Whether something is mounted over it, so that its name leads elsewhere."""
        return False

    @property
    def path(self) -> str:
        """The path from the root, without a leading slash."""
        return "/".join(self.lineage())

    def lineage(self) -> list[str]:
        """The names from below the root down to this node."""
        names: list[str] = []
        node: Node | None = self
        while node is not None and node.parent is not None:
            names.append(node.name)
            node = node.parent
        names.reverse()
        return names

    def permits(self, access: int, uid: int) -> bool:
        """Whether the permission bits allow ``os.R_OK``, ``os.W_OK``, ``os.X_OK``.  Root lacks only the execute bit."""
        if uid == 0:
            return not access & os.X_OK or bool(self.mode & 0o111)
        bits = self.mode >> 6 if uid == self.uid else self.mode
        return access & ~bits & 0o7 == 0

    def links(self) -> int:
        """The link count that stat shows: 1, or 0 of what has gone, where the kernel says so."""
        return 0 if self.unlinked else 1

    def stat(self) -> os.stat_result:
        """What lstat gives; all times are 0, since nothing here has a wall clock."""
        return os.stat_result(
            (self.kind | self.mode, self.inode, 0, self.links(), self.uid, self.gid, self.size, 0, 0, 0),
            {"st_blksize": PAGE_SIZE, "st_blocks": 0},
        )


class Directory(Node):
    """A directory: mode 0755, nlink 2 and one for each subdirectory.

    Attributes:
        cover: what was mounted over it, or None.
        fill: makes what lies in it, at the first look; None where that is done or everything is made by others.
    """

    __slots__ = ("_children", "cover", "fill")

    kind = stat.S_IFDIR

    def __init__(self, name: str, parent: "Directory | None") -> None:
        super().__init__(name, parent, 0o755)
        self._children: dict[str, Node] = {}
        self.cover: Cover | None = None
        self.fill: Callable[[Directory], None] | None = None

    @property
    def children(self) -> dict[str, Node]:
        """What lies in it, by name."""
        if self.fill is not None:
            fill, self.fill = self.fill, None
            fill(self)
        return self._children

    def empty(self) -> list[Node]:
        """Take everything out of it; what was never made is not made for that."""
        self.fill = None
        children, self._children = self._children, {}
        return list(children.values())

    @property
    def hidden(self) -> bool:
        """Whether a mask lies over it."""
        return self.cover is not None

    def links(self) -> int:
        """2, and 1 for each subdirectory; as a file's once it has gone."""
        return 0 if self.unlinked else 2 + sum(isinstance(child, Directory) for child in self.children.values())

    def listdir(self) -> list[str]:
        """The names in readdir order."""
        return sorted(self.children, key=lambda name: (name_hash(name), name))


class EarlyDirectory(Directory):
    """A directory of kernels that do not multiply the hash."""

    __slots__ = ()

    def listdir(self) -> list[str]:
        """The names in readdir order."""
        return sorted(self.children, key=lambda name: (early_name_hash(name), name))


class Cover(Directory):
    """The empty, read-only directory that container runtimes mount over what a container is not to see.

    A tmpfs, so its mode is 1777 and its size 40.

    Attributes:
        covered: the directory below it.
    """

    __slots__ = ("covered",)

    size = 40

    def __init__(self, covered: Directory) -> None:
        super().__init__(covered.name, covered.parent)
        self.mode = 0o1777
        self.covered = covered


class Link(Node):
    """A symbolic link: mode 0777, size 0."""

    __slots__ = ("target",)

    kind = stat.S_IFLNK

    def __init__(self, name: str, parent: Directory, target: str) -> None:
        super().__init__(name, parent, 0o777)
        self.target = target


class Attribute(Node):
    """A file made of two functions.

    Attributes:
        show: returns the whole text, at most a page, or raises OSError; None where the attribute cannot be read.
        store: takes one complete value or raises OSError; None where it cannot be written.
    """

    __slots__ = ("show", "store")

    kind = stat.S_IFREG
    size = PAGE_SIZE

    def __init__(
        self,
        name: str,
        parent: Directory,
        mode: int,
        show: Callable[[], bytes] | None,
        store: Callable[[bytes], None] | None,
    ) -> None:
        super().__init__(name, parent, mode)
        self.show = show
        self.store = store

    def trigger(self, on: str) -> None:
        """Let the injected faults of this kind of call fire."""
        for fault in self.triggers:
            if fault.on == on:
                fault.fire()

    def read(self) -> bytes:
        """One run of show: ENODEV when the device has gone, else what an injected fault or the driver says."""
        if self.dead or self.show is None:
            raise OSError(ENODEV, os.strerror(ENODEV))
        if self.triggers:
            self.trigger("read")
        return self.show()

    def write(self, data: bytes) -> int:
        """One run of store with at most a page; returns the bytes taken.  An empty write calls nothing."""
        if self.dead or self.store is None:
            raise OSError(ENODEV, os.strerror(ENODEV))
        if not data:
            return 0
        page = data[:PAGE_SIZE]
        if self.triggers:
            self.trigger("write")
        self.store(page)
        return len(page)
