# SPDX-License-Identifier: Apache-2.0
"""Finding a register: by address or name, in the layout that a given processor has.

This is the door to the tables; what they are made of stands in `registers_types`. Unit questions that a model
decides (`counter_units`, `counter_width`) are answered here too, because whoever holds a register asks them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from raplica_simulator.hardware.registers_amd import AMD_REGISTERS
from raplica_simulator.hardware.registers_intel import INTEL_REGISTERS
from raplica_simulator.hardware.registers_mmio import MMIO_REGISTERS, TPMI_REGISTERS
from raplica_simulator.hardware.registers_types import AMD, HYGON, INTEL, CpuId, Field, Models, Register
from raplica_simulator.hardware.units import counter_units, counter_width

__all__ = [
    "AMD",
    "AMD_REGISTERS",
    "HYGON",
    "INTEL",
    "INTEL_REGISTERS",
    "MMIO_REGISTERS",
    "TPMI_REGISTERS",
    "CpuId",
    "Field",
    "Models",
    "Register",
    "counter_units",
    "counter_width",
    "lookup",
]

_NUMBER = re.compile(r"0x[0-9a-f]+|[0-9]+", re.IGNORECASE | re.ASCII)


def _index(registers: Iterable[Register]) -> dict[int | str, tuple[Register, ...]]:
    """Map each address and each name, with and without MSR_, to its layouts in the table's order."""
    index: dict[int | str, list[Register]] = {}
    for register in registers:
        names = {name.upper() for name in (register.name, *register.aliases)}
        keys: set[int | str] = {register.address, *names, *(name.removeprefix("MSR_") for name in names)}
        for key in keys:
            layouts = index.setdefault(key, [])
            if register not in layouts:
                layouts.append(register)
    return {key: tuple(layouts) for key, layouts in index.items()}


_INDEX = {
    "msr": _index((*INTEL_REGISTERS, *AMD_REGISTERS)),
    "mmio": _index(MMIO_REGISTERS),
    "tpmi": _index(TPMI_REGISTERS),
}


def lookup(address_or_name: int | str, cpu: CpuId | None = None, space: str = "msr") -> Register | None:
    """Return the register's layout on a processor, or None where it has none.

    Text is an address (hexadecimal with 0x, or decimal) or a name in any case, with or without MSR_. Without
    a processor the general layout is returned. `space` is "msr", "mmio" (MCHBAR offset) or "tpmi" (offset
    within a domain).
    """
    key: int | str = address_or_name
    if isinstance(key, str):
        key = key.strip().upper()
        if _NUMBER.fullmatch(key):
            key = int(key, 16) if key.startswith("0X") else int(key)
    layouts = _INDEX[space].get(key, ())
    if cpu is None:
        return next((register for register in layouts if not register.models), layouts[0] if layouts else None)
    return next((register for register in layouts if register.holds_for(cpu)), None)
