# SPDX-License-Identifier: Apache-2.0
"""The command line of `plain`: the words and options of `conformance`, by argparse, less those that need packages.

Options about simulated machines and plugged readers are known here too, so that who asks for one is told what is
missing rather than that there is no such option.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Never

from raplica_conformance.clause import LEVELS
from raplica_conformance.printable import printable

__all__ = ["COMMANDS", "Parser", "parse"]

_ELSEWHERE = ("--machine", "--windows", "--reader", "--reader-kind", "--extract", "--unit")

_LONGEST_S = 3600

_ABOUT_RUN = """\
Judge this machine, a tree or a recording, clause by clause.

Exit status: 0 at least one pass and nothing wrong, 1 a failure, a timeout or an unexpected pass,
2 wrong usage (a selection that matches nothing as well), 3 something broken or nothing to judge."""

_EXAMPLES_RUN = """\
examples:
  sudo {program} run --real
  {program} run 'powercap.zone.*' --tree DIR --report result.json
  sudo {program} run --real --allow-writes --json"""

_ABOUT_RESTORE = """\
Put back what a run with --allow-writes left changed when it was killed. Nothing is written after a reboot.

Exit status: 0 everything is as before, or there was nothing to put back, 1 something is not as before,
2 the journal cannot be used."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> Never:
        """Say what is wrong and where the right usage stands; exit with 2."""
        self.exit(2, printable(f"{self.prog}: {message} (see {self.prog} --help)") + "\n")


def parse(arguments: Sequence[str], program: str, version: str) -> argparse.Namespace:
    """What the arguments ask for; SystemExit for --help, --version and wrong usage, as argparse has it."""
    top = Parser(
        prog=program,
        description="Judge clause by clause whether a powercap tree does what hardware and kernel promise, "
        "with the standard library alone.",
        epilog=f"example: {program} run --real",
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"conformance (raplica) {version}")
    top.add_argument("command", choices=list(COMMANDS), metavar="|".join(COMMANDS), help="what to do")
    top.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help=f"see {program} COMMAND --help")
    asked = top.parse_args(arguments)
    # Not subparsers: they cannot take an option between two positional arguments, which click takes.
    named = COMMANDS[asked.command](program).parse_intermixed_args(asked.arguments)
    named.command = asked.command
    return named


def _command(program: str, name: str, about: str, examples: str) -> Parser:
    return Parser(
        prog=f"{program} {name}",
        description=about,
        epilog=examples.format(program=program),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def _run(program: str) -> Parser:
    run = _command(program, "run", _ABOUT_RUN, _EXAMPLES_RUN)
    several: dict[str, Any] = {"action": "append", "default": []}
    run.add_argument("patterns", nargs="*", metavar="ID-or-GLOB")
    run.add_argument("--select", **several, metavar="GLOB", help="the same as a positional glob")
    run.add_argument("--kernel", metavar="V", help="the kernel of the trees, like 6.12")
    run.add_argument("--real", action="store_true", help="judge /sys of this machine")
    run.add_argument("--allow-writes", action="store_true", help="set limits where they can be put back")
    run.add_argument(
        "--wild-writes",
        action="store_true",
        help="write anything: for a virtual machine that was made for this and that nobody needs",
    )
    run.add_argument("--journal", type=Path, metavar="PATH", help="where to keep what was there before")
    run.add_argument("--tree", **several, metavar="DIR", help="judge a directory: a written /sys root")
    run.add_argument("--live", action="store_true", help="the trees are live mounts and not snapshots")
    run.add_argument("--recording", **several, metavar="FILE", help="judge a recorded tree")
    run.add_argument("--powermetrics", **several, metavar="CMD", help="judge macOS's tool, or what stands in for it")
    run.add_argument(
        "--level",
        choices=[level for level in LEVELS if level != "alternative"],
        default="may",
        help="how far down to go (default: may)",
    )
    run.add_argument(
        "--report", type=Path, **several, metavar="PATH", help=".json, .badge.json, .xml (JUnit), .tap or .ktap"
    )
    run.add_argument("--expect", type=Path, metavar="FILE", help="known failures; one that passes fails the run")
    run.add_argument("--emit-expectations", type=Path, metavar="FILE", help="write today's failures as such a file")
    run.add_argument("--json", action="store_true", help="print the JSON report alone")
    for option in _ELSEWHERE:
        run.add_argument(option, action=_Elsewhere, help=argparse.SUPPRESS)
    return run


def _list(program: str) -> Parser:
    listing = _command(
        program, "list", "List every clause: its id, its level and its title.", "example: {program} list"
    )
    listing.add_argument("--json", action="store_true", help="print one JSON document")
    return listing


def _explain(program: str) -> Parser:
    explain = _command(
        program,
        "explain",
        "Say what one clause checks, where the rule comes from and who suffered without it.",
        "example: {program} explain powercap.zone.name-newline",
    )
    explain.add_argument("clause_id", metavar="ID")
    return explain


def _restore(program: str) -> Parser:
    restore = _command(program, "restore", _ABOUT_RESTORE, "example: sudo {program} restore")
    restore.add_argument("--journal", type=Path, metavar="PATH", help="the journal of the run, if --journal was given")
    return restore


def _record(program: str) -> Parser:
    record = _command(
        program,
        "record",
        "Record this machine: powercap trees, RAPL registers, processors, kernel, who could read. Only ever reads.\n"
        "Names of the machine and of people are left out unless --no-redact is given.\n\n"
        "Exit status: 0 recorded, 2 wrong usage, 3 nothing to record or it could not be written.",
        "example: sudo {program} record -o machine.json --load-seconds 5",
    )
    record.add_argument("-o", "--output", metavar="FILE", default="-", help="a .json, .json.gz or .json.xz file")
    record.add_argument("--sysfs", metavar="DIR", help="another root of sysfs than /sys: a mount, a copy")
    record.add_argument("--dev", metavar="DIR", help="where cpu/N/msr lies")
    record.add_argument("--proc", metavar="DIR", help="where cpuinfo lies")
    record.add_argument("--kernel", metavar="V", help="the kernel that the tree is of, if it is not the running one")
    record.add_argument(
        "--load-seconds", metavar="N", type=_seconds, default=0.0, help="watch the counters so long (default: 0)"
    )
    record.add_argument("--no-redact", action="store_true", help="keep host name, user, machine id, serial numbers")
    record.add_argument("--quiet", action="store_true", help="say nothing but errors")
    return record


def _seconds(text: str) -> float:
    """A time for --load-seconds."""
    seconds = float(text)
    if not 0 <= seconds <= _LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text} is not in the range 0 to {_LONGEST_S}")
    return seconds


class _Elsewhere(argparse.Action):
    """An option of `conformance` that needs what is not here."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        _namespace: argparse.Namespace,
        _values: object,
        option: str | None = None,
    ) -> None:
        """Refuse it."""
        parser.error(f"{option} needs the simulator, which is not here: install raplica and use `conformance`")


#: What can be asked for, each by the parser of its own arguments, given the program's name.
COMMANDS: dict[str, Callable[[str], Parser]] = {
    "run": _run,
    "list": _list,
    "explain": _explain,
    "restore": _restore,
    "record": _record,
}
