# SPDX-License-Identifier: Apache-2.0
"""The primitives of the RAPL driver: every field that it reads or writes, by register kind, mask and unit.

Mirrors the ``rpi`` tables of drivers/powercap/intel_rapl_common.c.  A primitive names a field in one of the six
registers that a domain may have; which address that is, is the interface's business (intel_rapl_msr.py).  The
order of a kernel's table is the order in which it reads everything once while a package is registered.
"""

from dataclasses import dataclass
from enum import Enum, IntEnum

__all__ = ["LIMIT_PRIMITIVES", "PRIMITIVES", "PSYS_FIXUPS", "Primitive", "RegisterKind", "Unit", "update_order"]


class RegisterKind(IntEnum):
    """The registers of a domain (enum rapl_domain_reg_id)."""

    LIMIT = 0
    STATUS = 1
    PERF = 2
    POLICY = 3
    INFO = 4
    PL4 = 5


class Unit(Enum):
    """What a raw value counts."""

    ARBITRARY = "arbitrary"
    ENERGY = "energy"
    POWER = "power"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class Primitive:
    """One field: its bits in place, how far they lie from bit 0, in which register, in which unit."""

    mask: int
    shift: int
    kind: RegisterKind
    unit: Unit


def _field(high: int, low: int, kind: RegisterKind, unit: Unit = Unit.ARBITRARY) -> Primitive:
    return Primitive(((1 << (high - low + 1)) - 1) << low, low, kind, unit)


_LIMIT = RegisterKind.LIMIT
_INFO = RegisterKind.INFO

PRIMITIVES: dict[str, Primitive] = {
    "energy_counter": _field(31, 0, RegisterKind.STATUS, Unit.ENERGY),
    "power_limit1": _field(14, 0, _LIMIT, Unit.POWER),
    "power_limit2": _field(46, 32, _LIMIT, Unit.POWER),
    "power_limit4": _field(12, 0, RegisterKind.PL4, Unit.POWER),
    "fw_lock": _field(31, 31, _LIMIT),
    "fw_high_lock": _field(63, 63, _LIMIT),
    "pl1_enable": _field(15, 15, _LIMIT),
    "pl1_clamp": _field(16, 16, _LIMIT),
    "pl2_enable": _field(47, 47, _LIMIT),
    "pl2_clamp": _field(48, 48, _LIMIT),
    # Before 6.5 the whole limit field stood for the enable that PL4 does not have.
    "pl4_enable": _field(12, 0, RegisterKind.PL4),
    "time_window1": _field(23, 17, _LIMIT, Unit.TIME),
    "time_window2": _field(55, 49, _LIMIT, Unit.TIME),
    "thermal_spec_power": _field(14, 0, _INFO, Unit.POWER),
    "max_power": _field(46, 32, _INFO, Unit.POWER),
    "min_power": _field(30, 16, _INFO, Unit.POWER),
    "max_time_window": _field(53, 48, _INFO, Unit.TIME),
    "throttled_time": _field(31, 0, RegisterKind.PERF, Unit.TIME),
    "priority_level": _field(4, 0, RegisterKind.POLICY),
    "psys_power_limit1": _field(16, 0, _LIMIT, Unit.POWER),
    "psys_power_limit2": _field(48, 32, _LIMIT, Unit.POWER),
    "psys_pl1_enable": _field(17, 17, _LIMIT),
    "psys_pl2_enable": _field(49, 49, _LIMIT),
    "psys_time_window1": _field(25, 19, _LIMIT, Unit.TIME),
    "psys_time_window2": _field(57, 51, _LIMIT, Unit.TIME),
}

# Sapphire and Emerald Rapids have 17-bit psys limits.  The clamps are missing here because the driver forgets
# them, so that enabling psys there sets bits 16 and 48: the top bits of the two limits.
PSYS_FIXUPS = {
    "power_limit1": "psys_power_limit1",
    "power_limit2": "psys_power_limit2",
    "pl1_enable": "psys_pl1_enable",
    "pl2_enable": "psys_pl2_enable",
    "time_window1": "psys_time_window1",
    "time_window2": "psys_time_window2",
}

# The primitives of each power limit.  What a limit does not have is missing.
LIMIT_PRIMITIVES: dict[int, dict[str, str]] = {
    1: {
        "enable": "pl1_enable",
        "clamp": "pl1_clamp",
        "limit": "power_limit1",
        "window": "time_window1",
        "max_power": "thermal_spec_power",
    },
    2: {
        "enable": "pl2_enable",
        "clamp": "pl2_clamp",
        "limit": "power_limit2",
        "window": "time_window2",
        "max_power": "max_power",
    },
    # Taken to be twice PL2's.
    4: {"limit": "power_limit4", "max_power": "max_power"},
}

# The table of 6.1 begins with the counter and has one lock, whose bit moves; 6.5 put the limits first.
_TAIL = (
    "time_window1",
    "time_window2",
    "thermal_spec_power",
    "max_power",
    "min_power",
    "max_time_window",
    "throttled_time",
    "priority_level",
    "psys_power_limit1",
    "psys_power_limit2",
    "psys_pl1_enable",
    "psys_pl2_enable",
    "psys_time_window1",
)
_ENABLES = ("pl1_enable", "pl1_clamp", "pl2_enable", "pl2_clamp")
_LIMITS = ("power_limit1", "power_limit2", "power_limit4")
_ONE_LOCK = ("energy_counter", *_LIMITS, "fw_lock", *_ENABLES, "pl4_enable", *_TAIL)
_TWO_LOCKS = (*_LIMITS, "energy_counter", "fw_lock", "fw_high_lock", *_ENABLES, *_TAIL)


def update_order(*, per_limit_locks: bool) -> tuple[str, ...]:
    """The primitives that rapl_update_domain_data reads of every domain, in order."""
    return _TWO_LOCKS if per_limit_locks else _ONE_LOCK
