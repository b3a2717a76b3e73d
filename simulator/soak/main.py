# SPDX-License-Identifier: Apache-2.0
"""The command: both soaks one after the other, a summary for a person, everything as JSON for a program."""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from soak.cycles import CyclesReport, soak_cycles
from soak.reads import ReadsReport, soak_reads

__all__ = ["main"]

_EXAMPLE = """example:
  python simulator/soak/soak.py                 all of it: ten processes, a million reads each, 500 starts
  python simulator/soak/soak.py --scale 0.01    a hundredth of it, as the tests run it
"""


def main(arguments: Sequence[str]) -> int:
    """Run it; 0 where nothing was wrong, 1 otherwise."""
    options = _parser().parse_args(arguments)
    reads = cycles = None
    with tempfile.TemporaryDirectory(prefix="raplica-soak-") as folder:
        if options.only != "cycles":
            reads = soak_reads(Path(folder), options.processes, max(1, round(options.reads * options.scale)))
            _tell_reads(reads)
        if options.only != "reads":
            counts = (max(1, round(count * options.scale)) for count in (options.cycles, options.kills))
            cycles = soak_cycles(Path(folder), *counts, seed=options.seed)
            _tell_cycles(cycles)
    found = {name: part.as_json() for name, part in (("reads", reads), ("cycles", cycles)) if part is not None}
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=1) + "\n")
    return int(any(part["wrong"] for part in found.values()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="soak.py",
        description="Read a mounted machine from many processes for long, then start and kill `raplica exec` often.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--processes", type=int, default=10, metavar="N", help="how many read at once (10)")
    parser.add_argument("--reads", type=int, default=1_000_000, metavar="N", help="read calls of each (1000000)")
    parser.add_argument("--cycles", type=int, default=500, metavar="N", help="starts of `raplica exec` (500)")
    parser.add_argument("--kills", type=int, default=200, metavar="N", help="how many of them end by SIGKILL (200)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="who is killed and when follows from it (1)")
    parser.add_argument("--scale", type=float, default=1.0, metavar="X", help="so much of reads, cycles and kills (1)")
    parser.add_argument("--only", choices=["reads", "cycles"], help="one half of it")
    parser.add_argument("--json", metavar="FILE", help="write everything that was found")
    return parser


def _tell_reads(report: ReadsReport) -> None:
    before, after = report.descriptors
    ways = ", ".join(f"{count:,} by {way}" for way, count in report.by_way.items())
    _tell(
        f"{report.processes} processes made {report.reads:,} reads in {report.seconds:.0f} s ({ways})",
        f"{report.values:,} values and {report.wraps:,} wraps were judged, {report.unsure:,} came too late for that; "
        f"the longest read took {report.longest_read_ms} ms",
        f"the server had {report.rss_kib:,} KiB after the warm-up and {report.growth_kib:+,} KiB at the end, "
        f"{before} descriptors before and {after} after",
        *(report.wrong or ["no value was torn, empty, stale or stepped back"]),
    )


def _tell_cycles(report: CyclesReport) -> None:
    victims = ", ".join(f"{count} of {name}" for name, count in sorted(report.killed.items()))
    _tell(
        f"{report.cycles} starts of `raplica exec` in {report.seconds:.0f} s, {sum(report.killed.values())} ended by "
        f"SIGKILL ({victims})",
        f"the last process of each was gone {report.longest_leftover_s:.2f} s after it at the latest",
        *(report.wrong or ["no mount, no process and no file is left"]),
    )


def _tell(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()
