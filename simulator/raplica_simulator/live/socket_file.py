# SPDX-License-Identifier: Apache-2.0
"""A unix socket's file: where it can be, whose it is, and what a killed process left behind in its place.

The socket is its owner's alone: its mode says so from the first moment on.
"""

import os
import socket
import stat
from contextlib import suppress
from errno import EADDRINUSE, ECONNREFUSED
from pathlib import Path

__all__ = ["LONGEST_PATH", "bind", "clear", "whole_path"]

#: Bytes of a path (unix(7), sun_path less the 0 at its end).
LONGEST_PATH = 107


def whole_path(path: str | os.PathLike[str], what: str) -> str:
    """The same as an absolute path.  ValueError in one line for one that no socket can have.

    ``what`` says there whose socket it is.
    """
    name = os.fspath(path)
    if not name or "\0" in name:
        raise ValueError(f"the {what} socket needs a path: name a file that is not there yet")
    try:
        whole = os.path.abspath(name)  # noqa: PTH100 - links stay as they are, and nothing has to be there
    except FileNotFoundError:
        raise ValueError(f"{name}: the working directory has gone: name a path that begins with /") from None
    length = len(os.fsencode(whole))
    if length > LONGEST_PATH:
        raise ValueError(
            f"{name}: a socket's path has at most {LONGEST_PATH} bytes, this one {length}: name a shorter one"
        )
    return whole


def clear(path: str, what: str) -> None:
    """Remove what a process of ours left at a path when it was killed.

    ValueError for anything else that is there; of a socket that answers it says ``what`` that does.
    """
    try:
        found = Path(path).lstat()
    except OSError:
        return  # who makes the socket is told why there is nothing
    if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.geteuid():
        raise ValueError(f"{path}: something else is there already: name a path that is not there yet")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # Who is too busy to take us in is there all the same.
        probe.setblocking(False)
        refused = probe.connect_ex(path)
    if refused != ECONNREFUSED:
        raise ValueError(f"{path}: another machine {what} there: name another path")
    with suppress(OSError):  # who makes the socket is told that it is there
        Path(path).unlink()


def bind(listener: socket.socket, path: str) -> int:
    """Make the socket at a path, of mode 0600; its inode.  ValueError in one line where that cannot be."""
    # Before it is bound: the file then begins with this mode (net/unix/af_unix.c, unix_bind_bsd).
    os.fchmod(listener.fileno(), 0o600)
    try:
        listener.bind(path)
    except OSError as error:
        if error.errno == EADDRINUSE:
            raise ValueError(f"{path}: something else is there already: name a path that is not there yet") from None
        why = error.strerror
        raise ValueError(f"{path}: {why}: name a path in a folder that is there and that you may write to") from None
    return Path(path).lstat().st_ino
