# SPDX-License-Identifier: Apache-2.0
"""The system calls of namespaces, mounts and capabilities that Python 3.11 does not offer, by their names in section 2.

Each raises OSError with the kernel's errno.  Nothing here decides anything: see :mod:`.namespace`.
"""

import ctypes
import os
import struct
from contextlib import suppress
from errno import EINVAL, EPERM

__all__ = [
    "MNT_DETACH",
    "MS_BIND",
    "MS_MOVE",
    "MS_NODEV",
    "MS_NOEXEC",
    "MS_NOSUID",
    "MS_PRIVATE",
    "MS_REC",
    "MS_SLAVE",
    "NEWNS",
    "NEWUSER",
    "die_with_parent",
    "drop_capabilities",
    "mount",
    "umount",
    "unshare",
]

# include/uapi/linux/sched.h
NEWNS = 0x0002_0000
NEWUSER = 0x1000_0000
# include/uapi/linux/mount.h
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_BIND = 4096
MS_MOVE = 8192
MS_REC = 16384
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MNT_DETACH = 2
# include/uapi/linux/prctl.h
_PR_SET_PDEATHSIG = 1
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
# include/uapi/linux/capability.h
_CAPABILITY_VERSION_3 = 0x2008_0522
_MOST_CAPABILITIES = 64

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """Move this process, which has one thread, into new namespaces."""
    _check(_libc.unshare(ctypes.c_int(flags)), None)


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Attach a file system, or by ``flags`` bind or move a mount or change how it propagates."""
    words = [os.fsencode(word) if word else None for word in (source, target, kind)]
    _check(_libc.mount(*words, ctypes.c_ulong(flags), os.fsencode(options) if options else None), target)


def umount(target: str) -> None:
    """Take a mount away, also while it is in use."""
    _check(_libc.umount2(os.fsencode(target), ctypes.c_int(MNT_DETACH)), target)


def die_with_parent(number: int) -> None:
    """Let this process get a signal when its parent dies; see prctl(2) for what undoes this."""
    _prctl(_PR_SET_PDEATHSIG, number)


def drop_capabilities() -> None:
    """Give up every capability, for this process and whatever it executes, be it setuid root."""
    for number in range(_MOST_CAPABILITIES):
        try:
            _prctl(_PR_CAPBSET_DROP, number)
        except OSError as error:
            if error.errno == EPERM:  # a root without CAP_SETPCAP, who may give up getting them back all the same
                _prctl(_PR_SET_NO_NEW_PRIVS, 1)
            elif error.errno != EINVAL:
                raise
            break  # at EINVAL the last one that this kernel knows was the one before
    with suppress(OSError):  # kernels before 4.3 have no ambient ones
        _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    _check(_libc.capset(header, bytes(24)), None)


def _prctl(option: int, argument: int) -> None:
    _check(_libc.prctl(ctypes.c_int(option), *(ctypes.c_ulong(word) for word in (argument, 0, 0, 0))), None)


def _check(returned: int, path: str | None) -> None:
    if returned:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno), path)
