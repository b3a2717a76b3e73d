# SPDX-License-Identifier: Apache-2.0
"""Who judges the clients is judged: a wrong one fails at once, unless this host made its looks uneven."""

import pytest

from .observation import Read, Said, assert_right, unevenness


def looks(*at_ms: int) -> list[Read]:
    return [Read(number, at * 1_000_000, 0, 0) for number, at in enumerate(at_ms, 1)]


class Runs:
    """A client that says what it is told to, one run after the other."""

    def __init__(self, *said: Said) -> None:
        self.left = list(said)

    def __call__(self) -> Said:
        return self.left.pop(0)


RIGHT, WRONG = Said([100.9, 50], [100, 50], 0), Said([100, 50.6], [100, 50], 0.005)


def test_a_client_that_is_right_is_so_at_the_first_time_however_unevenly_it_looked() -> None:
    runs = Runs(RIGHT._replace(uneven=0.5), WRONG)
    assert_right(runs, rel=0.01)
    assert runs.left == [WRONG]


def test_a_client_that_looked_evenly_and_is_wrong_gets_no_second_run() -> None:
    runs = Runs(WRONG, RIGHT)
    with pytest.raises(AssertionError, match=r"\[100, 50.6\] of \[100, 50\]"):
        assert_right(runs, rel=0.01)
    assert runs.left == [RIGHT]


def test_a_client_that_was_held_up_gets_another_run_which_may_prove_it_wrong() -> None:
    late = WRONG._replace(uneven=0.006)
    assert_right(Runs(late, late, RIGHT), rel=0.01)
    with pytest.raises(AssertionError, match="it said"):
        assert_right(Runs(late, late, WRONG), rel=0.01)


def test_where_every_run_was_held_up_nothing_is_said_of_the_client() -> None:
    runs = Runs(*[Said([], [1], 1)] * 3, RIGHT)
    with pytest.raises(pytest.skip.Exception, match="too busy"):
        assert_right(runs, rel=0.01)
    assert runs.left == [RIGHT]


def test_looks_are_as_uneven_as_the_longest_interval_and_the_shortest() -> None:
    assert unevenness(looks(0, 500, 1000, 1500)) == 0
    assert unevenness(looks(0, 500, 1020, 1500, 2000)) == 0.02
    # Of fewer than two intervals nothing is known.
    assert unevenness(looks(0, 500)) == unevenness(looks(0)) == unevenness([]) == 1
