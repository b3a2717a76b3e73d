# SPDX-License-Identifier: Apache-2.0
"""Draw what a machine draws, as it happens: a line for each zone with the watts of its last intervals.

In a terminal the picture is drawn over itself; anywhere else each interval is one plain line, which a program or a log
can take. NO_COLOR (no-color.org) takes away colour and weight, TERM=dumb the drawing over.
"""

import os
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TextIO

from raplica_reader.meter import Delta
from raplica_reader.overlap import shares, total
from raplica_reader.step import word
from raplica_reader.table import joules, seconds, watts

__all__ = ["Picture", "plain_line", "sparkline", "terminal"]

BLOCKS, ASCII = "▁▂▃▄▅▆▇█", "_.-~=+*#"
UNKNOWN = "?"
HISTORY = 60
LEAST_HISTORY = 8
BOLD, FAINT, RED, PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[0m"
HEIGHT, WIDTH = 24, 80


def terminal(stream: TextIO, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether `stream` can be drawn on."""
    return stream.isatty() and environment.get("TERM", "dumb") != "dumb"


def sparkline(series: Sequence[float | None], levels: str = BLOCKS) -> str:
    """A character for each value, from 0 to the largest; "?" where a value is unknown."""
    largest = max((value for value in series if value is not None), default=0.0)
    top = len(levels) - 1
    return "".join(
        UNKNOWN if value is None else levels[round(value / largest * top) if largest > 0 else 0] for value in series
    )


def plain_line(since_ns: int, spent: Sequence[Delta]) -> str:
    """One interval on one line: the time since the start, then zones with their watts."""
    parts = [f"{seconds(since_ns):.3f} s"]
    parts += [f"{part.zone.path} {_watts(part)}" for part in spent if part.zone.has_energy]
    summed = total(spent)
    parts.append(f"total {word(summed.error) if summed.error else watts(summed.power_w) + ' W'}")
    return "  ".join(parts)


class Picture:
    """The picture on a terminal. `title` stands above it."""

    def __init__(self, stream: TextIO, title: str, environment: Mapping[str, str] = os.environ) -> None:
        self._stream = stream
        self._title = title
        self._has_color = not environment.get("NO_COLOR")
        self._levels = BLOCKS if "utf" in (stream.encoding or "").lower() else ASCII
        self._history: dict[str, deque[float | None]] = {}
        self._spent_uj: dict[str, int] = {}
        self._drawn = 0

    def draw(self, since_ns: int, spent: Sequence[Delta]) -> None:
        """Draw one more interval over the picture that is there."""
        for part in spent:
            self._history.setdefault(part.zone.path, deque(maxlen=HISTORY)).append(part.power_w)
            self._spent_uj[part.zone.path] = self._spent_uj.get(part.zone.path, 0) + (part.energy_uj or 0)
        width, height = self._size()
        lines = self.lines(since_ns, spent, width)
        if len(lines) > height - 1:
            hidden = len(lines) - height + 2
            lines = [*lines[: height - 2], f"... {hidden} more lines: the terminal is too low"]
        back = f"\x1b[{self._drawn}F" if self._drawn else ""
        self._stream.write(f"{back}\x1b[J" + "".join(f"{line}\n" for line in lines))
        self._stream.flush()
        self._drawn = len(lines)

    def lines(self, since_ns: int, spent: Sequence[Delta], width: int) -> list[str]:
        """The picture as lines of at most `width` characters, without what makes them coloured."""
        shown = [part for part in spent if part.zone.has_energy]
        counted = {
            part.zone.path: share.counted
            for part, share in zip(spent, shares([one.zone for one in spent]), strict=True)
        }
        name_width = max([len(part.zone.path) for part in shown] + [len("total")])
        columns = f"{'path':<{name_width}}  {'watts':>10}  {'joules':>16}"
        room = max(width - len(columns) - 2, LEAST_HISTORY)
        lines = [
            self._styled(f"{self._title}  {seconds(since_ns):.1f} s"[:width], BOLD),
            self._styled(f"{columns}  last {min(room, HISTORY)} intervals"[:width], FAINT),
        ]
        for part in shown:
            path = part.zone.path
            series = list(self._history.get(path, ()))[-room:]
            text = (
                f"{path:<{name_width}}  {_watts(part).removesuffix(' W'):>10}  {joules(self._spent_uj.get(path)):>16}"
            )
            line = f"{text}  {sparkline(series, self._levels)}"[:width]
            lines.append(self._styled(line, RED if part.error else "" if counted[path] else FAINT))
        summed = total(spent)
        line = f"{'total':<{name_width}}  {word(summed.error) if summed.error else watts(summed.power_w):>10}"
        lines.append(self._styled(line[:width], BOLD))
        return lines

    def _styled(self, line: str, style: str) -> str:
        return f"{style}{line}{PLAIN}" if style and self._has_color else line

    def _size(self) -> tuple[int, int]:
        try:
            size = os.get_terminal_size(self._stream.fileno())
        except (OSError, ValueError):
            return WIDTH, HEIGHT
        return size.columns or WIDTH, size.lines or HEIGHT


def _watts(spent: Delta) -> str:
    """Watts, or why there are none."""
    if spent.error is None:
        return f"{watts(spent.power_w)} W"
    return word(spent.error)
