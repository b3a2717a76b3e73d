# SPDX-License-Identifier: Apache-2.0
"""Probes that change registers under a loaded driver: counters, fields, faults, bits that do not stick, locks."""

from __future__ import annotations

from kernel_witness.guest.files import read_zone, touch
from kernel_witness.guest.machine import Machine, Zone, attributes, find_zones, kind_of, registers_of, zones_of_die
from kernel_witness.guest.recorder import Recorder
from kernel_witness.guest.values import WINDOW_EDGES

__all__ = ["counters", "faults", "fields", "late_locks", "masks", "registers_of_zones", "windows"]

_ALL = 0xFFFFFFFFFFFFFFFF
_COUNTS = (1, 2, 3, 100, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFF, 0, 0xABCDEF0123456789)
_FIELDS = (0, 1, 0x8001, 0x7FFF, 0xFFFF, 0x10000, 0x1FFFF, 0x3FFFF, 0x00FE0000, 0x01FE0000, 0x03F80000, 0x1FFF)


def counters(recorder: Recorder, machine: Machine) -> None:
    """Set each counter of a die to values at the edges and read the energy."""
    recorder.label("counters")
    for die, zone, address, value in registers_of_zones(machine, "counter"):
        for count in _COUNTS:
            recorder.control(f"set {die} {address:#x} {count:#x}")
            recorder.read(f"{zone.path}/energy_uj")
        recorder.control(f"set {die} {address:#x} {value:#x}")


def fields(recorder: Recorder, machine: Machine) -> None:
    """Fill the fields of limit and info registers and read what the zone makes of them."""
    recorder.label("fields of the limit and info registers")
    for die, zone, address, value in registers_of_zones(machine, "limit", "info"):
        for field in _FIELDS:
            # Both halves: the second limit lies 32 bits above the first.
            for content in (field, field << 32, _ALL ^ field):
                recorder.control(f"set {die} {address:#x} {content & _ALL:#x}")
                for attribute in attributes(zone):
                    if attribute.startswith("constraint") and not attribute.endswith("name"):
                        recorder.read(f"{zone.path}/{attribute}")
                recorder.read(f"{zone.path}/enabled")
        recorder.control(f"set {die} {address:#x} {value:#x}")


def windows(recorder: Recorder, machine: Machine) -> None:
    """Read each of the 128 codes of a time window, and write numbers around every edge."""
    recorder.label("every time window field, read")
    zone = find_zones()[0]
    value = machine.registers[0][0x610]
    for code in range(128):
        recorder.control(f"set 0 0x610 {value & ~(0x7F << 17) & ~(0x7F << 49) | code << 17 | code << 49:#x}")
        for number in (0, 1):
            recorder.read(f"{zone.path}/constraint_{number}_time_window_us")
    recorder.control(f"set 0 0x610 {value:#x}")
    recorder.label("time windows, written: 2^y and near it")
    for data in WINDOW_EDGES:
        recorder.write_read(f"{zone.path}/constraint_0_time_window_us", data)
    recorder.control(f"set 0 0x610 {value:#x}")


def faults(recorder: Recorder, machine: Machine) -> None:
    """Let each register fault on reads, on writes, on both, after the driver has been loaded."""
    recorder.label("register faults after load")
    for die, zone, address, value in registers_of_zones(machine, "counter", "info", "limit", "other"):
        for fault in (1, 2, 3):
            recorder.control(f"fault {die} {address:#x} {fault}")
            touch(recorder, zone)
            read_zone(recorder, zone)
        recorder.control(f"fault {die} {address:#x} 0")
        recorder.control(f"set {die} {address:#x} {value:#x}")


def masks(recorder: Recorder, machine: Machine) -> None:
    """Let the limit registers keep only some of the bits that are written."""
    recorder.label("hardware drops bits")
    for die, zone, address, value in registers_of_zones(machine, "limit"):
        for mask in (0x3FF, 0, 0x8000, 0x00007FFF00007FFF, _ALL ^ 0x8000):
            recorder.control(f"wmask {die} {address:#x} {mask:#x}")
            touch(recorder, zone)
        recorder.control(f"wmask {die} {address:#x} {_ALL:#x}")
        recorder.control(f"set {die} {address:#x} {value:#x}")


def late_locks(recorder: Recorder, machine: Machine) -> None:
    """Lock the limit registers after the driver has looked."""
    recorder.label("lock bits set after load (the register ignores writes)")
    for die, zone, address, value in registers_of_zones(machine, "limit"):
        for bit in (31, 63):
            recorder.control(f"set {die} {address:#x} {value | 1 << bit:#x}")
            recorder.control(f"ignlock {die} {address:#x} {1 << bit:#x}")
            touch(recorder, zone)
        recorder.control(f"ignlock {die} {address:#x} 0x0")
        recorder.control(f"set {die} {address:#x} {value:#x}")


def registers_of_zones(machine: Machine, *kinds: str) -> list[tuple[int, Zone, int, int]]:
    """Return die, zone, address and content of each register of some kinds behind the zones that sweeps go over."""
    return [
        (die, zone, address, machine.registers[die][address])
        for die in machine.sweep_dies
        for zone in zones_of_die(machine, die)
        for address in registers_of(zone, machine.registers[die])
        if kind_of(address) in kinds
    ]
