# SPDX-License-Identifier: Apache-2.0
"""`conformance run`: everything that can be refused is refused before the first clause is judged."""

import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from raplica_conformance import ending
from raplica_conformance.clause import Clause
from raplica_conformance.expectations import (
    Expectations,
    ExpectationsError,
    emit_expectations,
    load_expectations,
)
from raplica_conformance.gather import Gathered, GatherError, Request, check, gather
from raplica_conformance.printable import printable
from raplica_conformance.readers.case_clauses import KIND, all_clauses
from raplica_conformance.reports.portrait import Portrait, portraits
from raplica_conformance.reports.writing import ReportError, check_path, draws_subjects, write_report
from raplica_conformance.selection import SelectionError, pair, select
from raplica_conformance.verdicts import Verdict, exit_code

__all__ = ["REFERENCE", "RunOptions", "plugged_readers", "run_command"]

#: The readers that are judged where none is named: the reference reader, in this process, by each of its doors.
REFERENCE = (
    "raplica-reader",
    "raplica-reader-msr",
    "raplica-reader-perf",
    "raplica-reader-powermetrics",
    "raplica-reader-windows",
)


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
    powermetrics: tuple[str, ...] = ()
    windows: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()
    reader_kind: str | None = None
    extract: str | None = None
    unit: str | None = None
    level: str = "may"
    reports: tuple[Path, ...] = ()
    expected: Path | None = None
    emitted: Path | None = None
    as_json: bool = False
    quiet: bool = False


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
    if not options.readers and (options.reader_kind or options.extract or options.unit):
        raise click.UsageError("--reader-kind, --extract and --unit are about a reader; name it with --reader")
    for path in options.reports:
        check_path(path)
    if options.emitted is not None and not options.emitted.parent.is_dir():
        raise ReportError(f"{options.emitted}: the folder {options.emitted.parent} does not exist; make it first")
    clauses = all_clauses()
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
        powermetrics=options.powermetrics,
        windows=options.windows,
    )
    kinds = {clause.kind for clause in chosen}
    trees = options.machines or options.real or options.trees or options.recordings
    named = trees or options.powermetrics or options.windows
    readers = plugged_readers(options) if options.readers or (not named and KIND in kinds) else []
    if not named and (options.readers or kinds == {KIND}):
        if options.kernel is not None:
            raise click.UsageError("--kernel is about machines and trees; a case says by itself which one it is about")
        check(wishes)
        gathered = Gathered()
    else:
        gathered = gather(wishes)
    for reader in readers:
        gathered.add(reader)
    drawn: list[Portrait] = []
    try:
        verdicts = (
            _judge(chosen, gathered, known, clauses, quiet=options.as_json or options.quiet)
            if gathered.subjects
            else []
        )
        if any(map(draws_subjects, options.reports)):
            drawn = portraits(gathered.subjects, verdicts)
    finally:
        with ending.held():
            gathered.close()
    status = _tell(options, verdicts, gathered.nothing_in, drawn)
    return 3 if status == 0 and gathered.unrestored else status


def plugged_readers(options: RunOptions) -> list[Any]:
    """The readers that are asked for; the reference reader, by each of its doors, where nothing at all is."""
    from raplica_conformance.readers.adapter import AdapterError, find_adapter
    from raplica_conformance.readers.subject import PluggedReader

    beside = {"--reader-kind": options.reader_kind, "--extract": options.extract, "--unit": options.unit}
    again = tuple(word for option, value in beside.items() if value is not None for word in (option, value))
    readers = []
    try:
        for reader in options.readers or REFERENCE:
            adapter = find_adapter(reader, kind=options.reader_kind, extract=options.extract, unit=options.unit)
            readers.append(PluggedReader(adapter.plug(), ("--reader", reader, *again)))
    except AdapterError as error:
        raise click.UsageError(str(error)) from error
    return readers


def _judge(
    chosen: list[Clause], gathered: Gathered, known: Expectations, registry: Mapping[str, Clause], *, quiet: bool
) -> list[Verdict]:
    """Let a host run the clauses; both hosts give the same verdicts."""
    from raplica_conformance.terminal import progress

    pairs = pair(chosen, gathered.subjects)
    with progress(pairs, quiet=quiet) as show:

        def each(verdict: Verdict) -> None:
            show(verdict)
            ending.check()

        verdicts: list[Verdict] = _host().run(pairs, known=known, each=each, registry=registry)
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


def _tell(options: RunOptions, verdicts: list[Verdict], nothing_in: list[str], drawn: list[Portrait]) -> int:
    """Print the result, write the files and return the exit status."""
    from raplica_conformance.reports import json as json_report
    from raplica_conformance.terminal import show_failures, show_totals

    if options.as_json:
        click.echo(json_report.render(verdicts), nl=False)
    elif verdicts:
        show_failures(verdicts)
        if not options.quiet:
            show_totals(verdicts)
    for line in nothing_in:
        click.echo(printable(f"conformance: {line}"), err=True)
    for path in options.reports:
        write_report(path, verdicts, drawn)
    if options.emitted is not None:
        try:
            emit_expectations(options.emitted, verdicts)
        except OSError as error:
            raise ReportError(f"{options.emitted}: cannot be written: {error.strerror}") from error
    status = exit_code(verdicts)
    return 3 if status == 0 and nothing_in else status
