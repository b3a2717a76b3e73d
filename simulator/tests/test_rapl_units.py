# SPDX-License-Identifier: Apache-2.0
"""The driver's integers: units that are truncated first, windows that overflow."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raplica_simulator.linux.rapl_units import (
    RaplUnits,
    atom_units,
    core_units,
    divisor_units,
    tpmi_units,
    us_to_window_raw,
    window_to_us,
)

UNGUARDED = (5, 5)
OLD = (6, 1)
NEW = (6, 12)
WIDE = (7, 1)
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


@given(U64, st.sampled_from([976, 1, 30, 1000000]))
def test_a_window_below_one_unit_is_all_that_6_1_changed(us: int, time_us: int) -> None:
    early = us_to_window_raw(us, time_us, UNGUARDED)
    assert early == (0x1F if us < time_us else us_to_window_raw(us, time_us, OLD))


@given(st.integers(0, 127), st.integers(0, 15))
def test_since_7_1_a_window_reads_as_its_formula(raw: int, time_exponent: int) -> None:
    time_us = core_units(time_exponent << 16).time_unit_us
    exact = 2 ** (raw & 31) * (1 + Fraction(raw >> 5, 4)) * time_us
    assert window_to_us(raw, time_us, WIDE) == exact // 1
    assert window_to_us(raw, time_us, WIDE, "tpmi") == exact // 1
    if raw & 31 != 31:
        assert window_to_us(raw, time_us, NEW) == exact // 1


@given(U64)
def test_windows_are_written_since_7_1_as_they_were(us: int) -> None:
    assert us_to_window_raw(us, T, WIDE) == us_to_window_raw(us, T, NEW)


# The first driver, which divides last.

FIELDS = st.tuples(st.integers(0, 31), st.integers(0, 15), st.integers(0, 15))


def unit_register(fields: tuple[int, int, int]) -> int:
    energy, power, time = fields
    return time << 16 | energy << 8 | power


@given(FIELDS, st.integers(0, 2**32 - 1))
def test_in_3_13_reading_rounds_once_and_last(fields: tuple[int, int, int], raw: int) -> None:
    units = divisor_units(unit_register(fields))
    energy, power, _ = fields
    assert units.energy_to_uj(raw) == Fraction(raw * 1_000_000, 2**energy) // 1
    assert units.power_to_uw(raw & 0x7FFF) == Fraction((raw & 0x7FFF) * 1_000_000, 2**power) // 1


@given(FIELDS, U64)
def test_in_3_13_a_power_is_multiplied_in_64_bits_and_divided(fields: tuple[int, int, int], power_uw: int) -> None:
    raw = divisor_units(unit_register(fields)).uw_to_power_raw(power_uw)
    assert raw == Fraction(power_uw * 2 ** fields[1] % 2**64, 1_000_000) // 1


@given(FIELDS, st.integers(0, 127))
def test_in_3_13_a_window_reads_as_its_formula_but_for_the_longest(fields: tuple[int, int, int], raw: int) -> None:
    power = 2**64 - 2**31 if raw & 31 == 31 else 2 ** (raw & 31)
    quarter_us = power * (4 + (raw >> 5)) * 1_000_000 % 2**64
    window = Fraction(quarter_us, 4) // 1 * Fraction(1, 2 ** fields[2])
    assert divisor_units(unit_register(fields)).window_to_us(raw) == window // 1


@given(FIELDS, st.integers(0, 2**44))
def test_in_3_13_a_window_is_whole_seconds(fields: tuple[int, int, int], us: int) -> None:
    units = divisor_units(unit_register(fields))
    raw = units.us_to_window_raw(us)
    assert raw == units.us_to_window_raw(us // 1_000_000 * 1_000_000)
    steps = us // 1_000_000 * 2 ** fields[2]
    if 0 < steps < 1 << 31:
        codes = [(1 << y) * (4 + f) // 4 for y in range(31) for f in range(4)]
        assert (1 << (raw & 31)) * (4 + (raw >> 5)) // 4 == max(code for code in codes if code <= steps)
    elif not steps:
        assert raw == 0x1F


@given(st.integers(0, 31), st.integers(0, 2**32 - 1))
def test_in_3_13_silvermont_divides_by_what_is_left_of_a_joule(exponent: int, raw: int) -> None:
    units = divisor_units(exponent << 8 | 5, counts_up=True)
    assert units.steps_per_w == 32
    if exponent < 20:
        assert units.energy_to_uj(raw) == Fraction(raw * 1_000_000, 1_000_000 // 2**exponent) // 1
    else:
        with pytest.raises(ZeroDivisionError):
            units.energy_to_uj(raw)


def test_in_3_13_the_familiar_unit_is_not_truncated() -> None:
    units = divisor_units(0xA0E03)
    assert units.energy_to_uj(0xFFFFFFFF) == 262_143_999_938
    assert units.energy_to_uj(1000) == 61_035
    assert units.window_to_us(0x6E) == 28_000_000
