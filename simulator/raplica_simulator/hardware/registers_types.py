# SPDX-License-Identifier: Apache-2.0
"""What a register is: an address, named bit fields, and the rules of reading and writing it.

The tables of `registers_intel`, `registers_amd` and `registers_mmio` are made of these values. Where models
differ (Intel SDM vol. 4 gives one table per model group), a table holds several layouts of one address, each
with the models that it is for; nothing else in the simulator asks for a model to find a bit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

INTEL = "GenuineIntel"
AMD = "AuthenticAMD"
HYGON = "HygonGenuine"

_MASK64 = (1 << 64) - 1
# AMD and Hygon families that have RAPL registers; Intel has only ever used 5, 6, 15, 18 and 19.
_VENDOR_OF_FAMILY = {6: INTEL, 18: INTEL, 19: INTEL, 23: AMD, 24: HYGON, 25: AMD, 26: AMD}
_CPU_TEXT = re.compile(r"(0x[0-9a-f]+|[0-9]+):(0x[0-9a-f]+|[0-9]+)", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class CpuId:
    """What CPUID says a processor is: vendor string, display family and model, stepping."""

    vendor: str
    family: int
    model: int
    stepping: int = 0

    @classmethod
    def parse(cls, text: str) -> CpuId:
        """Read FAMILY:MODEL, decimal or hexadecimal with 0x; the family decides the vendor (6 Intel, 25 AMD).

        Raises ValueError in one line for anything else.
        """
        match = _CPU_TEXT.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"cpu {text!r} is not FAMILY:MODEL: write it like 6:85 or 0x6:0x55")
        family, model = (int(part, 0) if part[:2] in ("0x", "0X") else int(part) for part in match.groups())
        vendor = _VENDOR_OF_FAMILY.get(family)
        if vendor is None or model > 0xFF:
            raise ValueError(
                f"cpu {text!r} has no RAPL registers that are known here: "
                "the families are 6 and 18 (Intel), 23, 25 and 26 (AMD), 24 (Hygon), models are 0 to 255"
            )
        return cls(vendor, family, model)

    def __str__(self) -> str:
        return f"{self.vendor} {self.family}:{self.model}"


@dataclass(frozen=True, slots=True)
class Models:
    """A range of models of one family, both ends included."""

    family: int
    low: int
    high: int

    def __contains__(self, cpu: CpuId) -> bool:
        return cpu.family == self.family and self.low <= cpu.model <= self.high


def intel_models(*models: int) -> tuple[Models, ...]:
    """Single models of Intel's family 6."""
    return tuple(Models(6, model, model) for model in models)


# Model groups that share a layout or a unit (Intel SDM vol. 4 lists MSRs by such groups).
SANDY_IVY_BRIDGE = intel_models(0x2A, 0x2D, 0x3A, 0x3E)
SILVERMONT_STYLE = intel_models(0x37, 0x4A, 0x4C, 0x5A)
AVOTON_AIRMONT = intel_models(0x4D, 0x4C)
ICE_LAKE_SERVER = intel_models(0x6A, 0x6C)
SAPPHIRE_EMERALD_RAPIDS = intel_models(0x8F, 0xCF)
XEON_E5 = intel_models(0x2D, 0x3E, 0x3F, 0x4F, 0x56)
XEON = XEON_E5 + intel_models(0x55, 0x57, 0x6A, 0x6C, 0x85, 0x8F, 0xAD, 0xAE, 0xAF, 0xB6, 0xCF)
# Zen 4 and later: family 19h from model 10h on except Zen 3's 20h to 5Fh, and all of 1Ah (AMD PPR 56713,
# 57238).
ZEN4_AND_LATER = (Models(0x19, 0x10, 0x1F), Models(0x19, 0x60, 0xFF), Models(0x1A, 0x00, 0xFF))


def matches(models: tuple[Models, ...], cpu: CpuId) -> bool:
    """Tell whether a processor is in one of the ranges."""
    return any(cpu in group for group in models)


@dataclass(frozen=True, slots=True)
class Field:
    """Bits `high` to `low` of a register.

    `quantity` says what the number means: "" nothing more, or "power", "energy", "time" (so many units),
    "window" (2^Y (1 + F/4) units), "window_linear" (so many units, 0 counts as 1), "power_unit",
    "energy_unit", "time_unit" (the exponent that sets a unit).
    """

    name: str
    low: int
    high: int
    quantity: str = ""

    @property
    def mask(self) -> int:
        """The field's bits, in place."""
        return ((1 << (self.high - self.low + 1)) - 1) << self.low

    def extract(self, raw: int) -> int:
        """Return the field's number out of a register value."""
        return (raw & self.mask) >> self.low

    def insert(self, raw: int, value: int) -> int:
        """Return the register value with the field's number replaced; ValueError when it does not fit."""
        if value < 0 or value << self.low & ~self.mask:
            raise ValueError(f"{self.name} is {value}, it must be 0 to {self.mask >> self.low}")
        return raw & ~self.mask | value << self.low


@dataclass(frozen=True, slots=True)
class Register:
    """One layout of one register.

    `scope` is "package" (one per die on multi-die Intel parts), "core" or "platform"; `access` is "ro" (a
    write faults), "rw" or "rw-lock" (bit `lock`, once set, drops every write until reset; `locked_by` is the
    (address, bit) of another register that does the same). `domain` is what an energy counter or a limit is
    about. `models` is empty for the layout that holds wherever no other does. `space` is "msr", "mmio"
    (offset into MCHBAR) or "tpmi" (offset into a domain).
    """

    name: str
    address: int
    vendors: frozenset[str]
    scope: str
    access: str
    fields: tuple[Field, ...]
    lock: int | None
    source: str
    domain: str = ""
    models: tuple[Models, ...] = ()
    aliases: tuple[str, ...] = ()
    space: str = "msr"
    locked_by: tuple[int, int] | None = None
    reserved: int = field(init=False)

    def __post_init__(self) -> None:
        reserved = _MASK64
        for one in self.fields:
            reserved &= ~one.mask
        object.__setattr__(self, "reserved", reserved)

    @property
    def counter(self) -> Field | None:
        """The field that counts energy, or None."""
        return next((one for one in self.fields if one.quantity == "energy"), None)

    def field(self, name: str) -> Field:
        """Return a field by name; KeyError when this layout has none of that name."""
        for one in self.fields:
            if one.name == name:
                return one
        raise KeyError(f"{self.name} has no field {name}")

    def extract(self, raw: int) -> dict[str, int]:
        """Return every field's number out of a register value, in the table's order."""
        return {one.name: one.extract(raw) for one in self.fields}

    def holds_for(self, cpu: CpuId) -> bool:
        """Tell whether this layout is one for the processor."""
        return cpu.vendor in self.vendors and (not self.models or matches(self.models, cpu))
