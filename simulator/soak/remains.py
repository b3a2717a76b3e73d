# SPDX-License-Identifier: Apache-2.0
"""What a program has left behind, whatever became of it: processes, mounts in any namespace, files.

A process that loses its parent becomes a child of who adopts orphans, so all that a program has started is found below
this process, whatever it has made of its environment, its session and its group.  A mount is raplica's when its source
or its type says so; it is looked for in the namespace of every process.
"""

import ctypes
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

__all__ = ["Mount", "adopt_orphans", "descendants", "files", "mounts", "reap"]

_OURS = re.compile(rb"(?m)^(\d+) \d+ (\S+) \S+ (\S+) .* - .*raplica.*$")
_SET_CHILD_SUBREAPER = 36  # include/uapi/linux/prctl.h


class Mount(NamedTuple):
    """A mount of raplica's.

    Attributes:
        namespace: the mount namespace.
        number: its own number there.
        device: that of its file system, of which there is one however often it is mounted.
        place: where it is.
    """

    namespace: str
    number: int
    device: str
    place: str


def adopt_orphans(*, adopt: bool = True) -> None:
    """Become the parent of every process below that loses its own, in the place of process 1; or leave that to it."""
    words = [ctypes.c_ulong(word) for word in (adopt, 0, 0, 0)]
    if ctypes.CDLL(None, use_errno=True).prctl(ctypes.c_int(_SET_CHILD_SUBREAPER), *words):
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno))


def descendants() -> list[int]:
    """The processes below this one that have not ended, ascending."""
    parents: dict[int, int] = {}
    for number in _numbers():
        with suppress(OSError):
            # The name before it may have anything in it.
            state, parent = Path(f"/proc/{number}/stat").read_bytes().rpartition(b")")[2].split()[:2]
            if state not in (b"Z", b"X"):
                parents[number] = int(parent)
    return sorted(number for number in parents if os.getpid() in _line_of(number, parents))


def reap() -> None:
    """Take note of every child that has ended; for who waits for none of them any more."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def mounts() -> set[Mount]:
    """Every mount of raplica's that any process can see."""
    found: set[Mount] = set()
    seen: set[str] = set()
    for number in _numbers():
        with suppress(OSError):
            namespace = os.readlink(f"/proc/{number}/ns/mnt")  # noqa: PTH115 - no path
            if namespace not in seen:
                text = Path(f"/proc/{number}/mountinfo").read_bytes()
                seen.add(namespace)
                for ours in _OURS.finditer(text):
                    found.add(Mount(namespace, int(ours[1]), ours[2].decode(), os.fsdecode(ours[3])))
    return found


def files(folder: Path) -> list[str]:
    """What lies in a folder, links not followed."""
    return sorted(str(Path(parent, name)) for parent, folders, names in os.walk(folder) for name in folders + names)


def _line_of(number: int, parents: dict[int, int]) -> Iterator[int]:
    """Whose child it is, and whose child that one is, and so on."""
    seen: set[int] = set()
    # Numbers were read one after the other, and one may have come again in between.
    while (number := parents.get(number, 0)) and number not in seen:
        seen.add(number)
        yield number


def _numbers() -> Iterator[int]:
    for name in os.listdir("/proc"):  # noqa: PTH208 - names are all that is asked for
        if name.isdecimal():
            yield int(name)
