# SPDX-License-Identifier: Apache-2.0
"""Windows: how the Scaphandre driver is reached: rights, lengths of both buffers, methods and names."""

import struct

import pytest

from raplica_simulator import Machine
from raplica_simulator.windows.ctl_code import Access, CtlCode, Method
from raplica_simulator.windows.nt_status import BugCheck, NtStatus, Win32Error
from raplica_simulator.windows.scaphandre_driver import ScaphandreDriver
from raplica_simulator.windows.scaphandre_versions import VERSIONS
from raplica_simulator.windows.system import WindowsSystem
from raplica_simulator.windows.win32_calls import GENERIC_READ, GENERIC_WRITE, Completion

from .scaphandre import BUFFERED, CODE, NEW, RW, STALE, opened

OLD = r"\\.\RAPLDriver"
EIGHT = BUFFERED - {"v2-4"}


@pytest.fixture(scope="module")
def machine() -> Machine:
    return Machine.from_profile("kabylake")


@pytest.mark.parametrize("version", ["v2-8", "v3.2"])
def test_of_all_lengths_the_input_decides_and_a_short_output_is_overrun(machine: Machine, version: str) -> None:
    process, handle = opened(machine, version)
    value = machine.msr.read(0, 0x610).to_bytes(8, "little")
    request = struct.pack("<QQ", 0x610, 0)
    for length in range(17):
        for size in range(17):
            done = process.device_io_control(handle, CODE, request[:length], size)
            if length != 8:
                assert done == Completion(False, 1, None, b"\xcc" * size)
            else:
                assert (done.ok, done.error, done.returned) == (True, 0, 8)
                assert done.output == value[:size].ljust(size, b"\xcc")
                assert done.overrun == (value[size:] if size else b"")
    assert (
        process.system.kernel.findings[f"{process.system.kernel.drivers[0].name}: wrote behind the caller's buffer"]
        == 7
    )


def test_the_first_of_version_2_overruns_its_own_buffer_besides(machine: Machine) -> None:
    process, handle = opened(machine, "v2-4")
    done = process.device_io_control(handle, CODE, (0x610).to_bytes(4, "little"), 3)
    assert done.output + done.overrun == machine.msr.read(0, 0x610).to_bytes(8, "little")
    assert process.system.kernel.findings["RAPLDrvService: wrote behind the system buffer"] == 1


@pytest.mark.parametrize("wanted", range(4))
@pytest.mark.parametrize("granted", range(4))
def test_the_driver_is_reached_by_every_code_whose_rights_the_handle_has(
    machine: Machine, wanted: int, granted: int
) -> None:
    access = (GENERIC_READ if granted & 1 else 0) | (GENERIC_WRITE if granted & 2 else 0)
    process, handle = opened(machine, "v3.2", access)
    code = CtlCode(0x22, 0x611, access=Access(wanted)).value
    done = process.device_io_control(handle, code, bytes(8), 8)
    assert done.error == (5 if wanted & ~granted else 1)  # register 0 is on no list


@pytest.mark.parametrize("method", [Method.IN_DIRECT, Method.OUT_DIRECT])
@pytest.mark.parametrize("version", sorted(EIGHT))
def test_version_2_sent_by_a_direct_method_succeeds_and_brings_nothing(
    machine: Machine, version: str, method: Method
) -> None:
    process, handle = opened(machine, version)
    done = process.device_io_control(handle, CODE | method, struct.pack("<Q", 0x606), 8)
    assert done == Completion(True, 0, 8, b"\xcc" * 8)


@pytest.mark.parametrize("version", sorted(EIGHT))
def test_version_2_sent_by_neither_method_stops_the_machine(machine: Machine, version: str) -> None:
    process, handle = opened(machine, version)
    with pytest.raises(BugCheck, match="system buffer"):
        process.device_io_control(handle, CODE | Method.NEITHER, struct.pack("<Q", 0x606), 8)


# Names


@pytest.mark.parametrize("version", VERSIONS)
def test_each_version_has_its_own_name_and_everybody_may_open_it(machine: Machine, version: str) -> None:
    system = WindowsSystem.with_driver(machine, ScaphandreDriver(version))
    right, wrong = (NEW, OLD) if version in STALE else (OLD, NEW)
    guest = system.process(administrator=False)
    assert guest.create_file(right, RW, 0) == 4
    assert guest.create_file(right, RW, 0) == 8
    with pytest.raises(Win32Error, match=r"^\[WinError 2\]"):
        guest.create_file(wrong, RW)


@pytest.mark.parametrize("version", VERSIONS)
def test_stopping_leaves_the_link_of_newer_versions_and_starting_again_works(machine: Machine, version: str) -> None:
    system = WindowsSystem(machine, stale_link=NtStatus.OBJECT_PATH_NOT_FOUND)
    path = NEW if version in STALE else OLD
    process = system.process()
    for _ in range(3):
        driver = ScaphandreDriver(version)
        system.kernel.load(driver)
        process.close_handle(process.create_file(path, RW))
        assert system.unload(driver)
        with pytest.raises(Win32Error) as caught:
            process.create_file(path, RW)
        assert caught.value.winerror == (3 if version in STALE else 2)


def test_a_driver_that_never_ran_has_nothing_to_take_back(machine: Machine) -> None:
    system = WindowsSystem(machine)
    driver = ScaphandreDriver()
    driver.unload(system.kernel)
    with pytest.raises(RuntimeError, match="not loaded"):
        driver.device_control(None)  # type: ignore[arg-type]


def test_a_driver_may_be_called_otherwise(machine: Machine) -> None:
    process, handle = opened(machine, "v1", device="ScaphandreDriver")
    assert process.device_io_control(handle, 0x00226FAE, None, 8).ok
