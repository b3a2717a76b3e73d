# SPDX-License-Identifier: Apache-2.0
"""A load out of a file: watts that change as a CSV trace says, such as one that was recorded on a real machine."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple, Protocol

from raplica_simulator.hardware.load_walk import LoadWalk
from raplica_simulator.hardware.topology import Topology
from raplica_simulator.live.clock import LiveClock
from raplica_simulator.load.control import merge_load
from raplica_simulator.load.demand import NAMES, Load, Watts, microwatts
from raplica_simulator.load.shapes import seconds_ns
from raplica_simulator.load.steps import LoadSteps
from raplica_simulator.machine import Machine

__all__ = ["Step", "TraceLoad", "read_trace"]

_TIME_COLUMN = "time_s"
_MOST_STEPS = 1_000_000
_LONGEST_LINE = 4096  # letters; what comes behind them counts as the next line


class Step(NamedTuple):
    """One row of a trace: its line in the file, its moment in ns since power-on, and the watts from then on."""

    line: int
    at_ns: int
    watts: dict[str, Watts]


@dataclass(frozen=True, slots=True)
class TraceLoad:
    """Watts that change in steps; before the first step a machine draws what its profile says, after the last no more.

    Attributes:
        name: the file, for messages.
    """

    name: str
    steps: tuple[Step, ...]

    def begin(self, machine: Machine, clock: LiveClock) -> LoadWalk:  # noqa: ARG002 - the plans have one signature
        """Work out every step beforehand, so that none can fail later; then wait for the first."""
        loads = self._loads(machine.load.now(), machine.profile.topology)
        return machine.load.walk(LoadSteps((step.at_ns for step in self.steps), loads))

    def _loads(self, load: Load, topology: Topology) -> Iterator[Load]:
        """All that a package wants from each step on."""
        # Traces repeat themselves: most steps were worked out before. Loads and rows live as long as this runs, and
        # of equal ones there is one, so that they can be told apart by where they are.
        merged: dict[tuple[int, int], Load] = {}
        distinct: dict[Load, Load] = {}
        for step in self.steps:
            key = (id(load), id(step.watts))
            if key not in merged:
                try:
                    found = merge_load(load, step.watts)
                    found.check(topology)
                except ValueError as error:
                    raise ValueError(f"{self.name}:{step.line}: {error}") from None
                merged[key] = distinct.setdefault(found, found)
            load = merged[key]
            yield load


def read_trace(path: str) -> TraceLoad:
    """Read a CSV trace.

    The first line names the columns: ``time_s``, seconds since power-on, then any of package, core, uncore, dram and
    psys, watts from that moment on in every package.  Times ascend.  An empty cell leaves a domain as it is; empty
    lines and lines that begin with # say nothing.  Raises ValueError in one line with the file and the line.
    """
    with Path(path).open(newline="", encoding="utf-8-sig") as file:
        try:
            lines = iter(lambda: file.readline(_LONGEST_LINE), "")
            return TraceLoad(path, tuple(_steps(path, csv.reader(lines, strict=True))))
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: this is no CSV: {error}") from None


class _Rows(Protocol):
    """What csv.reader gives."""

    line_num: int

    def __iter__(self) -> Iterator[list[str]]: ...


def _steps(path: str, rows: _Rows) -> Iterator[Step]:
    columns: list[str] = []
    # The watts of each row, once: of a million rows most are like another.
    known: dict[tuple[str, ...], dict[str, Watts]] = {}
    before_ns = -1
    count = 0
    for cells in rows:
        row = [cell.strip() for cell in cells]
        if not any(row) or row[0].startswith("#"):
            continue
        where = f"{path}:{rows.line_num}"
        if not columns:
            columns = _header(where, row)
            continue
        if len(row) != len(columns):
            raise ValueError(f"{where}: {len(row)} cells, and the first line names {len(columns)} columns")
        try:
            at_ns = seconds_ns(row[0])
            wanted = tuple(row[1:])
            if wanted not in known:
                known[wanted] = _watts(columns, wanted)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        if at_ns <= before_ns:
            raise ValueError(f"{where}: {row[0]} s is not after the line before: put the rows in order of time")
        before_ns = at_ns
        count += 1
        if count > _MOST_STEPS:
            raise ValueError(f"{where}: more than {_MOST_STEPS} steps: take fewer")
        yield Step(rows.line_num, at_ns, known[wanted])
    if not count:
        raise ValueError(f"{path}: no step in it: write a first line such as time_s,package,dram and rows below it")


def _watts(columns: list[str], cells: tuple[str, ...]) -> dict[str, Watts]:
    """What a row gives, as exact watts."""
    watts: dict[str, Watts] = {}
    for name, cell in zip(columns[1:], cells, strict=True):
        if cell:
            watts[name] = Decimal(microwatts(cell, name)).scaleb(-6)
    return watts


def _header(where: str, row: list[str]) -> list[str]:
    if row[0] != _TIME_COLUMN or len(row) < 2:
        raise ValueError(f"{where}: the first line is to name the columns: {_TIME_COLUMN}, then {', '.join(NAMES)}")
    for name in row[1:]:
        if name not in NAMES:
            raise ValueError(f"{where}: unknown column {name!r}: the columns are {_TIME_COLUMN}, {', '.join(NAMES)}")
        if row.count(name) > 1:
            raise ValueError(f"{where}: {name} is there twice")
    return row
