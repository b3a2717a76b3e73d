# SPDX-License-Identifier: Apache-2.0
"""What the bits of one register mean: `raplica decode`.

Two answers stand side by side for each field: the exact value by the manual's formula (`hardware.units`), and
the integer that the Linux driver makes of it (`linux.rapl_units`), which is a little different because the
driver truncates. Fields, models and units come from the tables; nothing here knows a register.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Required, TypedDict

from raplica_simulator.hardware.registers import (
    AMD_REGISTERS,
    INTEL_REGISTERS,
    MMIO_REGISTERS,
    TPMI_REGISTERS,
    CpuId,
    Field,
    Register,
    lookup,
)
from raplica_simulator.hardware.units import (
    Units,
    counter_units,
    exact_units,
    unit_style,
    usual_unit,
    window_linear_s,
    window_s,
)
from raplica_simulator.linux.kernel import find_kernel
from raplica_simulator.linux.rapl_models import RaplDefaults, find_defaults, has_peak_power
from raplica_simulator.linux.rapl_units import RaplUnits, atom_units, core_units, tpmi_units

__all__ = ["Decoded", "DecodedField", "decode", "render"]

_NUMBER = re.compile(r"0x[0-9a-f]+|[0-9]+", re.IGNORECASE | re.ASCII)
_U32 = (1 << 32) - 1
_U64 = (1 << 64) - 1
_TABLES = (*INTEL_REGISTERS, *AMD_REGISTERS, *MMIO_REGISTERS, *TPMI_REGISTERS)
_UNIT_SIGN = {
    "power": "W",
    "power_unit": "W",
    "energy": "J",
    "energy_unit": "J",
    "time": "s",
    "time_unit": "s",
    "window": "s",
    "window_linear": "s",
}
# Limits and windows that a constraint shows; PL3 exists in TPMI only and has none.
_CONSTRAINT = re.compile(r"pl[124]_(power_limit|time_window)")
# max_power_uw of long_term and short_term; a dram zone has no short_term.
_MAX_POWER = {"thermal_spec_power": ("package", "dram", ""), "maximum_power": ("package", "")}
# Registers that the driver never reads.
_UNREAD = frozenset({"MSR_PACKAGE_ENERGY_TIME_STATUS", "MSR_PKG_POWER_INFO_ATOM"})


class DecodedField(TypedDict, total=False):
    """One field: its number, and where it means something its value with unit and what sysfs would show."""

    raw: Required[int]
    value: float
    unit: str
    sysfs: int


class Decoded(TypedDict):
    """One register: its name, its address and content in hexadecimal, and its fields by name."""

    register: str
    address: str
    raw: str
    fields: dict[str, DecodedField]


def decode(
    register: int | str,
    value: int | str,
    *,
    unit: int | str | None = None,
    cpu: CpuId | str | None = None,
) -> Decoded:
    """Return what a register value means.

    `register` is an address or a name, `value` its 64 bits, `unit` the content of the unit register that goes
    with it (default: the usual one of the processor), `cpu` a processor or FAMILY:MODEL. Numbers may be text,
    decimal or hexadecimal with 0x. `value` in the result is watts, joules or seconds: the nearest float, or
    an int where that is exact and a float is not. Raises ValueError in one line for anything that is wrong.
    """
    cpu_id = CpuId.parse(cpu) if isinstance(cpu, str) else cpu
    found = _find(register, cpu_id)
    raw = _u64(value, f"value of {found.name}")
    unit_raw = usual_unit(cpu_id or _any_cpu(found), found.space) if unit is None else _u64(unit, "unit register")
    style = "tpmi" if found.space == "tpmi" else unit_style(cpu_id)
    meaning = _Meaning(found, exact_units(unit_raw, style), counter_units(cpu_id, unit_raw))
    shown = _Shown(found, cpu_id, unit_raw)
    fields: dict[str, DecodedField] = {}
    for field in found.fields:
        number = field.extract(raw)
        entry: DecodedField = {"raw": number}
        exact = _unit_value(field, raw, style) or meaning.value(field, number)
        if exact is not None:
            entry["value"] = _json_number(exact)
            entry["unit"] = _UNIT_SIGN[field.quantity]
        sysfs = shown.value(field, number)
        if sysfs is not None:
            entry["sysfs"] = sysfs
        fields[field.name] = entry
    return {
        "register": found.name,
        "address": f"0x{found.address:X}",
        "raw": f"0x{raw:016X}",
        "fields": fields,
    }


def render(decoded: Decoded) -> str:
    """Return a decoded register as lines for people, without a newline at the end."""
    rows = [("field", "raw", "value", "sysfs")]
    for name, field in decoded["fields"].items():
        value = f"{field['value']:.15g} {field['unit']}" if "value" in field else ""
        rows.append((name, str(field["raw"]), value, str(field.get("sysfs", ""))))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [f"{decoded['register']} ({decoded['address']}) = {decoded['raw']}"]
    for name, raw, value, sysfs in rows:
        line = f"  {name:<{widths[0]}}  {raw:>{widths[1]}}  {value:>{widths[2]}}  {sysfs:>{widths[3]}}"
        lines.append(line.rstrip())
    return "\n".join(lines)


class _Meaning:
    """The manual's formulas for the fields of one register."""

    def __init__(self, register: Register, units: Units, counters: Mapping[str, Fraction]) -> None:
        self._units = units
        self._energy_j = counters[register.domain] if register.domain else units.energy_j

    def value(self, field: Field, number: int) -> Fraction | None:
        """Return exact watts, joules or seconds; None for a number that means nothing more."""
        match field.quantity:
            case "power":
                return number * self._units.power_w
            case "energy":
                return number * self._energy_j
            case "time":
                return number * self._units.time_s
            case "window":
                return window_s(number, self._units.time_s)
            case "window_linear":
                return window_linear_s(number, self._units.time_s)
        return None


