# SPDX-License-Identifier: Apache-2.0
"""Whether an answer is right is arithmetic: steps, units, tolerances, and what each expectation lets pass."""

from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from raplica_conformance.readers.moment import Gauge, Moment, Spent, parts_of_total
from raplica_conformance.readers.plug import TOTAL, Reading
from raplica_conformance.readers.rule import Finding, findings, said_of
from raplica_fixtures.case_values import ENERGIES
from raplica_fixtures.cases import Expect

PACKAGE, DRAM = Gauge("intel-rapl:0", "package-0"), Gauge("intel-rapl:0:0", "package-0/dram")
UNIT_NJ = 61035
STEPS = 2**40


def spent(steps: int, unit_nj: int = UNIT_NJ, *, raw: int | None = None) -> Spent:
    return Spent(steps * unit_nj // 1000, steps, Fraction(unit_nj), raw)


def moment(at_s: int, answer: dict[str, Reading], gauges: tuple[Gauge, ...] = (PACKAGE,), **domains: Spent) -> Moment:
    known = {name.replace("_", "-", 1).replace("_", "/"): one for name, one in domains.items()}
    return Moment(at_s * 10**9, gauges, known, answer)


def two(steps: int, said: Reading | None, before: int = 0) -> list[Moment]:
    answer = {} if said is None else {"intel-rapl:0": said}
    return [moment(0, {}, package_0=spent(before)), moment(10, answer, package_0=spent(before + steps))]


def judged(energy: str, moments: list[Moment], domain: str = "package-0", **keys: object) -> Finding:
    (found,) = findings(Expect(domain, energy, 0, 1, **keys), moments)  # type: ignore[arg-type]
    return found


@given(steps=st.integers(0, STEPS), off_uj=st.integers(-400, 400), unit_nj=st.integers(1, 10**9))
def test_a_number_is_right_within_two_steps_and_a_microjoule(steps: int, off_uj: int, unit_nj: int) -> None:
    right_uj = Fraction(steps * unit_nj, 1000)
    said_uj = round(right_uj) + off_uj
    moments = [
        moment(0, {}, package_0=spent(7, unit_nj)),
        moment(10, {"package-0": Reading(said_uj)}, package_0=spent(7 + steps, unit_nj)),
    ]
    is_right = abs(said_uj - right_uj) <= Fraction(2 * unit_nj, 1000) + 1
    assert (judged("truth", moments).wrong == "") == is_right
    assert (judged("truth-or-unknown", moments).wrong == "") == is_right


@given(steps=st.integers(0, STEPS), said_uj=st.integers(-(10**9), 10**12))
def test_the_excess_is_what_was_said_less_what_was_spent_in_joules_and_watts(steps: int, said_uj: int) -> None:
    found = judged("truth", two(steps, Reading(said_uj)))
    excess_uj = said_uj - Fraction(steps * UNIT_NJ, 1000)
    assert found.excess_uj == excess_uj
    assert found.power_w == excess_uj / 10 / 10**6


@pytest.mark.parametrize(
    ("said", "right"),
    [
        (Reading(61_035_000), "truth truth-or-unknown at-most-truth not-negative listed"),
        (Reading(30_000_000), "at-most-truth not-negative listed"),
        (Reading(90_000_000), "not-negative listed"),
        (Reading(0), "zero at-most-truth not-negative listed"),
        (Reading(-1), "zero listed"),
        (Reading(-1_000_000), "listed"),
        (Reading(None, "unknown"), "unknown truth-or-unknown at-most-truth not-negative listed"),
        (Reading(None, "error", "EACCES"), "error unknown truth-or-unknown at-most-truth not-negative listed"),
        (None, "absent unknown truth-or-unknown at-most-truth not-negative"),
    ],
)
def test_each_expectation_lets_pass_what_it_says_and_nothing_else(said: Reading | None, right: str) -> None:
    passing = {energy for energy in ENERGIES if not judged(energy, two(1_000_000, said)).wrong}
    assert passing == set(right.split())


def test_a_tolerance_of_the_case_takes_the_place_of_the_usual_one() -> None:
    moments = two(1_000_000, Reading(61_035_500))
    assert judged("truth", moments).wrong
    assert not judged("truth", moments, tolerance_uj=500).wrong
    assert judged("truth", moments, tolerance_uj=499).wrong


def test_what_was_not_seen_at_a_standstill_has_its_slack_beside_any_tolerance() -> None:
    first, last = two(1_000_000, Reading(61_035_900))
    known = last.spent["package-0"]
    loose = Spent(known.truth_uj, known.steps, known.unit_nj, slack_uj=Fraction(900))
    moments = [first, moment(10, dict(last.answer), package_0=loose)]
    assert not judged("truth", moments, tolerance_uj=0).wrong


def test_the_total_is_packages_and_memory_each_once() -> None:
    gauges = tuple(
        Gauge(str(number), path)
        for number, path in enumerate(
            ("psys", "package-0", "package-0/core", "package-0/dram", "intel-rapl-mmio/package-0", "package-1")
        )
    )
    known = {gauge.path: spent(100) for gauge in gauges}
    assert parts_of_total(Moment(0, gauges, known)) == ("package-0", "package-0/dram", "package-1")


def test_a_total_is_held_against_the_sum_of_its_parts_and_their_tolerances() -> None:
    gauges = (PACKAGE, DRAM)
    answer = {TOTAL: Reading(100 * 1000 + 50 * 100 + 22 + 1)}
    moments = [
        moment(0, {}, gauges, package_0=spent(0, 10**6), package_0_dram=spent(0, 10**5)),
        moment(10, answer, gauges, package_0=spent(100, 10**6), package_0_dram=spent(50, 10**5)),
    ]
    # 2 x 1000 + 1 and 2 x 100 + 1 uJ.
    assert not judged("truth", moments, TOTAL).wrong
    late = [moments[0], moment(10, {TOTAL: Reading(105_000 + 2203)}, gauges, **_named(moments[1]))]
    assert judged("truth", late, TOTAL).wrong


def _named(last: Moment) -> dict[str, Spent]:
    return {"package_0": last.spent["package-0"], "package_0_dram": last.spent["package-0/dram"]}


def test_of_names_the_domains_that_are_meant() -> None:
    moments = two(1_000_000, None)
    moments[1] = moment(10, {TOTAL: Reading(61_035_000)}, (), package_0=spent(1_000_000))
    assert not judged("truth", moments, TOTAL, of=("package-0",)).wrong


def test_every_zone_that_is_there_is_judged_by_itself() -> None:
    gauges = (PACKAGE, DRAM)
    answer = {"intel-rapl:0": Reading(61_035_000)}
    moments = [
        moment(0, {}, gauges, package_0=spent(0), package_0_dram=spent(0)),
        moment(10, answer, gauges, package_0=spent(1_000_000), package_0_dram=spent(9)),
    ]
    found = list(findings(Expect("*", "truth", 0, 1), moments))
    assert [(one.domain, bool(one.wrong)) for one in found] == [("package-0", False), ("package-0/dram", True)]
    assert "does not list it" in found[1].wrong


def test_an_answer_between_two_later_samples_is_a_difference() -> None:
    answers = [{}, {"package-0": Reading(61_035)}, {"package-0": Reading(183_105)}]
    moments = [moment(n, dict(answer), package_0=spent(n * 1500)) for n, answer in enumerate(answers)]
    (found,) = findings(Expect("package-0", "truth", 1, 2), moments)
    assert found.excess_uj == 183_105 - 61_035 - Fraction(1500 * UNIT_NJ, 1000)
    moments[1] = moment(1, {"package-0": Reading(None, "unknown")}, package_0=spent(1500))
    (found,) = findings(Expect("package-0", "unknown", 1, 2), moments)
    assert not found.wrong


def test_an_id_that_another_zone_has_taken_is_not_the_zone_that_had_it() -> None:
    moved = Gauge("intel-rapl:0", "package-1")
    moments = [
        moment(0, {}, package_0=spent(0)),
        moment(10, {"intel-rapl:0": Reading(5)}, (moved,), package_0=spent(0), package_1=spent(0)),
    ]
    assert said_of("package-0", moments, 1) is None
    assert said_of("package-1", moments, 1) == Reading(5)
    gone = [moments[0], moment(10, {"intel-rapl:0": Reading(None, "error", "ENODEV")}, (), package_0=spent(0))]
    assert said_of("package-0", gone, 1) == Reading(None, "error", "ENODEV")


def test_who_tells_of_domains_alone_is_not_asked_for_the_sum_and_the_other_way_round() -> None:
    domains = two(1_000_000, Reading(61_035_000))
    assert judged("truth", domains, TOTAL).not_judged
    total = [domains[0], moment(10, {TOTAL: Reading(61_035_000)}, package_0=spent(1_000_000))]
    assert judged("truth", total).not_judged
    assert not judged("truth", total, TOTAL).wrong
    nothing = two(1_000_000, None)
    assert judged("truth", nothing, TOTAL).wrong
    assert judged("truth", nothing).wrong


@given(before=st.integers(0, 2**32 - 1), steps=st.integers(1, 2**33))
def test_who_shows_counters_is_not_judged_where_one_begins_again(before: int, steps: int) -> None:
    after = before + steps
    moments = [
        moment(0, {"package-0": Reading(before)}, package_0=spent(before, 1000, raw=before)),
        moment(1, {"package-0": Reading(after % 2**32)}, package_0=spent(after, 1000, raw=after % 2**32)),
    ]
    (found,) = findings(Expect("package-0", "truth", 0, 1), moments, counter=True)
    if after >= 2**32:
        assert found.not_judged
    else:
        assert not found.not_judged
        assert not found.wrong


@given(said_uj=st.integers(0, 10**9))
def test_a_counter_is_no_energy_and_what_cannot_be_known_is_not_asked_of_it(said_uj: int) -> None:
    moments = two(1_000_000, Reading(said_uj))
    moments[0] = moment(0, {"intel-rapl:0": Reading(0)}, package_0=spent(0))
    for energy in ("unknown", "at-most-truth", "truth-or-unknown"):
        (found,) = findings(Expect("package-0", energy, 0, 1), moments, counter=True)
        assert found.not_judged


@given(said_uj=st.integers(-(10**12), 10**12), steps=st.integers(0, STEPS))
def test_a_wrong_number_says_what_is_right_and_how_far_off_it_is(said_uj: int, steps: int) -> None:
    found = judged("truth", two(steps, Reading(said_uj)))
    assume(found.wrong)
    assert found.wrong.startswith("package-0 from 0 s to 10 s: ")
    assert f"{said_uj} uJ" in found.wrong
    assert ("too much" in found.wrong) == (found.excess_uj is not None and found.excess_uj > 0)
    assert found.wrong.isprintable()
