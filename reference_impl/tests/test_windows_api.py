# SPDX-License-Identifier: Apache-2.0
"""The calls of Windows through ctypes, with functions in place of the libraries.

Each stands behind a C function pointer of the very types that the reader declares, so every argument goes through the
same conversion as on Windows: what is cut to 32 bits there is cut here.
"""

from __future__ import annotations

import ctypes
import errno
import struct
import sys
import uuid
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from raplica_reader import windows_api
from raplica_reader.windows_api import GroupAffinityStructure, WindowsApi, processors_of, signature_of, this_machine
from raplica_reader.windows_calls import LogicalProcessor

BIG = 0x7FFF_1234_5678_9ABC
"""A handle that does not fit 32 bits."""
GUID = "{45BD8344-7ED6-49CF-A440-C276C933B053}"


class Function:
    """A function of a library: what it does, and the types that the reader says it has."""

    argtypes: Any = None
    restype: Any = None

    def __init__(self, does: Callable[..., Any]) -> None:
        self.does = does

    def __call__(self, *arguments: Any) -> Any:
        pointer = ctypes.CFUNCTYPE(self.restype, *self.argtypes)(self.does)
        called = ctypes.CFUNCTYPE(self.restype, *self.argtypes)(ctypes.cast(pointer, ctypes.c_void_p).value or 0)
        return called(*arguments)


class Library:
    """A library whose functions are attributes; those that nobody set fail."""

    def __init__(self, **functions: Callable[..., Any]) -> None:
        for name, does in functions.items():
            setattr(self, name, Function(does))

    def __getattr__(self, name: str) -> Function:
        def missing(*_: Any) -> int:
            raise AssertionError(f"{name} is not expected")

        function = Function(missing)
        setattr(self, name, function)
        return function


def api(last_error: int = 0, registry: dict[str, str] | None = None, **functions: Callable[..., Any]) -> WindowsApi:
    library = Library(**functions)
    return WindowsApi(library, library, lambda: last_error, lambda name: (registry or {})[name])


def test_a_file_is_opened_with_all_that_it_takes() -> None:
    asked = []

    def create(*arguments: Any) -> int:
        asked.append(arguments)
        return BIG

    assert api(CreateFileW=create).create_file(r"\\.\ScaphandreDriver", 0xC0000000) == BIG
    assert asked == [(r"\\.\ScaphandreDriver", 0xC0000000, 3, None, 3, 0, None)]


@pytest.mark.parametrize("handle", [ctypes.c_void_p(-1).value, None])
def test_what_cannot_be_opened_is_an_error(handle: int | None) -> None:
    with pytest.raises(FileNotFoundError, match=r"\\\\\.\\Missing: Windows error 2 FILE_NOT_FOUND"):
        api(2, CreateFileW=lambda *_: handle).create_file(r"\\.\Missing", 0x80000000)


def test_a_control_code_is_sent_with_its_input_and_the_output_comes_back() -> None:
    asked = []

    def control(*arguments: Any) -> int:
        handle, code, data, length, output, size, returned, overlapped = arguments
        asked.append((handle, code, ctypes.string_at(data, length), size, overlapped, returned[0]))
        ctypes.memmove(output, b"\x11\x22\x33\x44\x55\x66\x77\x88", 8)
        returned[0] = 8
        return 1

    answer = api(DeviceIoControl=control).device_io_control(BIG, 0x9C402084, b"\x06\x06\0\0\1\0\0\0", 8)
    assert asked == [(BIG, 0x9C402084, b"\x06\x06\0\0\1\0\0\0", 8, None, 0xFFFFFFFF)]
    assert answer == (True, 0, 8, b"\x11\x22\x33\x44\x55\x66\x77\x88")


def test_no_input_is_no_pointer() -> None:
    asked = []

    def control(*arguments: Any) -> int:
        asked.append(arguments[2:4])
        arguments[6][0] = 2
        return 1

    assert api(DeviceIoControl=control).device_io_control(4, 0x224000, None, 2).returned == 2
    assert asked == [(None, 0)]


