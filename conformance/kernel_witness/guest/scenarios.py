# SPDX-License-Identifier: Apache-2.0
"""Loading the driver again on changed registers: what it finds, what it makes of it, what it leaves behind.

Each sweep changes one register at a time, for every register of a die, and loads the driver anew each time.
"""

from __future__ import annotations

from kernel_witness.guest.files import reads, short_writes, touch_all
from kernel_witness.guest.machine import Machine, Table, kind_of
from kernel_witness.guest.recorder import Recorder
from kernel_witness.guest.registers import counters

__all__ = [
    "counts",
    "few_units",
    "infos",
    "locks",
    "missing",
    "one_die_lacks",
    "reload",
    "start",
    "stop",
    "units",
    "units_per_die",
    "unreadable",
]

_UNITS = (0xA0E03, 0xA1003, 0xA1001, 0xA0E08, 0x0, 0xF1F0F, 0xF1E0F, 0x90F04, 0xA100A, 0x30A02, 0xA0505, 0x00508)
_FEW_UNITS = (0xA1003, 0x0, 0xF1F0F, 0x90F04)
_DRIVER = "/sys/bus/platform/drivers/intel_rapl_msr"


def start(recorder: Recorder, machine: Machine) -> None:
    """Load the driver for the first time and write down the tree."""
    recorder.fill(machine.registers)
    _load(recorder, machine)
    recorder.tree("as loaded")
    recorder.dump()


def stop(recorder: Recorder, machine: Machine) -> None:
    """Unload the driver."""
    for name, _ in reversed(machine.modules):
        recorder.rmmod(name)


def _load(recorder: Recorder, machine: Machine) -> None:
    for name, parameters in machine.modules:
        if not recorder.insmod(name, parameters):
            return


def reload(recorder: Recorder, machine: Machine, registers: Table, label: str, commands: tuple[str, ...] = ()) -> None:
    """Unload the driver, change the table, load it again."""
    recorder.label(f"scenario: {label}")
    stop(recorder, machine)
    recorder.dump()
    recorder.fill(registers)
    for command in commands:
        recorder.control(command)
    _load(recorder, machine)
    recorder.tree(f"scenario: {label}")


def rebound(recorder: Recorder, registers: Table, label: str, commands: tuple[str, ...] = ()) -> None:
    """Unbind the driver, change the table, bind it: what the common module remembers stays."""
    recorder.label(f"scenario: {label}")
    recorder.write(f"{_DRIVER}/unbind", "intel_rapl_msr.0")
    recorder.dump()
    recorder.fill(registers)
    for command in commands:
        recorder.control(command)
    recorder.write(f"{_DRIVER}/bind", "intel_rapl_msr.0")
    recorder.tree(f"scenario: {label}")


def _touch_unless_without_units(recorder: Recorder, machine: Machine, registers: Table) -> None:
    # Linux 6.12 divides by a unit that it could not read.
    for die, words in machine.registers.items():
        if any(kind_of(address) == "unit" and address not in registers[die] for address in words):
            return
    touch_all(recorder, machine)


def locks(recorder: Recorder, machine: Machine) -> None:
    """Lock each limit register at bit 31 or 63, before the driver looks."""
    for die, address in machine.present("limit"):
        for bit in (31, 63):
            registers = machine.copy()
            registers[die][address] |= 1 << bit
            command = f"ignlock {die} {address:#x} {1 << bit:#x}"
            reload(recorder, machine, registers, f"{address:#x} locked by bit {bit} on die {die}", (command,))
            touch_all(recorder, machine)
            rebound(recorder, registers, f"{address:#x} locked by bit {bit} on die {die}, bound again", (command,))
            touch_all(recorder, machine)


def missing(recorder: Recorder, machine: Machine) -> None:
    """Leave out each register, then groups of them."""
    for die in machine.sweep_dies:
        addresses = sorted(machine.registers[die])
        for address in addresses:
            _without(recorder, machine, die, (address,), f"no {address:#x} on die {die}")
        limits = tuple(address for address in addresses if kind_of(address) == "limit")
        _without(recorder, machine, die, limits, f"no limit registers on die {die}")
        for fourth, first in ((0x601, 0x610), (0x59B0, 0x59A0)):
            if fourth in addresses:
                _without(recorder, machine, die, (first,), f"{fourth:#x} without {first:#x} on die {die}")
        _without(recorder, machine, die, tuple(addresses), f"no registers on die {die}")


def _without(recorder: Recorder, machine: Machine, die: int, addresses: tuple[int, ...], label: str) -> None:
    registers = machine.copy()
    for address in addresses:
        registers[die].pop(address, None)
    reload(recorder, machine, registers, label)
    _touch_unless_without_units(recorder, machine, registers)


def unreadable(recorder: Recorder, machine: Machine) -> None:
    """Let each register fault on reads, or on writes, while the driver looks."""
    for die in machine.sweep_dies:
        for address in sorted(machine.registers[die]):
            for fault, what in ((1, "read"), (2, "write")):
                if kind_of(address) == "unit" and fault == 1:
                    continue
                command = f"fault {die} {address:#x} {fault}"
                reload(recorder, machine, machine.copy(), f"{address:#x} faults on {what} on die {die}", (command,))
                touch_all(recorder, machine)


def counts(recorder: Recorder, machine: Machine) -> None:
    """Let each counter stand at 0, at its end, and at 0 in the low half only."""
    for die, address in machine.present("counter"):
        for value in (0, 0xFFFFFFFF, 0x100000000):
            registers = machine.copy()
            registers[die][address] = value
            reload(recorder, machine, registers, f"{address:#x} reads {value:#x} on die {die}")


def infos(recorder: Recorder, machine: Machine) -> None:
    """Let each power info register read zero, and all ones."""
    for die, address in machine.present("info"):
        for value in (0, 0xFFFFFFFFFFFFFFFF):
            registers = machine.copy()
            registers[die][address] = value
            reload(recorder, machine, registers, f"{address:#x} reads {value:#x} on die {die}")


def units(recorder: Recorder, machine: Machine) -> None:
    """Give the machine other units."""
    for unit in _UNITS:
        _with_unit(recorder, machine, unit)
        counters(recorder, machine)
        short_writes(recorder, machine)


def few_units(recorder: Recorder, machine: Machine) -> None:
    """Give the machine units at the edges, and look at them with one good value each."""
    for unit in _FEW_UNITS:
        _with_unit(recorder, machine, unit)
        reads(recorder, machine)
        touch_all(recorder, machine)


def _with_unit(recorder: Recorder, machine: Machine, unit: int) -> None:
    registers = machine.copy()
    for words in registers.values():
        words.update({address: unit for address in words if kind_of(address) == "unit"})
    reload(recorder, machine, registers, f"units {unit:#x}")


def units_per_die(recorder: Recorder, machine: Machine) -> None:
    """Give each die units of its own."""
    registers = machine.copy()
    for die, words in registers.items():
        words.update({address: _UNITS[die % 4] for address in words if kind_of(address) == "unit"})
    reload(recorder, machine, registers, "each die has its own units")
    reads(recorder, machine)
    short_writes(recorder, machine)


def one_die_lacks(recorder: Recorder, machine: Machine) -> None:
    """Let one die after the other lack its counter, or all its registers; one without takes all away."""
    for die in sorted(machine.registers):
        words = tuple(machine.registers[die])
        counters = tuple(address for address in words if address in (0x611, 0xC001029B))
        _without(recorder, machine, die, counters, f"die {die} lacks its package counter")
        _without(recorder, machine, die, words, f"die {die} lacks all registers")
