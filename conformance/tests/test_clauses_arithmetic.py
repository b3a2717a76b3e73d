# SPDX-License-Identifier: Apache-2.0
"""The suite's own idea of the driver's arithmetic, against numbers seen on real kernels and machines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_conformance.clauses import _driver
from raplica_conformance.clauses._driver import Units

T = 976


@pytest.mark.parametrize(
    ("register", "atom", "units"),
    [
        (0xA0E03, False, (61_035, 125_000, 976)),
        (0xA1003, False, (15_258, 125_000, 976)),
        (0xA0E08, False, (61_035, 3_906, 976)),
        (0xA1000, False, (15_258, 1_000_000, 976)),
        (0x00505, True, (32_000, 32_000, 1_000_000)),
    ],
)
def test_a_unit_register_gives_nanojoules_microwatts_and_microseconds(
    *, register: int, atom: bool, units: tuple[int, int, int]
) -> None:
    found = Units.of(register, atom=atom)
    assert (found.energy_nj, found.power_uw, found.time_us) == units


@pytest.mark.parametrize(
    ("unit_nj", "range_uj"),
    [
        (61_035, 262_143_328_850),
        (15_258, 65_532_610_987),
        (15_300, 65_712_999_613),
        (1_000_000_000, 4_294_967_295_000_000),
        (976_562, 4_194_301_851_539),
        (32_000, 137_438_953_440),
    ],
)
def test_a_range_belongs_to_one_unit(unit_nj: int, range_uj: int) -> None:
    assert _driver.range_uj(unit_nj) == range_uj
    assert _driver.unit_nj(range_uj) == unit_nj
    assert _driver.unit_nj(range_uj + 1) is None


def test_ranges_of_early_drivers_and_round_numbers_belong_to_no_unit() -> None:
    assert 262_143_999_938 in _driver.early_ranges_uj()
    for wrong in (262_143_999_938, 262_144_000_000, 262_143_328_911):
        assert _driver.unit_nj(wrong) is None


@pytest.mark.parametrize(
    ("raw", "energy"), [(0, 0), (1, 61), (2, 122), (3, 183), (1000, 61_035), (0x7EDFAD3, 8_119_898_341)]
)
def test_energy_is_cut_to_microjoules(raw: int, energy: int) -> None:
    assert _driver.energy_uj(raw, 61_035) == energy
    assert _driver.raw_energy(energy, 61_035) == raw
    assert _driver.raw_energy(energy + 1, 61_035) is None


@given(st.integers(0, 2**32 - 1), st.sampled_from([15_258, 15_300, 61_035, 1_000_000_000]))
def test_every_counter_is_found_again_from_its_energy(raw: int, unit_nj: int) -> None:
    assert _driver.raw_energy(_driver.energy_uj(raw, unit_nj), unit_nj) == raw


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 119, 476, 953, 1000, 1907, 61_035]))
def test_every_counter_that_reads_as_an_energy_is_found_and_no_other(raw: int, unit_nj: int) -> None:
    energy = _driver.energy_uj(raw, unit_nj)
    raws = _driver.raw_energies(energy, unit_nj)
    assert raw in raws
    assert {_driver.energy_uj(one, unit_nj) for one in raws} == {energy}
    around = (raws.start - 1, raws.stop)
    assert energy not in {_driver.energy_uj(one, unit_nj) for one in around if one >= 0}


@pytest.mark.parametrize(
    ("us", "code", "reads"),
    [
        (0, 0x00, 976),
        (1_000, 0x00, 976),
        (1_220, 0x00, 976),
        (1_952, 0x01, 1_952),
        (2_440, 0x01, 1_952),
        (1_000_000, 0x0A, 999_424),
        (10_000_000, 0x2D, 9_994_240),
        (27_983_871, 0x4E, 23_986_176),
        (28_000_000, 0x6E, 27_983_872),
        (32_000_000, 0x0F, 31_981_568),
        (40_000_000, 0x2F, 39_976_960),
        (2**64 - 1, 0x7F, 4_611_682_350_525_317_120),
    ],
)
def test_a_window_is_encoded_downward(us: int, code: int, reads: int) -> None:
    assert _driver.window_code(us, T) == code
    assert _driver.window_us(code, T) == reads


def test_windows_with_the_largest_exponent_overflow() -> None:
    assert _driver.window_us(0x1F, T) == 4_611_683_922_483_347_456
    assert _driver.window_us(0x1F, T, overflows=False) == 2_095_944_040_448
    assert Units.of(0xA0E03).window_us(0x7F, overflows=False) == 3_667_902_070_784
    assert 2_095_944_040_448 in _driver.longest_windows_us()


def test_exactly_five_codes_do_not_survive_being_written_back() -> None:
    changed = [
        code for code in range(128) if code & 0x1F < 31 and _driver.window_code(_driver.window_us(code, T), T) != code
    ]
    assert changed == [0x20, 0x21, 0x40, 0x60, 0x61]


@pytest.mark.parametrize(
    ("us", "reads"), [(2**63 - 1, 3_581_935_616), (2**64 - 1, 7_163_871_232), (1_000_000, 999_424)]
)
def test_an_older_kernel_keeps_the_low_bits_of_a_window_that_is_too_long(us: int, reads: int) -> None:
    assert _driver.window_us(_driver.wrapped_window_code(us, T), T) == reads


@given(st.integers(0, 2**40))
def test_no_window_is_rounded_up(us: int) -> None:
    assert _driver.window_us(_driver.window_code(us, T), T) <= max(us, T)


@pytest.mark.parametrize(
    ("values", "atom", "fits"),
    [
        ([125_000, 3_408_250_000], False, True),
        ([3_999_744, 5_999_616], False, True),
        ([165_000_001], False, False),
        ([9_984_000], True, True),
        ([9_984_001], None, False),
        ([0, 0], False, True),
    ],
)
def test_limits_fit_a_power_unit(*, values: list[int], atom: bool | None, fits: bool) -> None:
    assert _driver.fits_power_unit(values, atom=atom) is fits


@pytest.mark.parametrize(
    ("values", "atom", "fits"),
    [
        ([(5_000_000_000, 15), (25_125_000, 15)], False, False),  # 40000 steps of 125 mW
        ([(5_000_000_000, 18), (25_125_000, 18)], False, True),
        ([(5_000_000_000, 15)], False, True),  # steps of 1 W would do
        ([(1_023_875_000, 13), (125_000, 15)], False, True),
        ([(1_024_000_000, 13), (125_000, 15)], False, False),
        ([(9_984_000, 15)], True, True),
        ([(0, 1)], None, True),
    ],
)
def test_limits_fit_their_fields_in_one_unit(*, values: list[tuple[int, int]], atom: bool | None, fits: bool) -> None:
    assert _driver.fits_fields(values, atom=atom) is fits


@pytest.mark.parametrize(
    ("values", "atom", "fits"),
    [
        ([27_983_872, 2_440, 95_944_704], False, True),
        ([1_000_000, 2_440], False, False),
        ([1_000_000, 28_000_000], True, True),
        ([1_000_000, 11_000_000], True, True),
        ([1_000_000, 11_000_000], False, False),
        ([0, 976], None, True),
        ([4_611_683_922_483_347_456, 976], False, True),
    ],
)
def test_windows_fit_a_time_unit(*, values: list[int], atom: bool | None, fits: bool) -> None:
    assert _driver.fits_time_unit(values, atom=atom) is fits


def test_no_counter_step_is_of_both_kinds() -> None:
    assert [n for n in range(30) if _driver.is_atom(1_000_000_000 >> n)] == []
    assert all(_driver.is_atom(1_000 << n) for n in range(32))
    assert _driver.is_atom(None) is None
    assert [_driver.is_atom(nj) for nj in (61_035, _driver.DRAM_NJ, _driver.PSYS_NJ, 12_345)] == [False] * 3 + [None]
