# SPDX-License-Identifier: Apache-2.0
"""The few system calls that Python has no function for, made through the C library.

Numbers are those of x86-64, as in the kernel's arch/x86/entry/syscalls/syscall_64.tbl.
"""

from __future__ import annotations

import ctypes
import errno
import os

__all__ = [
    "call",
    "errno_name",
    "load_module",
    "mount_all",
    "power_off",
    "raw_listing",
    "restart",
    "unload_module",
]

_DELETE_MODULE, _FINIT_MODULE, _GETDENTS64, _SYNC = 176, 313, 217, 162
_POWER_OFF = 0x4321FEDC  # LINUX_REBOOT_CMD_POWER_OFF
_libc = ctypes.CDLL(None, use_errno=True)
_ALIASES = {"ENOTSUP": "EOPNOTSUPP", "EWOULDBLOCK": "EAGAIN", "EDEADLOCK": "EDEADLK"}


def errno_name(number: int) -> str:
    """Return the name of an error, such as ENODATA, and of two equal ones always the same."""
    name = errno.errorcode[number]
    return _ALIASES.get(name, name)


def call(name: str, *arguments: object) -> int:
    """Call a function of the C library that returns -1 and sets errno on failure; `OSError` then."""
    result = int(getattr(_libc, name)(*arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result


def mount_all() -> None:
    """Mount what every system has, and let the kernel live through an oops from here on."""
    for kind, place in (("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")):
        os.makedirs(place, exist_ok=True)
        call("mount", kind.encode(), place.encode(), kind.encode(), 0, None)
    with open("/proc/sys/kernel/panic_on_oops", "w", encoding="ascii") as switch:
        switch.write("0")


def load_module(path: str, parameters: str) -> None:
    """Insert a kernel module from a file (uncompressed)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        call("syscall", _FINIT_MODULE, descriptor, parameters.encode(), 0)
    finally:
        os.close(descriptor)


def unload_module(name: str) -> None:
    """Remove a kernel module; `OSError` EBUSY or EAGAIN while something holds it."""
    call("syscall", _DELETE_MODULE, name.encode(), os.O_NONBLOCK)


def raw_listing(descriptor: int) -> int:
    """Return how many bytes getdents64 gives for an open directory; . and .. alone are 48."""
    room = ctypes.create_string_buffer(4096)
    return call("syscall", _GETDENTS64, descriptor, room, len(room))


def restart() -> None:
    """End the virtual machine at once: no device is asked, and so none that a crash has left locked."""
    with open("/proc/sysrq-trigger", "w", encoding="ascii") as trigger:
        trigger.write("b")


def power_off() -> None:
    """Switch the virtual machine off."""
    call("syscall", _SYNC)
    call("reboot", _POWER_OFF)
