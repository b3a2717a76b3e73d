# SPDX-License-Identifier: Apache-2.0
"""The decorator, the registry and the ways in which a clause may end."""

import re
from typing import Any

import pytest

from raplica_conformance.clause import (
    KINDS,
    REGISTRY,
    RETIRED,
    Clause,
    ClauseFailed,
    ClauseNotApplicable,
    ClauseSkipped,
    clause,
    expect,
    expectations,
    kernel_key,
    load_clauses,
    not_applicable,
    skip,
)

GOOD: dict[str, Any] = {"level": "must", "title": "A rule.", "group": "shape", "source": "powercap_sys.c"}


def enter(registry: dict[str, Clause], clause_id: str = "a.b", **options: Any) -> Clause:
    clause(clause_id, registry=registry, **{**GOOD, **options})(lambda _subject: None)
    return registry[clause_id]


def test_the_decorator_returns_the_function_itself_and_keeps_its_metadata() -> None:
    registry: dict[str, Clause] = {}

    def function(_subject: object) -> None: ...

    entered = clause("a.b", registry=registry, needs=["errno"], kernels=("6.5", None), **GOOD)(function)
    assert entered is function
    assert registry["a.b"].function is function
    assert registry["a.b"].needs == frozenset({"errno"})
    assert (registry["a.b"].level, registry["a.b"].kind) == ("must", "provider")


def test_an_id_is_taken_once_and_for_all() -> None:
    registry: dict[str, Clause] = {}
    first = enter(registry)
    with pytest.raises(ValueError, match=r"a\.b: this clause id is already taken"):
        enter(registry)
    assert registry["a.b"] is first


def test_the_id_of_a_retired_clause_is_never_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    registry: dict[str, Clause] = {}
    monkeypatch.setitem(RETIRED, "a.old", "it was wrong on AMD; a.new replaced it")
    with pytest.raises(ValueError, match=r"a\.old: this clause was retired \(it was wrong on AMD; a\.new"):
        enter(registry, "a.old")
    assert registry == {}


def test_no_clause_is_retired_and_judged_and_each_retirement_is_one_line() -> None:
    assert RETIRED.keys() & load_clauses().keys() == set()
    assert all(reason and reason.isprintable() for reason in RETIRED.values())


def test_each_known_bug_names_the_version_that_mends_it_or_says_that_none_was_seen() -> None:
    silent = {
        entry.id
        for entry in load_clauses().values()
        if entry.level == "may"
        and not re.search(
            r"mended in (Linux )?\d|\d mends|No version that mends it was seen",
            f"{entry.title} {entry.function.__doc__}",
        )
    }
    assert silent == set()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"clause_id": "nodots"}, "joined by dots"),
        ({"clause_id": "Has.Capitals"}, "joined by dots"),
        ({"clause_id": "a.b\n"}, "joined by dots"),
        ({"level": "maybe"}, "must, alternative, should, may"),
        ({"kind": "tool"}, "provider, reader"),
        ({"group": "Some Group"}, "lower-case word"),
        ({"title": ""}, "title"),
        ({"title": "two\nlines"}, "title"),
        ({"source": ""}, "source"),
        ({"needs": ("luck",)}, "needs luck"),
        ({"level": "alternative"}, "alternatives=NAME"),
        ({"alternatives": "some-choice"}, "alternatives=NAME"),
        ({"threads": ("some mail",)}, "https://"),
        ({"pitfalls": ("Not A Slug",)}, "slug"),
        ({"kernels": ("six", None)}, "not a kernel version"),
        ({"kernels": ("6.5", "6.5")}, "no kernel"),
        ({"kernels": ("6.10", "6.9")}, "no kernel"),
    ],
)
def test_metadata_that_cannot_be_right_is_refused_in_one_line(options: dict[str, Any], complaint: str) -> None:
    registry: dict[str, Clause] = {}
    with pytest.raises(ValueError, match=complaint) as refused:
        enter(registry, **options)
    assert "\n" not in str(refused.value)
    assert registry == {}


@pytest.mark.parametrize(
    ("kernels", "release", "holds"),
    [
        (("6.5", None), "6.5", True),
        (("6.5", None), "6.5.0-rc1", True),
        (("6.5", None), "6.4.99", False),
        (("6.5", None), "6.12.117+deb12-amd64", True),
        ((None, "6.5"), "6.4.99", True),
        ((None, "6.5"), "6.5", False),
        ((None, "6.5"), "6.1.192", True),
        (("6.1.10", "6.12"), "6.1.9", False),
        (("6.1.10", "6.12"), "6.1.10", True),
    ],
)
def test_a_kernel_range_begins_at_its_first_and_ends_before_its_last(
    kernels: tuple[str | None, str | None], release: str, *, holds: bool
) -> None:
    assert enter({}, kernels=kernels).holds_for(release) is holds


def test_kernel_versions_sort_as_numbers_and_not_as_text() -> None:
    assert kernel_key("6.9") < kernel_key("6.12") < kernel_key("6.12.1-rt") < kernel_key("10.0")


@pytest.mark.parametrize(("actual", "wanted"), [(1, 2), ("1", b"1"), (True, 1), ([1], (1,)), (None, 0)])
def test_expect_fails_on_anything_that_is_not_the_same_value_of_the_same_type(actual: object, wanted: object) -> None:
    with pytest.raises(ClauseFailed, match=r"because: got .*, wanted ") as failed:
        expect(actual, wanted, "because")
    assert (failed.value.actual, failed.value.wanted, failed.value.why) == (actual, wanted, "because")


def test_a_value_as_long_as_a_page_is_shown_in_short() -> None:
    with pytest.raises(ClauseFailed) as failed:
        expect(b"x" * 4096, b"", "the first page")
    assert len(str(failed.value)) < 300
    assert "(4099 characters)" in str(failed.value)
    assert failed.value.actual == b"x" * 4096


def test_expect_goes_on_when_it_sees_what_it_wants_and_every_call_counts() -> None:
    before = expectations()
    expect(b"x\n", b"x\n", "the same")
    expect([1, 2], [1, 2], "the same")
    assert expectations() == before + 2


def test_skip_and_not_applicable_end_the_clause_with_their_reason() -> None:
    with pytest.raises(ClauseSkipped, match="later"):
        skip("later")
    with pytest.raises(ClauseNotApplicable, match="never"):
        not_applicable("never")


def test_loading_finds_every_clause_once_and_loading_again_changes_nothing() -> None:
    first = dict(load_clauses())
    assert len(first) >= 60
    assert load_clauses() == first
    assert load_clauses() is REGISTRY
    assert all(name == entry.id for name, entry in first.items())
    assert {"provider", "reader"} <= {entry.kind for entry in first.values()} <= set(KINDS)
