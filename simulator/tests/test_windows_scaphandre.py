# SPDX-License-Identifier: Apache-2.0
"""Windows: the Scaphandre driver, version by version, against what its sources say."""

import struct
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator import Machine
from raplica_simulator.windows.ctl_code import Access, CtlCode, Method
from raplica_simulator.windows.driver_clients import CLIENTS
from raplica_simulator.windows.nt_status import BugCheck, NtStatus, Win32Error
from raplica_simulator.windows.scaphandre_driver import ScaphandreDriver
from raplica_simulator.windows.scaphandre_versions import VERSIONS, Defect
from raplica_simulator.windows.system import WindowsSystem
from raplica_simulator.windows.win32_calls import GENERIC_READ, GENERIC_WRITE, Completion, Win32Calls

OLD, NEW = r"\\.\RAPLDriver", r"\\.\ScaphandreDriver"
RW = GENERIC_READ | GENERIC_WRITE
CODE = 0x0022D844
DIRECT = {"v0-ones", "v0-unit", "v1"}
BUFFERED = set(VERSIONS) - DIRECT - {"v0-none"}
EIGHT = BUFFERED - {"v2-4"}
CPU = {"v3", "v3.1", "v3.2"}
UNGUARDED = {"v0-unit", "v1", "v2-4", "v2-8", "v2-8-open", "v2-8-allow", "v3"}
STALE = {"v2-8-open", "v2-8-allow", "v3", "v3.1", "v3.2"}

# The lists as they stand in the sources; a second time here, on purpose.
INTEL = {
    0x606, 0x610, 0x611, 0x613, 0x614, 0x618, 0x619, 0x61B, 0x61C, 0x638, 0x639, 0x63A, 0x63B, 0x640, 0x641, 0x642,
}  # fmt: skip
AMD = {0xC0010299, 0xC001029A, 0xC001029B}
LISTS = {
    "v2-8-allow": (INTEL, INTEL),
    "v3": (INTEL, INTEL),
    "v3.1": (INTEL | {0x64D, 0x65C}, INTEL | {0x64D, 0x65C}),
    "v3.2": (INTEL | {0x64D, 0x65C}, AMD),
}  # on Intel, on AMD
ABSENT = 0x61C  # on this machine


@pytest.fixture(scope="module")
def machine() -> Machine:
    return Machine.from_profile("kabylake")


def opened(machine: Machine, version: str, access: int = RW, **options: object) -> tuple[Win32Calls, int]:
    """A process that has the driver's device open."""
    driver = ScaphandreDriver(version, **options)  # type: ignore[arg-type]
    process = WindowsSystem.with_driver(machine, driver).process()
    return process, process.create_file(rf"\\.\{driver.device_name}", access)


def ask(process: Win32Calls, handle: int, register: int, cpu: int = 0, size: int = 8) -> Completion:
    return process.device_io_control(handle, CODE, struct.pack("<II", register, cpu), size)


def word(done: Completion) -> int:
    assert (done.ok, done.error, done.returned, done.overrun) == (True, 0, 8, b"")
    return int.from_bytes(done.output, "little")


# Version by version


def test_the_first_driver_succeeds_and_says_nothing(machine: Machine) -> None:
    process, handle = opened(machine, "v0-none")
    assert process.device_io_control(handle, CODE, b"anything", 8) == Completion(True, 0, 0, b"\xcc" * 8)


@pytest.mark.parametrize("size", [1, 8, 20])
@pytest.mark.parametrize("method", [Method.IN_DIRECT, Method.OUT_DIRECT])
def test_the_plumbing_test_fills_the_buffer_with_ones(machine: Machine, size: int, method: Method) -> None:
    process, handle = opened(machine, "v0-ones")
    done = process.device_io_control(handle, CtlCode(0x22, 5, method).value, None, size)
    assert done == Completion(True, 0, size, b"\1" * size)


@pytest.mark.parametrize("function", [0, 0xBED, 0xFFF])
def test_the_next_one_gives_the_unit_whatever_the_code(machine: Machine, function: int) -> None:
    process, handle = opened(machine, "v0-unit")
    done = process.device_io_control(handle, CtlCode(0x22, function, Method.OUT_DIRECT).value, b"x", 8)
    assert word(done) == machine.msr.read(0, 0x606)


