# SPDX-License-Identifier: Apache-2.0
"""Two JSON reports side by side: what broke, what was mended, what else differs, what is new and what is gone.

What counts is whether a rule holds: `pass` and `unexpected-pass` say it does, `fail`, `timeout`, `broken` and
`expected-fail` say it does not, `skip` and `not-applicable` say nothing. A failure that somebody has put on a list
meanwhile is still a failure that was not there before. Standard library only, as where reports are made.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from raplica_conformance.verdicts import VERDICTS

__all__ = ["MEANINGS", "Change", "CompareError", "Comparison", "Report", "Result", "compare", "load_report"]

#: What each kind of change means.
MEANINGS: Mapping[str, str] = {
    "worse": "does not hold, or could not be judged, and did not fail before",
    "mended": "did not hold before, and holds",
    "changed": "another verdict, or another reason why it does not hold",
    "new": "was not in the first report, and is not wrong",
    "gone": "is not in the second report",
}

_HOLDS = frozenset({"pass", "unexpected-pass"})
_WRONG = frozenset({"fail", "timeout", "broken"})
_DOES_NOT = _WRONG | {"expected-fail"}


class CompareError(ValueError):
    """A file that is no report: one line with the file, what is wrong, and what would be right."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a report says of one clause on one subject."""

    verdict: str
    reason: str


#: By id and subject.
Report = Mapping[tuple[str, str], Result]


@dataclass(frozen=True, slots=True)
class Change:
    """One clause on one subject. `before` and `after` are words of VERDICTS, None where a report has none."""

    id: str
    subject: str
    before: str | None
    after: str | None
    reason: str


@dataclass(slots=True)
class Comparison:
    """All that differs, in the order of the reports; `same` is how many do not.

    `subjects` are the two that were compared although they are called differently, None where none were.
    """

    worse: list[Change] = field(default_factory=list)
    mended: list[Change] = field(default_factory=list)
    changed: list[Change] = field(default_factory=list)
    new: list[Change] = field(default_factory=list)
    gone: list[Change] = field(default_factory=list)
    same: int = 0
    subjects: tuple[str, str] | None = None

    def kinds(self) -> Iterator[tuple[str, list[Change]]]:
        """The changes, kind by kind."""
        for kind in MEANINGS:
            yield kind, getattr(self, kind)

    def as_json(self) -> dict[str, Any]:
        """Format 1: fields may be added, none will change or go."""
        return {
            "format": 1,
            "summary": {**{kind: len(changes) for kind, changes in self.kinds()}, "same": self.same},
            **{kind: [asdict(change) for change in changes] for kind, changes in self.kinds()},
            "subjects": self.subjects,
        }


def compare(before: Report, after: Report) -> Comparison:
    """What became of the first report in the second.

    Where each is about one subject only, these two are compared, whatever they are called: a tree has another path on
    another machine.
    """
    found = Comparison()
    subject_before, subject_after = _only_subject(before), _only_subject(after)
    if subject_before is not None and subject_after is not None and subject_before != subject_after:
        before = {(clause_id, subject_after): result for (clause_id, _), result in before.items()}
        found.subjects = subject_before, subject_after
    for key, now in after.items():
        was = before.get(key)
        kind = _kind(was, now)
        if not kind:
            found.same += 1
            continue
        change = Change(*key, None if was is None else was.verdict, now.verdict, now.reason)
        getattr(found, kind).append(change)
    for key, was in before.items():
        if key not in after:
            found.gone.append(Change(*key, was.verdict, None, was.reason))
    return found


def _kind(was: Result | None, now: Result) -> str:
    """The kind of a change, "" where there is none."""
    if was is None:
        return "worse" if now.verdict in _WRONG else "new"
    if now.verdict in _WRONG and was.verdict not in _DOES_NOT:
        return "worse"
    if now.verdict == "expected-fail" and was.verdict in _HOLDS:
        return "worse"
    if now.verdict in _HOLDS and was.verdict in _DOES_NOT:
        return "mended"
    differs = now.verdict != was.verdict or (now.verdict in _DOES_NOT and now.reason != was.reason)
    return "changed" if differs else ""


def load_report(path: Path) -> Report:
    """A JSON report, format 1; CompareError for a file that is none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CompareError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise CompareError(
            f"{path}: is no JSON ({error}); give what `conformance run --report x.json` wrote"
        ) from error
    if not isinstance(document, dict) or not isinstance(document.get("results"), list):
        raise CompareError(f"{path}: is no report; give what `conformance run --report x.json` wrote")
    if document.get("format") != 1:
        raise CompareError(f"{path}: is a report of format {document.get('format')!r}; this version knows format 1")
    report: dict[tuple[str, str], Result] = {}
    for number, result in enumerate(document["results"]):
        key, value = _result(path, number, result)
        if key in report:
            raise CompareError(f"{path}: results[{number}]: {key[0]} on {key[1]} is there twice")
        report[key] = value
    if not report:
        raise CompareError(f"{path}: has no results: nothing was judged there, so nothing can be compared")
    return report


def _result(path: Path, number: int, result: Any) -> tuple[tuple[str, str], Result]:
    if not isinstance(result, dict):
        raise CompareError(f"{path}: results[{number}] is no object")
    for name in ("id", "subject", "verdict", "reason"):
        if not isinstance(result.get(name), str):
            raise CompareError(f"{path}: results[{number}] has no text {name!r}")
    if result["verdict"] not in VERDICTS:
        raise CompareError(f"{path}: results[{number}]: {result['verdict']!r} is none of {', '.join(VERDICTS)}")
    return (result["id"], result["subject"]), Result(result["verdict"], result["reason"])


def _only_subject(report: Report) -> str | None:
    """The subject of a report that has one only."""
    subjects = {subject for _, subject in report}
    return subjects.pop() if len(subjects) == 1 else None
