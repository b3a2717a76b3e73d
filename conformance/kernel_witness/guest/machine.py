# SPDX-License-Identifier: Apache-2.0
"""What a step needs to know of the machine: its register table, and where its zones are right now."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "CLASS",
    "Machine",
    "Table",
    "Zone",
    "attributes",
    "control_types",
    "find_zones",
    "kind_of",
    "load_machine",
    "registers_of",
    "table",
    "zones_of_die",
]

CLASS = "/sys/class/powercap"
Table = dict[int, dict[int, int]]
_ATTRIBUTE = re.compile(
    r"energy_uj|power_uw|max_energy_range_uj|max_power_range_uw|name|enabled"
    r"|constraint_\d+_(name|power_limit_uw|time_window_us|max_power_uw|min_power_uw|max_time_window_us|min_time_window_us)"
)

# Which registers a zone lives on, by what its name begins with; AMD's beside Intel's.
_MSR = {
    "package": (0x601, 0x610, 0x611, 0x614, 0xC001029B),
    "core": (0x638, 0x639, 0x63A, 0xC001029A),
    "uncore": (0x640, 0x641, 0x642),
    "dram": (0x618, 0x619, 0x61C),
    "psys": (0x64D, 0x65C),
}
_MMIO = {"package": (0x59B0, 0x59A0, 0x593C, 0x5930), "dram": (0x58E0, 0x58E8)}
# A TPMI domain is 128 bytes; its header says in bits 15:8 what it is.
_TPMI_SIZE = 0x80
_TPMI_END = 0x400
_TPMI_KINDS = {"psys": 1, "package": 2, "dram": 4}
_TPMI_REGISTERS = {
    0x00: "header",
    0x08: "unit",
    0x10: "limit",
    0x18: "limit",
    0x28: "limit",
    0x38: "counter",
    0x48: "info",
}
_KINDS = {
    "unit": (0x606, 0x5938, 0xC0010299),
    "limit": (0x610, 0x638, 0x640, 0x618, 0x65C, 0x601, 0x59A0, 0x58E0, 0x59B0),
    "counter": (0x611, 0x639, 0x641, 0x619, 0x64D, 0xC001029A, 0xC001029B, 0x593C, 0x58E8),
    "info": (0x614, 0x61C, 0x5930),
}


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine, as the host described it; numbers of `registers` by logical die and address.

    `modules` are those that make its tree, each with its parameters, in the order of loading. `task` is what is done
    with it: record, judge or interrupt. `rates` says by die and address how many steps a second a counter makes, where
    time is moved; `kills` is how many runs are killed, `seed` chooses when.
    """

    name: str
    kernel: str
    cpu_dies: tuple[int, ...]
    dies_per_package: int
    sweep_dies: tuple[int, ...]
    modules: tuple[tuple[str, str], ...]
    registers: Table
    probes: tuple[str, ...]
    scenarios: tuple[dict[str, Any], ...]
    task: str
    rates: Table
    seed: int
    kills: int

    def copy(self) -> Table:
        """Return a table that may be changed."""
        return {die: dict(words) for die, words in self.registers.items()}

    def present(self, kind: str) -> list[tuple[int, int]]:
        """Return die and address of each register of a kind, on the dies that sweeps go over."""
        return [
            (die, address)
            for die in self.sweep_dies
            for address in sorted(self.registers[die])
            if kind_of(address) == kind
        ]


@dataclass(frozen=True, slots=True)
class Zone:
    """A zone: its path below the class, and its name."""

    path: str
    name: str


def load_machine(path: str) -> Machine:
    """Read what the host wrote."""
    given = json.loads(Path(path).read_text(encoding="utf-8"))
    return Machine(
        name=given["name"],
        kernel=given["kernel"],
        cpu_dies=tuple(given["cpu_dies"]),
        dies_per_package=given["dies_per_package"],
        sweep_dies=tuple(given["sweep_dies"]),
        modules=tuple((name, parameters) for name, parameters in given["modules"]),
        registers=table(given["registers"]),
        probes=tuple(given["probes"]),
        scenarios=tuple(given["scenarios"]),
        task=given["task"],
        rates=table(given["rates"]),
        seed=given["seed"],
        kills=given["kills"],
    )


def table(given: Mapping[str, Mapping[str, str]]) -> Table:
    """Return a register table from its JSON form."""
    return {
        int(die): {int(address, 0): int(value, 0) for address, value in words.items()} for die, words in given.items()
    }


def kind_of(address: int) -> str:
    """Tell what a register is: unit, limit, counter, info, header or other."""
    if address < _TPMI_END:
        return _TPMI_REGISTERS.get(address % _TPMI_SIZE, "other")
    return next((kind for kind, addresses in _KINDS.items() if address in addresses), "other")


def registers_of(zone: Zone, words: Mapping[int, int]) -> list[int]:
    """Return the addresses behind a zone, of those that a die has."""
    kind = next((kind for kind in _MSR if zone.name.startswith(kind)), "")
    if "intel-rapl-mmio" in zone.path:
        wanted = _MMIO.get(kind, ())
    elif any(address < _TPMI_END for address in words):
        domains = range(0, _TPMI_END, _TPMI_SIZE)
        wanted = tuple(
            base + offset
            for base in domains
            if words.get(base, 0) >> 8 & 0xFF == _TPMI_KINDS.get(kind)
            for offset in _TPMI_REGISTERS
        )
    else:
        wanted = _MSR.get(kind, ())
    return [address for address in wanted if address in words and kind_of(address) not in ("unit", "header")]


def control_types() -> list[str]:
    """Return the paths of the control types, sorted."""
    return [f"{CLASS}/{name}" for name in sorted(os.listdir(CLASS)) if ":" not in name]


def find_zones() -> list[Zone]:
    """Return the zones that the class shows now, parents before children, in the order of their ids."""
    names = [name for name in os.listdir(CLASS) if ":" in name]
    names.sort(key=lambda name: (name.split(":")[0], [int(part, 16) for part in name.split(":")[1:]]))
    return [Zone(f"{CLASS}/{name}", Path(f"{CLASS}/{name}/name").read_text().strip()) for name in names]


def zones_of_die(machine: Machine, die: int) -> list[Zone]:
    """Return the zones on one logical die: its package zone, what lies below that, and psys."""
    package, inner = divmod(die, machine.dies_per_package)
    # Linux 6.1 counts dies within the package, 6.12 across all packages.
    names = {f"package-{package}-die-{inner}", f"package-{package}-die-{die}"}
    if machine.dies_per_package == 1:
        names = {f"package-{package}"}
    psys = "psys" if die == 0 else f"psys-{package}"
    zones = find_zones()
    tops = tuple(f"{zone.path}:" for zone in zones if zone.name in names)
    return [zone for zone in zones if zone.name in names or zone.name == psys or zone.path.startswith(tops)]


def attributes(zone: Zone) -> list[str]:
    """Return the names of a zone's powercap attributes, sorted."""
    return sorted(name for name in os.listdir(zone.path) if _ATTRIBUTE.fullmatch(name))
