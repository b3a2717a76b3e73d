# SPDX-License-Identifier: Apache-2.0
"""Step mode: a machine whose time moves only when it is told to, from a program and under programs that look."""

import os
import subprocess
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from raplica_simulator import Machine, clock
from raplica_simulator.control.door import Control
from raplica_simulator.live.clock import LiveClock
from raplica_simulator.live.machine import LiveMachine, start
from raplica_simulator.live.timeline import Timeline
from raplica_simulator.load.plan import ConstantLoad
from raplica_simulator.surfaces.fuse import FuseMount

NS = 10**9
ENERGY = "sys/class/powercap/intel-rapl:0/energy_uj"


class _Told(RuleBasedStateMachine):
    """Any orders in any order, on a host whose time we make, against sums written down beside."""

    def __init__(self) -> None:
        super().__init__()
        self.host_ns = 0
        self.patch = mock.patch.object(clock, "time", SimpleNamespace(monotonic_ns=lambda: self.host_ns))
        self.patch.start()
        self.live = start("skylake-sp-2s", load=ConstantLoad({"package": 20, "dram": 5}))
        self.control = Control(self.live)
        self.base_ns = self.since_ns = 0
        self.running = False
        self.speed = Fraction(1)
        self.watts = 20
        self.spent_w_ns = self.counted_ns = 0
        self.last_ns = self.last_uj = 0

    def teardown(self) -> None:
        self.patch.stop()

    def now_ns(self) -> int:
        return self.base_ns + (int((self.host_ns - self.since_ns) * self.speed) if self.running else 0)

    def rebase(self) -> None:
        self.base_ns, self.since_ns = self.now_ns(), self.host_ns

    def spend(self) -> None:
        self.spent_w_ns += self.watts * (self.now_ns() - self.counted_ns)
        self.counted_ns = self.now_ns()

    @rule(ns=st.integers(0, 5 * NS))
    def host_time_passes(self, ns: int) -> None:
        self.host_ns += ns

    @rule(ns=st.one_of(st.integers(0, 3), st.integers(0, 100 * NS)))
    def advance(self, ns: int) -> None:
        self.control.advance(Decimal(ns) / NS)
        self.base_ns += ns

    @rule()
    def pause(self) -> None:
        self.control.pause()
        self.rebase()
        self.running = False

    @rule()
    def run(self) -> None:
        self.control.run()
        # To start what runs changes nothing, not even the fraction of a nanosecond that is not yet to be seen.
        if not self.running:
            self.rebase()
        self.running = True

    @rule(speed=st.fractions(Fraction(1, 1000), 1000, max_denominator=1000))
    def go_so_fast(self, speed: Fraction) -> None:
        self.control.set_speed(speed)
        self.rebase()
        self.speed = speed

    @rule(watts=st.integers(0, 60))
    def want(self, watts: int) -> None:
        self.control.set_load({"package": watts})
        self.spend()
        self.watts = watts

    @invariant()
    def time_is_the_sum_of_what_was_told(self) -> None:
        status = self.control.status()
        assert (status.now_ns, status.running, status.speed) == (self.now_ns(), self.running, self.speed)
        assert status.now_ns >= self.last_ns
        self.last_ns = status.now_ns

    @invariant()
    def truth_is_the_integral(self) -> None:
        self.spend()
        with self.live.held() as machine:
            assert machine.truth_joules("package-0") == Fraction(self.spent_w_ns, NS)
            assert machine.truth_joules("package-1/dram") == Fraction(5 * self.now_ns(), NS)
        (spent,) = self.control.truth("package-0")
        assert spent.truth_uj >= self.last_uj
        self.last_uj = spent.truth_uj


TestToldTime = _Told.TestCase
TestToldTime.settings = settings(max_examples=25, stateful_step_count=20)


def test_what_becomes_due_on_the_way_is_done_at_its_moment_before_the_order_ends() -> None:
    own = LiveClock()
    done: list[int] = []

    class EverySecond:
        def due_ns(self) -> int:
            return NS * (len(done) + 1)

        def go(self, until_ns: int) -> None:
            while self.due_ns() <= until_ns:
                with own.held_at(self.due_ns()):
                    done.append(own.now_ns)

    live = LiveMachine(Machine.from_profile("kabylake", clock=own), Timeline(own, [EverySecond()]))
    Control(live).advance(Decimal("3.5"))
    assert done == [NS, 2 * NS, 3 * NS]
    assert own.now_ns == 3_500_000_000


def test_a_clock_held_within_a_hold_shows_again_what_it_showed_before() -> None:
    own = LiveClock()
    with own.held_at(7):
        with own.held_at(3):
            assert own.now_ns == 3
        assert own.now_ns == 7
    assert own.now_ns == 0


def test_a_speed_that_is_none_leaves_the_old_one() -> None:
    own = LiveClock(5)
    with pytest.raises(ValueError, match="speed"):
        own.set_speed(0)
    assert own.speed == 5


def test_programs_see_time_stand_until_it_is_told_to_move(mount: Callable[..., FuseMount]) -> None:
    live = start("skylake-sp-2s", load=ConstantLoad({"package": 100}))
    control = Control(live)
    path = Path(mount(live).directory) / ENERGY

    def cat() -> int:
        return int(subprocess.run(["cat", path], capture_output=True, check=True).stdout)

    kept = os.open(path, os.O_RDONLY)
    try:
        before = cat()
        assert cat() == before == int(os.pread(kept, 64, 0))
        control.advance(5)
        # 500 J, less what the driver's unit cuts off (2.6 ppm), in steps of 61 uJ.
        assert 499_998_600 <= cat() - before <= 500_000_000
        assert int(os.pread(kept, 64, 0)) == cat()
    finally:
        os.close(kept)
