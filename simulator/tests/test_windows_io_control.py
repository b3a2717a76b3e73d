# SPDX-License-Identifier: Apache-2.0
"""Windows: CreateFile, DeviceIoControl and what the I/O manager does, with a driver that ends as it is told to."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator import Machine
from raplica_simulator.windows.ctl_code import Access, CtlCode, Method
from raplica_simulator.windows.io_control import BadPointer, Device, FileObject, Irp, Security
from raplica_simulator.windows.kernel import Kernel
from raplica_simulator.windows.nt_status import NtError, NtStatus, Win32, Win32Error
from raplica_simulator.windows.processors import GroupAffinity
from raplica_simulator.windows.system import WindowsSystem
from raplica_simulator.windows.win32_calls import (
    GENERIC_ALL,
    GENERIC_EXECUTE,
    GENERIC_READ,
    GENERIC_WRITE,
    Completion,
    Win32Calls,
)

PATH = r"\\.\Echo"
GUID = "{45BD8344-7ED6-49CF-A440-C276C933B053}"
BUFFERED = CtlCode(0x22, 0x800).value
OUT_DIRECT = CtlCode(0x22, 0x800, Method.OUT_DIRECT).value
IN_DIRECT = CtlCode(0x22, 0x800, Method.IN_DIRECT).value
NEITHER = CtlCode(0x22, 0x800, Method.NEITHER).value


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


class Resident(Echo):
    """A driver that cannot be unloaded."""

    unload = None  # type: ignore[assignment]


@pytest.fixture(scope="module")
def machine() -> Machine:
    return Machine.from_profile("kabylake")


@pytest.fixture
def driver() -> Echo:
    return Echo()


@pytest.fixture
def system(machine: Machine, driver: Echo) -> WindowsSystem:
    return WindowsSystem.with_driver(machine, driver)


@pytest.fixture
def process(system: WindowsSystem) -> Win32Calls:
    return system.process()


@pytest.fixture
def handle(process: Win32Calls) -> int:
    return process.create_file(PATH, GENERIC_READ | GENERIC_WRITE)


def code(call: Callable[[], object]) -> int:
    with pytest.raises(Win32Error) as caught:
        call()
    return caught.value.winerror


# CreateFile


@pytest.mark.parametrize(
    "path", [PATH, r"\\.\eCHO", r"\\?\Echo", r"\\?\GLOBALROOT\Device\Echo", r"\\.\GLOBALROOT\device\echo"]
)
def test_a_device_is_found_by_each_of_its_names_whatever_their_case(process: Win32Calls, path: str) -> None:
    assert process.create_file(path, 0) > 0


def test_what_follows_the_devices_name_is_the_drivers_business(process: Win32Calls, driver: Echo) -> None:
    process.create_file(r"\\.\Echo\Folder\x", 0)
    process.create_file(r"\\?\GLOBALROOT\Device\Echo\y", 0)
    assert [file.name for file in driver.files] == [r"\Folder\x", r"\y"]


@pytest.mark.parametrize(
    ("path", "error"),
    [
        (r"\\.\Other", 2),
        (r"\\.\Ech", 2),
        (r"\\?\GLOBALROOT\Device\Ech", 2),
        (r"\\?\GLOBALROOT\Device\Echoes", 2),
        (r"C:\Windows\none.sys", 2),
        ("", 123),
        ("\\\\.\\", 123),
        ("\\\\.\\Echo\0", 123),
        ("a?b", 123),
        ("a\nb", 123),
    ],
)
def test_a_name_that_leads_nowhere_is_told_and_remembered(process: Win32Calls, path: str, error: int) -> None:
    assert code(lambda: process.create_file(path, GENERIC_READ)) == error
    assert process.get_last_error() == error


def test_no_call_that_succeeds_clears_the_last_error(process: Win32Calls, handle: int) -> None:
    code(lambda: process.create_file(r"\\.\Other", 0))
    assert process.device_io_control(handle, BUFFERED).ok
    assert process.get_last_error() == 2


@pytest.mark.parametrize("name", ["AnotherThread", "Main"])
def test_each_thread_has_a_last_error_of_its_own(process: Win32Calls, name: str) -> None:
    errors: list[int] = []

    def ask() -> None:
        errors.append(process.get_last_error())

    code(lambda: process.create_file(r"\\.\Other", 0))
    if name == "Main":
        ask()
    else:
        other = threading.Thread(target=ask)
        other.start()
        other.join()
    assert errors == [2 if name == "Main" else 0]


@pytest.mark.parametrize(
    ("access", "administrator", "granted"),
    [
        (GENERIC_READ | GENERIC_WRITE | GENERIC_EXECUTE, False, True),
        (GENERIC_ALL, False, False),
        (GENERIC_ALL, True, True),
        (0x40000, False, False),  # WRITE_DAC
        (0x40000, True, True),
        (0x02000000, False, True),  # MAXIMUM_ALLOWED
        (0x02000000, True, True),
        (0, False, True),
    ],
)
def test_everybody_may_read_and_write_and_the_rest_is_for_administrators(
    system: WindowsSystem, access: int, *, administrator: bool, granted: bool
) -> None:
    process = system.process(administrator=administrator)
    if granted:
        assert process.create_file(PATH, access) == 4
    else:
        assert code(lambda: process.create_file(PATH, access)) == 5


def test_a_device_may_be_for_administrators_alone(machine: Machine) -> None:
    system = WindowsSystem.with_driver(machine, Echo(security=Security(everyone=0)))
    assert code(lambda: system.process(administrator=False).create_file(PATH, GENERIC_READ)) == 5
    assert system.process().create_file(PATH, GENERIC_READ) == 4


def test_an_exclusive_device_is_open_once(machine: Machine) -> None:
    system = WindowsSystem.with_driver(machine, Echo(exclusive=True))
    process = system.process()
    first = process.create_file(PATH, 0)
    assert code(lambda: process.create_file(PATH, 0)) == 5
    process.close_handle(first)
    assert process.create_file(PATH, 0) == 8


@pytest.mark.parametrize(("status", "error"), [(NtStatus.DEVICE_NOT_READY, 21), (0xC0DEAD00, 317)])
def test_what_the_drivers_create_refuses_is_the_callers_error(
    process: Win32Calls, driver: Echo, status: int, error: int
) -> None:
    driver.create_status = status
    assert code(lambda: process.create_file(PATH, 0)) == error
    assert driver.made[0].open_handles == 0


def test_handles_that_share_nothing_do_not_keep_others_out(process: Win32Calls, driver: Echo) -> None:
    handles = {process.create_file(PATH, GENERIC_READ, 0) for _ in range(10)}
    assert len(handles) == 10
    assert driver.made[0].open_handles == 10


@pytest.mark.parametrize("handle", [0, -1, 3, 8, 1 << 70])
def test_a_handle_that_is_not_open_is_told(process: Win32Calls, handle: int) -> None:
    process.create_file(PATH, 0)
    done = process.device_io_control(handle, BUFFERED, b"12345678", 8)
    assert done == Completion(False, 6, None, b"\xcc" * 8)
    assert process.get_last_error() == 6
    assert code(lambda: process.close_handle(handle)) == 6


def test_a_closed_handle_is_no_handle(process: Win32Calls, driver: Echo, handle: int) -> None:
    process.close_handle(handle)
    assert process.device_io_control(handle, BUFFERED, b"", 8).error == 6
    assert code(lambda: process.close_handle(handle)) == 6
    assert not driver.files


def test_a_handle_belongs_to_its_process(system: WindowsSystem, handle: int) -> None:
    assert system.process().device_io_control(handle, BUFFERED).error == 6


# DeviceIoControl


@pytest.mark.parametrize("wanted", range(4))
@pytest.mark.parametrize("granted", range(4))
def test_a_code_needs_the_rights_that_stand_in_it(process: Win32Calls, driver: Echo, wanted: int, granted: int) -> None:
    access = (GENERIC_READ if granted & 1 else 0) | (GENERIC_WRITE if granted & 2 else 0)
    handle = process.create_file(PATH, access)
    done = process.device_io_control(handle, CtlCode(0x22, 0x800, access=Access(wanted)).value, bytes(8), 8)
    allowed = not wanted & ~granted
    assert (done.ok, done.error) == (allowed, 0 if allowed else 5)
    assert len(driver.irps) == allowed


def test_rights_are_looked_at_before_addresses_and_addresses_before_the_driver(
    process: Win32Calls, driver: Echo
) -> None:
    handle = process.create_file(PATH, 0)
    needs = CtlCode(0x22, 0x800, access=Access.READ).value
    assert process.device_io_control(handle, needs, BadPointer(8), 8).error == 5
    assert process.device_io_control(handle, BUFFERED, BadPointer(8), 8).error == 998
    assert process.device_io_control(handle, OUT_DIRECT, b"", 8, buffer=BadPointer()).error == 998
    assert not driver.irps


@pytest.mark.parametrize("method", [BUFFERED, IN_DIRECT, OUT_DIRECT])
def test_an_address_of_no_bytes_is_not_touched(process: Win32Calls, driver: Echo, handle: int, method: int) -> None:
    assert process.device_io_control(handle, method, BadPointer(0), 0, buffer=BadPointer()).ok
    (irp,) = driver.irps
    assert (irp.input, irp.system_buffer, irp.mdl, irp.user_buffer) == (b"", None, None, None)


def test_neither_lets_wrong_addresses_reach_the_driver(process: Win32Calls, driver: Echo, handle: int) -> None:
    assert process.device_io_control(handle, NEITHER, BadPointer(8), 8, buffer=BadPointer()).ok
    (irp,) = driver.irps
    assert (irp.input, irp.output_length, irp.user_buffer) == (b"", 8, None)


def test_a_buffered_request_has_one_buffer_as_long_as_the_longer_side(
    process: Win32Calls, driver: Echo, handle: int
) -> None:
    for data, size, wanted in ((b"abc", 5, b"abc\0\0"), (b"abcde", 2, b"abcde"), (b"", 2, b"\0\0"), (None, 0, None)):
        process.device_io_control(handle, BUFFERED, data, size)
        assert driver.irps[-1].system_buffer == wanted
        assert driver.irps[-1].mdl is None


@pytest.mark.parametrize("method", [IN_DIRECT, OUT_DIRECT])
def test_a_direct_request_has_the_input_copied_and_the_callers_own_output(
    process: Win32Calls, driver: Echo, handle: int, method: int
) -> None:
    driver.written = b"xyz"
    done = process.device_io_control(handle, method, b"abc", 4)
    assert (done.ok, done.returned, done.output) == (True, 0, b"xyz\xcc")  # the bytes are there, whatever the count
    first = driver.irps[-1]
    assert bytes(first.system_buffer or b"") == b"abc"
    process.device_io_control(handle, method, b"", 0)
    second = driver.irps[-1]
    assert second.system_buffer is None
    assert second.mdl is None


def test_neither_hands_the_callers_own_buffer_over(process: Win32Calls, driver: Echo, handle: int) -> None:
    driver.written, driver.information = b"xyz", 3
    done = process.device_io_control(handle, NEITHER, b"abc", 4)
    assert (done.returned, done.output) == (3, b"xyz\xcc")
    assert driver.irps[-1].system_buffer is None


@pytest.mark.parametrize(
    ("status", "ok", "error", "counts"),
    [
        (0x00000000, True, 0, True),
        (0x00000102, True, 0, True),
        (0x00000103, True, 0, True),
        (0x40000000, True, 0, True),
        (0x80000005, False, 234, True),
        (0xC0000023, False, 122, False),
        (0xC0DEAD00, False, 317, False),
        (0xC0000096, False, 3221225622, False),
    ],
)
def test_a_warning_brings_bytes_and_an_error_and_an_error_brings_none(
    process: Win32Calls, driver: Echo, handle: int, status: int, *, ok: bool, error: int, counts: bool
) -> None:
    driver.status, driver.information, driver.written = status, 3, b"xyz"
    done = process.device_io_control(handle, BUFFERED, b"", 5)
    assert (done.ok, done.error, done.returned) == (ok, error, 3 if counts else None)
    assert done.output == (b"xyz\xcc\xcc" if counts else b"\xcc" * 5)
    assert process.get_last_error() == error


def test_an_error_that_a_kernel_call_gave_is_the_requests(process: Win32Calls, driver: Echo, handle: int) -> None:
    driver.raises = NtError(NtStatus.NOT_SUPPORTED, "here")
    done = process.device_io_control(handle, BUFFERED, b"", 5)
    assert (done.ok, done.error, done.returned) == (False, 50, None)


def test_pending_with_an_overlapped_is_no_success_yet(process: Win32Calls, driver: Echo, handle: int) -> None:
    driver.status = NtStatus.PENDING
    done = process.device_io_control(handle, BUFFERED, b"", 0, overlapped=True)
    assert (done.ok, done.error, done.returned) == (False, 997, 0)


@given(size=st.integers(0, 16), information=st.integers(0, 24), written=st.binary(max_size=20))
def test_the_io_manager_copies_as_many_bytes_as_the_driver_says(
    machine: Machine, size: int, information: int, written: bytes
) -> None:
    driver = Echo()
    system = WindowsSystem.with_driver(machine, driver)
    process = system.process()
    driver.information, driver.written = information, written
    before = bytes(range(100, 100 + size))
    done = process.device_io_control(process.create_file(PATH, 0), BUFFERED, b"", size, buffer=before)
    pool = bytearray(size)
    if size:
        pool[: len(written)] = written
    brought = bytes(pool[:information]).ljust(information, b"\0")
    assert done.returned == information
    assert done.output == brought[:size] + before[len(brought) :]
    assert done.overrun == brought[size:]
    assert bool(done.overrun) == (system.kernel.findings["Echo: wrote behind the caller's buffer"] == 1)
    behind_the_pool = bool(size) and len(written) > size
    assert behind_the_pool == (system.kernel.findings["Echo: wrote behind the system buffer"] == 1)


def test_without_an_address_nothing_is_copied(process: Win32Calls, driver: Echo, handle: int) -> None:
    driver.information = 8
    assert process.device_io_control(handle, BUFFERED, bytes(8), 0) == Completion(True, 0, 8, b"")
    assert process.device_io_control(handle, BUFFERED, bytes(8), 0, buffer=b"") == Completion(True, 0, 8, b"", bytes(8))


def test_a_driver_answers_with_bytes_or_refuses(process: Win32Calls, driver: Echo, handle: int) -> None:
    driver.answers, driver.written = True, b"xyz"
    assert process.device_io_control(handle, BUFFERED, b"abcd", 4) == Completion(True, 0, 3, b"xyz\xcc")
    assert process.device_io_control(handle, NEITHER, b"abcd", 4) == Completion(True, 0, 3, b"\xcc" * 4)
    driver.answers, driver.status = False, NtStatus.NOT_IMPLEMENTED
    assert process.device_io_control(handle, BUFFERED, b"abcd", 4) == Completion(False, 1, None, b"\xcc" * 4)


def test_code_and_size_are_32_bits(process: Win32Calls, driver: Echo, handle: int) -> None:
    done = process.device_io_control(handle, BUFFERED | 1 << 32, b"", (1 << 32) + 3)
    assert done.output == b"\xcc" * 3
    assert driver.irps[-1].code.value == BUFFERED


@pytest.mark.parametrize("method", [BUFFERED, OUT_DIRECT])
def test_a_buffer_for_which_there_is_no_room_is_refused(process: Win32Calls, handle: int, method: int) -> None:
    done = process.device_io_control(handle, method, b"", 1 << 31)
    assert (done.ok, done.error, done.returned) == (False, Win32.NO_SYSTEM_RESOURCES, None)


def test_a_plain_file_opens_and_has_nothing_to_say(system: WindowsSystem, process: Win32Calls) -> None:
    from raplica_simulator.windows.system import DriverImage

    system.images[r"C:\Drivers\echo.sys"] = DriverImage(Echo)
    handle = process.create_file(r"c:\drivers\ECHO.sys", GENERIC_READ)
    assert process.device_io_control(handle, BUFFERED).error == 1
    process.close_handle(handle)


# What else a process can ask


def test_a_program_learns_what_the_processors_are(make_machine: Callable[..., Machine]) -> None:
    system = WindowsSystem(make_machine("skylake-sp", topology=(2, 1, 2, 2)), group_size=4)
    process = system.process()
    assert process.cpu_vendor() == "GenuineIntel"
    assert process.cpu_signature() == (6, 0x55, 0)
    assert process.logical_processors() == (
        (0, 0, 0, 0, 0),
        (0, 1, 0, 0, 0),
        (0, 2, 0, 0, 1),
        (0, 3, 0, 0, 1),
        (1, 0, 1, 1, 2),
        (1, 1, 1, 1, 2),
        (1, 2, 1, 1, 3),
        (1, 3, 1, 1, 3),
    )


def test_a_thread_moves_where_it_is_told_and_a_wrong_place_is_refused(make_machine: Callable[..., Machine]) -> None:
    process = WindowsSystem(make_machine("skylake-sp", topology=(2, 1, 2, 2)), group_size=4).process(cpu=1)
    assert process.thread.cpu == 1
    assert process.set_thread_group_affinity(1, 0b0100) == GroupAffinity(0, 0b1111)
    assert process.thread.cpu == 6
    for group, mask in ((2, 1), (0, 0), (0, 16), (-1, 1)):
        assert code(partial(process.set_thread_group_affinity, group, mask)) == 87
    assert process.thread.cpu == 6


def test_a_process_begins_on_a_processor_that_exists(system: WindowsSystem) -> None:
    with pytest.raises(ValueError, match="no processor 99"):
        system.process(cpu=99)


def test_devices_are_listed_by_their_interface_class_while_they_are_there(machine: Machine) -> None:
    system = WindowsSystem(machine)
    process = system.process()
    driver = Echo(interface_guid=GUID)
    assert process.device_interfaces(GUID) == []
    system.kernel.load(driver)
    (path,) = process.device_interfaces(GUID.lower().strip("{}"))
    assert process.device_interfaces("{00000000-0000-0000-0000-000000000000}") == []
    handle = process.create_file(path, GENERIC_READ)
    process.close_handle(handle)
    system.unload(driver)
    assert process.device_interfaces(GUID) == []
    assert code(lambda: process.create_file(path, GENERIC_READ)) == 2


# Drivers come and go


def test_a_driver_whose_entry_fails_leaves_nothing_but_its_link(machine: Machine) -> None:
    driver = Echo()
    driver.entry_status = NtStatus.INSUFFICIENT_RESOURCES
    with pytest.raises(Win32Error, match="NO_SYSTEM_RESOURCES: Echo"):
        WindowsSystem.with_driver(machine, driver)
    system = WindowsSystem(machine)
    assert code(lambda: system.kernel.load(driver)) == 1450
    assert not system.kernel.drivers
    assert not system.kernel.devices
    assert code(lambda: system.process().create_file(PATH, 0)) == 2


def test_the_second_driver_of_one_name_is_not_loaded(system: WindowsSystem) -> None:
    assert code(lambda: system.kernel.load(Echo())) == 183
    assert len(system.kernel.drivers) == 1
    assert system.process().create_file(PATH, 0) == 4


def test_devices_are_made_while_a_driver_is_loaded_and_at_no_other_time(system: WindowsSystem) -> None:
    with pytest.raises(RuntimeError, match="entry"):
        system.kernel.create_device(r"\Device\Late")


def test_links_are_made_once_and_deleted_once(system: WindowsSystem) -> None:
    kernel = system.kernel
    assert kernel.create_symbolic_link(r"\??\ECHO", r"\Device\Other") == NtStatus.OBJECT_NAME_COLLISION
    assert kernel.delete_symbolic_link(r"\GLOBAL??\Echo") == NtStatus.SUCCESS
    assert kernel.delete_symbolic_link(r"\DosDevices\Echo") == NtStatus.OBJECT_NAME_NOT_FOUND


def test_unloading_waits_for_the_last_handle_and_lets_no_new_one_in(
    system: WindowsSystem, process: Win32Calls, driver: Echo
) -> None:
    first, second = (process.create_file(PATH, 0) for _ in range(2))
    assert not system.unload(driver)
    assert not system.unload(driver)
    assert code(lambda: process.create_file(PATH, 0)) == 433
    assert process.device_io_control(first, BUFFERED).ok
    process.close_handle(first)
    assert system.is_loaded(driver)
    process.close_handle(second)
    assert not system.is_loaded(driver)
    assert code(lambda: process.create_file(PATH, 0)) == 2
    system.kernel.load(driver)
    assert process.create_file(PATH, 0) > second


def test_a_driver_without_an_unload_routine_stays(machine: Machine) -> None:
    driver = Resident()
    system = WindowsSystem.with_driver(machine, driver)
    assert code(lambda: system.unload(driver)) == 1052
    with pytest.raises(RuntimeError, match="unload"):
        system.kernel.unload(driver)


def test_a_stale_link_gives_what_the_system_is_told_to_give(machine: Machine) -> None:
    for status, error in ((NtStatus.OBJECT_NAME_NOT_FOUND, 2), (NtStatus.OBJECT_PATH_NOT_FOUND, 3)):
        system = WindowsSystem(machine, stale_link=status)
        system.kernel.create_symbolic_link(r"\DosDevices\Gone", r"\Device\Gone")
        process = system.process()
        assert code(partial(process.create_file, r"\\.\Gone", 0)) == error


def test_the_kernels_time_is_the_machines(make_machine: Callable[..., Machine]) -> None:
    machine = make_machine()
    system = WindowsSystem(machine, boot_time_100ns=1000)
    machine.clock.advance(nanoseconds=2_550)
    assert system.kernel.system_time_100ns() == 1025
