# SPDX-License-Identifier: Apache-2.0
"""The driver's integers: units that are truncated first, windows that overflow."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raplica_simulator.linux.rapl_units import (
    RaplUnits,
    atom_units,
    core_units,
    tpmi_units,
    us_to_window_raw,
    window_to_us,
)

OLD = (6, 1)
NEW = (6, 12)
T = 976
U64 = st.integers(0, 2**64 - 1)


@pytest.mark.parametrize(
    ("unit_raw", "energy_nj", "power_uw", "time_us"),
    [
        (0xA0E03, 61035, 125000, 976),
        (0xA1003, 15258, 125000, 976),
        (0xA1000, 15258, 1000000, 976),
        (0xA0E08, 61035, 3906, 976),
        (0x00000, 1000000000, 1000000, 1000000),
        (0xF1E0F, 0, 30, 30),
        (0xF1F0F, 0, 30, 30),
    ],
)
def test_core_units_are_divided_and_truncated(unit_raw: int, energy_nj: int, power_uw: int, time_us: int) -> None:
    assert core_units(unit_raw) == RaplUnits(energy_nj, power_uw, time_us, "core")


def test_atom_units_count_upwards_and_overflow_in_32_bits() -> None:
    assert atom_units(0x505) == RaplUnits(32000, 32000, 1000000, "atom")
    assert atom_units(22 << 8).energy_unit_nj == (1000 << 22) - (1 << 32) * (1000 << 22 >> 32)


def test_tpmi_units_are_core_units_at_other_bits() -> None:
    assert tpmi_units(0xA383) == RaplUnits(61035, 125000, 976, "tpmi")


@pytest.mark.parametrize(
    ("unit_nj", "raw", "uj"),
    [
        (61035, 1, 61),
        (61035, 2, 122),
        (61035, 3, 183),
        (61035, 1000, 61035),
        (61035, 0x7EDFAD3, 8119898341),
        (61035, 0xFFFFFFFF, 262143328850),
        (15258, 0xFFFFFFFF, 65532610987),
        (15300, 0xFFFFFFFF, 65712999613),
        (30517, 0xFFFFFFFF, 131069516941),
        (1000000000, 0xFFFFFFFF, 4294967295000000),
        (32000, 0xFFFFFFFF, 137438953440),
        (0, 0xFFFFFFFF, 0),
    ],
)
def test_energy_is_multiplied_by_the_truncated_unit(unit_nj: int, raw: int, uj: int) -> None:
    assert RaplUnits(unit_nj, 0, 0).energy_to_uj(raw) == uj


@pytest.mark.parametrize(
    ("uw", "raw"), [(124999, 0), (125000, 1), (187499, 1), (15062500, 120), (5000000000, 40000), (0, 0)]
)
def test_power_is_rounded_down_and_not_masked_here(uw: int, raw: int) -> None:
    assert core_units(0xA0E03).uw_to_power_raw(uw) == raw


@given(st.integers(0, 15), st.integers(0, 0x7FFF))
def test_a_power_that_was_read_can_be_written_back(exponent: int, raw: int) -> None:
    for units in (core_units(exponent), atom_units(exponent)):
        assert units.uw_to_power_raw(units.power_to_uw(raw)) == raw


def test_odd_power_units_are_cut_before_they_are_multiplied() -> None:
    units = core_units(0xA0E08)
    assert units.power_to_uw(1024) == 3999744
    assert units.uw_to_power_raw(4000000) == 1024


@pytest.mark.parametrize(
    ("us", "raw", "reads_us"),
    [
        (0, 0x00, 976),
        (975, 0x00, 976),
        (976, 0x00, 976),
        (1000, 0x00, 976),
        (1220, 0x00, 976),
        (1952, 0x01, 1952),
        (2440, 0x01, 1952),
        (999424, 0x0A, 999424),
        (1000000, 0x0A, 999424),
        (10000000, 0x2D, 9994240),
        (27983871, 0x4E, 23986176),
        (27983872, 0x6E, 27983872),
        (28000000, 0x6E, 27983872),
        (31981568, 0x0F, 31981568),
        (32000000, 0x0F, 31981568),
        (40000000, 0x2F, 39976960),
    ],
)
def test_windows_are_rounded_down_onto_the_grid(us: int, raw: int, reads_us: int) -> None:
    for kernel in (OLD, NEW):
        assert us_to_window_raw(us, T, kernel) == raw
        assert window_to_us(raw, T, kernel) == reads_us


def test_exactly_five_codes_do_not_survive_being_written_back() -> None:
    lost = {
        raw: again
        for raw in range(128)
        if raw & 31 != 31 and (again := us_to_window_raw(window_to_us(raw, T, NEW), T, NEW)) != raw
    }
    assert lost == {0x20: 0x00, 0x40: 0x00, 0x60: 0x00, 0x21: 0x01, 0x61: 0x41}


def test_an_exponent_of_31_overflows_when_read() -> None:
    for kernel in (OLD, NEW):
        assert window_to_us(0x1F, T, kernel) == 4611683922483347456
        assert window_to_us(0x7F, T, kernel) == 4611682350525317120


def test_a_window_that_is_too_large_wraps_on_old_kernels_and_saturates_on_new_ones() -> None:
    assert us_to_window_raw(2**64 - 1, T, NEW) == 0x7F
    assert window_to_us(us_to_window_raw(2**64 - 1, T, OLD), T, OLD) == 7163871232
    assert window_to_us(us_to_window_raw(2**63 - 1, T, OLD), T, OLD) == 3581935616


@settings(deadline=None)
@given(U64, st.sampled_from([1 << n for n in range(10)] + [976, 30, 1000000]))
def test_a_written_window_is_the_largest_code_that_is_not_above_it(us: int, time_us: int) -> None:
    raw = us_to_window_raw(us, time_us, NEW)
    assert 0 <= raw <= 0x7F
    units = us // time_us
    if 0 < units < 1 << 31:
        # Codes below 4 units are fractions of a unit, which the driver cuts off before it encodes.
        codes = [(1 << y) * (4 + f) // 4 for y in range(31) for f in range(4)]
        assert (1 << (raw & 31)) * (4 + (raw >> 5)) // 4 == max(code for code in codes if code <= units)


@given(U64)
def test_both_kernels_agree_wherever_the_window_fits(us: int) -> None:
    old, new = us_to_window_raw(us, T, OLD), us_to_window_raw(us, T, NEW)
    assert old == new or us >= T << 31
    assert 0 <= old <= 0x7F


@given(U64, st.integers(0, 127))
def test_atom_windows_are_whole_units_in_seven_bits(us: int, raw: int) -> None:
    units = atom_units(0x505)
    assert units.us_to_window_raw(us, NEW) == us // 1000000 % 128
    assert units.window_to_us(raw, NEW) == max(raw, 1) * 1000000


def test_units_that_were_never_read_give_zero_and_cannot_be_divided_by() -> None:
    units = RaplUnits(0, 0, 0)
    assert (units.energy_to_uj(5), units.power_to_uw(5), units.window_to_us(5, NEW)) == (0, 0, 0)
    with pytest.raises(ZeroDivisionError):
        units.uw_to_power_raw(1)
    with pytest.raises(ZeroDivisionError):
        units.us_to_window_raw(1, NEW)
