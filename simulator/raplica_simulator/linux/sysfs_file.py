# SPDX-License-Identifier: Apache-2.0
"""An open descriptor on sysfs: what read, pread, write, lseek and poll do to it.

Mirrors fs/kernfs/file.c and fs/seq_file.c.  A read at offset 0 runs the attribute again, the bytes that follow
come from the text that this made, so one-byte readers see whole numbers.  A write ignores the offset.  Once the
device has gone reads and writes say ENODEV, while the descriptor stays open.
"""

import os
import select
from collections.abc import Callable
from errno import EINVAL, EISDIR, ENODEV, ENXIO

from raplica_simulator.linux.open_file import OpenFile
from raplica_simulator.linux.sysfs_nodes import PAGE_SIZE, Attribute, Directory

__all__ = ["Handle"]

_MAX_OFFSET = (1 << 31) - 1  # sysfs asks for no more than fs/super.c gives: MAX_NON_LFS


class Handle(OpenFile):
    """One open file description.  A context manager; every method raises OSError with the kernel's errno.

    Attributes:
        offset: the file position in bytes.
    """

    __slots__ = ("_asked", "_before_step", "_dead_lseek_errno", "_node", "_text", "_text_end")

    def __init__(
        self,
        node: Attribute | Directory,
        path: str,
        flags: int,
        before_step: Callable[[], None],
        dead_lseek_errno: int,
    ) -> None:
        super().__init__(path, flags)
        self._node = node
        self._before_step = before_step
        self._dead_lseek_errno = dead_lseek_errno
        self._text = b""
        self._asked = False  # whether the attribute was ever asked for its text
        self._text_end = -1  # the offset up to which the buffered text was handed out; -1: none

    def read(self, size: int = PAGE_SIZE) -> bytes:
        """Read from the file position and move it."""
        data = self.pread(size, self.offset)
        self.offset += len(data)
        return data

    def pread(self, size: int, offset: int) -> bytes:
        """Read ``size`` bytes at ``offset``; the position stays.  b"" at the end of the text; EINVAL below 0."""
        # Before the descriptor is looked at (fs/read_write.c ksys_pread64).
        if offset < 0 or size < 0:
            raise self._error(EINVAL)
        attribute = self._attribute(os.O_WRONLY)
        self._before_step()
        if not size:
            return b""
        # seq_file keeps its text only for a reader that goes on where it stopped.
        if offset == 0 or offset != self._text_end:
            self._asked = True
            try:
                self._text = attribute.read()
            except OSError as error:
                self._text_end = -1
                raise self._error(error.errno or EINVAL) from error
        data = self._text[offset : offset + size]
        # What is left of the text is handed out before anybody looks whether the device is still there.
        if not data and attribute.dead:
            raise self._error(ENODEV)
        self._text_end = offset + len(data)
        return data

    def write(self, data: bytes) -> int:
        """Hand one complete value to the attribute; moves by, and returns, the bytes taken (at most 4096)."""
        taken = self.pwrite(data, self.offset)
        self.offset += taken
        return taken

    def pwrite(self, data: bytes, offset: int) -> int:
        """As :meth:`write`; ``offset`` is ignored by sysfs, the position stays."""
        if offset < 0:
            raise self._error(EINVAL)
        attribute = self._attribute(os.O_RDONLY)
        self._before_step()
        try:
            taken = attribute.write(data)
        except OSError as error:
            raise self._error(error.errno or EINVAL) from error
        return taken

    def lseek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position; the end is at 4096, whatever the text's length.  Returns the new position in bytes."""
        node = self._open_node()
        if node.dead and isinstance(node, Attribute) and self._dead_lseek_errno:
            raise self._error(self._dead_lseek_errno)
        size = node.size
        if whence in (os.SEEK_DATA, os.SEEK_HOLE):
            if not 0 <= offset < size:
                raise self._error(ENXIO)
            position = offset if whence == os.SEEK_DATA else size
        elif whence in (os.SEEK_SET, os.SEEK_CUR, os.SEEK_END):
            position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.offset, os.SEEK_END: size}[whence]
        else:
            raise self._error(EINVAL)
        if not 0 <= position <= _MAX_OFFSET:
            raise self._error(EINVAL)
        self.offset = position
        return position

    def poll(self) -> int:
        """The events of a poll: readable and writable; before the first read, and once the device has gone, an error.

        The error says that there is something new (kernfs_generic_poll), and so it is to who has not read yet.
        """
        node = self._open_node()
        if node.dead or (isinstance(node, Attribute) and not self._asked):
            return select.POLLIN | select.POLLOUT | select.POLLPRI | select.POLLERR
        return select.POLLIN | select.POLLOUT

    def listdir(self) -> list[str]:
        """The names in a directory held open; none once it has gone."""
        node = self._open_node()
        if isinstance(node, Directory):
            return node.listdir()
        raise self._error(EINVAL)

    def fstat(self) -> os.stat_result:
        """As stat; it works on a node that has gone, too."""
        return self._open_node().stat()

    def _open_node(self) -> Attribute | Directory:
        self._open()
        return self._node

    def _attribute(self, unfit: int) -> Attribute:
        """The attribute, for a call that an access mode of ``unfit`` does not allow."""
        self._fit(unfit)
        if isinstance(self._node, Directory):
            raise self._error(EISDIR)
        return self._node
