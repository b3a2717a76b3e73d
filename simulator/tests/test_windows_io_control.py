# SPDX-License-Identifier: Apache-2.0
"""Windows: DeviceIoControl and what the I/O manager does, with a driver that ends as it is told to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator import Machine
from raplica_simulator.windows.ctl_code import Access, CtlCode, Method
from raplica_simulator.windows.io_control import BadPointer
from raplica_simulator.windows.nt_status import NtError, NtStatus, Win32
from raplica_simulator.windows.system import WindowsSystem
from raplica_simulator.windows.win32_calls import GENERIC_READ, GENERIC_WRITE, Completion, Win32Calls

from .echo_driver import BUFFERED, PATH, Echo

OUT_DIRECT = CtlCode(0x22, 0x800, Method.OUT_DIRECT).value
IN_DIRECT = CtlCode(0x22, 0x800, Method.IN_DIRECT).value
NEITHER = CtlCode(0x22, 0x800, Method.NEITHER).value


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
