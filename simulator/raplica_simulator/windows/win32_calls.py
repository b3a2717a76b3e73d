# SPDX-License-Identifier: Apache-2.0
r"""Windows as a program meets it: CreateFile, DeviceIoControl, CloseHandle and what it can ask about the processors.

Mirrors kernel32 (and cfgmgr32 for device interfaces).  One object is one process; each real thread that calls is
a thread of it, with a place and a last error of its own.  Where a bug check has stopped the machine, every call raises
it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from raplica_simulator.hardware.registers import CpuId
from raplica_simulator.windows.ctl_code import CtlCode
from raplica_simulator.windows.io_control import BadPointer, FileObject
from raplica_simulator.windows.kernel import LARGEST_BUFFER
from raplica_simulator.windows.nt_status import NtError, NtStatus, Win32, Win32Error, severity, win32_of
from raplica_simulator.windows.processors import GroupAffinity, Thread
from raplica_simulator.windows.service_control import ServiceCalls

if TYPE_CHECKING:
    from raplica_simulator.windows.system import WindowsSystem

__all__ = [
    "FILE_FLAG_OVERLAPPED",
    "FILE_SHARE_READ",
    "FILE_SHARE_WRITE",
    "GENERIC_ALL",
    "GENERIC_EXECUTE",
    "GENERIC_READ",
    "GENERIC_WRITE",
    "Completion",
    "ProcessorInfo",
    "Win32Calls",
]

GENERIC_READ = 0x80000000
GENERIC_WRITE = 0x40000000
GENERIC_EXECUTE = 0x20000000
GENERIC_ALL = 0x10000000
FILE_SHARE_READ = 1
FILE_SHARE_WRITE = 2
FILE_FLAG_OVERLAPPED = 0x40000000

_MAXIMUM_ALLOWED = 0x02000000
_GENERIC = {
    GENERIC_READ: 0x120089,
    GENERIC_WRITE: 0x120116,
    GENERIC_EXECUTE: 0x1200A0,
    GENERIC_ALL: 0x1F01FF,
}
_DWORD = (1 << 32) - 1
_UNTOUCHED = 0xCC
_NEVER_IN_A_FILE_NAME = frozenset('<>"|?*') | {chr(code) for code in range(32)}


@dataclass(frozen=True, slots=True)
class Completion:
    """What DeviceIoControl came back with.

    Attributes:
        ok: its return value.
        error: what GetLastError gives for this call; 0 where it succeeded.
        returned: lpBytesReturned; None where that is as it was before.
        output: the caller's buffer afterwards; what nobody wrote to is as it was.  Nothing where it had no address, or
            one that cannot be touched, or is too large to be made here (64 MiB).
        overrun: what was written behind the buffer, into the caller's memory.
    """

    ok: bool
    error: int
    returned: int | None
    output: bytes
    overrun: bytes = b""


class ProcessorInfo(NamedTuple):
    """One logical processor: its group and number there; package, die and core are counted over the machine."""

    group: int
    number: int
    package: int
    die: int
    core: int


class Win32Calls:
    """One process.  All its methods may be called from any number of real threads.

    Attributes:
        system: the Windows that it runs on.
        services: its calls of the service control manager.
    """

    def __init__(self, system: WindowsSystem, *, administrator: bool, cpu: int) -> None:
        """Its threads begin on the processor of index ``cpu``; ValueError where there is none."""
        self.system = system
        self._kernel = system.kernel
        self._administrator = administrator
        self._cpu = cpu
        self._threads = threading.local()
        self._files: dict[int, FileObject] = {}
        self._handles = 0
        Thread(self._kernel.processors, cpu=cpu)  # ValueError now, not in a thread later
        self.services = ServiceCalls(system.services, administrator=administrator, set_last_error=self._set_last_error)

    @property
    def thread(self) -> Thread:
        """The calling thread as Windows sees it."""
        thread: Thread | None = getattr(self._threads, "thread", None)
        if thread is None:
            thread = Thread(self._kernel.processors, cpu=self._cpu, administrator=self._administrator)
            self._threads.thread = thread
        return thread

    def create_file(self, path: str, access: int, share: int = 3, flags: int = 0) -> int:
        r"""Open a device, ``\\.\Name`` or one in full, or a driver's image, and return the handle.

        Win32Error: 2 where there is none (also behind a stale link, unless the system says 3), 5 without the right,
        123 for an empty or impossible name, or what the driver answers.  ``share`` and ``flags`` have no effect on the
        devices here (*inferred*): no driver asks for share checks, and all of them finish at once.
        """
        del share, flags
        with self._kernel.lock:
            self._kernel.check()
            thread = self.thread
            name = _kernel_name(path)
            if name is None:
                self._fail(Win32.INVALID_NAME, path)
            rights = _resolved(access & _DWORD, administrator=thread.administrator)
            try:
                if name.startswith("\\??\\") and self.system.has_image(path):
                    file = FileObject(None, path, rights, thread)
                else:
                    file = self._kernel.open(name, path, rights, thread)
            except NtError as error:
                self._fail(win32_of(error.status), path)
            self._handles += 4
            self._files[self._handles] = file
            return self._handles

    def device_io_control(
        self,
        handle: int,
        code: int,
        data: bytes | BadPointer | None = None,
        size: int = 0,
        *,
        overlapped: bool = False,
        buffer: bytes | BadPointer | None = None,
    ) -> Completion:
        """Ask a device.  A FALSE return is no exception here: see :class:`Completion`.

        ``size`` is the output buffer's length, ``buffer`` what it holds before (default: 0xCC everywhere; without any
        length NULL).  ``overlapped`` says that an OVERLAPPED is given, which only tells for a status of PENDING.
        """
        with self._kernel.lock:
            self._kernel.check()
            size &= _DWORD
            asked = CtlCode.of(code & _DWORD)
            given = b"" if data is None else data
            longest = max(size, given.length if isinstance(given, BadPointer) else len(given))
            file = self._files.get(handle)
            status: int | None = NtStatus.INVALID_HANDLE
            if file is not None:
                status = self._kernel.refusal(file, asked, longest)
            output = _caller_buffer(size, buffer) if longest <= LARGEST_BUFFER else None
            returned = None
            if file is not None and status is None:
                irp = self._kernel.control(file, self.thread, asked, given, output)
                status, returned = irp.status, irp.information
            return self._completion(status or 0, returned, output, size, overlapped=overlapped)

    def close_handle(self, handle: int) -> None:
        """Close a handle; Win32Error(6) for one that is not open."""
        with self._kernel.lock:
            self._kernel.check()
            file = self._files.pop(handle, None)
            if file is None:
                self._fail(Win32.INVALID_HANDLE, f"handle {handle}")
            self._kernel.close(file)

    def get_last_error(self) -> int:
        """The calling thread's last error; a call that succeeds leaves it alone."""
        with self._kernel.lock:
            self._kernel.check()
            return self.thread.last_error

    def set_thread_group_affinity(self, group: int, mask: int) -> GroupAffinity:
        """Let the calling thread run only there; returns the affinity before.

        Win32Error(87) for a group that does not exist, an empty mask, or a bit for which there is no processor.
        """
        with self._kernel.lock:
            self._kernel.check()
            previous = self.thread.set_affinity(group, mask)
            if previous is None:
                self._fail(Win32.INVALID_PARAMETER, f"group {group}, mask {mask:#x}")
            return previous

    def device_interfaces(self, guid: str) -> list[str]:
        """The paths of the devices of an interface class that are present (CM_Get_Device_Interface_List)."""
        with self._kernel.lock:
            self._kernel.check()
            return self._kernel.interfaces(guid)

    def logical_processors(self) -> tuple[ProcessorInfo, ...]:
        """Every active processor, group by group (GetLogicalProcessorInformationEx)."""
        with self._kernel.lock:
            self._kernel.check()
            return tuple(
                ProcessorInfo(one.group, one.number, one.cpu.package, one.cpu.logical_die, one.cpu.core_index)
                for one in self._kernel.processors.active
            )

    def cpu_vendor(self) -> str:
        """What CPUID leaf 0 says, such as ``GenuineIntel``."""
        return self._cpu_id().vendor

    def cpu_signature(self) -> tuple[int, int, int]:
        """Family, model and stepping out of CPUID leaf 1, extended parts added."""
        cpu = self._cpu_id()
        return cpu.family, cpu.model, cpu.stepping

    def forget_handles(self) -> None:
        """What a reboot leaves of a process: no handle is good any more."""
        self._files.clear()
        self._threads = threading.local()

    def exit(self) -> None:
        """The process ends: what it holds open is closed, whatever state the machine is in."""
        with self._kernel.lock:
            files, self._files = list(self._files.values()), {}
            if self._kernel.crashed is None:
                for file in files:
                    self._kernel.close(file)
            self.services.close_all()

    def _cpu_id(self) -> CpuId:
        with self._kernel.lock:
            self._kernel.check()
            return self._kernel.machine.profile.cpu.id

    def _set_last_error(self, error: int) -> None:
        self.thread.last_error = int(error)

    def _completion(
        self, status: int, returned: int | None, output: bytearray | BadPointer | None, size: int, *, overlapped: bool
    ) -> Completion:
        grade = severity(status)
        ok = grade in ("success", "information") and not (overlapped and status == NtStatus.PENDING)
        error = 0 if ok else win32_of(status)
        if not ok:
            self.thread.last_error = error
        memory = bytes(output) if isinstance(output, bytearray) else b""
        return Completion(ok, error, None if grade == "error" else returned, memory[:size], memory[size:])

    def _fail(self, error: int, subject: str) -> NoReturn:
        self._set_last_error(error)
        raise Win32Error(error, subject)


