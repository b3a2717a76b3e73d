# SPDX-License-Identifier: Apache-2.0
"""The list of machines on a terminal: a table that fits its width; :mod:`.text` has the plain one for a pipe.

Colours come from rich, which leaves them out where NO_COLOR (no-color.org) is set or the terminal has none.
"""

from collections.abc import Sequence
from typing import IO, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from raplica_simulator.describe.text import LEGEND, MACS, domains

__all__ = ["show_machines"]

_WIDE = 130  # characters; from here on everything fits beside the titles
_COLUMNS = ("machine", "cpu", "cpus", "domains", "kernels", "title")
_GAP = 3  # between two columns
_SHORTEST = 10
_LEFT_OUT = frozenset({"cpu", "cpus", "kernels"})


def show_machines(summaries: Sequence[dict[str, Any]], stream: IO[str] | None = None) -> None:
    """Draw the machines to ``stream`` (default stdout), a line each; where it is narrow without CPUs and kernels."""
    console = Console(file=stream, highlight=False)
    is_wide = console.width >= _WIDE
    shown = [number for number, name in enumerate(_COLUMNS) if is_wide or name not in _LEFT_OUT]
    rows = [tuple(_row(machine)[number] for number in shown) for machine in summaries]
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    widths = [max(row[place].cell_len for row in rows) for place in range(len(shown))]
    for number, width in zip(shown, widths, strict=True):
        name = _COLUMNS[number]
        # Left to rich, all columns would be cut where it is narrow; here the titles are, and ids never.
        least = width if name == "machine" else None
        table.add_column(name, no_wrap=True, min_width=least, justify="right" if name == "cpus" else "left")
    taken = sum(width + _GAP for width in widths[:-1])
    for *cells, title in rows:
        title.truncate(max(console.width - taken, _SHORTEST), overflow="ellipsis")
        table.add_row(*cells, title)
    console.print(table)
    if is_wide:
        below = f"kernels: those that drive such a machine (--kernel); bold: recorded on a machine like it\n{LEGEND}"
    else:
        below = "raplica show MACHINE tells everything of one"
    console.print(f"\n{below}\n{MACS}", markup=False)


def _row(machine: dict[str, Any]) -> tuple[Text, ...]:
    """The cells of a machine, one for each column; text and no markup, since a title may have brackets."""
    cpu = machine["cpu"]
    return (
        Text(machine["id"], style="cyan"),
        Text(f"{cpu['family']}:{cpu['model']}"),
        Text(str(machine["topology"]["cpus"])),
        Text(domains(machine)),
        _kernels(machine),
        Text(machine["title"]),
    )


def _kernels(machine: dict[str, Any]) -> Text:
    """The versions in one cell: bold where one was recorded on such a machine, starred where nobody saw one run."""
    shown = Text()
    for kernel in machine["kernels"]:
        is_recorded = kernel["version"] in machine["witnessed"]
        star = "" if kernel["witnessed"] else "*"
        shown.append(" " if shown else "")
        shown.append(kernel["version"] + star, style="bold green" if is_recorded else "dim")
    return shown
