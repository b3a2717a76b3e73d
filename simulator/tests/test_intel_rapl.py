# SPDX-License-Identifier: Apache-2.0
"""The first driver, as Linux 3.13 has it: what it finds, how it counts, what it limits.  Nobody saw it run here."""

from errno import EACCES, EINVAL, EIO, ENODATA, ENOENT, ENOSYS
from fractions import Fraction
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator import KernelCrash, Machine

from .first_driver import (
    CLASS,
    CORE,
    EVERYTHING,
    PACKAGE,
    SANDY_BRIDGE,
    SLEEP_NS,
    UNIT,
    MakeMachine,
    errno_of,
    names,
    number,
    old_machines,
)


@pytest.fixture
def old(make_machine: MakeMachine) -> MakeMachine:
    return old_machines(make_machine)


# What is found.


@pytest.mark.pitfall("zero-counter-no-zone")
def test_a_domain_is_a_counter_that_is_seen_to_move(old: MakeMachine) -> None:
    machine = old(watts={"package": 20, "core": 5})
    # uncore and dram hold numbers that are not 0, and stand still.
    assert names(machine) == {"intel-rapl:0": "package-0", "intel-rapl:0:0": "core"}


def test_a_counter_that_reads_0_and_moves_is_a_domain(old: MakeMachine) -> None:
    machine = old(registers={0x611: 0, 0x639: 0, 0x641: 0, 0x619: 0})
    assert list(names(machine).values()) == ["package-0", "core", "uncore", "dram"]


def test_a_machine_at_rest_has_no_tree_and_the_module_is_not_there(old: MakeMachine) -> None:
    machine = old(watts={})
    assert machine.sysfs.listdir(CLASS) == []
    assert (machine.uevents, machine.driver.loaded, len(machine.driver.interfaces)) == ([], False, 0)
    machine.load.set(package=20)
    machine.driver.load()
    assert (len(machine.uevents), machine.driver.loaded, machine.driver.interfaces) == (2, True, ("msr",))
    assert list(names(machine).values()) == ["package-0"]


def test_looking_takes_time_and_gives_up_after_nine_readings(old: MakeMachine) -> None:
    # Each domain that counts is seen at the second reading; one that stands still takes nine sleeps.
    assert old().clock.now_ns == 4 * SLEEP_NS
    assert old(watts={"package": 20, "core": 5}).clock.now_ns == (2 + 2 * 9) * SLEEP_NS
    # A register that faults is asked once.
    assert old(registers={0x619: None, 0x641: None}).clock.now_ns == 2 * SLEEP_NS


def test_only_the_low_half_of_a_counter_has_to_move(old: MakeMachine) -> None:
    machine = old(registers={0x611: 0xFFFF_FFFF_0000_0000})
    assert number(machine, f"{PACKAGE}/energy_uj") == 799_987  # 20 W for four sleeps, in whole steps


def test_psys_is_not_known(old: MakeMachine) -> None:
    machine = old(watts={**EVERYTHING, "psys": 40})
    assert "psys" not in names(machine).values()


@pytest.mark.parametrize("model", [0x2A, 0x2D, 0x3A, 0x45, 0x37])
def test_five_models_are_known(old: MakeMachine, model: int) -> None:
    assert names(old(cpu=f"GenuineIntel:6:{model}"))


@pytest.mark.parametrize(
    "cpu", ["GenuineIntel:6:0x3C", "GenuineIntel:6:0x3F", "GenuineIntel:6:0x9E", "AuthenticAMD:25:1"]
)
def test_later_models_and_other_makers_are_not(old: MakeMachine, cpu: str) -> None:
    machine = old(cpu=cpu)
    assert (machine.sysfs.listdir(CLASS), machine.clock.now_ns) == ([], 0)


@pytest.mark.pitfall("packages-were-registered-backwards")
def test_packages_are_registered_newest_first(old: MakeMachine) -> None:
    machine = old(topology=(4, 1, 1, 1))
    packages = [name for zone, name in names(machine).items() if zone.count(":") == 1]
    assert packages == ["package-3", "package-2", "package-1", "package-0"]
    machine.cpu(3).offline()
    machine.cpu(3).online()
    assert names(machine)["intel-rapl:0"] == "package-3"


