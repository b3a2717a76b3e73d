# SPDX-License-Identifier: Apache-2.0
"""Energy: exact, closed, and visible on the update grid only."""

from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raplica_simulator.clock import VirtualClock
from raplica_simulator.hardware.domains import Domains
from raplica_simulator.hardware.registers import CpuId, counter_units
from raplica_simulator.hardware.topology import Topology
from raplica_simulator.hardware.units import KINDS
from raplica_simulator.load.demand import Load

UNIT = Fraction(1, 2**14)
UNITS = dict.fromkeys(KINDS, UNIT)
ONE = Topology(1, 1, 1, 1)
MS = 1_000_000


def test_steps_are_whole_and_joules_are_exact() -> None:
    clock = VirtualClock()
    domains = Domains(clock, ONE, UNITS, Load.of(package=80, dram=12))
    clock.advance(seconds=Fraction(1, 1000))
    assert domains.meter("package", 0).joules() == Fraction(80, 1000)
    assert domains.meter("package", 0).steps() == int(Fraction(80, 1000) / UNIT) == 1310
    assert domains.meter("dram", 0).steps() == 196


def test_a_year_is_as_exact_as_a_second() -> None:
    clock = VirtualClock()
    units = counter_units(CpuId("GenuineIntel", 6, 0x55), 0xA0E03)
    domains = Domains(clock, ONE, units, Load.of(package=80, dram=12))
    clock.advance(seconds=365 * 24 * 3600)
    year_s = 365 * 24 * 3600
    assert domains.meter("package", 0).joules() == 80 * year_s
    assert domains.meter("package", 0).steps() == 80 * year_s * 2**14
    assert domains.meter("dram", 0).steps() == 12 * year_s * 10**7 // 153


def test_counters_move_only_at_the_tick() -> None:
    clock = VirtualClock()
    meter = Domains(clock, ONE, UNITS, Load.of(package=80)).meter("package", 0)
    clock.advance(nanoseconds=MS - 1)
    assert meter.steps() == 0
    clock.advance(nanoseconds=1)
    assert meter.steps() == 1310
    clock.advance(nanoseconds=MS - 1)
    assert meter.steps() == 1310
    assert meter.joules() > Fraction(1599, 10000)


@pytest.mark.parametrize("grid_ns", [0, 1])
def test_without_a_grid_counters_move_at_once(grid_ns: int) -> None:
    clock = VirtualClock()
    meter = Domains(clock, ONE, UNITS, Load.of(package=80), grid_ns).meter("package", 0)
    clock.advance(nanoseconds=763)
    assert meter.steps() == 1, "80 W for 763 ns are 1.00007 steps of 61 uJ"
    assert meter.joules() == Fraction(80 * 763, 10**9)


def test_a_load_change_between_ticks_does_not_change_what_the_last_tick_showed() -> None:
    clock = VirtualClock()
    domains = Domains(clock, ONE, UNITS, Load.of(package=80))
    meter = domains.meter("package", 0)
    clock.advance(nanoseconds=MS + 400_000)
    domains.set_load(Load.of(package=0))
    assert meter.steps() == 1310
    clock.advance(nanoseconds=100_000)
    domains.set_load(Load.of(package=1000))
    assert meter.steps() == 1310
    clock.advance(nanoseconds=500_000)
    assert meter.joules() == Fraction(80 * 14, 10**4) + Fraction(1000 * 5, 10**4)
    assert meter.steps() == int(meter.joules() / UNIT)


def test_a_machine_without_a_load_stands_still() -> None:
    clock = VirtualClock()
    domains = Domains(clock, ONE, UNITS, None)
    clock.advance(seconds=3600)
    assert all(domains.meter(kind, 0, 0).steps() == 0 for kind in KINDS)
    domains.set_load(Load.of(package=1))
    clock.advance(seconds=1)
    assert domains.meter("package", 0).steps() == 2**14
    domains.set_load(None)
    clock.advance(seconds=1)
    assert domains.meter("package", 0).joules() == 1


def test_a_clock_that_starts_late_has_spent_the_load_since_time_0() -> None:
    meter = Domains(VirtualClock(start_ns=2_000_000_000), ONE, UNITS, Load.of(package=80)).meter("package", 0)
    assert meter.joules() == 160
    assert meter.steps() == 160 * 2**14


def test_watts_are_spread_evenly_over_dies_and_cores() -> None:
    clock = VirtualClock()
    domains = Domains(clock, Topology(2, 2, 3, 1), UNITS, Load.of(package=100, core=70, uncore=9, dram=11))
    clock.advance(seconds=6)
    for die in range(4):
        assert domains.meter("package", die).joules() == 300
        assert domains.meter("core", die).joules() == 210
        assert domains.meter("uncore", die).joules() == 27
        assert domains.meter("dram", die).joules() == 33
    for core in range(12):
        assert domains.meter("cpu-core", 0, core).joules() == 70
    assert domains.meter("psys").joules() == 2 * 6 * 111


