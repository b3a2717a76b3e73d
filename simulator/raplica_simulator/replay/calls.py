# SPDX-License-Identifier: Apache-2.0
"""The odd system calls of a recording, done again on a simulated attribute or directory.

A recording holds, for a few attributes, what open with every flag, short reads, seeks, polls and writes gave.  They are
made in the order in which the witness makes them (kernel_witness/guest/calls.py), since those that write reach the
driver.  Calls that the machine has no door for (unlink, mmap, xattrs) are left out and named; a live mount answers
those.
"""

import os
import select
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from errno import EACCES, EIO

from raplica_fixtures.recording import Calls
from raplica_simulator.linux.sysfs import Sysfs
from raplica_simulator.linux.sysfs_file import Handle

__all__ = ["CallsReplay"]

Wrong = tuple[str, object, object]

_SOMEBODY = 1000
_OPENS = {
    "open_creat": os.O_WRONLY | os.O_CREAT,
    "open_creat_excl": os.O_WRONLY | os.O_CREAT | os.O_EXCL,
    "open_directory": os.O_RDONLY | os.O_DIRECTORY,
    "open_direct": os.O_RDONLY | getattr(os, "O_DIRECT", 0),
}


class _Answers:
    """What each call returned, or minus its errno, and what was seen besides, by name."""

    def __init__(self) -> None:
        self.said: dict[str, int | str] = {}

    def ask(self, name: str, call: Callable[[], int | None]) -> None:
        """Do one call; one that returns nothing returned 0."""
        try:
            self.said[name] = call() or 0
        except OSError as error:
            self.said[name] = -(error.errno or EIO)

    def ask_bytes(self, name: str, call: Callable[[], bytes]) -> None:
        """Do one call that returns bytes: their number, and what they are where there are any."""
        self.ask(name, lambda: self._count(name, call()))

    def _count(self, name: str, data: bytes) -> int:
        if data:
            self.said[f"{name}_data"] = data.decode("latin-1")
        return len(data)

    @contextmanager
    def opened(self, name: str, sysfs: Sysfs, path: str, flags: int) -> Iterator[Handle | None]:
        """Open, and close in the end; None where it failed.  A descriptor's number is the caller's business: 0."""
        try:
            handle = sysfs.open(path, flags)
        except OSError as error:
            self.said[name] = -(error.errno or EIO)
            yield None
            return
        self.said[name] = 0
        with handle:
            yield handle

    def ask_open(self, name: str, sysfs: Sysfs, path: str, flags: int) -> None:
        """Open and close."""
        with self.opened(name, sysfs, path, flags):
            pass


class CallsReplay:
    """Does the calls of one recording again; what it holds open outlives the steps in between."""

    def __init__(self, sysfs: Sysfs) -> None:
        self._sysfs = sysfs
        # An attribute and its directory.
        self._held: tuple[Handle, Handle] | None = None

    def compare(self, step: Calls) -> tuple[int, Counter[str], list[Wrong]]:
        """Do what can be done of one step: how many calls were compared, what was left out by name, what differed."""
        said: Mapping[str, int | str] = {}
        if step.on == "file" and step.path is not None:
            said = _on_file(self._sysfs, step.path)
        elif step.on == "directory" and step.path is not None:
            said = _on_directory(self._sysfs, step.path)
        elif step.on == "hold" and step.path is not None:
            said = self._hold(step.path)
        elif step.on == "held" and self._held is not None:
            said = _on_held(*self._held)
            self._held = None
        return _differences(step, said)

    def _hold(self, path: str) -> Mapping[str, int | str]:
        try:
            self._held = (
                self._sysfs.open(path, os.O_RDWR),
                self._sysfs.open(path.rpartition("/")[0], os.O_RDONLY | os.O_DIRECTORY),
            )
        except OSError as error:
            return {"file": -(error.errno or EIO), "dir": -(error.errno or EIO)}
        return {"file": 0, "dir": 0}


def _differences(step: Calls, said: Mapping[str, int | str]) -> tuple[int, Counter[str], list[Wrong]]:
    left_out: Counter[str] = Counter()
    wrong: list[Wrong] = []
    wanted = {**step.calls, **step.facts}
    for name, kernel in wanted.items():
        if name not in said:
            left_out[f"{step.on}: {name}"] += 1
        elif not _agree(step.on, name, kernel, said[name]):
            wrong.append((f"{name} on {step.path or 'what was held open'}", kernel, said[name]))
    return len(wanted) - left_out.total(), left_out, wrong


def _agree(on: str, name: str, kernel: int | str, machine: int | str) -> bool:
    if not isinstance(kernel, int) or not isinstance(machine, int):
        return kernel == machine
    if on == "hold" or (name.startswith("open") and kernel >= 0):
        return machine >= 0
    if on == "held" and name == "poll_revents":
        # Whether it asked for writing, too, is the witness's business.
        return kernel | select.POLLOUT == machine | select.POLLOUT
    return kernel == machine


