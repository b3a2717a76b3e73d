# SPDX-License-Identifier: Apache-2.0
"""What limits let a die draw, against a model that goes nanosecond by nanosecond."""

from dataclasses import dataclass, field
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raplica_simulator.clock import VirtualClock
from raplica_simulator.hardware.domains import Domains
from raplica_simulator.hardware.governor import Draw, Governor
from raplica_simulator.hardware.limits import LIMITED_KINDS, Limit, limits_of
from raplica_simulator.hardware.registers import CpuId, lookup
from raplica_simulator.hardware.topology import Topology
from raplica_simulator.hardware.units import KINDS, exact_units
from raplica_simulator.load.demand import Load

UNITS = dict.fromkeys(KINDS, Fraction(1, 2**14))
SECOND_NS = 1_000_000_000


def machine(
    load: Load, topology: Topology | None = None, floors_uw: dict[str, int] | None = None
) -> tuple[VirtualClock, Domains]:
    clock = VirtualClock()
    shape = topology or Topology(1, 1, 4, 1)
    return clock, Domains(clock, shape, UNITS, load, floors_uw=floors_uw)


def watts(limit: int, seconds: int = 1, *, enabled: bool = True, clamp: bool = False) -> Limit:
    return Limit(limit * 1_000_000, seconds * SECOND_NS, enabled, clamp)


def drawn(domains: Domains, *kinds: str) -> list[Fraction]:
    return [domains.meter(kind, 0).draw_w() for kind in kinds]


def test_a_limit_binds_when_its_credit_is_used_up() -> None:
    clock, domains = machine(Load.of(package=80))
    domains.set_limits("package", 0, (watts(50, 3),))
    package = domains.meter("package", 0)
    clock.advance(seconds=4)
    assert package.draw_w() == 80, "150 Ws of credit last 5 s at 30 W too much"
    clock.advance(seconds=2)
    assert package.draw_w() == 50
    assert package.joules() == 5 * 80 + 1 * 50
    clock.advance(seconds=1000)
    assert package.joules() == 5 * 80 + 1001 * 50


def test_a_load_below_the_limit_earns_credit_back_up_to_the_capacity() -> None:
    clock, domains = machine(Load.of(package=80))
    domains.set_limits("package", 0, (watts(50, 3),))
    package = domains.meter("package", 0)
    clock.advance(seconds=100)
    domains.set_load(Load.of(package=40))
    clock.advance(seconds=6)
    domains.set_load(Load.of(package=80))
    before = package.joules()
    clock.advance(seconds=10)
    assert package.joules() - before == 2 * 80 + 8 * 50, "60 Ws earned, spent in 2 s"
    domains.set_load(Load.of(package=0))
    clock.advance(seconds=1000)
    domains.set_load(Load.of(package=80))
    before = package.joules()
    clock.advance(seconds=10)
    assert package.joules() - before == 5 * 80 + 5 * 50, "never more than 150 Ws"


def test_of_two_limits_the_short_one_binds_first_and_the_low_one_last() -> None:
    clock, domains = machine(Load.of(package=200))
    domains.set_limits("package", 0, (watts(100, 8), watts(150, 2)))
    package = domains.meter("package", 0)
    clock.advance(seconds=6)
    assert package.draw_w() == 150, "300 Ws at 50 W too much: 6 s"
    clock.advance(seconds=4)
    assert package.draw_w() == 100, "800 Ws less 600 Ws: 4 s at 50 W too much"
    assert package.joules() == 6 * 200 + 4 * 150


def test_a_limit_without_a_window_caps_at_once() -> None:
    clock, domains = machine(Load.of(package=200))
    domains.set_limits("package", 0, (watts(100, 1, enabled=False), watts(120, 0)))
    clock.advance(seconds=1)
    assert domains.meter("package", 0).joules() == 120


def test_a_disabled_limit_does_nothing_and_reading_stays_on_the_fast_path() -> None:
    clock, domains = machine(Load.of(package=200))
    never_ns = domains.until_ns
    domains.set_limits("package", 0, (watts(10, enabled=False),))
    assert domains.until_ns == never_ns
    clock.advance(seconds=1000)
    assert domains.meter("package", 0).draw_w() == 200


