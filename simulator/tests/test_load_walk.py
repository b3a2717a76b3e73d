# SPDX-License-Identifier: Apache-2.0
"""Going a long way through a load at once gives what its single steps give, to the femtojoule and to the nanosecond."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import count

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from raplica_simulator.clock import VirtualClock
from raplica_simulator.hardware.domains import Domains
from raplica_simulator.hardware.limits import LIMITED_KINDS, Limit
from raplica_simulator.hardware.load_walk import LoadWalk
from raplica_simulator.hardware.topology import Topology
from raplica_simulator.hardware.units import KINDS
from raplica_simulator.load.demand import Load
from raplica_simulator.load.steps import LoadSteps

# A step is worth few microwatts x ns, so that whatever is off by one shows.
UNITS = dict.fromkeys(KINDS, Fraction(3, 10**15))
SINGLE_CORES = {(0, 0, 0): 3, (0, 1, 1): 2, (1, 0, 1): 5}
POWER = st.integers(0, 30)
LIMIT = st.builds(Limit, st.integers(0, 90), st.integers(0, 60), st.booleans(), st.booleans())


class Twin:
    """Two machines that are alike: one walks through a load, one makes every step by itself."""

    def __init__(self, steps: LoadSteps, topology: Topology, grid_ns: int, floors_uw: dict[str, int]) -> None:
        self.clock = VirtualClock()
        self.steps = steps
        self.topology = topology
        self.walking = Domains(self.clock, topology, UNITS, None, grid_ns, floors_uw=floors_uw)
        self.stepping = Domains(self.clock, topology, UNITS, None, grid_ns, floors_uw=floors_uw)
        self.walk = LoadWalk(self.walking, steps)
        self.moments = self._moments()
        self.next = next(self.moments, None)

    def _moments(self) -> Iterator[tuple[int, int]]:
        edges = self.steps.edges_ns[: self.steps.count]
        yield from ((at_ns, place) for place, at_ns in enumerate(edges))
        first = self.steps.first_again
        if first is not None:
            for turn in count(1):
                for place in range(first, self.steps.count):
                    yield edges[place] + turn * self.steps.again_ns, place

    def advance(self, nanoseconds: int) -> None:
        self.clock.advance(nanoseconds=nanoseconds)
        now_ns = self.clock.now_ns
        self.walk.go(now_ns)
        while self.next is not None and self.next[0] <= now_ns:
            self.stepping.begin_step(self.steps, self.next[1], self.next[0])
            self.next = next(self.moments, None)
        due_ns = self.walk.due_ns()
        assert due_ns == (None if self.next is None else self.next[0])

    def compare(self) -> None:
        places: list[tuple[str, int, int | None]] = [
            (kind, die, None) for kind in (*LIMITED_KINDS, "psys") for die in self.topology.dies
        ]
        places += [("cpu-core", 0, core) for core in range(self.topology.core_count)]
        for place in places:
            one, other = self.walking.meter(*place), self.stepping.meter(*place)
            assert one.joules() == other.joules(), place
            assert one.draw_w() == other.draw_w(), place
            assert one.steps() == other.steps(), place
            assert one.fractions() == other.fractions(), place


@st.composite
def any_load(draw: st.DrawFn, *, single: bool) -> Load:
    core, uncore, rest, dram = (draw(POWER) for _ in range(4))
    psys = draw(st.none() | POWER)
    package = core + uncore + rest
    if single:
        package += 20
    psys_uw = None if psys is None else package + dram + psys
    return Load(package, 0 if single else core, uncore, dram, psys_uw, SINGLE_CORES if single else {})


@st.composite
def any_steps(draw: st.DrawFn, *, single: bool, length: st.SearchStrategy[int]) -> LoadSteps:
    # Few different ones, as in a trace, so that stretches of calm come about; many of them, as long as a block is.
    different = [draw(any_load(single=single and draw(st.booleans()))) for _ in range(draw(st.integers(1, 4)))]
    pattern = draw(st.lists(st.tuples(st.sampled_from(different), length), min_size=1, max_size=8))
    pattern *= draw(st.sampled_from([1, 2, 40, 80]))
    moments, now_ns = [], draw(st.integers(0, 20))
    for _, wait_ns in pattern:
        moments.append(now_ns)
        now_ns += wait_ns
    again = None
    if draw(st.booleans()):
        first = draw(st.integers(0, len(moments) - 1))
        again = (first, now_ns - moments[first])
    return LoadSteps(moments, [load for load, _ in pattern], again)


@settings(deadline=None, max_examples=120)
@given(st.data())
def test_walking_equals_stepping_whatever_the_limits(data: st.DataObject) -> None:
    topology = data.draw(st.sampled_from([Topology(1, 1, 1, 1), Topology(2, 2, 2, 1), Topology(1, 2, 3, 1)]))
    single = topology.packages == 2 and data.draw(st.booleans())
    steps = data.draw(any_steps(single=single, length=st.integers(1, 25)))
    floors = data.draw(st.dictionaries(st.sampled_from(LIMITED_KINDS), POWER, max_size=1))
    twin = Twin(steps, topology, data.draw(st.sampled_from([1, 7, 64])), floors)
    for _ in range(data.draw(st.integers(1, 5))):
        for kind in data.draw(st.sets(st.sampled_from(LIMITED_KINDS), max_size=2)):
            for die in topology.dies:
                limits = tuple(data.draw(st.lists(LIMIT, max_size=2)))
                twin.walking.set_limits(kind, die, limits)
                twin.stepping.set_limits(kind, die, limits)
        twin.advance(data.draw(st.integers(0, 40) | st.integers(300, 3000)))
        twin.compare()


@settings(deadline=None)
@given(
    st.integers(-3, 3),
    st.sampled_from([1, -1]),
    st.integers(0, 38),
    st.integers(1, 5),
    st.sampled_from([1, 3]),
    st.lists(st.integers(1, 4000), min_size=1, max_size=3),
)
@example(1, 1, 10, 3, 3, [1005])  # an instant after a whole number of rounds, the last of which would have run over
def test_credit_that_drifts_from_round_to_round_is_told_right_until_it_meets_an_end(
    drift: int, above: int, drained_ns: int, length_ns: int, grid_ns: int, looks_ns: list[int]
) -> None:
    """Under a limit of 50 uW over 8 ns each round gains a little credit or loses it."""
    moments = [0, drained_ns + 1, drained_ns + 1 + length_ns]
    again_ns = 2 * length_ns + 5
    loads = [Load(60), Load(50 + above), Load(50 - above)]
    # In all of a round but its end credit goes down as much as up.
    moments.append(drained_ns + 1 + 2 * length_ns)
    loads.append(Load(50))
    moments.append(moments[-1] + 4)
    loads.append(Load(50 - drift))
    twin = Twin(LoadSteps(moments, loads, (1, again_ns)), Topology(1, 1, 1, 1), grid_ns, {})
    for domains in (twin.walking, twin.stepping):
        domains.set_limits("package", 0, (Limit(50, 8), Limit(53, 1)))
    for look_ns in looks_ns:
        twin.advance(look_ns)
        twin.compare()
    # One microwatt above a limit uses up a unit of its credit in each nanosecond, so when that ends says what is left.
    for package_uw in (51, 54):
        for domains in (twin.walking, twin.stepping):
            domains.set_load(Load(package_uw))
        assert twin.walking.until_ns == twin.stepping.until_ns


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_walking_equals_stepping_where_single_cores_are_limited(data: st.DataObject) -> None:
    steps = data.draw(any_steps(single=True, length=st.integers(1, 25)))
    twin = Twin(steps, Topology(2, 2, 2, 1), 7, {})
    for die in twin.topology.dies:
        limits = (data.draw(LIMIT.map(lambda limit: Limit(limit.limit_uw // 20, limit.window_ns))),)
        for domains in (twin.walking, twin.stepping):
            domains.set_limits("core", die, limits)
    twin.advance(data.draw(st.integers(300, 3000)))
    twin.compare()


class Counted(Domains):
    """Domains that count the steps that they are told to begin."""

    begun = 0

    def begin_step(self, steps: LoadSteps, place: int, now_ns: int) -> None:
        self.begun += 1
        super().begin_step(steps, place, now_ns)


SECOND_NS = 10**9


def steps_made(steps: LoadSteps, limits: tuple[Limit, ...], seconds: int) -> int:
    domains = Counted(VirtualClock(), Topology(1, 1, 1, 1), UNITS, None)
    domains.set_limits("package", 0, limits)
    LoadWalk(domains, steps).go(seconds * SECOND_NS)
    return domains.begun


def watts(limit: int, seconds: int) -> Limit:
    return Limit(limit * 10**6, seconds * SECOND_NS)


@pytest.mark.parametrize(
    "limits",
    [(), (watts(100, 1),), (watts(65, 28), watts(80, 1)), (watts(60, 28),), (watts(55, 28),), (watts(30, 1),)],
    ids=["none", "never", "sometimes", "exactly the mean", "at last always at the peak", "always"],
)
def test_a_year_of_rounds_costs_what_some_of_them_cost(limits: tuple[Limit, ...]) -> None:
    """A load between 40 and 80 W that comes again every second."""
    moments = [step * SECOND_NS // 10 for step in range(10)]
    steps = LoadSteps(moments, [Load((40 + 8 * abs(step - 5)) * 10**6) for step in range(10)], (0, SECOND_NS))
    assert steps_made(steps, limits, 365 * 24 * 3600) < 120


def test_a_day_of_a_trace_is_made_in_a_few_steps_where_no_limit_cuts() -> None:
    loads = [Load((40 + second % 60) * 10**6) for second in range(86400)]
    steps = LoadSteps(range(0, 86400 * SECOND_NS, SECOND_NS), loads)
    assert steps_made(steps, (watts(99, 1), watts(120, 0)), 86400) < 10
    assert steps_made(steps, (watts(75, 100), watts(120, 0)), 86400) < 10, "the credit lasts for every peak"
    assert steps_made(steps, (watts(50, 1),), 3600) > 600, "where it is cut, each step is made"


# Sums.


@given(st.data())
def test_the_sum_of_a_stretch_is_the_sum_of_its_steps(data: st.DataObject) -> None:
    steps = data.draw(any_steps(single=True, length=st.integers(1, 10**12)))
    edges = steps.edges_ns
    first = data.draw(st.integers(0, len(edges) - 1))
    last = data.draw(st.integers(first, len(edges) - 1))
    total = steps.sum(first, last)
    stretch = [(steps.load(place), edges[place + 1] - edges[place]) for place in range(first, last)]
    assert total.ns == edges[last] - edges[first]
    for name in ("package", "core", "uncore", "dram"):
        assert getattr(total, name) == sum(getattr(load, f"{name}_uw") * ns for load, ns in stretch)
    platform = sum(
        (load.package_uw + load.dram_uw if load.psys_uw is None else load.psys_uw) * ns for load, ns in stretch
    )
    assert total.package + total.dram + total.above == platform
    assert total.single_ns == sum(ns for load, ns in stretch if load.cores_uw)


@given(
    st.sets(st.integers(0, 999), max_size=3), st.integers(0, 999), st.integers(0, 1000), st.sampled_from(LIMITED_KINDS)
)
@example({256}, 0, 1000, "package")
@example({511}, 255, 745, "package")
def test_it_is_calm_until_the_first_step_that_wants_more(peaks: set[int], first: int, length: int, kind: str) -> None:
    usual, peak = Load(50, 20, 10, 30), Load(90, 40, 30, 60)
    steps = LoadSteps(range(1000), [peak if place in peaks else usual for place in range(1000)])
    last = min(first + length, 1000)
    wanting = [place for place in sorted(peaks) if first <= place < last]
    assert steps.calm_until(first, last, {kind: getattr(peak, f"{kind}_uw") - 1}) == (wanting[0] if wanting else last)
    assert steps.calm_until(first, last, {kind: getattr(peak, f"{kind}_uw")}) == last
    assert steps.calm_until(first, last, {}) == last


@pytest.mark.parametrize(
    ("moments", "loads", "again", "said"),
    [
        ([], [], None, "0 moments and 0 loads"),
        ([0, 1], [Load()], None, "2 moments and 1 loads"),
        ([1, 1], [Load(), Load()], None, "do not ascend"),
        ([-1], [Load()], None, "do not ascend"),
        ([0, 5], [Load(), Load()], (0, 5), "do not ascend"),
        ([0, 1], [Load(9, cores_uw={(0, 0, 0): 1}), Load(9, cores_uw={(0, 0, 0): 2})], None, "single cores"),
    ],
)
def test_steps_in_no_order_are_refused(
    moments: list[int], loads: list[Load], again: tuple[int, int] | None, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        LoadSteps(moments, loads, again)
