# SPDX-License-Identifier: Apache-2.0
"""Machine descriptions: one TOML file each, with a processor, its register table, and the probes it is put to.

[registers] holds for every die; [registers.die.N] says what differs on one of them. Values of 2^63 and more are
hexadecimal text, since TOML has no integer for them.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kernel_witness.failure import WitnessError

__all__ = ["CpuId", "MachineDescription", "Table", "load_description", "machine_names"]

_MODULES = ("intel_rapl_common", "intel_rapl_msr")
_FOLDER = Path(__file__).parent / "machines"
_KEYS = frozenset(
    {
        *("what", "cpu", "topology", "registers", "load"),
        *("probes", "thorough", "scenario", "sweep_dies", "kernels", "modules"),
    }
)


Table = dict[int, dict[int, int]]


@dataclass(frozen=True, slots=True)
class CpuId:
    """What the processor says it is."""

    vendor: str
    family: int
    model: int
    stepping: int


@dataclass(frozen=True, slots=True)
class MachineDescription:
    """A machine to record.

    `smp` is QEMU's argument; `registers` by logical die and address; `thorough` are the probes that are
    done only where somebody asks for all; `load` is the watts that each package draws where time is moved.
    """

    name: str
    what: str
    cpu_id: CpuId
    smp: str
    cpu_dies: tuple[int, ...]
    dies_per_package: int
    registers: Table
    probes: tuple[str, ...]
    thorough: tuple[str, ...]
    scenarios: tuple[dict[str, Any], ...]
    sweep_dies: tuple[int, ...]
    kernels: tuple[str, ...] | None
    modules: tuple[tuple[str, str], ...]
    load: dict[str, float]

    @property
    def cpu(self) -> str:
        """QEMU's argument."""
        given = self.cpu_id
        return f"max,vendor={given.vendor},family={given.family},model={given.model},stepping={given.stepping}"

    def thoroughly(self) -> MachineDescription:
        """Return the same machine with all its probes."""
        return replace(self, probes=(*self.probes, *self.thorough))

    def for_guest(
        self, kernel: str, task: str = "record", *, rates: Table | None = None, seed: int = 0, kills: int = 0
    ) -> dict[str, Any]:
        """Return what the guest reads: see `guest.machine.Machine`."""
        return {
            "task": task,
            "rates": _as_text(rates or {}),
            "seed": seed,
            "kills": kills,
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
        cpu_id=CpuId(cpu["vendor"], cpu["family"], cpu["model"], cpu["stepping"]),
        smp=f"{count},{','.join(named)}",
        cpu_dies=tuple(number // cores for number in range(count)),
        dies_per_package=dies,
        registers=_registers(given.get("registers", {}), packages * dies),
        probes=tuple(given.get("probes", ())),
        thorough=tuple(given.get("thorough", ())),
        scenarios=tuple(given.get("scenario", ())),
        sweep_dies=tuple(given.get("sweep_dies", (0,))),
        kernels=tuple(given["kernels"]) if "kernels" in given else None,
        modules=tuple(_module(text) for text in given.get("modules", _MODULES)),
        load=given.get("load", {}),
    )


def _module(text: str) -> tuple[str, str]:
    """Split "name parameter=value ...", as insmod takes it."""
    name, _, parameters = text.partition(" ")
    return name, parameters


def _registers(given: dict[str, Any], dies: int) -> Table:
    """Spread what holds for all dies, then what differs; an empty text takes a register away."""
    words = {key: value for key, value in given.items() if key != "die"}
    registers: Table = {}
    for die in range(dies):
        registers[die] = {}
        for key, value in (words | given.get("die", {}).get(str(die), {})).items():
            if value != "":
                registers[die][int(key, 0)] = value if isinstance(value, int) else int(value, 0)
    return registers


def _as_text(registers: Table) -> dict[str, dict[str, str]]:
    return {
        str(die): {f"{address:#x}": f"{value:#x}" for address, value in words.items()}
        for die, words in registers.items()
    }
