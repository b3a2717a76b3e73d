# SPDX-License-Identifier: Apache-2.0
"""What ``open`` gives for a machine's file in pyfakefs: Python's own file objects over the machine's answers.

pyfakefs keeps the content of a file and hands out copies of it; a file of sysfs has no content, it answers.  So in
the place of pyfakefs' buffer stands what :func:`open` builds over a real descriptor (raw, buffered, text): errors
come at the call at which they come to a program, and a value is written when Python writes it out.
"""

import io
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EIO
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from pyfakefs.fake_file import FakeFile, FakeFileWrapper

from raplica_simulator.linux.msr_file import MsrFile
from raplica_simulator.live.machine import LiveMachine
from raplica_simulator.surfaces.live_entry import OpenFile

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer
    from pyfakefs.fake_filesystem import FakeFilesystem

__all__ = ["Description", "OpenedFile", "Opening", "as_call"]

_BUFFER = 4096  # the block size that sysfs names: what Python's buffered files ask for at once


@contextmanager
def as_call(path: object = None) -> Iterator[None]:
    """Let errors be those of a system call: named by the path that was given to it, or by none."""
    try:
        yield
    except OSError as error:
        errno = error.errno or EIO
        if path is None:
            raise OSError(errno, os.strerror(errno)) from None
        raise OSError(errno, os.strerror(errno), path) from None


class Description:
    """An open file description: the machine's open file and the position, for all who have it open by one open.

    Attributes:
        position: in bytes; of an msr device the register.
    """

    def __init__(self, file: OpenFile, live: LiveMachine, flags: int) -> None:
        self._file = file
        self._live = live
        # The position of an msr device stays where it was set.
        self._moves = not isinstance(file, MsrFile)
        self.access = flags & os.O_ACCMODE
        self.position = 0

    def read(self, size: int) -> bytes:
        """As the system call read."""
        with as_call(), self._live.held():
            data = self._file.pread(size, self.position)
        self.position += len(data) if self._moves else 0
        return data

    def write(self, data: bytes) -> int:
        """As the system call write."""
        with as_call(), self._live.held():
            taken = self._file.pwrite(data, self.position)
        self.position += taken if self._moves else 0
        return taken

    def seek(self, offset: int, whence: int) -> int:
        """As the system call lseek."""
        with as_call(), self._live.held():
            if whence == os.SEEK_CUR:
                offset, whence = offset + self.position, os.SEEK_SET
            self.position = self._file.lseek(offset, whence)
        return self.position


class _Raw(io.RawIOBase):
    """A description as the lowest layer of a Python file."""

    def __init__(self, description: Description) -> None:
        self._description = description

    def readable(self) -> bool:
        return self._description.access != os.O_WRONLY

    def writable(self) -> bool:
        return self._description.access != os.O_RDONLY

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        data = self._description.read(len(view))
        view[: len(data)] = data
        return len(data)

    def write(self, data: "ReadableBuffer") -> int:
        return self._description.write(bytes(data))

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._description.seek(offset, whence)

    def truncate(self, size: int | None = None) -> int:
        """Sysfs lets it pass and nothing happens (fs/kernfs/inode.c, kernfs_iop_setattr)."""
        return self._description.position if size is None else size


class Opening(NamedTuple):
    """How a file is opened: the arguments of :func:`open` by their names, and what pyfakefs has made of its mode."""

    open_modes: Any
    binary: bool
    buffering: int
    encoding: str | None
    errors: str | None
    newline: str | None
    closefd: bool
    raw_io: bool
    opened_as_fd: bool


class OpenedFile(FakeFileWrapper):
    """The file object that pyfakefs hands out: its list of descriptors knows it, and Python's own files do the rest."""

    def __init__(
        self, file_object: FakeFile, path: Any, description: Description, filesystem: "FakeFilesystem", how: Opening
    ) -> None:
        # Not the parent's, which would copy a content: only what its methods ask for.
        self.file_object = file_object
        self.file_path = path
        self.name = path
        self.filedes: int | None = None
        self.open_modes = how.open_modes
        self.allow_update = how.open_modes.can_write
        self.opened_as_fd = how.opened_as_fd
        self.raw_io = how.raw_io
        self.is_stream = False
        self.delete_on_close = False
        self._binary = how.binary
        self._closefd = how.closefd
        self._filesystem = weakref.ref(filesystem)
        self._file: Any = _stack(_Raw(description), how)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        return next(self._file)

    def close_fd(self, fd: int | None) -> None:
        """Write out what is buffered; also where that fails it is closed, as Python's files are."""
        if fd is None or not self._is_open():
            return
        try:
            self._file.close()
        finally:
            if self._closefd:
                self.filesystem.close_open_file(fd)
            else:
                self.filesystem.get_open_files(fd).remove(self)

    def flush(self) -> None:
        """Write out what is buffered."""
        self._file.flush()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position, as the file below does."""
        position: int = self._file.seek(offset, whence)
        return position

    def tell(self) -> int:
        """The position, as the file below has it."""
        position: int = self._file.tell()
        return position

    def update_flush_pos(self) -> None:
        """Nothing is kept that would have a position of its own."""

    def _sync_io(self) -> None:
        """Nothing is kept that could be out of date."""


def _stack(raw: _Raw, how: Opening) -> Any:
    """What io.open puts over a raw file for these arguments."""
    buffering = 0 if how.raw_io else how.buffering
    if buffering == 0:
        if not how.binary:
            raise ValueError("can't have unbuffered text I/O")
        return raw
    size = buffering if buffering > 1 else _BUFFER
    buffered: io.BufferedReader | io.BufferedWriter | io.BufferedRandom
    if raw.readable() and raw.writable():
        buffered = io.BufferedRandom(raw, size)
    else:
        buffered = io.BufferedReader(raw, size) if raw.readable() else io.BufferedWriter(raw, size)
    if how.binary:
        return buffered
    return io.TextIOWrapper(buffered, how.encoding, how.errors, how.newline, line_buffering=buffering == 1)
