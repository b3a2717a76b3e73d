# SPDX-License-Identifier: Apache-2.0
r"""The driver that Scaphandre and others read registers through, ``\\.\ScaphandreDriver``, in each of its versions.

Mirrors Driver.c of hubblo-org/windows-rapl-driver, its order of checks included.  What happens where it follows a null
pointer or lets an exception pass is *inferred*: the machine stops.  No version writes a register.
"""

from __future__ import annotations

from collections.abc import Collection

from raplica_simulator.windows.ctl_code import Method
from raplica_simulator.windows.io_control import Device, FileObject, Irp
from raplica_simulator.windows.kernel import BUG_CHECK_IN_DRIVER, Kernel
from raplica_simulator.windows.nt_status import NtError, NtStatus
from raplica_simulator.windows.processors import Processor
from raplica_simulator.windows.scaphandre_registers import FUNCTIONS_V1, allowed
from raplica_simulator.windows.scaphandre_versions import VERSIONS, Defect

__all__ = ["ScaphandreDriver"]

_WORD = 8
_UNIT = 0x606
_TEST_REGISTERS = {1: 0x1111111111111111, 2: 0x2222222222222222}
_TIME_REGISTER = 3
_DIRECT = (Method.IN_DIRECT, Method.OUT_DIRECT)


