# SPDX-License-Identifier: Apache-2.0
"""What a program has left behind, whatever became of it: processes, mounts in any namespace, files.

Processes are known by a word in their environment, which every descendant inherits.  A mount is raplica's when its
source or its type says so; it is looked for in the namespace of every process.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["Mount", "files", "mounts", "namespaces", "processes"]

#: A mount namespace's number, the mount's own number, and where it is.
Mount = tuple[str, int, str]

_OURS = re.compile(rb"(?m)^(\d+) \d+ \S+ \S+ (\S+) .* - .*raplica.*$")


def processes(word: str) -> list[int]:
    """The processes whose environment has ``word``, a name and its value, ascending."""
    entry = word.encode()
    found = []
    for number in _numbers():
        # What has ended meanwhile, or is somebody else's.
        with suppress(OSError):
            if entry in Path(f"/proc/{number}/environ").read_bytes().split(b"\0"):
                found.append(number)
    return sorted(found)


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
                found |= {(namespace, int(ours[1]), os.fsdecode(ours[2])) for ours in _OURS.finditer(text)}
    return found


def namespaces() -> set[str]:
    """The mount namespaces of all processes."""
    found = set()
    for number in _numbers():
        with suppress(OSError):
            found.add(os.readlink(f"/proc/{number}/ns/mnt"))  # noqa: PTH115 - no path
    return found


def files(folder: Path) -> list[str]:
    """What lies in a folder, links not followed."""
    return sorted(str(Path(parent, name)) for parent, folders, names in os.walk(folder) for name in folders + names)


def _numbers() -> Iterator[int]:
    for name in os.listdir("/proc"):  # noqa: PTH208 - names are all that is asked for
        if name.isdecimal():
            yield int(name)