def test_single_cores_draw_what_they_are_given_and_no_more() -> None:
    clock = VirtualClock()
    load = Load.of(package=40, cores={(0, 0, 1): 3, (1, 0, 0): 2.5})
    domains = Domains(clock, Topology(2, 1, 2, 2), UNITS, load)
    clock.advance(seconds=2)
    assert [domains.meter("cpu-core", core_index=core).joules() for core in range(4)] == [0, 6, 5, 0]
    assert [domains.meter("core", die).joules() for die in (0, 1)] == [6, 5]


def test_platform_watts_that_are_given_are_summed_over_packages() -> None:
    clock = VirtualClock()
    domains = Domains(clock, Topology(2, 1, 1, 1), UNITS, Load.of(package=40, dram=5, psys=60))
    clock.advance(seconds=1)
    assert domains.meter("psys").joules() == 120
    domains.set_load(Load.of(package=40, dram=5))
    clock.advance(seconds=1)
    assert domains.meter("psys").joules() == 120 + 90


def test_one_package_can_want_other_watts_than_the_rest() -> None:
    clock = VirtualClock()
    domains = Domains(clock, Topology(2, 2, 1, 1), UNITS, Load.of(package=10))
    domains.set_load(Load.of(package=30, dram=2), package=1)
    clock.advance(seconds=1)
    assert [domains.meter("package", die).joules() for die in range(4)] == [5, 5, 15, 15]
    assert domains.meter("psys").joules() == 42
    assert [load.package_uw for load in domains.loads] == [10_000_000, 30_000_000]


def test_each_domain_has_one_meter() -> None:
    domains = Domains(VirtualClock(), Topology(1, 1, 2, 1), UNITS, None)
    assert domains.meter("dram", 0) is domains.meter("dram", 0)
    assert domains.meter("psys", 0) is domains.meter("psys")
    assert domains.meter("cpu-core", core_index=0) is not domains.meter("cpu-core", core_index=1)


def test_single_cores_count_in_the_cores_unit_unless_they_have_their_own() -> None:
    clock = VirtualClock()
    units = {kind: UNIT for kind in KINDS if kind != "cpu-core"} | {"core": Fraction(1, 8)}
    domains = Domains(clock, ONE, units, Load.of(package=1, core=1))
    clock.advance(seconds=1)
    assert domains.meter("cpu-core", core_index=0).steps() == 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gpu", 0), "unknown kind of domain 'gpu': the kinds are package, core"),
        (("package", 2), "the machine has dies 0 to 1"),
        (("package", -1), "the machine has dies 0 to 1"),
        (("cpu-core", 0), "core None does not exist: the machine has cores 0 to 3"),
        (("cpu-core", 0, 4), "core 4 does not exist"),
    ],
)
def test_a_domain_that_does_not_exist_is_refused(arguments: tuple[Any, ...], message: str) -> None:
    domains = Domains(VirtualClock(), Topology(2, 1, 2, 1), UNITS, None)
    with pytest.raises(ValueError, match=message):
        domains.meter(*arguments)


def test_what_does_not_fit_together_is_refused() -> None:
    clock = VirtualClock()
    with pytest.raises(ValueError, match="units: dram is None"):
        Domains(clock, ONE, {kind: UNIT for kind in KINDS if kind != "dram"}, None)
    with pytest.raises(ValueError, match="units: psys is 0"):
        Domains(clock, ONE, UNITS | {"psys": Fraction(0)}, None)
    with pytest.raises(ValueError, match="grid_ns is -1"):
        Domains(clock, ONE, UNITS, None, -1)
    with pytest.raises(ValueError, match=r"core 0\.0\.1 does not exist"):
        Domains(clock, ONE, UNITS, Load.of(package=1, cores={(0, 0, 1): 1}))
    with pytest.raises(ValueError, match="machine has packages 0 to 0"):
        Domains(clock, ONE, UNITS, None).set_load(None, package=1)


def test_a_refused_load_leaves_the_machine_as_it_was() -> None:
    clock = VirtualClock()
    domains = Domains(clock, ONE, UNITS, Load.of(package=5))
    with pytest.raises(ValueError, match="does not exist"):
        domains.set_load(Load.of(package=9, cores={(7, 0, 0): 1}))
    clock.advance(seconds=1)
    assert domains.meter("package", 0).joules() == 5


