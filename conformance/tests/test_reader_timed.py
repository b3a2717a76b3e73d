# SPDX-License-Identifier: Apache-2.0
"""What readers with a clock of their own are held against, look by look, and what cannot be asked of them."""

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_conformance.clause import ClauseNotApplicable
from raplica_conformance.readers.adapter import find_adapter
from raplica_conformance.readers.moment import Moment, Spent
from raplica_conformance.readers.plug import Look
from raplica_conformance.readers.timed import as_looked
from raplica_conformance.readers.trial import run_case
from raplica_fixtures.cases import load_case

NS_PER_S = 10**9
GRID_S = Fraction(1, 1000)
DOMAIN = "package-0"


def ends(seconds: int) -> tuple[Moment, Moment]:
    spent = {DOMAIN: Spent(0, 0, Fraction(1000))}
    return Moment(0, (), spent), Moment(seconds * NS_PER_S, (), {DOMAIN: Spent(10**9, 10**9, Fraction(1000))})


def slack_uj(*looks: tuple[float, int]) -> Fraction:
    """What a counter may be behind, of looks at a second each and the microjoules by then."""
    taken = [Look(int(at_s * NS_PER_S), "", truth_uj) for at_s, truth_uj in looks]
    before, after = as_looked(ends(int(looks[-1][0])), {DOMAIN: taken})
    assert before.spent[DOMAIN].slack_uj == after.spent[DOMAIN].slack_uj
    return after.spent[DOMAIN].slack_uj


@given(power_w=st.integers(0, 1000), seconds=st.integers(2, 20))
def test_a_counter_may_be_behind_by_what_a_steady_load_spends_in_one_update(power_w: int, seconds: int) -> None:
    looks = [(moment, power_w * moment * 10**6) for moment in range(seconds + 1)]
    assert slack_uj(*looks) == power_w * 10**6 * GRID_S


def test_where_a_load_bursts_it_is_the_power_of_the_burst_that_counts() -> None:
    """150 J in the first 10 ms, and a watt for the rest: 15 J may have come since the counter moved."""
    assert slack_uj((0, 0), (0.01, 150_000_000), (10, 160_000_000)) == 15_000_000
    assert slack_uj((0, 0), (9.99, 10_000_000), (10, 160_000_000)) == 15_000_000


def test_a_domain_that_nobody_looked_at_is_taken_for_the_time_of_the_looks_at_others() -> None:
    """A program that starts and ends for 2 s has not measured those 2 s of psys either."""
    spent = {name: Spent(0, 0, Fraction(1000)) for name in (DOMAIN, "psys")}
    done = {name: Spent(12 * 10**7, 12 * 10**7, Fraction(1000)) for name in spent}
    whole = Moment(0, (), spent), Moment(12 * NS_PER_S, (), done)
    looks = {DOMAIN: [Look(1 * NS_PER_S, "", 10**7), Look(11 * NS_PER_S, "", 11 * 10**7)]}
    before, after = as_looked(whole, looks)
    assert (before.spent["psys"].truth_uj, after.spent["psys"].truth_uj) == (10**7, 11 * 10**7)
    before, after = as_looked(whole, {})
    assert (before.spent["psys"].truth_uj, after.spent["psys"].truth_uj) == (0, 12 * 10**7)


def test_a_machine_without_a_counter_at_first_cannot_be_measured_from_the_first_look_at_one(tmp_path: Path) -> None:
    adapter = tmp_path / "never.toml"
    adapter.write_text("kind = 'timed'\ncommand = '/bin/false {sysfs} {seconds}'\n")
    with pytest.raises(ClauseNotApplicable, match="has no counter at first"):
        run_case(load_case("topology/zones-come-later"), find_adapter(str(adapter)).plug())