def _on_file(sysfs: Sysfs, path: str) -> Mapping[str, int | str]:
    """The calls on one attribute (calls_on_file); what it writes is 1, and its mode and owner are put back."""
    answers = _Answers()
    with answers.opened("open_rdwr", sysfs, path, os.O_RDWR) as file:
        if file is not None:
            _on_descriptor(answers, file)
    for name, flag in (("trunc", os.O_TRUNC), ("append", os.O_APPEND)):
        with answers.opened(f"open_{name}", sysfs, path, os.O_WRONLY | flag) as file:
            if file is not None:
                answers.ask(f"{name}_write", lambda: file.write(b"1"))
    for name, flags in _OPENS.items():
        answers.ask_open(name, sysfs, path, flags)
    with answers.opened("open_rdonly", sysfs, path, os.O_RDONLY) as file:
        if file is not None:
            answers.ask("write_on_rdonly", lambda: file.write(b"1"))
    _on_path(answers, sysfs, path)
    return answers.said


def _on_descriptor(answers: _Answers, file: Handle) -> None:
    answers.ask_bytes("read3", lambda: file.read(3))
    answers.ask_bytes("read_rest", file.read)
    answers.ask_bytes("read_eof", file.read)
    for offset in (1, 100, 5000):
        answers.ask_bytes(f"pread_at_{offset}", lambda: file.pread(4096, offset))  # noqa: B023 - called at once
    answers.ask("lseek_set0", lambda: file.lseek(0))
    answers.ask("lseek_end", lambda: file.lseek(0, os.SEEK_END))
    answers.ask("lseek_hole", lambda: file.lseek(0, os.SEEK_HOLE))
    answers.ask("write_0_bytes", lambda: file.write(b""))
    answers.ask("pwrite_1_at_3", lambda: file.pwrite(b"1", 3))
    file.lseek(0)
    with suppress(OSError):
        file.write(b"1\n")
    answers.ask("write_then_pos", lambda: file.lseek(0, os.SEEK_CUR))
    _poll(answers, file)


def _poll(answers: _Answers, file: Handle) -> None:
    events = file.poll()
    answers.said |= {"poll": int(events != 0), "poll_revents": events}


def _on_path(answers: _Answers, sysfs: Sysfs, path: str) -> None:
    answers.ask_open("create_new", sysfs, f"{path.rpartition('/')[0]}/no-such-name", os.O_WRONLY | os.O_CREAT)
    before = sysfs.stat(path)
    answers.ask("chmod_0600", lambda: sysfs.chmod(path, 0o600))
    answers.said["mode_after_chmod"] = f"{stat.S_IMODE(sysfs.stat(path).st_mode):04o}"
    answers.ask("chown_1000", lambda: sysfs.chown(path, _SOMEBODY, _SOMEBODY))
    answers.said["uid_after_chown"] = sysfs.stat(path).st_uid
    sysfs.chown(path, before.st_uid, before.st_gid)
    sysfs.chmod(path, stat.S_IMODE(before.st_mode))
    for letter, right in (("x", os.X_OK), ("w", os.W_OK), ("r", os.R_OK)):
        answers.said[f"access_{letter}"] = 0 if sysfs.access(path, right) else -EACCES


def _on_directory(sysfs: Sysfs, path: str) -> Mapping[str, int | str]:
    """The calls on one directory, or on a link to one (calls_on_directory)."""
    answers = _Answers()
    answers.ask_open("create", sysfs, f"{path}/new", os.O_WRONLY | os.O_CREAT)
    with answers.opened("open", sysfs, path, os.O_RDONLY | os.O_DIRECTORY) as folder:
        if folder is not None:
            answers.ask_bytes("read", lambda: folder.read(100))
    answers.ask_open("open_w", sysfs, path, os.O_WRONLY)
    answers.ask_open("open_missing", sysfs, f"{path}/no-such-name", os.O_RDONLY)
    return answers.said


def _on_held(file: Handle, folder: Handle) -> Mapping[str, int | str]:
    """What is asked of an attribute and a directory that were kept open, whatever became of them (Held.try_again)."""
    answers = _Answers()
    answers.ask("read", lambda: len(file.read(100)))
    answers.ask("pread", lambda: len(file.pread(100, 0)))
    answers.ask("write", lambda: file.write(b"1"))
    answers.ask("fstat", lambda: _status(file))
    answers.said["nlink"] = file.fstat().st_nlink
    answers.ask("lseek", lambda: file.lseek(0))
    _poll(answers, file)
    answers.ask("dir_getdents", lambda: sum(_record_bytes(name) for name in (".", "..", *folder.listdir())))
    answers.ask("dir_fstat", lambda: _status(folder))
    answers.said["dir_nlink"] = folder.fstat().st_nlink
    return answers.said


def _status(opened: Handle) -> int:
    opened.fstat()
    return 0


def _record_bytes(name: str) -> int:
    """The size of a directory entry as getdents64 gives it: 19 bytes, the name, a zero, up to a multiple of 8."""
    return (19 + len(name) + 1 + 7) // 8 * 8
