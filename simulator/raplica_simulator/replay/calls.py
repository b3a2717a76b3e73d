# SPDX-License-Identifier: Apache-2.0
"""The odd system calls of a recording, done again on a simulated attribute or directory.

A recording holds, for a few attributes, what open with every flag, short reads, seeks, polls and writes gave.
Calls that the machine has no door for (unlink, mmap, xattrs) are named as left out; a live mount answers those.
"""

import os
import select
from collections import Counter
from collections.abc import Callable
from errno import ENOTDIR

from raplica_fixtures.recording import Calls
from raplica_simulator.linux.sysfs import Sysfs
from raplica_simulator.linux.sysfs_file import Handle

__all__ = ["CallsReplay"]

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


class CallsReplay:
    """Does the calls of one recording again; what it holds open outlives the steps in between."""

    def __init__(self, sysfs: Sysfs) -> None:
        self._sysfs = sysfs
        # An attribute and its directory.
        self._held: tuple[Handle, Handle] | None = None

    def compare(self, step: Calls) -> tuple[int, Counter[str], list[Wrong]]:
        """Do what can be done of one step: how many calls were compared, what was left out by name, what differed."""
        if step.on == "hold" and step.path is not None:
            return self._hold(step, step.path)
        if step.on == "held":
            return self._compare_held(step)
        if step.on not in ("file", "directory") or step.path is None:
            return 0, Counter({f"{step.on}: {name}": 1 for name in step.calls}), []
        return _compare_calls(self._sysfs, step, step.path)

    def _hold(self, step: Calls, path: str) -> tuple[int, Counter[str], list[Wrong]]:
        try:
            self._held = (
                self._sysfs.open(path, os.O_RDWR),
                self._sysfs.open(path.rpartition("/")[0], os.O_RDONLY | os.O_DIRECTORY),
            )
        except OSError as error:
            return len(step.calls), Counter(), [(f"held open: {path}", "opened", error)]
        return len(step.calls), Counter(), []

    def _compare_held(self, step: Calls) -> tuple[int, Counter[str], list[Wrong]]:
        """Use what was held open: calls return a count, facts are numbers."""
        left_out: Counter[str] = Counter()
        wrong: list[Wrong] = []
        compared = 0
        for name, wanted in {**step.calls, **step.facts}.items():
            if name not in _ON_HELD or self._held is None:
                left_out[f"held: {name}"] += 1
                continue
            file, folder = self._held
            got = _returned(lambda: _ON_HELD[name](file, folder))  # noqa: B023
            compared += 1
            # Whether a poll asked for writing, too, is the witness's business.
            ignored = select.POLLOUT if name == "poll_revents" else 0
            if got & ~ignored != int(wanted) & ~ignored:
                wrong.append((f"{name} on what was held open", wanted, got))
        self._held = None
        return compared, left_out, wrong


# What is asked of an attribute and a directory whose device has gone.
_ON_HELD: dict[str, Callable[[Handle, Handle], int]] = {
    "read": lambda file, _: len(file.read(100)),
    "pread": lambda file, _: len(file.pread(100, 0)),
    "write": lambda file, _: file.write(b"1"),
    "fstat": lambda file, _: 0 * file.fstat().st_size,
    "nlink": lambda file, _: file.fstat().st_nlink,
    "lseek": lambda file, _: file.lseek(0),
    "poll": lambda file, _: int(file.poll() != 0),
    "poll_revents": lambda file, _: file.poll(),
    "dir_getdents": lambda _, folder: sum(_record_bytes(name) for name in (".", "..", *folder.listdir())),
    "dir_fstat": lambda _, folder: 0 * folder.fstat().st_size,
    "dir_nlink": lambda _, folder: folder.fstat().st_nlink,
}


def _record_bytes(name: str) -> int:
    """The size of a directory entry as getdents64 gives it: 19 bytes, the name, a zero, up to a multiple of 8."""
    return (19 + len(name) + 1 + 7) // 8 * 8


def _compare_calls(sysfs: Sysfs, step: Calls, path: str) -> tuple[int, Counter[str], list[Wrong]]:
    """The calls on one attribute or directory that is there."""
    left_out: Counter[str] = Counter()
    wrong: list[Wrong] = []
    compared = 0
    descriptor = _try_open(sysfs, path, os.O_RDWR) if step.on == "file" else None
    for name, wanted in step.calls.items():
        if name in _OPEN_FLAGS:
            got = _returned(lambda: _open_and_close(sysfs, path, _OPEN_FLAGS[name]))  # noqa: B023
            # A descriptor's number is the caller's business.
            same = (min(got, 0), b"") == (min(wanted, 0), b"")
        elif name == "open_missing":
            got = _returned(lambda: _open_and_close(sysfs, f"{path}/no-such-name", os.O_RDONLY))
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
            wrong.append((f"{name} on {path}", wanted, got))
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
