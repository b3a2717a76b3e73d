# SPDX-License-Identifier: Apache-2.0
"""The kernel of this virtual machine as a subject of the suite, with all that a machine of one's own allows.

It may be written to in every way, since nothing but a table stands behind it; its registers are met through
/dev/cpu/N/msr, which the kernel module diverts to the same table; and its counters move when the table's time is moved.
All of that is given here and nowhere guessed: a real machine is judged by the class that this one extends.
"""

from __future__ import annotations

import errno
import os

from kernel_witness.guest.machine import Machine
from raplica_conformance.subject import Mode, User
from raplica_conformance.subjects.real import RealMachine

__all__ = ["TABLE", "VirtualMachine", "command"]

TABLE = "/proc/raplica/registers"
_WORD = 8  # bytes
# Everything that a subject can promise but the rules of silicon: the registers are a plain table.
_CAN = "content errno modes links order size live steps root nobody writable wild-writes msr"


def command(text: str) -> None:
    """Give the table a command; see modules/table.c."""
    with open(TABLE, "w", encoding="ascii") as table:
        table.write(text)


class VirtualMachine(RealMachine):
    """This machine. Every clause meets the registers as they were when the subject was made."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self.name = f"{machine.name}@{machine.kernel}"
        self.can = frozenset(_CAN.split())
        command("keep")

    def fresh(self) -> VirtualMachine:
        """Put back every register and the time."""
        command("put-back")
        return self

    def write(self, path: str, data: bytes) -> int:  # type: ignore[override]  # the class above never writes
        """One write by root."""
        handle = os.open(self.inside(path), os.O_WRONLY | os.O_CLOEXEC)
        try:
            return os.write(handle, data)
        finally:
            os.close(handle)

    def open_errno(self, path: str, mode: Mode, user: User) -> int:
        """The errno of opening, 0 if it opens."""
        if mode == "r":
            return super().open_errno(path, mode, user)
        entry = self.inside(path)
        if user == "root":
            return _open_for_writing(entry)
        os.setegid(65534)
        os.seteuid(65534)
        try:
            return _open_for_writing(entry)
        finally:
            os.seteuid(0)
            os.setegid(0)

    def msr_read(self, cpu: int, register: int) -> int:  # type: ignore[override]
        """One rdmsr, by the msr driver."""
        handle = os.open(f"/dev/cpu/{cpu}/msr", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return int.from_bytes(os.pread(handle, _WORD, register), "little")
        finally:
            os.close(handle)

    def msr_write(self, cpu: int, register: int, value: int) -> None:  # type: ignore[override]
        """One wrmsr, by the msr driver."""
        handle = os.open(f"/dev/cpu/{cpu}/msr", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(handle, value.to_bytes(_WORD, "little"), register)
        finally:
            os.close(handle)

    def cpus(self) -> list[int]:  # type: ignore[override]
        """The processors that are online."""
        with open("/sys/devices/system/cpu/online", encoding="ascii") as listed:
            parts = [part.partition("-") for part in listed.read().strip().split(",")]
        return [cpu for first, _, last in parts for cpu in range(int(first), int(last or first) + 1)]

    def advance(self, nanoseconds: int) -> None:  # type: ignore[override]
        """Move the table's time."""
        command(f"advance {nanoseconds}")


def _open_for_writing(entry: os.PathLike[str]) -> int:
    try:
        os.close(os.open(entry, os.O_WRONLY | os.O_CLOEXEC))
    except OSError as error:
        return error.errno or errno.EIO
    return 0
