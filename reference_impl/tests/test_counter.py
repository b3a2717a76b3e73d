# SPDX-License-Identifier: Apache-2.0
"""Units, periods and differences of counters, against a raw counter that never wraps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_reader.counter import RAW_MAX, RAW_STEPS, PowercapCounter, RawCounter, counter_of
from raplica_reader.step import SLACK_NS, step

UNITS_NJ = st.one_of(
    st.integers(0, 29).map(lambda shift: 10**9 >> shift),
    st.sampled_from([15_300, 10**9, 32_000, 64_000]),
    st.integers(1, 10**10),
)
STEPS = st.lists(st.integers(0, RAW_MAX), min_size=1, max_size=40)


def shown_uj(raw: int, unit_nj: int) -> int:
    """What the kernel prints for a raw count (rapl_unit_xlate: floor)."""
    return raw % RAW_STEPS * unit_nj // 1000


def spent_nj(counter: PowercapCounter, before_uj: int, after_uj: int) -> int | None:
    """What was spent where one wrap is possible in the time between, and two are not."""
    return step(counter, before_uj, after_uj, (counter.period_nj or 0) - 1 - SLACK_NS, 1).parts


@pytest.mark.parametrize(
    ("range_uj", "unit_nj"),
    [
        (262_143_328_850, 61_035),
        (65_532_610_987, 15_258),
        (65_712_999_613, 15_300),
        (4_294_967_295_000_000, 10**9),
        (137_438_953_440, 32_000),
        (524_286_657_700, 122_070),
    ],
)
def test_the_unit_follows_from_the_range_of_real_machines(range_uj: int, unit_nj: int) -> None:
    counter = counter_of("intel-rapl", range_uj)
    assert counter.unit_nj == unit_nj
    assert counter.period_nj == RAW_STEPS * unit_nj
    assert counter.exact


@given(UNITS_NJ)
def test_the_unit_follows_from_the_range_for_every_unit(unit_nj: int) -> None:
    assert counter_of("intel-rapl-mmio", RAW_MAX * unit_nj // 1000).unit_nj == unit_nj


def test_a_period_is_one_step_longer_than_the_range() -> None:
    counter = counter_of("intel-rapl", 262_143_328_850)
    assert spent_nj(counter, 262_143_328_850, 0) == 61_035
    assert spent_nj(counter, 262_143_328_850, 61) == 2 * 61_035


@given(UNITS_NJ, st.integers(0, RAW_MAX), STEPS)
def test_sums_are_right_to_a_microjoule_a_reading_however_often_a_counter_wraps(
    unit_nj: int, raw: int, steps: list[int]
) -> None:
    counter = counter_of("intel-rapl", RAW_MAX * unit_nj // 1000)
    longest = RAW_STEPS - -(-1000 // unit_nj)  # one wrap that can be seen: the file goes back by a microjoule
    total_nj = 0
    start = raw
    for number in steps:
        before_uj = shown_uj(raw, unit_nj)
        raw += min(number, longest)
        step_nj = spent_nj(counter, before_uj, shown_uj(raw, unit_nj))
        assert step_nj is not None
        total_nj += step_nj
    error_nj = abs(total_nj - (raw - start) * unit_nj)
    assert error_nj == 0 if unit_nj >= 1000 else error_nj < 1000


@given(UNITS_NJ, st.integers(0, 10**18), st.integers(0, 10**18))
def test_a_counter_that_shows_no_multiple_of_its_unit_is_taken_at_its_word(unit_nj: int, one: int, two: int) -> None:
    range_uj = RAW_MAX * unit_nj // 1000
    counter = counter_of("intel-rapl", range_uj)
    before_uj, after_uj = sorted((one % (range_uj + 1), two % (range_uj + 1)))
    step_nj = spent_nj(counter, before_uj, after_uj)
    assert step_nj is not None
    assert abs(step_nj - (after_uj - before_uj) * 1000) < 1000


def test_a_counter_above_its_range_is_not_believed() -> None:
    counter = counter_of("intel-rapl", 262143328850)
    assert spent_nj(counter, 1_000_000, 999_999_999_999_999) is None
    assert spent_nj(counter, 999_999_999_999_999, 1_000_000) is None


@pytest.mark.parametrize("shift", range(32))
def test_the_unrounded_units_of_the_first_drivers_are_known_too(shift: int) -> None:
    counter = counter_of("intel-rapl", RAW_MAX * 10**6 >> shift)
    assert counter.exact
    assert counter.period_nj == RAW_STEPS * 10**9 >> shift


def test_the_range_of_a_2015_kernel_gives_a_period_of_2_to_the_18_joules() -> None:
    assert counter_of("intel-rapl", 262_143_999_938).period_nj == 262_144 * 10**9


@pytest.mark.parametrize("control_type", ["arm-scmi", "dtpm", "something-else"])
def test_a_counter_of_another_driver_is_assumed_to_wrap_after_its_range(control_type: str) -> None:
    counter = counter_of(control_type, 262_143_328_850)
    assert not counter.exact
    assert counter.unit_nj is None
    assert spent_nj(counter, 262_143_328_850, 0) == 1000


def test_a_range_that_no_unit_gives_is_assumed_to_be_the_last_value() -> None:
    counter = counter_of("intel-rapl", 262_143_328_911)
    assert not counter.exact
    assert counter.period_nj == 262_143_328_912_000


@pytest.mark.parametrize("range_uj", [None, 0, -1])
def test_without_a_range_a_step_back_is_unknown_and_a_step_forward_is_not(range_uj: int | None) -> None:
    counter = counter_of("intel-rapl", range_uj)
    assert spent_nj(counter, 1_000, 999) is None
    assert spent_nj(counter, 1_000, 1_001) == 1_000
    assert spent_nj(counter, 1_000, 1_000) == 0


def test_a_reading_beyond_the_range_makes_a_step_back_unknown() -> None:
    assert spent_nj(counter_of("intel-rapl", 262_143_328_850), 262_143_328_851, 5) is None


RATIOS = st.one_of(
    st.integers(0, 31).map(lambda exponent: (10**9, 2**exponent)),
    st.sampled_from([(15_300, 1), (10**9, 1), (32_000, 1), (1_953_125, 8_388_608)]),
)


@given(RATIOS, st.sampled_from([32, 64]), st.integers(0, 2**64 - 1), st.lists(st.integers(0, 2**63), max_size=20))
def test_raw_steps_are_added_up_without_rounding_whatever_stands_above_the_counter(
    unit: tuple[int, int], bits: int, raw: int, steps: list[int]
) -> None:
    counter = RawCounter(unit, bits)
    total = 0
    taken = []
    for number in steps:
        before = raw
        taken.append(number % (2**bits - 1))
        # The bits above a 32-bit counter are reserved, and some parts show garbage there.
        raw = (before + taken[-1]) % 2**bits | (number % 2**64 >> bits << bits)
        duration_ns = counter.energy_nj(taken[-1]) + 1 - SLACK_NS  # just enough for this step
        parts = step(counter, before, raw, duration_ns, 1).parts
        assert parts is not None
        assert parts == taken[-1]
        total += parts
    assert counter.energy_nj(total) == sum(taken) * unit[0] // unit[1]


@given(RATIOS, st.integers(0, 10**18))
def test_parts_and_nanojoules_are_the_two_sides_of_one_ratio(unit: tuple[int, int], energy_nj: int) -> None:
    counter = RawCounter(unit, 32)
    parts = counter.parts(energy_nj)
    assert parts * unit[0] <= energy_nj * unit[1] < (parts + 1) * unit[0]
    assert counter.energy_nj(parts) <= energy_nj
    assert counter.unit_nj == unit[0] / unit[1]
