# SPDX-License-Identifier: Apache-2.0
"""The command line of `raplica-reader`: what can be asked for, and one line about what cannot."""

import argparse
from typing import Never

from raplica_reader.processor import Processor
from raplica_reader.source import SOURCES

__all__ = ["PROGRAM", "USAGE", "parser"]

PROGRAM = "raplica-reader"
USAGE = 2
LONGEST_S = 366 * 24 * 3600
MOST_W = 10**9

ABOUT = """\
Read the energy counters of this machine and tell joules and watts.

Exit status: 0 at least one counter was read, 2 wrong usage, 3 nothing could be read, 130 interrupted."""

EXAMPLES = """\
examples:
  raplica-reader list --why                 which counters there are, and which add up to the machine
  sudo raplica-reader read                  joules and watts of one second
  sudo raplica-reader watch                 watts as they happen, until Ctrl-C
  raplica-reader read --sysfs ./tree --json the same from another /sys tree, for a program
"""

ABOUT_LIST = """\
List every zone with its counter as it stands. Zones overlap: the column "total" tells which of them add up to what
the machine spends, and --why gives the reasons, why this source was taken, and whether energy filtering is on."""

EXAMPLES_LIST = """\
examples:
  raplica-reader list
  raplica-reader list --why
  raplica-reader list --json --sysfs /host/sys
  sudo raplica-reader list --source msr
  raplica-reader list --why --windows ./windows.sock

In JSON, energy_uj is the counter as its file shows it, and power_w is null.
"""

ABOUT_READ = """\
Take N intervals of S seconds (so N+1 samples) and print what each zone spent in all of them together: joules, and
mean watts over the time that was measured. Wraps of the counters are corrected. Where a counter may have wrapped more
than once in an interval, which takes minutes at full power, its energy is unknown; where it was set back it is a
reset."""

EXAMPLES_READ = """\
examples:
  sudo raplica-reader read
  sudo raplica-reader read --interval 0.5 --count 20
  sudo raplica-reader read --count 60 --json
  sudo raplica-reader read --prometheus

In JSON, energy_uj is the energy of the whole reading in microjoules, and intervals has each interval by itself.
"""

ABOUT_WATCH = """\
Show the watts of every zone as they happen, with those of the last intervals beside: drawn over itself in a terminal,
a line for each interval elsewhere, until Ctrl-C or for N intervals. NO_COLOR takes the colours away."""

EXAMPLES_WATCH = """\
examples:
  sudo raplica-reader watch
  sudo raplica-reader watch --interval 5 | tee watts.log
  sudo raplica-reader watch --json | jq .total.power_w
  sudo raplica-reader watch --prometheus --output /var/lib/node_exporter/raplica.prom

In JSON, each line is one document about one interval. With --prometheus the file is replaced at each interval.
"""

ABOUT_STEPPED = """\
Take samples when another program says so: a JSON command on each line of stdin, a JSON answer on each line of stdout.
Commands are {"do": "start"}, {"do": "sample"} and {"do": "stop"}; energies are since the start."""

EXAMPLES_STEPPED = """\
examples:
  raplica-reader stepped --sysfs ./tree
  printf '{"do": "start"}\\n{"do": "sample"}\\n' | sudo raplica-reader stepped
"""


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> Never:
        """Say what is wrong and where the right usage stands; exit with 2."""
        self.exit(USAGE, f"{PROGRAM}: {message} (see `{self.prog} --help`)\n")


def parser(version: str) -> argparse.ArgumentParser:
    """Build the parser of the whole command line."""
    common = _Parser(add_help=False)
    common.add_argument(
        "--source", type=_source, default="auto", help=f"where to read: auto, {', '.join(SOURCES)} (default: auto)"
    )
    common.add_argument("--sysfs", metavar="DIR", type=_directory, help="root of the sysfs tree (default: /sys)")
    common.add_argument("--dev", metavar="DIR", type=_directory, help="what holds cpu/N/msr (default: /dev)")
    common.add_argument(
        "--windows",
        metavar="SOCKET",
        type=_socket,
        help="who answers the calls of Windows (`serve-windows`)",
    )
    common.add_argument(
        "--cpu", metavar="FAMILY:MODEL", type=_processor, help="the processor, where the machine does not name it"
    )
    power = _Parser(add_help=False)
    power.add_argument(
        "--max-power",
        metavar="W",
        type=_watts,
        help="watts that no domain can exceed; tells wraps from resets (default: by domain and limits)",
    )
    documents = _Parser(add_help=False)
    documents.add_argument("--json", action="store_true", help="print JSON")
    series = _Parser(add_help=False)
    series.add_argument("--prometheus", action="store_true", help="print metrics in Prometheus's text format")
    series.add_argument("--interval", metavar="S", type=_seconds, default=1.0, help="seconds (default: 1)")

    top = _Parser(
        prog=PROGRAM,
        description=ABOUT,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"{PROGRAM} {version}")
    commands = top.add_subparsers(dest="command", metavar="list|read|watch|stepped", required=True)

    def command(name: str, title: str, about: str, examples: str, *parents: _Parser) -> _Parser:
        return commands.add_parser(
            name,
            parents=[common, *parents],
            help=title,
            description=about,
            epilog=examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    listing = command("list", "list the counters and what they show", ABOUT_LIST, EXAMPLES_LIST, documents)
    listing.add_argument("--why", action="store_true", help="say why a zone is counted in the total or not")
    reading = command("read", "measure joules and watts", ABOUT_READ, EXAMPLES_READ, documents, series, power)
    reading.add_argument("--count", metavar="N", type=_count, default=1, help="how many intervals (default: 1)")
    watching = command("watch", "show watts as they happen", ABOUT_WATCH, EXAMPLES_WATCH, documents, series, power)
    watching.add_argument("--count", metavar="N", type=_count, help="how many intervals (default: until Ctrl-C)")
    watching.add_argument("--output", metavar="FILE", help="with --prometheus: the file to replace at each interval")
    command("stepped", "take samples when told to", ABOUT_STEPPED, EXAMPLES_STEPPED, power)
    return top


def _source(text: str) -> str:
    """Accept the sources of this version."""
    if text not in {"auto", *SOURCES}:
        raise argparse.ArgumentTypeError(f"there is no source {text!r}; use auto, {', '.join(SOURCES)}")
    return text


def _directory(text: str) -> str:
    """Accept every name but none, which would stand for the current directory."""
    if not text:
        raise argparse.ArgumentTypeError("'' is no directory; give one, or leave the option out")
    return text


def _socket(text: str) -> str:
    """Accept every name but none."""
    if not text:
        raise argparse.ArgumentTypeError("'' is no socket; give the one of `serve-windows`, or leave the option out")
    return text


def _processor(text: str) -> Processor:
    """Parse FAMILY:MODEL."""
    try:
        return Processor.parse(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no processor; give FAMILY:MODEL, like 6:85 or 0x19:0x61"
        ) from None


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


def _watts(text: str) -> int:
    """Parse a number of watts."""
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 0 < int(text) <= MOST_W):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of watts; give a whole one, 1 or more")
    return int(text)
