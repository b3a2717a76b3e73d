# SPDX-License-Identifier: Apache-2.0
"""The first driver, as Linux 3.13 has it: what comes and goes with it, and what it forgets.  Nobody saw it run here."""

from errno import EBUSY, EIO, ENOENT

import pytest

from .first_driver import CLASS, PACKAGE, SLEEP_NS, MakeMachine, errno_of, names, number, old_machines


@pytest.fixture
def old(make_machine: MakeMachine) -> MakeMachine:
    return old_machines(make_machine)


def test_the_lowest_processor_that_runs_does_every_access(old: MakeMachine) -> None:
    machine = old(topology=(1, 1, 3, 1))

    def reader() -> int:
        machine.sysfs.read(f"{PACKAGE}/energy_uj")
        return machine.msr.log[-1].cpu

    assert reader() == 0
    machine.cpu(0).offline()
    machine.cpu(1).offline()
    assert reader() == 2
    machine.cpu(1).online()
    assert reader() == 1


def test_a_package_that_goes_switches_nothing_off_and_is_watched_again_when_it_comes(old: MakeMachine) -> None:
    machine = old(topology=(2, 1, 2, 1), where={"package.1": {0x610: 0x80C8}})
    machine.cpu(2).offline()
    machine.cpu(3).offline()
    assert machine.msr.log == []
    assert machine.msr.read(2, 0x610) == 0x80C8
    assert list(names(machine)) == ["intel-rapl:1", *(f"intel-rapl:1:{child}" for child in range(3))]
    before_ns = machine.clock.now_ns
    machine.cpu(3).online()
    assert machine.clock.now_ns - before_ns == 4 * SLEEP_NS
    assert names(machine)["intel-rapl:0"] == "package-1"
    # The next one of that package changes nothing.
    machine.cpu(2).online()
    assert machine.clock.now_ns - before_ns == 4 * SLEEP_NS


def test_a_processor_comes_up_whatever_the_driver_finds(old: MakeMachine) -> None:
    machine = old(topology=(2, 1, 1, 1))
    machine.cpu(1).offline()
    for register in (0x611, 0x619, 0x639, 0x641):
        machine.msr.inject(1, register, on="read", errno=EIO)
    machine.cpu(1).online()
    assert machine.cpu(1).is_online
    assert "package-1" not in names(machine).values()
    machine.cpu(1).offline()
    assert errno_of(machine.cpu(0).offline) == EBUSY


def test_nothing_is_kept_over_a_sleep(old: MakeMachine) -> None:
    machine = old()
    machine.suspend()
    machine.msr.poke(0, 0x610, 0)
    machine.resume()
    assert machine.msr.log == []
    assert machine.msr.read(0, 0x610) == 0


def test_unloading_switches_everything_off_newest_package_first(old: MakeMachine) -> None:
    machine = old(topology=(2, 1, 1, 1), watts={"package": 20}, registers={0x610: 0x0001_8064_0001_8078})
    machine.driver.unload()
    masks = [1 << 15, 1 << 47, 1 << 16, 1 << 48]
    assert [(access.die, access.mask) for access in machine.msr.log] == [
        (die, mask) for die in (1, 0) for mask in masks
    ]
    assert machine.msr.read(0, 0x610) == 0x0000_0064_0000_0078
    assert machine.sysfs.listdir(CLASS) == []
    assert errno_of(lambda: machine.sysfs.stat("devices/virtual/powercap")) == ENOENT


def test_the_power_limit_notification_comes_back_only_when_the_module_goes(old: MakeMachine) -> None:
    machine = old(registers={0x1B2: 1 << 24 | 3}, flags=("pts", "pln"), topology=(2, 1, 1, 1))
    machine.sysfs.write(f"{PACKAGE}/constraint_0_power_limit_uw", b"1000000")
    assert (machine.msr.read(1, 0x1B2), machine.msr.read(0, 0x1B2)) == (3, 1 << 24 | 3)
    machine.driver.unload()
    assert machine.msr.read(1, 0x1B2) == 1 << 24 | 3


def test_the_reset_button_brings_the_tree_back(old: MakeMachine) -> None:
    machine = old()
    machine.sysfs.write(f"{PACKAGE}/constraint_0_power_limit_uw", b"1000000")
    before = names(machine)
    machine.reset()
    assert names(machine) == before
    assert number(machine, f"{PACKAGE}/constraint_0_power_limit_uw") == 125_000_000


def test_everything_is_read_once_before_the_zones_come(old: MakeMachine) -> None:
    machine = old(watts={"package": 20})
    machine.driver.unload()
    machine.driver.load()
    masks = [access.mask for access in machine.msr.log if access.register == 0x610]
    limits, switches = [0x7FFF, 0x7FFF << 32], [1 << 15, 1 << 16, 1 << 47, 1 << 48]
    # The lock first, alone; then the table.
    assert masks == [1 << 63, *limits, 1 << 63, *switches, 0x7F << 17, 0x7F << 49]
    assert {access.op for access in machine.msr.log} == {"r"}
