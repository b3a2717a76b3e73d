# SPDX-License-Identifier: Apache-2.0
"""The commands of `conformance` about readers alone, and the options with which they and `run` name a reader."""

import shutil
from pathlib import Path
from typing import Any

import click

from raplica_conformance import ending
from raplica_conformance.cli_options import json_option, report_option
from raplica_conformance.printable import printable

__all__ = ["export", "matrix", "reader_options", "selftest", "smoke"]

_ABOUT_SMOKE = """
\b
Examples: conformance smoke --reader raplica-reader-stepped
          conformance smoke --reader "./my-reader {sysfs}" --unit J

\b
A reader is one of
  a command: started for each sample, or once where it has {seconds}; {sysfs}, {dev} and {cpu} are filled in
  module:function, called in this process with a tree and a clock
  FILE.toml, an adapter that says all this and more, or the name of a built-in one
--reader-kind says otherwise: callable, stepped, oneshot or timed.

\b
Exit status: 0 the plug works, 1 it does not, 2 wrong usage, 3 it could not be tried here.
"""


def reader_options(command: Any) -> Any:
    """The options that say which reader is meant and how it is plugged in."""
    for option in (
        click.option("--unit", metavar="UNIT", help="In what it prints energies: uJ (usual), J, Wh and so on."),
        click.option(
            "--extract", metavar="E", help="What to read of its output: json, json:PATH, regex:, prometheus:, csv:."
        ),
        click.option("--reader-kind", metavar="KIND", help="callable, stepped, oneshot or timed."),
        click.option(
            "--reader",
            "readers",
            multiple=True,
            metavar="CMD|NAME|FILE",
            help="Judge a reader: a command, module:function, an adapter or its file (`conformance smoke --help`).",
        ),
    ):
        command = option(command)
    return command


@click.command(epilog=_ABOUT_SMOKE)
@reader_options
@json_option("Print one JSON document.")
def smoke(**options: Any) -> None:
    """Try whether a reader is plugged in rightly: two seconds of a machine on which nothing is wrong."""
    from raplica_conformance.readers.smoke import smoke_command

    click.get_current_context().exit(smoke_command(**options))


@click.command(epilog="Example: conformance selftest --json")
@json_option("Print one JSON document.")
def selftest(*, as_json: bool) -> None:
    """Put the suite itself on trial: readers that are wrong on purpose, and programs that are no readers at all."""
    from raplica_conformance.selftest import selftest_command

    click.get_current_context().exit(selftest_command(as_json=as_json))


@click.command(epilog="Example: conformance export cases 'arithmetic/*'")
@click.argument("directory", metavar="DIR")
@click.argument("patterns", metavar="[ID-or-GLOB]...", nargs=-1)
def export(directory: str, patterns: tuple[str, ...]) -> None:
    """Write cases as plain directories with their right answers, for suites in other languages."""
    from raplica_conformance.export import export as write_cases

    out = Path(directory)
    is_new = not out.exists()
    try:
        written = write_cases(directory, patterns or ("*",))
    except (FileExistsError, ValueError) as error:
        raise click.UsageError(str(error)) from error
    except KeyboardInterrupt:
        # Half of the cases look like all of them; what was there before this command is never touched.
        if is_new:
            with ending.held():
                shutil.rmtree(out, ignore_errors=True)
        raise
    count = "1 case" if len(written) == 1 else f"{len(written)} cases"
    click.echo(f"{count} written to {printable(directory)}")


@click.command(epilog="Example: conformance matrix --results matrix.jsonl --report matrix.html")
@click.argument("tools", metavar="[TOOL]...", nargs=-1)
@click.option("--case", "cases", multiple=True, metavar="ID-or-GLOB", help="These cases instead of the quick set.")
@click.option("--full", is_flag=True, help="Every case.")
@click.option(
    "--results",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Keep verdicts here as they come, and go on from there.",
)
@click.option("--afresh", is_flag=True, help="Forget what is in --results.")
@report_option("Write .txt, .md, .json or .html.")
@click.option(
    "--jobs",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Processes at once (else twice the processors and two).",
)
@json_option("Print the JSON report alone.")
def matrix(**options: Any) -> None:
    """Tools by cases: run what is installed, each by its public command or interface."""
    from raplica_conformance.matrix import MatrixOptions, run_matrix

    click.get_current_context().exit(run_matrix(MatrixOptions(**options)))
