# SPDX-License-Identifier: Apache-2.0
"""How an energy counter counts: what one step is worth and after how much energy it starts again.

`energy_uj` is not a free-running number of microjoules. intel_rapl reads a 32-bit counter and prints
floor(raw * unit_nj / 1000) (rapl_unit_xlate in drivers/powercap/intel_rapl_common.c); `max_energy_range_uj` is that
of the raw value 2^32-1, one step less than the energy after which the counter starts again. Adding the range to a
difference that went backward therefore loses one step per wrap, and adding 2^32 microjoules or 2^64 is plainly
wrong. The unit, and with it the exact period of 2^32 units, follows from the range alone.

Other drivers count as they like. All that the ABI says of them is the range, so their period is taken to be the
range plus one microjoule: right for a counter of whole microjoules, otherwise low by less than one of its own steps
per wrap. `Counter.exact` tells the two apart.
"""

from dataclasses import dataclass

__all__ = ["Counter", "counter_of"]

RAW_STEPS = 1 << 32
RAW_MAX = RAW_STEPS - 1


@dataclass(frozen=True, slots=True)
class Counter:
    """What is known of one energy counter.

    `unit_nj`: nanojoules per raw step, None where unknown. `period_nj`: energy between two passes through the same
    value, None where nobody can say. `range_uj`: the largest value that the file can show, None where unknown.
    `exact`: the period is known to the nanojoule and not assumed.
    """

    unit_nj: int | None
    period_nj: int | None
    range_uj: int | None
    exact: bool

    def position_nj(self, energy_uj: int) -> int:
        """Where the counter stands, in nJ, when its file shows `energy_uj`.

        The file shows whole microjoules, cut downward. With a unit of at least 1 uJ only one raw value can print as
        `energy_uj`, and its exact energy is given back. A value that no raw value prints as is taken as it stands.
        """
        if self.unit_nj is None:
            return energy_uj * 1000
        raw = -(-energy_uj * 1000 // self.unit_nj)
        return raw * self.unit_nj if raw * self.unit_nj // 1000 == energy_uj else energy_uj * 1000

    def spent_nj(self, before_uj: int, after_uj: int) -> int | None:
        """Energy between two readings in nJ, with one wrap at most between them.

        None where the counter went backward and its period is unknown, or where a reading lies outside the range,
        which makes the range not to be believed.
        """
        if self.range_uj is not None and max(before_uj, after_uj) > self.range_uj:
            return None
        spent = self.position_nj(after_uj) - self.position_nj(before_uj)
        if after_uj >= before_uj:
            return spent
        if self.period_nj is None:
            return None
        return spent + self.period_nj


def counter_of(control_type: str, range_uj: int | None) -> Counter:
    """Tell from a zone's control type and `max_energy_range_uj` how its counter counts.

    A range that is missing (None), 0 (energy unit field 31) or negative (2^64-1 printed with a sign) says nothing.
    For the intel_rapl drivers (MSR, TPMI: "intel-rapl"; "intel-rapl-mmio") range = floor((2^32-1) * unit / 1000),
    which is solved for the unit: ceil(range * 1000 / (2^32-1)) nJ. The drivers up to 3.13 did not round the unit:
    range = floor((2^32-1) * 10^6 / 2^n), a period of 2^32 * 10^6 / 2^n microjoules.
    """
    if range_uj is None or range_uj <= 0:
        return Counter(unit_nj=None, period_nj=None, range_uj=None, exact=False)
    if control_type.startswith("intel-rapl"):
        unit_nj = -(-range_uj * 1000 // RAW_MAX)
        if RAW_MAX * unit_nj // 1000 == range_uj:
            return Counter(unit_nj=unit_nj, period_nj=RAW_STEPS * unit_nj, range_uj=range_uj, exact=True)
        for shift in range(32):
            if RAW_MAX * 10**6 >> shift == range_uj:
                period_nj = RAW_STEPS * 10**9 >> shift
                return Counter(unit_nj=None, period_nj=period_nj, range_uj=range_uj, exact=True)
    return Counter(unit_nj=None, period_nj=(range_uj + 1) * 1000, range_uj=range_uj, exact=False)
