# SPDX-License-Identifier: Apache-2.0
"""`conformance record`: a running machine as one file, for a bug report and for every command that takes a MACHINE."""

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import click

__all__ = ["record"]

_ABOUT = """
\b
Examples: sudo conformance record -o machine.json
          sudo conformance record -o machine.json --load-seconds 5
          conformance record --sysfs mnt/sys --dev mnt/dev --kernel 6.12 -o machine.json

\b
What comes out is a MACHINE: raplica show machine.json, raplica exec machine.json -- CMD,
conformance run --recording machine.json

\b
Exit status: 0 recorded, 2 wrong usage, 3 nothing to record or it could not be written.
"""
#: What is over sooner is not worth a bar that flashes up.
_UNSEEN_S = 0.5


@click.command(epilog=_ABOUT)
@click.option(
    "-o", "--output", "out", metavar="FILE", default="-", help="A .json, .json.gz or .json.xz file; stdout otherwise."
)
@click.option("--sysfs", metavar="DIR", help="Another root of sysfs than /sys: a mount, a copy.")
@click.option("--dev", metavar="DIR", help="Where cpu/N/msr lies (/dev; beside --sysfs where that is given).")
@click.option("--proc", metavar="DIR", help="Where cpuinfo lies (/proc; beside --sysfs where that is given).")
@click.option("--kernel", metavar="V", help="The kernel that the tree is of, like 6.12, if it is not the running one.")
@click.option(
    "--load-seconds",
    type=click.FloatRange(min=0, max=3600),
    default=0.0,
    metavar="N",
    help="Watch the counters so long, and record how often and by what they change.",
)
@click.option("--no-redact", "named", is_flag=True, help="Keep host name, user, machine id and serial numbers.")
@click.option("--quiet", is_flag=True, help="Say nothing but errors.")
def record(**options: Any) -> None:
    """Record this machine: powercap trees, RAPL registers, processors, kernel, who could read. Only ever reads.

    Names of the machine and of people are left out unless --no-redact is given.
    """
    click.get_current_context().exit(_record(**options))


def _record(
    *, out: str, kernel: str | None, load_seconds: float, named: bool, quiet: bool, **places: str | None
) -> int:
    from raplica_conformance.record import Wishes, WrongRequestError, record_to

    wishes = Wishes(kernel=kernel, load_seconds=load_seconds, redact=not named)
    try:
        return record_to(out, wishes, **places, quiet=quiet, bar=_bar)
    except WrongRequestError as error:
        raise click.UsageError(str(error)) from error


@contextmanager
def _bar(what: str) -> Generator[Callable[[float], None], None, None]:
    """A bar on a terminal, on stderr, for what takes its time; elsewhere nothing, and rich is not loaded."""
    if not sys.stderr.isatty():
        yield lambda _part: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    shown = Progress(*columns, console=Console(stderr=True), transient=True)
    task = shown.add_task(what, total=1.0)
    begun_s = time.monotonic()

    def move(part: float) -> None:
        if not shown.live.is_started and time.monotonic() - begun_s >= _UNSEEN_S:
            shown.start()
        shown.update(task, completed=part)

    try:
        yield move
    finally:
        shown.stop()
