# SPDX-License-Identifier: Apache-2.0
"""Time: standing still, moving when told, following the host."""

import time
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator.clock import MonotonicClock, VirtualClock


def test_a_virtual_clock_stands_still() -> None:
    clock = VirtualClock()
    assert clock.now_ns == 0
    time.sleep(0.002)
    assert clock.now_ns == 0


@pytest.mark.parametrize(
    ("seconds", "now_ns"),
    [(3600, 3_600_000_000_000), (Fraction(1, 8), 125_000_000), (Decimal("0.000000001"), 1), (0, 0)],
)
def test_seconds_are_whole_or_exact_fractions(seconds: int | Fraction | Decimal, now_ns: int) -> None:
    clock = VirtualClock()
    clock.advance(seconds=seconds)
    assert clock.now_ns == now_ns


def test_seconds_and_nanoseconds_add_up() -> None:
    clock = VirtualClock(start_ns=5)
    clock.advance(1, nanoseconds=7)
    assert clock.now_ns == 1_000_000_012


@given(st.lists(st.fractions(min_value=0, max_value=Fraction(1, 10**6)), max_size=20))
def test_what_is_left_below_a_nanosecond_is_never_lost(steps: list[Fraction]) -> None:
    clock = VirtualClock()
    for step in steps:
        clock.advance(seconds=step)
    total_ns = sum(steps, Fraction(0)) * 1_000_000_000
    assert clock.now_ns == total_ns.numerator // total_ns.denominator


@pytest.mark.parametrize("seconds", [1.0, "1", None, True])
def test_seconds_that_are_not_exact_are_refused(seconds: object) -> None:
    clock = VirtualClock()
    with pytest.raises(TypeError, match="must be an int, a Fraction or a Decimal"):
        clock.advance(seconds=seconds)  # type: ignore[arg-type]
    assert clock.now_ns == 0


@pytest.mark.parametrize("seconds", [-1, Fraction(-1, 3), Decimal("-0.5"), Decimal("NaN"), Decimal("Infinity")])
def test_time_that_does_not_go_forward_is_refused(seconds: int | Fraction | Decimal) -> None:
    with pytest.raises(ValueError, match="seconds is"):
        VirtualClock().advance(seconds=seconds)


def test_nanoseconds_are_whole_and_do_not_go_back() -> None:
    clock = VirtualClock()
    with pytest.raises(TypeError, match="give fractions as seconds="):
        clock.advance(nanoseconds=Fraction(1, 2))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="time only moves forward"):
        clock.advance(seconds=Fraction(1, 3), nanoseconds=-1)
    clock.advance(seconds=Fraction(2, 3 * 10**9))
    assert clock.now_ns == 0, "a refused step leaves no remainder behind"


def test_a_monotonic_clock_follows_the_host_at_its_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    host_ns = 1000
    monkeypatch.setattr(time, "monotonic_ns", lambda: host_ns)
    clock = MonotonicClock(speed=Fraction(3, 2), start_ns=10)
    assert clock.now_ns == 10
    host_ns += 5
    assert clock.now_ns == 17, "7.5 ns are rounded down"


def test_a_monotonic_clock_moves_by_itself() -> None:
    clock = MonotonicClock(speed=1000)
    before_ns = clock.now_ns
    time.sleep(0.001)
    assert clock.now_ns >= before_ns + 1_000_000_000


def test_a_monotonic_clock_can_be_moved_forward_besides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic_ns", lambda: 1000)
    clock = MonotonicClock(speed=2, start_ns=10)
    clock.advance(Fraction(1, 3))
    clock.advance(Fraction(2, 3), nanoseconds=5)
    assert clock.now_ns == 1_000_000_015, "steps are not multiplied by the speed"


def test_speeds_that_make_no_sense_are_refused() -> None:
    for speed in (0, -1, Decimal("-0.5")):
        with pytest.raises(ValueError, match="must be above 0"):
            MonotonicClock(speed=speed)
    with pytest.raises(TypeError, match=r"speed is 1\.5"):
        MonotonicClock(speed=1.5)  # type: ignore[arg-type]


def test_clocks_say_what_they_are() -> None:
    assert repr(VirtualClock(3)) == "VirtualClock(now_ns=3)"
    assert repr(MonotonicClock(2, start_ns=4)) == "MonotonicClock(speed=2, start_ns=4)"