def _kernel_name(path: str) -> str | None:
    r"""The kernel's name for what a program calls ``path``; None for a name that cannot be one."""
    for prefix, place in (
        ("\\\\?\\GLOBALROOT\\", "\\"),
        ("\\\\.\\GLOBALROOT\\", "\\"),
        ("\\\\.\\", "\\??\\"),
        ("\\\\?\\", "\\??\\"),
    ):
        if path.casefold().startswith(prefix.casefold()):
            rest = path[len(prefix) :]
            return None if not rest or "\0" in rest else place + rest
    if not path or _NEVER_IN_A_FILE_NAME & set(path):
        return None
    return "\\??\\" + path


def _resolved(access: int, *, administrator: bool) -> int:
    """The rights that are asked for, generic ones replaced, with those that CreateFile always asks for."""
    rights = access & ~(_MAXIMUM_ALLOWED | sum(_GENERIC)) | 0x100080  # SYNCHRONIZE, FILE_READ_ATTRIBUTES
    for generic, meaning in _GENERIC.items():
        if access & generic:
            rights |= meaning
    if access & _MAXIMUM_ALLOWED:
        rights |= _GENERIC[GENERIC_ALL] if administrator else 0x1201BF
    return rights


def _caller_buffer(size: int, buffer: bytes | BadPointer | None) -> bytearray | BadPointer | None:
    if isinstance(buffer, BadPointer):
        return BadPointer(size)
    if buffer is None:
        return bytearray([_UNTOUCHED]) * size if size else None
    return bytearray(buffer[:size].ljust(size, bytes([_UNTOUCHED])))
