# SPDX-License-Identifier: Apache-2.0
"""An open descriptor on /dev/cpu/N/msr: what read, pread, write, lseek and ioctl do to it.

Mirrors msr_read, msr_write, msr_ioctl and no_seek_end_llseek of arch/x86/kernel/msr.c and fs/read_write.c.  The offset
names the register, of which the low 32 bits count; each 8 bytes are one rdmsr or wrmsr of that same register.
"""

import os
import select
import struct
from collections.abc import Iterator
from errno import EINVAL, EIO, ENOTTY, ENXIO, EPERM
from typing import TYPE_CHECKING

from raplica_simulator.linux.open_file import OpenFile

if TYPE_CHECKING:
    from raplica_simulator.linux.msr_dev import MsrDevice

__all__ = ["RDMSR_REGS", "WRMSR_REGS", "MsrFile"]

#: ioctl X86_IOC_RDMSR_REGS and X86_IOC_WRMSR_REGS: read and write, 'c', 0xA0 and 0xA1, eight words of 32 bits.
RDMSR_REGS = 0xC02063A0
WRMSR_REGS = 0xC02063A1

_WORD = 8
_U32 = (1 << 32) - 1
_MAX_OFFSET = (1 << 63) - 1
_REGISTERS = struct.Struct("<8I")  # eax ecx edx ebx esp ebp esi edi


class MsrFile(OpenFile):
    """One open file description.  A context manager; every method raises OSError with the kernel's errno.

    Attributes:
        offset: the file position, which is the register number; reading and writing leave it alone.
    """

    __slots__ = ("_device", "_machine", "_module", "_pid")

    def __init__(self, device: "MsrDevice", flags: int, pid: int) -> None:
        super().__init__(device.path, flags)
        self._module = device.module
        self._machine = device.module.machine
        self._device = device
        self._pid = pid

    def read(self, size: int = _WORD) -> bytes:
        """As :meth:`pread` at the position, which does not move."""
        return self.pread(size, self.offset)

    def pread(self, size: int, offset: int) -> bytes:
        """Read the register once for each 8 bytes of ``size``, little-endian.

        EINVAL for a size that is no multiple of 8, EIO where the processor faults, ENXIO where it is down; where at
        least one word was read before that, what was read is returned.
        """
        self._permit(os.O_WRONLY, offset, size)
        if size % _WORD:
            raise self._error(EINVAL)
        words: list[bytes] = []
        for _ in range(size // _WORD):
            try:
                value = self._rdmsr(offset)
            except OSError:
                if words:
                    break
                raise
            words.append(value.to_bytes(_WORD, "little"))
        return b"".join(words)

    def write(self, data: bytes) -> int:
        """As :meth:`pwrite` at the position, which does not move."""
        return self.pwrite(data, self.offset)

    def pwrite(self, data: bytes, offset: int) -> int:
        """Write the register once for each 8 bytes; returns the bytes taken.

        EPERM where writing is switched off, which is asked first, also for no bytes at all; then as :meth:`pread`.
        """
        self._permit(os.O_RDONLY, offset, 0)
        self._admit(offset)
        if len(data) % _WORD:
            raise self._error(EINVAL)
        done = 0
        for word in _words(data):
            self._module.tainted = True
            try:
                self._wrmsr(offset, word)
            except OSError:
                if done:
                    break
                raise
            done += _WORD
        return done

    def lseek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position; EINVAL from the end, since a register file has none (no_seek_end_llseek)."""
        self._open()
        if whence not in (os.SEEK_SET, os.SEEK_CUR):
            raise self._error(EINVAL)
        position = offset + (self.offset if whence == os.SEEK_CUR else 0)
        if not 0 <= position <= _MAX_OFFSET:
            raise self._error(EINVAL)
        self.offset = position
        return position

    def ioctl(self, command: int, data: bytes) -> bytes:
        """RDMSR_REGS or WRMSR_REGS with eight words, the register in the second (ECX); ENOTTY for anything else.

        EBADF where the descriptor lacks the mode; errors otherwise as :meth:`pread` and :meth:`pwrite`.
        """
        self._open()
        if command not in (RDMSR_REGS, WRMSR_REGS):
            raise self._error(ENOTTY)
        self._fit(os.O_WRONLY if command == RDMSR_REGS else os.O_RDONLY)
        words = list(_REGISTERS.unpack(data))
        register = words[1]
        if command == RDMSR_REGS:
            value = self._rdmsr(register)
            words[0], words[2] = value & _U32, value >> 32
        else:
            self._admit(register)
            self._module.tainted = True
            self._wrmsr(register, words[2] << 32 | words[0])
        return _REGISTERS.pack(*words)

    def poll(self) -> int:
        """Always readable and writable: the device has no poll of its own."""
        self._open()
        return select.POLLIN | select.POLLOUT

    def fstat(self) -> os.stat_result:
        """As stat of the device."""
        self._open()
        return self._device.stat()

    def _permit(self, unfit: int, offset: int, size: int) -> None:
        """What the system call checks before the device is asked."""
        self._fit(unfit)
        if offset < 0 or size < 0:
            raise self._error(EINVAL)

    def _admit(self, offset: int) -> None:
        try:
            self._module.admit(offset & _U32, self._pid)
        except OSError as error:
            raise self._error(error.errno or EPERM) from error

    def _rdmsr(self, offset: int) -> int:
        self._up()
        try:
            return self._machine.msr.read(self._device.cpu, offset & _U32)
        except OSError as error:
            raise self._error(error.errno or EIO) from error

    def _wrmsr(self, offset: int, value: int) -> None:
        self._up()
        try:
            self._machine.msr.write(self._device.cpu, offset & _U32, value)
        except OSError as error:
            raise self._error(error.errno or EIO) from error

    def _up(self) -> None:
        """ENXIO where the processor went down after the open: nobody is there to execute it."""
        if not self._device.is_online:
            raise self._error(ENXIO)


def _words(data: bytes) -> Iterator[int]:
    for start in range(0, len(data), _WORD):
        yield int.from_bytes(data[start : start + _WORD], "little")
