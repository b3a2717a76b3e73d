# SPDX-License-Identifier: Apache-2.0
"""`conformance run`: everything that can be refused is refused before the first clause is judged."""

import importlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from raplica_conformance.clause import load_clauses
from raplica_conformance.expectations import (
    Expectations,
    ExpectationsError,
    emit_expectations,
    load_expectations,
)
from raplica_conformance.gather import Gathered, GatherError, Request, gather
from raplica_conformance.printable import printable
from raplica_conformance.reports import ReportError, check_path, write_report
from raplica_conformance.selection import SelectionError, pair, select
from raplica_conformance.verdicts import Verdict, exit_code

__all__ = ["RunOptions", "run_command"]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The command line of `conformance run`, option by option."""

    patterns: tuple[str, ...] = ()
    machines: tuple[str, ...] = ()
    kernel: str | None = None
    real: bool = False
    allow_writes: bool = False
    trees: tuple[str, ...] = ()
    journal: Path | None = None
    live: bool = False
    recordings: tuple[str, ...] = ()
    reader: str | None = None
    level: str = "may"
    reports: tuple[Path, ...] = ()
    expected: Path | None = None
    emitted: Path | None = None
    as_json: bool = False


class _BrokenDownError(click.ClickException):
    """The run itself broke down, whatever it was to judge."""

    exit_code = 3


def run_command(options: RunOptions) -> int:
    """Judge what the options ask for, print and write what came out, and return the exit status.

    Raises click.UsageError, in one line, for everything that was asked in a wrong way.
    """
    try:
        return _run(options)
    except (ExpectationsError, GatherError, ReportError, SelectionError) as error:
        raise click.UsageError(str(error)) from error
    except RuntimeError as error:
        # HostError, whose module is imported only where it runs.
        raise _BrokenDownError(str(error)) from error


def _run(options: RunOptions) -> int:
    _refuse_what_is_to_come(options)
    for path in options.reports:
        check_path(path)
    if options.emitted is not None and not options.emitted.parent.is_dir():
        raise ReportError(f"{options.emitted}: the folder {options.emitted.parent} does not exist; make it first")
    clauses = load_clauses()
    chosen = select(clauses, options.patterns, options.level)
    known = Expectations() if options.expected is None else load_expectations(options.expected, clauses)
    wishes = Request(
        machines=options.machines,
        kernel=options.kernel,
        real=options.real,
        trees=options.trees,
        live=options.live,
        recordings=options.recordings,
        allow_writes=options.allow_writes,
        journal=options.journal,
    )
    gathered = gather(wishes)
    try:
        verdicts = _judge(chosen, gathered, known, quiet=options.as_json) if gathered.subjects else []
    finally:
        gathered.close()
    status = _tell(options, verdicts, gathered.nothing_in)
    return 3 if status == 0 and gathered.unrestored else status


def _refuse_what_is_to_come(options: RunOptions) -> None:
    """Options that have their place on the command line, and nothing behind them yet."""
    if options.reader is not None:
        raise click.UsageError("--reader is not available yet; leave it out to judge the reference reader")


def _judge(chosen: list[Any], gathered: Gathered, known: Expectations, *, quiet: bool) -> list[Verdict]:
    """Let a host run the clauses; both hosts give the same verdicts."""
    from raplica_conformance.terminal import progress

    pairs = pair(chosen, gathered.subjects)
    with progress(pairs, quiet=quiet) as each:
        verdicts: list[Verdict] = _host().run(pairs, known=known, each=each)
        return verdicts


def _host() -> Any:
    """pytest, or the plain loop where pytest cannot be: not installed, or no place outside for its empty folder."""
    import tempfile

    try:
        # With no other place to write, tempfile takes the current folder, and that is the user's.
        outside = tempfile.gettempdir() != os.getcwd()  # noqa: PTH109 - compared as text
        return importlib.import_module(f"raplica_conformance.{'host_pytest' if outside else 'loop'}")
    except (ImportError, FileNotFoundError):
        return importlib.import_module("raplica_conformance.loop")


def _tell(options: RunOptions, verdicts: list[Verdict], nothing_in: list[str]) -> int:
    """Print the result, write the files and return the exit status."""
    from raplica_conformance import report_json
    from raplica_conformance.terminal import show_failures, show_totals

    if options.as_json:
        click.echo(report_json.render(verdicts), nl=False)
    elif verdicts:
        show_failures(verdicts)
        show_totals(verdicts)
    for line in nothing_in:
        click.echo(printable(f"conformance: {line}"), err=True)
    for path in options.reports:
        write_report(path, verdicts)
    if options.emitted is not None:
        try:
            emit_expectations(options.emitted, verdicts)
        except OSError as error:
            raise ReportError(f"{options.emitted}: cannot be written: {error.strerror}") from error
    status = exit_code(verdicts)
    return 3 if status == 0 and nothing_in else status
