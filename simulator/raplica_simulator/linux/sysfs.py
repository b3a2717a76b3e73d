# SPDX-License-Identifier: Apache-2.0
"""A virtual sysfs: directories, links and attributes that behave as the kernel's do.

Mirrors fs/kernfs and fs/sysfs.  Nothing is stored for an attribute but its functions: every read at offset 0
runs ``show`` again, every write is one complete value for ``store``.  What a client can tell apart is kept
apart: what ``open`` refuses (EACCES, also to root, where a file lacks the mode), what ``read`` and ``write``
refuse (the driver's errno), and what a descriptor gets whose device has gone (ENODEV).

Paths are relative to the ``/sys`` root, as in ``class/powercap/intel-rapl:0/energy_uj``; ``/sys/...`` is
understood too.
"""

import os
from collections.abc import Callable
from errno import EACCES, EEXIST, EINVAL, EISDIR, ELOOP, ENOENT, ENOTDIR, EPERM
from itertools import count

from raplica_simulator.linux.kernel import Kernel
from raplica_simulator.linux.sysfs_file import Handle
from raplica_simulator.linux.sysfs_nodes import Attribute, Directory, EarlyDirectory, Link, Node, Trigger

__all__ = ["Sysfs"]

_MAX_LINKS = 40  # the kernel's MAXSYMLINKS
# The permission that open asks for, by access mode 0 to 3 (include/linux/fs.h, ACC_MODE).
_NEEDED = (os.R_OK, os.W_OK, os.R_OK | os.W_OK, os.R_OK | os.W_OK)


