# SPDX-License-Identifier: Apache-2.0
"""Readers that make a mistake where a counter begins again.

At least thirteen tools in seven languages have made one of these. What they have in common: nothing is wrong until a
counter wraps, which at 65 W takes an hour, so no test of a few seconds sees it.
"""

from collections.abc import Callable
from dataclasses import replace

from raplica_mutants.books import Books, Interval
from raplica_mutants.right import Right, RightMsr, RightPerf
from raplica_reader.counter import PowercapCounter, RawCounter
from raplica_reader.meter import Meter
from raplica_reader.step import CANNOT_BE, MORE_TURNS, RESET, Step
from raplica_reader.zone import Zone

__all__ = [
    "EventWrapsAt32Bits",
    "ManyWrapsAreOne",
    "RangeAssumed",
    "RangeForPeriod",
    "RangeOfLastZone",
    "RegisterWrapIgnored",
    "ResetIsWrap",
    "UnknownRangeIgnored",
    "UpperHalfCounts",
    "WrapBy64Bits",
    "WrapDropped",
    "WrapEndsProgram",
    "WrapIgnored",
    "WrapIsRestart",
]

NJ_PER_UJ = 1000


def at_a_wrap(booked: Callable[[Interval], int]) -> Meter:
    """Books in which wraps, and nothing else, are booked in another way: as so many parts."""

    def change(interval: Interval, right: Step) -> Step:
        is_wrap = right.parts is not None and interval.back < 0
        return Step(booked(interval), None) if is_wrap else right

    return Books(change)


class WrapIgnored(Right):
    """Subtracts one count from the other, whatever they are: a wrap is negative energy."""

    def meter(self) -> Meter:
        """Books without a period."""
        return at_a_wrap(lambda interval: interval.back)


class RegisterWrapIgnored(RightMsr, WrapIgnored):
    """Handles the wrap of a zone and forgets that of a register, which is another back end."""


class WrapBy64Bits(Right):
    """Subtracts in unsigned 64-bit microjoules: a wrap is 18446744073 kJ."""

    def meter(self) -> Meter:
        """Books modulo 2^64 uJ."""
        return at_a_wrap(lambda interval: interval.back + (NJ_PER_UJ << 64))


class WrapDropped(Right):
    """Takes a wrap for noise and books 0 for the interval."""

    def meter(self) -> Meter:
        """Books that lose the interval."""
        return at_a_wrap(lambda _: 0)


class WrapIsRestart(Right):
    """Exports the bare counter to something that takes each step back for a restart at 0: what was left is lost."""

    def meter(self) -> Meter:
        """Books as a rate over a counter has them."""
        return at_a_wrap(lambda interval: interval.zone.counter.position(interval.after) or 0)


class WrapEndsProgram(Right):
    """Subtracts unsigned numbers with a check for overflow, and nobody catches what it raises."""

    def meter(self) -> Meter:
        """Books that panic."""

        def panic(_: Interval) -> int:
            raise OverflowError("attempt to subtract with overflow")

        return at_a_wrap(panic)


class RangeForPeriod(Right):
    """Adds `max_energy_range_uj` at a wrap, which is one step less than the period."""

    def meter(self) -> Meter:
        """Books with a period one step short."""
        return at_a_wrap(lambda interval: interval.back + (interval.zone.max_energy_range_uj or 0) * NJ_PER_UJ)


class ManyWrapsAreOne(Right):
    """Believes that a counter has wrapped once at most, however long it was not looked at."""

    def meter(self) -> Meter:
        """Books that never doubt."""
        return Books(lambda it, right: Step(it.back % it.period, None) if right.error == MORE_TURNS else right)


class ResetIsWrap(Right):
    """Takes every step back for a wrap, also one that no power could have made."""

    def meter(self) -> Meter:
        """Books without resets."""
        return Books(lambda it, right: Step(it.back + it.period, None) if right.error == RESET else right)


class UnknownRangeIgnored(Right):
    """Subtracts as if there were no wraps where `max_energy_range_uj` cannot be read."""

    def meter(self) -> Meter:
        """Books without a range."""
        return Books(lambda it, right: Step(it.back, None) if not it.period and right.error == CANNOT_BE else right)


def _with_period(zone: Zone, period_nj: int) -> Zone:
    """The zone with another period and no range to hold its counts against."""
    if zone.max_energy_range_uj is None or not isinstance(zone.counter, PowercapCounter):
        return zone
    return replace(zone, counter=replace(zone.counter, period_nj=period_nj, range_uj=None))


class RangeAssumed(Right):
    """Takes every counter to wrap at 2^32 steps of 61 uJ, whatever the machine says."""

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """All with one period."""
        return tuple(_with_period(zone, 61_035 << 32) for zone in zones)


class RangeOfLastZone(Right):
    """Keeps one range for all zones, that of the last one that it found."""

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """All with the last one's period."""
        known = [zone.counter.period_nj for zone in zones if zone.counter.period_nj is not None]
        return tuple(_with_period(zone, known[-1]) for zone in zones) if known else zones


def _with_bits(zone: Zone, bits: int) -> Zone:
    return replace(zone, counter=replace(zone.counter, bits=bits)) if isinstance(zone.counter, RawCounter) else zone


class UpperHalfCounts(RightMsr):
    """Takes all 64 bits of a register for its counter, though Intel's has 32."""

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """All with 64 bits."""
        return tuple(_with_bits(zone, 64) for zone in zones)


class EventWrapsAt32Bits(RightPerf):
    """Treats a perf event as the register behind it: 32 bits that wrap."""

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """All with 32 bits."""
        return tuple(_with_bits(zone, 32) for zone in zones)
