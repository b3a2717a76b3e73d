# SPDX-License-Identifier: Apache-2.0
"""--load: constants, traces and the host's own utilisation, each at its moment."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator.live.clock import LiveClock
from raplica_simulator.live.machine import LiveMachine, start
from raplica_simulator.load.host import HostLoad, host_times
from raplica_simulator.load.plan import ConstantLoad, read_load
from raplica_simulator.load.trace import Step, TraceLoad

Trace = Callable[[str], str]


@pytest.fixture
def trace(tmp_path: Path) -> Trace:
    """Write a trace down; its path."""

    def write(text: str) -> str:
        path = tmp_path / "load.csv"
        path.write_text(text)
        return str(path)

    return write


def test_watts_by_name_hold_for_ever() -> None:
    live = start("skylake-sp-2s", load=read_load("package=100, dram=7.5"), at_s=1000)
    assert live.machine.truth_uj("package-1") == 100_000_000_000
    assert live.machine.truth_uj("package-1/dram") == 7_500_000_000


def test_what_is_not_named_stays_as_the_profile_has_it_as_far_as_it_fits() -> None:
    plain = start("kabylake").machine.load.now()
    assert start("kabylake", load=read_load("dram=1")).machine.load.now().package_uw == plain.package_uw
    small = start("kabylake", load=read_load("package=1")).machine.load.now()
    assert small.core_uw + small.uncore_uw <= 1_000_000


def test_the_steps_of_a_trace_come_at_their_moments_however_late_somebody_looks(trace: Trace) -> None:
    path = trace("time_s,package,dram\n# at rest\n1.5,100,\n\n2,50,10\n4.25,,0\n")
    truth = {}
    for looks in ([Fraction(10)], [Fraction(1, 10)] * 100):
        live = start("skylake-sp-2s", load=read_load(path))
        for wait_s in looks:
            live.machine.clock.advance(seconds=wait_s)
            with live.held() as machine:
                machine.sysfs.read("class/powercap/intel-rapl:0/energy_uj")
        truth[len(looks)] = (live.machine.truth_uj("package-0"), live.machine.truth_uj("package-0/dram"))
    rest = start("skylake-sp-2s").machine.load.now()
    package = 15 * rest.package_uw // 10 + 50_000_000 + 8 * 50_000_000
    dram = 2 * rest.dram_uw + 225 * 100_000
    assert set(truth.values()) == {(package, dram)}


def test_a_trace_that_begins_in_the_middle_leaves_the_profiles_load_before(trace: Trace) -> None:
    live = start("skylake-sp-2s", load=read_load(trace("time_s,package\n5,10\n")), at_s=4)
    assert live.machine.truth_uj("package-0") == 4 * start("skylake-sp-2s").machine.load.now().package_uw


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no step in it"),
        ("time_s,package\n", "no step in it"),
        ("package,dram\n1,2\n", ":1: the first line is to name the columns"),
        ("time_s\n1\n", ":1: the first line is to name the columns"),
        ("time_s,gpu\n1,2\n", ":1: unknown column 'gpu'"),
        ("time_s,dram,dram\n1,2,3\n", ":1: dram is there twice"),
        ("time_s,dram\n1\n", ":2: 1 cells"),
        ("time_s,dram\nx,2\n", ":2: 'x' is no number of seconds"),
        ("time_s,dram\n-1,2\n", ":2: '-1' is no number of seconds"),
        ("time_s,dram\ninf,2\n", ":2: 'inf' is no number of seconds"),
        ("time_s,dram\n0.0000000001,2\n", ":2: 0.0000000001 s is finer than a nanosecond"),
        ("time_s,dram\n1,2\n1,3\n", ":3: 1 s is not after the line before"),
        ("time_s,dram\n1,-2\n", ":2: load: dram is -2 W"),
        ("time_s,dram\n1,much\n", ":2: load: dram is 'much'"),
        ("time_s,dram\n1,nan\n", ":2: load: dram is nan, it must be finite"),
        ("time_s,dram\n1,1e400\n", ":2: load: dram is 1e400 W, more than any machine draws"),
        ("time_s,dram\n1,1e9999999999999999999\n", ":2: load: dram is '1e9999999999999999999'"),
        ("time_s,dram\n1,1_0\n", ":2: load: dram is '1_0'"),
        ("time_s,dram\n\u0661,1\n", ":2: '\u0661' is no number of seconds"),
        ("time_s,dram\n1e9999999999999999999,1\n", ":2: '1e9999999999999999999' is no number of seconds"),
        ("time_s;dram\n1;2\n", ":1: the first line is to name the columns"),
        ("time_s,package,core\n1,5,6\n", ":2: load: core"),
        ('time_s,package\n1,"5\n', "this is no CSV"),
    ],
)
def test_what_is_wrong_with_a_trace_is_one_line_with_its_line(trace: Trace, text: str, said: str) -> None:
    path = trace(text)
    with pytest.raises(ValueError, match=r"load|CSV") as wrong:
        start("skylake-sp-2s", load=read_load(path))
    assert f"{path}{said}" in str(wrong.value) or f"{path}: {said}" in str(wrong.value)
    assert "\n" not in str(wrong.value).strip()


@pytest.mark.parametrize(
    "text",
    [
        "\ufefftime_s,package,dram\n0,10,1\n2,20,\n",
        "time_s,package,dram\r\n0,10,1\r\n2,20,\r\n",
        '"time_s","package","dram"\n"0","10","1"\n"2","20",""\n',
        "# recorded\ntime_s, package, dram\n\n0.0, 1e1, 1\n# more\n2, 20.000000, ",
    ],
)
def test_a_trace_may_be_written_as_spreadsheets_and_people_write(trace: Trace, text: str) -> None:
    machine = start("skylake-sp-2s", load=read_load(trace(text)), at_s=3).machine
    assert [machine.truth_uj(name) for name in ("package-0", "package-0/dram")] == [40_000_000, 3_000_000]


def test_what_is_no_text_is_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "binary.csv"
    path.write_bytes(b"\xff\xfe\x00time_s")
    with pytest.raises(ValueError, match="this is no CSV"):
        read_load(str(path))
    with pytest.raises(FileNotFoundError):
        read_load(str(tmp_path / "none.csv"))
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(IsADirectoryError):
        read_load(str(tmp_path / "folder.csv"))


@pytest.mark.parametrize(
    "text", ["", "package", "trace.txt", "host ", "package:1", "package=", "gpu=1", "dram=1,dram=2"]
)
def test_a_spec_that_is_none_of_the_three_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="load: "):
        read_load(text)


@pytest.mark.parametrize("text", ["package=x", "package=-1", "dram=1e99"])
def test_watts_that_are_none_are_refused_before_there_is_a_machine(text: str) -> None:
    with pytest.raises(ValueError, match="load: "):
        read_load(text)


def test_watts_that_do_not_fit_the_machine_are_refused() -> None:
    with pytest.raises(ValueError, match="exceed package"):
        start("skylake-sp-2s", load=ConstantLoad({"package": 5, "core": 6}))


# Watts that no limit of the machine cuts.
@given(st.lists(st.tuples(st.integers(1, 5000), st.integers(0, 140)), min_size=1, max_size=20))
def test_a_trace_spends_the_sum_of_its_steps(steps: list[tuple[int, int]]) -> None:
    rows, now_ms, wanted_uj = [], 0, 0
    for line, (length_ms, watts) in enumerate(steps, 2):
        rows.append(Step(line, now_ms * 1_000_000, {"package": watts}))
        now_ms += length_ms
        wanted_uj += length_ms * watts * 1000
    live = start("skylake-sp-2s", load=TraceLoad("a.csv", tuple(rows)), at_s=Fraction(now_ms, 1000))
    assert live.machine.truth_uj("package-0") == wanted_uj


# The host's own utilisation.


class Host:
    """A host of one processor whose counters the test moves, in ticks."""

    def __init__(self) -> None:
        self.busy = 1000
        self.whole = 5000
        self.asked = 0

    def times(self) -> tuple[int, int]:
        self.asked += 1
        return self.busy, self.whole

    def work(self, busy: int, idle: int) -> None:
        self.busy += busy
        self.whole += busy + idle


def following(host: Host, name: str = "skylake-sp-2s") -> LiveMachine:
    return start(name, load=HostLoad(host.times, processors=1))


def spent_uj(live: LiveMachine, seconds: Fraction | int) -> int:
    """What package 0 spends in the time that now goes by, seen at its end."""
    before = live.machine.truth_uj("package-0")
    live.machine.clock.advance(seconds=seconds)
    with live.held() as machine:
        return machine.truth_uj("package-0") - before


def test_a_machine_is_as_busy_as_its_host_was_since_somebody_looked() -> None:
    host = Host()
    live = following(host)
    rest_uw = live.machine.load.now().package_uw
    design_uw = int(live.machine.sysfs.read("class/powercap/intel-rapl:0/constraint_0_max_power_uw"))
    assert rest_uw < design_uw
    host.work(200, 0)
    assert spent_uj(live, 1) == design_uw
    host.work(0, 7200)
    assert spent_uj(live, 3600) == 3600 * rest_uw
    host.work(50, 150)
    assert spent_uj(live, 1) == rest_uw + (design_uw - rest_uw) // 4


def test_what_was_shown_is_never_taken_back() -> None:
    host = Host()
    live = following(host)
    host.work(200, 0)
    spent_uj(live, 1)
    # A look after 50 ms still shows the old watts, and what comes to light later counts from that look on.
    busy_uj = spent_uj(live, Fraction(1, 20))
    host.work(0, 20)
    idle_uj = spent_uj(live, Fraction(1, 20))
    assert busy_uj > idle_uj > 0


def test_the_host_is_asked_ten_times_a_second_at_most() -> None:
    host = Host()
    live = following(host)
    for _ in range(100):
        spent_uj(live, Fraction(1, 100))
    assert host.asked == 11


def test_what_the_host_did_in_a_moment_says_nothing_of_the_hours_that_were_passed_over() -> None:
    host = Host()
    live = following(host)
    rest_uw = live.machine.load.now().package_uw
    host.work(9, 0)
    assert spent_uj(live, 3600) == 3600 * rest_uw
    host.work(1, 10)
    assert spent_uj(live, 1) > rest_uw, "together they are long enough, and half of that it was busy"


def test_a_changed_speed_changes_how_often_the_host_is_asked() -> None:
    host = Host()
    live = following(host)
    clock = live.machine.clock
    assert isinstance(clock, LiveClock)
    clock.set_speed(1000)
    for _ in range(100):
        spent_uj(live, 1)
    assert host.asked == 2, "a hundred seconds of the machine are one tenth of the host's"


def test_a_host_that_takes_time_back_or_stands_does_no_harm() -> None:
    host = Host()
    live = following(host)
    assert spent_uj(live, 1) == live.machine.load.now().package_uw
    host.work(-10, 20)
    assert spent_uj(live, 1) == live.machine.load.now().package_uw


def test_the_cores_draw_what_comes_on_top_where_they_draw_at_all() -> None:
    host = Host()
    live = following(host, "kabylake")
    before = live.machine.load.now()
    host.work(10, 0)
    spent_uj(live, 1)
    after = live.machine.load.now()
    assert after.core_uw - before.core_uw == after.package_uw - before.package_uw > 0


def test_a_machine_that_says_no_design_power_draws_twice_its_rest() -> None:
    host = Host()
    live = following(host, "zen4")
    rest_uw = live.machine.load.now().package_uw
    host.work(10, 0)
    assert spent_uj(live, 1) == max(2 * rest_uw, 50_000_000)


def test_this_host_counts_its_time() -> None:
    busy, whole = host_times()
    assert 0 < busy < whole
    assert start("kabylake", load=read_load("host"), at_s=1).machine.truth_uj("package-0") > 0
