# SPDX-License-Identifier: Apache-2.0
"""The table of mutants, and what they are made of. Which cases they really fail is tested with the suite."""

from __future__ import annotations

import ast
import random
import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import raplica_mutants
from raplica_fixtures.cases import case_ids, load_case
from raplica_mutants import (
    PROGRAMS,
    Mutant,
    Program,
    Right,
    RightMsr,
    RightPerf,
    RightPowermetrics,
    RightWindows,
    mutants,
    table,
)
from raplica_mutants.books import Books
from raplica_mutants.table import snake
from raplica_reader import Handle, Meter, Sample, Zone
from raplica_reader.counter import counter_of

EVERY = pytest.mark.parametrize("mutant", mutants().values(), ids=list(mutants()))
RANGES_UJ = (262_143_328_850, 65_532_610_987, 4_294_967_295, None)
POSSIBLE_W = 500


def test_there_are_more_mutants_than_thirty() -> None:
    assert len(mutants()) > 30


@EVERY
def test_a_mutant_says_what_is_wrong_in_a_sentence(mutant: Mutant) -> None:
    assert re.fullmatch(r"[A-Z].+\.|[A-Z].+ is not\.", mutant.wrong), mutant.wrong
    assert len(mutant.wrong) <= 120


@EVERY
def test_a_mutant_names_who_published_its_mistake(mutant: Mutant) -> None:
    assert mutant.threads or mutant.sources
    for thread in mutant.threads:
        assert re.fullmatch(r"[A-Za-z0-9-]+/[A-Za-z0-9._-]+#[0-9]+", thread)
    for source in mutant.sources:
        assert re.match(r"[A-Za-z0-9-]+/[A-Za-z0-9._-]+ \S", source)


@EVERY
def test_a_mutant_lists_cases_that_it_can_see(mutant: Mutant) -> None:
    assert mutant.fails
    assert list(mutant.fails) == sorted(set(mutant.fails))
    assert set(mutant.fails) <= set(case_ids())
    for case_id in mutant.fails:
        assert mutant.interfaces & set(load_case(case_id).interfaces)


@EVERY
def test_a_mutant_is_a_right_reader_with_something_replaced(mutant: Mutant) -> None:
    right = {one.interfaces: one for one in (Right, RightMsr, RightPerf, RightPowermetrics, RightWindows)}[
        mutant.interfaces
    ]
    reader = getattr(raplica_mutants, mutant.name)
    assert reader is mutant.open
    assert issubclass(reader, right)
    assert reader is not right


def test_no_two_mutants_make_the_same_mistake() -> None:
    texts = [mutant.wrong for mutant in mutants().values()]
    assert len(set(texts)) == len(texts)


def test_a_mutant_that_there_is_not_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="no mutant 'wrap_forgotten'"):
        raplica_mutants.__getattr__("wrap_forgotten")


def test_a_row_without_a_reader_is_told_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = table.TABLE.read_text() + '\n[wrap_forgotten]\nfails = ["arithmetic/one-wrap"]\n'
    monkeypatch.setattr(table, "TABLE", tmp_path / "mutants.toml")
    table.TABLE.write_text(rows)
    with pytest.raises(ValueError, match=r"mutants\.toml: wrap_forgotten: every mutant has a class and a row"):
        mutants.__wrapped__()


@given(st.lists(st.sampled_from(["Wrap", "Is", "At", "Everything", "32", "64"]), min_size=1))
def test_words_are_told_apart_in_names(words: list[str]) -> None:
    wanted = "_".join(word.lower() for word in words)
    # Two numbers in a row cannot be told apart, and no mutant has them.
    assert snake("".join(words)).replace("_", "") == wanted.replace("_", "")
    if not any(one.isdigit() and two.isdigit() for one, two in pairwise(words)):
        assert snake("".join(words)) == wanted


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_a_program_is_a_source_that_says_how_it_misbehaves(program: Program) -> None:
    tree = ast.parse(program.path.read_text())
    assert ast.get_docstring(tree) == program.wrong
    assert program.verdict in {"fail", "timeout"}


class Unread:
    """A gauge that nobody asks."""

    counts_on = True

    def open(self) -> Handle:
        raise AssertionError

    def once(self) -> bytes:
        raise AssertionError

    def check(self) -> None:
        raise AssertionError

    def decode(self, content: bytes) -> int:
        raise AssertionError(content)


def zone(name: str, range_uj: int | None) -> Zone:
    """A zone that nobody reads."""
    return Zone(
        id=name,
        path=name,
        name=name,
        control_type="intel-rapl",
        parent=None,
        max_energy_range_uj=range_uj,
        has_energy=True,
        error=None,
        counter=counter_of("intel-rapl", range_uj),
        possible_w=POSSIBLE_W,
        mirror_of=None,
        gauge=Unread(),
    )


def walk(seed: int, steps: int) -> list[Sample]:
    """A random series: zones that fail, go and come back, wrap, are set to anything, and stand still.

    Steps forward stay within what is possible: from others the reference learns how much that is, and Books do not.
    """
    dice = random.Random(seed)  # noqa: S311 - hypothesis chooses the seed
    zones = [zone(f"package-{number}", dice.choice(RANGES_UJ)) for number in range(3)]
    counts = {one.path: dice.randrange((one.max_energy_range_uj or 1 << 40) + 1) for one in zones}
    at_ns, samples = 0, []
    for _ in range(steps):
        passed_ns = dice.choice([0, 400_000, 10**9, 60 * 10**9, 3600 * 10**9])
        at_ns += passed_ns
        for one in zones:
            range_uj = one.max_energy_range_uj
            spent_uj = dice.randrange(POSSIBLE_W * passed_ns // 1000 + 1)
            if range_uj is None:
                counts[one.path] += spent_uj
            elif dice.random() < 0.1:
                counts[one.path] = dice.randrange(counts[one.path] + 1)
            else:
                counts[one.path] = (counts[one.path] + spent_uj) % (range_uj + 1)
        shown = [one for one in zones if dice.random() > 0.15]
        errors = [dice.choice(["EIO", "ENODATA"]) if dice.random() < 0.15 else None for _ in shown]
        read = tuple(None if error else counts[one.path] for one, error in zip(shown, errors, strict=True))
        samples.append(Sample(at_ns, tuple(shown), read, tuple(errors)))
    return samples


@given(st.integers(0, 1 << 32), st.integers(1, 12))
def test_books_without_a_mistake_say_what_the_reference_says(seed: int, steps: int) -> None:
    """So what a mutant of the arithmetic fails, it fails by what it replaces."""
    books, meter = Books(), Meter()
    for sample in walk(seed, steps):
        books.add(sample)
        meter.add(sample)
        assert books.total() == meter.total()
