# SPDX-License-Identifier: Apache-2.0
"""A fault that counts: some calls still pass, then some fail, then all pass again.

Sysfs attributes and registers are broken by the same kind of thing, so that "EIO on the third read" means one thing.
"""

import os

__all__ = ["Trigger"]


class Trigger:
    """After the first ``after`` calls of one kind, ``times`` calls (None: all) fail with ``errno``."""

    __slots__ = ("after", "errno", "on", "times")

    def __init__(self, on: str, errno: int, after: int = 0, times: int | None = None) -> None:
        self.on = on
        self.errno = errno
        self.after = after
        self.times = times

    def trips(self) -> bool:
        """Count one call; whether it is one that has to fail."""
        if self.after > 0:
            self.after -= 1
            return False
        if self.times is None:
            return True
        if self.times == 0:
            return False
        self.times -= 1
        return True

    def fire(self) -> None:
        """Count one call; raise OSError when it is one that has to fail."""
        if self.trips():
            raise OSError(self.errno, os.strerror(self.errno))