@pytest.mark.parametrize(("function", "register"), [(0xBEB, 0x606), (0xBEC, 0x610), (0xBED, 0x611)])
def test_version_1_has_a_function_code_for_each_register(machine: Machine, function: int, register: int) -> None:
    process, handle = opened(machine, "v1")
    code = CtlCode(0x22, function, Method.OUT_DIRECT, Access.READ).value
    assert word(process.device_io_control(handle, code, None, 8)) == machine.msr.read(0, register)


@pytest.mark.parametrize("function", [0, 0x606, 0x611, 0xBEA, 0xBEE, 0xFFF])
def test_version_1_refuses_any_other_function_code(machine: Machine, function: int) -> None:
    process, handle = opened(machine, "v1")
    done = process.device_io_control(handle, CtlCode(0x22, function, Method.OUT_DIRECT).value, None, 8)
    assert done == Completion(False, 1, None, b"\xcc" * 8)


@pytest.mark.parametrize("size", [1, 7, 9, 100])
def test_version_1_counts_the_whole_buffer_and_writes_eight_bytes(machine: Machine, size: int) -> None:
    process, handle = opened(machine, "v1")
    done = process.device_io_control(handle, 0x00226FAE, None, size)
    value = machine.msr.read(0, 0x606).to_bytes(8, "little")
    assert (done.ok, done.returned) == (True, size)
    assert done.output + done.overrun == value.ljust(size, b"\xcc")


@pytest.mark.parametrize("version", sorted(DIRECT))
@pytest.mark.parametrize(
    ("code", "size"), [(CODE, 8), (0x0022EFAC, 8), (0x00226FAE, 0), (0x00226FAF, 8)], ids=["rw", "agent", "none", "raw"]
)
def test_before_version_2_a_request_without_a_mapped_buffer_stops_the_machine(
    machine: Machine, version: str, code: int, size: int
) -> None:
    process, handle = opened(machine, version)
    with pytest.raises(BugCheck, match="bug check 0x3b: RAPLDrvService mapped the output buffer"):
        process.device_io_control(handle, code, None, size)


@pytest.mark.parametrize("version", sorted(DIRECT))
def test_before_version_2_a_buffer_that_cannot_be_mapped_is_an_error(machine: Machine, version: str) -> None:
    process, handle = opened(machine, version)
    process.system.kernel.can_map = False
    assert process.device_io_control(handle, 0x00226FAE, None, 8) == Completion(False, 1450, None, b"\xcc" * 8)


@pytest.mark.parametrize("version", sorted(BUFFERED))
@pytest.mark.parametrize("length", range(17))
def test_from_version_2_on_one_input_length_is_right(machine: Machine, version: str, length: int) -> None:
    process, handle = opened(machine, version)
    done = process.device_io_control(handle, CODE, (0x606).to_bytes(2, "little").ljust(length, b"\0")[:length], 8)
    if length == (4 if version == "v2-4" else 8):
        assert word(done) == machine.msr.read(0, 0x606)
    else:
        assert done == Completion(False, 1, None, b"\xcc" * 8)


@pytest.mark.parametrize("version", sorted(BUFFERED))
def test_from_version_2_on_no_input_is_a_wrong_length(machine: Machine, version: str) -> None:
    process, handle = opened(machine, version)
    for code in (CODE, CODE | Method.OUT_DIRECT, CODE | Method.NEITHER):
        assert process.device_io_control(handle, code, None, 8).error == 1


@pytest.mark.parametrize("version", ["v2-4", "v2-8"])
def test_the_first_two_of_version_2_have_three_registers_for_tests(
    make_machine: Callable[..., Machine], version: str
) -> None:
    machine = make_machine()
    process, handle = opened(machine, version)
    size = 4 if version == "v2-4" else 8

    def read(register: int) -> int:
        return word(process.device_io_control(handle, CODE, register.to_bytes(size, "little"), 8))

    assert (read(1), read(2)) == (0x1111111111111111, 0x2222222222222222)
    before = read(3)
    machine.clock.advance(seconds=2)
    assert read(3) - before == 20_000_000
    year_1601_to_2024_s = before // 10_000_000
    assert year_1601_to_2024_s == 154_497 * 24 * 3600


def test_they_are_gone_in_the_version_after(machine: Machine) -> None:
    process, handle = opened(machine, "v2-8-open")
    with pytest.raises(BugCheck, match="register 0x1, which faults here"):
        process.device_io_control(handle, CODE, (1).to_bytes(8, "little"), 8)


