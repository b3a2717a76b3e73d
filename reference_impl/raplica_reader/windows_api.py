# SPDX-License-Identifier: Apache-2.0
r"""Make the calls of `windows_calls` on Windows, with ctypes: kernel32, cfgmgr32 and the registry.

Which types each function takes is said to ctypes, because it takes every number for a 32-bit int otherwise, and handles
and pointers have 64 bits. Errors are taken from the copy of GetLastError that ctypes makes right after a call
(`use_last_error`), since the interpreter makes calls of its own in between.

CPUID cannot be asked from Python without a compiler. Windows wrote down what it said when it started, in the registry
key HARDWARE\DESCRIPTION\System\CentralProcessor\0.
"""

import ctypes
import errno
import re
import struct
import sys
import uuid
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from raplica_reader.windows_calls import SHARE, Answer, LogicalProcessor, failure

__all__ = ["GroupAffinity", "WindowsApi", "processors_of", "signature_of", "this_machine"]

OPEN_EXISTING = 3
INSUFFICIENT_BUFFER = 122
CR_SUCCESS, CR_BUFFER_SMALL = 0, 0x1A
PRESENT = 0  # CM_GET_DEVICE_INTERFACE_LIST_PRESENT
TRIES = 10
"""How often a list is asked for anew that has grown between asking for its size and asking for it."""

ALL = 0xFFFF
CORE, PACKAGE, DIE = 0, 3, 5
"""LOGICAL_PROCESSOR_RELATIONSHIP of winnt.h; dies since Windows 10 20H2."""

PROCESSOR_KEY = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
IDENTIFIER = re.compile(r"Family ([0-9]+) Model ([0-9]+) Stepping ([0-9]+)")

BOOL, DWORD, HANDLE, TEXT = ctypes.c_int, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_wchar_p
POINTER = ctypes.c_void_p
INVALID_HANDLE = HANDLE(-1).value
UNTOUCHED = 0xFFFF_FFFF
"""In lpBytesReturned before a call: a call that fails leaves it as it is."""


class Guid(ctypes.Structure):
    """GUID of guiddef.h."""

    _fields_ = (("bytes", ctypes.c_ubyte * 16),)


class GroupAffinityStructure(ctypes.Structure):
    """GROUP_AFFINITY of winnt.h; the mask is as wide as a pointer."""

    _fields_ = (("mask", ctypes.c_size_t), ("group", ctypes.c_uint16), ("reserved", ctypes.c_uint16 * 3))


class GroupAffinity(NamedTuple):
    """A processor group, and a mask of processors in it."""

    group: int
    mask: int


def this_machine() -> "WindowsApi":
    """The calls of the Windows that this runs on; OSError ENOSYS elsewhere."""
    if sys.platform == "win32":
        kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
        cfgmgr32 = ctypes.WinDLL("cfgmgr32", use_last_error=True)
        return WindowsApi(kernel32, cfgmgr32, ctypes.get_last_error, _registry)
    raise OSError(errno.ENOSYS, "this is no Windows")


def _registry(name: str) -> str:
    """A text about the first processor; OSError where it is not there."""
    if sys.platform == "win32":
        import winreg

        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, PROCESSOR_KEY) as key:
            return str(winreg.QueryValueEx(key, name)[0])
    raise OSError(errno.ENOSYS, "this is no Windows")


