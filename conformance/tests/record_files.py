# SPDX-License-Identifier: Apache-2.0
"""Folders in the place of a machine, for the tests of what `conformance record` is made of."""

from pathlib import Path

from raplica_conformance.record.places import Places
from raplica_conformance.record.processors import Processors
from raplica_fixtures.recording import (
    Cpu,
    Entry,
    ReadResult,
    Recording,
    Topology,
)

POWERCAP = "devices/virtual/powercap"


def files(root: Path, contents: dict[str, str]) -> None:
    for name, text in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def cpus(places: Places, seats: dict[int, tuple[int, int | None, int]], online: str) -> None:
    """Package, die and core of each processor; None where the kernel knows no dies."""
    root = places.sys / "devices/system/cpu"
    files(root, {"online": f"{online}\n"})
    for cpu, (package, die, core) in seats.items():
        files(root / f"cpu{cpu}/topology", {"physical_package_id": f"{package}\n", "core_id": f"{core}\n"})
        if die is not None:
            files(root / f"cpu{cpu}/topology", {"die_id": f"{die}\n"})


def processors(places: tuple[tuple[int, int], ...] = ((0, 0),), vendor: str = "GenuineIntel") -> Processors:
    return Processors(
        Cpu(vendor, 6, 85, 4),
        "A CPU",
        (),
        Topology(len(places), 1, 1, 1),
        len(places),
        places,
        {number: number for number in range(len(places))},
    )


def entry(text: str) -> Entry:
    return Entry(kind="file", mode=0o444, nlink=1, read=ReadResult(content=text.encode()))


def zones(*names: str) -> dict[str, Entry]:
    """Zones of intel-rapl with counters; a name with a slash is a zone in the last one without."""
    tree: dict[str, Entry] = {}
    number = -1
    for name in names:
        number += "/" not in name
        folder = f"{POWERCAP}/intel-rapl/intel-rapl:{number}" + (f"/intel-rapl:{number}:0" if "/" in name else "")
        tree[f"{folder}/name"] = entry(f"{name.removeprefix('/')}\n")
        tree[f"{folder}/energy_uj"] = entry("1\n")
    return tree


PLAIN = Recording(
    *("machine", "what", "6.12", "6.12.1", "6.12.1", "#1", "2026-01-02"),
    cpu=Cpu("GenuineIntel", 6, 85, 4),
    topology=Topology(1, 1, 1, 1),
    registers={},
    tree={"class/powercap": Entry(kind="dir", order=())},
    steps=(),
)
