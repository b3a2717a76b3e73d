# SPDX-License-Identifier: Apache-2.0
"""Reading the RAPL registers through /dev/cpu/N/msr, one CPU for each die, and never anything but reading.

Mirrors arch/x86/kernel/msr.c: eight bytes at the register's number, EIO where the processor faults. The addresses are
those of Intel SDM vol. 4 and AMD's PPRs that RAPL and its Linux driver use; no other register is asked for, because
what is read here ends up in somebody's bug report.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from raplica_conformance.record.processors import Processors
from raplica_conformance.record.tree import read_file
from raplica_fixtures.recording import ERRNOS, Entry

__all__ = ["REGISTERS", "read_registers", "settle"]

_INTEL = (
    *(0x601, 0x606, 0x610, 0x611, 0x613, 0x614, 0x618, 0x619, 0x61B, 0x61C),
    *(0x638, 0x639, 0x63A, 0x63B, 0x640, 0x641, 0x642),
    *(0x648, 0x649, 0x64A, 0x64B, 0x64C, 0x64D, 0x65C, 0x1B2),
)
_AMD = (0xC0010299, 0xC001029A, 0xC001029B)

#: The addresses by CPUID vendor; a processor of anybody else is asked for none.
REGISTERS: Mapping[str, tuple[int, ...]] = {"GenuineIntel": _INTEL, "AuthenticAMD": _AMD, "HygonGenuine": _AMD}

_COUNTERS: Mapping[str, Mapping[str, int]] = {
    "GenuineIntel": {"package": 0x611, "core": 0x639, "uncore": 0x641, "dram": 0x619, "psys": 0x64D},
    "AuthenticAMD": {"package": 0xC001029B, "core": 0xC001029A},
    "HygonGenuine": {"package": 0xC001029B, "core": 0xC001029A},
}
_PACKAGE = re.compile(rb"package-([0-9]{1,9})(?:-die-([0-9]{1,9}))?\n")
_ROOT = "devices/virtual/powercap/intel-rapl/"
_TRIES = 20
_NAMED = frozenset(ERRNOS.values())

Table = dict[int, dict[int, int]]


def read_registers(dev: Path | None, processors: Processors) -> tuple[Table, int]:
    """The registers by logical die and address, and 0; or nothing, and the errno that the devices refused with.

    A register that faults is not in the table. ENODEV where the processor is none that RAPL is known of.
    """
    addresses = REGISTERS.get(processors.cpu.vendor, ())
    if dev is None or not addresses:
        return {}, errno.ENOENT if dev is None else errno.ENODEV
    table: Table = {}
    refusal: int = errno.ENOENT
    for die, cpu in processors.leaders.items():
        try:
            handle = _opened(dev, cpu)
        except OSError as error:
            refusal = error.errno if error.errno in _NAMED else errno.EIO
            continue
        try:
            table[die] = {address: word for address in addresses if (word := _word(handle, address)) is not None}
        finally:
            os.close(handle)
    return table, 0 if table else refusal


def _opened(dev: Path, cpu: int) -> int:
    # A copied /dev may hold anything: a fifo must not hold up the recording.
    return os.open(dev / f"cpu/{cpu}/msr", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)


def _word(handle: int, address: int) -> int | None:
    try:
        found = os.pread(handle, 8, address)
    except OSError:
        return None
    return int.from_bytes(found, "little") if len(found) == 8 else None


def settle(
    tree: dict[str, Entry], table: Table, root: Path, dev: Path | None, processors: Processors
) -> tuple[dict[str, Entry], Table]:
    """The same tree and table, each counter read again until both tell of the same moment.

    A counter goes on between the reading of its file and of its register. So the register is read before and after the
    file: where both are equal, the file is what the driver makes of them. A counter that never stands still that long
    stays as it was.
    """
    tree = dict(tree)
    table = {die: dict(words) for die, words in table.items()}
    for path, die, address in _counters(tree, processors):
        if dev is None or address not in table.get(die, {}):
            continue
        try:
            handle = _opened(dev, processors.leaders[die])
        except OSError:
            # The processor went down meanwhile.
            continue
        try:
            for _ in range(_TRIES):
                before = _word(handle, address)
                result = read_file(root / path)
                if before is not None and before == _word(handle, address) and result.content is not None:
                    table[die][address] = before
                    tree[path] = replace(tree[path], read=result)
                    break
        finally:
            os.close(handle)
    return tree, table


def _counters(tree: Mapping[str, Entry], processors: Processors) -> list[tuple[str, int, int]]:
    """Path of the counter, logical die and address of each zone of intel-rapl whose name says where it belongs."""
    known = _COUNTERS.get(processors.cpu.vendor, {})
    found = []
    psys = 0
    for path, entry in tree.items():
        folder, _, last = path.rpartition("/")
        if last != "energy_uj" or not path.startswith(_ROOT) or entry.read is None or entry.read.content is None:
            continue
        name = _content(tree, f"{folder}/name")
        package = _PACKAGE.fullmatch(name)
        kind = "package" if package else name.decode("ascii", "replace").strip()
        die: int | None = psys
        if kind == "psys":
            # Each package looks for one, in their order.
            psys += 1
        else:
            above = _content(tree, f"{folder.rpartition('/')[0]}/name")
            die = _die(package or _PACKAGE.fullmatch(above), processors)
        if die is not None and kind in known:
            found.append((path, die, known[kind]))
    return found


def _die(package: re.Match[bytes] | None, processors: Processors) -> int | None:
    """The logical die that a package's name means: the first of it where no die is named."""
    if package is None:
        return None
    wanted = int(package[1]), None if package[2] is None else int(package[2])
    for number, (physical, die) in enumerate(processors.places):
        if physical == wanted[0] and wanted[1] in (None, die):
            return number
    return None


def _content(tree: Mapping[str, Entry], path: str) -> bytes:
    entry = tree.get(path)
    return (entry.read.content or b"") if entry is not None and entry.read is not None else b""
