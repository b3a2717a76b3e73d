# SPDX-License-Identifier: Apache-2.0
"""The list of pitfalls, its page, and who guards against what.

Markers are found by reading the tests' source: nothing is collected or imported for it.
"""

import ast
import functools
import re
from collections import defaultdict
from pathlib import Path

import pytest

from raplica_conformance.clause import load_clauses
from raplica_conformance.pitfalls import PITFALLS

ROOT = Path(__file__).resolve().parents[2]
COMPONENTS = ("simulator", "reference_impl", "conformance", "fixtures")
PAGE = (ROOT / "docs" / "pitfalls.md").read_text(encoding="utf-8")


def marked(source: str) -> set[str]:
    """The slugs of all `pytest.mark.pitfall(...)` in a module, also those in a list of marks."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    marks = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "pitfall"]
    return {
        str(argument.value)
        for call in marks
        if ast.unparse(call.func).endswith("mark.pitfall")
        for argument in call.args
        if isinstance(argument, ast.Constant)
    }


@functools.cache
def guards() -> dict[str, set[str]]:
    """By slug: the clauses and test files that name it."""
    found: dict[str, set[str]] = defaultdict(set)
    for clause in load_clauses().values():
        for slug in clause.pitfalls:
            found[slug].add(clause.id)
    for component in COMPONENTS:
        for path in sorted((ROOT / component / "tests").rglob("*.py")):
            source = path.read_text(encoding="utf-8")
            for slug in marked(source) if "pitfall" in source else ():
                found[slug].add(f"{component}/tests/{path.name}")
    return dict(found)


@functools.cache
def sections() -> dict[str, str]:
    """The page's text by slug."""
    parts = re.split(r"^### (.+)$", PAGE, flags=re.MULTILINE)
    return {slug: text.split("\n## ")[0] for slug, text in zip(parts[1::2], parts[2::2], strict=True)}


def test_every_pitfall_is_guarded_against() -> None:
    assert [slug for slug in PITFALLS if slug not in guards()] == []


def test_nothing_guards_against_a_pitfall_that_is_not_on_the_list() -> None:
    assert {slug: who for slug, who in guards().items() if slug not in PITFALLS} == {}


def test_the_page_tells_every_pitfall_in_the_order_of_the_list() -> None:
    assert list(sections()) == list(PITFALLS)
    assert len(PITFALLS) >= 64


def test_slugs_are_words_and_titles_are_one_line() -> None:
    for slug, pitfall in PITFALLS.items():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", slug)
        assert pitfall.title
        assert "\n" not in pitfall.title
        assert not pitfall.title.endswith(".")


@pytest.mark.parametrize("slug", PITFALLS)
def test_the_page_tells_a_pitfall_at_length(slug: str) -> None:
    assert len(sections()[slug].split()) > 15


@pytest.mark.parametrize(
    ("source", "slugs"),
    [
        ('@pytest.mark.pitfall("a-b")\ndef test_it(): ...', {"a-b"}),
        ('pytestmark = [pytest.mark.pitfall("a-b"), pytest.mark.slow]', {"a-b"}),
        ('@mark.pitfall("a-b")\n@mark.pitfall("c-d")\nclass TestIt: ...', {"a-b", "c-d"}),
        ('# @pytest.mark.pitfall("a-b")\ntext = "pytest.mark.pitfall(1)"', set()),
    ],
)
def test_marks_are_found_without_running_anything(source: str, slugs: set[str]) -> None:
    assert marked(source) == slugs
