# SPDX-License-Identifier: Apache-2.0
"""What is answered about the files of a live surface, request by request: see :mod:`.fuse_server` for who asks.

Mirrors fs/fuse/{dir,file}.c from the other side; what the numbers mean stands in :mod:`.fuse_wire`.
"""

import os
import select
import stat
from collections.abc import Callable
from errno import EACCES, EFBIG, EINVAL, EISDIR, ENOENT, ENOTDIR, ENOTTY, EPERM

from raplica_simulator.linux.msr_file import MsrFile
from raplica_simulator.surfaces import fuse_wire as wire
from raplica_simulator.surfaces.caller import Caller
from raplica_simulator.surfaces.fuse_entries import attributes_reply, listing, lookup_reply
from raplica_simulator.surfaces.fuse_wire import Header, Op
from raplica_simulator.surfaces.live_entry import Folder, LiveFile, LiveLink, OpenFile
from raplica_simulator.surfaces.live_tree import LiveTree

__all__ = ["MOST_WRITTEN", "REFUSED", "Answer", "FuseAnswers"]

MOST_WRITTEN = 128 * 1024
_MOST_OFFSET = (1 << 31) - 1  # how long a file of sysfs may be said to be (fs/super.c, s_maxbytes)
# What poll says beside POLLIN and POLLOUT (include/uapi/asm-generic/poll.h).
_RDNORM = 0x40
_WRNORM = 0x100

# The payload of an answer; None where the kernel expects none.
Answer = bytes | None


