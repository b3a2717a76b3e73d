# SPDX-License-Identifier: Apache-2.0
"""A machine in the fake file system of pyfakefs: ``/sys``, ``/dev/cpu/N/msr`` and ``/proc/cpuinfo``, live.

The files are those of the mount (:mod:`.live_tree`).  pyfakefs asks a directory for its entries and a file for a file
object; here the machine answers both, so names come and go with it, every read at offset 0 is a fresh value, and a
write ends in a register.  Beside the machine's folders the test may make files of its own.

What is asked of a number (``os.pread``, ``fcntl``, ``poll``) pyfakefs does not fake, and processes that are started
see the real system; the manual says so.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from errno import EACCES, EPERM
from typing import Any, cast
from unittest import mock

try:
    from pyfakefs import fake_open, helpers
    from pyfakefs.fake_file import FakeDirectory, FakeFile, FakeFileWrapper
    from pyfakefs.fake_filesystem import FakeFilesystem
    from pyfakefs.fake_filesystem_unittest import Patcher
except ImportError as error:
    raise ImportError("pyfakefs is not installed: pip install 'raplica[pytest]'") from error

from raplica_simulator.live.machine import LiveMachine
from raplica_simulator.real_disk import keep_real
from raplica_simulator.surfaces.caller import Caller
from raplica_simulator.surfaces.fakefs_file import Description, OpenedFile, Opening, as_call
from raplica_simulator.surfaces.live_entry import Entry, Folder, LiveFile, LiveLink
from raplica_simulator.surfaces.live_joined import folder_at
from raplica_simulator.surfaces.live_tree import LiveTree

__all__ = ["fake_filesystem", "show_in"]

#: Folders in which a test may put files of its own beside the machine's.
_SHARED = ("sys", "sys/class", "sys/devices", "sys/devices/virtual", "sys/devices/system", "dev", "proc")

#: The names under which pyfakefs looks up the class of a file object, one for all kinds or one for each.
_WRAPPERS = {"FakeFileWrapper", "FakeTextFileWrapper", "FakeBinaryFileWrapper"}


@contextmanager
def fake_filesystem(fs: FakeFilesystem | None) -> Iterator[FakeFilesystem]:
    """``fs`` itself, or the one of a patcher of our own, which is patched in until the end."""
    if fs is not None:
        yield fs
        return
    keep_real()
    with Patcher() as patcher:
        yield cast("FakeFilesystem", patcher.fs)


@contextmanager
def show_in(fs: FakeFilesystem, live: LiveMachine) -> Iterator[None]:
    """Show a machine in a fake file system; at the end that is as it was before."""
    root = fs.root_dir
    before = {name: root.entries.get(name) for name in ("sys", "dev", "proc")}
    plain = {path: _plain(fs, path) for path in _SHARED}
    moment_ns = int(root.st_mtime) * 10**9
    shown = _Shown(fs, live, plain)
    with live.held():
        tree = LiveTree(live.machine.sysfs, live.msr_module, moment_ns, host_files=True)
        for name in before:
            root.entries[name] = shown.file(folder_at(tree.root, name), name, root)
    try:
        with ExitStack() as stack:
            for name in _WRAPPERS & set(vars(fake_open)):
                stack.enter_context(mock.patch.object(fake_open, name, _stand_in(getattr(fake_open, name))))
            yield
    finally:
        for name, entry_before in before.items():
            if entry_before is None:
                del root.entries[name]
            else:
                root.entries[name] = entry_before


def _plain(fs: FakeFilesystem, path: str) -> FakeDirectory:
    """The directory of pyfakefs' own in which a test's files lie, made where there is none."""
    full = fs.joinpaths(fs.path_separator, path)
    return cast("FakeDirectory", fs.get_object(full) if fs.exists(full) else fs.create_dir(full))


def _stand_in(usual: type[FakeFileWrapper]) -> type:
    """What pyfakefs finds in the place of the class of its file objects: it makes ours for our files."""

    class StandIn(type):
        def __call__(cls, file_object: FakeFile, path: Any, **arguments: Any) -> FakeFileWrapper:
            if isinstance(file_object, _File):
                return file_object.opened(path, arguments)
            return usual(file_object, path, **arguments)

        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, usual)

    return StandIn(usual.__name__, (), {})


class _Shown:
    """One machine in one fake file system, and how its entries become pyfakefs' objects.

    They are made anew at each look: what is asked of them is asked of the machine.
    """

    def __init__(self, fs: FakeFilesystem, live: LiveMachine, plain: Mapping[str, FakeDirectory]) -> None:
        self.fs = fs
        self.live = live
        self.plain = plain

    def file(self, entry: Entry, name: str, parent: FakeDirectory) -> FakeFile:
        """The object of an entry that lies in ``parent``."""
        if isinstance(entry, Folder):
            return _Folder(self, entry, name, parent)
        if isinstance(entry, LiveLink):
            link = FakeFile(name, stat.S_IFLNK | 0o777, entry.target, self.fs)
            _dress(link, entry, parent)
            return link
        return _File(self, cast("LiveFile", entry), name, parent)


class _Folder(FakeDirectory):
    """A directory of the machine.

    Attributes:
        way: where it lies, without a slash in front.
    """

    way: str

    def __init__(self, shown: _Shown, folder: Folder, name: str, parent: FakeDirectory) -> None:
        super().__init__(name, filesystem=shown.fs)
        self.way = f"{parent.way}/{name}" if isinstance(parent, _Folder) else name
        self._shown = shown
        self._folder = folder
        self._plain = shown.plain.get(self.way)
        _dress(self, folder, parent)

    @property
    def entries(self) -> dict[str, FakeFile]:
        """What lies in it now, in the kernel's order, then what the test has put there."""
        own = {} if self._plain is None else self._plain.entries
        return cast("dict[str, FakeFile]", _Entries(self._shown, self._folder, self, own))

    def add_entry(self, path_object: FakeFile) -> None:
        """The test's own; nothing can be made in sysfs: EACCES for a file, EPERM for anything else."""
        if self._plain is None:
            errno = EACCES if stat.S_ISREG(path_object.st_mode) else EPERM
            self._shown.fs.raise_os_error(errno, f"/{self.way}/{os.fsdecode(path_object.name)}")
        self._plain.add_entry(path_object)

    def remove_entry(self, pathname_name: str, recursive: bool = True) -> None:  # noqa: FBT001, FBT002 - pyfakefs' own
        """The test's own; EPERM for what is the machine's."""
        if self._plain is None or self._folder.find(pathname_name) is not None:
            self._shown.fs.raise_os_error(EPERM, f"/{self.way}/{pathname_name}")
        self._plain.remove_entry(pathname_name, recursive)


