# SPDX-License-Identifier: Apache-2.0
"""A recorded tree: what a kernel showed right after its driver had been loaded, and nothing that came after.

Unlike a written tree a recording knows errors, sizes, order and who may open what. It stands still, and what was
not tried while it was made cannot be told.
"""

import errno
import os
import posixpath

from raplica_conformance.subject import CannotTell, Kind, Mode, Stat, User
from raplica_conformance.subjects.files import ReadOnly, shown
from raplica_conformance.subjects.tree import ALWAYS_READ, WrittenTree
from raplica_fixtures.recording import Entry, load_recording

__all__ = ["RecordedTree"]

#: As many links as the kernel follows (MAXSYMLINKS).
_MOST_LINKS = 40


class RecordedTree(ReadOnly):
    """The tree of a recording. Raises OSError or ValueError, in one line, for a file that is none."""

    can = frozenset({"content", "errno", "modes", "links", "order", "size", "root", "nobody"})

    def __init__(self, path: str | os.PathLike[str]) -> None:
        recording = load_recording(path)
        self.name = f"recording:{shown(path)}"
        self.kernel: str | None = recording.kernel_full
        self.arguments = ("--recording", os.fspath(path))
        cpu = recording.cpu
        self.facts = {
            "machine": recording.what,
            "CPU": f"{cpu.vendor}, family {cpu.family}, model {cpu.model}",
            "recorded": recording.recorded,
        }
        self._entries = recording.tree
        # A witness is root; who records the machine that they are at need not be, and was refused what root was not.
        self._uid = recording.capture.uid if recording.capture is not None else 0
        self._is_of_a_copy = recording.capture is not None and recording.capture.is_of_a_copy
        if self._is_of_a_copy:
            self.can = WrittenTree.can
        elif self._uid:
            self.can = self.can - {"root"}

    def listdir(self, path: str) -> list[str]:
        """The names in the order in which the kernel gave them."""
        entry = self._entry(path)
        if entry.kind != "dir":
            raise _error(errno.ENOTDIR, path)
        if entry.order is None:
            raise CannotTell(0, f"the entries of {path} were not recorded")
        return list(entry.order)

    def readlink(self, path: str) -> str:
        """The target as the kernel wrote it."""
        entry = self._entry(path, follow=False)
        if entry.target is None:
            raise _error(errno.EINVAL, path)
        return entry.target

    def stat(self, path: str) -> Stat:
        """What lstat gave."""
        entry = self._entry(path, follow=False)
        kind: Kind = "dir" if entry.kind == "dir" else "link" if entry.kind == "link" else "file"
        return Stat(kind, entry.mode, entry.nlink, entry.size, entry.uid, entry.gid)

    def read(self, path: str) -> bytes:
        """What root read, or the error that root got."""
        entry = self._entry(path)
        if entry.kind == "dir":
            raise _error(errno.EISDIR, path)
        if entry.read is None:
            raise CannotTell(0, f"{path} was not read while it was recorded")
        if self._is_of_a_copy and entry.read.content == b"" and not ALWAYS_READ.fullmatch(path.rpartition("/")[2]):
            raise CannotTell(0, f"{path} is empty: its read failed when the copy was made")
        if entry.read.content is not None:
            return entry.read.content
        if self._uid and entry.read.open_errno == errno.EACCES:
            raise CannotTell(0, f"{path}: only root may read it, and user {self._uid} recorded it")
        raise _error(entry.read.open_errno or entry.read.errno or errno.EIO, path)

    def open_errno(self, path: str, mode: Mode, user: User) -> int:
        """The errno of open as it was tried."""
        try:
            opens = self._entry(path).opens
        except CannotTell:
            raise
        except OSError as error:
            return error.errno or errno.EIO
        tried = None
        if opens is not None:
            tried = {
                ("r", "root"): opens.root_read,
                ("w", "root"): opens.root_write,
                ("r", "nobody"): opens.nobody_read,
                ("w", "nobody"): opens.nobody_write,
            }[mode, user]
        if tried is None:
            raise CannotTell(0, f"whether {user} may open {path} ({mode}) was not tried")
        return tried

    def _entry(self, path: str, *, follow: bool = True) -> Entry:
        """Walk to an entry as the kernel does; CannotTell where the walk leaves what was recorded."""
        parts = [part for part in reversed(path.split("/")) if part]
        here, links = "", 0
        while parts:
            if (part := parts.pop()) in (".", ".."):
                here = posixpath.dirname(here) if part == ".." else here
                continue
            here = f"{here}/{part}".lstrip("/")
            entry = self._entries.get(here)
            if entry is None or entry.kind == "missing":
                self._may_pass(here, path, entry, last=not parts)
            elif entry.target is not None and (parts or follow):
                links += 1
                if links > _MOST_LINKS:
                    raise _error(errno.ELOOP, path)
                parts.extend(part for part in reversed(entry.target.split("/")) if part)
                here = "" if entry.target.startswith("/") else posixpath.dirname(here)
            elif entry.kind == "file" and parts:
                raise _error(errno.ENOTDIR, path)
        found = self._entries.get(here)
        if found is None:
            raise CannotTell(0, f"{path} was not recorded")
        return found

    def _may_pass(self, here: str, path: str, entry: Entry | None, *, last: bool) -> None:
        """Go on through a directory that only stands above what was recorded; else say what the kernel said."""
        if entry is not None:
            raise _error(entry.errno or errno.ENOENT, path)
        above = self._entries.get(posixpath.dirname(here))
        if above is not None and above.order is not None:
            raise _error(errno.ENOENT, path)
        if last or not any(known.startswith(f"{here}/") for known in self._entries):
            raise CannotTell(0, f"{path} was not recorded")


def _error(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)
