# SPDX-License-Identifier: Apache-2.0
"""The primitives of the RAPL driver: every field that it reads or writes, by register kind, mask and unit.

Mirrors the ``rpi`` tables of drivers/powercap/intel_rapl_common.c: one for MSR and MMIO, one for TPMI.  A primitive
names a field in one of the registers that a domain may have; which address that is, is the interface's business
(intel_rapl_msr.py and its neighbours).  The order of a kernel's table is the order in which it reads everything once
while a package is registered.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum

from raplica_simulator.linux.kernel import Kernel

__all__ = [
    "PSYS_FIXUPS",
    "TPMI_PRIMITIVES",
    "Primitive",
    "PrimitiveTable",
    "RegisterKind",
    "Unit",
    "mmio_primitives",
    "msr_primitives",
]


class RegisterKind(IntEnum):
    """The registers of a domain (enum rapl_domain_reg_id)."""

    LIMIT = 0
    STATUS = 1
    PERF = 2
    POLICY = 3
    INFO = 4
    PL4 = 5
    # Only where each domain has its own units and each limit its own register.
    UNIT = 6
    PL2 = 7


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


@dataclass(frozen=True, slots=True)
class PrimitiveTable:
    """All primitives of one interface.

    Attributes:
        fields: each one by name.
        limits: per power limit (1, 2, 4) the names of its lock, enable, clamp, limit, window and max_power; what a
            limit does not have is missing.
        update_order: what is read of every domain once, in order.
    """

    fields: Mapping[str, Primitive]
    limits: Mapping[int, Mapping[str, str]]
    update_order: tuple[str, ...]


def _field(high: int, low: int, kind: RegisterKind, unit: Unit = Unit.ARBITRARY) -> Primitive:
    return Primitive(((1 << (high - low + 1)) - 1) << low, low, kind, unit)


_LIMIT = RegisterKind.LIMIT
_INFO = RegisterKind.INFO

_MSR_FIELDS: dict[str, Primitive] = {
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

_LIMITS_BY_NUMBER: dict[int, dict[str, str]] = {
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
_MEASURES = (
    "time_window1",
    "time_window2",
    "thermal_spec_power",
    "max_power",
    "min_power",
    "max_time_window",
    "throttled_time",
)
_PSYS = ("psys_power_limit1", "psys_power_limit2", "psys_pl1_enable", "psys_pl2_enable")
_ENABLES = ("pl1_enable", "pl1_clamp", "pl2_enable", "pl2_clamp")
_LIMITS = ("power_limit1", "power_limit2", "power_limit4")


def _update_order(kernel: Kernel) -> tuple[str, ...]:
    """What rapl_update_domain_data reads: all primitives but the last two, and the last one of all is no register."""
    if kernel.limit_slots == 2:
        return ("energy_counter", *_LIMITS[:2], "fw_lock", *_ENABLES, *_MEASURES)
    tail = (*_MEASURES, "priority_level", *_PSYS, *(("psys_time_window1",) if kernel.updates_psys_window else ()))
    if kernel.per_limit_locks:
        return (*_LIMITS, "energy_counter", "fw_lock", "fw_high_lock", *_ENABLES, *tail)
    return ("energy_counter", *_LIMITS, "fw_lock", *_ENABLES, "pl4_enable", *tail)


def msr_primitives(kernel: Kernel) -> PrimitiveTable:
    """The table of the MSR interface.  Which lock a limit has depends on its domain there, so ``limits`` has none."""
    return PrimitiveTable(_MSR_FIELDS, _LIMITS_BY_NUMBER, _update_order(kernel))


def mmio_primitives(kernel: Kernel) -> PrimitiveTable:
    """The table of the MMIO interface: that of the MSRs, since 7.1 without the psys that it never had."""
    order = _update_order(kernel)
    if kernel.mmio_has_own_tables:
        order = tuple(name for name in order if name not in _PSYS)
    return PrimitiveTable(_MSR_FIELDS, _LIMITS_BY_NUMBER, order)


_PL2 = RegisterKind.PL2
_PL4 = RegisterKind.PL4

# Each limit has a register of its own there, with a lock of its own and no clamp.
_TPMI_FIELDS: dict[str, Primitive] = {
    "power_limit1": _field(17, 0, _LIMIT, Unit.POWER),
    "power_limit2": _field(17, 0, _PL2, Unit.POWER),
    "power_limit4": _field(17, 0, _PL4, Unit.POWER),
    "energy_counter": _field(31, 0, RegisterKind.STATUS, Unit.ENERGY),
    "pl1_lock": _field(63, 63, _LIMIT),
    "pl2_lock": _field(63, 63, _PL2),
    "pl4_lock": _field(63, 63, _PL4),
    "pl1_enable": _field(62, 62, _LIMIT),
    "pl2_enable": _field(62, 62, _PL2),
    "pl4_enable": _field(62, 62, _PL4),
    "time_window1": _field(24, 18, _LIMIT, Unit.TIME),
    "time_window2": _field(24, 18, _PL2, Unit.TIME),
    "thermal_spec_power": _field(17, 0, _INFO, Unit.POWER),
    "max_power": _field(53, 36, _INFO, Unit.POWER),
    "min_power": _field(35, 18, _INFO, Unit.POWER),
    "max_time_window": _field(60, 54, _INFO, Unit.TIME),
    "throttled_time": _field(31, 0, RegisterKind.PERF, Unit.TIME),
}


def _tpmi_limit(number: int) -> dict[str, str]:
    own = {name: text for name, text in _LIMITS_BY_NUMBER[number].items() if name != "clamp"}
    return own | {"lock": f"pl{number}_lock", "enable": f"pl{number}_enable"}


TPMI_PRIMITIVES = PrimitiveTable(
    fields=_TPMI_FIELDS,
    limits={number: _tpmi_limit(number) for number in _LIMITS_BY_NUMBER},
    # Its entries stand in the order in which the kernel numbers them.
    update_order=tuple(_TPMI_FIELDS),
)