def test_a_call_that_fails_is_told_with_its_error_and_without_a_length() -> None:
    answer = api(1117, DeviceIoControl=lambda *_: 0).device_io_control(4, 0x22D844, bytes(8), 8)
    assert answer == (False, 1117, None, bytes(8))


def test_a_driver_that_writes_a_register_into_a_shorter_buffer_harms_nobody() -> None:
    def control(*arguments: Any) -> int:
        ctypes.memmove(arguments[4], b"\xff" * 8, 8)
        arguments[6][0] = 8
        return 1

    assert api(DeviceIoControl=control).device_io_control(4, 0x22D844, bytes(8), 2) == (True, 0, 8, b"\xff\xff")


def test_a_handle_is_closed_whole() -> None:
    closed: list[int] = []

    def close(handle: int) -> int:
        closed.append(handle)
        return 1

    api(CloseHandle=close).close_handle(BIG)
    assert closed == [BIG]
    with pytest.raises(OSError, match="Windows error 6 INVALID_HANDLE"):
        api(6, CloseHandle=lambda _: 0).close_handle(4)


class Interfaces:
    """The configuration manager's list of interfaces, which grows `growing` times while it is asked for."""

    def __init__(self, *paths: str, growing: int = 0, answer: int = 0) -> None:
        self.text = "".join(f"{path}\0" for path in paths) + "\0"
        self.growing = growing
        self.answer = answer
        self.guids: list[bytes] = []

    def size(self, length: Any, guid: Any, device: str | None, flags: int) -> int:
        self.guids.append(bytes(guid.contents.bytes))
        assert (device, flags) == (None, 0)
        length[0] = len(self.text)
        return self.answer

    def list(self, guid: Any, device: str | None, buffer: int, length: int, flags: int) -> int:
        self.guids.append(bytes(guid.contents.bytes))
        assert (device, flags) == (None, 0)
        if self.growing:
            self.growing -= 1
            return 0x1A
        encoded = self.text.encode("utf-16-le")
        assert length * 2 == len(encoded)
        ctypes.memmove(buffer, encoded, len(encoded))
        return 0

    def api(self) -> WindowsApi:
        return api(CM_Get_Device_Interface_List_SizeW=self.size, CM_Get_Device_Interface_ListW=self.list)


@pytest.mark.parametrize("paths", [(), ("\\\\?\\one",), ("\\\\?\\one", "\\\\?\\zwei-ä")])
@pytest.mark.parametrize("growing", [0, 2])
def test_interfaces_are_listed_by_their_guid(paths: tuple[str, ...], growing: int) -> None:
    interfaces = Interfaces(*paths, growing=growing)
    assert interfaces.api().device_interfaces(GUID) == list(paths)
    assert set(interfaces.guids) == {bytes.fromhex("4483bd45d67ecf49a440c276c933b053")}
    assert uuid.UUID(bytes_le=interfaces.guids[0]) == uuid.UUID(GUID)


@pytest.mark.parametrize("interfaces", [Interfaces(answer=0x22), Interfaces(growing=99)])
def test_interfaces_that_cannot_be_listed_are_an_error(interfaces: Interfaces) -> None:
    with pytest.raises(OSError, match=r"configuration manager error 0x(22|1a)"):
        interfaces.api().device_interfaces(GUID)


def affinity(group: int, mask: int, pointer: int = 8) -> bytes:
    return struct.pack("<QH6x" if pointer == 8 else "<IH6x", mask, group)


def record(relationship: int, *affinities: tuple[int, int], pointer: int = 8) -> bytes:
    """A SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX with a PROCESSOR_RELATIONSHIP."""
    content = bytes(22) + struct.pack("<H", len(affinities)) + b"".join(affinity(*one, pointer) for one in affinities)
    return struct.pack("<II", relationship, 8 + len(content)) + content


