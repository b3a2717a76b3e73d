# SPDX-License-Identifier: Apache-2.0
"""The driver of Intel Power Gadget: one control code for everything, what is wanted stands in the buffer.

Mirrors what hubblo-org/windows-rapl-driver (userland/IPG at b3d39d4) found by watching EnergyDriver.sys: one code, its
input {u32 0, u32 id} with what a request needs besides behind it; an id is a register's address and is answered with
its 64 bits; id 0xE7 (MPERF) carries the number of processors and is answered with 64 bits for each.  Everything about
errors is inferred: a request that is too short is INVALID_PARAMETER, an answer that does not fit BUFFER_TOO_SMALL,
another code INVALID_DEVICE_REQUEST, a register that faults IO_DEVICE_ERROR; so is that any register may be asked for.
"""

import struct
from collections.abc import Callable

from raplica_simulator.windows.ctl_code import FILE_DEVICE_UNKNOWN, Access, CtlCode, Method
from raplica_simulator.windows.io_control import FileObject, Irp
from raplica_simulator.windows.kernel import Kernel
from raplica_simulator.windows.nt_status import NtStatus

__all__ = ["PowerGadgetDriver", "REQUEST"]

REQUEST = CtlCode(FILE_DEVICE_UNKNOWN, 0x802, Method.OUT_DIRECT, Access.READ | Access.WRITE)

_DEVICE = "\\Device\\EnergyDriver"
_LINK = "\\DosDevices\\EnergyDriver"
_HEAD = struct.Struct("<II")
_COUNT = struct.Struct("<I")
_MPERF = 0xE7
_VALUE_SIZE = 8


class PowerGadgetDriver:
    """EnergyDriver.sys."""

    name = "EnergyDriver"

    def __init__(self) -> None:
        self.unload: Callable[[Kernel], None] | None = self._unload

    def entry(self, kernel: Kernel) -> int:
        """Make the device and its link."""
        self._kernel = kernel
        self._device = kernel.create_device(_DEVICE)
        return kernel.create_symbolic_link(_LINK, _DEVICE)

    def _unload(self, kernel: Kernel) -> None:
        kernel.delete_symbolic_link(_LINK)
        kernel.delete_device(self._device)

    def create(self, file: FileObject) -> int:  # noqa: ARG002 - any file
        """Always works."""
        return NtStatus.SUCCESS

    def close(self, file: FileObject) -> None:
        """Nothing belongs to a file."""

    def device_control(self, irp: Irp) -> None:
        """Answer a request with the registers that it asks for."""
        if irp.code != REQUEST:
            irp.refuse(NtStatus.INVALID_DEVICE_REQUEST)
            return
        wanted = self._wanted(irp.input, irp.thread.cpu)
        size = _VALUE_SIZE * len(wanted)
        if not wanted:
            irp.refuse(NtStatus.INVALID_PARAMETER)
        elif irp.mdl is None or irp.output_length < size:
            irp.refuse(NtStatus.BUFFER_TOO_SMALL)
        else:
            try:
                values = [self._kernel.read_msr(cpu, register) for cpu, register in wanted]
            except OSError:
                irp.refuse(NtStatus.IO_DEVICE_ERROR)
                return
            struct.pack_into(f"<{len(values)}Q", irp.mdl, 0, *values)
            irp.information = size

    def _wanted(self, request: bytes, cpu: int) -> list[tuple[int, int]]:
        """The processors and registers that a request asks for; none for a request that is none."""
        if len(request) < _HEAD.size:
            return []
        zero, register = _HEAD.unpack_from(request)
        if zero != 0:
            return []
        if register != _MPERF:
            return [(cpu, register)]
        if len(request) < _HEAD.size + _COUNT.size:
            return []
        (count,) = _COUNT.unpack_from(request, _HEAD.size)
        if count > len(self._kernel.processors.active):
            return []
        return [(number, register) for number in range(count)]
