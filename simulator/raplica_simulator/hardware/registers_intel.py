# SPDX-License-Identifier: Apache-2.0
"""The RAPL registers of Intel processors, as tables.

Mirrors Intel SDM vol. 3B section 15.10 (fields) and vol. 4 (addresses and models), with the field positions
that Linux uses in drivers/powercap/intel_rapl_common.c. A layout for certain models stands before the general
one of the same address.
"""

from __future__ import annotations

from raplica_simulator.hardware.registers_types import (
    AVOTON_AIRMONT,
    ICE_LAKE_SERVER,
    INTEL,
    SANDY_IVY_BRIDGE,
    SAPPHIRE_EMERALD_RAPIDS,
    SILVERMONT_STYLE,
    XEON,
    XEON_E5,
    Field,
    Models,
    Register,
)

_INTEL = frozenset({INTEL})

UNIT_FIELDS = (
    Field("power_unit", 0, 3, "power_unit"),
    Field("energy_unit", 8, 12, "energy_unit"),
    Field("time_unit", 16, 19, "time_unit"),
)
_PL1 = (
    Field("pl1_power_limit", 0, 14, "power"),
    Field("pl1_enabled", 15, 15),
    Field("pl1_clamp", 16, 16),
    Field("pl1_time_window", 17, 23, "window"),
)
TWO_LIMITS = (
    *_PL1,
    Field("pl2_power_limit", 32, 46, "power"),
    Field("pl2_enabled", 47, 47),
    Field("pl2_clamp", 48, 48),
    Field("pl2_time_window", 49, 55, "window"),
    Field("lock", 63, 63),
)
_ONE_LIMIT = (*_PL1, Field("lock", 31, 31))
_SILVERMONT_LIMIT = (*_PL1[:3], Field("pl1_time_window", 17, 23, "window_linear"))
_ICE_LAKE_SERVER_DRAM_LIMIT = (_PL1[0], _PL1[1], _PL1[3], Field("lock", 63, 63))
_SAPPHIRE_RAPIDS_PLATFORM_LIMIT = (
    Field("pl1_power_limit", 0, 16, "power"),
    Field("pl1_enabled", 17, 17),
    Field("pl1_time_window", 19, 25, "window"),
    Field("pl2_power_limit", 32, 48, "power"),
    Field("pl2_enabled", 49, 49),
    Field("pl2_time_window", 51, 57, "window"),
    Field("lock", 63, 63),
)
PEAK_POWER = (Field("pl4_power_limit", 0, 12, "power"), Field("lock", 31, 31))
_CURRENT_LIMIT = (
    Field("current_limit", 0, 12),
    Field("regulator_low", 13, 30),
    Field("lock", 31, 31),
    Field("regulator_high", 32, 63),
)
ENERGY = (Field("energy", 0, 31, "energy"),)
THROTTLED = (Field("throttled_time", 0, 31, "time"),)
_POWERS = (
    Field("thermal_spec_power", 0, 14, "power"),
    Field("minimum_power", 16, 30, "power"),
    Field("maximum_power", 32, 46, "power"),
)
POWER_INFO = (*_POWERS, Field("maximum_time_window", 48, 53, "time"))
# The Xeon tables read bits 54:48 as 2^Y (1 + Z/4) units, the client tables bits 53:48 as a plain number, and
# tools print the plain one on both: a reader of this register is told both.
_XEON_POWER_INFO = (*POWER_INFO, Field("maximum_time_window_yz", 48, 54, "window"))
_POLICY = (Field("priority_level", 0, 4),)
_CONFIG_TDP_LEVEL = (
    Field("thermal_spec_power", 0, 14, "power"),
    Field("ratio", 16, 23),
    Field("maximum_power", 32, 46, "power"),
    Field("minimum_power", 48, 62, "power"),
)
# Vol. 4, MSR_CORE_PERF_LIMIT_REASONS and its graphics and ring siblings: status bit, and its log bit 16
# above.
_LIMIT_REASONS = (
    (0, "prochot"),
    (1, "thermal"),
    (4, "residency_regulation"),
    (5, "average_thermal_limit"),
    (6, "regulator_thermal_alert"),
    (7, "regulator_design_current"),
    (8, "other"),
    (9, "core_power"),
    (10, "pl1"),
    (11, "pl2"),
    (12, "max_turbo"),
    (13, "turbo_attenuation"),
)
_REASONS = tuple(
    Field(f"{name}_{kind}", bit + offset, bit + offset)
    for kind, offset in (("status", 0), ("log", 16))
    for bit, name in _LIMIT_REASONS
)
_THERM_STATUS = (
    *(
        Field(f"{name}_{kind}", bit + offset, bit + offset)
        for bit, name in (
            (0, "thermal"),
            (2, "prochot"),
            (4, "critical_temperature"),
            (6, "threshold_1"),
            (8, "threshold_2"),
            (10, "power_limit"),
        )
        for offset, kind in enumerate(("status", "log"))
    ),
    Field("digital_readout", 16, 22),
)
_THERM_INTERRUPT = (
    Field("high_temperature_enabled", 0, 0),
    Field("low_temperature_enabled", 1, 1),
    Field("prochot_enabled", 2, 2),
    Field("overheat_enabled", 4, 4),
    Field("threshold_1_value", 8, 14),
    Field("threshold_1_enabled", 15, 15),
    Field("threshold_2_value", 16, 22),
    Field("threshold_2_enabled", 23, 23),
    Field("power_limit_notification_enabled", 24, 24),
)


