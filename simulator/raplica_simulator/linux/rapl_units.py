# SPDX-License-Identifier: Apache-2.0
"""The driver's fixed-point arithmetic: from raw fields to microjoules, microwatts and microseconds and back.

Mirrors rapl_check_unit_core, rapl_check_unit_atom, rapl_check_unit_tpmi, rapl_compute_time_window_core,
rapl_compute_time_window_atom and rapl_unit_xlate of drivers/powercap/intel_rapl_common.c, and rapl_check_unit and
rapl_unit_xlate of the first drivers/powercap/intel_rapl.c. Everything is whole numbers and everything truncates: a
unit of 61.03515625 uJ becomes 61035 nJ first and is multiplied afterwards, which is why powercap is a little low.
The first driver kept the divisors instead and divided last. The overflows of the time window (0 and too large a
value when writing, y = 31 when reading) are reproduced in the flavour of each kernel.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "DivisorUnits",
    "RaplUnits",
    "atom_units",
    "core_units",
    "divisor_units",
    "tpmi_units",
    "us_to_window_raw",
    "window_to_us",
]

_NJ_PER_J = 1_000_000_000
_U_PER_ONE = 1_000_000
_U32 = (1 << 32) - 1
_U64 = (1 << 64) - 1
# From this version on a window below one unit is stored as code 0; before, its logarithm is taken all the same.
_GUARDS = (6, 1)
# From this version on a window beyond the field is stored as its largest code.
_SATURATES = (6, 5)
# From this version on the longest windows are read without an overflow.
_READS_WIDE = (7, 1)


@dataclass(frozen=True, slots=True)
class RaplUnits:
    """Whole nanojoules, microwatts and microseconds per raw step; `style` is "core", "atom" or "tpmi".

    Units of 0 stand for a unit register that could not be read (6.12): reading gives 0, and the two ways of
    writing raise ZeroDivisionError where the kernel's division faults.
    """

    energy_unit_nj: int
    power_unit_uw: int
    time_unit_us: int
    style: str = "core"

    def energy_to_uj(self, raw: int) -> int:
        """Return microjoules of an energy counter (rapl_unit_xlate, ENERGY_UNIT)."""
        return raw * self.energy_unit_nj // 1000

    def power_to_uw(self, raw: int) -> int:
        """Return microwatts of a power field (rapl_unit_xlate, POWER_UNIT)."""
        return raw * self.power_unit_uw

    def uw_to_power_raw(self, power_uw: int) -> int:
        """Return the power field of microwatts, not yet masked to its width (rapl_unit_xlate, to raw)."""
        return power_uw // self.power_unit_uw

    def window_to_us(self, raw: int, kernel: tuple[int, ...]) -> int:
        """Return microseconds of a 7-bit time window, as `window_to_us` in this module."""
        return window_to_us(raw, self.time_unit_us, kernel, self.style)

    def us_to_window_raw(self, window_us: int, kernel: tuple[int, ...]) -> int:
        """Return the 7-bit time window of microseconds, as `us_to_window_raw` in this module."""
        return us_to_window_raw(window_us, self.time_unit_us, kernel, self.style)


def _exponents(unit_raw: int, energy_low: int, time_low: int) -> tuple[int, int, int]:
    return unit_raw >> energy_low & 0x1F, unit_raw & 0xF, unit_raw >> time_low & 0xF


def core_units(unit_raw: int) -> RaplUnits:
    """Return the units of MSR 0x606, 0xC0010299 or MCHBAR 0x5938 (rapl_check_unit_core).

    The division is a 32-bit one: an energy exponent of 30 or 31 leaves an energy unit of 0.
    """
    energy, power, time = _exponents(unit_raw, 8, 16)
    return RaplUnits(_NJ_PER_J >> energy, _U_PER_ONE >> power, _U_PER_ONE >> time, "core")


def atom_units(unit_raw: int) -> RaplUnits:
    """Return the units of MSR 0x606 on Silvermont and Airmont (rapl_check_unit_atom): uJ and mW count upwards.

    The energy unit is kept in 32 bits, so exponents of 22 and more overflow.
    """
    energy, power, time = _exponents(unit_raw, 8, 16)
    return RaplUnits((1000 << energy) & _U32, 1000 << power, _U_PER_ONE >> time, "atom")


def tpmi_units(unit_raw: int) -> RaplUnits:
    """Return the units of a TPMI domain (rapl_check_unit_tpmi): core arithmetic, other bit positions."""
    energy, power, time = _exponents(unit_raw, 6, 12)
    return RaplUnits(_NJ_PER_J >> energy, _U_PER_ONE >> power, _U_PER_ONE >> time, "tpmi")


def _one_shifted(exponent: int) -> int:
    """Return `1 << exponent` as C computes it in an int and widens it: 2^31 comes out as 2^64 - 2^31."""
    exponent &= 0x1F
    return (1 << exponent) if exponent < 31 else _U64 + 1 - (1 << 31)


def window_to_us(raw: int, time_unit_us: int, kernel: tuple[int, ...], style: str = "core") -> int:
    """Return microseconds of a 7-bit time window.

    Core and TPMI: 2^y (4 + f) units div 4 in 64 bits, y in bits 4:0 and f in bits 6:5, before 7.1 with the sign
    overflow at y = 31. Atom: so many units, 0 counting as 1. Source: rapl_compute_time_window_core and _atom,
    to_raw false; since 7.1 rapl_default_compute_time_window.
    """
    if style == "atom":
        return raw * time_unit_us if raw else time_unit_us
    exponent, fraction = raw & 0x1F, raw >> 5 & 3
    power = 1 << exponent if kernel[:2] >= _READS_WIDE else _one_shifted(exponent)
    return (power * (4 + fraction) * time_unit_us & _U64) // 4


def us_to_window_raw(window_us: int, time_unit_us: int, kernel: tuple[int, ...], style: str = "core") -> int:
    """Return the 7-bit time window of microseconds (64 bits unsigned); always rounds down.

    Core and TPMI: below one unit 0 (since 6.1; before, as `_window_code`), else v = us div unit, y = floor(log2 v),
    f = 4 (v - 2^y) div 2^y. Where y does not fit, 6.5 and later store 0x7f and older kernels let it wrap, with the
    same overflow as in reading. Atom: us div unit, cut to 7 bits. Raises ZeroDivisionError for a unit of 0, as the
    kernel faults. Source: rapl_compute_time_window_core and _atom, to_raw true.
    """
    if style == "atom":
        return window_us // time_unit_us & 0x7F
    if window_us < time_unit_us and kernel[:2] >= _GUARDS:
        return 0
    units = window_us // time_unit_us
    if kernel[:2] < _SATURATES:
        return _window_code(units)
    exponent = units.bit_length() - 1
    return 0x7F if exponent > 0x1F else _code(units, exponent, 1 << exponent)


def _window_code(units: int) -> int:
    """Return the 7-bit time window of so many units, as kernels before 6.5 compute it, with nothing held back.

    The logarithm of 0 units is -1 there, and a shift by that is one by 31 on x86-64: 0 becomes the longest window
    but for its fraction, 0x1f.
    """
    exponent = units.bit_length() - 1
    return _code(units, exponent, _one_shifted(exponent))


def _code(units: int, exponent: int, power: int) -> int:
    fraction = (4 * (units - power) & _U64) // power
    return exponent & 0x1F | (fraction & 3) << 5


@dataclass(frozen=True, slots=True)
class DivisorUnits:
    """What the first driver (3.13) keeps of the unit register: how many raw steps are a joule, a watt, a second.

    Nothing is cut before the last division, and a written value is not cut to its field at all.
    """

    steps_per_j: int
    steps_per_w: int
    steps_per_s: int

    def energy_to_uj(self, raw: int) -> int:
        """Return microjoules of an energy counter; ZeroDivisionError where a joule is less than a step."""
        return raw * _U_PER_ONE // self.steps_per_j

    def power_to_uw(self, raw: int) -> int:
        """Return microwatts of a power field."""
        return raw * _U_PER_ONE // self.steps_per_w

    def uw_to_power_raw(self, power_uw: int) -> int:
        """Return the steps of microwatts in 64 bits, which may be more than the field holds."""
        return (power_uw * self.steps_per_w & _U64) // _U_PER_ONE

    def window_to_us(self, raw: int) -> int:
        """Return microseconds of a 7-bit time window: 2^y (4 + f) 10^6 div 4, then div the steps of a second."""
        exponent, fraction = raw & 0x1F, raw >> 5 & 3
        return (_one_shifted(exponent) * (4 + fraction) * _U_PER_ONE & _U64) // 4 // self.steps_per_s

    def us_to_window_raw(self, window_us: int) -> int:
        """Return the 7-bit time window of microseconds; whole seconds first, so less than one is stored as 0x1f."""
        return _window_code(window_us // _U_PER_ONE * self.steps_per_s & _U64)


def divisor_units(unit_raw: int, *, counts_up: bool = False) -> DivisorUnits:
    """Return the units of MSR 0x606 as 3.13 reads it (rapl_check_unit of intel_rapl.c).

    `counts_up` is Silvermont's energy alone, 2^ESU uJ a step: its power and time are taken for those of all others.
    """
    energy, power, time = _exponents(unit_raw, 8, 16)
    return DivisorUnits(_U_PER_ONE >> energy if counts_up else 1 << energy, 1 << power, 1 << time)
