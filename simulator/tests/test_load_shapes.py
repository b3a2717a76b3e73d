# SPDX-License-Identifier: Apache-2.0
"""--load with shapes: ramps and sines in whole microwatts and nanoseconds, alone and together."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator.hardware.topology import Topology
from raplica_simulator.live.machine import LiveMachine, start
from raplica_simulator.load.demand import Load
from raplica_simulator.load.plan import ConstantLoad, read_load
from raplica_simulator.load.shapes import Level, Ramp, Shape, ShapedLoad, Sine, read_shape, seconds_ns

SECOND_NS = 10**9
MS = 10**6
UW = st.integers(0, 10**9)
TIME_NS = st.integers(MS, 10**13)
ONE = Topology(1, 1, 1, 1)


def wanted_w(spec: str, at_s: Fraction | int, machine: str = "skylake-sp-2s") -> Load:
    return start(machine, load=read_load(spec), at_s=at_s).machine.load.now()


def test_a_sine_begins_in_the_middle_and_rises() -> None:
    spec = "package=sine:20:100:64"
    levels = [wanted_w(spec, second).package_uw for second in (0, 8, 16, 24, 32, 40, 48, 56, 64)]
    assert levels[:4] == [60_000_000, 88_284_271, 100_000_000, 88_284_271]
    assert levels[4:] == [60_000_000, 31_715_729, 20_000_000, 31_715_729, 60_000_000]


def test_a_ramp_goes_there_and_stays() -> None:
    up, down = "package=ramp:20:84:64", "package=ramp:84:20:64"
    assert [wanted_w(up, at).package_uw // 10**6 for at in (0, Fraction(1, 2), 1, 32, 63, 64, 10**6)] == [
        *(20, 20, 21, 52, 83, 84, 84),
    ]
    assert [wanted_w(down, at).package_uw // 10**6 for at in (0, 1, 64, 10**6)] == [84, 83, 20, 20]


def test_shapes_and_constants_go_together_in_every_package() -> None:
    live = start("skylake-sp-2s", load=read_load("package=sine:40:100:60,dram=8"), at_s=600)
    for package in (0, 1):
        assert live.machine.truth_uj(f"package-{package}") == 600 * 70_000_000
        assert live.machine.truth_uj(f"package-{package}/dram") == 600 * 8_000_000


def test_what_is_not_named_keeps_what_the_profile_gives_it_and_has_it_back_after_each_low() -> None:
    rest = start("kabylake").machine.load.now()
    assert 1_000_000 < rest.core_uw + rest.uncore_uw < 16_000_000
    low, high = (wanted_w("package=sine:1:16:4", at, "kabylake") for at in (3, 5))
    assert (low.package_uw, high.package_uw) == (1_000_000, 16_000_000)
    assert low.core_uw + low.uncore_uw <= 1_000_000
    assert (high.core_uw, high.uncore_uw, high.dram_uw) == (rest.core_uw, rest.uncore_uw, rest.dram_uw)
    assert rest.psys_uw is not None
    assert high.psys_uw is not None
    assert high.psys_uw - high.package_uw == rest.psys_uw - rest.package_uw, "the platform keeps what it has above"


def counted(live: LiveMachine) -> bytes:
    with live.held() as machine:
        return machine.sysfs.read("class/powercap/intel-rapl:1/energy_uj")


@pytest.mark.parametrize("spec", ["package=sine:20:180:3,dram=ramp:2:30:100", "package=sine:10:140:0.7"])
def test_it_does_not_matter_when_somebody_looks(spec: str) -> None:
    seen = set()
    for looks in ([Fraction(100)], [Fraction(1, 7)] * 700, [Fraction(7), Fraction(92), Fraction(1)]):
        live = start("skylake-sp-2s", load=read_load(spec))
        for wait_s in looks:
            live.machine.clock.advance(seconds=wait_s)
            counted(live)
        seen.add((counted(live), live.machine.truth_joules("package-1"), live.machine.truth_joules("package-0/dram")))
    assert len(seen) == 1


def test_a_counter_wraps_when_it_is_told_to_under_a_sine() -> None:
    live = start("skylake-sp-2s", load=read_load("package=sine:20:100:7"), at_s=12345, near_wrap_s=100)
    live.machine.clock.advance(seconds=Fraction(999, 10))
    before = int(counted(live))
    live.machine.clock.advance(seconds=Fraction(2, 10))
    assert int(counted(live)) < 60_000_000 < before


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("package=sine", "it must be a number of watts"),
        ("package=sine:1:2", "it must be watts, sine:LOW:HIGH:PERIOD or ramp:FROM:TO:TIME"),
        ("package=sine:1:2:3:4", "it must be watts, sine:LOW:HIGH:PERIOD or ramp:FROM:TO:TIME"),
        ("package=saw:1:2:3", "it must be watts, sine:LOW:HIGH:PERIOD or ramp:FROM:TO:TIME"),
        ("package=Sine:1:2:3", "it must be watts, sine:LOW:HIGH:PERIOD or ramp:FROM:TO:TIME"),
        ("package=sine:2:1:3", "give the lower watts first"),
        ("package=sine:-1:1:3", "package is -1 W, it must be 0 or more"),
        ("package=sine:1:inf:3", "package is inf, it must be finite"),
        ("package=ramp:1:x:3", "package is 'x'"),
        ("package=ramp:1:2:x", "package: 'x' is no number of seconds"),
        ("package=ramp:1:2:-3", "package: '-3' is no number of seconds"),
        ("package=ramp:1:2:nan", "package: 'nan' is no number of seconds"),
        ("package=ramp:1:2:0", "package: 0 s is shorter than 0.001 s"),
        ("dram=sine:1:2:0.0005", "dram: 0.0005 s is shorter than 0.001 s"),
        ("dram=sine:1:2:1.0000000001", "dram: 1.0000000001 s is finer than a nanosecond"),
        ("dram=sine:1:1e-999999999:1", "finer than a microwatt"),
        ("dram=ramp:1:2:1e-999999999", "finer than a nanosecond"),
        ("gpu=sine:1:2:3", "unknown name 'gpu'"),
        ("dram=sine:1:2:3,dram=8", "dram is given twice"),
    ],
)
def test_a_shape_that_is_none_is_refused_in_one_line(spec: str, said: str) -> None:
    with pytest.raises(ValueError, match="load: ") as wrong:
        read_load(spec)
    assert said in str(wrong.value)
    assert "\n" not in str(wrong.value)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("package=sine:20:100:64,core=30", r"core 30 W and uncore 0 W exceed package .* \(so at \d+ s\)"),
        ("package=40,core=ramp:1:41:64", r"core 40.375 W .* \(so at 63 s\)"),
        ("package=sine:20:100:6.4,core=sine:10:90:7", "exceed package"),
        ("package=10,psys=sine:9:100:6", "psys"),
        ("package=sine:1:2:1.0000001,dram=sine:1:2:1.0000003", "choose longer periods, or periods that are multiples"),
        ("package=sine:1:2:0.001,dram=ramp:1:2:3600", "choose longer periods, or periods that are multiples"),
    ],
)
def test_parts_that_exceed_their_whole_at_any_time_are_refused_at_the_start(spec: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as wrong:
        start("skylake-sp-2s", load=read_load(spec))
    assert str(wrong.value).startswith("load: ")
    assert "\n" not in str(wrong.value)


def test_watts_alone_are_no_shapes() -> None:
    assert isinstance(read_load("package=100,dram=8"), ConstantLoad)
    plan = read_load("package=100,dram=ramp:1:8:0.5")
    assert plan == ShapedLoad({"package": Level(100_000_000), "dram": Ramp(1_000_000, 8_000_000, SECOND_NS // 2)})


@given(UW, UW, TIME_NS)
def test_a_sine_is_the_sine_in_whole_microwatts(one_uw: int, other_uw: int, period_ns: int) -> None:
    low_uw, high_uw = sorted((one_uw, other_uw))
    steps = list(Sine(low_uw, high_uw, period_ns).steps(3 * period_ns))
    assert [at for at, _ in steps] == [step * period_ns // 64 for step in range(192)]
    levels = [uw for _, uw in steps]
    assert levels[:64] * 3 == levels
    assert sum(levels) == 96 * (low_uw + high_uw), "a period is worth its mean"
    for step, uw in enumerate(levels[:64]):
        exact = (low_uw + high_uw) / 2 + (high_uw - low_uw) / 2 * math.sin(math.tau * step / 64)
        assert abs(uw - exact) < 1.001
        assert low_uw <= uw <= high_uw
    assert (min(levels), max(levels)) == (low_uw, high_uw)


@given(UW, UW, TIME_NS)
def test_a_ramp_is_straight_in_whole_microwatts(first_uw: int, last_uw: int, length_ns: int) -> None:
    steps = list(Ramp(first_uw, last_uw, length_ns).steps(0))
    assert [at for at, _ in steps] == [step * length_ns // 64 for step in range(65)]
    for step, (_, uw) in enumerate(steps):
        assert 0 <= Fraction((last_uw - first_uw) * step, 64) + first_uw - uw < 1
    assert (steps[0][1], steps[-1][1]) == (first_uw, last_uw)


SHAPES = st.one_of(
    st.builds(Level, UW),
    st.builds(Ramp, UW, UW, st.integers(1, 40).map(lambda ms: ms * MS)),
    st.tuples(UW, UW, st.sampled_from([1, 2, 3, 5, 8])).map(lambda one: Sine(min(one[:2]), max(one[:2]), one[2] * MS)),
)


@given(st.dictionaries(st.sampled_from(["package", "dram"]), SHAPES, min_size=1), st.integers(0, 300 * MS))
def test_together_each_shape_is_as_it_is_alone(shapes: dict[str, Shape], at_ns: int) -> None:
    steps = ShapedLoad(shapes).steps(Load(), ONE)
    assert steps.edges_ns[0] == 0
    place = at_ns
    if steps.first_again is not None:
        first_ns = steps.edges_ns[steps.first_again]
        place = at_ns if at_ns < first_ns else first_ns + (at_ns - first_ns) % steps.again_ns
    load = steps.load(steps.place_at(place))
    for name, shape in shapes.items():
        alone = [uw for moment_ns, uw in shape.steps(at_ns + 1) if moment_ns <= at_ns]
        assert getattr(load, f"{name}_uw") == alone[-1]


@given(st.text(alphabet="0123456789.:-+eE_ sinerampx", max_size=16))
def test_whatever_is_written_is_a_shape_or_refused_in_one_line(text: str) -> None:
    refused: str | None = None
    shape: Shape = Level(0)
    try:
        shape = read_shape(text, "dram")
    except ValueError as error:
        refused = str(error)
    assert refused is None or (refused.startswith("load: dram") and "\n" not in refused)
    for at_ns, uw in shape.steps(1):
        assert (type(at_ns), type(uw)) == (int, int)
        assert min(at_ns, uw) >= 0


@given(st.integers(0, 10**21))
def test_seconds_are_read_to_the_nanosecond(ns: int) -> None:
    assert seconds_ns(f"{ns // SECOND_NS}.{ns % SECOND_NS:09d}") == ns
