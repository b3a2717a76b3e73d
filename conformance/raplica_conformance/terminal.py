# SPDX-License-Identifier: Apache-2.0
"""What a person sees of a run: a line for each subject as soon as it is done, then everything that went wrong.

On a terminal a bar shows how far the run is; where the output goes to a file or a pipe there is plain text only,
and rich is not even loaded.
"""

import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any

import click

from raplica_conformance.clause import Clause
from raplica_conformance.printable import printable
from raplica_conformance.verdicts import FAILURES, Verdict, summary

__all__ = ["progress", "show_failures", "show_totals"]

#: A thread is where somebody suffered; three are enough to get the picture.
_MOST_THREADS = 3


@contextmanager
def progress(pairs: Sequence[tuple[Clause, Any]], *, quiet: bool) -> Generator[Callable[[Verdict], None], None, None]:
    """A function that wants every verdict as it is made, and prints each subject's line when that is complete."""
    if quiet:
        yield lambda _verdict: None
        return
    sizes = {name: len(list(group)) for name, group in groupby(pairs, key=lambda pair: pair[1].name)}
    width = max(map(len, sizes), default=0)
    of_subject: list[Verdict] = []

    def each(verdict: Verdict, echo: Callable[[str], None]) -> None:
        of_subject.append(verdict)
        if len(of_subject) == sizes[verdict.subject]:
            echo(f"{verdict.subject:<{width}}  {_counted(of_subject)}")
            of_subject.clear()

    if not sys.stdout.isatty():
        yield lambda verdict: each(verdict, click.echo)
        return
    with _bar(len(pairs)) as (advance, echo):

        def show(verdict: Verdict) -> None:
            advance()
            each(verdict, echo)

        yield show


def show_failures(verdicts: Sequence[Verdict]) -> None:
    """Everything that is wrong, with its reason, its source and the command that shows it again."""
    for verdict in verdicts:
        if verdict.verdict not in FAILURES and verdict.verdict != "broken":
            continue
        clause = verdict.clause
        click.echo(f"\n{verdict.verdict.upper()}  {clause.id}  ({clause.level})  on {verdict.subject}")
        click.echo(f"    rule    {clause.title}")
        click.echo(f"    reason  {verdict.reason}")
        click.echo(f"    source  {clause.source}")
        for thread in clause.threads[:_MOST_THREADS]:
            click.echo(f"    thread  {thread}")
        if verdict.details is not None:
            for line in verdict.details.lines():
                click.echo(f"    {printable(line)}")
        click.echo(f"    again   {verdict.reproduce}")


def show_totals(verdicts: Sequence[Verdict]) -> None:
    """The last line: how many of each."""
    subjects = len({verdict.subject for verdict in verdicts})
    clauses = len({verdict.clause.id for verdict in verdicts})
    click.echo(f"\n{_many(clauses, 'clause')} on {_many(subjects, 'subject')}: {_counted(verdicts)}")


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _counted(verdicts: Sequence[Verdict]) -> str:
    """The words that occur, with their numbers."""
    return ", ".join(f"{count} {word}" for word, count in summary(verdicts).items() if count)


@contextmanager
def _bar(total: int) -> Generator[tuple[Callable[[], None], Callable[[str], None]], None, None]:
    """A bar below the lines; the functions that move it and that print a line above it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("judging"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield (lambda: bar.advance(task)), (lambda line: bar.console.print(line, highlight=False, markup=False))