class Sysfs:
    """The tree below ``/sys`` of one machine, and the system calls that programs make on it.

    ``before_step`` is called at the start of every call that can reach a driver, so that what one step causes
    can be told from what came before.

    Attributes:
        kernel: the kernel whose sysfs it is, for what is put into it too.
        root: the directory ``/sys``.
    """

    def __init__(self, before_step: Callable[[], None], kernel: Kernel) -> None:
        self.kernel = kernel
        self._before_step = before_step
        self._directory = Directory if kernel.multiplies_name_hash else EarlyDirectory
        self._inode = count(1)
        self.root = self._directory("", None)
        self._adopt(self.root)
        self._paths: dict[str, Node] = {}

    # What drivers do.

    def make_directory(self, parent: Directory, name: str) -> Directory:
        """Create a directory (mode 0755, root)."""
        directory = self._directory(name, parent)
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
        """Take a node, and everything below a directory, out of the tree: open descriptors see ENODEV from now on."""
        if node.parent is not None:
            node.parent.children.pop(node.name, None)
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
            for child in node.children.values():
                self._bury(child)
            node.children = {}

    # What programs do.

    def read(self, path: str, uid: int = 0) -> bytes:
        """The attribute's text, by open, read to the end and close.

        Raises OSError with the errno of the call that fails: ENOENT, EISDIR, EACCES at open, the driver's at read.
        """
        self._before_step()
        node = self._paths.get(path)
        if node is None or uid:
            node = self._resolve(path, uid)
        if node.__class__ is not Attribute:
            raise _error(EISDIR, path)
        # Root passes every permission bit, but not a file that lacks the mode or the function
        # (fs/kernfs/file.c, KERNFS_ROOT_EXTRA_OPEN_PERM_CHECK).
        if uid or node.show is None or not node.mode & 0o444:
            self._may_open(node, path, uid, os.R_OK)
        try:
            if node.triggers:
                node.trigger("open")
                node.trigger("read")
            return node.show()  # type: ignore[misc]  # without one it could not be opened
        except OSError as error:
            raise _error(error.errno or EINVAL, path) from error

    def write(self, path: str, data: bytes, uid: int = 0) -> int:
        """Open for writing, write once and close: the number of bytes taken, at most a page (4096).

        An empty write makes the checks of open and returns 0; the driver is not called.
        """
        self._before_step()
        node = self._resolve(path, uid)
        if not isinstance(node, Attribute):
            raise _error(EISDIR, path)
        self._may_open(node, path, uid, os.W_OK)
        try:
            if node.triggers:
                node.trigger("open")
            return node.write(data)
        except OSError as error:
            raise _error(error.errno or EINVAL, path) from error

    def open(self, path: str, flags: int = os.O_RDONLY, uid: int = 0) -> Handle:
        """Open an attribute or a directory and keep it open; see :class:`Handle`.

        Nothing can be created: EEXIST with O_EXCL for what is there, EACCES for a new name in a directory.
        """
        exclusive = flags & os.O_CREAT and flags & os.O_EXCL
        try:
            node = self._resolve(path, uid, follow=not (exclusive or flags & os.O_NOFOLLOW))
        except FileNotFoundError:
            if path and flags & os.O_CREAT:
                self.listdir(path.rpartition("/")[0] or ".")
                raise _error(EACCES, path) from None
            raise
        if exclusive:
            raise _error(EEXIST, path)
        if isinstance(node, Link):
            raise _error(ELOOP, path)
        # Truncating takes the permission to write as well.
        needed = _NEEDED[flags & os.O_ACCMODE] | (os.W_OK if flags & os.O_TRUNC else 0)
        if isinstance(node, Directory):
            if needed & os.W_OK or flags & os.O_CREAT:
                raise _error(EISDIR, path)
        elif flags & os.O_DIRECTORY or not isinstance(node, Attribute):
            raise _error(ENOTDIR, path)
        if not node.permits(needed, uid):
            raise _error(EACCES, path)
        if isinstance(node, Attribute):
            self._open_attribute(node, path, uid, flags)
        return Handle(node, path, flags, self._before_step, self.kernel.dead_lseek_errno)

    def stat(self, path: str) -> os.stat_result:
        """What lstat gives: mode, nlink, owner, size (4096 for an attribute), blksize, blocks; all times are 0."""
        return self._resolve(path, follow=False).stat()

    def listdir(self, path: str) -> list[str]:
        """The names in a directory in the kernel's readdir order (a hash order, the same on every boot)."""
        node = self._resolve(path)
        if not isinstance(node, Directory):
            raise _error(ENOTDIR, path)
        return node.listdir()

    def readlink(self, path: str) -> str:
        """The text of a symbolic link; EINVAL for anything else."""
        node = self._resolve(path, follow=False)
        if not isinstance(node, Link):
            raise _error(EINVAL, path)
        return node.target

    def access(self, path: str, mode: int, uid: int = 0) -> bool:
        """Answer as the call access does: by permission bits only, so root may "write" a read-only attribute."""
        try:
            node = self._resolve(path, uid)
        except PermissionError:
            return False
        return node.permits(mode, uid)

    def chmod(self, path: str, mode: int, uid: int = 0) -> None:
        """Change permission bits; they last until the node goes.  EPERM for anyone but the owner and root."""
        node = self._resolve(path, uid)
        if uid not in (0, node.uid):
            raise _error(EPERM, path)
        node.mode = mode & 0o7777

    def chown(self, path: str, owner: int, group: int, uid: int = 0) -> None:
        """Change the owner (-1 keeps one); EPERM for anyone but root."""
        if uid:
            raise _error(EPERM, path)
        node = self._resolve(path)
        node.uid = node.uid if owner == -1 else owner
        node.gid = node.gid if group == -1 else group

    def inject(
        self, path: str, on: str = "read", errno: int | None = EINVAL, after: int = 0, times: int | None = None
    ) -> None:
        """Make ``open``, ``read`` or ``write`` of an attribute fail with ``errno``, for every user.

        The first ``after`` calls still pass; then ``times`` calls fail (None: all).  ``errno=None`` heals.
        """
        if on not in ("open", "read", "write"):
            message = f"inject(on={on!r}): a sysfs fault is on 'open', 'read' or 'write'"
            raise ValueError(message)
        node = self._resolve(path)
        if not isinstance(node, Attribute):
            raise _error(EISDIR, path)
        kept = tuple(t for t in node.triggers if t.on != on)
        node.triggers = kept if errno is None else (*kept, Trigger(on, errno, after, times))

    # Looking up.

    def _may_open(self, node: Attribute, path: str, uid: int, access: int) -> None:
        """The checks of open(2) on an attribute: permission bits, then what kernfs asks of root too."""
        if not node.permits(access, uid):
            raise _error(EACCES, path)
        if access & os.W_OK and (node.store is None or not node.mode & 0o222):
            raise _error(EACCES, path)
        if access & os.R_OK and (node.show is None or not node.mode & 0o444):
            raise _error(EACCES, path)

    def _open_attribute(self, node: Attribute, path: str, uid: int, flags: int) -> None:
        """What is asked of an attribute beyond the permission bits, and the injected faults."""
        mode = flags & os.O_ACCMODE
        # kernfs asks about what the descriptor can do, and one of mode 3 can neither read nor write.
        if mode != os.O_ACCMODE:
            self._may_open(node, path, uid, _NEEDED[mode])
        if flags & getattr(os, "O_DIRECT", 0):
            raise _error(EINVAL, path)
        try:
            node.trigger("open")
        except OSError as error:
            raise _error(error.errno or EINVAL, path) from error

    def _resolve(self, path: str, uid: int = 0, *, follow: bool = True) -> Node:
        """Walk to the node that ``path`` names.  ENOENT, ENOTDIR, EACCES and ELOOP as the kernel's walk gives them."""
        # Root may search every directory, so what root once found is found again without a walk.
        remembered = follow and not uid
        if remembered and (known := self._paths.get(path)) is not None:
            return known
        parts = path.split("/")
        if path.startswith("/"):
            if parts[1:2] != ["sys"]:
                raise _error(ENOENT, path)
            parts = parts[2:]
        elif not path:
            raise _error(ENOENT, path)
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
                raise _error(ENOTDIR, path)
            if not part:
                continue
            child = _look_up(node, part, path, uid)
            if isinstance(child, Link) and (parts or follow):
                links += 1
                if links > _MAX_LINKS:
                    raise _error(ELOOP, path)
                parts.extend(reversed(child.target.split("/")))
                continue
            node = child
        return node


def _look_up(directory: Directory, name: str, path: str, uid: int) -> Node:
    """One step of a walk; it takes the permission to search, for "." too (fs/namei.c may_lookup)."""
    if uid and not directory.permits(os.X_OK, uid):
        raise _error(EACCES, path)
    if name == ".":
        return directory
    if name == "..":
        return directory.parent or directory
    child = directory.children.get(name)
    if child is None:
        raise _error(ENOENT, path)
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


def _error(errno: int, path: str) -> OSError:
    return OSError(errno, os.strerror(errno), path)