@pytest.mark.parametrize("version", ["v2-4", "v2-8", "v2-8-open"])
def test_before_there_was_a_list_any_register_is_read(machine: Machine, version: str) -> None:
    process, handle = opened(machine, version)
    request = (0x1B2).to_bytes(4 if version == "v2-4" else 8, "little")
    assert word(process.device_io_control(handle, CODE, request, 8)) == machine.msr.read(0, 0x1B2)


@pytest.mark.parametrize("high", [0, 1, 0xFFFFFFFF])
@pytest.mark.parametrize("version", ["v2-8", "v2-8-open", "v2-8-allow"])
def test_version_2_takes_the_low_half_of_eight_bytes(machine: Machine, version: str, high: int) -> None:
    process, handle = opened(machine, version)
    assert word(ask(process, handle, 0x610, high)) == machine.msr.read(0, 0x610)
    assert process.system.kernel.findings["ScaphandreDrv: wrote 4 bytes behind a variable on the stack"] == (
        1 if version != "v2-8" else 0
    )


def test_the_manual_has_a_row_for_each_version_and_each_defect() -> None:
    lines = (Path(__file__).resolve().parents[2] / "docs" / "windows.md").read_text(encoding="utf-8").splitlines()
    rows = {line.split("`")[1]: [cell.strip() for cell in line.split("|")[2:]] for line in lines if line[:3] == "| `"}
    for version in VERSIONS.values():
        transfer = "none" if version.tag == "v0-none" else "direct" if version.tag in DIRECT else "buffered"
        assert rows[version.tag][:3] == [version.commits, version.device, transfer]
    for defect in Defect:
        assert rows[defect][0] == " ".join(f"`{row.tag}`" for row in VERSIONS.values() if defect in row.defects)
    for name, client in CLIENTS.items():
        code = client.code(0x611)
        assert code is not None
        assert rows[name][0] == f"0x{code.value:08X}"


# Registers: the list, the processor


@pytest.mark.parametrize("version", sorted(LISTS))
@pytest.mark.parametrize("vendor", ["kabylake", "zen4"])
def test_every_register_of_the_list_is_read_or_faults_and_every_other_is_refused(version: str, vendor: str) -> None:
    machine = Machine.from_profile(vendor)
    listed = LISTS[version][vendor == "zen4"]
    around = {register + step for register in INTEL | AMD | {0x64D, 0x65C} for step in (-1, 0, 1)} | {0, 0xFFFFFFFF}
    present = {register for register in around if answers(machine, register)}
    for register in sorted(around):
        process, handle = opened(machine, version)
        if register in listed and register not in present and version in UNGUARDED:
            with pytest.raises(BugCheck):
                ask(process, handle, register)
            continue
        done = ask(process, handle, register)
        if register not in listed:
            assert done == Completion(False, 1, None, b"\xcc" * 8)
        elif register in present:
            assert word(done) == machine.msr.read(0, register)
        else:
            assert done == Completion(False, 1117, None, b"\xcc" * 8)


def answers(machine: Machine, register: int) -> bool:
    try:
        machine.msr.read(0, register)
    except OSError:
        return False
    return True


def test_on_a_processor_of_neither_vendor_everything_is_refused(make_machine: Callable[..., Machine]) -> None:
    machine = make_machine("zen3", cpu="HygonGenuine:24:1")
    process, handle = opened(machine, "v3.2")
    assert {ask(process, handle, register).error for register in INTEL | AMD} == {1}


@pytest.mark.parametrize("version", sorted(UNGUARDED - {"v0-unit", "v1"}))
def test_without_a_guard_a_register_that_is_absent_stops_the_machine_until_it_is_rebooted(
    make_machine: Callable[..., Machine], version: str
) -> None:
    driver = ScaphandreDriver(version)
    system = WindowsSystem.with_driver(make_machine(), driver)
    process = system.process()
    path = rf"\\.\{driver.device_name}"
    handle = process.create_file(path, RW)
    request = ABSENT.to_bytes(4 if version == "v2-4" else 8, "little")
    calls: list[Callable[[], object]] = [
        lambda: process.device_io_control(handle, CODE, request, 8),
        lambda: process.device_io_control(12345, CODE, request, 8),
        lambda: process.create_file(path, RW),
        lambda: process.close_handle(handle),
        lambda: system.process().create_file(path, RW),
        process.get_last_error,
        process.logical_processors,
        lambda: process.device_interfaces("{}"),
        lambda: process.set_thread_group_affinity(0, 1),
        lambda: system.load("x.sys"),
        lambda: system.unload(driver),
    ]
    for call in calls:
        with pytest.raises(BugCheck, match=r"bug check 0x3b: .* read register 0x61c, which faults here"):
            call()
    process.exit()
    assert str(system.crashed).startswith("bug check 0x3b")
    system.reboot()
    assert system.crashed is None
    assert process.device_io_control(handle, CODE, request, 8).error == 6
    with pytest.raises(Win32Error, match="FILE_NOT_FOUND"):
        process.create_file(path, RW)
    system.kernel.load(ScaphandreDriver(version))
    assert process.create_file(path, RW) > handle