class _Entries(Mapping[str, FakeFile]):
    """What lies in a directory, as pyfakefs looks at it: names, and an object for each that is asked for."""

    def __init__(self, shown: _Shown, folder: Folder, parent: FakeDirectory, own: Mapping[str, FakeFile]) -> None:
        self._shown = shown
        self._folder = folder
        self._parent = parent
        self._own = own

    def __getitem__(self, name: str) -> FakeFile:
        with self._shown.live.held():
            entry = self._folder.find(name)
            return self._own[name] if entry is None else self._shown.file(entry, name, self._parent)

    def __iter__(self) -> Iterator[str]:
        with self._shown.live.held():
            names = [name for _, _, name in self._folder.listing()]
        return iter([*names, *(name for name in self._own if name not in names)])

    def __len__(self) -> int:
        return len(list(iter(self)))


class _File(FakeFile):
    """A file of the machine."""

    def __init__(self, shown: _Shown, file: LiveFile, name: str, parent: FakeDirectory) -> None:
        super().__init__(name, filesystem=shown.fs)
        self._shown = shown
        self._file = file
        self._description: Description | None = None
        _dress(self, file, parent)

    @property
    def byte_contents(self) -> bytes:
        """All that reading it gives now."""
        description = self._describe(os.O_RDONLY)
        found = []
        while data := description.read(4096):
            found.append(data)
        return b"".join(found)

    def set_contents(self, contents: Any, encoding: str | None = None) -> bool:  # noqa: ARG002 - pyfakefs' own
        """Opening it for writing empties nothing."""
        return False

    def opened(self, path: Any, arguments: Mapping[str, Any]) -> OpenedFile:
        """A file object; what open(2) asks beyond the permission bits, which pyfakefs checks, is asked here."""
        how = Opening(**{name: arguments[name] for name in Opening._fields})
        if self._description is None or not how.opened_as_fd:
            with as_call(path):
                self._description = self._describe(_flags(how.open_modes))
        return OpenedFile(self, path, self._description, self._shown.fs, how)

    def _describe(self, flags: int) -> Description:
        live = self._shown.live
        with live.held():
            # No process stands behind it: the user whom pyfakefs fakes, with root's capabilities if that is root.
            return Description(self._file.open(flags, Caller(0, helpers.get_uid())), live, flags)


def _flags(modes: Any) -> int:
    """The flags of open(2) that pyfakefs has made of a mode."""
    access = os.O_RDONLY
    if modes.can_write:
        access = os.O_RDWR if modes.can_read else os.O_WRONLY
    return access | (os.O_TRUNC if modes.truncate else 0) | (os.O_APPEND if modes.append else 0)


def _dress(file: FakeFile, entry: Entry, parent: FakeDirectory) -> None:
    """Let stat show what the machine says."""
    status = entry.status()
    times = [moment_ns // 10**9 for moment_ns in entry.times_ns]
    shown = (status.mode, entry.ino, parent.st_dev, status.nlink, status.uid, status.gid, status.size, *times)
    file.stat_result.set_from_stat_result(os.stat_result(shown))
    file.st_ino, file.st_dev, file.st_nlink = entry.ino, parent.st_dev, status.nlink
    # pyfakefs calls it to go up; the directory is held, since nobody else may hold it.
    file.parent_dir = cast("Any", lambda: parent)
