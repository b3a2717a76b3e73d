# SPDX-License-Identifier: Apache-2.0
"""The odd system calls of a recording, done again on a simulated attribute or directory.

A recording holds, for a few attributes, what open with every flag, short reads, seeks, polls and writes gave.
Calls that the machine has no door for (unlink, mmap, xattrs) are named as left out; a live mount answers those.
"""

import os
from collections import Counter
from collections.abc import Callable
from errno import ENOTDIR

from raplica_fixtures.recording import Calls
from raplica_simulator.linux.sysfs import Sysfs
from raplica_simulator.linux.sysfs_file import Handle

__all__ = ["compare_calls"]

Wrong = tuple[str, object, object]

_OPEN_FLAGS = {
    "open_rdwr": os.O_RDWR,
    "open_rdonly": os.O_RDONLY,
    "open_trunc": os.O_WRONLY | os.O_TRUNC,
    "open_append": os.O_WRONLY | os.O_APPEND,
    "open_creat": os.O_WRONLY | os.O_CREAT,
    "open_creat_excl": os.O_WRONLY | os.O_CREAT | os.O_EXCL,
    "open_directory": os.O_RDONLY | os.O_DIRECTORY,
    "open_direct": os.O_RDONLY | os.O_DIRECT,
    "open": os.O_RDONLY | os.O_DIRECTORY,
    "open_w": os.O_WRONLY,
}
# In the order in which the witness makes them on one descriptor; each returns a count or a position, and data.
_ON_DESCRIPTOR: dict[str, Callable[[Handle], int | bytes]] = {
    "read3": lambda file: file.read(3),
    "read_rest": lambda file: file.read(),
    "read_eof": lambda file: file.read(),
    "pread_at_1": lambda file: file.pread(4096, 1),
    "pread_at_100": lambda file: file.pread(4096, 100),
    "pread_at_5000": lambda file: file.pread(4096, 5000),
    "lseek_set0": lambda file: file.lseek(0),
    "lseek_end": lambda file: file.lseek(0, os.SEEK_END),
    "lseek_hole": lambda file: file.lseek(0, os.SEEK_HOLE),
    "write_0_bytes": lambda file: file.write(b""),
}


def compare_calls(sysfs: Sysfs, step: Calls) -> tuple[int, Counter[str], list[Wrong]]:
    """Do what can be done of one step: how many calls were compared, what was left out by name, what differed."""
    left_out: Counter[str] = Counter()
    wrong: list[Wrong] = []
    compared = 0
    if step.on not in ("file", "directory") or step.path is None:
        # What is held open outlives the steps in between; that has a test of its own.
        return 0, Counter({f"{step.on}: {name}": 1 for name in step.calls}), []
    descriptor = _try_open(sysfs, step.path, os.O_RDWR) if step.on == "file" else None
    for name, wanted in step.calls.items():
        if name in _OPEN_FLAGS:
            got = _returned(lambda: _open_and_close(sysfs, step.path or "", _OPEN_FLAGS[name]))  # noqa: B023
            # A descriptor's number is the caller's business.
            same = (min(got, 0), b"") == (min(wanted, 0), b"")
        elif name == "open_missing":
            got = _returned(lambda: _open_and_close(sysfs, f"{step.path}/no-such-name", os.O_RDONLY))
            same = got == wanted
        elif name in _ON_DESCRIPTOR and descriptor is not None:
            data: list[bytes] = []
            got = _returned(lambda: _count(_ON_DESCRIPTOR[name](descriptor), data))  # noqa: B023
            fact = step.facts.get(f"{name}_data")
            same = got == wanted and (fact is None or data == [str(fact).encode()])
        else:
            left_out[f"{step.on}: {name}"] += 1
            continue
        compared += 1
        if not same:
            wrong.append((f"{name} on {step.path}", wanted, got))
    return compared, left_out, wrong


def _count(result: int | bytes, data: list[bytes]) -> int:
    if isinstance(result, bytes):
        data.append(result)
        return len(result)
    return result


def _returned(call: Callable[[], int]) -> int:
    """What a call returns, or minus its errno."""
    try:
        return call()
    except OSError as error:
        return -(error.errno or ENOTDIR)


def _open_and_close(sysfs: Sysfs, path: str, flags: int) -> int:
    sysfs.open(path, flags).close()
    return 0


def _try_open(sysfs: Sysfs, path: str, flags: int) -> Handle | None:
    try:
        return sysfs.open(path, flags)
    except OSError:
        return None
