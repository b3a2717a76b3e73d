# SPDX-License-Identifier: Apache-2.0
"""What a machine's ``/sys`` shows at one moment, read once and kept: what the surfaces that stand still are made of.

Everything is read before anything is written, so an error of the machine never leaves half a tree behind.  Entries
come in the kernel's directory order.  Reading goes through ``Sysfs.read``, as a program running as root would, so
injected faults, modes and errnos hold here too.
"""

from dataclasses import dataclass, field
from errno import errorcode

from raplica_simulator.linux.sysfs import Sysfs
from raplica_simulator.linux.sysfs_nodes import Attribute, Directory, Link

__all__ = ["File", "Folder", "Snapshot", "SymbolicLink", "Unreadable", "Written", "take_snapshot"]

# A file: name, permission bits, content.
File = tuple[str, int, bytes]
# A symbolic link: name, target.
SymbolicLink = tuple[str, str]


@dataclass(slots=True)
class Folder:
    """One directory: its name, its permission bits and what is in it, each kind in the kernel's order."""

    name: str
    mode: int
    files: list[File] = field(default_factory=list)
    links: list[SymbolicLink] = field(default_factory=list)
    folders: "list[Folder]" = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An attribute whose read failed: its path below ``/sys`` and the name of the errno, such as ``EIO``."""

    path: str
    errno: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A tree at one moment.

    ``root`` is ``/sys`` itself, its name empty; ``attributes`` counts the files, and those that could not be read are
    empty and named in ``unreadable``.
    """

    root: Folder
    attributes: int
    unreadable: tuple[Unreadable, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """What a surface wrote.

    Attributes:
        attributes: how many files.
        unreadable: the attributes whose read failed; they are written empty.
        strangers: paths that were there and that the machine does not have; they were left alone.  Of a directory
            only its own path is named.
    """

    attributes: int
    unreadable: tuple[Unreadable, ...]
    strangers: tuple[str, ...] = ()


def take_snapshot(sysfs: Sysfs) -> Snapshot:
    """Read every attribute once.  ValueError for a name that no directory outside of the machine can hold."""
    unreadable: list[Unreadable] = []
    root, attributes = _folder(sysfs, sysfs.root, "", unreadable)
    return Snapshot(root, attributes, tuple(unreadable))


def _folder(sysfs: Sysfs, directory: Directory, above: str, unreadable: list[Unreadable]) -> tuple[Folder, int]:
    """One directory with everything below it, and how many attributes that is; ``above`` is its path with a slash."""
    folder = Folder(directory.name, directory.mode)
    attributes = 0
    read = sysfs.read
    children = directory.children
    for name in directory.listdir():
        if name in (".", "..") or "/" in name or "\0" in name:
            raise ValueError(f"{above}{name!r} cannot be written: no file can have this name; rename it in the profile")
        child = children[name]
        if isinstance(child, Attribute):
            path = above + name
            try:
                content = read(path)
            except OSError as error:
                content = b""
                unreadable.append(Unreadable(path, errorcode.get(error.errno or 0, str(error.errno))))
            folder.files.append((name, child.mode, content))
            attributes += 1
        elif isinstance(child, Link):
            folder.links.append((name, child.target))
        elif isinstance(child, Directory):
            below, count = _folder(sysfs, child, f"{above}{name}/", unreadable)
            folder.folders.append(below)
            attributes += count
    return folder, attributes
