# SPDX-License-Identifier: Apache-2.0
"""Who is behind a request to a live surface: the kernel names a process and an owner, no more.

The msr device asks for CAP_SYS_RAWIO, which only /proc knows; and who makes a kernel crash is ended, not told.
"""

import os
import signal
from contextlib import suppress
from errno import EPERM, ESRCH
from pathlib import Path
from typing import NamedTuple

__all__ = ["Caller", "user_namespace"]

_CAP_SYS_RAWIO = 17  # include/uapi/linux/capability.h


def user_namespace(pid: int | str = "self") -> int | None:
    """The number of a process's user namespace; None where it cannot be seen."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/ns/user").stat().st_ino
    return None


class Caller(NamedTuple):
    """Who calls.

    Attributes:
        pid: a thread's number, 0 where it is in a process namespace that cannot be seen into.
        uid: its user.
        at_home: the user namespace in which capabilities count; None for whichever it is in.
    """

    pid: int
    uid: int
    at_home: int | None = None

    def has_rawio(self) -> bool:
        """Whether CAP_SYS_RAWIO is in effect for it; where that cannot be seen, whether it is root's.

        Whoever makes a user namespace has every capability there, which the device does not count.
        """
        if self.at_home is not None and user_namespace(self.pid) not in (self.at_home, None):
            return False
        with suppress(OSError):
            for line in Path(f"/proc/{self.pid}/status").read_bytes().splitlines():
                if line.startswith(b"CapEff:"):
                    return bool(int(line.split()[1], 16) >> _CAP_SYS_RAWIO & 1)
        return self.uid == 0

    def kill(self) -> None:
        """End its process for good; OSError where it is not to be seen from here, or is our own."""
        if not self.pid:
            raise OSError(ESRCH, "it is in a process namespace that cannot be seen into")
        if Path(f"/proc/self/task/{self.pid}").exists():
            raise OSError(EPERM, "it is the process that shows the machine")
        os.kill(self.pid, signal.SIGKILL)