class ScaphandreDriver:
    """One version of the driver.

    Attributes:
        version: its row in :data:`.VERSIONS`.
        name: the name that the service has.
        defects: what it does wrong.
        device_name: what its device and its link are called.
    """

    def __init__(
        self,
        version: str = "v3.2",
        *,
        fixed: bool = False,
        defects: Collection[Defect | str] | None = None,
        device: str | None = None,
    ) -> None:
        """Of the version with this tag, with all that is wrong with it, or ``fixed``, or with ``defects`` only.

        A fixed driver refuses what the real one mishandles: BUFFER_TOO_SMALL for an output buffer of less than 8
        bytes, INVALID_DEVICE_REQUEST for another transfer method.  ``device`` gives the device another name, to meet
        a client that looks for it elsewhere.  ValueError for a version or defect that does not exist.
        """
        if version not in VERSIONS:
            raise ValueError(f"there is no version {version!r} of the Scaphandre driver: take {', '.join(VERSIONS)}")
        if fixed and defects:
            raise ValueError("a fixed driver has no defects: give one or the other")
        self.version = VERSIONS[version]
        self.name = "RAPLDrvService" if self.version.device == "RAPLDriver" else "ScaphandreDrv"
        own = frozenset() if fixed else self.version.defects
        self.defects = own if defects is None else frozenset(Defect(defect) for defect in defects)
        self.device_name = device or self.version.device
        self._kernel: Kernel | None = None
        self._device: Device | None = None
        self._maximum = 0
        self._list: frozenset[int] = frozenset()

    def __repr__(self) -> str:
        return f"<ScaphandreDriver {self.version.tag}, {len(self.defects)} defects>"

    def entry(self, kernel: Kernel) -> int:
        """Make the device, which everybody may open, and its link; a link that is there already is no matter."""
        self._kernel = kernel
        self._device = kernel.create_device(f"\\Device\\{self.device_name}")
        kernel.create_symbolic_link(f"\\DosDevices\\{self.device_name}", f"\\Device\\{self.device_name}")
        return NtStatus.SUCCESS

    def unload(self, kernel: Kernel) -> None:
        """Take both away; the versions with a stale link ask for the device's name to be deleted as a link."""
        folder = "\\Device\\" if Defect.STALE_LINK in self.defects else "\\DosDevices\\"
        kernel.delete_symbolic_link(folder + self.device_name)
        if self._device is not None:
            kernel.delete_device(self._device)

    def create(self, file: FileObject) -> int:
        """Let anybody in; the vendor and the number of processors are looked up anew each time."""
        del file
        kernel = self._running()
        vendor = "GenuineIntel" if Defect.INTEL_ONLY in self.defects else kernel.machine.profile.cpu.id.vendor
        self._list = allowed(vendor, platform=self.version.list == "platform")
        self._maximum = kernel.processors.maximum
        return NtStatus.SUCCESS

    def close(self, file: FileObject) -> None:
        """Nothing is kept for a handle."""

    def device_control(self, irp: Irp) -> None:
        """Answer a request; on every error the byte count stays as it was."""
        answer = self.version.answer
        if answer == "nothing":
            return
        if answer == "input":
            self._answer_by_input(irp)
        else:
            self._answer_into_mdl(irp)

    def _answer_into_mdl(self, irp: Irp) -> None:
        """Version 1 and before: the caller's own buffer is mapped first, then the function code is looked at."""
        kernel = self._running()
        if irp.code.method not in _DIRECT and Defect.ANY_METHOD not in self.defects:
            raise NtError(NtStatus.INVALID_DEVICE_REQUEST, f"{irp.code.method.name} request")
        if irp.output_length < _WORD and Defect.SHORT_OUTPUT not in self.defects:
            raise NtError(NtStatus.BUFFER_TOO_SMALL, f"{irp.output_length} bytes of output")
        if irp.mdl is None:
            kernel.bug_check(BUG_CHECK_IN_DRIVER, f"{self.name} mapped the output buffer of a request without one")
        if not kernel.can_map:
            raise NtError(NtStatus.INSUFFICIENT_RESOURCES, "output buffer")
        if self.version.answer == "ones":
            irp.mdl[:] = b"\1" * irp.output_length
            irp.information = irp.output_length
            return
        register = _UNIT if self.version.answer == "unit" else FUNCTIONS_V1.get(irp.code.function)
        if register is None:
            raise NtError(NtStatus.INVALID_DEVICE_REQUEST, f"function {irp.code.function:#x}")
        irp.mdl[:_WORD] = self._read(irp, register).to_bytes(_WORD, "little")
        irp.information = irp.output_length if Defect.WHOLE_LENGTH in self.defects else _WORD

    def _answer_by_input(self, irp: Irp) -> None:
        """Version 2 and later: the length, the register, the CPU; the control code is not looked at."""
        kernel = self._running()
        if irp.code.method is not Method.BUFFERED and Defect.ANY_METHOD not in self.defects:
            raise NtError(NtStatus.INVALID_DEVICE_REQUEST, f"{irp.code.method.name} request")
        if len(irp.input) != self.version.input_length:
            raise NtError(NtStatus.INVALID_DEVICE_REQUEST, f"{len(irp.input)} bytes of input")
        if irp.output_length < _WORD and Defect.SHORT_OUTPUT not in self.defects:
            raise NtError(NtStatus.BUFFER_TOO_SMALL, f"{irp.output_length} bytes of output")
        if irp.system_buffer is None:
            kernel.bug_check(BUG_CHECK_IN_DRIVER, f"{self.name} read the system buffer of a request without one")
        if Defect.STACK_OVERRUN in self.defects:
            kernel.findings[f"{self.name}: wrote 4 bytes behind a variable on the stack"] += 1
        register = int.from_bytes(irp.input[:4], "little")
        if self.version.list != "any" and register not in self._list:
            raise NtError(NtStatus.INVALID_DEVICE_REQUEST, f"register {register:#x}")
        if self.version.picks_cpu:
            value = self._read_on(irp, register, int.from_bytes(irp.input[4:], "little"))
        elif self.version.test_registers and register in _TEST_REGISTERS:
            value = _TEST_REGISTERS[register]
        elif self.version.test_registers and register == _TIME_REGISTER:
            value = kernel.system_time_100ns()
        else:
            value = self._read(irp, register)
        irp.answer(value.to_bytes(_WORD, "little"))

    def _read_on(self, irp: Irp, register: int, index: int) -> int:
        """Read on the CPU that the caller names, or on whatever CPU the wrong mask leads to."""
        kernel = self._running()
        if self.version.clamps_cpu:
            index = min(index, self._maximum - 1)
        if index >= len(kernel.processors.active):
            raise NtError(NtStatus.INVALID_PARAMETER, f"CPU {index}")
        processor = kernel.processors.active[index]
        previous = kernel.run_on(irp.thread, processor.group, self._mask(processor))
        try:
            value = self._read(irp, register)
        except NtError:
            if Defect.AFFINITY_KEPT not in self.defects:
                kernel.revert(irp.thread, previous)
            raise
        kernel.revert(irp.thread, previous)
        return value

    def _mask(self, processor: Processor) -> int:
        """The affinity mask that stands for a processor in its group."""
        if Defect.AFFINITY_MASK not in self.defects:
            return 1 << processor.number
        return processor.index if self.version.mask_is_index else 0

    def _read(self, irp: Irp, register: int) -> int:
        """Rdmsr where the thread runs."""
        kernel = self._running()
        try:
            return kernel.read_msr(irp.thread.cpu, register)
        except OSError as error:
            if Defect.NO_GUARD in self.defects:
                kernel.bug_check(BUG_CHECK_IN_DRIVER, f"{self.name} read register {register:#x}, which faults here")
            raise NtError(NtStatus.IO_DEVICE_ERROR, f"register {register:#x}") from error

    def _running(self) -> Kernel:
        if self._kernel is None:
            raise RuntimeError("the driver is not loaded")
        return self._kernel
