# SPDX-License-Identifier: Apache-2.0
"""Windows: CreateFile and CloseHandle: names, rights and whose a handle is."""

import threading

import pytest

from raplica_simulator import Machine
from raplica_simulator.windows.io_control import Security
from raplica_simulator.windows.nt_status import NtStatus
from raplica_simulator.windows.system import WindowsSystem
from raplica_simulator.windows.win32_calls import (
    GENERIC_ALL,
    GENERIC_EXECUTE,
    GENERIC_READ,
    GENERIC_WRITE,
    Completion,
    Win32Calls,
)

from .echo_driver import BUFFERED, PATH, Echo, code


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
def handle(process: Win32Calls) -> int:
    return process.create_file(PATH, GENERIC_READ | GENERIC_WRITE)


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
