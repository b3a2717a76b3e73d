# SPDX-License-Identifier: Apache-2.0
"""Scaphandre drivers for tests that do one thing which their version does not do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from raplica_simulator.windows.io_control import Driver, FileObject, Irp, Security
from raplica_simulator.windows.kernel import Kernel
from raplica_simulator.windows.nt_status import BugCheck, NtError, NtStatus
from raplica_simulator.windows.processors import Processor
from raplica_simulator.windows.scaphandre_driver import ScaphandreDriver
from raplica_simulator.windows.scaphandre_versions import VERSIONS, Defect


def v32(**named: Any) -> Callable[[], Driver]:
    return lambda: ScaphandreDriver("v3.2", **named)


def without(*defects: Defect, version: str = "v3.2") -> Callable[[], Driver]:
    return lambda: ScaphandreDriver(version, defects=VERSIONS[version].defects - set(defects))


class Private(ScaphandreDriver):
    """Lets administrators in only."""

    def entry(self, kernel: Kernel) -> int:
        status = super().entry(kernel)
        assert self._device is not None
        self._device.security = Security(everyone=0)
        return status


class Cached(ScaphandreDriver):
    """Keeps what it read once."""

    def __init__(self, version: str = "v3.2", **named: Any) -> None:
        super().__init__(version, **named)
        self.known: dict[int, int] = {}

    def _read(self, irp: Irp, register: int) -> int:
        return self.known.setdefault(register, super()._read(irp, register))


class Half(ScaphandreDriver):
    """Hands out 32 bits."""

    def _read(self, irp: Irp, register: int) -> int:
        return super()._read(irp, register) & 0xFFFFFFFF


class ByCode(ScaphandreDriver):
    """Takes one control code."""

    def device_control(self, irp: Irp) -> None:
        if irp.code.function not in (0x611, 0xBED, 0x606, 0x800, 0xFFF, 0xBEB):
            irp.refuse(NtStatus.INVALID_DEVICE_REQUEST)
        else:
            super().device_control(irp)


class Busy(ScaphandreDriver):
    """Lets one handle in at a time."""

    def create(self, file: FileObject) -> int:
        if file.device is not None and file.device.open_handles:
            return NtStatus.ACCESS_DENIED
        return super().create(file)


class EmptyMask(ScaphandreDriver):
    """Its affinity mask is empty."""

    def _mask(self, processor: Processor) -> int:  # noqa: ARG002 - as it is called
        return 0


class NoClamp(ScaphandreDriver):
    """Refuses a processor beyond the last one."""

    def _read_on(self, irp: Irp, register: int, index: int) -> int:
        if index >= self._maximum:
            raise NtError(NtStatus.INVALID_PARAMETER, f"CPU {index}")
        return super()._read_on(irp, register, index)


class NoTests(ScaphandreDriver):
    """Answers the registers for tests with 0."""

    def _answer_by_input(self, irp: Irp) -> None:
        if irp.input[:4] in (b"\1\0\0\0", b"\2\0\0\0", b"\3\0\0\0"):
            irp.answer(bytes(8))
        else:
            super()._answer_by_input(irp)


class FourFunctions(ScaphandreDriver):
    """Version 1 with a function for the memory."""

    def device_control(self, irp: Irp) -> None:
        if irp.code.function == 0xBEE:
            irp.information = 8
        else:
            super().device_control(irp)


class Elsewhere(ScaphandreDriver):
    """Reads on the first processor, wherever its caller runs."""

    def _read(self, irp: Irp, register: int) -> int:  # noqa: ARG002 - as it is called
        return self._running().read_msr(0, register)


class Survives(ScaphandreDriver):
    """Comes back by itself from what stops others."""

    def _read(self, irp: Irp, register: int) -> int:
        try:
            return super()._read(irp, register)
        except BugCheck:
            self._running().crashed = None
            raise
