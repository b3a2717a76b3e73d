# SPDX-License-Identifier: Apache-2.0
"""`python3 -m raplica_conformance.plain`: this machine judged with the standard library alone.

For an initramfs, a rescue system, a virtual machine: where neither click nor pytest are. It knows `run --real` and
`restore`, and says and returns what the command `conformance` does.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from raplica_conformance import report_json
from raplica_conformance.clause import LEVELS, Clause, load_clauses
from raplica_conformance.loop import run
from raplica_conformance.printable import printable
from raplica_conformance.selection import SelectionError, pair, select
from raplica_conformance.subject import CLASS, DEVICES, exists
from raplica_conformance.subjects.guarded import GuardedMachine, guard, restore_this_machine
from raplica_conformance.subjects.journal import JournalError
from raplica_conformance.subjects.real import RealMachine
from raplica_conformance.verdicts import Verdict, exit_code, summary

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the arguments say; the exit status is that of `conformance`."""
    asked = _parser().parse_args(arguments)
    if asked.command == "restore":
        return restore_this_machine(asked.journal)
    if not asked.allow_writes and (asked.wild_writes or asked.journal):
        return _refuse("--journal and --wild-writes say how to write; allow it with --allow-writes")
    try:
        clauses = select(load_clauses(), asked.patterns, asked.level)
        return _run(asked, clauses)
    except (SelectionError, JournalError) as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        return _refuse("interrupted", 130)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m raplica_conformance.plain",
        description="Judge this machine, and put back what a killed run left, with the standard library alone.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    judge = commands.add_parser("run", help="judge this machine", epilog="Example: run --real --allow-writes --json")
    judge.add_argument("patterns", nargs="*", metavar="ID-or-GLOB")
    judge.add_argument("--real", action="store_true", required=True, help="judge /sys of this machine")
    judge.add_argument("--allow-writes", action="store_true", help="set limits where they can be put back")
    judge.add_argument(
        "--wild-writes",
        action="store_true",
        help="write anything: for a virtual machine that was made for this and that nobody needs",
    )
    judge.add_argument("--journal", type=Path, metavar="PATH", help="where to keep what was there before")
    judge.add_argument("--level", choices=[level for level in LEVELS if level != "alternative"], default="may")
    judge.add_argument("--json", action="store_true", help="print the JSON report")
    back = commands.add_parser("restore", help="put back what a killed run left", epilog="Example: restore")
    back.add_argument("--journal", type=Path, metavar="PATH", help="the journal of that run")
    return parser


def _run(asked: argparse.Namespace, clauses: Sequence[Clause]) -> int:
    tree = RealMachine()
    if not (exists(tree, CLASS) or exists(tree, DEVICES)):
        return _refuse(f"no /sys/{CLASS} here: nothing to judge", 3)
    subject = guard(tree, asked.journal, wild=asked.wild_writes) if asked.allow_writes else tree
    try:
        verdicts = run(pair(clauses, [subject]))
    finally:
        subject.close()
    _show(verdicts, as_json=asked.json)
    status = exit_code(verdicts)
    left = isinstance(subject, GuardedMachine) and bool(subject.unrestored)
    return 3 if status == 0 and left else status


def _show(verdicts: Sequence[Verdict], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(report_json.render(verdicts))
        return
    for verdict in verdicts:
        sys.stdout.write(f"{verdict.verdict:<15} {verdict.clause.id}  {verdict.reason}".rstrip() + "\n")
    sys.stdout.write(", ".join(f"{count} {word}" for word, count in summary(verdicts).items() if count) + "\n")


def _refuse(line: str, status: int = 2) -> int:
    sys.stderr.write(printable(f"conformance: {line}") + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
