# SPDX-License-Identifier: Apache-2.0
"""What a person sees of a run: a line for each subject as soon as it is done, then everything that went wrong.

On a terminal a bar shows how far the run is, and words have colours unless NO_COLOR (no-color.org) is set; where the
output goes to a file or a pipe there is plain text only, and rich is not even loaded.
"""

import os
import re
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from raplica_conformance.clause import Clause
from raplica_conformance.told import failures, subject_lines, totals
from raplica_conformance.verdicts import Verdict

__all__ = ["progress", "show_failures", "show_totals"]

_COLORS = {"fail": "red", "timeout": "red", "broken": "magenta", "unexpected-pass": "red", "pass": "green"}
#: A verdict's word where it leads a failure, and where a count leads it; everything else of a line is somebody's text.
_LEADING = re.compile(r"^\n?([A-Z-]+)(?=  )")
_COUNTED = re.compile(r"\b\d+ ([a-z-]+)(?=,|$)")


@contextmanager
def progress(pairs: Sequence[tuple[Clause, Any]], *, quiet: bool) -> Generator[Callable[[Verdict], None], None, None]:
    """A function that wants every verdict as it is made, and prints each subject's line when that is complete."""
    if quiet:
        yield lambda _verdict: None
        return
    line_of = subject_lines(pairs)

    def each(verdict: Verdict, echo: Callable[[str], None]) -> None:
        line = line_of(verdict)
        if line is not None:
            echo(line)

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
    for line in failures(verdicts):
        click.echo(_colored(_LEADING, line))


def show_totals(verdicts: Sequence[Verdict]) -> None:
    """The last line: how many of each."""
    click.echo(_colored(_COUNTED, totals(verdicts)))


def _colored(words: re.Pattern[str], line: str) -> str:
    """The line with the words that the pattern finds in their colours, where somebody looks who wants colours."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") in {None, "", "dumb"}:
        return line

    def color(found: re.Match[str]) -> str:
        name = _COLORS.get(found[1].lower())
        return found[0] if name is None else click.style(found[0], fg=name, bold=True)

    return words.sub(color, line)


@contextmanager
def _bar(total: int) -> Generator[tuple[Callable[[], None], Callable[[str], None]], None, None]:
    """A bar below the lines; the functions that move it and that print a line above it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("judging"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield (lambda: bar.advance(task)), (lambda line: bar.console.print(line, highlight=False, markup=False))
