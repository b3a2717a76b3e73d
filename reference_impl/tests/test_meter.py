# SPDX-License-Identifier: Apache-2.0
"""Differences between samples and their sums: wraps, resets, failures, time, zones that come and go."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_reader import Meter, OsFiles, Sample, Zone, delta, discover
from raplica_reader.counter import counter_of
from raplica_reader.energy_file import EnergyFile
from raplica_reader.step import SLACK_NS

if TYPE_CHECKING:
    from tests.conftest import Memory

RANGE_UJ = 262_143_328_850
UNIT_NJ = 61_035
POSSIBLE_W = 400
PACKAGE_AND_DRAM = {
    "class/powercap/intel-rapl:0/name": b"package-0\n",
    "class/powercap/intel-rapl:0/max_energy_range_uj": b"262143328850\n",
    "class/powercap/intel-rapl:0/energy_uj": b"1000\n",
    "class/powercap/intel-rapl:0:0/name": b"dram\n",
    "class/powercap/intel-rapl:0:0/max_energy_range_uj": b"65712999613\n",
    "class/powercap/intel-rapl:0:0/energy_uj": b"2000\n",
}


def energies(*values_uj: int | None, zones: tuple[Zone, ...], second: int = 0) -> Sample:
    """A sample made by hand; None is a reading that failed with EIO."""
    errors = tuple("EIO" if value is None else None for value in values_uj)
    return Sample(second * 10**9, zones, values_uj, errors)


def test_energy_is_the_difference_and_power_is_over_the_measured_time(memory: type[Memory]) -> None:
    zones = discover(memory(PACKAGE_AND_DRAM))
    package, dram = delta(
        energies(1_000_000, 500_000, zones=zones), energies(51_000_000, 500_000, zones=zones, second=5)
    )
    assert (package.energy_uj, package.power_w, package.duration_ns) == (50_000_000, 10.0, 5 * 10**9)
    assert (dram.energy_uj, dram.power_w, dram.error) == (0, 0.0, None)


def test_each_zone_wraps_by_its_own_period(memory: type[Memory]) -> None:
    zones = discover(memory(PACKAGE_AND_DRAM))
    package, dram = delta(energies(RANGE_UJ, 65_712_999_613, zones=zones), energies(61_035, 15, zones=zones, second=1))
    assert (package.energy_nj, dram.energy_nj) == (61_035 * 1_001, 15_300 * 2)


def test_no_time_is_not_divided_by(memory: type[Memory]) -> None:
    zones = discover(memory(PACKAGE_AND_DRAM))
    package, _ = delta(energies(1, 1, zones=zones), energies(62, 1, zones=zones))
    assert (package.energy_uj, package.power_w) == (61, None)


def test_a_step_back_without_a_range_is_unknown_and_stays_so_in_the_sum(memory: type[Memory]) -> None:
    zones = discover(memory(PACKAGE_AND_DRAM | {"class/powercap/intel-rapl:0/max_energy_range_uj": b"0\n"}))
    meter = Meter()
    meter.add(energies(1_000, 0, zones=zones))
    package, _ = meter.add(energies(900, 0, zones=zones, second=1))
    assert (package.energy_uj, package.power_w, package.error) == (None, None, "ERANGE")
    package, _ = meter.add(energies(950, 0, zones=zones, second=2))
    assert (package.energy_uj, package.error) == (50, None)
    package, dram = meter.total()
    assert (package.energy_uj, package.error) == (None, "ERANGE")
    assert (dram.energy_uj, dram.error) == (0, None)


def test_a_failed_reading_keeps_the_baseline(memory: type[Memory]) -> None:
    zones = discover(memory(PACKAGE_AND_DRAM))
    meter = Meter()
    assert meter.add(energies(0, 0, zones=zones)) == ()
    package, _ = meter.add(energies(None, 0, zones=zones, second=1))
    assert (package.energy_uj, package.power_w, package.error) == (None, None, "EIO")
    package, _ = meter.add(energies(20_000_000, 0, zones=zones, second=2))
    assert (package.energy_uj, package.duration_ns, package.power_w) == (20_000_000, 2 * 10**9, 10.0)
    assert meter.total()[0].energy_uj == 20_000_000
    assert meter.total()[0].error is None


@pytest.mark.parametrize("series", [(None, 5, 9), (5, 9, None), (None, None, None)])
def test_a_sum_that_lacks_its_beginning_or_end_is_unknown(memory: type[Memory], series: tuple[int | None, ...]) -> None:
    zones = discover(memory(PACKAGE_AND_DRAM))
    meter = Meter()
    for second, energy_uj in enumerate(series):
        meter.add(energies(energy_uj, 0, zones=zones, second=second))
    package, dram = meter.total()
    assert (package.energy_uj, package.error) == (None, "EIO")
    assert dram.energy_uj == 0


def test_after_a_failed_beginning_the_first_difference_is_unknown_and_the_next_is_known(memory: type[Memory]) -> None:
    zones = discover(memory(PACKAGE_AND_DRAM))
    meter = Meter()
    meter.add(energies(None, 0, zones=zones))
    assert meter.add(energies(61, 0, zones=zones, second=1))[0].error == "EIO"
    assert meter.add(energies(122, 0, zones=zones, second=2))[0].energy_nj == 61_035


def test_samples_of_different_zones_are_not_compared(memory: type[Memory]) -> None:
    zones = discover(memory(PACKAGE_AND_DRAM))
    with pytest.raises(ValueError, match="same zones"):
        delta(energies(1, 1, zones=zones), energies(1, zones=zones[:1], second=1))


def test_a_meter_without_samples_has_no_total() -> None:
    assert Meter().total() == ()


def zone_of(possible_w: int, range_uj: int | None = RANGE_UJ, path: str = "package-0") -> Zone:
    """A zone made by hand, which is never read."""
    counter = counter_of("intel-rapl", range_uj)
    gauge = EnergyFile(None, None, None, None, OsFiles())
    return Zone(
        f"intel-rapl:{path}", path, path, "intel-rapl", None, range_uj, True, None, counter, possible_w, None, gauge
    )


def at(at_ns: int, *counts: int | None, zones: tuple[Zone, ...]) -> Sample:
    """A sample made by hand at any time; None is a reading that failed with EIO."""
    return Sample(at_ns, zones, counts, tuple("EIO" if count is None else None for count in counts))


def shown_uj(raw: int) -> int:
    """What the kernel prints for a raw count at 61035 nJ a step."""
    return raw % 2**32 * UNIT_NJ // 1000


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.booleans()), min_size=1, max_size=30))
def test_a_sum_is_exact_whichever_readings_in_between_fail(steps: list[tuple[int, bool]]) -> None:
    zones = (zone_of(POSSIBLE_W),)
    meter = Meter()
    meter.add(at(0, 0, zones=zones))
    raw = unseen = now_ns = 0
    for number, (step, fails) in enumerate(steps, 1):
        taken = min(step, 2**32 - 1 - unseen)  # between two good readings one wrap can be seen, and not two
        unseen += taken
        now_ns += -(-taken * UNIT_NJ // POSSIBLE_W)  # at full power
        failed = fails and number < len(steps)
        meter.add(at(now_ns, None if failed else shown_uj(raw + unseen), zones=zones))
        if not failed:
            raw, unseen = raw + unseen, 0
    assert meter.total()[0].energy_nj == raw * UNIT_NJ


WALK = st.lists(
    st.tuples(
        st.integers(0, POSSIBLE_W),  # watts
        st.sampled_from([10**6, 10**9, 60 * 10**9, 1800 * 10**9, 6 * 3600 * 10**9]),  # for so long
        st.sampled_from(["read", "read", "read", "fail", "reset"]),
    ),
    min_size=1,
    max_size=25,
)


@given(st.integers(0, 2**32 - 1), WALK, st.data())
def test_on_any_walk_what_is_told_is_true_and_what_cannot_be_known_is_not_told(
    raw: int, walk: list[tuple[int, int, str]], data: st.DataObject
) -> None:
    """A counter walks at up to its power, reads fail, somebody sets it; the truth goes on beside it."""
    zones = (zone_of(POSSIBLE_W),)
    period_nj = 2**32 * UNIT_NJ
    meter = Meter()
    meter.add(at(0, shown_uj(raw), zones=zones))
    now_ns = last_ns = truth = at_last = 0
    is_set = was_ever_set = False
    for watts, duration_ns, event in walk:
        now_ns += duration_ns
        moved = watts * duration_ns // UNIT_NJ
        raw, truth = raw + moved, truth + moved
        if event == "reset":
            raw = data.draw(st.integers(0, 2**32 - 1), label="set to")
            is_set = was_ever_set = True  # a jump forward looks like a power that nobody thought possible
        (spent,) = meter.add(at(now_ns, None if event == "fail" else shown_uj(raw), zones=zones))
        assert spent.duration_ns == now_ns - last_ns
        if event == "fail":
            assert (spent.energy_nj, spent.status, spent.error) == (None, "error", "EIO")
            continue
        possible_nj = POSSIBLE_W * (now_ns - last_ns + SLACK_NS)
        if spent.status == "ok":
            assert spent.energy_nj is not None
            assert spent.energy_nj + period_nj > possible_nj  # no other answer was possible
            if not is_set:
                assert spent.energy_nj == (truth - at_last) * UNIT_NJ
        elif spent.status == "reset":
            assert is_set
        else:
            assert (spent.status, spent.error) == ("unknown", "EOVERFLOW")
            assert was_ever_set or period_nj <= possible_nj
        last_ns, at_last, is_set = now_ns, truth, False


def test_two_wraps_where_two_are_possible_are_unknown_and_counting_goes_on() -> None:
    zones = (zone_of(100),)
    meter = Meter()
    meter.add(at(0, 1_000_000, zones=zones))
    (spent,) = meter.add(at(3 * 3600 * 10**9, 2_000_000, zones=zones))  # 1 J, or 262 kJ, or 524 kJ
    assert (spent.energy_uj, spent.power_w, spent.status, spent.error) == (None, None, "unknown", "EOVERFLOW")
    (spent,) = meter.add(at(3 * 3600 * 10**9 + 10**9, 52_000_000, zones=zones))
    assert (spent.status, spent.energy_uj) == ("ok", 50_000_000)
    assert (meter.total()[0].energy_uj, meter.total()[0].status) == (None, "unknown")


def test_a_whole_turn_that_leaves_the_counter_where_it_was_is_not_0() -> None:
    (spent,) = delta(at(0, 5, zones=(zone_of(100),)), at(3 * 3600 * 10**9, 5, zones=(zone_of(100),)))
    assert (spent.energy_uj, spent.status) == (None, "unknown")


def test_a_step_back_that_no_power_explains_is_a_reset_and_the_new_value_is_the_baseline() -> None:
    zones = (zone_of(500),)
    meter = Meter()
    meter.add(at(0, 100_000_000_000, zones=zones))
    (spent,) = meter.add(at(10 * 10**9, 61_035_000, zones=zones))
    assert (spent.energy_uj, spent.status, spent.error) == (None, "reset", "ESTALE")
    (spent,) = meter.add(at(11 * 10**9, 122_070_000, zones=zones))
    assert (spent.status, spent.energy_uj) == ("ok", 61_035_000)
    assert meter.total()[0].status == "reset"


def test_the_same_step_back_is_a_wrap_where_the_time_allows_one() -> None:
    zones = (zone_of(500),)
    before = at(0, 262_143_000_000, zones=zones)
    assert delta(before, at(10**9, 100_000_000, zones=zones))[0].status == "ok"
    assert delta(before, at(10**9, 2_000_000_000, zones=zones))[0].status == "reset"


def test_a_power_that_was_seen_is_possible_from_then_on() -> None:
    """A simulated machine may run a hundred times as fast as the clock, and a real one may be overclocked."""
    zones = (zone_of(100),)
    meter = Meter()
    steps = 2**32 // 10  # 26 kJ a second
    for second in range(40):
        spent = meter.add(at(second * 10**9, shown_uj(second * steps), zones=zones))
        if second:
            assert (spent[0].status, spent[0].energy_nj) == ("ok", steps * UNIT_NJ)
    assert meter.total()[0].energy_nj == 39 * steps * UNIT_NJ


def test_one_wild_jump_forward_does_not_make_later_steps_unknown() -> None:
    zones = (zone_of(100),)
    meter = Meter()
    meter.add(at(0, 0, zones=zones))
    assert meter.add(at(10**9, 200_000_000_000, zones=zones))[0].status == "ok"
    for second in range(2, 60):
        (spent,) = meter.add(at(second * 10**9, 200_000_000_000 + second * 50_000_000, zones=zones))
        assert spent.status == "ok"


def test_a_caller_who_knows_better_says_what_power_is_possible() -> None:
    zones = (zone_of(500),)
    meter = Meter(possible_w=50_000)
    meter.add(at(0, 262_000_000_000, zones=zones))
    assert meter.add(at(10**8, 20_000_000_000, zones=zones))[0].status == "ok"


def test_a_zone_that_goes_is_missing_and_goes_on_from_its_last_reading_when_it_is_back() -> None:
    package, dram = zone_of(500), zone_of(500, path="package-0/dram")
    meter = Meter()
    meter.add(at(0, 0, 0, zones=(package, dram)))
    first, gone = meter.add(at(10**9, 61_035_000, zones=(package,)))
    assert (first.energy_uj, gone.zone, gone.energy_uj, gone.error) == (61_035_000, dram, None, "ENODEV")
    assert [(spent.zone.path, spent.status) for spent in meter.total()] == [
        ("package-0", "ok"),
        ("package-0/dram", "error"),
    ]
    _, back = meter.add(at(2 * 10**9, 61_035_000, 122_070_000, zones=(package, dram)))
    assert (back.energy_uj, back.duration_ns) == (122_070_000, 2 * 10**9)
    assert [spent.status for spent in meter.total()] == ["ok", "ok"]


def test_a_zone_that_comes_begins_with_its_first_reading_and_is_no_part_of_the_whole_time() -> None:
    package, dram = zone_of(500), zone_of(500, path="package-0/dram")
    meter = Meter()
    meter.add(at(0, 0, zones=(package,)))
    _, new = meter.add(at(10**9, 0, 5_000_000, zones=(package, dram)))
    assert (new.zone, new.energy_uj, new.error) == (dram, None, "ENODEV")
    _, new = meter.add(at(2 * 10**9, 0, 5_000_061, zones=(package, dram)))
    assert (new.energy_uj, new.status) == (61, "ok")
    assert [(spent.zone.path, spent.status) for spent in meter.total()] == [
        ("package-0", "ok"),
        ("package-0/dram", "error"),
    ]


def test_a_zone_keeps_its_account_when_its_id_changes_and_loses_it_when_its_counter_does() -> None:
    zone = zone_of(500)
    meter = Meter()
    meter.add(at(0, 0, zones=(zone,)))
    (spent,) = meter.add(at(10**9, 61_035, zones=(replace(zone, id="intel-rapl:3"),)))
    assert (spent.energy_nj, spent.zone.id) == (61_035_000, "intel-rapl:3")
    (spent,) = meter.add(at(2 * 10**9, 61_035, zones=(zone_of(500, 65_532_610_987),)))
    assert (spent.energy_nj, spent.error) == (None, "ENODEV")


def test_a_tally_has_what_is_known_and_counts_what_is_not() -> None:
    zones = (zone_of(500),)
    meter = Meter()
    series = [(0, 0), (1, 61_035_000), (2, None), (3, 122_070_000), (4, 61_035), (5, 122_070), (9_000, 122_131)]
    for second, count in series:
        meter.add(at(second * 10**9, count, zones=zones))
    (tally,) = meter.tallies()
    assert tally.energy_nj == 122_070_000_000 + 61_035_000
    assert tally.gaps == {"error": 1, "reset": 1, "unknown": 1}
