# SPDX-License-Identifier: Apache-2.0
"""The files of one sysfs on a live surface: directories, links and attributes as entries with numbers.

A live surface may show several: the machine's ``/sys``, its processors, its power PMUs.  Each has numbers of its own.
"""

import os
from collections.abc import Callable, Iterator
from errno import ESTALE

from raplica_simulator.linux.sysfs import Sysfs
from raplica_simulator.linux.sysfs_file import Handle
from raplica_simulator.linux.sysfs_nodes import Attribute, Directory, Link, Node
from raplica_simulator.surfaces.caller import Caller
from raplica_simulator.surfaces.live_entry import Entry, Folder, LiveFile, LiveLink, Status

__all__ = ["SysfsBranch"]


class SysfsBranch:
    """Where a sysfs lies in a live surface, and the entries of its nodes.

    Attributes:
        sysfs: the tree.
        first_ino: a node's number is this and its own.
        parent_ino: the number of the directory that its root lies in.
        path: where the root lies, below the surface's: ``sys`` or ``sys/devices/system/cpu``.
        moment_ns: what every file shows as its times until somebody changes them.
        catch_up: called before each look at what is there: what changed behind the tree is then in it.
    """

    def __init__(
        self,
        sysfs: Sysfs,
        first_ino: int,
        parent_ino: int,
        path: str,
        moment_ns: int,
        handed_out: Callable[[int], Entry | None],
        catch_up: Callable[[], None] = lambda: None,
    ) -> None:
        """``handed_out`` finds the entry that somebody outside knows of by its number."""
        self.sysfs = sysfs
        self.first_ino = first_ino
        self.parent_ino = parent_ino
        self.path = path
        self.moment_ns = moment_ns
        self.catch_up = catch_up
        self._handed_out = handed_out
        # Held for good: nobody else keeps what is done to it.
        self.root = self.entry_of(sysfs.root)

    def entry_of(self, node: Node) -> Entry:
        """The entry of a node: the one that was handed out, or a new one."""
        found = self._handed_out(self.first_ino + node.inode)
        if found is not None:
            return found
        if isinstance(node, Directory):
            return _SysfsFolder(self, node)
        return _SysfsLink(self, node) if isinstance(node, Link) else _SysfsFile(self, node)


class _InSysfs(Entry):
    """What all that lies in sysfs has in common."""

    __slots__ = ("_branch", "_node")
    _node: Node

    def __init__(self, branch: SysfsBranch, node: Node) -> None:
        super().__init__(branch.first_ino + node.inode, branch.moment_ns)
        self._branch = branch
        self._node = node

    @property
    def alive(self) -> bool:
        """Until its device goes, or something is mounted over it."""
        return not (self._node.dead or self._node.hidden)

    def place(self) -> tuple[int, str]:
        """Where it lies, or lay."""
        parent = self._node.parent
        if parent is None:
            return self._branch.parent_ino, self._branch.path.rpartition("/")[2]
        return self._branch.first_ino + parent.inode, self._node.name

    def status(self) -> Status:
        """What the node says."""
        node = self._node
        return Status(node.kind | node.mode, node.links(), node.uid, node.gid, node.size)

    def change(self, mode: int | None, uid: int | None, gid: int | None) -> None:
        """It lasts until the node goes."""
        node = self._node
        node.mode = node.mode if mode is None else mode
        node.uid = node.uid if uid is None else uid
        node.gid = node.gid if gid is None else gid


class _SysfsFolder(_InSysfs, Folder):
    """A directory of sysfs."""

    __slots__ = ()
    _node: Directory

    def find(self, name: str) -> Entry | None:
        """What lies in it; nothing once it has gone."""
        self._branch.catch_up()
        child = self._node.children.get(name)
        return None if child is None else self._branch.entry_of(child)

    def listing(self) -> Iterator[tuple[int, int, str]]:
        """In the kernel's hash order."""
        self._branch.catch_up()
        for name in self._node.listdir():
            child = self._node.children[name]
            yield self._branch.first_ino + child.inode, child.kind, name


class _SysfsLink(_InSysfs, LiveLink):
    """A symbolic link of sysfs."""

    __slots__ = ()
    _node: Link

    @property
    def target(self) -> str:
        """Its text."""
        return self._node.target


class _SysfsFile(_InSysfs, LiveFile):
    """An attribute."""

    __slots__ = ("_path",)
    _node: Attribute

    def __init__(self, branch: SysfsBranch, node: Node) -> None:
        super().__init__(branch, node)
        # Once, and not at every open.
        self._path = f"{branch.path}/{node.path}"

    @property
    def path(self) -> str:
        """Where it lies, or lay."""
        return self._path

    def open(self, flags: int, caller: Caller) -> Handle:  # noqa: ARG002 - the msr device asks who it is
        """Open it: EACCES for a mode that the file lacks, also to root."""
        self._branch.catch_up()
        if self._node.dead:
            raise OSError(ESTALE, os.strerror(ESTALE))
        return self._branch.sysfs.open_attribute(self._node, self._path, flags)
