# SPDX-License-Identifier: Apache-2.0
"""Time windows as the driver shows and stores them: the grid, what rounds, what overflows, on both kernels."""

from errno import EINVAL, ENODATA

import pytest

from .limit_files import KERNELS, PACKAGE, MakeMachine, errno_of, show, store

WINDOW_OVERFLOW = 4611683922483347456

pytestmark = pytest.mark.parametrize("kernel", KERNELS)


@pytest.mark.pitfall("time-unit-is-976-us")
@pytest.mark.pitfall("window-2440-written-back")
@pytest.mark.pitfall("window-is-cut-downward")
@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (0, 976),
        (976, 976),
        (1000, 976),
        (1220, 976),
        (1952, 1952),
        (2440, 1952),
        (999_424, 999_424),
        (1_000_000, 999_424),
        (10_000_000, 9_994_240),
        (27_983_871, 23_986_176),
        (27_983_872, 27_983_872),
        (28_000_000, 27_983_872),
        (32_000_000, 31_981_568),
        (40_000_000, 39_976_960),
    ],
)
def test_a_window_is_cut_down_to_the_grid_of_whole_units(
    make_machine: MakeMachine, kernel: str, written: int, shown: int
) -> None:
    machine = make_machine("kabylake", kernel)
    for constraint in (0, 1):
        assert store(machine, f"constraint_{constraint}_time_window_us", written) == shown


@pytest.mark.pitfall("window-31-overflows")
def test_every_window_code_is_decoded_with_the_drivers_overflow(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("kabylake", kernel)
    for code in range(128):
        machine.msr.poke(0, 0x610, code << 17 | (127 - code) << 49)
        for constraint, raw in ((0, code), (1, 127 - code)):
            exponent, fraction = raw % 32, raw // 32
            two = 2**exponent if exponent < 31 else 2**64 - 2**31  # an int of C, widened
            shown = two * (4 + fraction) * 976 % 2**64 // 4
            assert show(machine, f"constraint_{constraint}_time_window_us") == shown
    machine.msr.poke(0, 0x610, 31 << 17)
    assert show(machine, "constraint_0_time_window_us") == WINDOW_OVERFLOW


@pytest.mark.pitfall("window-2440-written-back")
def test_exactly_five_codes_do_not_survive_being_written_back(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("kabylake", kernel)
    changed = {}
    for code in range(128):
        if code % 32 == 31:
            continue  # the overflowing ones are no windows
        machine.msr.poke(0, 0x610, code << 17)
        store(machine, "constraint_0_time_window_us", show(machine, "constraint_0_time_window_us") or 0)
        after = machine.msr.read(0, 0x610) >> 17
        if after != code:
            changed[code] = after
    assert changed == {0x20: 0, 0x40: 0, 0x60: 0, 0x21: 1, 0x61: 0x41}


@pytest.mark.parametrize("written", [2**63 - 1, 2**64 - 1, 2**32 * 976, 2**31 * 976])
def test_a_window_too_large_wraps_before_6_5_and_saturates_after(
    make_machine: MakeMachine, kernel: str, written: int
) -> None:
    machine = make_machine("kabylake", kernel)
    shown = store(machine, "constraint_0_time_window_us", written)
    if kernel == "6.12":
        # 2^31 units still fit: they show the overflow of exponent 31.
        assert shown == (WINDOW_OVERFLOW if written == 2**31 * 976 else 4611682350525317120)
    else:
        wrapped = {2**63 - 1: 3581935616, 2**64 - 1: 7163871232, 2**32 * 976: 976, 2**31 * 976: WINDOW_OVERFLOW}
        assert shown == wrapped[written]


@pytest.mark.pitfall("peak-power-has-no-window")
def test_peak_power_has_no_window_which_6_1_shows_as_0(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("alderlake", kernel)
    path = f"{PACKAGE}/constraint_2_time_window_us"
    assert show(machine, "constraint_2_time_window_us") == {"6.1": 0, "6.12": None}[kernel]
    assert machine.msr.log == []
    assert errno_of(machine.sysfs.write, path, b"1000") == ENODATA
    assert errno_of(machine.sysfs.write, path, b"x") == EINVAL
    assert machine.msr.log == []
