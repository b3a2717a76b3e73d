# SPDX-License-Identifier: Apache-2.0
"""Counting verdicts and turning them into an exit status."""

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_conformance.clause import Clause
from raplica_conformance.verdicts import VERDICTS, Verdict, exit_code, summary

RULE = Clause("a.b", "must", "A rule.", "shape", "nowhere", lambda _subject: None)


def verdicts(words: Sequence[str]) -> list[Verdict]:
    return [Verdict(RULE, "s", word) for word in words]


@given(st.lists(st.sampled_from(VERDICTS)))
def test_the_summary_counts_every_verdict_once(words: list[str]) -> None:
    counts = summary(verdicts(words))
    assert list(counts) == list(VERDICTS)
    assert sum(counts.values()) == len(words)
    assert {word: count for word, count in counts.items() if count} == Counter(words)


@given(st.lists(st.sampled_from(VERDICTS)))
def test_the_exit_status_is_1_for_failures_3_for_what_broke_and_0_only_where_something_held(
    words: list[str],
) -> None:
    status = exit_code(verdicts(words))
    if {"fail", "timeout", "unexpected-pass"} & set(words):
        assert status == 1
    elif "broken" in words or not {"pass", "expected-fail"} & set(words):
        assert status == 3
    else:
        assert status == 0


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("pass", 0),
        ("pass skip not-applicable", 0),
        ("pass expected-fail", 0),
        ("expected-fail", 0),
        ("pass fail", 1),
        ("pass timeout", 1),
        ("pass unexpected-pass", 1),
        ("pass fail broken", 1),
        ("pass broken", 3),
        ("skip not-applicable", 3),
        ("", 3),
    ],
)
def test_the_exit_status_of_a_run(words: str, status: int) -> None:
    assert exit_code(verdicts(words.split())) == status
