# SPDX-License-Identifier: Apache-2.0
"""The `raplica-reader` command: what is asked for, and what the answer to the shell is.

An error is one line on stderr that says what is wrong, where, and what to do. Exit status: 0 at least one counter
was read; 2 wrong usage; 3 nothing could be read or written; 130 interrupted; 141 nobody reads the output any more.
With `--json` stdout holds one JSON document and nothing else, also when the status is 3. What it holds: `report`.
"""

import argparse
import errno
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Never

from raplica_reader import __version__, report
from raplica_reader.files import OsFiles, errno_name
from raplica_reader.powercap import CLASS, Zone, discover
from raplica_reader.sample import Delta, Meter, Sampler

__all__ = ["main"]

PROGRAM = "raplica-reader"
READ, USAGE, NOTHING, INTERRUPTED, NOBODY_READS = 0, 2, 3, 130, 141
LONGEST_S = 366 * 24 * 3600

ABOUT = """\
Read the energy counters of this machine and tell joules and watts.

Exit status: 0 at least one counter was read, 2 wrong usage, 3 nothing could be read, 130 interrupted."""

EXAMPLES = """\
examples:
  raplica-reader list --why                 which counters there are, and which add up to the machine
  sudo raplica-reader read                  joules and watts of one second
  raplica-reader read --sysfs ./tree --json the same from another /sys tree, for a program
"""

ABOUT_LIST = """\
List every zone with its counter as it stands. Zones overlap: the column "total" tells which of them add up to what
the machine spends, and --why gives the reasons."""

EXAMPLES_LIST = """\
examples:
  raplica-reader list
  raplica-reader list --why
  raplica-reader list --json --sysfs /host/sys

In JSON, energy_uj is the counter as its file shows it, and power_w is null.
"""

ABOUT_READ = """\
Take N intervals of S seconds (so N+1 samples) and print what each zone spent in all of them together: joules, and
mean watts over the time that was measured. Wraps of the counters are corrected; a counter must not wrap twice in one
interval, which takes minutes at full power."""

EXAMPLES_READ = """\
examples:
  sudo raplica-reader read
  sudo raplica-reader read --interval 0.5 --count 20
  sudo raplica-reader read --count 60 --json

In JSON, energy_uj is the energy of the whole reading in microjoules, and intervals has each interval by itself.
"""


def main(
    argv: Sequence[str] | None = None,
    *,
    clock: Callable[[], int] = time.monotonic_ns,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Run the command and return its exit status; `clock` (ns) and `sleep` (s) can be a simulated machine's."""
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as done:  # argparse ends --help, --version and wrong usage so
        return int(done.code or 0)
    if hasattr(sys.stdout, "reconfigure"):  # a name from the tree may not be in the terminal's encoding
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = _answer(arguments, clock, sleep)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _complain("interrupted", INTERRUPTED)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still in the buffer
        if error.errno == errno.EPIPE:
            return NOBODY_READS
        return _complain(f"the output cannot be written ({errno_name(error)})", NOTHING)
    return status


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> Never:
        """Say what is wrong and where the right usage stands; exit with 2."""
        self.exit(USAGE, f"{PROGRAM}: {message} (see `{self.prog} --help`)\n")


def _parser() -> argparse.ArgumentParser:
    """Build the parser of the whole command line."""
    common = _Parser(add_help=False)
    common.add_argument(
        "--source",
        type=_source,
        default="auto",
        help="where to read: auto or powercap, which mean the same in this version",
    )
    common.add_argument("--sysfs", metavar="DIR", default="/sys", help="root of the sysfs tree (default: /sys)")
    common.add_argument("--json", action="store_true", help="print one JSON document")

    def command(
        owner: "argparse._SubParsersAction[_Parser]", name: str, title: str, about: str, examples: str
    ) -> _Parser:
        return owner.add_parser(
            name,
            parents=[common],
            help=title,
            description=about,
            epilog=examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    parser = _Parser(
        prog=PROGRAM,
        description=ABOUT,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="list|read", required=True)
    listing = command(commands, "list", "list the counters and what they show", ABOUT_LIST, EXAMPLES_LIST)
    listing.add_argument("--why", action="store_true", help="say why a zone is counted in the total or not")
    reading = command(commands, "read", "measure joules and watts", ABOUT_READ, EXAMPLES_READ)
    reading.add_argument("--interval", metavar="S", type=_seconds, default=1.0, help="seconds (default: 1)")
    reading.add_argument("--count", metavar="N", type=_count, default=1, help="how many intervals (default: 1)")
    return parser


def _source(text: str) -> str:
    """Accept the sources of this version."""
    if text in {"msr", "perf", "windows", "powermetrics"}:
        raise argparse.ArgumentTypeError(f"{text} is not in this version; use powercap or auto")
    if text not in {"auto", "powercap"}:
        raise argparse.ArgumentTypeError(f"there is no source {text!r}; use powercap or auto")
    return text


def _seconds(text: str) -> float:
    """Parse an interval in seconds: above 0, up to a year."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text!r} is no time in seconds; give a number above 0, like 0.5")
    return seconds


def _count(text: str) -> int:
    """Parse a number of intervals."""
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 10 and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of intervals; give 1 or more")
    return int(text)


def _answer(arguments: argparse.Namespace, clock: Callable[[], int], sleep: Callable[[float], None]) -> int:
    """Do what the arguments ask for."""
    files = OsFiles(arguments.sysfs)
    trouble = None
    zones: tuple[Zone, ...] = ()
    try:
        zones = discover(files)
        if not zones:
            trouble = f"{files.root}/{CLASS} has no zones: no driver found counters here (usual in a virtual machine)"
    except OSError as error:
        trouble = (
            f"{files.root}/{CLASS} cannot be listed ({errno_name(error)}): this kernel has no powercap, a container "
            "hides it, or --sysfs is not the root of a /sys tree"
        )
    with Sampler(zones, clock=clock) as sampler:
        if arguments.command == "list":
            sample = sampler.sample()
            read, errors = sum(energy is not None for energy in sample.energies_uj), sample.errors
            if arguments.json:
                report.print_json(report.list_document(files.root, sample), sys.stdout)
            elif zones:
                report.print_list(sample, sys.stdout, why=arguments.why)
        else:
            intervals, meter = _measure(sampler, arguments.interval, arguments.count if zones else 0, sleep)
            total = meter.total()
            read, errors = sum(part.energy_nj is not None for part in total), tuple(part.error for part in total)
            if arguments.json:
                report.print_json(report.read_document(files.root, intervals, total), sys.stdout)
            elif zones:
                report.print_read(total, sys.stdout)
    trouble = trouble or report.trouble(files.root, zones, errors)
    if trouble:
        _complain(trouble, NOTHING)
    return READ if read else NOTHING


def _measure(
    sampler: Sampler, interval_s: float, count: int, sleep: Callable[[float], None]
) -> tuple[list[tuple[Delta, ...]], Meter]:
    """Take count + 1 samples, each at its own multiple of the interval after the first."""
    meter = Meter()
    first = latest = sampler.sample()
    meter.add(first)
    intervals = []
    for number in range(1, count + 1):
        late_s = (latest.at_ns - first.at_ns) / 1e9 - interval_s * (number - 1)
        sleep(max(0.0, interval_s - late_s))
        latest = sampler.sample()
        intervals.append(meter.add(latest))
    return intervals, meter


def _complain(message: str, status: int) -> int:
    """Print one line on stderr and return the status."""
    print(f"{PROGRAM}: {message}", file=sys.stderr)
    return status
