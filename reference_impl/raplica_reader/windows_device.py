# SPDX-License-Identifier: Apache-2.0
"""A device of Windows that is open while somebody reads it.

Opening and closing costs more than asking, and several counters lie behind one device. So whoever reads for long holds
it, the last one to let go closes it, and who comes after a failure opens it anew: a handle from before a driver was
stopped answers nothing any more.
"""

import errno
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType

from raplica_reader.windows_calls import SHARE, Calls, Completion

__all__ = ["Device"]


class Device:
    """The first of `paths` that can be opened, with `access` (GENERIC_READ and GENERIC_WRITE)."""

    def __init__(self, calls: Calls, paths: Sequence[str], access: int) -> None:
        self.calls = calls
        self.paths = tuple(paths)
        self.access = access
        self.path: str | None = None  # the one that was opened last
        self._handle: int | None = None
        self._holders = 0

    def hold(self) -> int:
        """Keep it open and tell its handle; OSError where it cannot be opened."""
        if self._handle is None:
            self._handle = self._open()
        self._holders += 1
        return self._handle

    def release(self) -> None:
        """Let go of it; the last one closes it."""
        self._holders -= 1
        if self._holders == 0 and self._handle is not None:
            handle, self._handle = self._handle, None
            with suppress(OSError):  # a handle that is none any more: there is nothing left to give back
                self.calls.close_handle(handle)

    def __enter__(self) -> int:
        return self.hold()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def control(self, code: int, data: bytes | None, size: int) -> Completion:
        """Send a control code; opens the device for this one call where nobody holds it."""
        with self as handle:
            return self.calls.device_io_control(handle, code, data, size)

    def _open(self) -> int:
        """Open the first name that is there. The error is that of the last one, unless an earlier one is there."""
        failure: OSError | None = None
        for path in self.paths:
            try:
                handle = self.calls.create_file(path, self.access, SHARE, 0)
            except OSError as error:
                if failure is None or failure.errno == errno.ENOENT:
                    failure = error
            else:
                self.path = path
                return handle
        raise failure or OSError(errno.ENOENT, "a device without a name")
