# SPDX-License-Identifier: Apache-2.0
"""A machine that runs while others look: its clock, its first moment, counters that are about to wrap."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raplica_simulator import Machine, VirtualClock
from raplica_simulator.live.clock import LiveClock
from raplica_simulator.live.machine import LiveMachine, start
from raplica_simulator.live.timeline import Timeline
from raplica_simulator.load.plan import ConstantLoad, read_load

ENERGY = "class/powercap/intel-rapl:0/energy_uj"
WRAP = 1 << 32


def test_a_clock_stands_until_it_is_started_and_again_when_it_is_stopped() -> None:
    clock = LiveClock(1000)
    clock.advance(seconds=Decimal("1.5"))
    assert (clock.now_ns, clock.running) == (1_500_000_000, False)
    clock.start()
    clock.start()
    time.sleep(0.01)
    assert clock.running
    assert clock.now_ns >= 1_500_000_000 + 1000 * 10_000_000
    clock.stop()
    clock.stop()
    stands_ns = clock.now_ns
    time.sleep(0.001)
    assert clock.now_ns == stands_ns
    clock.advance(nanoseconds=7)
    assert clock.now_ns == stands_ns + 7


def test_a_clock_can_be_held_at_the_moment_to_which_something_belongs() -> None:
    clock = LiveClock()
    clock.start()
    before_ns = clock.now_ns
    with suppress(RuntimeError), clock.held_at(5):
        assert clock.now_ns == 5
        raise RuntimeError
    assert clock.now_ns >= before_ns


@pytest.mark.parametrize(("speed", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError)])
def test_a_speed_that_is_none_is_refused(speed: int, error: type[Exception]) -> None:
    with pytest.raises(error, match="speed"):
        LiveClock(speed)


def test_a_machine_begins_at_the_moment_that_is_asked_for_and_then_runs() -> None:
    live = start("skylake-sp-2s", load=ConstantLoad({"package": 100}), speed=100, at_s=Fraction(7, 2))
    assert live.machine.clock.now_ns == 3_500_000_000
    assert live.machine.truth_uj("package-0") == 350_000_000
    before = live.machine.sysfs.read(ENERGY)
    time.sleep(0.002)
    assert live.machine.sysfs.read(ENERGY) == before
    live.let_time_run()
    time.sleep(0.01)
    with live.held() as machine:
        assert machine.truth_uj("package-0") > 350_000_000 + 100 * 1_000_000 * 100 // 100


def test_time_is_let_run_only_where_there_is_a_clock_that_can() -> None:
    machine = Machine.from_profile("kabylake", clock=VirtualClock())
    LiveMachine(machine).let_time_run()
    assert machine.clock.now_ns == 0


@pytest.mark.parametrize("speed", [100, 10**9])
def test_no_look_shows_what_the_next_step_of_a_load_takes_back(speed: int) -> None:
    live = start("kabylake", load=read_load("package=sine:2:15:0.064"), speed=speed)
    live.let_time_run()
    shown = []
    for _ in range(300):
        with live.held() as machine:
            moment_ns = machine.clock.now_ns
            shown.append((moment_ns, machine.msr.counted(0, 0x611) or 0, machine.truth_joules("package-0")))
            assert machine.clock.now_ns == moment_ns, "a look is one moment"
    for before, after in pairwise(shown):
        assert all(one <= other for one, other in zip(before, after, strict=True))
    assert shown[0] < shown[-1]


def test_a_look_at_a_running_clock_lasts_until_the_next_one_or_an_order() -> None:
    clock = LiveClock(10**6)
    assert clock.look() == clock.look() == 0
    clock.start()
    seen_ns = clock.look()
    assert clock.now_ns == seen_ns
    clock.advance(seconds=1000)
    assert clock.now_ns >= seen_ns + 1000 * 10**9
    with clock.held_at(5):
        assert clock.look() == clock.now_ns == 5
    assert clock.look() > seen_ns
    clock.stop()
    assert clock.look() == clock.now_ns > seen_ns


def test_only_one_thread_has_the_machine() -> None:
    live = start("kabylake")
    seen: list[str] = []

    def other() -> None:
        with live.held():
            seen.append("other")

    thread = threading.Thread(target=other)
    with live.held():
        thread.start()
        thread.join(0.02)
        seen.append("first")
    thread.join()
    assert seen == ["first", "other"]


def test_whoever_looks_finds_done_what_has_become_due() -> None:
    clock = LiveClock()
    course = _EverySecond(clock)
    live = LiveMachine(Machine.from_profile("kabylake", clock=clock), Timeline(clock, [course]))
    clock.advance(seconds=2)
    assert course.done == []
    with live.held():
        assert course.done == [10**9, 2 * 10**9]
    assert clock.now_ns == 2 * 10**9


class _EverySecond:
    """A course that writes down when it went."""

    def __init__(self, clock: LiveClock) -> None:
        self._clock = clock
        self.done: list[int] = []

    def due_ns(self) -> int:
        return 10**9 * (len(self.done) + 1)

    def go(self, until_ns: int) -> None:
        while self.due_ns() <= until_ns:
            with self._clock.held_at(self.due_ns()):
                self.done.append(self._clock.now_ns)


# Counters that are about to wrap.


def test_counters_in_memory_are_wound_up_too(make_machine: Callable[..., Machine]) -> None:
    profile = make_machine("kabylake", more="[mmio]\n0x5938 = 0xA0E03\n0x593C = 0x1234\n0x59A0 = 0").profile
    live = start(profile, load=ConstantLoad({"package": 20}), near_wrap_s=3)
    live.machine.clock.advance(nanoseconds=2_999_000_000)
    assert live.machine.mmio.read(0x593C) % WRAP == live.machine.msr.read(0, 0x611) % WRAP > WRAP // 2
    live.machine.clock.advance(nanoseconds=1_000_000)
    assert live.machine.mmio.read(0x593C) % WRAP == 0


def counters(machine: Machine) -> dict[tuple[int, int], int]:
    """Every counter of the Intel and AMD machines below, in the bits that powercap counts by."""
    addresses = (0x611, 0x619, 0x639, 0x641, 0x64D, 0xC001029A, 0xC001029B)
    return {
        (place.number, address): machine.msr.read(place.number, address) % WRAP
        for place in machine.profile.topology.cpus
        for address in set(machine.msr.addresses(place.number)) & set(addresses)
    }


@pytest.mark.parametrize("name", ["skylake-sp-2s", "kabylake", "zen2-epyc-2s", "sapphirerapids-2s", "baytrail"])
@pytest.mark.parametrize("wait_s", [Fraction(5), Fraction(1, 8)])
def test_every_counter_that_moves_wraps_just_then_and_none_before(name: str, wait_s: Fraction) -> None:
    # More than most of these may draw for long: some domains are cut, and one or the other to nothing.
    live = start(name, load=read_load("package=100"), near_wrap_s=wait_s, at_s=60)
    clock = live.machine.clock
    before = counters(live.machine)
    clock.advance(seconds=wait_s - Fraction(1, 1000))
    almost = counters(live.machine)
    clock.advance(nanoseconds=1_000_000)
    after = counters(live.machine)
    moving = [key for key, value in before.items() if after[key] != value]
    assert moving
    for key in moving:
        assert WRAP // 2 < before[key] <= almost[key]
        assert after[key] == 0
    standing = set(before) - set(moving)
    assert {key: before[key] for key in standing} == {key: after[key] for key in standing}


def test_counters_about_to_wrap_move_no_truth_and_no_tree() -> None:
    plain, live = start("skylake-sp-2s"), start("skylake-sp-2s", near_wrap_s=5)
    assert live.machine.truth_uj("package-0") == plain.machine.truth_uj("package-0") == 0
    powercap = "class/powercap"
    assert live.machine.sysfs.listdir(powercap) == plain.machine.sysfs.listdir(powercap)


def test_the_wrap_is_met_under_a_load_that_changes_before_it(tmp_path_csv: Callable[[str], str]) -> None:
    path = tmp_path_csv("time_s,package\n0,50\n2,150\n4,20\n")
    live = start("skylake-sp-2s", load=read_load(path), near_wrap_s=6)
    live.machine.clock.advance(seconds=6)
    with live.held() as machine:
        assert machine.msr.read(0, 0x611) == 0
        assert machine.truth_uj("package-0") == (2 * 50 + 2 * 150 + 2 * 20) * 1_000_000


@settings(max_examples=15)
@given(watts=st.integers(1, 200), wait_ms=st.integers(1, 20_000))
def test_any_watts_and_any_wait_meet_at_the_wrap(watts: int, wait_ms: int) -> None:
    load = ConstantLoad({"package": watts, "dram": 3})
    live = start("skylake-sp-2s", load=load, near_wrap_s=Fraction(wait_ms, 1000))
    live.machine.clock.advance(nanoseconds=wait_ms * 1_000_000)
    assert {live.machine.msr.read(cpu, register) for cpu in (0, 20) for register in (0x611, 0x619)} == {0}


@pytest.fixture
def tmp_path_csv(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Write a trace down."""

    def write(text: str) -> str:
        path = tmp_path_factory.mktemp("trace") / "load.csv"
        path.write_text(text)
        return str(path)

    return write
