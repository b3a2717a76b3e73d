# SPDX-License-Identifier: Apache-2.0
"""The command line of powermetrics, as far as programs that measure energy use it.

Names and defaults are those of powermetrics(1).  What shows or sorts tasks is understood and shows nothing here, so
do samplers that the simulated machine has nothing for.  One that there is not is refused in the tool's own words, as
those saw it who asked macOS 13 for a sampler of macOS 12 (tlkh/asitop issue 43); its words for other mistakes, and its
exit status, are not known.
"""

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Never

__all__ = ["Options", "read_options"]

_DEFAULT_MS = 5000
_USAGE = 64  # EX_USAGE of sysexits(3)
#: Those that are there, and all the others of powermetrics(1).
_SAMPLERS = ("cpu_power", "gpu_power", "thermal")
_GROUPS = {"all": _SAMPLERS, "default": ("cpu_power", "gpu_power")}
_OTHER_SAMPLERS = (
    "tasks",
    "battery",
    "network",
    "disk",
    "interrupts",
    "sfi",
    "ane_power",
    "nvme_ssd",
    "io_throttle_ssd",
    "smc",
)
_UNTIL_MACOS_12 = ("bandwidth",)
_FIRST_WITHOUT = 13
_PLAIN = (
    *("show-initial-usage", "show-usage-summary", "show-extra-power-info", "show-pstates", "show-plimits"),
    *("show-cpu-qos", "show-cpu-scalability", "show-responsible-pid", "hide-cpu-duty-cycle", "hide-platform-power"),
    "handle-invalid-values",
)
_SHOW_PROCESS = ("coalition", "io", "gpu", "netstats", "qos", "energy", "samp-norm", "amp", "wait-times", "ipc")


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked for.

    Attributes:
        samplers: what is to be shown.
        interval_ms: between two samples; 0 for samples that are asked for by a signal.
        count: of samples; None for no end.
        plist: whether they are property lists.
        output: the file that they go to; None for standard output.
    """

    samplers: frozenset[str]
    interval_ms: int
    count: int | None
    plist: bool
    output: str | None


class _Parser(argparse.ArgumentParser):
    """One line about what is wrong."""

    def error(self, message: str) -> Never:
        """Say it and end."""
        self.exit(_USAGE, f"{self.prog}: {re.sub(r'^argument [^ ]+: ', '', message)}\n")


def read_options(words: Sequence[str], release: int = _FIRST_WITHOUT) -> Options:
    """Those of a macOS of that major version.

    Raises SystemExit for ``--help``, and with 64 for words that are no options of the tool.
    """
    parser = _Parser(prog="powermetrics", description="Show what a simulated machine spends, as macOS does.")
    parser.add_argument("-s", "--samplers", action="append", default=[], metavar="A,B", type=_names)
    parser.add_argument("-i", "--sample-rate", type=_whole, default=_DEFAULT_MS, metavar="MS", help="0: on SIGINFO")
    parser.add_argument("-n", "--sample-count", type=_whole, default=0, metavar="N", help="0 and less: no end")
    # Whatever it is, what is no plist is text: codecarbon asks for csv, and reads the text that comes.
    parser.add_argument("-f", "--format", default="text", metavar="text|plist")
    parser.add_argument("-o", "--output-file", metavar="FILE")
    parser.add_argument("-b", "--buffer-size", type=_whole, help="understood; each sample is written at once")
    parser.add_argument("-a", "--poweravg", type=_whole, help="understood; what it would print is not known")
    parser.add_argument("-r", "--order", help=argparse.SUPPRESS)
    parser.add_argument("-t", "--wakeup-cost", type=_whole, help=argparse.SUPPRESS)
    parser.add_argument("-A", "--show-all", action="store_true", help=argparse.SUPPRESS)
    for name in (*_PLAIN, *(f"show-process-{what}" for what in _SHOW_PROCESS)):
        parser.add_argument(f"--{name}", action="store_true", help=argparse.SUPPRESS)
    found = parser.parse_args(list(words))
    names = [name for names in found.samplers for name in names]
    known = {*_SAMPLERS, *_OTHER_SAMPLERS, *_GROUPS, *(_UNTIL_MACOS_12 if release < _FIRST_WITHOUT else ())}
    for name in names:
        if name not in known:
            parser.error(f"unrecognized sampler: {name}")
    samplers = {part for name in names or ["default"] for part in _GROUPS.get(name, (name,))}
    if found.sample_rate < 0:
        parser.error(f"-i {found.sample_rate}: give milliseconds, 0 or more")
    return Options(
        samplers=frozenset(samplers),
        interval_ms=found.sample_rate,
        count=found.sample_count if found.sample_count > 0 else None,
        plist=found.format == "plist",
        output=found.output_file,
    )


def _names(text: str) -> list[str]:
    """Some names."""
    return [name.strip() for name in text.split(",")]


def _whole(text: str) -> int:
    """A whole number."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
