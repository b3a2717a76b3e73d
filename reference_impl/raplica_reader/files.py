# SPDX-License-Identifier: Apache-2.0
# os.path and not pathlib, which takes longer to load than a reading takes:
# ruff: noqa: PTH100, PTH115, PTH117, PTH118, PTH120, PTH208
"""How the reader touches a sysfs tree: three calls, so that something else can stand in for the operating system.

Everything above this module asks a `Files` for directories, links and contents by a path relative to the root of
the tree ("class/powercap/intel-rapl:0/name"). `OsFiles` answers from a directory of this machine. A simulated
sysfs that has the same three methods can be read in process, without a single system call.

A sysfs attribute gives its whole value in one read at offset 0, and gives a fresh one at the next such read, also
on a descriptor that stayed open (fs/kernfs/file.c). An attribute is never a link and never a pipe, so one that is
does not make the reader leave the tree or wait.
"""

import errno
import os
from collections.abc import Callable
from functools import partial
from typing import Protocol

__all__ = ["Files", "OsFiles", "errno_name", "parse_number"]

PAGE = 4096
"""What one sysfs attribute can hold at most, in bytes."""

NUMBER = 32
"""Enough for any 64-bit number, its sign and a newline; an answer of this length is no number."""


class Files(Protocol):
    """Read access to a tree that looks like /sys; paths are relative to its root and have no leading slash.

    Every method raises OSError with the errno that the kernel gives.
    """

    def listdir(self, path: str) -> list[str]:
        """Names in a directory, in any order; ENOTDIR for a file."""
        ...

    def readlink(self, path: str) -> str:
        """The text of a symbolic link; EINVAL for what is no link."""
        ...

    def read(self, path: str) -> bytes:
        """The content of an attribute, as one read at offset 0 gives it."""
        ...


class OsFiles:
    """A directory of this machine that holds a sysfs tree: /sys, or a copy, or a mount."""

    def __init__(self, root: str | os.PathLike[str] = "/sys") -> None:
        self.root = os.fspath(root)

    def __repr__(self) -> str:
        return f"OsFiles({self.root!r})"

    def listdir(self, path: str) -> list[str]:
        """Names in a directory; bytes that are no UTF-8 come as surrogates, so that they can be opened again."""
        return os.listdir(self._full(path))

    def readlink(self, path: str) -> str:
        """The text of a link; one that is absolute but points into this tree is given relative to its directory.

        The kernel's own links are relative. An absolute one into the tree appears in trees built by hand.
        """
        full = self._full(path)
        target = os.readlink(full)
        root = os.path.abspath(self.root)
        if os.path.isabs(target) and os.path.commonpath([root, os.path.normpath(target)]) == root:
            return os.path.relpath(target, os.path.dirname(os.path.abspath(full)))
        return target

    def read(self, path: str) -> bytes:
        """The first 4096 bytes of an attribute."""
        descriptor = self._open(path)
        try:
            return os.read(descriptor, PAGE)
        finally:
            os.close(descriptor)

    def keep_open(self, path: str) -> tuple[int, Callable[[], bytes]]:
        """Open an attribute for good: its descriptor, which the caller closes, and a call that reads it afresh."""
        descriptor = self._open(path)
        return descriptor, partial(os.pread, descriptor, NUMBER, 0)

    def _open(self, path: str) -> int:
        """Open read-only: ELOOP for a link, and no waiting for the other end of a pipe."""
        return os.open(self._full(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)

    def _full(self, path: str) -> str:
        return os.path.join(self.root, path)


def errno_name(error: OSError) -> str:
    """Name of an error's number, "EACCES"; "errno 4242" where there is no name for it."""
    return errno.errorcode.get(error.errno or 0, f"errno {error.errno}")


def parse_number(text: bytes) -> int:
    """Parse the decimal number that an attribute holds, with or without its newline.

    The kernel prints attributes with a signed format, so the number may be negative (drivers/powercap/
    powercap_sys.c). Errors: OSError ENODATA where the file is empty, EBADMSG where it holds something else.
    """
    digits = text.removesuffix(b"\n")
    if digits.removeprefix(b"-").isdigit() and len(digits) < NUMBER - 1:
        return int(digits)
    if text.strip():
        raise OSError(errno.EBADMSG, "not a number")
    raise OSError(errno.ENODATA, "empty")
