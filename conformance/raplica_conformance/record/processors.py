# SPDX-License-Identifier: Apache-2.0
"""Which processors a machine has, and where they lie: /proc/cpuinfo and devices/system/cpu.

Mirrors arch/x86/kernel/cpu/proc.c and drivers/base/topology.c. A recording holds a regular shape (packages, dies in
each, cores, threads); where a machine is none - some processors down, cores of two kinds - the least regular shape
that holds it is taken, and that is said.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from raplica_conformance.record.places import Places, one_line, read_text
from raplica_fixtures.recording import Cpu, Topology

__all__ = ["FLAGS", "Processors", "read_processors"]

#: Of the flags of /proc/cpuinfo those that tell of power, of its driver's behaviour, or of a virtual machine.
FLAGS = (
    *("acpi", "tm", "tm2", "dtherm", "ida", "arat", "pln", "pts", "hwp", "hwp_notify", "hwp_epp", "epb"),
    *("aperfmperf", "constant_tsc", "nonstop_tsc", "rapl", "hypervisor", "hfi", "cpb", "hw_pstate"),
)
_RANGE = re.compile(r"([0-9]{1,6})(?:-([0-9]{1,6}))?")
_NUMBER = re.compile(r"[0-9]{1,9}")
_MOST_CPUS = 8192
# What the schema's cpu holds: CPUID's own bounds.
_BOUNDS = {"cpu family": 270, "model": 255, "stepping": 15}
_PACKAGE_ZONE = re.compile(rb"package-([0-9]{1,9})(?:-die-[0-9]{1,9})?\n")


@dataclass(frozen=True, slots=True)
class Processors:
    """What was found.

    `places` are the (package, die) that hold processors, by the kernel's numbers, in the order of logical dies;
    `leaders` names for each logical die the processor that is asked for its registers. `notes` say what is not exact.
    """

    cpu: Cpu
    name: str
    flags: tuple[str, ...]
    topology: Topology
    online: int
    places: tuple[tuple[int, int], ...]
    leaders: Mapping[int, int]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Seat:
    """Where one processor sits, by the kernel's numbers."""

    package: int
    die: int
    core: int


def read_processors(places: Places, zone_names: list[bytes]) -> Processors:
    """What the machine says of itself. Where it says nothing, its packages are counted by the names of its zones."""
    facts = _facts(places.proc_text("cpuinfo"))
    numbers = {
        key: min(int(text), most) if _NUMBER.fullmatch(text := facts.get(key, "")) else 0
        for key, most in _BOUNDS.items()
    }
    vendor = re.sub(r"[^\x20-\x7e]", "", facts.get("vendor_id", ""))[:12]
    notes = [] if vendor else ["the processor's model: no cpuinfo here"]
    seats = _seats(places.sys / "devices/system/cpu")
    if not seats:
        notes.append("the processors' places: no devices/system/cpu here, so packages are counted by their zones")
    order = tuple(sorted({(seat.package, seat.die) for seat in seats.values()}))
    leaders = {
        die: min(cpu for cpu, seat in seats.items() if (seat.package, seat.die) == at) for die, at in enumerate(order)
    }
    topology = _shape(seats) if seats else Topology(_packages_of(zone_names), 1, 1, 1)
    if seats and not _is_regular(seats, topology):
        notes.append(f"the exact shape: {len(seats)} processors are up, and packages, dies or cores are not all alike")
    wanted = set(facts.get("flags", "").split())
    return Processors(
        cpu=Cpu(vendor or "unknown", numbers["cpu family"], numbers["model"], numbers["stepping"]),
        name=one_line(facts.get("model name", "")),
        flags=tuple(flag for flag in FLAGS if flag in wanted),
        topology=topology,
        online=len(seats),
        places=order,
        leaders=leaders,
        notes=tuple(notes),
    )


def _facts(cpuinfo: str) -> dict[str, str]:
    """The first block of /proc/cpuinfo."""
    found: dict[str, str] = {}
    for line in cpuinfo.partition("\n\n")[0].splitlines():
        key, colon, value = line.partition(":")
        if colon:
            found.setdefault(key.strip(), value.strip())
    return found


def _seats(folder: Path) -> dict[int, _Seat]:
    seats = {}
    for cpu in _numbers(read_text(folder / "online")):
        at = folder / f"cpu{cpu}" / "topology"
        package = read_text(at / "physical_package_id")
        if _NUMBER.fullmatch(package):
            seats[cpu] = _Seat(int(package), _number(at / "die_id"), _number(at / "core_id"))
    return seats


def _shape(seats: Mapping[int, _Seat]) -> Topology:
    """Packages as they are, and of everything in them as much as the fullest one has."""
    packages = {seat.package for seat in seats.values()}
    dies = Counter(package for package, _ in {(seat.package, seat.die) for seat in seats.values()})
    cores = Counter((seat.package, seat.die) for seat in set(seats.values()))
    threads = Counter(seats.values())
    return Topology(
        min(len(packages), 4096),
        min(max(dies.values()), 64),
        min(max(cores.values()), 1024),
        min(max(threads.values()), 8),
    )


def _is_regular(seats: Mapping[int, _Seat], shape: Topology) -> bool:
    full = shape.packages * shape.dies_per_package * shape.cores_per_die * shape.threads_per_core
    return len(seats) == full


def _packages_of(zone_names: list[bytes]) -> int:
    numbers = [int(found[1]) for name in zone_names if (found := _PACKAGE_ZONE.fullmatch(name))]
    return min(max(numbers, default=0) + 1, 4096)


def _numbers(text: str) -> list[int]:
    """A list of CPUs as the kernel prints it: "0-3,8" (lib/bitmap.c, the format %*pbl)."""
    numbers: list[int] = []
    for part in text.split(","):
        found = _RANGE.fullmatch(part.strip())
        if found and len(numbers) <= _MOST_CPUS:
            numbers.extend(range(int(found[1]), min(int(found[2] or found[1]), _MOST_CPUS) + 1))
    return numbers


def _number(path: Path) -> int:
    """A number that may be missing; kernels without dies say nothing, or -1."""
    text = read_text(path)
    return int(text) if _NUMBER.fullmatch(text) else 0