@pytest.mark.parametrize("version", ["v0-unit", "v1"])
def test_before_version_2_amds_processors_stop(version: str) -> None:
    process, handle = opened(Machine.from_profile("zen4"), version)
    with pytest.raises(BugCheck, match="register 0x606"):
        process.device_io_control(handle, 0x00226FAE, None, 8)


@pytest.mark.parametrize("version", ["v3.1", "v3.2"])
def test_with_a_guard_it_is_an_error_and_a_later_read_is_right_again(machine: Machine, version: str) -> None:
    process, handle = opened(machine, version)
    assert ask(process, handle, ABSENT) == Completion(False, 1117, None, b"\xcc" * 8)
    assert word(ask(process, handle, 0x606)) == machine.msr.read(0, 0x606)


def test_a_register_that_fails_for_a_while_is_an_error_for_that_while(make_machine: Callable[..., Machine]) -> None:
    machine = make_machine()
    process, handle = opened(machine, "v3.2")
    machine.msr.inject(0, 0x611, times=1)
    assert [ask(process, handle, 0x611).error for _ in range(2)] == [1117, 0]


# Lengths and rights


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


# The CPU


def test_a_cpu_that_does_not_exist_is_refused_by_version_3_and_clamped_since(machine: Machine) -> None:
    for version, error in (("v3", 87), ("v3.1", 0), ("v3.2", 0)):
        process, handle = opened(machine, version)
        for cpu in (4, 5, 0xFFFFFFFF):
            done = ask(process, handle, 0x611, cpu)
            assert (done.error, done.returned) == (error, None if error else 8)


def test_a_clamped_cpu_that_is_an_empty_slot_is_an_error(machine: Machine) -> None:
    for version in ("v3.1", "v3.2"):
        system = WindowsSystem(machine, empty_slots=2)
        system.kernel.load(ScaphandreDriver(version))
        process = system.process()
        handle = process.create_file(NEW, RW)
        assert [ask(process, handle, 0x611, cpu).error for cpu in (3, 4, 5, 99)] == [0, 87, 87, 87]


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


# Defects, one by one


@pytest.mark.parametrize("version", sorted(DIRECT | BUFFERED))
def test_a_fixed_driver_refuses_what_the_real_one_mishandles(machine: Machine, version: str) -> None:
    direct = version in DIRECT
    code = 0x00226FAE if direct else CODE
    request = None if direct else (0x606).to_bytes(4 if version == "v2-4" else 8, "little")
    process, handle = opened(machine, version, fixed=True)
    for size in range(8):
        assert process.device_io_control(handle, code, request, size) == Completion(False, 122, None, b"\xcc" * size)
    for method in Method:
        fits = method in (Method.IN_DIRECT, Method.OUT_DIRECT) if direct else method is Method.BUFFERED
        done = process.device_io_control(handle, code & ~3 | method, request, 8)
        assert (done.ok, done.error) == (fits, 0 if fits else 1)
    done = process.device_io_control(handle, code, request, 20)
    assert done.returned == (20 if version == "v0-ones" else 8)
    assert not process.system.kernel.findings


@pytest.mark.parametrize("version", sorted(UNGUARDED))
def test_a_fixed_driver_has_a_guard(version: str) -> None:
    process, handle = opened(Machine.from_profile("zen4"), version, fixed=True)
    code, request = (0x00226FAE, None) if version in DIRECT else (CODE, struct.pack("<Q", 0x606))
    if version == "v2-4":
        request = struct.pack("<I", 0x606)
    done = process.device_io_control(handle, code, request, 8)
    assert done == Completion(False, 1 if version in LISTS else 1117, None, b"\xcc" * 8)