TWO_PACKAGES = b"".join(
    (
        record(3, (0, 0b1111)),
        record(0, (0, 0b0011)),
        record(0, (0, 0b1100)),
        struct.pack("<II", 2, 16) + bytes(8),  # a cache, which nobody asked for
        record(3, (1, 0b11)),
        record(0, (1, 0b11)),
    )
)
PLACES = (
    LogicalProcessor(0, 0, 0, 0, 0),
    LogicalProcessor(0, 1, 0, 0, 0),
    LogicalProcessor(0, 2, 0, 0, 1),
    LogicalProcessor(0, 3, 0, 0, 1),
    LogicalProcessor(1, 0, 1, 0, 2),
    LogicalProcessor(1, 1, 1, 0, 2),
)


def test_processors_are_placed_by_their_groups_and_masks() -> None:
    assert processors_of(TWO_PACKAGES, 8) == PLACES


def test_a_package_may_lie_in_two_groups_and_have_dies() -> None:
    records = b"".join(
        (
            record(3, (0, 1 << 63), (1, 1)),
            record(5, (0, 1 << 63)),
            record(5, (1, 1)),
            record(0, (0, 1 << 63)),
            record(0, (1, 1)),
        )
    )
    assert processors_of(records, 8) == (LogicalProcessor(0, 63, 0, 0, 0), LogicalProcessor(1, 0, 0, 1, 1))


def test_masks_have_32_bits_where_pointers_do() -> None:
    records = record(3, (0, 0b11), pointer=4) + record(0, (0, 0b11), pointer=4)
    assert processors_of(records, 4) == (LogicalProcessor(0, 0, 0, 0, 0), LogicalProcessor(0, 1, 0, 0, 0))


@pytest.mark.parametrize("cut", [1, 9, 40])
def test_a_list_of_processors_that_is_cut_off_is_an_error(cut: int) -> None:
    with pytest.raises(OSError, match="cut off") as wrong:
        processors_of(TWO_PACKAGES[:-cut], 8)
    assert wrong.value.errno == errno.EBADMSG


def test_a_record_without_a_size_is_an_error_and_no_endless_loop() -> None:
    with pytest.raises(OSError, match="no size"):
        processors_of(bytes(64), 8)


def test_a_record_that_is_shorter_than_what_it_counts_is_an_error() -> None:
    whole = record(0, (0, 1))
    short = struct.pack("<II", 0, len(whole) - 8) + whole[8:-8]
    with pytest.raises(OSError, match="cut off"):
        processors_of(short, 8)
    with pytest.raises(OSError, match="cut off"):
        processors_of(struct.pack("<II", 0, 12) + bytes(4), 8)


def test_processors_are_asked_for_with_as_much_room_as_they_take() -> None:
    asked = []

    def information(relationship: int, buffer: int, length: Any) -> int:
        asked.append((relationship, length[0]))
        if length[0] < len(TWO_PACKAGES):
            length[0] = len(TWO_PACKAGES)
            return 0
        ctypes.memmove(buffer, TWO_PACKAGES, len(TWO_PACKAGES))
        return 1

    assert api(122, GetLogicalProcessorInformationEx=information).logical_processors() == PLACES
    assert asked == [(0xFFFF, 0), (0xFFFF, len(TWO_PACKAGES))]


@pytest.mark.parametrize("error", [87, 122])
def test_processors_that_cannot_be_listed_are_an_error(error: int) -> None:
    with pytest.raises(OSError, match=f"Windows error {error} "):
        api(error, GetLogicalProcessorInformationEx=lambda *_: 0).logical_processors()


def test_this_thread_is_moved_and_what_was_before_is_told() -> None:
    asked = []

    def move(thread: int, wanted: Any, before: Any) -> int:
        asked.append((thread, wanted.contents.group, wanted.contents.mask, bytes(wanted.contents.reserved)))
        before.contents.group, before.contents.mask = 0, 0xFFFF_FFFF_FFFF
        return 1

    calls = api(GetCurrentThread=lambda: BIG, SetThreadGroupAffinity=move)
    assert calls.set_thread_group_affinity(1, 1 << 63) == (0, 0xFFFF_FFFF_FFFF)
    assert asked == [(BIG, 1, 1 << 63, bytes(6))]
    assert ctypes.sizeof(GroupAffinityStructure) == 16


