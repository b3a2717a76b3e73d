# SPDX-License-Identifier: Apache-2.0
"""What a run tells a person, as lines of text: a line for each subject, what went wrong, the totals.

With the standard library alone; `terminal` puts the lines under a bar, and `plain` prints them as they are.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

from raplica_conformance.clause import Clause
from raplica_conformance.printable import printable
from raplica_conformance.verdicts import FAILURES, Verdict, summary

__all__ = ["failures", "subject_lines", "totals"]

#: A thread is where somebody suffered; three are enough to get the picture.
_MOST_THREADS = 3


def subject_lines(pairs: Sequence[tuple[Clause, Any]]) -> Callable[[Verdict], str | None]:
    """A function that wants every verdict as it is made, and gives each subject's line when that is complete."""
    sizes = {name: len(list(group)) for name, group in groupby(pairs, key=lambda pair: pair[1].name)}
    width = max(map(len, sizes), default=0)
    of_subject: list[Verdict] = []

    def line(verdict: Verdict) -> str | None:
        of_subject.append(verdict)
        if len(of_subject) < sizes[verdict.subject]:
            return None
        text = f"{verdict.subject:<{width}}  {_counted(of_subject)}"
        of_subject.clear()
        return text

    return line


def failures(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """Everything that is wrong, with its reason, its source and the command that shows it again."""
    for verdict in verdicts:
        if verdict.verdict not in FAILURES and verdict.verdict != "broken":
            continue
        clause = verdict.clause
        yield f"\n{verdict.verdict.upper()}  {clause.id}  ({clause.level})  on {verdict.subject}"
        yield f"    rule    {clause.title}"
        yield f"    reason  {verdict.reason}"
        yield f"    source  {clause.source}"
        for thread in clause.threads[:_MOST_THREADS]:
            yield f"    thread  {thread}"
        if verdict.details is not None:
            for line in verdict.details.lines():
                yield f"    {printable(line)}"
        yield f"    again   {verdict.reproduce}"


def totals(verdicts: Sequence[Verdict]) -> str:
    """The last line: how many of each."""
    subjects = len({verdict.subject for verdict in verdicts})
    clauses = len({verdict.clause.id for verdict in verdicts})
    return f"\n{_many(clauses, 'clause')} on {_many(subjects, 'subject')}: {_counted(verdicts)}"


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _counted(verdicts: Sequence[Verdict]) -> str:
    """The words that occur, with their numbers."""
    return ", ".join(f"{count} {word}" for word, count in summary(verdicts).items() if count)
