# SPDX-License-Identifier: Apache-2.0
"""Windows: what a process learns of processors, devices and time."""

from collections.abc import Callable
from functools import partial

import pytest

from raplica_simulator import Machine
from raplica_simulator.windows.processors import GroupAffinity
from raplica_simulator.windows.system import WindowsSystem
from raplica_simulator.windows.win32_calls import GENERIC_READ

from .echo_driver import Echo, code

GUID = "{45BD8344-7ED6-49CF-A440-C276C933B053}"


@pytest.fixture(scope="module")
def machine() -> Machine:
    return Machine.from_profile("kabylake")


@pytest.fixture
def driver() -> Echo:
    return Echo()


@pytest.fixture
def system(machine: Machine, driver: Echo) -> WindowsSystem:
    return WindowsSystem.with_driver(machine, driver)


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


def test_the_kernels_time_is_the_machines(make_machine: Callable[..., Machine]) -> None:
    machine = make_machine()
    system = WindowsSystem(machine, boot_time_100ns=1000)
    machine.clock.advance(nanoseconds=2_550)
    assert system.kernel.system_time_100ns() == 1025
