# SPDX-License-Identifier: Apache-2.0
"""The file system under the journal: files that are there whole or not at all, and that survive what comes after.

Each call here returns only when what it did is on the disk. A test puts another one in its place to stop a run at any
of them.
"""

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

__all__ = ["Disk", "FileSystem", "Lock"]

#: A journal has some hundred bytes for each value; one of this size is none of ours.
_MOST = 16 * 2**20

#: How often, and how many seconds apart, a lock is asked for: the child of a killed run ends a moment after it.
_TRIES, _APART_S = 20, 0.1


class Lock:
    """Folders that are locked until `release`, or until the process ends."""

    def __init__(self, handles: list[int]) -> None:
        self._handles = handles

    def release(self) -> None:
        """Give them back; a second time does nothing."""
        while self._handles:
            os.close(self._handles.pop())


class Disk(Protocol):
    """What a journal needs of a file system."""

    def make_folder(self, folder: Path) -> None:
        """Make it with those above it, where it is not there."""

    def load(self, path: Path) -> bytes | None:
        """The whole file, None where there is none; OSError for one that others could have written."""

    def replace(self, path: Path, data: bytes) -> None:
        """Put a new file in the place of whatever is there, whole or not at all."""

    def extend(self, path: Path, offset: int, data: bytes) -> None:
        """Let the file end with `data` at `offset`: what an earlier call left beyond it goes."""

    def remove(self, path: Path) -> None:
        """Take the file away."""

    def lock(self, folders: Iterable[Path]) -> Lock:
        """Lock each folder; OSError(EWOULDBLOCK) where somebody else has one."""


class FileSystem:
    """The file system of the operating system."""

    def make_folder(self, folder: Path) -> None:
        """As `mkdir -p` does."""
        folder.mkdir(parents=True, exist_ok=True)

    def load(self, path: Path) -> bytes | None:
        """Refuse a link, and a file that another user could have filled: root acts on what stands there."""
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        with os.fdopen(handle, "rb") as file:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode) or found.st_size > _MOST:
                raise OSError(errno.EINVAL, "is not a journal", str(path))
            if found.st_uid not in (0, os.geteuid()) or found.st_mode & 0o022:
                raise OSError(errno.EPERM, "another user may write it, so nothing in it is believed", str(path))
            return file.read()

    def replace(self, path: Path, data: bytes) -> None:
        """A temporary file beside it, fsync, rename, fsync of the folder."""
        # One name for all: whoever writes a journal has locked its folder, and a killed run leaves no second file.
        beside = path.with_name(f".{path.name}.new")
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            try:
                _write_all(handle, data, 0)
                os.fsync(handle)
            finally:
                os.close(handle)
            beside.replace(path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)

    def extend(self, path: Path, offset: int, data: bytes) -> None:
        """Cut to `offset`, write there, fsync."""
        handle = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.ftruncate(handle, offset)
            _write_all(handle, data, offset)
            os.fsync(handle)
        finally:
            os.close(handle)

    def remove(self, path: Path) -> None:
        """Unlink, fsync of the folder; nothing where there is nothing."""
        path.unlink(missing_ok=True)
        _sync_folder(path.parent)

    def lock(self, folders: Iterable[Path]) -> Lock:
        """flock(2) of the folder itself: no file is left behind, and the kernel takes it back from the dead."""
        handles: list[int] = []
        lock = Lock(handles)
        seen = set()
        try:
            for folder in folders:
                handles.append(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
                found = os.fstat(handles[-1])
                if (found.st_dev, found.st_ino) not in seen:
                    seen.add((found.st_dev, found.st_ino))
                    _lock(handles[-1])
        except BaseException:
            lock.release()
            raise
        return lock


def _lock(handle: int) -> None:
    for again in range(_TRIES):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if again == _TRIES - 1:
                raise
            time.sleep(_APART_S)
        else:
            return


def _write_all(handle: int, data: bytes, offset: int) -> None:
    """pwrite(2) until everything is there: a disk that is full may take a part."""
    while data:
        count = os.pwrite(handle, data, offset)
        data, offset = data[count:], offset + count


def _sync_folder(folder: Path) -> None:
    """Make a rename or an unlink outlive a crash."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
