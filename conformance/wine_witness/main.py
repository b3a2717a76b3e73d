# SPDX-License-Identifier: Apache-2.0
"""The command: from nothing to recordings, and whether they agree with each other and with the model."""

from __future__ import annotations

import argparse
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from wine_witness.compare import compare, compare_recordings
from wine_witness.failure import AbsentError, WitnessError
from wine_witness.record import record_all
from wine_witness.recording import FOLDER, load_all
from wine_witness.scripts import SCRIPTS, find_script

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 when all went well or Wine is absent, 1 when not, 2 for wrong usage, 130 for an interrupt."""
    options = _parser().parse_args(arguments)
    # An exception, so that Wine is ended and the temporary folder goes.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return int(options.command(options))
    except AbsentError as error:
        print(f"wine witness: skipped: {error}")
        return 0
    except WitnessError as error:
        sys.stderr.write(f"wine witness: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("wine witness: interrupted\n")
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="witness",
        description="Run our own driver and client under Wine, and record what its Windows says.",
        epilog="example: witness record /tmp/recordings --script protocol-v1",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    record = commands.add_parser("record", help="make recordings: OUT_DIR gets SCRIPT.json for each")
    record.set_defaults(command=_record)
    record.add_argument("out", type=Path, metavar="OUT_DIR")
    record.add_argument("--script", action="append", metavar="NAME", help="default: all of them")
    check = commands.add_parser("check", help="record all, compare with the repository's recordings, replay")
    check.set_defaults(command=_check)
    check.add_argument("out", type=Path, metavar="OUT_DIR")
    compare = commands.add_parser("compare", help="tell whether two sets of recordings differ in more than versions")
    compare.set_defaults(command=lambda options: _compare(options.first, options.second))
    compare.add_argument("first", type=Path, metavar="A", help="a folder of recordings")
    compare.add_argument("second", type=Path, metavar="B", help="another")
    replay = commands.add_parser("replay", help="ask the simulator's Windows the same, and compare")
    replay.set_defaults(command=lambda options: _replay(options.folder))
    replay.add_argument("folder", type=Path, metavar="DIR", nargs="?", default=FOLDER, help="default: the repository's")
    listed = commands.add_parser("list", help="list the scripts")
    listed.set_defaults(command=_list)
    return parser


def _record(options: argparse.Namespace) -> int:
    record_all([find_script(name) for name in options.script] if options.script else SCRIPTS, options.out)
    return 0


def _check(options: argparse.Namespace) -> int:
    record_all(SCRIPTS, options.out)
    different = _compare(FOLDER, options.out)
    return _replay(options.out) or different


def _compare(first: Path, second: Path) -> int:
    one, other = ({found.script.name: found for found in load_all(folder)} for folder in (first, second))
    common = [name for name in one if name in other]
    if not common:
        raise WitnessError(f"{first} and {second} have no recording in common (*.json, the same name in both)")
    lines = [line for name in common for line in compare_recordings(one[name], other[name])]
    for line in lines:
        print(line)
    alone = sorted(one.keys() ^ other.keys())
    print(f"{len(common)} recordings compared, {len(lines)} steps differ; only in one: {', '.join(alone) or 'none'}")
    return 1 if lines or alone else 0


def _replay(folder: Path) -> int:
    from wine_witness.model import Model

    found = [compare(recording, Model(recording.script)) for recording in load_all(folder)]
    if not found:
        raise WitnessError(f"{folder} has no recordings (*.json): `record` makes them")
    lines = [line for one in found for line in one.differences]
    for line in lines:
        print(line)
    excluded = sum((Counter(one.excluded) for one in found), Counter[str]())
    points = sum(one.points for one in found)
    print(f"{points} points compared, {len(lines)} differ; {excluded.total()} excluded as departures:")
    for name, count in sorted(excluded.items()):
        print(f"   {name:32} {count:3}")
    return 1 if lines else 0


def _list(_: argparse.Namespace) -> int:
    for script in SCRIPTS:
        print(f"{script.name:24} {len(script.steps):4} steps: {script.what}")
    return 0
