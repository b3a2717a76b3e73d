# SPDX-License-Identifier: Apache-2.0
"""Ids, globs and levels pick clauses; kinds pair them with subjects."""

import pytest

from raplica_conformance.clause import Clause, clause
from raplica_conformance.selection import SelectionError, pair, select


@pytest.fixture
def four() -> dict[str, Clause]:
    registry: dict[str, Clause] = {}
    for name, level in (("zone.b", "must"), ("zone.a", "should"), ("range.x", "may"), ("zone.c", "alternative")):
        alternatives = "a-choice" if level == "alternative" else ""
        enter = clause(
            name,
            level=level,
            title="A rule.",
            group="shape",
            source="nowhere",
            alternatives=alternatives,
            registry=registry,
        )
        enter(lambda _subject: None)
    return registry


@pytest.mark.parametrize(
    ("patterns", "level", "wanted"),
    [
        ((), "may", "range.x zone.a zone.b zone.c"),
        ((), "should", "zone.a zone.b zone.c"),
        ((), "must", "zone.b zone.c"),
        (("zone.*",), "may", "zone.a zone.b zone.c"),
        (("zone.a", "range.x"), "may", "range.x zone.a"),
        (("zone.a", "zone.?"), "may", "zone.a zone.b zone.c"),
    ],
)
def test_patterns_and_a_level_pick_clauses_in_the_order_of_their_ids(
    patterns: tuple[str, ...], level: str, wanted: str, four: dict[str, Clause]
) -> None:
    assert [entry.id for entry in select(four, patterns, level)] == wanted.split()


def test_a_pattern_that_matches_nothing_is_refused_even_beside_one_that_does(four: dict[str, Clause]) -> None:
    with pytest.raises(SelectionError, match=r"no clause matches 'zone\.aa'; the nearest is zone\.a"):
        select(four, ("zone.b", "zone.aa"))
    with pytest.raises(SelectionError, match="conformance list"):
        select(four, ("unlike anything",))


def test_a_level_that_leaves_nothing_is_refused(four: dict[str, Clause]) -> None:
    with pytest.raises(SelectionError, match="level must"):
        select(four, ("range.*",), "must")


def test_subjects_meet_the_clauses_about_their_kind_subject_by_subject(harness: dict[str, Clause], bare: type) -> None:
    clauses = [harness["selftest.pass"], harness["selftest.reader"], harness["selftest.fail"]]
    subjects = [bare(name="tree"), bare(name="tool", kind="reader")]
    assert [(entry.id, subject.name) for entry, subject in pair(clauses, subjects)] == [
        ("selftest.pass", "tree"),
        ("selftest.fail", "tree"),
        ("selftest.reader", "tool"),
    ]


def test_clauses_and_subjects_that_do_not_meet_are_refused(harness: dict[str, Clause], bare: type) -> None:
    with pytest.raises(SelectionError, match="about a reader"):
        pair([harness["selftest.reader"]], [bare()])
