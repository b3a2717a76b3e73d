# SPDX-License-Identifier: Apache-2.0
"""What one raw step is worth in silicon: exact fractions of a watt, a joule and a second.

Mirrors Intel SDM vol. 3B 15.10.1 (MSR_RAPL_POWER_UNIT) and AMD's RAPL_PWR_UNIT. Linux truncates these units
to whole nanojoules, microwatts and microseconds; that is its business and lives in `linux.rapl_units`. Here
nothing is rounded (fidelity rule 2), and what a model counts in against its unit register is a table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from raplica_simulator.hardware.registers_types import (
    AMD,
    HYGON,
    SANDY_IVY_BRIDGE,
    SAPPHIRE_EMERALD_RAPIDS,
    SILVERMONT_STYLE,
    ZEN4_AND_LATER,
    CpuId,
    Models,
    intel_models,
    matches,
)

KINDS = ("package", "core", "uncore", "dram", "psys", "cpu-core")

# Lowest bit and width of the power, energy and time exponents.
_POSITIONS = {
    "core": ((0, 4), (8, 5), (16, 4)),
    "atom": ((0, 4), (8, 5), (16, 4)),
    "tpmi": ((0, 4), (6, 5), (12, 4)),
}
# Haswell-EP and its successors, Xeon Phi: DRAM energy in steps of 15.3 uJ whatever the unit register says
# (Xeon E5 v3 datasheet vol. 2, 5.3.3). Broadwell-D counts so too, although Linux reads it otherwise.
_FIXED_DRAM = intel_models(0x3F, 0x4F, 0x55, 0x56, 0x57, 0x6A, 0x6C, 0x85)
_DRAM_UNIT_J = Fraction(153, 10_000_000)

# The unit register that a model usually reads, where no machine says otherwise.
_USUAL_UNIT: tuple[tuple[tuple[Models, ...], int], ...] = (
    (SANDY_IVY_BRIDGE, 0xA1003),
    (SILVERMONT_STYLE, 0x00505),
    (intel_models(0x4D), 0xA1003),
    (intel_models(0x5C, 0x7A), 0xA0E08),
    ((Models(0x19, 0x61, 0x61), Models(0x1A, 0x44, 0x44)), 0xA1000),
    ((Models(0x17, 0x00, 0xFF), Models(0x18, 0x00, 0xFF), Models(0x19, 0x00, 0xFF), Models(0x1A, 0x00, 0xFF)), 0xA1003),
)  # fmt: skip
_DEFAULT_UNIT = 0xA0E03
_DEFAULT_TPMI_UNIT = 0xA383


@dataclass(frozen=True, slots=True)
class Units:
    """The exact worth of one raw step of each kind of field."""

    power_w: Fraction
    energy_j: Fraction
    time_s: Fraction


def exact_units(unit_raw: int, style: str = "core") -> Units:
    """Return what a unit register says, exactly.

    "core" is 2^-PSU W, 2^-ESU J, 2^-TSU s; "atom" (Silvermont) is 2^PSU mW, 2^ESU uJ, 2^-TSU s (SDM vol. 4,
    Silvermont); "tpmi" is core with the exponents at bits 3:0, 10:6 and 15:12 (intel_rapl_common.c rpi_tpmi).
    """
    power, energy, time = ((unit_raw >> low) & ((1 << width) - 1) for low, width in _POSITIONS[style])
    if style == "atom":
        return Units(Fraction(1 << power, 1000), Fraction(1 << energy, 1_000_000), Fraction(1, 1 << time))
    return Units(Fraction(1, 1 << power), Fraction(1, 1 << energy), Fraction(1, 1 << time))


def unit_style(cpu: CpuId | None) -> str:
    """Return "atom" for the processors whose unit register counts upwards, "core" for all others."""
    return "atom" if cpu is not None and matches(SILVERMONT_STYLE, cpu) else "core"


def usual_unit(cpu: CpuId | None, space: str = "msr") -> int:
    """Return the unit register's usual value: 0xA0E03, or what the table says for the model."""
    if space == "tpmi":
        return _DEFAULT_TPMI_UNIT
    if cpu is not None:
        for models, unit_raw in _USUAL_UNIT:
            if matches(models, cpu):
                return unit_raw
    return _DEFAULT_UNIT


def counter_units(cpu: CpuId | None, unit_raw: int) -> Mapping[str, Fraction]:
    """Return the joules that one raw step of each counter is worth in silicon, for every kind of domain.

    Server DRAM counts in 15.3 uJ and the platform counter of Sapphire and Emerald Rapids in whole joules
    (intel_rapl_common.c, the hsw_server and spr_server defaults); all others in the unit register's 2^-ESU J.
    """
    energy_j = exact_units(unit_raw, unit_style(cpu)).energy_j
    units = dict.fromkeys(KINDS, energy_j)
    if cpu is not None and matches(_FIXED_DRAM, cpu):
        units["dram"] = _DRAM_UNIT_J
    if cpu is not None and matches(SAPPHIRE_EMERALD_RAPIDS, cpu):
        units["psys"] = Fraction(1)
    return units


def counter_width(cpu: CpuId | None) -> int:
    """Return the width of an energy counter in bits: 64 on AMD from Zen 4 on, else 32 (AMD PPR 56713)."""
    if cpu is not None and cpu.vendor in (AMD, HYGON) and matches(ZEN4_AND_LATER, cpu):
        return 64
    return 32


def window_s(raw: int, time_unit_s: Fraction) -> Fraction:
    """Return the seconds of a 7-bit time window: 2^Y (1 + F/4) units, Y in bits 4:0 and F in bits 6:5.

    Source: SDM vol. 3B 15.10.3.
    """
    return (1 << (raw & 0x1F)) * Fraction(4 + (raw >> 5 & 3), 4) * time_unit_s


def window_linear_s(raw: int, time_unit_s: Fraction) -> Fraction:
    """Return the seconds of a Silvermont time window: so many units, 0 counting as 1 (SDM vol. 4, Silvermont)."""
    return max(raw, 1) * time_unit_s
