# SPDX-License-Identifier: Apache-2.0
"""Machine descriptions: one TOML file each, with a processor, its register table, and the probes it is put to.

[registers] holds for every die; [registers.die.N] says what differs on one of them. Values of 2^63 and more are
hexadecimal text, since TOML has no integer for them.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernel_witness.failure import WitnessError

__all__ = ["MachineDescription", "load_description", "machine_names"]

_MODULES = ("intel_rapl_common", "intel_rapl_msr")
_FOLDER = Path(__file__).parent / "machines"
_KEYS = frozenset({"what", "cpu", "topology", "registers", "probes", "scenario", "sweep_dies", "kernels", "modules"})


@dataclass(frozen=True, slots=True)
class MachineDescription:
    """A machine to record. `cpu` and `smp` are QEMU's arguments; `registers` by logical die and address."""

    name: str
    what: str
    cpu: str
    smp: str
    cpu_dies: tuple[int, ...]
    dies_per_package: int
    registers: dict[int, dict[int, int]]
    probes: tuple[str, ...]
    scenarios: tuple[dict[str, Any], ...]
    sweep_dies: tuple[int, ...]
    kernels: tuple[str, ...] | None
    modules: tuple[tuple[str, str], ...]

    def for_guest(self, kernel: str) -> dict[str, Any]:
        """Return what the guest reads."""
        return {
            "name": self.name,
            "kernel": kernel,
            "cpu_dies": self.cpu_dies,
            "dies_per_package": self.dies_per_package,
            "sweep_dies": self.sweep_dies,
            "modules": self.modules,
            "registers": _as_text(self.registers),
            "probes": self.probes,
            "scenarios": self.scenarios,
        }

    def table(self) -> dict[str, dict[str, str]]:
        """Return the register table as the log holds it."""
        return {
            str(die): {f"{address:#x}": f"0x{value:016x}" for address, value in sorted(words.items())}
            for die, words in self.registers.items()
        }


def machine_names() -> list[str]:
    """Return the names of all descriptions."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def load_description(name: str) -> MachineDescription:
    """Load one by name; `WitnessError` where there is none or it is not right."""
    path = _FOLDER / f"{name}.toml"
    if not path.exists():
        raise WitnessError(f"there is no machine {name}; there are {', '.join(machine_names())}")
    with path.open("rb") as file:
        given = tomllib.load(file)
    if unknown := sorted(set(given) - _KEYS):
        raise WitnessError(f"{path.name}: {unknown[0]} is no key of a machine; known are {', '.join(sorted(_KEYS))}")
    try:
        return _description(name, given)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WitnessError(f"{path.name}: {type(error).__name__} {error}") from None


def _description(name: str, given: dict[str, Any]) -> MachineDescription:
    cpu, topology = given["cpu"], given["topology"]
    packages, dies, cores = topology["packages"], topology.get("dies_per_package", 1), topology["cores_per_die"]
    count = packages * dies * cores
    named = [f"sockets={packages}", *([f"dies={dies}"] if dies > 1 else []), f"cores={cores}"]
    return MachineDescription(
        name=name,
        what=given["what"],
        cpu=f"max,vendor={cpu['vendor']},family={cpu['family']},model={cpu['model']},stepping={cpu['stepping']}",
        smp=f"{count},{','.join(named)}",
        cpu_dies=tuple(number // cores for number in range(count)),
        dies_per_package=dies,
        registers=_registers(given.get("registers", {}), packages * dies),
        probes=tuple(given.get("probes", ())),
        scenarios=tuple(given.get("scenario", ())),
        sweep_dies=tuple(given.get("sweep_dies", (0,))),
        kernels=tuple(given["kernels"]) if "kernels" in given else None,
        modules=tuple(_module(text) for text in given.get("modules", _MODULES)),
    )


def _module(text: str) -> tuple[str, str]:
    """Split "name parameter=value ...", as insmod takes it."""
    name, _, parameters = text.partition(" ")
    return name, parameters


def _registers(given: dict[str, Any], dies: int) -> dict[int, dict[int, int]]:
    """Spread what holds for all dies, then what differs; an empty text takes a register away."""
    words = {key: value for key, value in given.items() if key != "die"}
    registers: dict[int, dict[int, int]] = {}
    for die in range(dies):
        registers[die] = {}
        for key, value in (words | given.get("die", {}).get(str(die), {})).items():
            if value != "":
                registers[die][int(key, 0)] = value if isinstance(value, int) else int(value, 0)
    return registers


def _as_text(registers: dict[int, dict[int, int]]) -> dict[str, dict[str, str]]:
    return {
        str(die): {f"{address:#x}": f"{value:#x}" for address, value in words.items()}
        for die, words in registers.items()
    }
