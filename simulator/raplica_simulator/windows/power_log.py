# SPDX-License-Identifier: Apache-2.0
"""The log of Intel Power Gadget's PowerLog: a row each 100 ms, a blank line, a summary.

Mirrors the CSV file that ``PowerLog3.0.exe -duration S -resolution MS -file F`` leaves, whose columns a recording in
codecarbon's tests shows and whose summary mozpower's parser quotes.  ``Requsted`` is Intel's spelling.  Power Gadget
reads registers, and so does this: what it adds up are steps of the counters, wrap-corrected, in the unit that the unit
register says.  What a simulated machine does not have reads 0 (utilisation, temperatures, graphics frequency); its
processors run at the frequency that their name says, as its /proc/cpuinfo has it.  How several sockets are laid out is
inferred from the index that the names carry.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from raplica_simulator.hardware.limits import limits_of
from raplica_simulator.hardware.registers import INTEL, counter_units, lookup
from raplica_simulator.hardware.units import exact_units, unit_style
from raplica_simulator.machine import Machine

__all__ = ["PowerLog"]

_UNIT = 0x606
_POWER_LIMIT = 0x610
# What the tool calls a domain, its register and its kind.
_PROCESSOR = ("Processor", 0x611, "package")
_IA = ("IA", 0x639, "core")
_DRAM = ("DRAM", 0x619, "dram")
_GT = ("GT", 0x641, "uncore")
_WRAP = 1 << 32
_NS_PER_S = 1_000_000_000
_J_PER_MWH = Fraction(36, 10)
_FREQUENCY = re.compile(r"@ *([0-9.]+) *GHz", re.IGNORECASE)
_DEFAULT_GHZ = Fraction(2)  # of a processor whose name says none, as its /proc/cpuinfo has it


@dataclass(slots=True)
class _Meter:
    """A domain of one socket: the registers that count it, one for each die, and what they counted so far."""

    name: str
    socket: int
    cpus: tuple[int, ...]
    register: int
    unit_j: Fraction
    steps: int = 0
    steps_at_last_row: int = 0
    seen: dict[int, int] = field(default_factory=dict)

    def look(self, machine: Machine) -> None:
        """Count on.  OSError where a register cannot be read."""
        for cpu in self.cpus:
            now = machine.msr.read(cpu, self.register) % _WRAP
            self.steps += (now - self.seen.get(cpu, now)) % _WRAP
            self.seen[cpu] = now

    @property
    def joules(self) -> Fraction:
        """Everything since the log began."""
        return self.steps * self.unit_j

    def row(self, interval_ns: int) -> tuple[str, str, str]:
        """Watts since the last row, then joules and milliwatt-hours since the log began."""
        # Whole numbers, since most of the time of a long log goes here.
        joule, one = self.unit_j.numerator, self.unit_j.denominator
        since = self.steps - self.steps_at_last_row
        self.steps_at_last_row = self.steps
        return (
            _ratio(since * joule * _NS_PER_S, one * interval_ns),
            _ratio(self.steps * joule, one),
            _ratio(self.steps * joule * _J_PER_MWH.denominator, one * _J_PER_MWH.numerator),
        )


class PowerLog:
    """Logs a machine whose time moves only when this moves it."""

    def __init__(self, machine: Machine, advance: Callable[[int], None]) -> None:
        """``advance`` moves the machine on by so many nanoseconds.

        ValueError, in one line, for a machine that Power Gadget cannot read: it needs an Intel processor with a unit
        register and a counter of the package.
        """
        if machine.profile.cpu.id.vendor != INTEL:
            raise ValueError(f"{machine.profile.id}: Power Gadget reads Intel's registers, name an Intel machine")
        self._machine = machine
        self._advance = advance
        self._topology = machine.profile.topology
        if any(machine.msr.content(self._cpus_of(0)[0], one) is None for one in (_UNIT, _PROCESSOR[1])):
            raise ValueError(
                f"{machine.profile.id}: no package energy register, name a machine that has 0x606 and 0x611"
            )
        self._ghz = self._frequency()
        self._limits_w: dict[tuple[int, int], Fraction] = {}
        self._meters = {
            domain[0]: [meter for socket in range(self._topology.packages) for meter in self._meter(socket, *domain)]
            for domain in (_PROCESSOR, _IA, _DRAM, _GT)
        }

    def lines(self, duration_ns: int, resolution_ns: int) -> Iterator[str]:
        """Log for so long, a row at each step of the resolution; the summary covers the whole duration.

        OSError where a register of the log cannot be read.
        """
        began_ns = self._machine.clock.now_ns
        self._look()
        yield ",".join(self._columns())
        for number in range(1, duration_ns // resolution_ns + 1):
            self._go_to(began_ns + number * resolution_ns)
            yield ",".join(self._row(began_ns, resolution_ns))
        self._go_to(began_ns + duration_ns)
        yield ""
        yield from self._summary(Fraction(duration_ns, _NS_PER_S))

    # The machine.

    def _cpus_of(self, socket: int) -> tuple[int, ...]:
        """The first processor of each die of a socket."""
        return tuple(self._topology.cpus_of_die(die)[0] for die in self._topology.dies_of_package(socket))

    def _meter(self, socket: int, name: str, register: int, kind: str) -> Iterator[_Meter]:
        msr = self._machine.msr
        cpus = tuple(cpu for cpu in self._cpus_of(socket) if msr.content(cpu, register) is not None)
        unit_raw = msr.content(self._cpus_of(socket)[0], _UNIT)
        if cpus and unit_raw is not None:
            yield _Meter(name, socket, cpus, register, counter_units(self._machine.profile.cpu.id, unit_raw)[kind])

    def _frequency(self) -> Fraction:
        found = _FREQUENCY.search(self._machine.profile.cpu.name)
        return Fraction(found[1]) if found else _DEFAULT_GHZ

    def _look(self) -> None:
        for meters in self._meters.values():
            for meter in meters:
                meter.look(self._machine)

    def _go_to(self, moment_ns: int) -> None:
        """Let time pass, looking at the counters each second at least: no wrap may be missed."""
        while (left_ns := moment_ns - self._machine.clock.now_ns) > 0:
            self._advance(min(left_ns, _NS_PER_S))
            self._look()

    def _limit_w(self, socket: int) -> Fraction:
        """The long-term limit of a socket, in watts; 0 where it has none."""
        cpu = self._cpus_of(socket)[0]
        raw = self._machine.msr.content(cpu, _POWER_LIMIT)
        unit_raw = self._machine.msr.content(cpu, _UNIT)
        if raw is None or unit_raw is None:
            return Fraction(0)
        if (raw, unit_raw) not in self._limits_w:
            identity = self._machine.profile.cpu.id
            layout = lookup(_POWER_LIMIT, identity)
            limits = limits_of(layout, raw, exact_units(unit_raw, unit_style(identity))) if layout is not None else ()
            self._limits_w[raw, unit_raw] = Fraction(limits[0].limit_uw if limits else 0, 10**6)
        return self._limits_w[raw, unit_raw]

    # What is printed.

    def _of_socket(self, name: str, socket: int) -> list[_Meter]:
        return [meter for meter in self._meters[name] if meter.socket == socket]

    def _columns(self) -> Iterator[str]:
        yield from ("System Time", "RDTSC", "Elapsed Time (sec)", "CPU Utilization(%)")
        for socket in range(self._topology.packages):
            for kind in ("", " Min", " Max", " Requsted"):
                yield f"CPU{kind} Frequency_{socket}(MHz)"
            for meter in (*self._of_socket("Processor", socket), *self._of_socket("IA", socket)):
                yield from _energy_columns(meter)
            yield from (f"Package Temperature_{socket}(C)", f"Package Hot_{socket}")
            yield from (f"CPU Min Temperature_{socket}(C)", f"CPU Max Temperature_{socket}(C)")
            for meter in self._of_socket("DRAM", socket):
                yield from _energy_columns(meter)
            yield f"Package Power Limit_{socket}(Watt)"
        yield from ("GT Frequency(MHz)", "GT Requsted Frequency(MHz)")

    def _row(self, began_ns: int, interval_ns: int) -> Iterator[str]:
        now_ns = self._machine.clock.now_ns
        # The machine's time of day: it was switched on at midnight.
        ms = now_ns // 1_000_000
        yield f"{ms // 3_600_000 % 24:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}:{ms % 1000:03}"
        yield str(self._time_stamp(now_ns))
        yield _ratio(now_ns - began_ns, _NS_PER_S)
        yield "0.000"
        mhz = str(round(self._ghz * 1000))
        for socket in range(self._topology.packages):
            yield from (mhz,) * 4
            for meter in (*self._of_socket("Processor", socket), *self._of_socket("IA", socket)):
                yield from meter.row(interval_ns)
            yield from ("0",) * 4
            for meter in self._of_socket("DRAM", socket):
                yield from meter.row(interval_ns)
            yield _decimal(self._limit_w(socket))
        yield from ("0", "0")

    def _time_stamp(self, now_ns: int) -> int:
        """What RDTSC reads: the time-stamp counter goes at the processor's nominal frequency."""
        return now_ns * self._ghz.numerator // self._ghz.denominator

    def _summary(self, elapsed_s: Fraction) -> Iterator[str]:
        yield f'"Total Elapsed Time (sec) = {_decimal(elapsed_s, 6)}"'
        yield f'"Measured RDTSC Frequency (GHz) = {_decimal(self._ghz)}"'
        for socket in range(self._topology.packages):
            for meter in (one for name in self._meters for one in self._of_socket(name, socket)):
                yield ""
                yield f'"Cumulative {meter.name} Energy_{socket} (Joules) = {_decimal(meter.joules, 6)}"'
                yield f'"Cumulative {meter.name} Energy_{socket} (mWh) = {_decimal(meter.joules / _J_PER_MWH, 6)}"'
                yield f'"Average {meter.name} Power_{socket} (Watt) = {_decimal(meter.joules / elapsed_s, 6)}"'


def _energy_columns(meter: _Meter) -> tuple[str, str, str]:
    name, socket = meter.name, meter.socket
    return (
        f"{name} Power_{socket}(Watt)",
        f"Cumulative {name} Energy_{socket}(Joules)",
        f"Cumulative {name} Energy_{socket}(mWh)",
    )


def _decimal(value: Fraction, places: int = 3) -> str:
    """A number, 0 or more, with so many places."""
    return _ratio(value.numerator, value.denominator, places)


def _ratio(numerator: int, denominator: int, places: int = 3) -> str:
    """A quotient, 0 or more, rounded to so many places."""
    scale = 10**places
    whole = (2 * numerator * scale + denominator) // (2 * denominator)
    return f"{whole // scale}.{whole % scale:0{places}}"