WATTS = st.integers(0, 400_000_000)


@st.composite
def loads(draw: st.DrawFn, topology: Topology) -> Load | None:
    """Any load that fits the topology, single cores included."""
    if draw(st.integers(0, 9)) == 0:
        return None
    core, uncore, rest, dram = draw(WATTS), draw(WATTS), draw(WATTS), draw(WATTS)
    psys = draw(st.none() | WATTS.map(lambda extra: extra + core + uncore + rest + dram))
    if draw(st.booleans()):
        return Load(core + uncore + rest, core, uncore, dram, psys)
    # A die's cores fit for certain when the whole package's would fit on one die.
    most = core // (topology.cores_per_die * topology.dies_per_package)
    keys = st.tuples(
        st.integers(0, topology.packages - 1),
        st.integers(0, topology.dies_per_package - 1),
        st.integers(0, topology.cores_per_die - 1),
    )
    cores = draw(st.dictionaries(keys, st.integers(0, most), max_size=4))
    return Load(core + uncore + rest, 0, uncore, dram, psys, cores)


def watts_of(load: Load | None, topology: Topology, kind: str, die: int, core: int) -> Fraction:
    """What a domain draws by the definition of a load, without limits."""
    if load is None:
        return Fraction(0)
    package, die_in_package = divmod(die, topology.dies_per_package)
    each = Fraction(load.core_uw, topology.dies_per_package * topology.cores_per_die)

    def one(index: int) -> Fraction:
        return Fraction(load.cores_uw.get((package, die_in_package, index), 0)) + each

    psys_uw = load.package_uw + load.dram_uw if load.psys_uw is None else load.psys_uw
    parts: dict[str, Fraction] = {
        "package": Fraction(load.package_uw, topology.dies_per_package),
        "uncore": Fraction(load.uncore_uw, topology.dies_per_package),
        "dram": Fraction(load.dram_uw, topology.dies_per_package),
        "core": sum((one(index) for index in range(topology.cores_per_die)), Fraction(0)),
        "cpu-core": one(core),
        "psys": Fraction(psys_uw * topology.packages),
    }
    return parts[kind] / 10**6


@settings(deadline=None)
@given(st.data())
def test_any_sequence_of_loads_and_steps_equals_the_plain_integral(data: st.DataObject) -> None:
    topology = data.draw(st.builds(Topology, st.integers(1, 2), st.integers(1, 2), st.integers(1, 3), st.just(1)))
    grid_ns = data.draw(st.sampled_from([1, 7, 1000, MS]))
    unit_j = data.draw(st.sampled_from([UNIT, Fraction(1, 2**16), Fraction(153, 10**7), Fraction(1, 10**9)]))
    clock = VirtualClock()
    load = data.draw(loads(topology))
    domains = Domains(clock, topology, dict.fromkeys(KINDS, unit_j), load, grid_ns)
    changes = [(0, load)]
    for _ in range(data.draw(st.integers(1, 5))):
        clock.advance(nanoseconds=data.draw(st.integers(0, 3 * grid_ns) | st.integers(0, 10**18)))
        kind = data.draw(st.sampled_from(KINDS))
        die = data.draw(st.sampled_from(topology.dies))
        core = data.draw(st.integers(0, topology.cores_per_die - 1))
        meter = domains.meter(kind, die, topology.cores_of_die(die)[core])

        def joules(until_ns: int, place: tuple[str, int, int] = (kind, die, core)) -> Fraction:
            ends = [*changes, (until_ns, None)]
            return sum(
                (
                    watts_of(wanted, topology, *place) * max(0, min(end, until_ns) - start) / 10**9
                    for (start, wanted), (end, _) in pairwise(ends)
                ),
                Fraction(0),
            )

        tick_ns = clock.now_ns // grid_ns * grid_ns
        assert meter.joules() == joules(clock.now_ns)
        assert meter.draw_w() == watts_of(changes[-1][1], topology, kind, die, core)
        assert meter.steps() == joules(tick_ns) // unit_j
        # A counter of its own over a whole package, in another unit: MMIO and TPMI have such.
        dies = topology.dies_of_package(0)
        counter_j = data.draw(st.sampled_from([unit_j, Fraction(1, 2**14), Fraction(1)]))
        counter = domains.counter("package", dies, counter_j)
        counted = sum((joules(tick_ns, ("package", one, 0)) for one in dies), Fraction(0)) // counter_j
        assert counter() == counted
        load = data.draw(loads(topology))
        domains.set_load(load)
        changes.append((clock.now_ns, load))
        assert meter.steps() == joules(tick_ns) // unit_j
        assert counter() == counted
