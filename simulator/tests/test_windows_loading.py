# SPDX-License-Identifier: Apache-2.0
"""Windows: drivers that come and go, and the names that they leave."""

from functools import partial

import pytest

from raplica_simulator import Machine
from raplica_simulator.windows.nt_status import NtStatus, Win32Error
from raplica_simulator.windows.system import WindowsSystem
from raplica_simulator.windows.win32_calls import Win32Calls

from .echo_driver import BUFFERED, PATH, Echo, code


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
