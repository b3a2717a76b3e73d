# SPDX-License-Identifier: Apache-2.0
"""`python3 -m raplica_conformance.plain`: what `conformance` does, with the standard library alone.

For an initramfs, a rescue system, a virtual machine, one file that is copied to a server (`make bundle`): where
neither click nor pytest are. It judges what somebody brings (this machine, trees, recordings) by the loop without
pytest; it says and returns what the command `conformance` does. What can be asked for: `plain_arguments`.
"""

import argparse
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress

from raplica_conformance import ending, told
from raplica_conformance.clause import Clause, load_clauses
from raplica_conformance.expectations import Expectations, ExpectationsError, emit_expectations, load_expectations
from raplica_conformance.gathered import Gathered, GatherError, Request, add_files, check, powermetrics
from raplica_conformance.listing import explained, listed
from raplica_conformance.loop import run
from raplica_conformance.plain_arguments import parse
from raplica_conformance.printable import printable
from raplica_conformance.reports import json as json_report
from raplica_conformance.reports.writing import ReportError, check_path, draws_subjects, write_report
from raplica_conformance.selection import SelectionError, pair, select
from raplica_conformance.verdicts import Verdict, exit_code

__all__ = ["main"]

_PROGRAM = "python3 -m raplica_conformance.plain"
_NO_SUBJECT = (
    "nothing to judge: name it with --real, --tree DIR, --recording FILE or --powermetrics CMD "
    "(the simulated machines need an installed raplica)"
)


def main(arguments: Sequence[str] | None = None, *, program: str = _PROGRAM, version: str | None = None) -> int:
    """Do what the arguments say; the exit status is that of `conformance`.

    `program` is what its help calls it; `version` is for a copy of which Python knows no version.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    with ending.orderly():
        return _status(words or ["--help"], program, version or _installed_version(), asked=bool(words))


def _status(words: Sequence[str], program: str, version: str, *, asked: bool) -> int:
    """The exit status, once everything has been said."""
    try:
        status = _do(parse(words, program, version), version)
        sys.stdout.flush()
        ending.check()
    except SystemExit as done:  # argparse ends --help, --version and wrong usage so
        return int(done.code or 0) if asked else 2
    except (ExpectationsError, GatherError, ReportError, SelectionError) as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        by = ending.asked_by()
        return _refuse("interrupted" if by in (None, signal.SIGINT) else f"ended by {by.name}", ending.status())
    except BrokenPipeError:
        _give_up_stdout()
        return 141
    except OSError as error:
        _give_up_stdout()
        return _refuse(f"{f'{error.filename}: ' if error.filename else ''}{error.strerror or error}", 3)
    return status


def _do(asked: argparse.Namespace, version: str) -> int:
    """What one command does."""
    if asked.command == "restore":
        from raplica_conformance.subjects.guarded import restore_this_machine

        return restore_this_machine(asked.journal)
    if asked.command == "record":
        return _record(asked, version)
    clauses = load_clauses()
    if asked.command == "run":
        return _run(asked, clauses)
    text = listed(clauses, as_json=asked.json) if asked.command == "list" else explained(clauses, asked.clause_id)
    sys.stdout.write(f"{text}\n")
    return 0


def _record(asked: argparse.Namespace, version: str) -> int:
    """Write this machine, or another tree, down."""
    from raplica_conformance.record import Wishes, WrongRequestError, record_to

    wishes = Wishes(kernel=asked.kernel, load_seconds=asked.load_seconds, redact=not asked.no_redact, version=version)
    places = {"sysfs": asked.sysfs, "dev": asked.dev, "proc": asked.proc}
    try:
        return record_to(asked.output, wishes, **places, quiet=asked.quiet)
    except WrongRequestError as error:
        raise GatherError(str(error)) from error


def _run(asked: argparse.Namespace, clauses: Mapping[str, Clause]) -> int:
    """Judge; everything that can be refused is refused before the first clause is."""
    for path in asked.report:
        check_path(path)
        if draws_subjects(path):
            raise ReportError(
                f"{path}: the page needs an installed raplica; write .json, .badge.json, .xml, .tap or .ktap here"
            )
    if asked.emit_expectations is not None and not asked.emit_expectations.parent.is_dir():
        folder = asked.emit_expectations.parent
        raise ReportError(f"{asked.emit_expectations}: the folder {folder} does not exist; make it first")
    chosen = select(clauses, (*asked.patterns, *asked.select), asked.level)
    known = Expectations() if asked.expect is None else load_expectations(asked.expect, clauses)
    gathered = _gather(asked)
    try:
        verdicts = _judge(chosen, gathered, known, quiet=asked.json) if gathered.subjects else []
    finally:
        with ending.held():
            gathered.close()
    status = _tell(asked, verdicts, gathered.nothing_in)
    return 3 if status == 0 and gathered.unrestored else status


def _gather(asked: argparse.Namespace) -> Gathered:
    """The subjects that were brought."""
    wishes = Request(
        kernel=asked.kernel,
        real=asked.real,
        trees=asked.tree,
        live=asked.live,
        recordings=asked.recording,
        allow_writes=asked.allow_writes,
        wild_writes=asked.wild_writes,
        journal=asked.journal,
        powermetrics=asked.powermetrics,
    )
    check(wishes)
    if not (wishes.real or wishes.trees or wishes.recordings or wishes.powermetrics):
        raise GatherError(_NO_SUBJECT)
    gathered = Gathered()
    for command in wishes.powermetrics:
        gathered.add(powermetrics(command))
    add_files(gathered, wishes)
    return gathered


def _judge(chosen: Sequence[Clause], gathered: Gathered, known: Expectations, *, quiet: bool) -> list[Verdict]:
    """Let the loop run the clauses, and say of each subject what came out as soon as it is done."""
    pairs = pair(chosen, gathered.subjects)
    line_of = told.subject_lines(pairs)

    def each(verdict: Verdict) -> None:
        line = line_of(verdict)
        if line is not None and not quiet:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
        ending.check()

    return run(pairs, known=known, each=each)


def _tell(asked: argparse.Namespace, verdicts: Sequence[Verdict], nothing_in: Sequence[str]) -> int:
    """Print the result, write the files and return the exit status."""
    if asked.json:
        sys.stdout.write(json_report.render(verdicts))
    elif verdicts:
        for line in (*told.failures(verdicts), told.totals(verdicts)):
            sys.stdout.write(f"{line}\n")
    for line in nothing_in:
        _refuse(line)
    for path in asked.report:
        write_report(path, verdicts)
    if asked.emit_expectations is not None:
        try:
            emit_expectations(asked.emit_expectations, verdicts)
        except OSError as error:
            raise ReportError(f"{asked.emit_expectations}: cannot be written: {error.strerror}") from error
    status = exit_code(verdicts)
    return 3 if status == 0 and nothing_in else status


def _installed_version() -> str:
    """The version of the installed distribution; a copied folder has none."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("raplica")
    except PackageNotFoundError:
        return "unknown: a copy that is not installed"


def _refuse(line: str, status: int = 2) -> int:
    """One line on stderr, if there is still somebody to tell."""
    with suppress(OSError):
        sys.stderr.write(printable(f"conformance: {line}") + "\n")
    return status


def _give_up_stdout() -> None:
    """Nothing more can be written there, not even by the interpreter's last flush."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


if __name__ == "__main__":
    sys.exit(main())
