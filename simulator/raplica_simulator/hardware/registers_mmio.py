# SPDX-License-Identifier: Apache-2.0
"""The RAPL words that are not MSRs: MCHBAR offsets (MMIO) and the TPMI layout, as tables.

Mirrors the register numbers of drivers/thermal/intel/int340x_thermal/processor_thermal_rapl.c and the layout
that drivers/powercap/intel_rapl_tpmi.c reads. MMIO words have the MSRs' fields; only the DRAM limit has room
for two limits there. TPMI has one word per limit, 18-bit powers and no clamp.
"""

from __future__ import annotations

from raplica_simulator.hardware.registers_intel import (
    ENERGY,
    PEAK_POWER,
    POWER_INFO,
    THROTTLED,
    TWO_LIMITS,
    UNIT_FIELDS,
)
from raplica_simulator.hardware.registers_types import INTEL, Field, Register

_INTEL = frozenset({INTEL})
_MMIO_SOURCE = "processor_thermal_rapl.c rapl_mmio_default"
_TPMI_SOURCE = "intel_rapl_tpmi.c and intel_rapl_common.c rpi_tpmi"


def _mmio(
    offset: int,
    name: str,
    fields: tuple[Field, ...],
    domain: str = "",
    lock: int | None = None,
) -> Register:
    return Register(
        name=f"MCHBAR_{name}",
        address=offset,
        vendors=_INTEL,
        scope="package",
        access="ro" if lock is None else "rw-lock",
        fields=fields,
        lock=lock,
        source=_MMIO_SOURCE,
        domain=domain,
        space="mmio",
    )


MMIO_REGISTERS = (
    _mmio(0x5938, "RAPL_POWER_UNIT", UNIT_FIELDS),
    _mmio(0x59A0, "PKG_POWER_LIMIT", TWO_LIMITS, "package", 63),
    _mmio(0x593C, "PKG_ENERGY_STATUS", ENERGY, "package"),
    _mmio(0x58F0, "PKG_PERF_STATUS", THROTTLED, "package"),
    _mmio(0x5930, "PKG_POWER_INFO", POWER_INFO, "package"),
    _mmio(0x59B0, "PKG_PEAK_POWER_LIMIT", PEAK_POWER, "package", 31),
    _mmio(0x58E0, "DRAM_POWER_LIMIT", TWO_LIMITS, "dram", 63),
    _mmio(0x58E8, "DRAM_ENERGY_STATUS", ENERGY, "dram"),
    _mmio(0x58EC, "DRAM_PERF_STATUS", THROTTLED, "dram"),
)


def _tpmi_limit(number: int, *, window: bool = True) -> tuple[Field, ...]:
    fields = [Field(f"pl{number}_power_limit", 0, 17, "power")]
    if window:
        fields.append(Field(f"pl{number}_time_window", 18, 24, "window"))
    return (*fields, Field(f"pl{number}_enabled", 62, 62), Field("lock", 63, 63))


def _tpmi(offset: int, name: str, fields: tuple[Field, ...], lock: int | None = None) -> Register:
    return Register(
        name=f"TPMI_{name}",
        address=offset,
        vendors=_INTEL,
        scope="package",
        access="ro" if lock is None else "rw-lock",
        fields=fields,
        lock=lock,
        source=_TPMI_SOURCE,
        space="tpmi",
    )


# Offsets within one 128-byte domain; which domain it is stands in the header's type.
TPMI_REGISTERS = (
    _tpmi(
        0x00,
        "HEADER",
        (
            Field("minor_version", 0, 4),
            Field("major_version", 5, 7),
            Field("type", 8, 15),
            Field("size", 16, 23),
            Field("flags", 32, 47),
        ),
    ),
    _tpmi(
        0x08,
        "POWER_UNIT",
        (
            Field("power_unit", 0, 3, "power_unit"),
            Field("energy_unit", 6, 10, "energy_unit"),
            Field("time_unit", 12, 15, "time_unit"),
        ),
    ),
    _tpmi(0x10, "PL1", _tpmi_limit(1), 63),
    _tpmi(0x18, "PL2", _tpmi_limit(2), 63),
    _tpmi(0x20, "PL3", _tpmi_limit(3), 63),
    _tpmi(0x28, "PL4", _tpmi_limit(4, window=False), 63),
    _tpmi(0x38, "ENERGY_STATUS", ENERGY),
    _tpmi(0x40, "PERF_STATUS", THROTTLED),
    _tpmi(
        0x48,
        "POWER_INFO",
        (
            Field("thermal_spec_power", 0, 17, "power"),
            Field("minimum_power", 18, 35, "power"),
            Field("maximum_power", 36, 53, "power"),
            Field("maximum_time_window", 54, 60, "window"),
        ),
    ),
    _tpmi(0x50, "DOMAIN_INFO", (Field("root", 0, 0),)),
    _tpmi(0x58, "INTERRUPT", (Field("interrupt", 0, 63),)),
)