class _Shown:
    """What the driver of the default kernel shows for the fields of one register, and whether it does."""

    def __init__(self, register: Register, cpu: CpuId | None, unit_raw: int) -> None:
        kernel = find_kernel()
        defaults = RaplDefaults() if cpu is None else find_defaults(cpu, kernel)
        self._register = register
        self._kernel = kernel.number
        # A processor that the driver's tables do not list has no zones, and one without PL4 no peak_power.
        self._hidden = defaults is None or register.name in _UNREAD
        self._hides_pl4 = register.space == "msr" and cpu is not None and not has_peak_power(cpu, kernel)
        self._units = self._linux_units(register, defaults or RaplDefaults(), unit_raw)

    @staticmethod
    def _linux_units(register: Register, defaults: RaplDefaults, unit_raw: int) -> RaplUnits:
        if register.space == "tpmi":
            return tpmi_units(unit_raw)
        units = atom_units(unit_raw) if defaults.style == "atom" else core_units(unit_raw)
        own = {"dram": defaults.dram_unit_nj, "psys": defaults.psys_unit_nj}.get(register.domain, 0)
        return RaplUnits(own or units.energy_unit_nj, units.power_unit_uw, units.time_unit_us, units.style)

    def value(self, field: Field, number: int) -> int | None:
        """Return the integer that an attribute shows, or None where none shows this field."""
        if self._hidden or (self._hides_pl4 and field.name.startswith("pl4_")):
            return None
        if field.quantity == "energy":
            # The driver takes 32 bits also where the counter has 64 (rpi_msr, ENERGY_COUNTER).
            return self._units.energy_to_uj(number & _U32)
        if _CONSTRAINT.fullmatch(field.name):
            if field.quantity == "power":
                return self._units.power_to_uw(number)
            return self._units.window_to_us(number, self._kernel)
        if self._register.domain in _MAX_POWER.get(field.name, ()) and field.quantity == "power":
            return self._units.power_to_uw(number) if self._register.name.endswith("POWER_INFO") else None
        return None


def _unit_value(field: Field, raw: int, style: str) -> Fraction | None:
    """Return what a field of the unit register itself is worth, or None for any other field."""
    if not field.quantity.endswith("_unit"):
        return None
    units = exact_units(raw, style)
    return {"power_unit": units.power_w, "energy_unit": units.energy_j, "time_unit": units.time_s}[field.quantity]


def _json_number(exact: Fraction) -> float:
    """Return the float that prints the value, or the int where only that is exact."""
    number = exact.numerator / exact.denominator
    if exact.denominator == 1 and Fraction(number) != exact:
        return exact.numerator
    return number


def _u64(value: int | str, what: str) -> int:
    """Return a number given as int or text; ValueError unless it fits 64 bits unsigned."""
    number = value
    if isinstance(number, str):
        text = number.strip()
        if not _NUMBER.fullmatch(text):
            raise ValueError(f"{what} is {value!r}: write it in hexadecimal such as 0xA0E03, or in decimal")
        number = int(text, 16) if text[:2] in ("0x", "0X") else int(text)
    if not 0 <= number <= _U64:
        raise ValueError(f"{what} is {value!r}: it must be 0 to 0xFFFFFFFFFFFFFFFF")
    return number


def _any_cpu(register: Register) -> CpuId | None:
    """Return a processor to take the usual unit from where none was given: only AMD's registers need one."""
    return CpuId("AuthenticAMD", 0x17, 0x31) if register in AMD_REGISTERS else None


def _find(register: int | str, cpu: CpuId | None) -> Register:
    """Return the layout of a register; ValueError in one line, with the nearest names, where there is none."""
    for space in ("msr", "mmio", "tpmi"):
        # TPMI offsets are small numbers that say nothing without their domain: names only.
        if space == "tpmi" and (isinstance(register, int) or _NUMBER.fullmatch(register.strip())):
            continue
        found = lookup(register, cpu, space)
        if found is not None:
            return found
        elsewhere = lookup(register, None, space)
        if elsewhere is not None:
            raise ValueError(
                f"{elsewhere.name} (0x{elsewhere.address:X}) is no register of {cpu}: "
                f"leave --cpu out or give a processor that has it"
            )
    raise ValueError(_unknown(register))


def _unknown(register: int | str) -> str:
    if isinstance(register, str) and not _NUMBER.fullmatch(register.strip()):
        names = {name: None for row in _TABLES for name in (row.name, *row.aliases)}
        near = difflib.get_close_matches(register.strip().upper(), names, n=2, cutoff=0.4)
        hint = " or ".join(near) if near else "an address such as 0x610 or a name such as MSR_PKG_POWER_LIMIT"
        return f"unknown register {register!r}: try {hint}"
    address = _u64(register, "register")
    near_rows = sorted({(abs(row.address - address), row.address, row.name) for row in _TABLES if row.space != "tpmi"})
    hint = " and ".join(f"0x{known:X} ({name})" for _, known, name in near_rows[:2])
    return f"unknown register 0x{address:X}: the nearest known are {hint}"
