# SPDX-License-Identifier: Apache-2.0
"""How an energy counter counts: what one step is worth and after how much energy it starts again.

A counter gives *counts*: microjoules in powercap, raw steps in a register, 2^-32 J in perf. Energy is a difference of
two of them, and no float is used on the way: each kind of counter says at which *position* a count stands, in whole
*parts*, and what a part is worth in nanojoules as a ratio of whole numbers. Parts are added up first and turned into
nanojoules once, so nothing is rounded however many samples there are.

`energy_uj` is not a free-running number of microjoules. intel_rapl reads a 32-bit counter and prints
floor(raw * unit_nj / 1000) (rapl_unit_xlate in drivers/powercap/intel_rapl_common.c); `max_energy_range_uj` is that
of the raw value 2^32-1, one step less than the energy after which the counter starts again. Adding the range to a
difference that went backward therefore loses one step per wrap, and adding 2^32 microjoules or 2^64 is plainly
wrong. The unit, and with it the exact period of 2^32 units, follows from the range alone.

Other drivers count as they like. All that the ABI says of them is the range, so their period is taken to be the
range plus one microjoule: right for a counter of whole microjoules, otherwise low by less than one of its own steps
per wrap. `exact` tells the two apart.
"""

from dataclasses import dataclass
from typing import Protocol

__all__ = ["Counter", "PowercapCounter", "RawCounter", "counter_of"]

RAW_STEPS = 1 << 32
RAW_MAX = RAW_STEPS - 1


class Counter(Protocol):
    """What is known of one energy counter."""

    @property
    def unit_nj(self) -> int | float | None:
        """Nanojoules per raw step; None where unknown."""
        ...

    @property
    def period_nj(self) -> int | None:
        """Energy between two passes through the same value, cut to whole nJ; None where nobody can say."""
        ...

    @property
    def exact(self) -> bool:
        """Whether the period is known and not assumed."""
        ...

    @property
    def period(self) -> int | None:
        """The period in parts."""
        ...

    def position(self, count: int) -> int | None:
        """Where the counter stands, in parts, when it shows `count`; None for what it cannot show."""
        ...

    def shown_uj(self, count: int) -> int:
        """A count as microjoules, cut downward."""
        ...

    def energy_nj(self, parts: int) -> int:
        """What so many parts are worth in nanojoules, cut downward."""
        ...

    def parts(self, energy_nj: int) -> int:
        """How many parts so much energy is, cut downward."""
        ...


@dataclass(frozen=True, slots=True)
class PowercapCounter:
    """A file `energy_uj`: its counts are microjoules and its parts nanojoules.

    `unit_nj`: nanojoules per raw step, None where unknown. `period_nj`: energy between two passes through the same
    value, None where nobody can say. `range_uj`: the largest value that the file can show, None where unknown.
    `exact`: the period is known to the nanojoule and not assumed.
    """

    unit_nj: int | None
    period_nj: int | None
    range_uj: int | None
    exact: bool

    @property
    def period(self) -> int | None:
        """As `period_nj`."""
        return self.period_nj

    def position(self, count: int) -> int | None:
        """Where the counter stands, in nJ, when its file shows `count` microjoules.

        The file shows whole microjoules, cut downward. With a unit of at least 1 uJ only one raw value can print as
        `count`, and its exact energy is given back. A value that no raw value prints as is taken as it stands, and
        one above the range is none, which makes the range not to be believed.
        """
        if self.range_uj is not None and count > self.range_uj:
            return None
        if self.unit_nj is None:
            return count * 1000
        raw = -(-count * 1000 // self.unit_nj)
        return raw * self.unit_nj if raw * self.unit_nj // 1000 == count else count * 1000

    def shown_uj(self, count: int) -> int:
        """A count is microjoules."""
        return count

    def energy_nj(self, parts: int) -> int:
        """A part is a nanojoule."""
        return parts

    def parts(self, energy_nj: int) -> int:
        """A part is a nanojoule."""
        return energy_nj


@dataclass(frozen=True, slots=True)
class RawCounter:
    """A register or a perf event: counts and parts are raw steps, each worth `unit[0]` / `unit[1]` nanojoules.

    `bits`: its width; the counter starts again after 2^bits steps.
    """

    unit: tuple[int, int]
    bits: int

    @property
    def unit_nj(self) -> int | float:
        """Nanojoules per step, for people; a whole number where it is one."""
        numerator, denominator = self.unit
        return numerator / denominator if numerator % denominator else numerator // denominator

    @property
    def period(self) -> int:
        """Steps until it starts again."""
        return 1 << self.bits

    @property
    def period_nj(self) -> int:
        """Energy until it starts again, cut to whole nJ."""
        return self.energy_nj(self.period)

    @property
    def exact(self) -> bool:
        """The unit is the counter's own."""
        return True

    def position(self, count: int) -> int:
        """A count is its own position; bits above the width mean nothing (SDM: reserved) and are cut off."""
        return count & (self.period - 1)

    def shown_uj(self, count: int) -> int:
        """Where the counter stands, times the unit."""
        return self.energy_nj(self.position(count)) // 1000

    def energy_nj(self, parts: int) -> int:
        """Steps times the unit, cut downward to whole nJ."""
        return parts * self.unit[0] // self.unit[1]

    def parts(self, energy_nj: int) -> int:
        """Whole steps in so much energy."""
        return energy_nj * self.unit[1] // self.unit[0]


def counter_of(control_type: str, range_uj: int | None) -> PowercapCounter:
    """Tell from a zone's control type and `max_energy_range_uj` how its counter counts.

    A range that is missing (None), 0 (energy unit field 31) or negative (2^64-1 printed with a sign) says nothing.
    For the intel_rapl drivers (MSR, TPMI: "intel-rapl"; "intel-rapl-mmio") range = floor((2^32-1) * unit / 1000),
    which is solved for the unit: ceil(range * 1000 / (2^32-1)) nJ. The drivers up to 3.13 did not round the unit:
    range = floor((2^32-1) * 10^6 / 2^n), a period of 2^32 * 10^6 / 2^n microjoules.
    """
    if range_uj is None or range_uj <= 0:
        return PowercapCounter(unit_nj=None, period_nj=None, range_uj=None, exact=False)
    if control_type.startswith("intel-rapl"):
        unit_nj = -(-range_uj * 1000 // RAW_MAX)
        if RAW_MAX * unit_nj // 1000 == range_uj:
            return PowercapCounter(unit_nj=unit_nj, period_nj=RAW_STEPS * unit_nj, range_uj=range_uj, exact=True)
        for shift in range(32):
            if RAW_MAX * 10**6 >> shift == range_uj:
                period_nj = RAW_STEPS * 10**9 >> shift
                return PowercapCounter(unit_nj=None, period_nj=period_nj, range_uj=range_uj, exact=True)
    return PowercapCounter(unit_nj=None, period_nj=(range_uj + 1) * 1000, range_uj=range_uj, exact=False)
