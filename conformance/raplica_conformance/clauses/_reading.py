# SPDX-License-Identifier: Apache-2.0
"""What clauses read with: zones that can be listed, attributes that read, and what a RAPL zone calls itself.

A clause is about one matter. An attribute that does not read, or whose text is no number, is judged by the
clauses about errnos and formats; every other clause passes over it, so that one mistake fails one clause.
"""

import re
from collections.abc import Iterator

from raplica_conformance.clause import kernel_key
from raplica_conformance.subject import (
    CLASS,
    DEVICES,
    CannotTell,
    Provider,
    Zone,
    composed,
    constraints,
    control_types,
    exists,
    number,
    readable,
    zones,
)

__all__ = [
    "ANY_RAPL",
    "AUXILIARY",
    "MMIO_RAPL",
    "MSR_RAPL",
    "NUMBERS",
    "TPMI_DEVICE",
    "attributes",
    "constraint_path",
    "control_type_paths",
    "devices",
    "directories",
    "entries",
    "failure",
    "family",
    "has_tpmi",
    "kind",
    "limits_by_name",
    "name_of",
    "rapl_zones",
    "since",
    "value",
    "zones_of",
]

#: Control types of the intel_rapl drivers. "intel-rapl" is shared by the MSR and the TPMI driver.
MSR_RAPL = ("intel-rapl",)
MMIO_RAPL = ("intel-rapl-mmio",)
ANY_RAPL = (*MSR_RAPL, *MMIO_RAPL)

#: Where the devices of TPMI are listed, and how the name of one for RAPL begins (intel_rapl_tpmi_ids).
AUXILIARY = "bus/auxiliary/devices"
TPMI_DEVICE = "intel_vsec.tpmi-rapl"

#: Names of attributes that hold one integer (drivers/powercap/powercap_sys.c, all printed with %lld).
NUMBERS = re.compile(
    r"energy_uj|max_energy_range_uj|power_uw|max_power_range_uw"
    r"|constraint_[0-9]+_(power_limit_uw|time_window_us|(max|min)_(power_uw|time_window_us))"
)

_KINDS = (
    ("package", re.compile(r"package-[0-9]+(-die-[0-9]+)?")),
    ("psys", re.compile(r"psys(-[0-9]+)?")),
    ("core", re.compile(r"core")),
    ("uncore", re.compile(r"uncore")),
    ("dram", re.compile(r"dram")),
)


def entries(tree: Provider, path: str) -> list[str]:
    """The names in a directory, or none where it cannot be listed."""
    try:
        return tree.listdir(path)
    except OSError:
        return []


def control_type_paths(tree: Provider) -> list[str]:
    """The directory of each control type that can be listed."""
    paths = [
        f"{DEVICES}/{name}" if exists(tree, f"{DEVICES}/{name}") else f"{CLASS}/{name}" for name in control_types(tree)
    ]
    return [path for path in paths if entries(tree, path)]


def zones_of(tree: Provider) -> list[Zone]:
    """Every zone of every control type whose directory can be listed; a masked tree has none."""
    return [zone for zone in zones(tree) if entries(tree, zone.path)]


def rapl_zones(tree: Provider, drivers: tuple[str, ...]) -> list[Zone]:
    """The zones that these drivers made."""
    wanted = set(drivers) - composed(tree)
    return [zone for zone in zones_of(tree) if zone.control_type in wanted]


def devices(tree: Provider) -> list[str]:
    """The directories of all control types and zones."""
    return [*control_type_paths(tree), *(zone.path for zone in zones_of(tree))]


def attributes(tree: Provider, path: str) -> list[str]:
    """The paths of the regular files in one directory."""
    return [f"{path}/{name}" for name in entries(tree, path) if _kind_of_entry(tree, f"{path}/{name}") == "file"]


def directories(tree: Provider, path: str) -> list[str]:
    """The names of the real directories in one directory."""
    return [name for name in entries(tree, path) if _kind_of_entry(tree, f"{path}/{name}") == "dir"]


def value(tree: Provider, path: str) -> int | None:
    """The integer in an attribute, or None where it does not read or is no integer."""
    try:
        return number(tree, path)
    except OSError:
        return None


def failure(tree: Provider, path: str) -> int | None:
    """0 where the attribute reads, its errno where it fails, None where the subject cannot tell."""
    try:
        tree.read(path)
    except CannotTell:
        return None
    except OSError as error:
        return error.errno
    return 0


def name_of(tree: Provider, zone: Zone) -> str:
    """What the zone's `name` says, without blanks around it; "" where it does not read."""
    return (readable(tree, f"{zone.path}/name") or b"").decode("ascii", "replace").strip()


def kind(tree: Provider, zone: Zone) -> str:
    """package, core, uncore, dram or psys by the zone's name (drivers/powercap/intel_rapl_common.c), else ""."""
    name = name_of(tree, zone)
    return next((word for word, pattern in _KINDS if pattern.fullmatch(name)), "")


def family(tree: Provider, drivers: tuple[str, ...]) -> Iterator[tuple[Zone, list[Zone]]]:
    """Each top-level zone of these control types with the zones right below it, in the order of their ids."""
    found = rapl_zones(tree, drivers)
    for top in found:
        if top.parent is None:
            below = [zone for zone in found if zone.parent == top.id and zone.control_type == top.control_type]
            yield top, sorted(below, key=lambda zone: (len(zone.id), zone.id))


def constraint_path(zone: Zone, constraint: int, what: str) -> str:
    """The path of constraint_N_WHAT."""
    return f"{zone.path}/constraint_{constraint}_{what}"


def limits_by_name(tree: Provider, zone: Zone) -> dict[str, int]:
    """The number of each constraint by its name: long_term, short_term, peak_power."""
    return {
        text.decode("ascii", "replace").strip(): n
        for n in constraints(tree, zone)
        if (text := readable(tree, constraint_path(zone, n, "name")))
    }


def has_tpmi(tree: Provider) -> bool:
    """Whether devices are there of which TPMI makes the zones of intel-rapl; no MSR is then behind them."""
    return any(name.startswith(TPMI_DEVICE) for name in entries(tree, AUXILIARY))


def since(tree: Provider, release: str) -> bool:
    """Whether the subject's kernel is at least this one.

    A tree of which nobody knows the kernel is judged by the rules of today's kernels.
    """
    return tree.kernel is None or kernel_key(tree.kernel) >= kernel_key(release)


def _kind_of_entry(tree: Provider, path: str) -> str:
    try:
        return tree.stat(path).kind
    except OSError:
        return ""
