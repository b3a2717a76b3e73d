# SPDX-License-Identifier: Apache-2.0
"""Windows: images, signatures, reboots."""

import doctest
from collections.abc import Callable

import pytest

from raplica_simulator import Machine
from raplica_simulator.windows import ctl_code, system
from raplica_simulator.windows.nt_status import Win32Error
from raplica_simulator.windows.scaphandre_driver import ScaphandreDriver
from raplica_simulator.windows.system import DriverImage, WindowsSystem

IMAGE = r"C:\Drivers\ScaphandreDrv.sys"
NEW = r"\\.\ScaphandreDriver"


@pytest.fixture
def windows(make_machine: Callable[..., Machine]) -> WindowsSystem:
    found = WindowsSystem(make_machine())
    found.images[IMAGE] = DriverImage(ScaphandreDriver)
    return found


def error(call: Callable[[], object]) -> int:
    with pytest.raises(Win32Error) as caught:
        call()
    return caught.value.winerror


@pytest.mark.parametrize("module", [ctl_code, system])
def test_the_examples_are_right(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("at", "asked"),
    [
        (IMAGE, IMAGE),
        (IMAGE, r"\??\c:\drivers\SCAPHANDREDRV.SYS"),
        (r"C:\Windows\System32\drivers\a.sys", r"System32\drivers\a.sys"),
        (r"C:\Windows\System32\drivers\a.sys", r"\SystemRoot\System32\drivers\a.sys"),
    ],
)
def test_an_image_is_found_by_each_of_its_paths(windows: WindowsSystem, at: str, asked: str) -> None:
    windows.images[at] = DriverImage(ScaphandreDriver)
    assert windows.has_image(asked)
    driver = windows.load(asked)
    assert windows.is_loaded(driver)
    assert windows.process().create_file(NEW, 0) == 4


def test_an_image_that_is_not_there_is_not_loaded(windows: WindowsSystem) -> None:
    assert error(lambda: windows.load(r"C:\none.sys")) == 2


@pytest.mark.parametrize(
    ("image", "wanted", "with_test_signing"),
    [
        (DriverImage(ScaphandreDriver, "valid"), 0, 0),
        (DriverImage(ScaphandreDriver, "test"), 577, 0),
        (DriverImage(ScaphandreDriver, "none"), 577, 0),
        (DriverImage(ScaphandreDriver, "blocked"), 1275, 1275),
        (DriverImage(ScaphandreDriver, corrupt=True), 193, 193),
    ],
)
def test_what_an_image_must_be_to_be_loaded(
    windows: WindowsSystem, image: DriverImage, wanted: int, with_test_signing: int
) -> None:
    windows.images[IMAGE] = image
    windows.boot_test_signing = True
    for number in (wanted, with_test_signing):  # before the reboot nothing changes
        if number:
            assert error(lambda: windows.load(IMAGE)) == number
        else:
            assert windows.is_loaded(windows.load(IMAGE))
        windows.reboot()


def test_a_name_on_the_blocklist_is_blocked_however_it_is_signed(make_machine: Callable[..., Machine]) -> None:
    windows = WindowsSystem(make_machine(), blocklist=["scaphandredrv.SYS"])
    windows.images[IMAGE] = DriverImage(ScaphandreDriver)
    assert error(lambda: windows.load(IMAGE)) == 1275


def test_a_reboot_ends_drivers_links_and_handles_and_the_counters_begin_again(windows: WindowsSystem) -> None:
    process = windows.process()
    driver = windows.load(IMAGE)
    handle = process.create_file(NEW, 0)
    windows.machine.msr.poke(0, 0x611, 7)
    steps: list[WindowsSystem] = []
    windows.boot_steps.append(steps.append)
    windows.reboot()
    assert steps == [windows]
    assert not windows.is_loaded(driver)
    assert process.device_io_control(handle, 0).error == 6
    assert error(lambda: process.create_file(NEW, 0)) == 2
    assert windows.machine.msr.read(0, 0x611) == 0x12345678
    windows.load(IMAGE)
    assert process.create_file(NEW, 0) == 8


def test_a_process_that_ends_lets_go_of_what_it_holds(windows: WindowsSystem) -> None:
    driver = windows.load(IMAGE)
    process = windows.process()
    process.create_file(NEW, 0)
    assert not windows.unload(driver)
    process.exit()
    assert not windows.is_loaded(driver)


def test_the_machines_own_lock_can_be_shared(make_machine: Callable[..., Machine]) -> None:
    held: list[str] = []

    class Lock:
        def __enter__(self) -> None:
            held.append("in")

        def __exit__(self, *error: object) -> None:
            held.append("out")

    windows = WindowsSystem(make_machine(), lock=Lock())
    held.clear()
    process = windows.process()  # which a reboot in another thread must not meet halfway
    assert held == ["in", "out"]
    assert error(lambda: process.create_file(NEW, 0)) == 2
    assert held == ["in", "out"] * 2
