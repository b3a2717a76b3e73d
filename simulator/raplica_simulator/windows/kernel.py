# SPDX-License-Identifier: Apache-2.0
"""The part of the Windows kernel that drivers meet: names, devices, links, processors, registers, and the blue screen.

Mirrors IoCreateDevice, IoLoadDriver, IopParseDevice, IopDeviceControl and KeBugCheckEx.
"""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import AbstractContextManager
from typing import NoReturn

from raplica_simulator.machine import Machine
from raplica_simulator.windows.ctl_code import FILE_DEVICE_UNKNOWN, CtlCode
from raplica_simulator.windows.io_control import (
    BadPointer,
    Device,
    Driver,
    FileObject,
    Irp,
    Security,
    copy_back,
    make_irp,
)
from raplica_simulator.windows.nt_status import BugCheck, NtError, NtStatus, Win32Error, severity, win32_of
from raplica_simulator.windows.object_names import ObjectNames
from raplica_simulator.windows.processors import GroupAffinity, Processors, Thread

__all__ = ["BOOT_TIME_100NS", "BUG_CHECK_IN_DRIVER", "LARGEST_BUFFER", "Kernel"]

#: 2024-01-01 00:00 UTC in steps of 100 ns since 1601: what the machine's calendar says where nobody sets it.
BOOT_TIME_100NS = 133_485_408_000_000_000

#: SYSTEM_SERVICE_EXCEPTION: what an exception that a driver does not catch ends in (*inferred*).
BUG_CHECK_IN_DRIVER = 0x3B

#: Bytes; for more the pool has no room (*inferred*: the real limit depends on the memory that there is).
LARGEST_BUFFER = 64 << 20

_READ_DATA = 1
_WRITE_DATA = 2


