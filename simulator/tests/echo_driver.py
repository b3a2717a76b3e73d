# SPDX-License-Identifier: Apache-2.0
"""A driver for Windows that ends each request as a test tells it to."""

from collections.abc import Callable
from typing import Any

import pytest

from raplica_simulator.windows.ctl_code import CtlCode, Method
from raplica_simulator.windows.io_control import Device, FileObject, Irp
from raplica_simulator.windows.kernel import Kernel
from raplica_simulator.windows.nt_status import NtError, NtStatus, Win32Error

PATH = r"\\.\Echo"
BUFFERED = CtlCode(0x22, 0x800).value


class Echo:
    """Ends each request with ``status`` and ``information``, and writes ``written`` where the method says."""

    name = "Echo"

    def __init__(self, **device: Any) -> None:
        self.device = device
        self.status: int = NtStatus.SUCCESS
        self.information = 0
        self.written = b""
        self.answers = False
        self.raises: NtError | None = None
        self.entry_status: int = NtStatus.SUCCESS
        self.create_status: int = NtStatus.SUCCESS
        self.files: list[FileObject] = []
        self.irps: list[Irp] = []
        self.made: list[Device] = []

    def entry(self, kernel: Kernel) -> int:
        self.made = [kernel.create_device(r"\Device\Echo", **self.device)]
        kernel.create_symbolic_link(r"\DosDevices\Echo", r"\Device\Echo")
        return self.entry_status

    def unload(self, kernel: Kernel) -> None:
        kernel.delete_symbolic_link(r"\DosDevices\Echo")
        kernel.delete_device(self.made[0])

    def create(self, file: FileObject) -> int:
        self.files.append(file)
        return self.create_status

    def close(self, file: FileObject) -> None:
        self.files.remove(file)

    def device_control(self, irp: Irp) -> None:
        self.irps.append(irp)
        if self.raises is not None:
            raise self.raises
        if self.answers:
            irp.answer(self.written)
            return
        if self.status == NtStatus.NOT_IMPLEMENTED:
            irp.refuse(self.status)
            return
        place = {Method.BUFFERED: irp.system_buffer, Method.NEITHER: irp.user_buffer}.get(irp.code.method, irp.mdl)
        if place is not None:
            place[: len(self.written)] = self.written
        irp.status, irp.information = self.status, self.information


def code(call: Callable[[], object]) -> int:
    with pytest.raises(Win32Error) as caught:
        call()
    return caught.value.winerror