def test_a_limit_above_the_load_never_makes_an_event() -> None:
    _, domains = machine(Load.of(package=80))
    never_ns = domains.until_ns
    domains.set_limits("package", 0, (watts(80), watts(100)))
    assert domains.until_ns == never_ns
    domains.set_load(Load.of(package=81))
    assert domains.until_ns == 80 * SECOND_NS


def test_cuts_take_core_first_then_uncore_then_the_rest() -> None:
    _, domains = machine(Load.of(package=100, core=40, uncore=30, dram=20))
    kinds = ("package", "core", "uncore", "dram", "psys")
    for limit, expected in ((75, [75, 15, 30, 20, 95]), (50, [50, 0, 20, 20, 70]), (10, [10, 0, 0, 20, 30])):
        domains.set_limits("package", 0, (watts(limit, 0),))
        assert drawn(domains, *kinds) == expected


def test_a_limit_on_the_cores_leaves_the_rest_of_the_package_alone() -> None:
    clock, domains = machine(Load.of(package=100, core=40, uncore=30, psys=200))
    domains.set_limits("core", 0, (watts(25, 2),))
    domains.set_limits("uncore", 0, (watts(5, 0),))
    clock.advance(seconds=4)
    assert drawn(domains, "package", "core", "uncore", "psys") == [60, 25, 5, 160]
    # 50 Ws of credit last 50/15 s at 15 W too much.
    spent = Fraction(10, 3) * 40 + Fraction(2, 3) * 25
    cores = [domains.meter("cpu-core", core_index=core).joules() for core in range(4)]
    assert all(abs(one - spent / 4) < Fraction(1, 10**7) for one in cores), "cut at a whole nanosecond"


def test_dram_has_limits_of_its_own() -> None:
    clock, domains = machine(Load.of(package=50, dram=20))
    domains.set_limits("dram", 0, (watts(12, 1),))
    clock.advance(seconds=2)
    assert domains.meter("dram", 0).joules() == Fraction(3, 2) * 20 + Fraction(1, 2) * 12
    assert drawn(domains, "package", "dram", "psys") == [50, 12, 62]


def test_below_the_floor_only_a_clamping_limit_presses() -> None:
    _, domains = machine(Load.of(package=100, core=90), floors_uw={"package": 60_000_000})
    domains.set_limits("package", 0, (watts(20, 0),))
    assert drawn(domains, "package", "core") == [60, 50]
    domains.set_limits("package", 0, (watts(20, 0, clamp=True),))
    assert drawn(domains, "package", "core") == [20, 10]
    domains.set_load(Load.of(package=30))
    domains.set_limits("package", 0, (watts(20, 0),))
    assert drawn(domains, "package") == [30], "the floor is no demand"


def test_dies_are_limited_one_by_one() -> None:
    clock, domains = machine(Load.of(package=100, core=60), Topology(1, 2, 3, 1))
    domains.set_limits("package", 1, (watts(30, 0),))
    clock.advance(seconds=1)
    assert [domains.meter("package", die).joules() for die in (0, 1)] == [50, 30]
    assert [domains.meter("core", die).joules() for die in (0, 1)] == [30, 10]
    assert domains.meter("cpu-core", core_index=5).joules() == Fraction(10, 3)
    assert domains.meter("psys").joules() == 80


def test_uneven_cores_are_cut_in_proportion_and_add_up() -> None:
    cores = {(0, 0, 0): 10, (0, 0, 1): 20, (0, 0, 3): 3}
    clock, domains = machine(Load.of(package=40, cores=cores))
    domains.set_limits("core", 0, (watts(10, 0),))
    clock.advance(seconds=1)
    shares = [domains.meter("cpu-core", core_index=core).joules() for core in range(4)]
    assert sum(shares) == domains.meter("core", 0).joules() == 10
    assert shares[2] == 0
    for share, wanted in zip(shares, (10, 20, 0, 3), strict=True):
        assert abs(share - Fraction(10 * wanted, 33)) < Fraction(1, 10**6)


def test_what_is_written_again_unchanged_keeps_its_credit_and_a_change_starts_full() -> None:
    clock, domains = machine(Load.of(package=80))
    package = domains.meter("package", 0)
    domains.set_limits("package", 0, (watts(50, 3), watts(500)))
    clock.advance(seconds=4)
    domains.set_limits("package", 0, (watts(50, 3, clamp=True), watts(600)))
    clock.advance(seconds=1)
    assert package.draw_w() == 50
    domains.set_limits("package", 0, (watts(50, 2, clamp=True), watts(600)))
    assert package.draw_w() == 80
    domains.set_limits("package", 0, (watts(50, 2, enabled=False), watts(600)))
    domains.set_limits("package", 0, (watts(50, 2), watts(600)))
    clock.advance(seconds=3)
    assert package.draw_w() == 80, "switched off and on again: full"


