# SPDX-License-Identifier: Apache-2.0
"""PawnIO: a driver that runs small signed programs, of which one reads registers; what LibreHardwareMonitor uses today.

Mirrors the driver of namazso/PawnIO (its PawnIO/src/driver.cpp and vm.cpp, 2026): a handle loads one module, then
calls its functions by name.  The processor whose register is read is the one that the caller's thread runs on.  Only
administrators may open the device.
"""

import struct
from collections.abc import Callable

from raplica_simulator.windows.ctl_code import Access, CtlCode, Method
from raplica_simulator.windows.io_control import FileObject, Irp, Security
from raplica_simulator.windows.kernel import Kernel
from raplica_simulator.windows.nt_status import NtStatus
from raplica_simulator.windows.pawnio_modules import PawnModule, load_module

__all__ = ["ALREADY_INITIALIZED", "EXECUTE", "LOAD", "PawnIoDriver", "VERSION"]

_DEVICE_TYPE = 41394

LOAD = CtlCode(_DEVICE_TYPE, 0x821, Method.BUFFERED, Access.ANY)
EXECUTE = CtlCode(_DEVICE_TYPE, 0x841, Method.BUFFERED, Access.ANY)
VERSION = CtlCode(_DEVICE_TYPE, 0x861, Method.BUFFERED, Access.ANY)

ALREADY_INITIALIZED = 0xC0000510
"""STATUS_ALREADY_INITIALIZED: a second module for a handle; its Win32 error is not known (317 here)."""

_DEVICE = "\\Device\\PawnIO"
_LINK = "\\DosDevices\\PawnIO"
_VERSION = struct.Struct("<I")
_NAME_SIZE = 32
_CELL_SIZE = 8
_U32 = 0xFFFFFFFF


class PawnIoDriver:
    """The driver; ``version`` is what it says of itself, as major, minor, patch."""

    name = "PawnIO"

    def __init__(self, *, version: tuple[int, int, int] = (2, 1, 0)) -> None:
        self._version = version[0] << 16 | version[1] << 8 | version[2]
        self.unload: Callable[[Kernel], None] | None = self._unload

    def entry(self, kernel: Kernel) -> int:
        r"""Make the device, which clients reach as ``\\?\GLOBALROOT\Device\PawnIO``, and its old link."""
        self._kernel = kernel
        self._device = kernel.create_device(_DEVICE, device_type=_DEVICE_TYPE, security=Security(everyone=0))
        return kernel.create_symbolic_link(_LINK, _DEVICE)

    def _unload(self, kernel: Kernel) -> None:
        kernel.delete_symbolic_link(_LINK)
        kernel.delete_device(self._device)

    def create(self, file: FileObject) -> int:  # noqa: ARG002 - it has no module yet
        """Always works for whom the device lets in."""
        return NtStatus.SUCCESS

    def close(self, file: FileObject) -> None:
        """Its module goes with it."""
        file.context = None

    def device_control(self, irp: Irp) -> None:
        """Load a module, call a function of it, or tell the version."""
        if irp.code == LOAD:
            irp.status = self._load(irp)
        elif irp.code == EXECUTE:
            irp.status = self._execute(irp)
        elif irp.code != VERSION:
            irp.refuse(NtStatus.NOT_IMPLEMENTED)
        elif irp.output_length != _VERSION.size:
            irp.refuse(NtStatus.INVALID_PARAMETER)
        else:
            irp.answer(_VERSION.pack(self._version))

    def _load(self, irp: Irp) -> int:
        if irp.file.context is not None:
            return ALREADY_INITIALIZED
        found = load_module(irp.input, self._kernel.machine.profile.cpu.id)
        if isinstance(found, int):
            return found
        irp.file.context = found
        return NtStatus.SUCCESS

    def _execute(self, irp: Irp) -> int:
        """Call a function: 32 bytes of name and the arguments go in, results come out, all of them 64-bit cells.

        Input and output share one buffer, so that what lies behind the last whole cell of the output is what the
        client sent, or 0.
        """
        module = irp.file.context
        if not isinstance(module, PawnModule) or len(irp.input) < _NAME_SIZE:
            return NtStatus.INVALID_PARAMETER
        name, end, _ = irp.input[:_NAME_SIZE].partition(b"\0")
        if not end or not name.startswith(b"ioctl_"):
            return NtStatus.INVALID_PARAMETER
        count = (len(irp.input) - _NAME_SIZE) // _CELL_SIZE
        arguments = struct.unpack_from(f"<{count}Q", irp.input, _NAME_SIZE)
        match name:
            case b"ioctl_read_msr":
                status = self._read(module, irp, arguments)
            case b"ioctl_write_msr":
                status = self._write(module, irp, arguments)
            case _:
                status = NtStatus.OBJECT_NAME_NOT_FOUND
        if status == NtStatus.SUCCESS:
            irp.information = irp.output_length
        return status

    def _read(self, module: PawnModule, irp: Irp, arguments: tuple[int, ...]) -> int:
        if len(arguments) != 1 or irp.output_length // _CELL_SIZE != 1 or irp.system_buffer is None:
            return NtStatus.INVALID_PARAMETER
        register = arguments[0] & _U32
        if register not in module.readable:
            return NtStatus.ACCESS_DENIED
        try:
            value = self._kernel.read_msr(irp.thread.cpu, register)
        except OSError:
            return NtStatus.PRIVILEGED_INSTRUCTION  # the exception's own code (inferred)
        struct.pack_into("<Q", irp.system_buffer, 0, value)
        return NtStatus.SUCCESS

    def _write(self, module: PawnModule, irp: Irp, arguments: tuple[int, ...]) -> int:
        if len(arguments) != 2:
            return NtStatus.INVALID_PARAMETER
        register, value = arguments[0] & _U32, arguments[1]
        if register not in module.writable:
            return NtStatus.ACCESS_DENIED
        try:
            self._kernel.machine.msr.write(irp.thread.processor.cpu.number, register, value)
        except OSError:
            return NtStatus.PRIVILEGED_INSTRUCTION
        return NtStatus.SUCCESS
