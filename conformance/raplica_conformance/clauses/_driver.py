# SPDX-License-Identifier: Apache-2.0
"""The arithmetic of drivers/powercap/intel_rapl_common.c, as a second pair of eyes sees it.

This is an oracle of the suite's own: the simulator's arithmetic is a subject here, so nothing of it is used.
All values are integers, and every division truncates as the driver's does.
"""

import functools
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = [
    "ATOM_POWER_UW",
    "CORE_POWER_UW",
    "COUNTER_MAX",
    "DRAM_NJ",
    "LONG_WINDOW_US",
    "PSYS_NJ",
    "TIME_UNITS_US",
    "Units",
    "early_ranges_uj",
    "energy_uj",
    "fits_fields",
    "fits_power_unit",
    "fits_time_unit",
    "is_atom",
    "longest_windows_us",
    "range_uj",
    "raw_energies",
    "raw_energy",
    "unit_nj",
    "window_code",
    "window_us",
    "wrapped_window_code",
]

#: Energy counters are 32 bits wide wherever the driver reads them (ENERGY_STATUS_MASK).
COUNTER_MAX = 2**32 - 1

#: dram counts in 15.3 uJ on Haswell-EP and its successors, psys in whole joules on Sapphire Rapids
#: (rapl_defaults_hsw_server, rapl_defaults_spr_server).
DRAM_NJ = 15_300
PSYS_NJ = 1_000_000_000

#: What one step of a power limit can be worth: 1/2^n W truncated to uW, or 2^n mW on Silvermont and Airmont.
CORE_POWER_UW = tuple(1_000_000 >> n for n in range(16))
ATOM_POWER_UW = tuple(1_000 << n for n in range(16))

#: What one step of a time window can be worth: 1/2^n s truncated to us.
TIME_UNITS_US = tuple(1_000_000 >> n for n in range(16))

#: No window from here on is the choice of a person: 2^31 steps of the shortest time unit, about 18 hours.
LONG_WINDOW_US = 2**31 * TIME_UNITS_US[-1]

_WORD = 2**64


@dataclass(frozen=True, slots=True)
class Units:
    """The three units of a unit register (0x606, or 0xC0010299 on AMD): nJ, uW and us a step.

    `atom` is the Silvermont and Airmont way to read it (rapl_check_unit_atom): 2^n uJ, 2^n mW, whole seconds.
    """

    energy_nj: int
    power_uw: int
    time_us: int
    atom: bool = False

    @classmethod
    def of(cls, register: int, *, atom: bool = False) -> "Units":
        """From the register: power 3:0, energy 12:8, time 19:16 (Intel SDM, MSR_RAPL_POWER_UNIT)."""
        power, energy, time = register & 0xF, register >> 8 & 0x1F, register >> 16 & 0xF
        if atom:
            return cls(1_000 << energy, 1_000 << power, 1_000_000 >> time, atom=True)
        return cls(1_000_000_000 >> energy, 1_000_000 >> power, 1_000_000 >> time)

    def window_us(self, code: int, *, overflows: bool = True) -> int:
        """What a 7-bit window field reads as; `overflows` as of the function of this name."""
        if self.atom:
            return (code or 1) * self.time_us
        return window_us(code, self.time_us, overflows=overflows)


def energy_uj(raw: int, energy_nj: int) -> int:
    """What a counter of `raw` steps reads as in energy_uj."""
    return raw * energy_nj // 1000


def range_uj(energy_nj: int) -> int:
    """max_energy_range_uj: the largest counter value, 2^32 - 1 steps and not 2^32."""
    return energy_uj(COUNTER_MAX, energy_nj)