def test_the_last_unit_of_credit_still_counts() -> None:
    clock, domains = machine(Load(package_uw=5))
    domains.set_limits("package", 0, (Limit(1, 1),))
    clock.advance(nanoseconds=3)
    assert domains.meter("package", 0).joules() == Fraction(5 + 1 + 1, 10**15)


def test_counters_honour_limits_on_the_grid() -> None:
    clock, domains = machine(Load.of(package=80))
    domains.set_limits("package", 0, (Limit(50_000_000, 900_000),))
    clock.advance(nanoseconds=1_600_000)
    package = domains.meter("package", 0)
    assert package.steps() == int(Fraction(80, 1000) * 2**14), "the bucket ran empty at 1.5 ms, after the tick"
    clock.advance(nanoseconds=400_000)
    assert package.joules() == Fraction(80 * 15 + 50 * 5, 10**4)
    assert package.steps() == int(package.joules() * 2**14)


@pytest.mark.parametrize("kind", ["psys", "cpu-core", "gpu"])
def test_kinds_without_limits_are_refused(kind: str) -> None:
    _, domains = machine(Load.of(package=1))
    with pytest.raises(ValueError, match="the kinds are package, core, uncore, dram"):
        domains.set_limits(kind, 0, ())
    with pytest.raises(ValueError, match="machine has dies 0 to 0"):
        domains.set_limits("package", 1, ())