class FuseAnswers:
    """The answers about one tree; for one thread, and with the machine held.

    Attributes:
        handlers: who answers a request, by its operation; OSError is the answer that its errno says.
        handles: what is open, files and listings of folders, by the number that the kernel was given.
    """

    def __init__(self, tree: LiveTree, at_home: int | None) -> None:
        """``at_home`` is the user namespace in which capabilities count."""
        self._tree = tree
        self._at_home = at_home
        self.handles: dict[int, OpenFile | list[bytes]] = {}
        self._last_handle = 0
        self.handlers: dict[int, Callable[[Header, bytearray], Answer]] = {
            Op.LOOKUP: self._lookup,
            Op.FORGET: self._forget,
            Op.BATCH_FORGET: self._forget_many,
            Op.GETATTR: self._getattr,
            Op.SETATTR: self._setattr,
            Op.READLINK: self._readlink,
            Op.OPEN: self._open,
            Op.READ: self._read,
            Op.WRITE: self._write,
            Op.RELEASE: self._release,
            Op.MKNOD: self._mknod,
            Op.OPENDIR: self._opendir,
            Op.READDIR: self._readdir,
            Op.RELEASEDIR: self._release,
            Op.IOCTL: self._ioctl,
            Op.POLL: self._poll,
            Op.STATFS: lambda _header, _body: wire.statfs_reply(),
            Op.LISTXATTR: self._listxattr,
            Op.INIT: self._init,
            Op.INTERRUPT: lambda _header, _body: None,
            Op.DESTROY: lambda _header, _body: b"",
        }

    # Names and attributes.

    def _lookup(self, header: Header, body: bytearray) -> Answer:
        folder = self._folder(header.node)
        name = os.fsdecode(bytes(body[wire.HEADER_SIZE : header.length - 1]))
        found = folder.find(name)
        if found is None:
            raise OSError(ENOENT, os.strerror(ENOENT))
        self._tree.hand_out(found)
        return lookup_reply(found)

    def _forget(self, header: Header, body: bytearray) -> Answer:
        (lookups,) = wire.FORGET_IN.unpack_from(body, wire.HEADER_SIZE)
        self._tree.take_back(header.node, lookups)
        return None

    def _forget_many(self, _header: Header, body: bytearray) -> Answer:
        (count,) = wire.BATCH_FORGET_IN.unpack_from(body, wire.HEADER_SIZE)
        start = wire.HEADER_SIZE + wire.BATCH_FORGET_IN.size
        for index in range(count):
            self._tree.take_back(*wire.FORGET_ONE.unpack_from(body, start + index * wire.FORGET_ONE.size))
        return None

    def _getattr(self, header: Header, body: bytearray) -> Answer:
        flags, handle = wire.GETATTR_IN.unpack_from(body, wire.HEADER_SIZE)
        if flags & wire.ATTRIBUTES_OF_HANDLE and handle in self.handles:
            # The kernel wants to know where the end is: lseek (fs/fuse/file.c, fuse_file_llseek).
            self._file(handle).lseek(0, os.SEEK_END)
        return attributes_reply(self._tree.entry(header.node))

    def _setattr(self, header: Header, body: bytearray) -> Answer:
        valid, _, size, *times, mode, uid, gid = wire.SETATTR_IN.unpack_from(body, wire.HEADER_SIZE)
        if valid & wire.SET_SIZE and size > _MOST_OFFSET:
            raise OSError(EFBIG, os.strerror(EFBIG))
        entry = self._tree.entry(header.node)
        entry.change(
            mode & 0o7777 if valid & wire.SET_MODE else None,
            uid if valid & wire.SET_UID else None,
            gid if valid & wire.SET_GID else None,
        )
        accessed, modified, changed = entry.times_ns
        if valid & wire.SET_ATIME:
            accessed = times[0] * 10**9 + times[3]
        if valid & wire.SET_MTIME:
            modified = times[1] * 10**9 + times[4]
        entry.times_ns = (accessed, modified, changed)
        return attributes_reply(entry)

    def _readlink(self, header: Header, _body: bytearray) -> Answer:
        entry = self._tree.entry(header.node)
        if not isinstance(entry, LiveLink):
            raise OSError(EINVAL, os.strerror(EINVAL))
        return os.fsencode(entry.target)

    def _listxattr(self, _header: Header, body: bytearray) -> Answer:
        (room,) = wire.GETXATTR_IN.unpack_from(body, wire.HEADER_SIZE)
        return b"" if room else wire.GETXATTR_OUT.pack(0)

    # Files.

    def _open(self, header: Header, body: bytearray) -> Answer:
        (flags,) = wire.OPEN_IN.unpack_from(body, wire.HEADER_SIZE)
        entry = self._tree.entry(header.node)
        if not isinstance(entry, LiveFile):
            raise OSError(EISDIR, os.strerror(EISDIR))
        file = entry.open(flags, Caller(header.pid, header.uid, self._at_home))
        return wire.open_reply(self._keep(file), wire.OPEN_DIRECT_IO | wire.OPEN_NO_FLUSH)

    def _read(self, _header: Header, body: bytearray) -> Answer:
        (flags,) = wire.READ_FLAGS.unpack_from(body, wire.HEADER_SIZE)
        if not flags & wire.READ_LOCK_OWNER:
            # For the page cache (splice, sendfile, readahead, a private mapping), which would keep the text and hand
            # it out again, and cut a longer one to its length. Whoever is refused reads instead.
            raise OSError(EINVAL, os.strerror(EINVAL))
        handle, offset, size = wire.READ_IN.unpack_from(body, wire.HEADER_SIZE)
        return self._file(handle).pread(size, offset)

    def _write(self, _header: Header, body: bytearray) -> Answer:
        handle, offset, size = wire.READ_IN.unpack_from(body, wire.HEADER_SIZE)
        start = wire.HEADER_SIZE + wire.READ_IN.size
        return wire.WRITE_OUT.pack(self._file(handle).pwrite(bytes(body[start : start + size]), offset))

    def _ioctl(self, _header: Header, body: bytearray) -> Answer:
        handle, _, command, _, size, _ = wire.IOCTL_IN.unpack_from(body, wire.HEADER_SIZE)
        file = self.handles.get(handle)
        if not isinstance(file, MsrFile):
            raise OSError(ENOTTY, os.strerror(ENOTTY))
        start = wire.HEADER_SIZE + wire.IOCTL_IN.size
        return wire.IOCTL_OUT.pack(0) + file.ioctl(command, bytes(body[start : start + size]))

    def _poll(self, _header: Header, body: bytearray) -> Answer:
        (handle,) = wire.POLL_IN.unpack_from(body, wire.HEADER_SIZE)
        events = self._file(handle).poll()
        events |= _RDNORM if events & select.POLLIN else 0
        return wire.POLL_OUT.pack(events | (_WRNORM if events & select.POLLOUT else 0))

    def _release(self, _header: Header, body: bytearray) -> Answer:
        (handle,) = wire.RELEASE_IN.unpack_from(body, wire.HEADER_SIZE)
        self.handles.pop(handle, None)
        return b""

    def _keep(self, opened: "OpenFile | list[bytes]") -> int:
        self._last_handle += 1
        self.handles[self._last_handle] = opened
        return self._last_handle

    def _file(self, handle: int) -> OpenFile:
        file = self.handles[handle]
        if isinstance(file, list):
            raise OSError(EISDIR, os.strerror(EISDIR))
        return file

    # Directories.

    def _mknod(self, _header: Header, body: bytearray) -> Answer:
        (mode,) = wire.MKNOD_IN.unpack_from(body, wire.HEADER_SIZE)
        # A plain file is refused as open with O_CREAT is (fs/namei.c, vfs_create), anything else as mkdir.
        errno = EACCES if stat.S_ISREG(mode) else EPERM
        raise OSError(errno, os.strerror(errno))

    def _opendir(self, header: Header, _body: bytearray) -> Answer:
        self._folder(header.node)
        return wire.open_reply(self._keep([]), 0)

    def _readdir(self, header: Header, body: bytearray) -> Answer:
        handle, offset, room = wire.READ_IN.unpack_from(body, wire.HEADER_SIZE)
        known = self.handles[handle]
        if not isinstance(known, list):
            raise OSError(ENOTDIR, os.strerror(ENOTDIR))
        if offset == 0:
            # Read anew, also after rewinddir; what follows comes from the same listing.
            known[:] = listing(self._folder(header.node))
        end = offset
        while end < len(known) and (room := room - len(known[end])) >= 0:
            end += 1
        return b"".join(known[offset:end])

    def _folder(self, ino: int) -> Folder:
        entry = self._tree.entry(ino)
        if not isinstance(entry, Folder):
            raise OSError(ENOTDIR, os.strerror(ENOTDIR))
        return entry

    # Beginning.

    def _init(self, _header: Header, body: bytearray) -> Answer:
        _, minor, _, offered = wire.INIT_IN.unpack_from(body, wire.HEADER_SIZE)
        wanted = wire.CAN_BIG_WRITES | wire.CAN_PARALLEL_DIROPS | wire.CAN_MAX_PAGES
        if minor >= wire.KEEPS_WHOLE_LINKS:
            wanted |= wire.CAN_CACHE_SYMLINKS
        flags = offered & wanted
        pages = MOST_WRITTEN // 4096
        return wire.INIT_OUT.pack(wire.MAJOR, wire.MINOR, 0, flags, 16, 12, MOST_WRITTEN, 1, pages, 0, 0)


# What is answered without a look at the tree: nothing here can be made, moved or removed (fs/kernfs/dir.c), and what
# is not listed is not implemented, upon which the kernel does not ask again.
REFUSED: dict[int, int] = {
    **dict.fromkeys((Op.MKDIR, Op.SYMLINK, Op.LINK, Op.UNLINK, Op.RMDIR, Op.RENAME), EPERM),
    Op.RENAME2: EINVAL,  # it comes with flags, which kernfs knows none of
    Op.CREATE: EACCES,
    Op.FSYNCDIR: EINVAL,
}
