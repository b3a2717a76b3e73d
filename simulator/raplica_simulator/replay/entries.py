# SPDX-License-Identifier: Apache-2.0
"""A path of a simulated tree, looked at as the kernel witness looks at one.

The witness is root and asks of each file who else could open it; what it writes down is a recording's Entry.
"""

import os
import stat
from dataclasses import replace
from errno import EACCES, EIO, EISDIR, ELOOP, ENOENT, ENOTDIR

from raplica_fixtures.recording import Entry, Opens, ReadResult
from raplica_simulator.linux.sysfs import Sysfs

__all__ = ["OPEN_ERRNOS", "read_entry", "read_result"]

_NOBODY = 65534
# What open refuses with; anything else that a read or write fails with comes from the driver.
OPEN_ERRNOS = frozenset({EACCES, EISDIR, ELOOP, ENOENT, ENOTDIR})


def read_entry(sysfs: Sysfs, path: str) -> Entry:
    """One path as a recording would hold it."""
    try:
        status = sysfs.stat(path)
    except OSError as error:
        return Entry(kind="missing", errno=error.errno)
    shared = Entry(
        kind="dir",
        mode=stat.S_IMODE(status.st_mode),
        nlink=status.st_nlink,
        uid=status.st_uid,
        gid=status.st_gid,
        size=status.st_size,
        blksize=status.st_blksize,
        blocks=status.st_blocks,
    )
    if stat.S_ISDIR(status.st_mode):
        return replace(shared, order=tuple(sysfs.listdir(path)))
    if stat.S_ISLNK(status.st_mode):
        return replace(shared, kind="link", target=sysfs.readlink(path))
    # The witness tries nobody's write only on files that have a write bit at all.
    writable = status.st_mode & 0o222
    opens = Opens(
        root_read=_opens(sysfs, path, os.O_RDONLY, 0),
        root_write=_opens(sysfs, path, os.O_WRONLY, 0),
        nobody_read=_opens(sysfs, path, os.O_RDONLY, _NOBODY),
        nobody_write=_opens(sysfs, path, os.O_WRONLY, _NOBODY) if writable else None,
    )
    return replace(shared, kind="file", read=read_result(sysfs, path), opens=opens)


def _opens(sysfs: Sysfs, path: str, flags: int, uid: int) -> int:
    try:
        sysfs.open(path, flags, uid).close()
    except OSError as error:
        return error.errno or EIO
    return 0


def read_result(sysfs: Sysfs, path: str) -> ReadResult:
    """What opening and reading a file as root gives."""
    try:
        return ReadResult(content=sysfs.read(path))
    except OSError as error:
        if error.errno in OPEN_ERRNOS:
            return ReadResult(open_errno=error.errno)
        return ReadResult(errno=error.errno)
