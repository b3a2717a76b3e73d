# SPDX-License-Identifier: Apache-2.0
"""The three RAPL registers of AMD and Hygon processors, as a table.

Mirrors the registers RAPL_PWR_UNIT, CORE_ENERGY_STAT and PKG_ENERGY_STAT of AMD's PPRs (54945, 56214, 56713,
57238, 57896). There is no limit, info, policy or perf register: power limits are set through the SMU.
Counters have 64 bits from Zen 4 on, whatever Linux makes of them.
"""

from __future__ import annotations

from raplica_simulator.hardware.registers_intel import ENERGY, UNIT_FIELDS
from raplica_simulator.hardware.registers_types import AMD, HYGON, ZEN4_AND_LATER, Field, Models, Register

_AMD = frozenset({AMD, HYGON})
_WIDE_ENERGY = (Field("energy", 0, 63, "energy"),)
_CORE_ALIASES = ("CORE_ENERGY_STAT", "MSR_CORE_ENERGY_STAT")
_PACKAGE_ALIASES = ("PKG_ENERGY_STAT", "MSR_PKG_ENERGY_STAT", "L3PACKAGEENERGYSTATUS")


def _energy(
    address: int, name: str, aliases: tuple[str, ...], fields: tuple[Field, ...], models: tuple[Models, ...]
) -> Register:
    per_core = address == 0xC001029A
    return Register(
        name=name,
        address=address,
        vendors=_AMD,
        scope="core" if per_core else "package",
        access="ro",
        fields=fields,
        lock=None,
        source="PPR 56713 (64 bits)" if models else "PPR 54945, 56214 (32 bits)",
        domain="cpu-core" if per_core else "package",
        models=models,
        aliases=aliases,
    )


AMD_REGISTERS = (
    Register(
        name="MSR_AMD_RAPL_POWER_UNIT",
        address=0xC0010299,
        vendors=_AMD,
        scope="package",
        access="ro",
        fields=UNIT_FIELDS,
        lock=None,
        source="PPR 54945: PU 3:0, ESU 12:8, TU 19:16",
        aliases=("RAPL_PWR_UNIT", "MSR_RAPL_PWR_UNIT", "L3RAPLPOWERUNIT"),
    ),
    _energy(0xC001029A, "MSR_AMD_CORE_ENERGY_STATUS", _CORE_ALIASES, _WIDE_ENERGY, ZEN4_AND_LATER),
    _energy(0xC001029A, "MSR_AMD_CORE_ENERGY_STATUS", _CORE_ALIASES, ENERGY, ()),
    _energy(0xC001029B, "MSR_AMD_PKG_ENERGY_STATUS", _PACKAGE_ALIASES, _WIDE_ENERGY, ZEN4_AND_LATER),
    _energy(0xC001029B, "MSR_AMD_PKG_ENERGY_STATUS", _PACKAGE_ALIASES, ENERGY, ()),
)
