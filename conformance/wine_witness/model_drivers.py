# SPDX-License-Identifier: Apache-2.0
"""What stands for the C drivers that are no Scaphandre driver: one that answers as it is told, two that misbehave."""

from __future__ import annotations

import struct
from collections.abc import Callable

from raplica_simulator.windows.ctl_code import Method
from raplica_simulator.windows.io_control import Device, Driver, FileObject, Irp
from raplica_simulator.windows.kernel import Kernel
from raplica_simulator.windows.nt_status import NtStatus

__all__ = ["RefusingDriver", "StatusDriver", "WithoutUnload"]

_DEVICE, _LINK = r"\Device\RaplicaStatus", r"\DosDevices\RaplicaStatus"
_COMPLETE, _MIRROR, _OPEN_WITH = 0x900, 0x901, 0x902
_REQUEST = struct.Struct("<III")


class StatusDriver:
    """`native/status.c`: it ends a request with the status and the Information that it was sent."""

    name = "RaplicaStatus"

    def __init__(self) -> None:
        self._device: Device | None = None
        self._open_status = int(NtStatus.SUCCESS)

    def entry(self, kernel: Kernel) -> int:
        """Make the device and its link."""
        self._device = kernel.create_device(_DEVICE)
        return kernel.create_symbolic_link(_LINK, _DEVICE)

    def unload(self, kernel: Kernel) -> None:
        """Take both away."""
        kernel.delete_symbolic_link(_LINK)
        if self._device is not None:
            kernel.delete_device(self._device)

    def create(self, file: FileObject) -> int:
        """End an open with what OPEN_WITH said last."""
        del file
        return self._open_status

    def close(self, file: FileObject) -> None:
        """Nothing is kept for a handle."""

    def device_control(self, irp: Irp) -> None:
        """COMPLETE, MIRROR and OPEN_WITH; any other function is refused."""
        answers = {_COMPLETE: self._complete, _MIRROR: self._mirror, _OPEN_WITH: self._set_open}
        found = answers.get(irp.code.function)
        if found is None:
            irp.refuse(NtStatus.INVALID_DEVICE_REQUEST)
        else:
            found(irp)

    def _complete(self, irp: Irp) -> None:
        if len(irp.input) < _REQUEST.size:
            irp.refuse(NtStatus.INFO_LENGTH_MISMATCH)
            return
        status, irp.information, count = _REQUEST.unpack_from(irp.input)
        room = _output(irp)
        if room is not None:
            written = bytes(0xA0 + i for i in range(min(count, irp.output_length)))
            room[: len(written)] = written
        irp.status = status

    def _mirror(self, irp: Irp) -> None:
        room = _output(irp)
        if room is None or irp.output_length < _REQUEST.size:
            irp.refuse(NtStatus.BUFFER_TOO_SMALL)
            return
        room[: _REQUEST.size] = _REQUEST.pack(irp.code.value, len(irp.input), irp.output_length)
        irp.information = _REQUEST.size

    def _set_open(self, irp: Irp) -> None:
        if len(irp.input) < 4:
            irp.refuse(NtStatus.INFO_LENGTH_MISMATCH)
            return
        self._open_status = int.from_bytes(irp.input[:4], "little")


def _output(irp: Irp) -> bytearray | None:
    if irp.code.method is Method.BUFFERED:
        return irp.system_buffer
    return irp.user_buffer if irp.code.method is Method.NEITHER else irp.mdl


class RefusingDriver(StatusDriver):
    """A driver whose DriverEntry ends with a status, and does nothing else."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self._status = status

    def entry(self, kernel: Kernel) -> int:
        """Refuse."""
        del kernel
        return self._status


class WithoutUnload:
    """Another driver, without its unload routine."""

    unload: Callable[[Kernel], None] | None = None

    def __init__(self, driver: Driver) -> None:
        self.name = driver.name
        self.entry = driver.entry
        self.create = driver.create
        self.close = driver.close
        self.device_control = driver.device_control