class Kernel:
    """The kernel of one simulated Windows.

    Attributes:
        machine: what it runs on; to be touched within ``lock`` only.
        processors: how it counts the machine's.
        lock: keeps every other caller away from kernel and machine; re-entrant.
        crashed: the bug check that stopped it; None while it runs.
        can_map: whether the caller's memory can be mapped; False is a system without a page table entry left.
        findings: what drivers did that nobody is told of, such as writing behind a buffer, and how often.
    """

    def __init__(
        self,
        machine: Machine,
        processors: Processors,
        *,
        lock: AbstractContextManager[object] | None = None,
        boot_time_100ns: int = BOOT_TIME_100NS,
        stale_link: NtStatus = NtStatus.OBJECT_NAME_NOT_FOUND,
    ) -> None:
        """``stale_link`` is what opening a link without a device gives: 2 or 3 on Windows, which is *unknown*."""
        self.machine = machine
        self.processors = processors
        self.lock: AbstractContextManager[object] = lock if lock is not None else threading.RLock()
        self.crashed: BugCheck | None = None
        self.can_map = True
        self.findings: Counter[str] = Counter()
        self._boot_time_100ns = boot_time_100ns
        self._names = ObjectNames(stale_link)
        self._drivers: list[Driver] = []
        self._entering: Driver | None = None
        self._leaving: list[Driver] = []

    # What drivers call.

    def create_device(
        self,
        name: str,
        *,
        device_type: int = FILE_DEVICE_UNKNOWN,
        exclusive: bool = False,
        security: Security | None = None,
        interface_guid: str | None = None,
    ) -> Device:
        """Make a device of the driver whose ``entry`` runs; with a GUID also the interface that lists it.

        NtError(OBJECT_NAME_COLLISION) where the name is taken.
        """
        if self._entering is None:
            raise RuntimeError("create_device is called from a driver's entry")
        interface = None
        if interface_guid is not None:
            interface = f"\\\\?\\ROOT#{self._entering.name.upper()}#{len(self.devices):04}#{interface_guid}"
        device = Device(name, self._entering, device_type, exclusive, security or Security(), interface_guid, interface)
        self._names.add(device)
        return device

    def delete_device(self, device: Device) -> None:
        """Take a device away."""
        self._names.remove(device)

    def create_symbolic_link(self, link: str, target: str) -> int:
        """Make a name for programs; OBJECT_NAME_COLLISION, as a status, where it is taken, also by a stale one."""
        return self._names.link(link, target)

    def delete_symbolic_link(self, link: str) -> int:
        """Take it away; OBJECT_NAME_NOT_FOUND, as a status, where there is none."""
        return self._names.unlink(link)

    def read_msr(self, cpu: int, register: int) -> int:
        """Rdmsr on the processor of that index; OSError(EIO) where it faults, which nobody but the driver catches."""
        return self.machine.msr.read(self.processors.active[cpu].cpu.number, register)

    def run_on(self, thread: Thread, group: int, mask: int) -> GroupAffinity:
        """KeSetSystemGroupAffinityThread: the affinity to give to :meth:`revert`; nothing moves for a wrong mask."""
        return thread.set_system_affinity(group, mask)

    def revert(self, thread: Thread, previous: GroupAffinity) -> None:
        """KeRevertToUserGroupAffinityThread."""
        thread.revert_affinity(previous)

    def system_time_100ns(self) -> int:
        """KeQuerySystemTime: steps of 100 ns since 1601, from the machine's clock."""
        return self._boot_time_100ns + self.machine.clock.now_ns // 100

    def bug_check(self, code: int, why: str) -> NoReturn:
        """Stop the machine: BugCheck, from now on out of every call."""
        self.crashed = BugCheck(code, why)
        raise self.crashed

    # What the service control manager and programs make it do; all of it under the lock.

    @property
    def drivers(self) -> tuple[Driver, ...]:
        """Those that are loaded, the first one first."""
        return tuple(self._drivers)

    @property
    def devices(self) -> tuple[Device, ...]:
        """The devices that there are."""
        return self._names.devices

    def check(self) -> None:
        """Raise the bug check that stopped the machine, if one did."""
        if self.crashed is not None:
            raise BugCheck(self.crashed.code, self.crashed.why)

    def load(self, driver: Driver) -> None:
        """Run a driver's ``entry``.  Win32Error with the mapped status where that fails; nothing is left then."""
        self.check()
        self._entering = driver
        try:
            status = driver.entry(self)
        except NtError as error:
            status = error.status
        finally:
            self._entering = None
        if severity(status) in ("warning", "error"):
            self._forget(driver)
            raise Win32Error(win32_of(status), driver.name)
        self._drivers.append(driver)

    def unload(self, driver: Driver) -> bool:
        """Unload a driver that can be; False where that waits for its last handle to be closed (*inferred*)."""
        self.check()
        if self._is_open(driver):
            if driver not in self._leaving:
                self._leaving.append(driver)
            return False
        self._let_go(driver)
        return True

    def restart(self) -> None:
        """Begin anew: no drivers, no names, no crash."""
        self.crashed = None
        self._names.clear()
        self._drivers.clear()
        self._leaving.clear()

    def is_loaded(self, driver: Driver) -> bool:
        """Whether it is in memory, also where it only waits for its last handle."""
        return driver in self._drivers

    def interfaces(self, guid: str) -> list[str]:
        """The paths of an interface class that is present; braces and case of the GUID do not matter."""
        wanted = guid.strip("{}").casefold()
        return [
            device.interface
            for device in self.devices
            if device.interface is not None and (device.interface_guid or "").strip("{}").casefold() == wanted
        ]

    def open(self, name: str, path: str, access: int, thread: Thread) -> FileObject:
        """Open what a name of the kernel's leads to; NtError.

        ``access`` has no generic rights any more; ``path`` is how the program called it.
        """
        self.check()
        device, rest = self._names.find(name)
        if device.driver in self._leaving:
            raise NtError(NtStatus.NO_SUCH_DEVICE, path)  # as IopParseDevice of a driver that is to go (inferred)
        if not device.security.allows(thread, access) or (device.exclusive and device.open_handles):
            raise NtError(NtStatus.ACCESS_DENIED, path)
        file = FileObject(device, path, access, thread, rest)
        status = device.driver.create(file)
        if severity(status) in ("warning", "error"):
            raise NtError(status, path)
        device.open_handles += 1
        return file

    def close(self, file: FileObject) -> None:
        """Close it; the last handle of a driver that is to go takes the driver along."""
        self.check()
        device = file.device
        if device is None:
            return
        device.driver.close(file)
        device.open_handles -= 1
        if device.driver in self._leaving and not self._is_open(device.driver):
            self._leaving.remove(device.driver)
            self._let_go(device.driver)

    def refusal(self, file: FileObject, code: CtlCode, longest: int) -> NtStatus | None:
        """Why a request goes no further: rights, no device, no room for ``longest`` bytes; None where it may go on."""
        granted = file.access & (_READ_DATA | _WRITE_DATA)
        if code.access & ~granted:
            return NtStatus.ACCESS_DENIED
        if file.device is None:
            return NtStatus.INVALID_DEVICE_REQUEST
        return NtStatus.INSUFFICIENT_RESOURCES if longest > LARGEST_BUFFER else None

    def control(
        self,
        file: FileObject,
        thread: Thread,
        code: CtlCode,
        data: bytes | BadPointer,
        output: bytearray | BadPointer | None,
    ) -> Irp:
        """Let the driver answer a request for which there is no :meth:`refusal`.

        ``output``, the caller's buffer, is written to, and grows where somebody writes behind it.
        """
        self.check()
        irp = make_irp(file, thread, code, data, output)
        if irp.status == NtStatus.ACCESS_VIOLATION or file.device is None:
            return irp
        size = irp.output_length
        room = len(irp.system_buffer or b"")
        try:
            file.device.driver.device_control(irp)
        except NtError as error:
            irp.status = error.status
        who = file.device.driver.name
        if len(irp.system_buffer or b"") > room:
            self.findings[f"{who}: wrote behind the system buffer"] += 1
        copy_back(irp, output)
        if isinstance(output, bytearray) and len(output) > size:
            self.findings[f"{who}: wrote behind the caller's buffer"] += 1
        if thread.system_affinity is not None:
            self.findings[f"{who}: did not give back the thread's affinity"] += 1
        return irp

    def _is_open(self, driver: Driver) -> bool:
        return any(device.open_handles for device in self.devices if device.driver is driver)

    def _let_go(self, driver: Driver) -> None:
        if driver.unload is None:
            raise RuntimeError(f"{driver.name} has no unload routine")
        driver.unload(self)
        self._forget(driver)

    def _forget(self, driver: Driver) -> None:
        """Nothing of the driver's devices is left; its links are its own business."""
        for device in [device for device in self.devices if device.driver is driver]:
            self.delete_device(device)
        if driver in self._drivers:
            self._drivers.remove(driver)
