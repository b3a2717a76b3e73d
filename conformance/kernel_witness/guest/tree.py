# SPDX-License-Identifier: Apache-2.0
"""Writing down a part of /sys: each path's type, mode, links, readdir order, content, and who may open it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Any

from kernel_witness.guest.system import errno_name

__all__ = ["walk"]

_NOBODY = 65534
Json = dict[str, Any]


def walk(path: str) -> Iterator[Json]:
    """Yield one entry for `path` and each path below it; links are not followed."""
    try:
        status = os.lstat(path)
    except OSError as error:
        yield {"path": path, "lstat": errno_name(error.errno or 0)}
        return
    entry: Json = {
        "path": path,
        "mode": f"{stat.S_IMODE(status.st_mode):04o}",
        "nlink": status.st_nlink,
        "uid": status.st_uid,
        "gid": status.st_gid,
        "size": status.st_size,
        "blksize": status.st_blksize,
        "blocks": status.st_blocks,
    }
    if stat.S_ISLNK(status.st_mode):
        yield {**entry, "type": "symlink", "target": os.readlink(path)}
    elif stat.S_ISDIR(status.st_mode):
        # os.listdir keeps the order of getdents.
        names = os.listdir(path)
        yield {**entry, "type": "dir", "order": names}
        for name in names:
            yield from walk(f"{path}/{name}")
    else:
        yield {**entry, "type": "file", **_content(path), **_opens(path, status.st_mode)}


def _content(path: str) -> Json:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        return {"open_errno": errno_name(error.errno or 0)}
    try:
        return {"content": os.read(descriptor, 65536).decode()}
    except OSError as error:
        return {"read_errno": errno_name(error.errno or 0)}
    finally:
        os.close(descriptor)


def _opens(path: str, mode: int) -> Json:
    opens = {"root_open_w": _open(path, os.O_WRONLY)}
    os.setegid(_NOBODY)
    os.seteuid(_NOBODY)
    try:
        opens["nobody_open_r"] = _open(path, os.O_RDONLY)
        if mode & 0o200:
            opens["nobody_open_w"] = _open(path, os.O_WRONLY)
    finally:
        os.seteuid(0)
        os.setegid(0)
    return opens


def _open(path: str, flags: int) -> str | None:
    try:
        os.close(os.open(path, flags))
    except OSError as error:
        return errno_name(error.errno or 0)
    return None
