# SPDX-License-Identifier: Apache-2.0
"""An open file description, as far as every file of the kernel has one: its mode, its position, and its end.

Mirrors struct file of include/linux/fs.h, and what fs/read_write.c asks of it before any file's own code runs.
"""

import os
from errno import EBADF
from types import TracebackType
from typing import Self

__all__ = ["OpenFile"]


class OpenFile:
    """What descriptors on sysfs and on devices have in common.  A context manager; errors name the ``path``.

    Attributes:
        offset: the file position.
        closed: whether it was closed; every call is EBADF from then on.
    """

    __slots__ = ("_mode", "_path", "closed", "offset")

    def __init__(self, path: str, flags: int) -> None:
        self._path = path
        self._mode = flags & os.O_ACCMODE
        self.offset = 0
        self.closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close it; closing twice does nothing."""
        self.closed = True

    def _open(self) -> None:
        """EBADF once it is closed."""
        if self.closed:
            raise self._error(EBADF)

    def _fit(self, unfit: int) -> None:
        """EBADF once it is closed, and for a call that the access mode ``unfit`` does not allow."""
        # A descriptor of mode 3 can do neither (fs/fcntl.c, O_ACCMODE; open(2), "access mode 3").
        if self.closed or self._mode in (unfit, os.O_ACCMODE):
            raise self._error(EBADF)

    def _error(self, errno: int) -> OSError:
        return OSError(errno, os.strerror(errno), self._path)