class WindowsApi:
    """The calls. `kernel32` and `cfgmgr32` are the libraries, `last_error` gives GetLastError of the latest call."""

    def __init__(
        self, kernel32: Any, cfgmgr32: Any, last_error: Callable[[], int], registry: Callable[[str], str]
    ) -> None:
        self._kernel32 = kernel32
        self._cfgmgr32 = cfgmgr32
        self._last_error = last_error
        self._registry = registry
        affinity = ctypes.POINTER(GroupAffinityStructure)
        size, guid = ctypes.POINTER(DWORD), ctypes.POINTER(Guid)
        for function, result, *arguments in (
            (kernel32.CreateFileW, HANDLE, TEXT, DWORD, DWORD, POINTER, DWORD, DWORD, HANDLE),
            (kernel32.DeviceIoControl, BOOL, HANDLE, DWORD, POINTER, DWORD, POINTER, DWORD, size, POINTER),
            (kernel32.CloseHandle, BOOL, HANDLE),
            (kernel32.GetLogicalProcessorInformationEx, BOOL, DWORD, POINTER, size),
            (kernel32.GetCurrentThread, HANDLE),
            (kernel32.SetThreadGroupAffinity, BOOL, HANDLE, affinity, affinity),
            (cfgmgr32.CM_Get_Device_Interface_List_SizeW, DWORD, size, guid, TEXT, DWORD),
            (cfgmgr32.CM_Get_Device_Interface_ListW, DWORD, guid, TEXT, POINTER, DWORD, DWORD),
        ):
            function.restype = result
            function.argtypes = arguments

    def create_file(self, path: str, access: int, share: int = SHARE, flags: int = 0) -> int:
        """CreateFileW of something that exists."""
        handle = self._kernel32.CreateFileW(path, access, share, None, OPEN_EXISTING, flags, None)
        if handle is None or handle == INVALID_HANDLE:
            raise failure(self._last_error(), path)
        return int(handle)

    def device_io_control(self, handle: int, code: int, data: bytes | None, size: int) -> Answer:
        """DeviceIoControl without an OVERLAPPED."""
        # 8 bytes more than it says: a driver that does not look at the length writes a register in any case.
        output = ctypes.create_string_buffer(size + 8)
        written = DWORD(UNTOUCHED)
        ok = self._kernel32.DeviceIoControl(
            handle, code, data, 0 if data is None else len(data), output, size, ctypes.byref(written), None
        )
        error = 0 if ok else self._last_error()
        returned = None if written.value == UNTOUCHED else written.value
        return Answer(bool(ok), error, returned, output.raw[:size])

    def close_handle(self, handle: int) -> None:
        """CloseHandle."""
        if not self._kernel32.CloseHandle(handle):
            raise failure(self._last_error(), f"handle {handle}")

    def device_interfaces(self, guid: str) -> list[str]:
        """CM_Get_Device_Interface_ListW of what is present."""
        interface = Guid.from_buffer_copy(uuid.UUID(guid).bytes_le)
        answer = CR_BUFFER_SMALL
        for _ in range(TRIES):
            length = DWORD()
            answer = self._cfgmgr32.CM_Get_Device_Interface_List_SizeW(
                ctypes.byref(length), ctypes.byref(interface), None, PRESENT
            )
            if answer == CR_SUCCESS:
                texts = ctypes.create_string_buffer(2 * length.value)
                answer = self._cfgmgr32.CM_Get_Device_Interface_ListW(
                    ctypes.byref(interface), None, texts, length.value, PRESENT
                )
                if answer == CR_SUCCESS:
                    return [text for text in texts.raw.decode("utf-16-le", "replace").split("\0") if text]
            if answer != CR_BUFFER_SMALL:
                break
        raise OSError(errno.EIO, f"the devices of {guid} cannot be listed: configuration manager error {answer:#x}")

    def logical_processors(self) -> tuple[LogicalProcessor, ...]:
        """GetLogicalProcessorInformationEx of all relationships."""
        length, error = DWORD(), 0
        for _ in range(TRIES):
            records = ctypes.create_string_buffer(length.value)
            if self._kernel32.GetLogicalProcessorInformationEx(ALL, records, ctypes.byref(length)):
                return processors_of(records.raw[: length.value])
            error = self._last_error()
            if error != INSUFFICIENT_BUFFER:
                break
        raise failure(error, "the processors cannot be listed")

    def cpu_vendor(self) -> str:
        """VendorIdentifier in the registry."""
        return self._registry("VendorIdentifier")

    def cpu_signature(self) -> tuple[int, int, int]:
        """Identifier in the registry."""
        return signature_of(self._registry("Identifier"))

    def set_thread_group_affinity(self, group: int, mask: int) -> GroupAffinity:
        """SetThreadGroupAffinity of this thread."""
        wanted, before = GroupAffinityStructure(mask=mask, group=group), GroupAffinityStructure()
        thread = self._kernel32.GetCurrentThread()
        if not self._kernel32.SetThreadGroupAffinity(thread, ctypes.byref(wanted), ctypes.byref(before)):
            raise failure(self._last_error(), f"this thread cannot run on mask {mask:#x} of processor group {group}")
        return GroupAffinity(before.group, before.mask)


def signature_of(identifier: str) -> tuple[int, int, int]:
    """Family, model and stepping of "Intel64 Family 6 Model 85 Stepping 4"; OSError EBADMSG for another text."""
    found = IDENTIFIER.search(identifier)
    if found is None:
        raise OSError(errno.EBADMSG, f"the registry calls the processor {identifier!r}")
    family, model, stepping = found.groups()
    return int(family), int(model), int(stepping)


def processors_of(records: bytes, pointer: int = ctypes.sizeof(ctypes.c_void_p)) -> tuple[LogicalProcessor, ...]:
    """The processors in a list of SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX (winnt.h).

    Packages, dies and cores are numbered over the machine in the order in which Windows lists them, which has no
    numbers of its own for them. `pointer`: bytes of a pointer, and of an affinity mask. OSError EBADMSG for a list
    that is cut off.
    """
    sets: dict[int, list[set[tuple[int, int]]]] = {CORE: [], PACKAGE: [], DIE: []}
    for relationship, record in _records(records):
        if relationship in sets:
            sets[relationship].append(set(_members(record, pointer)))
    everywhere = sorted(place for core in sets[CORE] for place in core)
    return tuple(
        LogicalProcessor(*place, *(_position(sets[kind], place) for kind in (PACKAGE, DIE, CORE)))
        for place in everywhere
    )


def _records(records: bytes) -> Iterator[tuple[int, bytes]]:
    """Relationship and content of each record, whose head of 8 bytes has its size."""
    at = 0
    while at < len(records):
        relationship, size = struct.unpack("<II", _part(records, at, 8))
        if size < 8:
            raise OSError(errno.EBADMSG, "a list of processors with a record of no size")
        yield relationship, _part(records, at, size)[8:]
        at += size


def _members(record: bytes, pointer: int) -> Iterator[tuple[int, int]]:
    """Group and number of each processor in a PROCESSOR_RELATIONSHIP: 22 bytes, a count, and that many affinities."""
    (count,) = struct.unpack("<H", _part(record, 22, 2))
    affinity = struct.Struct(f"<{'Q' if pointer == 8 else 'I'}H6x")
    for index in range(count):
        mask, group = affinity.unpack(_part(record, 24 + index * affinity.size, affinity.size))
        yield from ((group, number) for number in range(8 * pointer) if mask >> number & 1)


def _part(content: bytes, at: int, size: int) -> bytes:
    """So many bytes, all of which have to be there."""
    if at + size > len(content):
        raise OSError(errno.EBADMSG, "a list of processors that is cut off")
    return content[at : at + size]


def _position(sets: list[set[tuple[int, int]]], place: tuple[int, int]) -> int:
    """Which of the sets a processor is in; 0 where Windows does not tell such sets."""
    return next((index for index, one in enumerate(sets) if place in one), 0)