@pytest.mark.parametrize("value", [-1, 1.5, True])
def test_a_limit_is_made_of_whole_numbers(value: object) -> None:
    with pytest.raises(ValueError, match="limit_uw is"):
        Limit(value, 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="window_ns is"):
        Limit(1, value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("address", "model", "raw", "unit_raw", "limits"),
    [
        (
            0x610,
            0x9E,
            0x00428440001B83E8,
            0xA0E03,
            (Limit(125_000_000, 8 * SECOND_NS, True, True), Limit(136_000_000, 2_441_406, True, False)),
        ),
        (0x618, 0x55, 0x108444, 0xA0E03, (Limit(136_500_000, SECOND_NS // 4, True, False),)),
        (0x638, 0x9E, 0, 0xA0E03, (Limit(0, 976_562, False, False),)),
        (0x601, 0xC6, 0x850, 0xA0E03, (Limit(266_000_000, 0, True, False),)),
        (0x601, 0xC6, 0x80000000, 0xA0E03, (Limit(0, 0, False, False),)),
        (0x610, 0x5C, 1025 | 1 << 15, 0xA0E08, (Limit(4_003_906, 976_562, True), Limit(0, 976_562, False))),
        (0x610, 0x37, 0x8000_0000_0038_81D5, 0x505, (Limit(15_008_000, 28 * SECOND_NS, True, False),)),
    ],
)
def test_limits_are_read_out_of_registers(
    address: int, model: int, raw: int, unit_raw: int, limits: tuple[Limit, ...]
) -> None:
    cpu = CpuId("GenuineIntel", 6, model)
    register = lookup(address, cpu)
    assert register is not None
    style = "atom" if model == 0x37 else "core"
    assert limits_of(register, raw, exact_units(unit_raw, style)) == limits


@dataclass
class Naive:
    """Fidelity rule 10, one nanosecond at a time; the same rule in other words."""

    floors: dict[str, int]
    wanted: Draw = field(default_factory=Draw)
    limits: dict[str, tuple[Limit, ...]] = field(default_factory=dict)
    credit: dict[tuple[str, int], int] = field(default_factory=dict)
    spent: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LIMITED_KINDS, 0))

    def write(self, kind: str, limits: tuple[Limit, ...]) -> None:
        old = self.limits.get(kind, ())
        for position, limit in enumerate(limits):
            same = position < len(old) and (old[position].limit_uw, old[position].window_ns, True) == (
                limit.limit_uw,
                limit.window_ns,
                old[position].enabled and limit.enabled,
            )
            if not same:
                self.credit[kind, position] = limit.limit_uw * limit.window_ns
        self.limits[kind] = limits

    def cap(self, kind: str, wanted: int) -> int:
        for position, limit in enumerate(self.limits.get(kind, ())):
            if limit.enabled and self.credit[kind, position] == 0:
                lowest = limit.limit_uw if limit.clamp else max(limit.limit_uw, self.floors.get(kind, 0))
                wanted = min(wanted, lowest)
        return wanted

    def draw(self) -> dict[str, int]:
        core, uncore = self.cap("core", self.wanted.core), self.cap("uncore", self.wanted.uncore)
        rest = self.wanted.package - self.wanted.core - self.wanted.uncore
        package = self.cap("package", rest + core + uncore)
        # Core first, then uncore: what is left to them is what the rest, then the uncore, leave over.
        uncore_left = min(uncore, max(0, package - rest))
        core_left = min(core, max(0, package - rest - uncore_left))
        return {
            "package": package,
            "core": core_left,
            "uncore": uncore_left,
            "dram": self.cap("dram", self.wanted.dram),
        }

    def tick(self) -> None:
        now = self.draw()
        for kind, power in now.items():
            self.spent[kind] += power
            for position, limit in enumerate(self.limits.get(kind, ())):
                left = self.credit[kind, position] - (power - limit.limit_uw)
                self.credit[kind, position] = min(max(left, 0), limit.limit_uw * limit.window_ns)


POWER = st.integers(0, 30)
LIMIT = st.builds(Limit, POWER, st.integers(0, 12), st.booleans(), st.booleans())


@settings(deadline=None)
@given(st.data())
def test_the_closed_form_equals_the_model_that_steps_through_every_nanosecond(data: st.DataObject) -> None:
    floors = data.draw(st.dictionaries(st.sampled_from(LIMITED_KINDS), POWER))
    clock = VirtualClock()
    domains = Domains(clock, Topology(1, 1, 1, 1), UNITS, None, 1, floors_uw=floors)
    naive = Naive(floors)
    for _ in range(data.draw(st.integers(1, 8))):
        if data.draw(st.booleans()):
            core, uncore, rest, dram = (data.draw(POWER) for _ in range(4))
            domains.set_load(Load(core + uncore + rest, core, uncore, dram))
            naive.wanted = Draw(core + uncore + rest, core, uncore, dram)
        if data.draw(st.booleans()):
            kind = data.draw(st.sampled_from(LIMITED_KINDS))
            limits = data.draw(st.lists(LIMIT, max_size=3).map(tuple))
            domains.set_limits(kind, 0, limits)
            naive.write(kind, limits)
        nanoseconds = data.draw(st.integers(0, 40))
        clock.advance(nanoseconds=nanoseconds)
        for _ in range(nanoseconds):
            naive.tick()
        for kind in data.draw(st.permutations(LIMITED_KINDS)):
            assert domains.meter(kind, 0).joules() * 10**15 == naive.spent[kind]
            assert domains.meter(kind, 0).draw_w() * 10**6 == naive.draw()[kind]
        assert domains.meter("psys").joules() * 10**15 == naive.spent["package"] + naive.spent["dram"]
        assert domains.meter("cpu-core", core_index=0).joules() * 10**15 == naive.spent["core"]


@settings(deadline=None)
@given(st.data())
def test_the_number_of_events_does_not_grow_with_time(data: st.DataObject) -> None:
    governor = Governor(1)
    core, uncore, rest, dram = (data.draw(POWER) for _ in range(4))
    governor.want(Draw(core + uncore + rest, core, uncore, dram))
    count = 0
    for kind in LIMITED_KINDS:
        limits = data.draw(st.lists(LIMIT, max_size=3).map(tuple))
        governor.set_limits(kind, limits)
        count += len(limits)
    governor.decide()
    events = 0
    while (wait_ns := governor.next_event_ns()) is not None:
        events += 1
        assert events <= count, "each bucket runs empty at most once"
        governor.elapse(wait_ns)
        governor.decide()


def test_a_century_of_throttling_is_one_step() -> None:
    clock, domains = machine(Load.of(package=100))
    domains.set_limits("package", 0, (watts(60), watts(90)))
    century_s = 100 * 365 * 24 * 3600
    clock.advance(seconds=century_s)
    package = domains.meter("package", 0)
    assert 60 * century_s < package.joules() < 60 * century_s + 200
