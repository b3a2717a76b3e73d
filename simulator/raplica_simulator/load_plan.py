# SPDX-License-Identifier: Apache-2.0
"""What ``--load`` says: watts that a machine's domains want, and how they change while it runs.

A plan is read once and may drive several machines.  Nothing ticks: whoever is about to look at a machine first lets
its plan catch up, and what has changed meanwhile is done at the moment at which it changed, to the nanosecond.
"""

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Protocol

from raplica_simulator.host_load import HostLoad
from raplica_simulator.live_clock import LiveClock
from raplica_simulator.load import NAMES, Load, Watts, microwatts, watts_by_name
from raplica_simulator.load_control import merge_load
from raplica_simulator.machine import Machine

__all__ = ["ConstantLoad", "LoadPlan", "Step", "TraceLoad", "read_load"]

_NS_PER_S = 10**9
_TIME_COLUMN = "time_s"
_MOST_STEPS = 1_000_000

CatchUp = Callable[[], None]


class LoadPlan(Protocol):
    """What a machine's domains want over its time."""

    def begin(self, machine: Machine, clock: LiveClock) -> CatchUp:
        """Apply what holds at once, at time 0 of the machine, and return what is called before each look at it.

        ValueError in one line for watts that do not fit the machine; what is returned raises nothing.
        """
        ...


@dataclass(frozen=True, slots=True)
class ConstantLoad:
    """The same watts for ever, by name as :meth:`.LoadControl.set` takes them."""

    watts: dict[str, Watts]

    def begin(self, machine: Machine, clock: LiveClock) -> CatchUp:  # noqa: ARG002 - the plans have one signature
        """Set them."""
        load = merge_load(machine.load.now(), self.watts)
        load.check(machine.profile.topology)
        machine.load.replace(load)
        return lambda: None


@dataclass(frozen=True, slots=True)
class Step:
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

    def begin(self, machine: Machine, clock: LiveClock) -> CatchUp:
        """Work out every step beforehand, so that none can fail later; then wait for the first."""
        return _TraceDriver(machine, clock, list(self._loads(machine))).catch_up

    def _loads(self, machine: Machine) -> Iterator[tuple[int, Load]]:
        """Each step's moment and all that a package wants from then on."""
        load = machine.load.now()
        # Traces repeat themselves: most steps were worked out before.
        known: dict[tuple[Load, tuple[tuple[str, Watts], ...]], Load] = {}
        for step in self.steps:
            key = (load, tuple(step.watts.items()))
            try:
                if key not in known:
                    known[key] = merge_load(load, step.watts)
                    known[key].check(machine.profile.topology)
            except ValueError as error:
                raise ValueError(f"{self.name}:{step.line}: {error}") from None
            load = known[key]
            yield step.at_ns, load


class _TraceDriver:
    """Where one machine stands in a trace."""

    def __init__(self, machine: Machine, clock: LiveClock, loads: list[tuple[int, Load]]) -> None:
        self._machine = machine
        self._clock = clock
        self._loads = loads
        self._done = 0

    def catch_up(self) -> None:
        """Make the steps whose moment has come, each at its moment."""
        while self._done < len(self._loads):
            at_ns, load = self._loads[self._done]
            if at_ns > self._clock.now_ns:
                return
            with self._clock.held_at(at_ns):
                self._machine.load.replace(load)
            self._done += 1


def read_load(text: str) -> LoadPlan:
    """Read SPEC: ``package=100,dram=8`` (watts, in every package), a file ``….csv``, or ``host``.

    Raises ValueError in one line for anything else, OSError where the file cannot be read.
    """
    if text == "host":
        return HostLoad()
    if text.endswith(".csv"):
        return read_trace(text)
    if "=" not in text:
        raise ValueError(f"load: {text!r} is none of package=100,dram=8 (watts), a file that ends in .csv, or host")
    watts = watts_by_name(text)
    for name, given in watts.items():
        microwatts(given, name)
    return ConstantLoad(watts)


def read_trace(path: str) -> TraceLoad:
    """Read a CSV trace.

    The first line names the columns: ``time_s``, seconds since power-on, then any of package, core, uncore, dram and
    psys, watts from that moment on in every package.  Times ascend.  An empty cell leaves a domain as it is; empty
    lines and lines that begin with # say nothing.  Raises ValueError in one line with the file and the line.
    """
    with Path(path).open(newline="", encoding="utf-8-sig") as file:
        try:
            return TraceLoad(path, tuple(_steps(path, csv.reader(file, strict=True))))
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: this is no CSV: {error}") from None


class _Rows(Protocol):
    """What csv.reader gives."""

    line_num: int

    def __iter__(self) -> Iterator[list[str]]: ...


def _steps(path: str, rows: _Rows) -> Iterator[Step]:
    columns: list[str] = []
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
        at_ns = _moment_ns(where, row[0])
        if at_ns <= before_ns:
            raise ValueError(f"{where}: {row[0]} s is not after the line before: put the rows in order of time")
        before_ns = at_ns
        count += 1
        if count > _MOST_STEPS:
            raise ValueError(f"{where}: more than {_MOST_STEPS} steps: take fewer")
        watts: dict[str, Watts] = {name: cell for name, cell in zip(columns[1:], row[1:], strict=True) if cell}
        for name, given in watts.items():
            try:
                microwatts(given, name)
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from None
        yield Step(rows.line_num, at_ns, watts)
    if not count:
        raise ValueError(f"{path}: no step in it: write a first line such as time_s,package,dram and rows below it")


def _header(where: str, row: list[str]) -> list[str]:
    if row[0] != _TIME_COLUMN or len(row) < 2:
        raise ValueError(f"{where}: the first line is to name the columns: {_TIME_COLUMN}, then {', '.join(NAMES)}")
    for name in row[1:]:
        if name not in NAMES:
            raise ValueError(f"{where}: unknown column {name!r}: the columns are {_TIME_COLUMN}, {', '.join(NAMES)}")
        if row.count(name) > 1:
            raise ValueError(f"{where}: {name} is there twice")
    return row


def _moment_ns(where: str, text: str) -> int:
    """Seconds as nanoseconds, exactly."""
    try:
        seconds = Decimal(text)
    except InvalidOperation:
        seconds = Decimal("nan")
    if not seconds.is_finite() or seconds < 0 or seconds.adjusted() > 12:
        raise ValueError(f"{where}: {text!r} is no number of seconds, such as 0 or 12.5")
    moment_ns = seconds * _NS_PER_S
    if moment_ns != int(moment_ns):
        raise ValueError(f"{where}: {text} s is finer than a nanosecond")
    return int(moment_ns)
