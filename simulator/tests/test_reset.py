# SPDX-License-Identifier: Apache-2.0
"""The reset button: registers, locks and counters begin again, the truth and the clock do not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from raplica_simulator import Machine

MakeMachine = Callable[..., Machine]
LIMIT = "class/powercap/intel-rapl:0/constraint_0_power_limit_uw"
ENERGY = "class/powercap/intel-rapl:0/energy_uj"


@pytest.mark.parametrize("kernel", ["6.1", "6.12"])
def test_a_lock_outlives_the_driver_and_a_reset_opens_it(kernel: str) -> None:
    machine = Machine.from_profile("skylake-sp-2s", kernel=kernel)
    machine.msr.write(0, 0x610, machine.msr.read(0, 0x610) | 1 << 63)
    machine.driver.unload()
    machine.driver.load()
    with pytest.raises(OSError, match="No data"):
        machine.sysfs.write(LIMIT, b"100000000\n")
    machine.reset()
    assert machine.sysfs.write(LIMIT, b"100000000\n") == 10
    assert machine.sysfs.read(LIMIT) == b"100000000\n"


def test_limits_are_those_of_time_0_again_and_nothing_was_switched_off() -> None:
    machine = Machine.from_profile("skylake-sp-2s")
    at_first = machine.msr.read(0, 0x610)
    machine.sysfs.write(LIMIT, b"99000000")
    machine.reset()
    assert machine.msr.read(0, 0x610) == at_first
    assert machine.sysfs.read("class/powercap/intel-rapl:0/enabled") == b"1\n"


def test_counters_begin_again_while_truth_and_clock_go_on() -> None:
    machine = Machine.from_profile("skylake-sp-2s")
    at_first = int(machine.sysfs.read(ENERGY))
    machine.clock.advance(seconds=100)
    machine.reset()
    assert int(machine.sysfs.read(ENERGY)) == at_first
    assert machine.truth_uj("package-0") == 8_000_000_000
    machine.clock.advance(seconds=1)
    assert abs(int(machine.sysfs.read(ENERGY)) - at_first - 80_000_000) < 300
    assert machine.truth_uj("package-0") == 8_080_000_000


def test_a_processor_that_was_offline_is_online_again() -> None:
    machine = Machine.from_profile("skylake-sp-2s")
    names = machine.sysfs.listdir("class/powercap")
    for cpu in (*range(20, 40), *range(60, 80)):
        machine.cpu(cpu).offline()
    assert machine.sysfs.listdir("class/powercap") != names
    machine.reset()
    assert machine.sysfs.listdir("class/powercap") == names
    assert machine.cpu(20).is_online


def test_a_descriptor_of_before_the_reset_is_dead() -> None:
    machine = Machine.from_profile("kabylake")
    with machine.sysfs.open(ENERGY) as handle:
        machine.reset()
        with pytest.raises(OSError, match="No such device"):
            handle.pread(100, 0)


def test_firmware_loads_its_registers_and_injected_faults_are_gone(make_machine: MakeMachine) -> None:
    machine = make_machine("kabylake", more="[firmware]\n0x610 = 0x00428440001B8320\n")
    machine.msr.inject(0, 0x611, "read")
    assert machine.sysfs.read(LIMIT) == b"125000000\n"
    machine.reset()
    assert machine.sysfs.read(LIMIT) == b"100000000\n"
    assert machine.sysfs.read(ENERGY)


def test_an_atoms_power_unit_begins_again_too(make_machine: MakeMachine) -> None:
    machine = make_machine("baytrail")
    machine.driver.mailbox.write(0x2, 0x1234)
    machine.reset()
    assert machine.driver.mailbox.read(0x2) == 0
