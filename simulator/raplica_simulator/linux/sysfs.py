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
from errno import EACCES, EEXIST, EINVAL, EISDIR, ELOOP, ENOTDIR, EPERM

from raplica_simulator.faults.trigger import Trigger
from raplica_simulator.linux.kernel import Kernel
from raplica_simulator.linux.sysfs_file import Handle
from raplica_simulator.linux.sysfs_nodes import Attribute, Directory, Link
from raplica_simulator.linux.sysfs_tree import SysfsTree, path_error

__all__ = ["Sysfs"]

# The permission that open asks for, by access mode 0 to 3 (include/linux/fs.h, ACC_MODE).
_NEEDED = (os.R_OK, os.W_OK, os.R_OK | os.W_OK, os.R_OK | os.W_OK)
_O_DIRECT = getattr(os, "O_DIRECT", 0)


class Sysfs(SysfsTree):
    """The tree below ``/sys`` of one machine, and the system calls that programs make on it.

    ``before_step`` is called at the start of every call that can reach a driver, so that what one step causes
    can be told from what came before.
    """

    def __init__(self, before_step: Callable[[], None], kernel: Kernel) -> None:
        super().__init__(kernel)
        self._before_step = before_step

    def read(self, path: str, uid: int = 0) -> bytes:
        """The attribute's text, by open, read to the end and close.

        Raises OSError with the errno of the call that fails: ENOENT, EISDIR, EACCES at open, the driver's at read.
        """
        self._before_step()
        node = self._paths.get(path)
        if node is None or uid:
            node = self._resolve(path, uid)
        if node.__class__ is not Attribute:
            raise path_error(EISDIR, path)
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
            raise path_error(error.errno or EINVAL, path) from error

    def write(self, path: str, data: bytes, uid: int = 0) -> int:
        """Open for writing, write once and close: the number of bytes taken, at most a page (4096).

        An empty write makes the checks of open and returns 0; the driver is not called.
        """
        self._before_step()
        node = self._resolve(path, uid)
        if not isinstance(node, Attribute):
            raise path_error(EISDIR, path)
        self._may_open(node, path, uid, os.W_OK)
        try:
            if node.triggers:
                node.trigger("open")
            return node.write(data)
        except OSError as error:
            raise path_error(error.errno or EINVAL, path) from error

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
                raise path_error(EACCES, path) from None
            raise
        if exclusive:
            raise path_error(EEXIST, path)
        if isinstance(node, Link):
            raise path_error(ENOTDIR if flags & os.O_DIRECTORY else ELOOP, path)
        if isinstance(node, Directory):
            if _needed(flags) & os.W_OK or flags & os.O_CREAT:
                raise path_error(EISDIR, path)
            if flags & _O_DIRECT:
                raise path_error(EINVAL, path)
            if not node.permits(os.R_OK, uid):
                raise path_error(EACCES, path)
            return Handle(node, path, flags, self._before_step, self.kernel.dead_lseek_errno)
        if flags & os.O_DIRECTORY or not isinstance(node, Attribute):
            raise path_error(ENOTDIR, path)
        return self.open_attribute(node, path, flags, uid)

    def open_attribute(self, node: Attribute, path: str, flags: int = os.O_RDONLY, uid: int = 0) -> Handle:
        """As :meth:`open`, for an attribute to which ``path`` has led already."""
        if not node.permits(_needed(flags), uid):
            raise path_error(EACCES, path)
        mode = flags & os.O_ACCMODE
        # kernfs asks about what the descriptor can do, and one of mode 3 can neither read nor write.
        if mode != os.O_ACCMODE:
            self._may_open(node, path, uid, _NEEDED[mode])
        if flags & _O_DIRECT:
            raise path_error(EINVAL, path)
        try:
            node.trigger("open")
        except OSError as error:
            raise path_error(error.errno or EINVAL, path) from error
        return Handle(node, path, flags, self._before_step, self.kernel.dead_lseek_errno)

    def stat(self, path: str) -> os.stat_result:
        """What lstat gives: mode, nlink, owner, size (4096 for an attribute), blksize, blocks; all times are 0."""
        return self._resolve(path, follow=False).stat()

    def listdir(self, path: str) -> list[str]:
        """The names in a directory in the kernel's readdir order (a hash order, the same on every boot)."""
        node = self._resolve(path)
        if not isinstance(node, Directory):
            raise path_error(ENOTDIR, path)
        return node.listdir()

    def readlink(self, path: str) -> str:
        """The text of a symbolic link; EINVAL for anything else."""
        node = self._resolve(path, follow=False)
        if not isinstance(node, Link):
            raise path_error(EINVAL, path)
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
            raise path_error(EPERM, path)
        node.mode = mode & 0o7777

    def chown(self, path: str, owner: int, group: int, uid: int = 0) -> None:
        """Change the owner (-1 keeps one); EPERM for anyone but root."""
        if uid:
            raise path_error(EPERM, path)
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
            raise path_error(EISDIR, path)
        kept = tuple(t for t in node.triggers if t.on != on)
        node.triggers = kept if errno is None else (*kept, Trigger(on, errno, after, times))

    def _may_open(self, node: Attribute, path: str, uid: int, access: int) -> None:
        """The checks of open(2) on an attribute: permission bits, then what kernfs asks of root too."""
        if not node.permits(access, uid):
            raise path_error(EACCES, path)
        if access & os.W_OK and (node.store is None or not node.mode & 0o222):
            raise path_error(EACCES, path)
        if access & os.R_OK and (node.show is None or not node.mode & 0o444):
            raise path_error(EACCES, path)


def _needed(flags: int) -> int:
    """The permission that open asks for; truncating takes that to write as well."""
    return _NEEDED[flags & os.O_ACCMODE] | (os.W_OK if flags & os.O_TRUNC else 0)
