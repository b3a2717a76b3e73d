# SPDX-License-Identifier: Apache-2.0
"""The tree of a virtual sysfs as those have it who build it: nodes come, go and are covered, and paths lead to them.

Mirrors fs/kernfs/dir.c and symlink.c, and as far as paths are concerned fs/namei.c.
"""

import os
from collections.abc import Callable
from errno import EACCES, EBUSY, EEXIST, EINVAL, ELOOP, ENOENT, ENOTDIR
from itertools import count

from raplica_simulator.linux.kernel import Kernel
from raplica_simulator.linux.sysfs_nodes import Attribute, Cover, Directory, EarlyDirectory, Link, Node

__all__ = ["SysfsTree", "path_error"]

_MAX_LINKS = 40  # the kernel's MAXSYMLINKS


class SysfsTree:
    """The nodes below ``/sys`` of one machine.

    Attributes:
        kernel: the kernel whose sysfs it is, for what is put into it too.
        root: the directory ``/sys``.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self._directory = Directory if kernel.multiplies_name_hash else EarlyDirectory
        self._inode = count(1)
        self.root = self._directory("", None)
        self._adopt(self.root)
        self._paths: dict[str, Node] = {}

    def make_directory(
        self, parent: Directory, name: str, fill: Callable[[Directory], None] | None = None
    ) -> Directory:
        """Create a directory (mode 0755, root); ``fill`` puts into it what lies there, when somebody first looks."""
        directory = self._directory(name, parent)
        directory.fill = fill
        self._link(parent, directory)
        return directory

    def make_attribute(
        self,
        parent: Directory,
        name: str,
        mode: int,
        show: Callable[[], bytes] | None,
        store: Callable[[bytes], None] | None = None,
    ) -> Attribute:
        """Create an attribute.  ``show`` returns the whole text; ``store`` gets at most a page; both raise OSError."""
        attribute = Attribute(name, parent, mode, show, store)
        self._link(parent, attribute)
        return attribute

    def make_link(self, parent: Directory, name: str, target: Directory) -> Link:
        """Create a symbolic link to another directory of the tree, with the kernel's relative text."""
        link = Link(name, parent, _relative(parent, target))
        self._link(parent, link)
        return link

    def remove(self, node: Node) -> None:
        """Take a node, and everything below a directory, out of the tree: open descriptors see ENODEV from now on.

        A mask that lies over it goes too, as a mount does whose directory was removed.
        """
        if node.parent is not None:
            node.parent.children.pop(node.name, None)
        self._bury(node)
        self._paths.clear()

    def mask(self, path: str) -> None:
        """Mount an empty, read-only directory over one, as container runtimes do: what lies below is ENOENT by path.

        Who has a file below open goes on with it, and so do the drivers.  OSError: ENOTDIR for what is no directory,
        EBUSY for the root and where a mask lies already.
        """
        node = self._resolve(path)
        if not isinstance(node, Directory):
            raise path_error(ENOTDIR, path)
        if node.parent is None or isinstance(node, Cover):
            raise path_error(EBUSY, path)
        node.cover = Cover(node)
        node.parent.children[node.name] = node.cover
        self._adopt(node.cover)
        self._paths.clear()

    def is_masked(self, path: str) -> bool:
        """Whether a mask lies over the directory that ``path`` leads to; OSError where it leads nowhere."""
        return isinstance(self._resolve(path), Cover)

    def unmask(self, path: str) -> None:
        """Take the mask away again.  OSError(EINVAL), as umount says, where there is none."""
        node = self._resolve(path)
        if not isinstance(node, Cover) or node.parent is None:
            raise path_error(EINVAL, path)
        node.covered.cover = None
        node.parent.children[node.name] = node.covered
        self._bury(node)
        self._paths.clear()

    def _link(self, parent: Directory, node: Node) -> None:
        if node.name in parent.children:
            raise OSError(EEXIST, os.strerror(EEXIST), f"{parent.path}/{node.name}")
        parent.children[node.name] = node
        self._adopt(node)
        self._paths.clear()

    def _adopt(self, node: Node) -> None:
        node.inode = next(self._inode)

    def _bury(self, node: Node) -> None:
        node.dead = True
        node.unlinked = not self.kernel.dead_keep_links
        if isinstance(node, Directory):
            for child in node.empty():
                # Below a mask lies what has to go as well.
                self._bury(child.covered if isinstance(child, Cover) else child)
            if (cover := node.cover) is not None:
                node.cover = None
                self._bury(cover)

    def _resolve(self, path: str, uid: int = 0, *, follow: bool = True) -> Node:
        """Walk to the node that ``path`` names.  ENOENT, ENOTDIR, EACCES and ELOOP as the kernel's walk gives them."""
        # Root may search every directory, so what root once found is found again without a walk.
        remembered = follow and not uid
        if remembered and (known := self._paths.get(path)) is not None:
            return known
        parts = path.split("/")
        if path.startswith("/"):
            if parts[1:2] != ["sys"]:
                raise path_error(ENOENT, path)
            parts = parts[2:]
        elif not path:
            raise path_error(ENOENT, path)
        node = self._walk(parts, path, uid, follow=follow)
        if remembered:
            self._paths[path] = node
        return node

    def _walk(self, parts: list[str], path: str, uid: int, *, follow: bool) -> Node:
        """Go from the root along the names in ``parts``, and along links, the last one only with ``follow``."""
        node: Node = self.root
        parts.reverse()
        links = 0
        while parts:
            part = parts.pop()
            # Also for a slash behind a file's name.
            if not isinstance(node, Directory):
                raise path_error(ENOTDIR, path)
            if not part:
                continue
            child = _look_up(node, part, path, uid)
            if isinstance(child, Link) and (parts or follow):
                links += 1
                if links > _MAX_LINKS:
                    raise path_error(ELOOP, path)
                parts.extend(reversed(child.target.split("/")))
                continue
            node = child
        return node


def _look_up(directory: Directory, name: str, path: str, uid: int) -> Node:
    """One step of a walk; it takes the permission to search, for "." too (fs/namei.c may_lookup)."""
    if uid and not directory.permits(os.X_OK, uid):
        raise path_error(EACCES, path)
    if name == ".":
        return directory
    if name == "..":
        return directory.parent or directory
    child = directory.children.get(name)
    if child is None:
        raise path_error(ENOENT, path)
    return child


def _relative(source: Directory, target: Directory) -> str:
    """The text of a link in ``source`` to ``target``: up to a common directory, then down.

    The common directory is one above the target, so a link to one's own parent names it: ``../../intel-rapl``
    (fs/kernfs/symlink.c kernfs_get_target_path).
    """
    ours, theirs = source.lineage(), target.lineage()
    common = 0
    while common < min(len(ours), len(theirs) - 1) and ours[common] == theirs[common]:
        common += 1
    return "/".join([".."] * (len(ours) - common) + theirs[common:])


def path_error(errno: int, path: str) -> OSError:
    """The error of a call on a path, as the kernel's errno has it."""
    return OSError(errno, os.strerror(errno), path)
