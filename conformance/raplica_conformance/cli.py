# SPDX-License-Identifier: Apache-2.0
"""The command `conformance`: run clauses on subjects, list them, explain one; see cli_readers for readers.

Nothing heavier than click is imported before a command needs it. An error is one line on stderr; the exit status
is 0, 1, 2 or 3 as `verdicts.exit_code` and the help say; 3 as well where the output cannot be written, 141 where nobody
reads it any more, and 130, 143 and 129 for SIGINT, SIGTERM and SIGHUP, after which nothing is left behind.
"""

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import click

from raplica_conformance import ending
from raplica_conformance.clause import LEVELS
from raplica_conformance.cli_compare import compare
from raplica_conformance.cli_options import json_option, report_option
from raplica_conformance.cli_readers import export, matrix, reader_options, selftest, smoke
from raplica_conformance.cli_record import record
from raplica_conformance.listing import explained, listed
from raplica_conformance.printable import printable
from raplica_conformance.readers.case_clauses import all_clauses
from raplica_conformance.selection import SelectionError

__all__ = ["cli", "main"]

_HELP = {"help_option_names": ["-h", "--help"]}

_ABOUT_RUN = """
\b
Examples: conformance run
          conformance run 'powercap.zone.*' --machine skylake-sp-2s --kernel 6.1 --report result.xml
          conformance run --report result.html --report result.json
          sudo conformance run --real
          sudo conformance run --real --allow-writes
          conformance run 'arithmetic/*' --reader "./my-reader {sysfs}" --extract json:zones[id].energy_j --unit J

\b
Exit status: 0 at least one pass and nothing wrong, 1 a failure, a timeout or an unexpected pass,
2 wrong usage (a selection that matches nothing as well), 3 something broken or nothing to judge.
"""

_ABOUT_RESTORE = """
\b
Examples: sudo conformance restore
          sudo conformance restore --journal /root/writes.journal

\b
Exit status: 0 everything is as before, or there was nothing to put back, 1 something is not as before,
2 the journal cannot be used.
"""


class _Group(click.Group):
    """The command as a whole: how it ends when it is not let go on."""

    def invoke(self, ctx: click.Context) -> Any:
        # Left to click, the one prints an empty line as well and the other becomes status 1, a failed clause.
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            _tell_of_the_end()
            ctx.exit(ending.status())
        except BrokenPipeError:
            _give_up_stdout()
            ctx.exit(141)


def _version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:  # noqa: FBT001 - click's
    """Print the version; importlib.metadata is slow to load, and only this needs it."""
    if wanted:
        from importlib.metadata import version

        click.echo(f"conformance (raplica) {version('raplica')}")
        ctx.exit()