def test_dies_are_not_known(old: MakeMachine) -> None:
    packages = [name for zone, name in names(old(topology=(2, 2, 1, 1))).items() if zone.count(":") == 1]
    assert packages == ["package-1", "package-0"]


def test_one_package_without_a_domain_takes_everything_along(old: MakeMachine) -> None:
    broken = {"package.1": {0x606: 0xA0E03, 0x610: 0}}
    machine = old(topology=(2, 1, 1, 1), registers={0x611: 5}, where=broken)
    for register in (0x611, 0x619, 0x639, 0x641):
        machine.msr.inject(1, register, on="read", errno=EIO)
    machine.driver.unload()
    machine.driver.load()
    assert not machine.driver.loaded
    assert machine.sysfs.listdir(CLASS) == []
    machine.msr.inject(1, 0x611, on="read", errno=None)
    machine.driver.load()
    assert names(machine)["intel-rapl:0"] == "package-1"


def test_without_a_unit_register_there_is_no_tree(old: MakeMachine) -> None:
    assert not old(registers={0x606: None}).driver.loaded


def test_a_package_without_its_own_counter_leaves_a_control_type_without_zones(old: MakeMachine) -> None:
    machine = old(registers={0x611: None})
    assert machine.sysfs.listdir(CLASS) == ["intel-rapl"]
    assert machine.driver.loaded
    with pytest.raises(KernelCrash, match="never registered"):
        machine.driver.unload()


def test_zones_of_a_newer_package_go_when_an_older_one_has_no_counter_of_its_own(old: MakeMachine) -> None:
    machine = old(topology=(2, 1, 1, 1))
    machine.driver.unload()
    machine.msr.inject(0, 0x611, on="read", errno=EIO)
    machine.uevents.clear()
    machine.driver.load()
    assert machine.sysfs.listdir(CLASS) == ["intel-rapl"]
    kinds = [event[0] for event in machine.uevents]
    assert kinds.count("ACTION=add") == 1 + 4
    assert kinds.count("ACTION=remove") == 4


def test_there_is_no_device_to_bind_and_no_other_module(old: MakeMachine) -> None:
    driver = old().driver
    calls = (driver.bind, driver.unbind, driver.load_common, driver.load_msr, driver.attach_mmio)
    assert [errno_of(call) for call in calls] == [ENOENT] * 5
    assert errno_of(lambda: driver.attach_tpmi(0)) == ENOENT


# How it counts.


@given(st.integers(0, 2**32 - 1))
def test_energy_is_the_counter_by_the_exact_unit(sandy: Machine, raw: int) -> None:
    sandy.msr.poke(0, 0x611, raw)
    assert number(sandy, f"{PACKAGE}/energy_uj") == raw * UNIT * 1_000_000 // 1


@pytest.fixture(scope="module")
def sandy(make_machine: MakeMachine) -> Machine:
    """One machine for many values."""
    return make_machine("kabylake", "3.13", cpu=SANDY_BRIDGE, more="[load]\npackage = 20\ncore = 5\n")


@given(st.integers(0, 2**64 - 1))
def test_a_limit_is_shifted_into_place_and_not_cut_to_it(sandy: Machine, limit_uw: int) -> None:
    sandy.msr.poke(0, 0x610, 0)
    sandy.sysfs.write(f"{PACKAGE}/constraint_1_power_limit_uw", b"%d" % limit_uw)
    steps = limit_uw * 8 % 2**64 // 1_000_000
    assert sandy.msr.read(0, 0x610) == (steps << 32) % 2**64
    assert number(sandy, f"{PACKAGE}/constraint_1_power_limit_uw") == steps % 2**15 * 125_000


