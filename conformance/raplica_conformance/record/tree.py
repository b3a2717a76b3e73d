# SPDX-License-Identifier: Apache-2.0
"""Writing down a powercap tree: each path's type, mode, owner, links, readdir order, content, and who may read it.

A link is written down and not followed, as in drivers/powercap: class/powercap is links, devices/virtual/powercap is
what they lead to. One read from the start of each file, as a program makes it. Sysfs has regular files only; what is
anything else in another tree (a device, a pipe) is written down and not opened, since opening may do something.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

from raplica_fixtures.recording import ERRNOS, POWERCAP_ROOTS, Entry, Opens, ReadResult, RecordingError

__all__ = ["Opener", "has_powercap", "read_file", "walk"]

#: Asks whether an unprivileged user may open a file, by its path below /sys: 0, the errno, or None where nobody knows.
Opener = Callable[[str], int | None]

_MOST = 65536
# A dtpm tree of hundreds of processors has some ten thousand.
_MOST_ENTRIES = 100_000
_NAMED = frozenset(ERRNOS.values())


def has_powercap(root: Path) -> bool:
    """Whether there is a powercap class, empty or not."""
    return any(os.path.lexists(root / path) for path in POWERCAP_ROOTS)


def walk(root: Path, as_nobody: Opener, each: Callable[[str], None]) -> dict[str, Entry]:
    """Every entry of the powercap part of the sysfs at `root`, by path; `each` is told of a path before it is read.

    RecordingError for a tree that does not end.
    """
    found: dict[str, Entry] = {}
    # Last in, first out: what lies in a folder comes right behind it, as deep as that may go.
    waiting = list(reversed(POWERCAP_ROOTS))
    while waiting:
        path = waiting.pop()
        each(path)
        try:
            entry = _entry(root, path, os.lstat(root / path), as_nobody)
        except OSError as error:
            # A zone that goes away meanwhile, or a folder that is closed to us.
            entry = Entry(kind="missing", errno=_number(error))
        found[path] = entry
        waiting.extend(f"{path}/{name}" for name in reversed(entry.order or ()))
        if len(found) + len(waiting) > _MOST_ENTRIES:
            raise RecordingError(f"tree: has more than {_MOST_ENTRIES} entries, which no powercap tree has")
    return found


def _entry(root: Path, path: str, status: os.stat_result, as_nobody: Opener) -> Entry:
    kind = "dir" if stat.S_ISDIR(status.st_mode) else "link" if stat.S_ISLNK(status.st_mode) else "file"
    plain = stat.S_ISREG(status.st_mode)
    return Entry(
        kind=kind,
        mode=stat.S_IMODE(status.st_mode),
        nlink=status.st_nlink,
        uid=status.st_uid,
        gid=status.st_gid,
        size=status.st_size,
        blksize=status.st_blksize,
        blocks=status.st_blocks,
        # os.listdir keeps the order of getdents.
        order=tuple(os.listdir(root / path)) if kind == "dir" else None,  # noqa: PTH208 - names are what is asked for
        target=os.readlink(root / path) if kind == "link" else None,  # noqa: PTH115 - as it is written
        read=(result := read_file(root / path)) if plain else None,
        opens=_opens(path, result, as_nobody) if plain else None,
    )


def read_file(path: Path) -> ReadResult:
    """One open and one read: the content, or the errno of the one that failed."""
    try:
        # What has become a fifo since it was looked at must not hold up the recording.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return ReadResult(open_errno=_number(error))
    try:
        return ReadResult(content=os.read(handle, _MOST))
    except OSError as error:
        return ReadResult(errno=_number(error))
    finally:
        os.close(handle)


def _opens(path: str, result: ReadResult, as_nobody: Opener) -> Opens:
    """Who may read; whoever records without root is the unprivileged user, and knows nothing of root."""
    ours = result.open_errno or 0
    return Opens(root_read=ours, nobody_read=as_nobody(path)) if os.geteuid() == 0 else Opens(nobody_read=ours)


def _number(error: OSError) -> int:
    """The errno as a recording can hold it; EIO for one that no attribute of sysfs gives."""
    return error.errno if error.errno in _NAMED else errno.EIO