@click.group(
    cls=_Group,
    context_settings=_HELP,
    invoke_without_command=True,
    epilog="""
\b
Examples: sudo conformance run --real
          conformance run --reader "./my-reader {sysfs}"
          conformance explain powercap.zone.name-newline
""",
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Judge, clause by clause, whether a powercap tree or a reader does what hardware and kernel promise."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(2)


@cli.command(epilog=_ABOUT_RUN)
@click.argument("patterns", metavar="[ID-or-GLOB]...", nargs=-1)
@click.option("--select", "selected", multiple=True, metavar="GLOB", help="The same as a positional glob.")
@click.option("--machine", "machines", multiple=True, metavar="M", help="A built-in id, a profile or a recording.")
@click.option(
    "--kernel", metavar="V", help="The kernel of the machines and trees, like 6.12; `raplica machines` lists all."
)
@click.option("--real", is_flag=True, help="Judge /sys of this machine; without --allow-writes it is only read.")
@click.option(
    "--allow-writes",
    is_flag=True,
    help="With --real: set limits of this machine for a moment, where they can be put back, and put them back.",
)
@click.option(
    "--journal",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="Where what was there before each write is kept meanwhile (else where `conformance restore` looks for it).",
)
@click.option("--tree", "trees", multiple=True, metavar="DIR", help="Judge a directory: a written /sys root.")
@click.option("--live", is_flag=True, help="The trees are live mounts and not snapshots.")
@click.option("--recording", "recordings", multiple=True, metavar="FILE", help="Judge a recorded tree.")
@click.option(
    "--powermetrics", multiple=True, metavar="CMD", help="Judge macOS's tool, what stands in for it, or a built-in Mac."
)
@click.option(
    "--windows", multiple=True, metavar="M:DRIVER", help="Judge a driver on a simulated Windows, such as M:v3.2."
)
@reader_options
@click.option(
    "--level",
    type=click.Choice([level for level in LEVELS if level != "alternative"]),
    default="may",
    show_default=True,
    help="How far down to go.",
)
@report_option("Write a report: .html, .json, .badge.json, .xml (JUnit), .tap or .ktap.")
@click.option(
    "--expect",
    "expected",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Known failures: lines `ID SUBJECT # reason`, or .json. One that passes fails the run.",
)
@click.option(
    "--emit-expectations",
    "emitted",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write today's failures as such a file.",
)
@json_option("Print the JSON report alone.")
@click.option("-q", "--quiet", is_flag=True, help="Print what is wrong and nothing else.")
def run(**options: Any) -> None:
    """Judge clauses on subjects. Without a subject: the simulator and the reader, on every built-in machine."""
    from raplica_conformance.running import RunOptions, run_command

    options["patterns"] = (*options["patterns"], *options.pop("selected"))
    _exit(run_command(RunOptions(**options)))


@cli.command(epilog=_ABOUT_RESTORE)
@click.option(
    "--journal",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="The journal of the run, if --journal was given there.",
)
def restore(journal: Path | None) -> None:
    """Put back what a run with --allow-writes left changed when it was killed.

    Nothing is written after a reboot: the machine's firmware has set its limits then.
    """
    from raplica_conformance.subjects.guarded import restore_this_machine

    _exit(restore_this_machine(journal))


for _command in (smoke, selftest, matrix, export, record, compare):
    cli.add_command(_command)


@cli.command("list", epilog="Example: conformance list --json")
@json_option("Print one JSON document.")
def list_command(*, as_json: bool) -> None:
    """List every clause and every case: its id, its level and its title."""
    click.echo(listed(all_clauses(), as_json=as_json))


@cli.command(epilog="Example: conformance explain powercap.zone.name-newline")
@click.argument("clause_id", metavar="ID")
def explain(clause_id: str) -> None:
    """Say what one clause or case checks, where the rule comes from and who suffered without it."""
    try:
        click.echo(explained(all_clauses(), clause_id))
    except SelectionError as error:
        raise click.UsageError(str(error)) from error


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and exit; a mistake in usage is one line on stderr, not click's four."""
    with ending.orderly():
        status = _status(arguments)
    sys.exit(status)


def _status(arguments: Sequence[str] | None) -> int:
    """The exit status, once everything has been said."""
    status: int = 0
    try:
        status = cli.main(arguments, prog_name="conformance", standalone_mode=False) or 0
        if sys.stdout is not None:
            sys.stdout.flush()
        ending.check()
    except click.ClickException as error:
        where = getattr(getattr(error, "ctx", None), "command_path", "conformance")
        _tell(f"{where}: {error.format_message()} (see {where} --help)")
        status = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        status = ending.status()
    except BrokenPipeError:
        _give_up_stdout()
        status = 141
    except OSError as error:
        _give_up_stdout()
        if ending.asked_by() is not None:  # the terminal has gone, and SIGHUP has come with that
            return ending.status()
        _tell(f"conformance: {f'{error.filename}: ' if error.filename else ''}{error.strerror or error}")
        status = 3
    return status


def _tell_of_the_end() -> None:
    """One line, if there is still somebody to tell."""
    asked = ending.asked_by()
    with suppress(OSError):
        _tell(f"conformance: {'interrupted' if asked in (None, signal.SIGINT) else f'ended by {asked.name}'}")


def _tell(message: str) -> None:
    """One line on stderr, whatever is in the message."""
    click.echo(printable(message), err=True)


def _give_up_stdout() -> None:
    """Nothing more can be written there, not even by the interpreter's last flush."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except OSError:
        return


def _exit(status: int) -> NoReturn:
    click.get_current_context().exit(status)
