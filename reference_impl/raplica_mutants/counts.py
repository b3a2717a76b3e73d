# SPDX-License-Identifier: Apache-2.0
"""Readers that take a count, or the time between two counts, for something that it is not."""

from dataclasses import replace

from raplica_mutants.books import Books, Interval, Line
from raplica_mutants.gauge import Between, behind
from raplica_mutants.right import Right
from raplica_reader.files import parse_number
from raplica_reader.meter import Delta, Meter
from raplica_reader.powercap import CLASS
from raplica_reader.step import Step
from raplica_reader.zone import Zone

__all__ = [
    "CountOf32Bits",
    "DividesByZero",
    "FirstPowerForAll",
    "FirstSampleCounts",
    "LimitOf32Bits",
    "UnchangedIsAbsolute",
    "WholeSeconds",
]

SECOND_NS = 1_000_000_000


class CountOf32Bits(Right):
    """Parses `energy_uj` into 32 bits: the counter seems to begin again every 4295 J."""

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """Zones whose counts are cut."""

        class Cut(Between):
            def count(self, count: int) -> int:
                return count & 0xFFFFFFFF

        return behind(Cut, zones)


class FirstSampleCounts(Right):
    """Shows the whole counter at the first sample, as if it had begun at 0 then."""

    def meter(self) -> Meter:
        """Books in which the baseline is an interval."""

        class FromZero(Books):
            def told(self, line: Line, duration_ns: int) -> Delta:
                right = super().told(line, duration_ns)
                if self.samples > 1 or line.last is None or right.energy_nj is None:
                    return right
                counter = line.zone.counter
                return replace(right, energy_nj=counter.energy_nj(counter.position(line.last) or 0))

        return FromZero()


class UnchangedIsAbsolute(Right):
    """Knows a counter that rose and one that fell; of one that stands still it books the counter itself."""

    def meter(self) -> Meter:
        """Books with two branches out of three."""

        def absolute(interval: Interval, right: Step) -> Step:
            return Step(interval.zone.counter.position(interval.after), None) if right.parts == 0 else right

        return Books(absolute)


class DividesByZero(Right):
    """Divides the time by the energy of an interval, and a counter that stood still ends the program."""

    def meter(self) -> Meter:
        """Books that divide."""

        def divided(_: Interval, right: Step) -> Step:
            if right.parts == 0:
                raise ZeroDivisionError("integer division or modulo by zero")
            return right

        return Books(divided)


class WholeSeconds(Right):
    """Divides by the whole seconds of the interval that was asked for, and not by the time that was measured."""

    def meter(self) -> Meter:
        """Books of intervals of 1 s, 2 s and so on."""

        def nominal(interval: Interval, right: Step) -> Step:
            measured_ns = interval.duration_ns
            if right.parts is None or measured_ns == 0:
                return right
            nominal_ns = max(1, (measured_ns + SECOND_NS // 2) // SECOND_NS) * SECOND_NS
            return Step(right.parts * nominal_ns // measured_ns, None)

        return Books(nominal)


class FirstPowerForAll(Right):
    """Measures the watts of the first interval and stretches them over all the time."""

    def meter(self) -> Meter:
        """Books of one measurement."""
        measured: dict[str, tuple[int, int]] = {}

        def stretched(interval: Interval, right: Step) -> Step:
            if right.parts is None or interval.duration_ns == 0:
                return right
            parts, during_ns = measured.setdefault(interval.zone.path, (right.parts, interval.duration_ns))
            return Step(parts * interval.duration_ns // during_ns, None)

        return Books(stretched)


class LimitOf32Bits(Right):
    """Parses power limits into 32 bits with a sign, and leaves out a zone whose limit does not fit."""

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """Those of small limits."""
        return tuple(zone for zone in zones if self._first_limit_uw(zone) < 1 << 31)

    def _first_limit_uw(self, zone: Zone) -> int:
        try:
            return parse_number(self.tree.read(f"{CLASS}/{zone.id}/constraint_0_power_limit_uw"))
        except OSError:
            return 0
