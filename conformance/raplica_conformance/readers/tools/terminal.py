# SPDX-License-Identifier: Apache-2.0
"""Meters that draw on a terminal and show watts: `terminal.py s-tui SECONDS` or `terminal.py powerstat SECONDS`.

Each gets a terminal, and what it shows is noted with the moment at which it came. Watts that stand for the time since
the line before, times that time, are the joules; the first line has none before it. Prints microjoules by domain.
"""

import csv
import json
import os
import pty
import re
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

__all__ = ["main"]

_TICK_S = 0.01
_PERIOD_S = 0.5
_ROWS = "rows.csv"
#: A line of powerstat: the time of day, twelve columns, and the watts.
_POWERSTAT = re.compile(r"^\s*\d\d:\d\d:\d\d\s.*\s(\d+\.\d+)\s*$")

#: What Python says first when nobody has caught an exception.
_TRACEBACK = "Traceback (most recent call last):"

#: Seconds by a clock, and the watts by domain that were shown then.
Rows = list[tuple[float, dict[str, float]]]


class _Crashed(Exception):
    """The tool ended by itself, by an exception: its last line."""


def main(name: str, seconds: str) -> int:
    """Let it measure, and print what it said; 1 where it said nothing or crashed, with its last words."""
    os.chdir(os.environ["HOME"])
    watch = {"s-tui": _watch_s_tui, "powerstat": _watch_powerstat}[name]
    try:
        rows, words = watch(float(seconds))
    except _Crashed as error:
        # Said as a program says it that crashes itself.
        sys.stderr.write(f"{_TRACEBACK}\n{error}\n")
        return 1
    joules: dict[str, float] = {}
    for (before_s, _), (at_s, watts) in pairwise(rows):
        for domain, power_w in watts.items():
            joules[domain] = joules.get(domain, 0.0) + power_w * (at_s - before_s)
    if not joules:
        sys.stderr.write(f"{words}\n")
        return 1
    json.dump({domain: round(energy_j * 1e6) for domain, energy_j in joules.items()}, sys.stdout)
    return 0


def _watch_s_tui(seconds: float) -> tuple[Rows, str]:
    """The rows that it writes down: its columns are `Power:package-0,0` and `Power:dram,0`."""
    rows: Rows = []

    def look(_screen: str) -> int:
        lines = Path(_ROWS).read_text(encoding="utf-8").splitlines() if Path(_ROWS).exists() else []
        if len(lines) > len(rows) + 1:
            row = list(csv.DictReader(lines))[-1]
            watts = {_domain_of(key): float(value) for key, value in row.items() if key.startswith("Power:") and value}
            rows.append((time.monotonic(), watts))
        return len(rows)

    command = ["s-tui", "-r", str(_PERIOD_S), "-c", "--csv-file", _ROWS]
    screen = _on_terminal(command, seconds, look, lambda _child, terminal: os.write(terminal, b"q"))
    return rows, _last_line(screen)


def _watch_powerstat(seconds: float) -> tuple[Rows, str]:
    """Its lines: one number of watts, of all packages that it has found."""
    rows: Rows = []

    def look(screen: str) -> int:
        lines = [float(found[1]) for line in screen.splitlines() if (found := _POWERSTAT.match(line))]
        if len(lines) > len(rows):
            rows.append((time.monotonic(), {"total": lines[-1]}))
        return len(rows)

    command = ["powerstat", "-R", "-d", "0", str(_PERIOD_S), "600"]
    screen = _on_terminal(command, seconds, look, lambda child, _terminal: os.kill(child, signal.SIGINT))
    # Its first line has a look before it that shows nothing.
    return [(rows[0][0] - _PERIOD_S, {}), *rows] if rows else [], _last_line(screen)


def _domain_of(column: str) -> str:
    """`Power:package-1,0` is package-1; of what is inside packages only the number of the zone above is shown."""
    name, _, number = column.removeprefix("Power:").partition(",")
    return name if name.startswith("package-") or name == "psys" else f"package-{number}/{name}"


def _on_terminal(
    command: list[str], seconds: float, look: Callable[[str], int], end: Callable[[int, int], object]
) -> str:
    """Run it on a terminal until it has shown lines for so many seconds; what it drew. _Crashed by an exception."""
    child, terminal = pty.fork()
    if not child:
        os.environ["TERM"] = "xterm"
        os.execvp(command[0], command)  # noqa: S606 - the tool that is driven
    screen = ""
    ends_s: float | None = None
    told = False
    for piece in _pieces(terminal):
        screen += piece
        if look(screen) and ends_s is None:
            ends_s = time.monotonic() + seconds
        if ends_s is not None and not told and time.monotonic() > ends_s:
            told = bool(end(child, terminal) or True)
    os.waitpid(child, 0)
    if not told and _TRACEBACK in screen:
        raise _Crashed(_last_line(screen))
    return screen


def _pieces(terminal: int) -> Iterator[str]:
    """What is drawn, and nothing at every tick, until there is no more."""
    while True:
        if not select.select([terminal], [], [], _TICK_S)[0]:
            yield ""
            continue
        try:
            piece = os.read(terminal, 1 << 16)
        except OSError:  # nobody has the terminal open any more
            return
        if not piece:
            return
        yield piece.decode(errors="replace")


def _last_line(screen: str) -> str:
    lines = [line.strip() for line in screen.splitlines() if line.strip()]
    return lines[-1] if lines else "it showed nothing"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
