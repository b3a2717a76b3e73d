# SPDX-License-Identifier: Apache-2.0
"""Windows: the registers that each version of the Scaphandre driver reads, and on which processor."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from raplica_simulator import Machine
from raplica_simulator.windows.nt_status import BugCheck, Win32Error
from raplica_simulator.windows.scaphandre_driver import ScaphandreDriver
from raplica_simulator.windows.system import WindowsSystem
from raplica_simulator.windows.win32_calls import Completion

from .scaphandre import ABSENT, AMD, CODE, INTEL, LISTS, NEW, RW, UNGUARDED, answers, ask, opened, word


@pytest.fixture(scope="module")
def machine() -> Machine:
    return Machine.from_profile("kabylake")


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
