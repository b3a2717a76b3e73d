# SPDX-License-Identifier: Apache-2.0
"""What a simulated machine shows the driver: each register that it lists, on each processor, in 16-byte records.

A record is `{u32 register, u32 processor, u64 value}`, little-endian. A register that the machine lacks has none. The
first record, under a register number that does not exist, says how many processors there are and who made them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from raplica_simulator import Machine
from wine_witness.failure import WitnessError

__all__ = ["MACHINES", "REGISTERS", "Values", "make_machine", "pack", "shown", "values_of"]

_FOLDER = Path(__file__).resolve().parent / "machines"
MACHINES = ("intel", "amd")
#: Those that version 3 of the protocol lets through, for either vendor.
REGISTERS = (
    *(0x606, 0x610, 0x611, 0x613, 0x614, 0x618, 0x619, 0x61B, 0x61C, 0x638, 0x639, 0x63A, 0x63B, 0x640, 0x641, 0x642),
    *(0x64D, 0x65C, 0xC0010299, 0xC001029A, 0xC001029B),
)
_RECORD = struct.Struct("<IIQ")
_MACHINE_RECORD = 0xFFFFFFFF
_VENDORS = {"GenuineIntel": 1, "AuthenticAMD": 2}

#: Register, then processor: the value.
Values = dict[int, dict[int, int]]


def make_machine(name: str) -> Machine:
    """Return one of `MACHINES` at its time 0."""
    if name not in MACHINES:
        raise WitnessError(f"there is no machine {name!r} for the witness; there are {', '.join(MACHINES)}")
    return Machine.from_profile(_FOLDER / f"{name}.toml")


def values_of(machine: Machine) -> Values:
    """Read what is there of `REGISTERS`, on each processor."""
    return {register: values for register in REGISTERS if (values := dict(_values(machine, register)))}


def _values(machine: Machine, register: int) -> Iterator[tuple[int, int]]:
    for cpu in machine.profile.topology.cpus:
        try:
            yield cpu.number, machine.msr.read(cpu=cpu.number, register=register)
        except OSError:
            continue


def pack(machine: Machine) -> bytes:
    """Return the records of a machine as the driver reads them."""
    head = _RECORD.pack(
        _MACHINE_RECORD, len(machine.profile.topology.cpus), _VENDORS.get(machine.profile.cpu.id.vendor, 0)
    )
    values = values_of(machine)
    return head + b"".join(
        _RECORD.pack(register, cpu, value) for register in values for cpu, value in values[register].items()
    )


def shown(machine: Machine) -> dict[str, object]:
    """Return the values for a recording, by register, in the order of the processors."""
    return {f"{register:#x}": [f"{value:#x}" for value in on.values()] for register, on in values_of(machine).items()}
