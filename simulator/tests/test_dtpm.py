# SPDX-License-Identifier: Apache-2.0
"""The dtpm hierarchy: limits are clamped, split by weight, and end on what the devices can be held to."""

from __future__ import annotations

from errno import EINVAL, ENODATA, ENOSYS

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator import Machine
from raplica_simulator.linux.dtpm import Dtpm, register_dtpm

ROOT = "class/powercap/dtpm:0"
CPU0, CPU4, GPU = f"{ROOT}:0:0", f"{ROOT}:0:1", f"{ROOT}:1"
LIMIT = "constraint_0_power_limit_uw"


@pytest.fixture
def machine() -> Machine:
    return Machine.from_profile("dtpm")


def read(machine: Machine, zone: str, name: str = LIMIT) -> int:
    """The number in an attribute."""
    return int(machine.sysfs.read(f"{zone}/{name}"))


def write(machine: Machine, zone: str, limit_uw: int) -> int:
    """Set a limit and read it back."""
    data = b"%d\n" % limit_uw
    assert machine.sysfs.write(f"{zone}/{LIMIT}", data) == len(data)
    return read(machine, zone)


def errno_of(machine: Machine, path: str, data: bytes | None = None) -> int | None:
    """The errno of a read, or of a write."""
    try:
        machine.sysfs.read(path) if data is None else machine.sysfs.write(path, data)
    except OSError as error:
        return error.errno
    return 0


def test_a_zone_has_power_one_constraint_and_no_energy(machine: Machine) -> None:
    names = {name for name in machine.sysfs.listdir(ROOT) if not name.startswith("dtpm:")}
    constraint = {f"constraint_0_{name}" for name in ("name", "power_limit_uw", "time_window_us", "max_power_uw")}
    assert names == {"name", "enabled", "power_uw", "max_power_range_uw", *constraint} | {
        *("device", "subsystem", "uevent", "power"),
    }
    assert machine.sysfs.read(f"{ROOT}/constraint_0_name") == b"Instantaneous\n"


@pytest.mark.parametrize("zone", [ROOT, CPU0])
def test_windows_are_enodata_and_the_switch_is_enosys(machine: Machine, zone: str) -> None:
    window = f"{zone}/constraint_0_time_window_us"
    assert errno_of(machine, window) == ENODATA
    assert errno_of(machine, window, b"1000") == ENODATA
    assert errno_of(machine, window, b"x") == EINVAL
    assert machine.sysfs.read(f"{zone}/enabled") == b"1\n"
    assert errno_of(machine, f"{zone}/enabled", b"0") == ENOSYS


def test_a_node_adds_up_what_lies_below_it(machine: Machine) -> None:
    assert read(machine, ROOT, "power_uw") == 700_000 + 2_400_000 + 1_100_000
    assert read(machine, f"{ROOT}:0", "power_uw") == 700_000 + 2_400_000
    assert read(machine, ROOT, "constraint_0_max_power_uw") == 1_300_000 + 5_200_000 + 3_000_000
    assert read(machine, ROOT, "max_power_range_uw") == 9_500_000 - (120_000 + 350_000 + 250_000)


def test_a_device_is_held_to_the_highest_power_that_is_not_above_the_limit(machine: Machine) -> None:
    for limit_uw, held_uw in ((0, 250_000), (799_999, 250_000), (800_000, 800_000), (2_999_999, 1_600_000)):
        assert write(machine, GPU, limit_uw) == held_uw
        assert read(machine, GPU, "power_uw") == min(held_uw, 1_100_000)
    assert write(machine, GPU, 2**64 - 1) == 3_000_000


def test_a_limit_of_a_node_is_split_by_weight_and_shows_what_came_of_it(machine: Machine) -> None:
    # In 1024ths: cpus 701 and gpu 323 of 9.5 W, cpu0 205 and cpu4 819 of the 6.5 W of cpus.
    cpus_uw = round(5_000_000 * 701 / 1024)
    assert [round(cpus_uw * 205 / 1024), round(cpus_uw * 819 / 1024)] == [685_239, 2_737_613]
    assert round(5_000_000 * 323 / 1024) == 1_577_148
    # Each device goes down to the next of its powers.
    assert write(machine, ROOT, 5_000_000) == 480_000 + 1_750_000 + 800_000
    assert (read(machine, CPU0), read(machine, CPU4), read(machine, GPU)) == (480_000, 1_750_000, 800_000)
    assert read(machine, f"{ROOT}:0") == 480_000 + 1_750_000


def test_the_ends_of_the_range_reach_the_ends_of_every_device(machine: Machine) -> None:
    assert write(machine, ROOT, 1) == 120_000 + 350_000 + 250_000
    assert write(machine, ROOT, 2**64 - 1) == 9_500_000
    assert read(machine, CPU4) == 5_200_000


def test_until_it_is_written_the_limit_of_a_node_reads_0_and_that_of_a_device_its_highest(machine: Machine) -> None:
    assert (read(machine, ROOT), read(machine, f"{ROOT}:0")) == (0, 0)
    assert (read(machine, CPU0), read(machine, GPU)) == (1_300_000, 3_000_000)


def test_a_kernel_before_5_11_has_no_dtpm_and_the_machine_says_so() -> None:
    machine = Machine.from_profile("dtpm", kernel="5.5")
    assert machine.sysfs.listdir("class/powercap") == []
    assert machine.warnings == ("control_type: dtpm came with Linux 5.11: there is none on 5.5",)
    assert Machine.from_profile("dtpm", kernel="6.1").warnings == ()


STATES = st.lists(st.integers(1, 10**7), min_size=1, max_size=6, unique=True).map(lambda states: tuple(sorted(states)))


@given(st.lists(STATES, min_size=1, max_size=5), st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 5 * 10**7)))
def test_whatever_is_written_every_device_stands_at_one_of_its_powers(
    devices: list[tuple[int, ...]], limits_uw: list[int]
) -> None:
    machine = Machine.from_profile("idle-injection")
    root = Dtpm("root")
    root.children = [Dtpm(f"device{number}", states, 10**8) for number, states in enumerate(devices)]
    register_dtpm(machine.powercap, root)
    for limit_uw in limits_uw:
        shown_uw = write(machine, ROOT, limit_uw)
        held_uw = [read(machine, f"{ROOT}:{number}") for number in range(len(devices))]
        assert all(held in states for held, states in zip(held_uw, devices, strict=True))
        assert shown_uw == sum(held_uw) == read(machine, ROOT, "power_uw")
        if limit_uw >= root.most_uw:
            assert held_uw == [states[-1] for states in devices]
        elif limit_uw <= root.least_uw:
            assert held_uw == [states[0] for states in devices]
