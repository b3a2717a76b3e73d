# SPDX-License-Identifier: Apache-2.0
"""How far the matrix is, for a person who waits: a bar on a terminal, else a line for each verdict, on stderr."""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

import click

__all__ = ["Shown", "progress"]


@dataclass(frozen=True, slots=True)
class Shown:
    """One verdict on its way past."""

    tool: str
    case: str
    verdict: str


@contextmanager
def progress(total: int, kept: int, *, quiet: bool) -> Generator[Callable[[Shown], None], None, None]:
    """A function that wants every verdict as it is made, from any thread."""
    if quiet or not total:
        yield lambda _shown: None
        return
    before = f", {kept} are there from before" if kept else ""
    click.echo(f"{total} verdicts to be made{before}", err=True)
    lock = Lock()
    if not sys.stderr.isatty():
        done = 0

        def line(shown: Shown) -> None:
            nonlocal done
            with lock:
                done += 1
                click.echo(f"[{done}/{total}] {shown.tool}: {shown.case}: {shown.verdict}", err=True)

        yield line
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)

        def move(shown: Shown) -> None:
            bar.update(task, advance=1, description=f"{shown.tool}: {shown.case}: {shown.verdict}")

        yield move
