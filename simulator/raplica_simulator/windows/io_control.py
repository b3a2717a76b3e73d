# SPDX-License-Identifier: Apache-2.0
"""One request on its way to a driver and back: what the I/O manager hands over, and what it copies to the caller.

Mirrors the I/O manager's part of NtDeviceIoControlFile and IopCompleteRequest.  It trusts drivers: one that reports
more bytes than the caller's buffer holds makes it write behind that buffer (*inferred* for real Windows; Wine copies
what fits).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from raplica_simulator.windows.ctl_code import FILE_DEVICE_UNKNOWN, CtlCode, Method
from raplica_simulator.windows.nt_status import NtStatus, severity
from raplica_simulator.windows.processors import Thread

if TYPE_CHECKING:
    from raplica_simulator.windows.kernel import Kernel

__all__ = ["BadPointer", "Device", "Driver", "FileObject", "Irp", "Security"]


@dataclass(frozen=True, slots=True)
class BadPointer:
    """An address that the caller may not touch, NULL for instance, given for a buffer of ``length`` bytes."""

    length: int = 0


@dataclass(frozen=True, slots=True)
class Security:
    """A device's access control list: what may be granted, as access masks.

    The default is the I/O manager's own for a device that brings none: administrators everything, everyone else to
    read, write and execute.
    """

    administrators: int = 0x1F01FF
    everyone: int = 0x1201BF

    def allows(self, thread: Thread, access: int) -> bool:
        """Whether every right of ``access`` can be granted."""
        granted = self.everyone | (self.administrators if thread.administrator else 0)
        return not access & ~granted


@dataclass(eq=False, slots=True)
class Device:
    r"""A device object.

    Attributes:
        name: in the kernel's name space, such as ``\Device\ScaphandreDriver``.
        driver: who answers for it.
        exclusive: only one handle at a time; that a second one gets ACCESS_DENIED is *from memory*.
        interface: the path under which its interface class lists it; None without one.
        open_handles: how many there are.
    """

    name: str
    driver: Driver
    device_type: int = FILE_DEVICE_UNKNOWN
    exclusive: bool = False
    security: Security = field(default_factory=Security)
    interface_guid: str | None = None
    interface: str | None = None
    open_handles: int = 0


@dataclass(eq=False, slots=True)
class FileObject:
    """What an open handle refers to.

    Attributes:
        device: the device; None for a plain file.
        path: what CreateFile was given.
        name: what follows the device's name in it, mostly nothing.
        access: the rights that were granted, generic ones resolved.
        thread: who opened it.
        context: whatever the driver keeps for this handle.
    """

    device: Device | None
    path: str
    access: int
    thread: Thread
    name: str = ""
    context: Any = None


@dataclass(eq=False, slots=True)
class Irp:
    """A device control request, as a driver gets it.

    Attributes:
        code: the control code.
        input: the caller's bytes, copied.
        output_length: how large the caller says that its output buffer is.
        system_buffer: BUFFERED: input and output in one, as long as the longer of the two, the input at its
            beginning; DIRECT: the input; None where that is no bytes at all, and for NEITHER.
        mdl: DIRECT: the caller's own output buffer, None where it has no length.
        user_buffer: NEITHER: the caller's own output buffer, None where it cannot be touched.
        file: the handle's file object.
        thread: the thread that asks, in which the driver runs.
        status: what the driver ends with.
        information: the bytes that it says it has written.
    """

    code: CtlCode
    input: bytes
    output_length: int
    system_buffer: bytearray | None
    mdl: bytearray | None
    user_buffer: bytearray | None
    file: FileObject
    thread: Thread
    status: int = NtStatus.SUCCESS
    information: int = 0

    def answer(self, data: bytes) -> None:
        """Succeed with these bytes in the system buffer, as most drivers do."""
        if self.system_buffer is None:
            self.system_buffer = bytearray()
        self.system_buffer[: len(data)] = data
        self.information = len(data)
        self.status = NtStatus.SUCCESS

    def refuse(self, status: int) -> None:
        """End with an error; the byte count stays as it was."""
        self.status = status


class Driver(Protocol):
    """What the kernel asks of a driver.  Any of the routines may let an NtError pass, which is then its status."""

    @property
    def name(self) -> str:
        """The service's name."""
        ...

    @property
    def unload(self) -> Callable[[Kernel], None] | None:
        """DriverUnload, which takes back what ``entry`` made; None for a driver that cannot be unloaded."""
        ...

    def entry(self, kernel: Kernel) -> int:
        """DriverEntry: make devices and links; an NTSTATUS."""
        ...

    def create(self, file: FileObject) -> int:
        """A handle is opened; an NTSTATUS."""
        ...

    def close(self, file: FileObject) -> None:
        """The handle is closed."""
        ...

    def device_control(self, irp: Irp) -> None:
        """A request: set ``irp.status`` and ``irp.information``."""
        ...


def make_irp(
    file: FileObject, thread: Thread, code: CtlCode, data: bytes | BadPointer, output: bytearray | BadPointer | None
) -> Irp:
    """Lay out the buffers of a request as its method wants; its status is ACCESS_VIOLATION where a probe fails.

    ``output`` is the caller's buffer; None is no buffer and no length.
    """
    size = len(output) if isinstance(output, bytearray) else output.length if output is not None else 0
    given = b"" if isinstance(data, BadPointer) else data
    own = output if isinstance(output, bytearray) and size else None
    irp = Irp(code, given, size, None, None, None, file, thread)
    if code.method is Method.NEITHER:
        irp.user_buffer = own
        return irp
    if (isinstance(data, BadPointer) and data.length) or (isinstance(output, BadPointer) and size):
        irp.status = NtStatus.ACCESS_VIOLATION
        return irp
    if code.method is Method.BUFFERED:
        length = max(len(given), size)
        irp.system_buffer = bytearray(given.ljust(length, b"\0")) if length else None
    else:
        irp.system_buffer = bytearray(given) if given else None
        irp.mdl = own
    return irp


def copy_back(irp: Irp, output: bytearray | BadPointer | None) -> None:
    """Give the caller what a BUFFERED request brought: as many bytes as the driver says, fit or not.

    Where the driver claims more than the system buffer holds, zeros stand for what else lies in the pool.
    """
    buffered = irp.code.method is Method.BUFFERED and severity(irp.status) != "error"
    if buffered and isinstance(output, bytearray):
        brought = bytes(irp.system_buffer or b"")[: irp.information].ljust(irp.information, b"\0")
        output[: len(brought)] = brought