def _msr(  # noqa: PLR0913  # a row of the table below: every column is one argument
    address: int,
    name: str,
    access: str,
    fields: tuple[Field, ...],
    source: str,
    *,
    domain: str = "",
    models: tuple[Models, ...] = (),
    scope: str = "package",
    lock: int | None = None,
    locked_by: tuple[int, int] | None = None,
    aliases: tuple[str, ...] = (),
) -> Register:
    return Register(
        name=name,
        address=address,
        vendors=_INTEL,
        scope=scope,
        access=access,
        fields=fields,
        lock=lock,
        source=source,
        domain=domain,
        models=models,
        aliases=aliases,
        locked_by=locked_by,
    )


_RAPL = "SDM vol. 3B 15.10"
_VOL4 = "SDM vol. 4"

INTEL_REGISTERS = (
    _msr(0x606, "MSR_RAPL_POWER_UNIT", "ro", UNIT_FIELDS, f"{_RAPL}.1"),
    # Package.
    _msr(0x610, "MSR_PKG_POWER_LIMIT", "rw", _SILVERMONT_LIMIT, f"{_VOL4}, Silvermont: one limit, whole seconds",
         domain="package", models=SILVERMONT_STYLE),
    _msr(0x610, "MSR_PKG_POWER_LIMIT", "rw-lock", TWO_LIMITS, f"{_RAPL}.3", domain="package", lock=63),
    _msr(0x611, "MSR_PKG_ENERGY_STATUS", "ro", ENERGY, f"{_RAPL}.3", domain="package"),
    _msr(0x612, "MSR_PACKAGE_ENERGY_TIME_STATUS", "ro",
         (Field("energy", 0, 31, "energy"), Field("timestamp", 32, 63)),
         f"{_VOL4}: the energy and when it was updated, in 10 ns", domain="package"),
    _msr(0x613, "MSR_PKG_PERF_STATUS", "ro", THROTTLED, f"{_RAPL}.3", domain="package"),
    _msr(0x614, "MSR_PKG_POWER_INFO", "ro", _XEON_POWER_INFO, f"{_VOL4}, Xeon tables: window in 54:48",
         domain="package", models=XEON),
    _msr(0x614, "MSR_PKG_POWER_INFO", "ro", POWER_INFO, f"{_RAPL}.3", domain="package"),
    # Named MSR_PKG_POWER_INFO there as well, although 0x614 is.
    _msr(0x66E, "MSR_PKG_POWER_INFO_ATOM", "ro", _POWERS[:1], f"{_VOL4}, Avoton and Airmont: the thermal power alone",
         domain="package", models=AVOTON_AIRMONT),
    # DRAM.
    _msr(0x618, "MSR_DRAM_POWER_LIMIT", "rw-lock", _ICE_LAKE_SERVER_DRAM_LIMIT,
         "Ice Lake-SP datasheet, as powercap/raplcap issue 10 quotes it: lock at 63, no clamp",
         domain="dram", models=ICE_LAKE_SERVER, lock=63),
    _msr(0x618, "MSR_DRAM_POWER_LIMIT", "rw-lock", _ONE_LIMIT, f"{_RAPL}.5", domain="dram", lock=31),
    _msr(0x619, "MSR_DRAM_ENERGY_STATUS", "ro", ENERGY, f"{_RAPL}.5", domain="dram"),
    _msr(0x61B, "MSR_DRAM_PERF_STATUS", "ro", THROTTLED, f"{_RAPL}.5", domain="dram"),
    _msr(0x61C, "MSR_DRAM_POWER_INFO", "ro", (*_XEON_POWER_INFO, Field("lock", 63, 63)),
         "Xeon E5 datasheet vol. 2: lock at 63", domain="dram", models=XEON_E5),
    _msr(0x61C, "MSR_DRAM_POWER_INFO", "ro", _XEON_POWER_INFO, f"{_VOL4}, Xeon tables", domain="dram", models=XEON),
    _msr(0x61C, "MSR_DRAM_POWER_INFO", "ro", POWER_INFO, f"{_RAPL}.5", domain="dram"),
    # Power planes: PP0 is the cores, PP1 the graphics.
    _msr(0x638, "MSR_PP0_POWER_LIMIT", "rw-lock", _ONE_LIMIT, f"{_RAPL}.4", domain="core", lock=31),
    _msr(0x639, "MSR_PP0_ENERGY_STATUS", "ro", ENERGY, f"{_RAPL}.4", domain="core"),
    _msr(0x63A, "MSR_PP0_POLICY", "rw", _POLICY, f"{_RAPL}.4", domain="core", locked_by=(0x638, 31)),
    _msr(0x63B, "MSR_PP0_PERF_STATUS", "ro", THROTTLED, f"{_RAPL}.4", domain="core"),
    _msr(0x640, "MSR_PP1_POWER_LIMIT", "rw-lock", _ONE_LIMIT, f"{_RAPL}.4", domain="uncore", lock=31),
    _msr(0x641, "MSR_PP1_ENERGY_STATUS", "ro", ENERGY, f"{_RAPL}.4", domain="uncore"),
    _msr(0x642, "MSR_PP1_POLICY", "rw", _POLICY, f"{_RAPL}.4", domain="uncore", locked_by=(0x640, 31)),
    # Platform.
    _msr(0x64D, "MSR_PLATFORM_ENERGY_STATUS", "ro", ENERGY, f"{_VOL4}, Skylake",
         domain="psys", scope="platform", aliases=("MSR_PLATFORM_ENERGY_COUNTER",)),
    _msr(0x65C, "MSR_PLATFORM_POWER_LIMIT", "rw-lock", _SAPPHIRE_RAPIDS_PLATFORM_LIMIT,
         "intel_rapl_common.c rpi_msr: 17-bit limits", domain="psys", scope="platform", lock=63,
         models=SAPPHIRE_EMERALD_RAPIDS),
    _msr(0x65C, "MSR_PLATFORM_POWER_LIMIT", "rw-lock", TWO_LIMITS, f"{_VOL4}, Skylake",
         domain="psys", scope="platform", lock=63),
    # Peak power, configurable TDP, turbo.
    _msr(0x601, "MSR_PP0_CURRENT_CONFIG", "rw-lock", _CURRENT_LIMIT, f"{_VOL4}, Sandy Bridge: amperes, not watts",
         models=SANDY_IVY_BRIDGE, lock=31),
    _msr(0x601, "MSR_VR_CURRENT_CONFIG", "rw-lock", PEAK_POWER, "turbostat.c print_rapl: PL4, lock at 31",
         domain="package", lock=31),
    _msr(0x648, "MSR_CONFIG_TDP_NOMINAL", "ro", (Field("ratio", 0, 7),), f"{_VOL4}, Ivy Bridge"),
    _msr(0x649, "MSR_CONFIG_TDP_LEVEL_1", "ro", _CONFIG_TDP_LEVEL, f"{_VOL4}, Ivy Bridge",
         aliases=("MSR_CONFIG_TDP_LEVEL1",)),
    _msr(0x64A, "MSR_CONFIG_TDP_LEVEL_2", "ro", _CONFIG_TDP_LEVEL, f"{_VOL4}, Ivy Bridge",
         aliases=("MSR_CONFIG_TDP_LEVEL2",)),
    _msr(0x64B, "MSR_CONFIG_TDP_CONTROL", "rw-lock", (Field("level", 0, 1), Field("lock", 31, 31)),
         f"{_VOL4}, Ivy Bridge", lock=31),
    _msr(0x64C, "MSR_TURBO_ACTIVATION_RATIO", "rw-lock",
         (Field("max_non_turbo_ratio", 0, 7), Field("lock", 31, 31)), f"{_VOL4}, Ivy Bridge", lock=31),
    # Why the processor runs below the requested speed.
    _msr(0x64F, "MSR_CORE_PERF_LIMIT_REASONS", "rw", _REASONS, f"{_VOL4}, Skylake"),
    _msr(0x690, "MSR_CORE_PERF_LIMIT_REASONS_HSW", "rw", _REASONS, f"{_VOL4}, Haswell, the old address"),
    _msr(0x6B0, "MSR_GRAPHICS_PERF_LIMIT_REASONS", "rw", _REASONS, f"{_VOL4}, Haswell",
         aliases=("MSR_GFX_PERF_LIMIT_REASONS",)),
    _msr(0x6B1, "MSR_RING_PERF_LIMIT_REASONS", "rw", _REASONS, f"{_VOL4}, Haswell"),
    _msr(0x1B1, "IA32_PACKAGE_THERM_STATUS", "rw", _THERM_STATUS, "SDM vol. 3B 15.8.4",
         aliases=("MSR_IA32_PACKAGE_THERM_STATUS",)),
    _msr(0x1B2, "IA32_PACKAGE_THERM_INTERRUPT", "rw", _THERM_INTERRUPT, "SDM vol. 3B 15.8.4",
         aliases=("MSR_IA32_PACKAGE_THERM_INTERRUPT",)),
)  # fmt: skip
