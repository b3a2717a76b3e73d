# SPDX-License-Identifier: Apache-2.0
"""The order in which things from several hands happen to one machine."""

from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator.live.clock import LiveClock
from raplica_simulator.live.timeline import Timeline


class Moments:
    """A course that notes its name and each of its moments, as far as it is let go."""

    def __init__(self, name: str, moments: list[int], clock: LiveClock, notes: list[tuple[int, str]]) -> None:
        self._name = name
        self._left = sorted(moments)
        self._clock = clock
        self._notes = notes

    def due_ns(self) -> int | None:
        return self._left[0] if self._left else None

    def go(self, until_ns: int) -> None:
        while self._left and self._left[0] <= until_ns:
            with self._clock.held_at(self._left.pop(0)):
                self._notes.append((self._clock.now_ns, self._name))


some_moments = st.lists(st.integers(0, 50), max_size=8)


@given(courses=st.lists(some_moments, max_size=4), looks=st.lists(st.integers(0, 20), max_size=6))
def test_all_that_is_due_is_done_once_in_order_and_at_its_moment(courses: list[list[int]], looks: list[int]) -> None:
    clock = LiveClock()
    notes: list[tuple[int, str]] = []
    timeline = Timeline(clock, [Moments(str(i), moments, clock, notes) for i, moments in enumerate(courses)])
    for wait_ns in looks:
        clock.advance(nanoseconds=wait_ns)
        timeline.catch_up()
    wanted = sorted((at, str(i)) for i, moments in enumerate(courses) for at in moments if at <= clock.now_ns)
    assert notes == (wanted if looks else [])
