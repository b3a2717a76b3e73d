# SPDX-License-Identifier: Apache-2.0
"""The report for people: one page that opens offline, with a verdict per clause, why, and where the rule comes from.

What was said of many subjects alike is said once: the rule stands once, and below it each verdict with its reason and
the subjects that it holds for. What is wrong comes first, one by one, with the story of each.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raplica_conformance.clause import GROUPS, Clause
from raplica_conformance.reports.page import render_page
from raplica_conformance.reports.portrait import Portrait
from raplica_conformance.verdicts import FAILURES, VERDICTS, Verdict, exit_code, summary

__all__ = ["Drawn", "Outcome", "Rule", "Subject", "Wrong", "render"]

#: What each word means, for who has not read the manual.
MEANINGS: Mapping[str, str] = {
    "pass": "the rule holds",
    "fail": "the rule does not hold",
    "skip": "not judged this time",
    "not-applicable": "the rule says nothing about this subject",
    "broken": "the judgement itself broke down",
    "timeout": "no answer in time",
    "expected-fail": "does not hold, and the list of known failures says so",
    "unexpected-pass": "holds, though listed as a known failure",
}


@dataclass(frozen=True, slots=True)
class Drawn:
    """How a reader came through a case: the first timeline of its story, and whether its answers are counters."""

    subject: int
    timeline: Mapping[str, Any]
    counters: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """One verdict with one reason, the numbers of all subjects that it was said of, and how they came to it."""

    word: str
    reason: str
    subjects: tuple[int, ...]
    drawn: tuple[Drawn, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """One clause with all that came of it; `counts` are the words that occur, with how often."""

    clause: Clause
    outcomes: tuple[Outcome, ...]
    counts: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Subject:
    """One row of the table of subjects; `number` is how the page refers to it."""

    number: int
    name: str
    counts: Mapping[str, int]
    portrait: Portrait | None


@dataclass(frozen=True, slots=True)
class Wrong:
    """One failure: `story` is what the JSON report says of it under "details"."""

    number: int
    verdict: Verdict
    story: Mapping[str, Any]


def render(verdicts: Sequence[Verdict], portraits: Sequence[Portrait] = ()) -> str:
    """The page. `portraits` are those of the subjects; one that has none is shown by its name alone."""
    subjects = _subjects(verdicts, portraits)
    counts = summary(verdicts)
    wrong = [one for one in verdicts if one.verdict in FAILURES or one.verdict == "broken"]
    return render_page(
        "report.html.j2",
        subjects=subjects,
        groups=_groups(verdicts, {subject.name: subject.number for subject in subjects}),
        wrong=[
            Wrong(number, one, {} if one.details is None else one.details.as_json())
            for number, one in enumerate(wrong, start=1)
        ],
        counts=[(word, count) for word, count in counts.items() if count],
        total=len(verdicts),
        words=[word for word in VERDICTS if counts[word]],
        meanings=MEANINGS,
        status=exit_code(verdicts),
    )


def _subjects(verdicts: Sequence[Verdict], portraits: Sequence[Portrait]) -> list[Subject]:
    """The subjects in the order in which they were judged."""
    counts: dict[str, Counter[str]] = {one.subject: Counter() for one in portraits}
    for verdict in verdicts:
        counts.setdefault(verdict.subject, Counter())[verdict.verdict] += 1
    known = {one.subject: one for one in portraits}
    return [Subject(number, name, counts[name], known.get(name)) for number, name in enumerate(counts)]


def _groups(verdicts: Sequence[Verdict], numbers: Mapping[str, int]) -> list[tuple[str, list[Rule]]]:
    """The rules on their shelves, in the order of the manual; a shelf that it does not name comes after."""
    by_clause: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        by_clause.setdefault(verdict.clause.id, []).append(verdict)
    shelves: dict[str, list[Rule]] = {}
    for clause_id in sorted(by_clause):
        rule = _rule(by_clause[clause_id], numbers)
        shelves.setdefault(rule.clause.group, []).append(rule)
    order = [*GROUPS, *sorted(shelves.keys() - set(GROUPS))]
    return [(group, shelves[group]) for group in order if group in shelves]


def _rule(verdicts: Sequence[Verdict], numbers: Mapping[str, int]) -> Rule:
    same: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in verdicts:
        same.setdefault((verdict.verdict, verdict.reason), []).append(verdict)
    order = [*sorted(FAILURES), "broken", *VERDICTS]
    outcomes = [
        Outcome(word, why, tuple(numbers[one.subject] for one in who), tuple(_drawn(who, numbers)))
        for (word, why), who in same.items()
    ]
    outcomes.sort(key=lambda one: order.index(one.word))
    counts = Counter(verdict.verdict for verdict in verdicts)
    return Rule(
        verdicts[0].clause,
        tuple(outcomes),
        tuple((word, counts[word]) for word in dict.fromkeys(order) if counts[word]),
    )


def _drawn(verdicts: Sequence[Verdict], numbers: Mapping[str, int]) -> Iterator[Drawn]:
    """The stories of what passed; those of failures are told where all is that is wrong."""
    for verdict in verdicts:
        if verdict.verdict == "pass" and verdict.details is not None:
            told = verdict.details.as_json()
            for timeline in told.get("timelines", ())[:1]:
                yield Drawn(numbers[verdict.subject], timeline, told.get("answers") == "counters")
