# SPDX-License-Identifier: Apache-2.0
"""WinRing0: the driver that lets any program read and write any register; older tools still bring it along.

Mirrors OpenLibSys.c of WinRing0 1.2.0, as OpenLibSys.org published it ("original") and with the checks that
GermanAizek/WinRing0 added ("checked").  The original trusts every length and lets anybody in; today Windows blocks it
as vulnerable.  The processor whose register is read is the one that the caller's thread runs on.

Registers are simulated; there are no performance counters (reading one faults), no PCI bus and no physical memory, and
I/O ports are left out: their codes are answered as unknown ones.
"""

import struct
from collections.abc import Callable
from typing import Literal

from raplica_simulator.windows.ctl_code import Access, CtlCode, Method
from raplica_simulator.windows.io_control import FileObject, Irp, Security
from raplica_simulator.windows.kernel import BUG_CHECK_IN_DRIVER, Kernel
from raplica_simulator.windows.nt_status import NtStatus

__all__ = [
    "GET_DRIVER_VERSION",
    "GET_REFCOUNT",
    "HALT",
    "PCI_BUS_NOT_EXIST",
    "READ_MEMORY",
    "READ_MSR",
    "READ_PCI_CONFIG",
    "READ_PMC",
    "WRITE_MSR",
    "WinRing0Driver",
]

_DEVICE_TYPE = 40000

GET_DRIVER_VERSION = CtlCode(_DEVICE_TYPE, 0x800, Method.BUFFERED, Access.ANY)
GET_REFCOUNT = CtlCode(_DEVICE_TYPE, 0x801, Method.BUFFERED, Access.ANY)
READ_MSR = CtlCode(_DEVICE_TYPE, 0x821, Method.BUFFERED, Access.ANY)
WRITE_MSR = CtlCode(_DEVICE_TYPE, 0x822, Method.BUFFERED, Access.ANY)
READ_PMC = CtlCode(_DEVICE_TYPE, 0x823, Method.BUFFERED, Access.ANY)
HALT = CtlCode(_DEVICE_TYPE, 0x824, Method.BUFFERED, Access.ANY)
READ_MEMORY = CtlCode(_DEVICE_TYPE, 0x841, Method.BUFFERED, Access.READ)
READ_PCI_CONFIG = CtlCode(_DEVICE_TYPE, 0x851, Method.BUFFERED, Access.READ)

PCI_BUS_NOT_EXIST = 0xE0000001
"""The driver's own status for a PCI bus that is not there."""

_DEVICE = "\\Device\\WinRing0_1_2_0"
_LINK = "\\DosDevices\\WinRing0_1_2_0"
_VERSION = 1 << 24 | 2 << 16 | 0 << 8 | 5  # 1.2.0.5
_INDEX = struct.Struct("<I")
_VALUE = struct.Struct("<Q")
_WRITE = struct.Struct("<IQ")  # packed: 12 bytes
_PCI_ADDRESS_SIZE = 8


class WinRing0Driver:
    """The driver in one of its two variants."""

    name = "WinRing0_1_2_0"

    def __init__(self, variant: Literal["original", "checked"] = "original") -> None:
        self._checked = variant == "checked"
        self._open = 0
        self.unload: Callable[[Kernel], None] | None = self._unload

    def entry(self, kernel: Kernel) -> int:
        """Make the device and its link; the checked variant's lets administrators in only."""
        self._open = 0
        self._kernel = kernel
        security = Security(everyone=0) if self._checked else None
        self._device = kernel.create_device(_DEVICE, device_type=_DEVICE_TYPE, security=security)
        return kernel.create_symbolic_link(_LINK, _DEVICE)

    def _unload(self, kernel: Kernel) -> None:
        kernel.delete_symbolic_link(_LINK)
        kernel.delete_device(self._device)

    def create(self, file: FileObject) -> int:  # noqa: ARG002 - one more
        """Count it."""
        self._open += 1
        return NtStatus.SUCCESS

    def close(self, file: FileObject) -> None:  # noqa: ARG002 - one less
        """Count it."""
        self._open -= 1

    def device_control(self, irp: Irp) -> None:
        """Carry out what the code says."""
        requests: dict[int, Callable[[Irp], int]] = {
            GET_DRIVER_VERSION.value: lambda irp: self._tell(irp, _VERSION),
            GET_REFCOUNT.value: lambda irp: self._tell(irp, self._open),
            READ_MSR.value: self._read_msr,
            WRITE_MSR.value: self._write_msr,
            READ_PMC.value: self._read_pmc,
            HALT.value: lambda _: NtStatus.NOT_SUPPORTED if self._checked else NtStatus.SUCCESS,
            READ_MEMORY.value: lambda _: NtStatus.INVALID_PARAMETER,
            READ_PCI_CONFIG.value: self._read_pci,
        }
        request = requests.get(irp.code.value)
        irp.status = NtStatus.NOT_IMPLEMENTED if request is None else request(irp)

    def _tell(self, irp: Irp, number: int) -> int:
        if self._checked and irp.output_length < _INDEX.size:
            return NtStatus.BUFFER_TOO_SMALL
        if irp.system_buffer is None:
            self._kernel.bug_check(BUG_CHECK_IN_DRIVER, "WinRing0 wrote through a NULL system buffer")
        return _put(irp, _INDEX.pack(number))

    def _read_msr(self, irp: Irp) -> int:
        if self._checked and irp.output_length < _VALUE.size:
            return NtStatus.BUFFER_TOO_SMALL
        if irp.system_buffer is None:
            return NtStatus.UNSUCCESSFUL  # the NULL pointer faults within the driver's guard
        (register,) = _INDEX.unpack(_taken(irp, _INDEX.size))
        try:
            value = self._kernel.read_msr(irp.thread.cpu, register)
        except OSError:
            return NtStatus.UNSUCCESSFUL
        return _put(irp, _VALUE.pack(value))

    def _write_msr(self, irp: Irp) -> int:
        if self._checked and len(irp.input) != _WRITE.size:
            return NtStatus.INVALID_PARAMETER
        if irp.system_buffer is None:
            return NtStatus.UNSUCCESSFUL
        register, value = _WRITE.unpack(_taken(irp, _WRITE.size))
        try:
            self._kernel.machine.msr.write(irp.thread.processor.cpu.number, register, value)
        except OSError:
            return NtStatus.UNSUCCESSFUL
        return NtStatus.SUCCESS

    def _read_pmc(self, irp: Irp) -> int:
        if self._checked and irp.output_length < _VALUE.size:
            return NtStatus.BUFFER_TOO_SMALL
        return NtStatus.UNSUCCESSFUL

    def _read_pci(self, irp: Irp) -> int:
        return PCI_BUS_NOT_EXIST if len(irp.input) == _PCI_ADDRESS_SIZE else NtStatus.INVALID_PARAMETER


def _taken(irp: Irp, size: int) -> bytes:
    """The first bytes of the buffer, however short it is: what lies behind it is unknown on Windows, and 0 here."""
    return bytes((irp.system_buffer or b"")[:size]).ljust(size, b"\0")


def _put(irp: Irp, answer: bytes) -> int:
    """Write an answer without asking whether it fits: the I/O manager copies what the driver says it wrote."""
    irp.answer(answer)
    return NtStatus.SUCCESS