@pytest.mark.parametrize("version", sorted(STALE))
def test_a_fixed_driver_takes_its_link_along(machine: Machine, version: str) -> None:
    system = WindowsSystem(machine, stale_link=NtStatus.OBJECT_PATH_NOT_FOUND)
    driver = ScaphandreDriver(version, fixed=True)
    system.kernel.load(driver)
    system.unload(driver)
    with pytest.raises(Win32Error, match=r"^\[WinError 2\]"):
        system.process().create_file(NEW, RW)


@pytest.mark.parametrize("version", sorted(LISTS))
def test_a_fixed_driver_knows_amds_registers(version: str) -> None:
    machine = Machine.from_profile("zen4")
    process, handle = opened(machine, version, fixed=True)
    for register in AMD:
        assert word(ask(process, handle, register)) == machine.msr.read(0, register)
    assert ask(process, handle, 0x606).error == 1


def test_a_driver_may_have_any_choice_of_defects(machine: Machine) -> None:
    driver = ScaphandreDriver("v3.2", defects=["stale-link", Defect.NO_GUARD])
    assert driver.defects == {Defect.STALE_LINK, Defect.NO_GUARD}
    assert repr(driver) == "<ScaphandreDriver v3.2, 2 defects>"
    process = WindowsSystem.with_driver(machine, driver).process()
    handle = process.create_file(NEW, RW)
    assert ask(process, handle, 0x606, size=7).error == 122
    with pytest.raises(BugCheck):
        ask(process, handle, ABSENT)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"version": "v9"}, r"no version 'v9' .* take v0-none, .*v3\.2$"),
        ({"defects": ["slow"]}, "'slow' is not a valid Defect"),
        ({"fixed": True, "defects": ["no-guard"]}, "one or the other"),
    ],
)
def test_what_does_not_exist_is_refused_in_a_line(options: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        ScaphandreDriver(**options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_driver_may_be_called_otherwise(machine: Machine) -> None:
    process, handle = opened(machine, "v1", device="ScaphandreDriver")
    assert process.device_io_control(handle, 0x00226FAE, None, 8).ok


# The same registers as through every other door


@pytest.mark.parametrize("profile", ["kabylake", "skylake-sp-2s", "zen2-epyc-2s"])
@pytest.mark.parametrize("version", ["v2-8-open", "v3.2"])
def test_counters_are_the_machines_at_every_moment_and_over_a_wrap(profile: str, version: str) -> None:
    machine = Machine.from_profile(profile)
    registers = (0xC001029A, 0xC001029B) if profile.startswith("zen") else (0x611, 0x619)
    for register in registers:
        machine.msr.poke(0, register, 0xFFFFF000)
    process, handle = opened(machine, version)
    seen = []
    for _ in range(4):
        values = [word(ask(process, handle, register)) for register in registers]
        assert values == [machine.msr.read(0, register) for register in registers]
        assert values == [word(ask(process, handle, register)) for register in registers]  # time stands
        seen.append(values)
        machine.clock.advance(seconds=3)
    wrapped = [first[0] > then[0] for first, then in pairwise(seen)]
    assert wrapped == [True, False, False]


@pytest.mark.parametrize("profile", ["skylake-sp-2s", "zen2-epyc-2s"])
def test_a_fixed_driver_reads_each_cpu_of_both_packages(profile: str) -> None:
    machine = Machine.from_profile(profile)
    machine.load.set(package=100, on_package=1)
    machine.clock.advance(seconds=10)
    process, handle = opened(machine, "v3.2", fixed=True)
    register = 0xC001029B if profile.startswith("zen") else 0x611
    home = process.thread.cpu
    for processor in process.system.kernel.processors.active:
        value = word(ask(process, handle, register, processor.index))
        assert value == machine.msr.read(processor.cpu.number, register)
        assert process.thread.cpu == home


# All at once, and anything at all


def test_64_threads_open_read_and_close_at_once_and_each_gets_its_own_answer() -> None:
    machine = Machine.from_profile("zen2-epyc-2s")
    system = WindowsSystem.with_driver(machine, ScaphandreDriver(fixed=True))
    process = system.process()
    together = threading.Barrier(64)
    cpus = [one.cpu.number for one in system.kernel.processors.active]
    values = [machine.msr.read(cpu, 0xC001029A) for cpu in cpus]
    wrong: list[object] = []
    handles: list[int] = []

    def read(index: int) -> None:
        together.wait()
        for _ in range(5):
            handle = process.create_file(NEW, RW)
            handles.append(handle)
            done = ask(process, handle, 0xC001029A, index)
            if (done.ok, int.from_bytes(done.output, "little")) != (True, values[index]):
                wrong.append(done)
            if ask(process, handle, 0x606).error != 1 or process.get_last_error() != 1:
                wrong.append(index)
            process.close_handle(handle)
            if ask(process, handle, 0x606).error != 6:
                wrong.append(handle)

    threads = [threading.Thread(target=read, args=(index,)) for index in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(set(handles)) == 64 * 5
    assert [device.open_handles for device in system.kernel.devices] == [0]


class Answer(NamedTuple):
    """What the documentation says about a request; ``memory`` is the caller's buffer and what lies behind it."""

    error: int
    returned: int | None = None
    memory: bytes | None = None


def documented(machine: Machine, version: str, rights: int, code: int, data: bytes, size: int) -> Answer | None:
    """The answer to a request on a handle that is open; None where the machine stops."""
    if code >> 14 & 3 & ~rights:
        return Answer(5)
    if version == "v0-none":
        return Answer(0, 0, b"\xcc" * size)
    if version in DIRECT:
        return documented_into_mdl(machine, version, code, size)
    if len(data) != (4 if version == "v2-4" else 8):
        return Answer(1)
    register = int.from_bytes(data[:4], "little")
    if code & 3 == 3:
        return None
    listed = version not in LISTS or register in LISTS[version][0]
    if not listed or (version == "v3" and int.from_bytes(data[4:], "little") > 3):
        return Answer(87 if listed else 1)
    value = documented_value(machine, version, register)
    if value is None:
        return None if version in UNGUARDED else Answer(1117)
    untouched = b"\xcc" * size
    return Answer(0, 8, untouched if code & 3 or not size else value.to_bytes(8, "little") + untouched[8:])


def documented_into_mdl(machine: Machine, version: str, code: int, size: int) -> Answer | None:
    if code & 3 not in (1, 2) or not size:
        return None
    if version == "v0-ones":
        return Answer(0, size, b"\1" * size)
    register = 0x606 if version == "v0-unit" else {0xBEB: 0x606, 0xBEC: 0x610, 0xBED: 0x611}.get(code >> 2 & 0xFFF)
    if register is None:
        return Answer(1)
    return Answer(0, size, machine.msr.read(0, register).to_bytes(8, "little") + b"\xcc" * (size - 8))


def documented_value(machine: Machine, version: str, register: int) -> int | None:
    if version in ("v2-4", "v2-8") and register in (1, 2, 3):
        return {1: 0x1111111111111111, 2: 0x2222222222222222, 3: 133_485_408_000_000_000}[register]
    return machine.msr.read(0, register) if answers(machine, register) else None


registers = st.sampled_from([0x606, 0x610, 0x611, 0x64D, ABSENT, 0x63B, 0xC001029B, 1, 2, 3]) | st.integers(
    0, 0xFFFFFFFF
)
requests = st.one_of(
    st.binary(max_size=16),
    st.builds(struct.pack, st.just("<II"), registers, st.sampled_from([0, 1, 3, 4, 0xFFFFFFFF])),
    st.builds(struct.pack, st.just("<I"), registers),
)
codes = st.sampled_from([CODE, 0x00226FAE, 0x00226FB2, 0x0022EFB4, 0x00222000]) | st.integers(0, 0xFFFFFFFF)


@given(
    st.sampled_from(sorted(VERSIONS)),
    st.integers(0, 3),
    codes,
    requests,
    st.integers(0, 16),
    st.just(4) | st.sampled_from([0, 5, 8, -1]),
)
def test_every_request_has_the_documented_answer_and_nothing_else(
    machine: Machine, version: str, rights: int, code: int, data: bytes, size: int, handle: int
) -> None:
    access = (GENERIC_READ if rights & 1 else 0) | (GENERIC_WRITE if rights & 2 else 0)
    process, open_handle = opened(machine, version, access)
    assert open_handle == 4
    wanted = documented(machine, version, rights, code, data, size) if handle == 4 else Answer(6)
    if wanted is None:
        with pytest.raises(BugCheck):
            process.device_io_control(handle, code, data, size)
        return
    done = process.device_io_control(handle, code, data, size)
    assert (done.ok, done.error, done.returned) == (not wanted.error, wanted.error, wanted.returned)
    assert done.output + done.overrun == (b"\xcc" * size if wanted.memory is None else wanted.memory)
