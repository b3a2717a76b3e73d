# SPDX-License-Identifier: Apache-2.0
"""The system calls that tools make without thinking, and some that none should: what sysfs answers to each."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import select
import stat
from collections.abc import Callable
from typing import Any

from kernel_witness.guest.system import errno_name, raw_listing

__all__ = ["Held", "calls_on_directory", "calls_on_file"]

Json = dict[str, Any]
_READABLE = select.POLLIN | select.POLLPRI
_NO_IOCTL = 0x5401  # TCGETS, which only terminals answer
_OPENS = {
    "open_creat": os.O_WRONLY | os.O_CREAT,
    "open_creat_excl": os.O_WRONLY | os.O_CREAT | os.O_EXCL,
    "open_directory": os.O_RDONLY | os.O_DIRECTORY,
    "open_direct": os.O_RDONLY | os.O_DIRECT,
    "open_path": os.O_PATH,
}


class _Answers:
    """What each call returned, by the name of the call."""

    def __init__(self) -> None:
        self.said: Json = {}

    def ask(self, name: str, doing: Callable[[], int | None]) -> int | None:
        """Do one call; the result, 0 for one that returns nothing, or None where it failed."""
        try:
            result = doing() or 0
        except OSError as error:
            self.said[name] = {"ret": -1, "errno": errno_name(error.errno or 0)}
            return None
        self.said[name] = {"ret": int(result)}
        return int(result)

    def ask_bytes(self, name: str, doing: Callable[[], bytes]) -> None:
        """Do one call that returns bytes."""
        found: list[bytes] = []

        def count() -> int:
            found.append(doing())
            return len(found[0])

        if self.ask(name, count):
            self.said[f"{name}_data"] = found[0].decode()

    def ask_open(self, name: str, path: str, flags: int) -> None:
        """Open and close."""
        descriptor = self.ask(name, lambda: os.open(path, flags, 0o600))
        if descriptor is not None:
            os.close(descriptor)


def calls_on_file(path: str) -> Json:
    """Do everything on one attribute. What it writes is 0 and 1, and its mode and owner are put back."""
    answers = _Answers()
    descriptor = answers.ask("open_rdwr", lambda: os.open(path, os.O_RDWR))
    if descriptor is not None:
        _on_descriptor(answers, descriptor)
        os.close(descriptor)
    _opened_for_writing(answers, path)
    for name, flags in _OPENS.items():
        answers.ask_open(name, path, flags)
    reading = answers.ask("open_rdonly", lambda: os.open(path, os.O_RDONLY))
    if reading is not None:
        answers.ask("write_on_rdonly", lambda: os.write(reading, b"1"))
        os.close(reading)
    _on_path(answers, path)
    return answers.said


def _on_descriptor(answers: _Answers, descriptor: int) -> None:
    answers.ask_bytes("read3", lambda: os.read(descriptor, 3))
    answers.ask_bytes("read_rest", lambda: os.read(descriptor, 4096))
    answers.ask_bytes("read_eof", lambda: os.read(descriptor, 4096))
    for offset in (1, 100, 5000):
        answers.ask_bytes(f"pread_at_{offset}", lambda: os.pread(descriptor, 4096, offset))  # noqa: B023
    answers.ask("lseek_set0", lambda: os.lseek(descriptor, 0, os.SEEK_SET))
    answers.ask("lseek_end", lambda: os.lseek(descriptor, 0, os.SEEK_END))
    answers.ask("lseek_hole", lambda: os.lseek(descriptor, 0, os.SEEK_HOLE))
    answers.ask("write_0_bytes", lambda: os.write(descriptor, b""))
    answers.ask("pwrite_1_at_3", lambda: os.pwrite(descriptor, b"1", 3))
    os.lseek(descriptor, 0, os.SEEK_SET)
    with contextlib.suppress(OSError):
        os.write(descriptor, b"1\n")
    answers.ask("write_then_pos", lambda: os.lseek(descriptor, 0, os.SEEK_CUR))
    answers.ask("ftruncate_0", lambda: os.ftruncate(descriptor, 0))
    answers.ask("ftruncate_100", lambda: os.ftruncate(descriptor, 100))
    answers.ask("fsync", lambda: os.fsync(descriptor))
    answers.ask("fallocate", lambda: os.posix_fallocate(descriptor, 0, 100))
    _poll(answers, descriptor, _READABLE | select.POLLOUT)
    answers.ask("mmap", lambda: mmap.mmap(descriptor, 4096).close())
    answers.ask("ioctl", lambda: _terminal_control(descriptor))
    answers.ask("flock", lambda: fcntl.flock(descriptor, fcntl.LOCK_EX))


def _status(descriptor: int) -> int:
    os.fstat(descriptor)
    return 0


def _terminal_control(descriptor: int) -> int:
    fcntl.ioctl(descriptor, _NO_IOCTL, bytes(64))
    return 0


def _poll(answers: _Answers, descriptor: int, events: int) -> None:
    poll = select.poll()
    poll.register(descriptor, events)
    ready = poll.poll(0)
    answers.said["poll"] = {"ret": len(ready)}
    answers.said["poll_revents"] = ready[0][1] if ready else 0


def _opened_for_writing(answers: _Answers, path: str) -> None:
    for name, flag in (("trunc", os.O_TRUNC), ("append", os.O_APPEND)):
        opened = answers.ask(f"open_{name}", lambda: os.open(path, os.O_WRONLY | flag))  # noqa: B023
        if opened is not None:
            answers.ask(f"{name}_write", lambda: os.write(opened, b"1"))  # noqa: B023
            os.close(opened)


def _on_path(answers: _Answers, path: str) -> None:
    folder, _, name = path.rpartition("/")
    answers.ask_open("create_new", f"{folder}/no-such-name", os.O_WRONLY | os.O_CREAT)
    answers.ask("unlink", lambda: os.unlink(path))
    answers.ask("rename", lambda: os.rename(path, f"{folder}/other-{name}"))
    answers.ask("link", lambda: os.link(path, f"{folder}/other-{name}"))
    answers.ask("symlink", lambda: os.symlink(path, f"{folder}/other-{name}"))
    answers.ask("truncate_0", lambda: os.truncate(path, 0))
    before = os.stat(path)
    answers.ask("chmod_0600", lambda: os.chmod(path, 0o600))
    answers.said["mode_after_chmod"] = f"{stat.S_IMODE(os.stat(path).st_mode):04o}"
    answers.ask("chown_1000", lambda: os.chown(path, 1000, 1000))
    answers.said["uid_after_chown"] = os.stat(path).st_uid
    os.chown(path, before.st_uid, before.st_gid)
    os.chmod(path, stat.S_IMODE(before.st_mode))
    answers.ask("utimes", lambda: os.utime(path))
    answers.ask("setxattr_user", lambda: os.setxattr(path, "user.raplica", b"1"))
    answers.ask("listxattr", lambda: len(os.listxattr(path)))
    for letter, right in (("x", os.X_OK), ("w", os.W_OK), ("r", os.R_OK)):
        answers.said[f"access_{letter}"] = {"ret": 0} if os.access(path, right) else {"ret": -1, "errno": "EACCES"}
    answers.said["mtime_nonzero"] = int(before.st_mtime != 0)


def calls_on_directory(path: str) -> Json:
    """Do everything on one directory, or on a link to one."""
    answers = _Answers()
    answers.ask("mkdir", lambda: os.mkdir(f"{path}/new"))
    answers.ask_open("create", f"{path}/new", os.O_WRONLY | os.O_CREAT)
    answers.ask("symlink", lambda: os.symlink("target", f"{path}/new"))
    answers.ask("rmdir", lambda: os.rmdir(path))
    answers.ask("rename", lambda: os.rename(path, f"{path}/new"))
    answers.ask("unlink", lambda: os.unlink(path))
    opened = answers.ask("open", lambda: os.open(path, os.O_RDONLY | os.O_DIRECTORY))
    if opened is not None:
        answers.ask("read", lambda: len(os.read(opened, 100)))
        answers.ask("fsync", lambda: os.fsync(opened))
        os.close(opened)
    answers.ask_open("open_w", path, os.O_WRONLY)
    answers.ask_open("open_missing", f"{path}/no-such-name", os.O_RDONLY)
    answers.ask_open("open_under_file", f"{path}/uevent/under", os.O_RDONLY)
    return answers.said


class Held:
    """An attribute and its directory, open while the driver goes."""

    def __init__(self, path: str) -> None:
        self._name = path.rpartition("/")[2]
        self._file = os.open(path, os.O_RDWR)
        self._folder = os.open(path.rpartition("/")[0], os.O_RDONLY | os.O_DIRECTORY)

    def opened(self) -> Json:
        """Return the descriptors, as open gave them."""
        return {"file": {"ret": self._file}, "dir": {"ret": self._folder}}

    def try_again(self) -> Json:
        """Use both, then close them."""
        answers = _Answers()
        answers.ask("read", lambda: len(os.read(self._file, 100)))
        answers.ask("pread", lambda: len(os.pread(self._file, 100, 0)))
        answers.ask("write", lambda: os.write(self._file, b"1"))
        answers.ask("fstat", lambda: _status(self._file))
        answers.said["nlink"] = os.fstat(self._file).st_nlink
        answers.ask("lseek", lambda: os.lseek(self._file, 0, os.SEEK_SET))
        _poll(answers, self._file, _READABLE)
        answers.ask("dir_getdents", lambda: raw_listing(self._folder))
        answers.ask("dir_fstat", lambda: _status(self._folder))
        answers.said["dir_nlink"] = os.fstat(self._folder).st_nlink
        answers.ask("openat_name", lambda: os.open(self._name, os.O_RDONLY, dir_fd=self._folder))
        above = answers.ask("openat_dotdot", lambda: os.open("..", os.O_RDONLY, dir_fd=self._folder))
        for descriptor in (self._file, self._folder, above):
            if descriptor is not None:
                os.close(descriptor)
        return answers.said