@pytest.mark.pitfall("large-limit-wraps")
def test_a_limit_too_large_switches_itself_on(old: MakeMachine) -> None:
    machine = old(registers={0x610: 0})
    machine.sysfs.write(f"{PACKAGE}/constraint_0_power_limit_uw", b"5000000000")
    # 40000 steps are 7232 and bit 15, the enable.
    assert machine.msr.read(0, 0x610) == 40_000
    assert number(machine, f"{PACKAGE}/constraint_0_power_limit_uw") == 7232 * 125_000
    assert machine.sysfs.read(f"{PACKAGE}/enabled") == b"1\n"


@given(st.integers(1, 2**31 // 1024 - 1), st.integers(0, 999_999))
def test_a_window_is_cut_to_whole_seconds_first(sandy: Machine, seconds: int, rest_us: int) -> None:
    sandy.sysfs.write(f"{PACKAGE}/constraint_0_time_window_us", b"%d" % (seconds * 1_000_000 + rest_us))
    code = sandy.msr.read(0, 0x610) >> 17 & 0x7F
    steps = seconds * 1024
    codes = {(1 << y) * (4 + f) // 4: y | f << 5 for y in range(2, 31) for f in range(4)}
    assert code == codes[max(size for size in codes if size <= steps)]
    shown = Fraction((1 << (code & 31)) * (4 + (code >> 5)), 4 * 1024) * 1_000_000
    assert number(sandy, f"{PACKAGE}/constraint_0_time_window_us") == shown // 1


def test_familiar_windows_read_by_the_exact_unit(old: MakeMachine) -> None:
    machine = old(registers={0x610: 0x6E << 17 | 0x21 << 49})
    assert number(machine, f"{PACKAGE}/constraint_0_time_window_us") == 28_000_000
    assert number(machine, f"{PACKAGE}/constraint_1_time_window_us") == 2441


@pytest.mark.parametrize("window", [b"0", b"1", b"999999"])
def test_a_window_below_a_second_is_stored_as_the_longest(old: MakeMachine, window: bytes) -> None:
    machine = old()
    machine.sysfs.write(f"{PACKAGE}/constraint_0_time_window_us", window)
    assert machine.msr.read(0, 0x610) >> 17 & 0x7F == 0x1F


def test_every_range_is_that_of_package_0(old: MakeMachine) -> None:
    machine = old(topology=(2, 1, 1, 1), where={"package.1": {0x606: 0xA1003}})
    assert names(machine)["intel-rapl:0"] == "package-1"
    ranges = [number(machine, f"{CLASS}/intel-rapl:{zone}/max_energy_range_uj") for zone in (0, 1)]
    assert ranges == [262_143_999_938, 262_143_999_938]
    machine.msr.poke(1, 0x611, 1 << 16)
    assert number(machine, f"{PACKAGE}/energy_uj") == 1_000_000
    # Without package 0 there is no unit to be had.
    machine.cpu(0).offline()
    assert number(machine, f"{PACKAGE}/max_energy_range_uj") == 2**32 - 1


@pytest.mark.pitfall("silvermont-units")
def test_silvermont_counts_its_energy_upwards_and_nothing_else(old: MakeMachine) -> None:
    machine = old("baytrail", cpu="GenuineIntel:6:0x37", watts={"package": 5, "core": 2})
    machine.msr.poke(0, 0x611, 1000)
    assert number(machine, f"{PACKAGE}/energy_uj") == 32_000
    assert number(machine, f"{PACKAGE}/max_energy_range_uj") == 137_438_953_440
    assert number(machine, f"{PACKAGE}/constraint_0_power_limit_uw") == 234 * 1_000_000 // 32
    # The window is taken for an exponent: 1 is 2 seconds.
    assert number(machine, f"{PACKAGE}/constraint_0_time_window_us") == 2_000_000
    machine.sysfs.write(f"{PACKAGE}/enabled", b"1")
    assert machine.driver.mailbox.registers == {}
    assert machine.msr.read(0, 0x610) >> 15 & 3 == 3


def test_an_energy_unit_beyond_a_joule_divides_by_zero(old: MakeMachine) -> None:
    machine = old("baytrail", cpu="GenuineIntel:6:0x37", registers={0x606: 20 << 8, 0x610: 0}, watts={"package": 4000})
    with pytest.raises(KernelCrash, match="divide error"):
        machine.sysfs.read(f"{PACKAGE}/energy_uj")


# Limits, switches and what is taken for a lock.


def test_limits_are_there_whether_or_not_there_is_a_register(old: MakeMachine) -> None:
    machine = old(registers={0x610: None, 0x638: None, 0x614: None})
    assert machine.sysfs.read(f"{PACKAGE}/constraint_1_name") == b"short_term\n"
    assert machine.sysfs.read(f"{CORE}/constraint_0_name") == b"long_term\n"
    assert "constraint_1_name" not in machine.sysfs.listdir(CORE)
    for what in ("power_limit_uw", "time_window_us", "max_power_uw"):
        assert errno_of(partial(machine.sysfs.read, f"{PACKAGE}/constraint_0_{what}")) == ENODATA
    assert machine.sysfs.read(f"{PACKAGE}/enabled") == b"0\n"


def test_maximum_powers_come_from_the_information_register(old: MakeMachine) -> None:
    machine = old(registers={0x614: 0x000F0CE803980528})
    assert number(machine, f"{PACKAGE}/constraint_0_max_power_uw") == 165_000_000
    assert number(machine, f"{PACKAGE}/constraint_1_max_power_uw") == 413_000_000
    assert errno_of(lambda: machine.sysfs.read(f"{CORE}/constraint_0_max_power_uw")) == ENODATA


@pytest.mark.pitfall("locked-zone-reads-disabled")
def test_a_lock_bit_is_not_seen_and_an_unreadable_register_is_taken_for_locked(old: MakeMachine) -> None:
    machine = old(registers={0x610: 1 << 63 | 0x8078}, rules="silicon")
    assert machine.sysfs.read(f"{PACKAGE}/enabled") == b"1\n"
    assert machine.sysfs.write(f"{PACKAGE}/constraint_0_power_limit_uw", b"5000000") == 7
    assert number(machine, f"{PACKAGE}/constraint_0_power_limit_uw") == 15_000_000
    machine = old(registers={0x610: None})
    assert errno_of(lambda: machine.sysfs.write(f"{PACKAGE}/constraint_0_power_limit_uw", b"1000000")) == ENODATA
    assert errno_of(lambda: machine.sysfs.write(f"{PACKAGE}/enabled", b"1")) == ENOSYS
    # Nobody asks for a window.
    assert machine.sysfs.write(f"{PACKAGE}/constraint_0_time_window_us", b"1000000") == 7


@pytest.mark.pitfall("write-faults-before-6-5")
def test_a_write_that_faults_claims_success(old: MakeMachine) -> None:
    machine = old()
    machine.msr.inject(0, 0x610, on="write", errno=EIO)
    before = machine.msr.content(0, 0x610)
    for path, data in (
        (f"{PACKAGE}/constraint_0_power_limit_uw", b"1000000"),
        (f"{PACKAGE}/constraint_1_time_window_us", b"1000000"),
        (f"{PACKAGE}/enabled", b"0"),
    ):
        assert machine.sysfs.write(path, data) == len(data)
    assert machine.msr.content(0, 0x610) == before


def test_switching_a_package_switches_both_limits_and_clamps(old: MakeMachine) -> None:
    machine = old(registers={0x610: 0x0000_0064_0000_0078})
    machine.sysfs.write(f"{PACKAGE}/enabled", b"1")
    assert machine.msr.read(0, 0x610) == 0x0001_8064_0001_8078
    assert [access.mask for access in machine.msr.log] == [1 << 15, 1 << 16, 1 << 47, 1 << 48]
    machine.sysfs.write(f"{CORE}/enabled", b"1")
    assert [access.mask for access in machine.msr.log] == [1 << 15, 1 << 16]


def test_a_failing_counter_is_einval(old: MakeMachine) -> None:
    machine = old()
    machine.msr.inject(0, 0x611, on="read", errno=EIO)
    assert errno_of(lambda: machine.sysfs.read(f"{PACKAGE}/energy_uj")) == EINVAL
    assert errno_of(lambda: machine.sysfs.write(f"{PACKAGE}/energy_uj", b"0")) == EACCES