def unit_nj(range_: int) -> int | None:
    """The whole number of nJ a step whose range this is, or None where there is none."""
    guess = -(-range_ * 1000 // COUNTER_MAX)
    return guess if range_uj(guess) == range_ else None


def raw_energy(energy: int, energy_nj: int) -> int | None:
    """The first counter that reads as this energy, or None where no counter does."""
    return next(iter(raw_energies(energy, energy_nj)), None)


def raw_energies(energy: int, energy_nj: int) -> range:
    """All counters that read as this energy: several where a step is worth less than 1 uJ."""
    return range(-(-energy * 1000 // energy_nj), -(-(energy + 1) * 1000 // energy_nj))


def early_ranges_uj() -> frozenset[int]:
    """Ranges of the first drivers (3.13), which kept how many steps a joule has and divided by that at the end.

    On Silvermont a joule has 10^6 / 2^n steps, cut to a whole number: from n = 20 on there is none to divide by.
    """
    core = (COUNTER_MAX * 1_000_000 >> n for n in range(32))
    silvermont = (COUNTER_MAX * 1_000_000 // (1_000_000 >> n) for n in range(20))
    return frozenset((*core, *silvermont))


def window_us(code: int, time_us: int, *, overflows: bool = True) -> int:
    """2^Y (1 + F/4) steps, Y = code 4:0 and F = code 6:5 (rapl_compute_time_window_core).

    Before Linux 7.1 Y = 31 overflows a 32-bit 1 << 31, and the result is what the 64-bit arithmetic around it leaves.
    """
    exponent, fraction = code & 0x1F, code >> 5 & 3
    power = 1 << exponent if exponent < 31 or not overflows else _WORD - (1 << 31)
    return power * (4 + fraction) * time_us % _WORD // 4


def window_code(us: int, time_us: int) -> int:
    """The 7-bit field that the driver stores: it never rounds up, and cuts to whole time steps first."""
    if us < time_us:
        return 0
    steps = us // time_us
    exponent = steps.bit_length() - 1
    if exponent > 31:
        return 0x7F
    return exponent | (4 * (steps - (1 << exponent)) >> exponent) << 5


def wrapped_window_code(us: int, time_us: int) -> int:
    """What 6.1 makes of any window: the exponent is cut to 5 bits, and 1 << exponent is a 32-bit number."""
    if us < time_us:
        return 0
    steps = us // time_us
    exponent = steps.bit_length() - 1
    power = 1 << exponent % 32
    power = power if power < 1 << 31 else _WORD - power
    fraction = 4 * (steps - power) % _WORD // power
    return exponent & 0x1F | (fraction & 3) << 5


def is_atom(energy_nj: int | None) -> bool | None:
    """Whether a counter's step is of the Silvermont and Airmont kind, 2^n uJ; None where it is of no known kind.

    No step is of both kinds: 10^9 nJ is no power of two times 1000.
    """
    if energy_nj in {1_000 << n for n in range(32)}:
        return True
    return False if energy_nj in {DRAM_NJ, *(1_000_000_000 >> n for n in range(30))} else None


def fits_power_unit(values_uw: Iterable[int], *, atom: bool | None) -> bool:
    """Whether one power unit has all these values as whole steps of at most 18 bits, doubled for peak power."""
    return fits_fields(((value, 19) for value in values_uw), atom=atom)


def fits_fields(values_uw: Iterable[tuple[int, int]], *, atom: bool | None) -> bool:
    """Whether one power unit has all these values as whole steps of so many bits: pairs of uW and bits."""
    found = [(value, bits) for value, bits in values_uw if value]
    units = (CORE_POWER_UW if not atom else ()) + (ATOM_POWER_UW if atom is not False else ())
    return any(all(value % unit == 0 and value // unit < 1 << bits for value, bits in found) for unit in units)


def fits_time_unit(values_us: Iterable[int], *, atom: bool | None) -> bool:
    """Whether one time unit has all these windows: as core style encodes them, or as Silvermont does, linearly.

    0 stands for a limit that has no window, which reads so before Linux 6.5.
    """
    found = {value for value in values_us if value}
    linear = [frozenset(range(unit, 128 * unit, unit)) for unit in TIME_UNITS_US] if atom is not False else []
    core = [_windows(unit) for unit in TIME_UNITS_US] if not atom else []
    return any(found <= windows for windows in core + linear)


def longest_windows_us() -> frozenset[int]:
    """What windows with Y = 31 would read as without the overflow, where no shorter window of any unit reads so too."""
    shorter = {window_us(code, unit) for unit in TIME_UNITS_US for code in range(128) if code & 0x1F != 31}
    return frozenset({(4 + f) * unit << 29 for unit in TIME_UNITS_US for f in range(4)} - shorter)


@functools.cache
def _windows(time_us: int) -> frozenset[int]:
    """Every value that a core-style window can read as in this unit; with Y = 31 also what it should read as."""
    return frozenset([window_us(code, time_us) for code in range(128)] + [(4 + f) * time_us << 29 for f in range(4)])
