# SPDX-License-Identifier: Apache-2.0
"""The figures of zones that share a unit register, for clauses about limits and windows.

Mirrors rapl_domain_data in drivers/powercap/intel_rapl_common.c: a package brings its units, core and uncore have them
too, and dram and psys may have others.
"""

from raplica_conformance.clauses import _driver
from raplica_conformance.clauses._reading import (
    MSR_RAPL,
    constraint_path,
    family,
    has_tpmi,
    kind,
    name_of,
    rapl_zones,
    since,
    value,
)
from raplica_conformance.subject import Provider, Zone, constraints

__all__ = ["PSYS_RANGE_UJ", "figures", "is_atom", "made_from_msrs", "one_unit"]

#: max_energy_range_uj of psys on Sapphire Rapids.
PSYS_RANGE_UJ = _driver.range_uj(_driver.PSYS_NJ)


def one_unit(tree: Provider, drivers: tuple[str, ...]) -> list[list[Zone]]:
    """Zones that share a unit register: a package with its core and uncore; dram and psys by themselves."""
    groups: list[list[Zone]] = []
    for top, below in family(tree, drivers):
        parts = [part for part in below if kind(tree, part) in ("core", "uncore")]
        groups.append([top, *parts])
        groups.extend([part] for part in below if part not in parts)
    return groups


def is_atom(tree: Provider, group: list[Zone]) -> bool | None:
    """Whether the unit register of these zones is read the Silvermont way; None where nobody knows."""
    found = value(tree, f"{group[0].path}/max_energy_range_uj")
    return None if found is None or found < 0 else _driver.is_atom(_driver.unit_nj(found))


def figures(tree: Provider, group: list[Zone], what: str) -> dict[str, int]:
    """Path and value of constraint_N_WHAT of all these zones, where it reads and is not negative."""
    paths = [constraint_path(zone, n, what) for zone in group for n in constraints(tree, zone)]
    return {path: found for path in paths if (found := value(tree, path)) is not None and found >= 0}


def made_from_msrs(tree: Provider) -> bool:
    """Whether something says that the zones of intel-rapl are made from MSRs, since TPMI has the same control type.

    TPMI came with Linux 6.5, has no core and no uncore, numbers no dies, and brings the unit of each domain itself.
    """
    if has_tpmi(tree):
        return False
    found = rapl_zones(tree, MSR_RAPL)
    ranges = {value(tree, f"{zone.path}/max_energy_range_uj") for zone in found}
    return (
        (tree.kernel is not None and not since(tree, "6.5"))
        or any(kind(tree, zone) in ("core", "uncore") or "-die-" in name_of(tree, zone) for zone in found)
        or bool(ranges & {_driver.range_uj(_driver.DRAM_NJ), PSYS_RANGE_UJ})
    )
