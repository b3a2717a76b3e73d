# SPDX-License-Identifier: Apache-2.0
"""The files of a live surface: ``sys`` and ``dev/cpu/N/msr`` of one machine, each with a number of its own.

Knows nothing of how the files reach other processes.  One thread at a time.
"""

import os
from collections.abc import Iterator
from errno import ESTALE

from raplica_simulator.linux.msr_dev import MsrModule
from raplica_simulator.linux.sysfs import Sysfs
from raplica_simulator.linux.sysfs_file import Handle
from raplica_simulator.linux.sysfs_nodes import Attribute, Directory, Link, Node
from raplica_simulator.surfaces.caller import Caller
from raplica_simulator.surfaces.live_cpus import Cpus, OwnFolder
from raplica_simulator.surfaces.live_entry import Entry, Folder, LiveFile, LiveLink, Status

__all__ = ["ROOT_INO", "LiveTree"]

ROOT_INO = 1
_DEV_INO = 2
_CPUS_INO = 3
_SYSFS_INO = 1 << 32  # + the node's own number


class _InSysfs(Entry):
    """What all that lies in sysfs has in common."""

    __slots__ = ("_node", "_tree")
    _node: Node

    def __init__(self, tree: "LiveTree", node: Node) -> None:
        super().__init__(_SYSFS_INO + node.inode, tree.moment_ns)
        self._tree = tree
        self._node = node

    @property
    def alive(self) -> bool:
        """Until its device goes."""
        return not self._node.dead

    def place(self) -> tuple[int, str]:
        """Where it lies, or lay."""
        parent = self._node.parent
        return (ROOT_INO, "sys") if parent is None else (_SYSFS_INO + parent.inode, self._node.name)

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
        child = self._node.children.get(name)
        return None if child is None else self._tree.entry_of(child)

    def listing(self) -> Iterator[tuple[int, int, str]]:
        """In the kernel's hash order."""
        for name in self._node.listdir():
            child = self._node.children[name]
            yield _SYSFS_INO + child.inode, child.kind, name


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

    __slots__ = ()
    _node: Attribute

    def open(self, flags: int, caller: Caller) -> Handle:  # noqa: ARG002 - the msr device asks who it is
        """Open it: EACCES for a mode that the file lacks, also to root."""
        if self._node.dead:
            raise OSError(ESTALE, os.strerror(ESTALE))
        return self._tree.sysfs.open(self._node.path, flags)


class LiveTree:
    """All files of one machine.

    Attributes:
        root: the directory in which ``sys`` and ``dev`` lie.
        sysfs: what lies below ``sys``.
        moment_ns: what every file shows as its times until somebody changes them.
    """

    def __init__(self, sysfs: Sysfs, module: MsrModule, moment_ns: int) -> None:
        self.sysfs = sysfs
        self.moment_ns = moment_ns
        self._handed_out: dict[int, Entry] = {}
        cpus = Cpus(_CPUS_INO, moment_ns, _DEV_INO, module)
        dev = OwnFolder(_DEV_INO, moment_ns, ROOT_INO, {"cpu": cpus})
        # Held for good: nobody else keeps what is done to it.
        self._top = self.entry_of(sysfs.root)
        self.root = OwnFolder(ROOT_INO, moment_ns, ROOT_INO, {"sys": self._top, "dev": dev})

    def handed_out(self) -> list[Entry]:
        """Every entry that somebody outside knows of, the root aside."""
        return list(self._handed_out.values())

    def entry(self, ino: int) -> Entry:
        """What was handed out under a number; ESTALE for a number that was not."""
        found = self._handed_out.get(ino)
        if found is None:
            if ino == ROOT_INO:
                return self.root
            raise OSError(ESTALE, os.strerror(ESTALE))
        return found

    def hand_out(self, entry: Entry) -> None:
        """Count one more who knows of an entry."""
        entry.lookups += 1
        self._handed_out[entry.ino] = entry

    def take_back(self, ino: int, lookups: int) -> None:
        """Count those who have forgotten it."""
        entry = self._handed_out.get(ino)
        if entry is not None:
            entry.lookups -= lookups
            if entry.lookups <= 0:
                entry.lookups = 0
                entry.told = None
                entry.called_in = False
                del self._handed_out[ino]

    def entry_of(self, node: Node) -> Entry:
        """The entry of a node of sysfs: the one that was handed out, or a new one."""
        found = self._handed_out.get(_SYSFS_INO + node.inode)
        if found is not None:
            return found
        if isinstance(node, Directory):
            return _SysfsFolder(self, node)
        return _SysfsLink(self, node) if isinstance(node, Link) else _SysfsFile(self, node)