def test_a_thread_that_cannot_be_moved_is_an_error() -> None:
    with pytest.raises(OSError, match="mask 0x4 of processor group 9: Windows error 87") as refused:
        api(87, GetCurrentThread=lambda: 0, SetThreadGroupAffinity=lambda *_: 0).set_thread_group_affinity(9, 4)
    assert refused.value.errno == errno.EINVAL


def test_the_processor_is_read_in_the_registry() -> None:
    registry = {"VendorIdentifier": "AuthenticAMD", "Identifier": "AMD64 Family 25 Model 97 Stepping 2"}
    calls = api(registry=registry)
    assert (calls.cpu_vendor(), calls.cpu_signature()) == ("AuthenticAMD", (25, 97, 2))
    assert signature_of("Intel64 Family 6 Model 85 Stepping 4") == (6, 85, 4)
    with pytest.raises(OSError, match="'ARMv8'"):
        signature_of("ARMv8")


def test_elsewhere_there_is_no_windows() -> None:
    for call in (this_machine, lambda: windows_api._registry("Identifier")):
        with pytest.raises(OSError, match="no Windows") as refused:
            call()
        assert refused.value.errno == errno.ENOSYS


def test_on_windows_the_libraries_and_the_registry_are_windows_own(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []

    def load(name: str, *, use_last_error: bool) -> Library:
        loaded.append((name, use_last_error))
        return Library(CreateFileW=lambda *_: -1)

    class Key:
        def __enter__(self) -> str:
            return "key"

        def __exit__(self, *_: object) -> None: ...

    winreg = ModuleType("winreg")
    winreg.__dict__.update(
        HKEY_LOCAL_MACHINE="HKLM",
        OpenKey=lambda root, path: Key() if (root, path) == ("HKLM", windows_api.PROCESSOR_KEY) else None,
        QueryValueEx=lambda key, name: (f"{key} {name} Family 6 Model 142 Stepping 9", 1),
    )
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(ctypes, "WinDLL", load, raising=False)
    monkeypatch.setattr(ctypes, "get_last_error", lambda: 5, raising=False)
    monkeypatch.setitem(sys.modules, "winreg", winreg)
    calls = this_machine()
    assert loaded == [("kernel32", True), ("cfgmgr32", True)]
    assert calls.cpu_signature() == (6, 142, 9)
    with pytest.raises(PermissionError, match="Windows error 5 ACCESS_DENIED"):
        calls.create_file("x", 0)


def test_the_types_are_those_of_the_headers() -> None:
    library = SimpleNamespace(
        **{
            name: SimpleNamespace()
            for name in (
                "CreateFileW",
                "DeviceIoControl",
                "CloseHandle",
                "GetLogicalProcessorInformationEx",
                "GetCurrentThread",
                "SetThreadGroupAffinity",
                "CM_Get_Device_Interface_List_SizeW",
                "CM_Get_Device_Interface_ListW",
            )
        }
    )
    WindowsApi(library, library, int, str)
    sizes = {
        name: ([ctypes.sizeof(one) for one in function.argtypes], ctypes.sizeof(function.restype))
        for name, function in vars(library).items()
    }
    assert sizes == {
        "CreateFileW": ([8, 4, 4, 8, 4, 4, 8], 8),
        "DeviceIoControl": ([8, 4, 8, 4, 8, 4, 8, 8], 4),
        "CloseHandle": ([8], 4),
        "GetLogicalProcessorInformationEx": ([4, 8, 8], 4),
        "GetCurrentThread": ([], 8),
        "SetThreadGroupAffinity": ([8, 8, 8], 4),
        "CM_Get_Device_Interface_List_SizeW": ([8, 8, 8, 4], 4),
        "CM_Get_Device_Interface_ListW": ([8, 8, 8, 4, 4], 4),
    }
