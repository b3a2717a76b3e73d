# SPDX-License-Identifier: Apache-2.0
"""The messages between the kernel and a file system in user space, as bytes.

Mirrors include/uapi/linux/fuse.h, protocol 7.31, in which every kernel since 5.4 answers.  Only what a live surface
needs is here: numbers of requests, layouts, and functions that make the answers.
"""

import os
import struct
from enum import IntEnum
from typing import NamedTuple

from raplica_simulator.surfaces.live_entry import Status

__all__ = ["Header", "Op"]


class Op(IntEnum):
    """Requests (enum fuse_opcode)."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    LISTXATTR = 23
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    CREATE = 35
    INTERRUPT = 36
    DESTROY = 38
    IOCTL = 39
    POLL = 40
    BATCH_FORGET = 42
    RENAME2 = 45


class Header(NamedTuple):
    """What every request begins with.

    ``node`` is the file it is about, ``uid``, ``gid`` and ``pid`` the caller's; ``pid`` is 0 where the caller is in a
    process namespace that the server cannot see into.
    """

    length: int
    op: int
    unique: int
    node: int
    uid: int
    gid: int
    pid: int

    @classmethod
    def unpack(cls, buffer: bytearray) -> "Header":
        """Read it from the front of a request."""
        # What _make does, at two thirds of its cost.
        return tuple.__new__(cls, _IN_HEADER.unpack_from(buffer))


_IN_HEADER = struct.Struct("=IIQQIII4x")
HEADER_SIZE = _IN_HEADER.size
OUT_HEADER = struct.Struct("=IiQ")  # length, minus errno, unique

INIT_IN = struct.Struct("=4I")  # major, minor, readahead, flags
INIT_OUT = struct.Struct("=4I2H2I2HI28x")  # + background, congestion, max_write, granularity, max_pages, alignment
FORGET_IN = struct.Struct("=Q")
BATCH_FORGET_IN = struct.Struct("=I4x")
FORGET_ONE = struct.Struct("=QQ")
GETATTR_IN = struct.Struct("=I4xQ")
SETATTR_IN = struct.Struct("=I4x2Q8x3Q4I4x2I4x")  # valid, fh, size, 3 times, 3 times ns, mode, uid, gid
MKNOD_IN = struct.Struct("=I12x")  # mode
OPEN_IN = struct.Struct("=I4x")
READ_IN = struct.Struct("=QQI20x")  # fh, offset, size; WRITE begins alike
READ_FLAGS = struct.Struct("=20xI")
WRITE_OUT = struct.Struct("=I4x")
RELEASE_IN = struct.Struct("=Q16x")
GETXATTR_IN = struct.Struct("=I4x")
GETXATTR_OUT = struct.Struct("=I4x")
IOCTL_IN = struct.Struct("=QIIQII")  # fh, flags, command, argument, bytes in, bytes out
IOCTL_OUT = struct.Struct("=i12x")
POLL_IN = struct.Struct("=Q16x")
POLL_OUT = struct.Struct("=I4x")

_ATTRIBUTES = struct.Struct("=6Q3I4I3I")
_ATTRIBUTES_OUT = struct.Struct("=QI4x")
_ENTRY_OUT = struct.Struct("=4Q2I")
_OPEN_OUT = struct.Struct("=QI4x")
_STATFS_OUT = struct.Struct("=5Q4I24x")
_DIRECTORY_ENTRY = struct.Struct("=QQII")
_INVAL_INODE = struct.Struct("=Qqq")
_INVAL_ENTRY = struct.Struct("=QI4x")

MAJOR = 7
MINOR = 31
# What is asked of INIT.
CAN_BIG_WRITES = 1 << 5
CAN_PARALLEL_DIROPS = 1 << 18
CAN_MAX_PAGES = 1 << 22
CAN_CACHE_SYMLINKS = 1 << 23
# From this minor version on (Linux 6.15) the kernel does not cut a link's text that it keeps to the size that stat
# shows, which is 0 in sysfs (fs/fuse/dir.c, fuse_get_link).
KEEPS_WHOLE_LINKS = 43
# GETATTR for lseek and the like, on a descriptor; fstat asks without it (fs/fuse/dir.c, fuse_getattr).
ATTRIBUTES_OF_HANDLE = 1 << 0
# SETATTR, which fields count.
SET_MODE = 1 << 0
SET_UID = 1 << 1
SET_GID = 1 << 2
SET_SIZE = 1 << 3
SET_ATIME = 1 << 4
SET_MTIME = 1 << 5
SET_ATIME_NOW = 1 << 7
SET_MTIME_NOW = 1 << 8
# READ: by a call of somebody, and not to fill the page cache (fs/fuse/file.c, fuse_send_read).
READ_LOCK_OWNER = 1 << 1
# OPEN: no page cache, every read reaches the server, and nobody who closes a file waits for us (since Linux 5.16).
OPEN_DIRECT_IO = 1 << 0
OPEN_NO_FLUSH = 1 << 5

_NOTIFY_INVAL_INODE = 2
_NOTIFY_INVAL_ENTRY = 3
_BLOCK = 4096
_NAME_MAX = 255


def message(unique: int, payload: bytes = b"", errno: int = 0) -> bytes:
    """An answer to the request ``unique``: its payload, or an errno and nothing."""
    return OUT_HEADER.pack(OUT_HEADER.size + len(payload), -errno, unique) + payload


def attributes(ino: int, status: Status, times_ns: tuple[int, int, int]) -> bytes:
    """What stat shows, with access, modification and change time."""
    seconds, parts = zip(*(divmod(one, 10**9) for one in times_ns), strict=True)
    return _ATTRIBUTES.pack(
        ino, status.size, 0, *seconds, *parts, status.mode, status.nlink, status.uid, status.gid, 0, _BLOCK, 0
    )


def attributes_reply(packed: bytes, valid_s: int) -> bytes:
    """The answer to GETATTR and SETATTR: attributes that hold for so many seconds or until they are called in."""
    return _ATTRIBUTES_OUT.pack(valid_s, 0) + packed


def entry_reply(ino: int, packed: bytes, entry_valid_s: int, valid_s: int) -> bytes:
    """The answer to LOOKUP."""
    return _ENTRY_OUT.pack(ino, 0, entry_valid_s, valid_s, 0, 0) + packed


def open_reply(handle: int, flags: int) -> bytes:
    """The answer to OPEN and OPENDIR."""
    return _OPEN_OUT.pack(handle, flags)


def statfs_reply() -> bytes:
    """A file system without blocks, as sysfs shows itself (fs/libfs.c, simple_statfs)."""
    return _STATFS_OUT.pack(0, 0, 0, 0, 0, _BLOCK, _NAME_MAX, _BLOCK, 0)


def directory_entry(ino: int, offset: int, mode: int, name: str) -> bytes:
    """One name in a directory; ``offset`` is where the next one is found."""
    encoded = os.fsencode(name)
    return _DIRECTORY_ENTRY.pack(ino, offset, len(encoded), mode >> 12) + encoded + bytes(-len(encoded) % 8)


def inval_attributes(ino: int) -> bytes:
    """Tell the kernel to ask anew for what stat shows of a file."""
    # A negative offset spares the page cache.
    return message(0, _INVAL_INODE.pack(ino, -1, 0), -_NOTIFY_INVAL_INODE)


def inval_entry(parent: int, name: str) -> bytes:
    """Tell the kernel to look a name up anew."""
    encoded = os.fsencode(name)
    return message(0, _INVAL_ENTRY.pack(parent, len(encoded)) + encoded + b"\0", -_NOTIFY_INVAL_ENTRY)
