# SPDX-License-Identifier: Apache-2.0
"""Readers that miss zones, or call them by a wrong name.

What a zone is stands in its file `name`. Its id is its control type and the next free number in hexadecimal, and says
nothing else.
"""

import errno
import re
from collections.abc import Callable
from dataclasses import replace

from raplica_mutants.right import Reading, Right, Tree
from raplica_reader.powercap import Powercap
from raplica_reader.source import Source
from raplica_reader.zone import Zone

__all__ = [
    "AbsentIsZero",
    "ChildrenByPosition",
    "DecimalIds",
    "DieNameEndsDiscovery",
    "DiesAreOnePackage",
    "EveryEntryIsZone",
    "FirstPackageFound",
    "KeyedByName",
    "MismatchEndsProgram",
    "MismatchVanishes",
    "NumberForName",
    "PsysIsSocket",
    "StopsAtGap",
    "SubzonesOnly",
    "TwinEndsScrape",
    "UnknownNameEndsDiscovery",
    "ZonesFoundOnce",
]

MAIN = "intel-rapl"
KNOWN = re.compile(r"(?:package-\d+(?:-die-\d+)?|psys(?:-\d+)?|core|uncore|dram)\Z", re.ASCII)
DECIMAL = re.compile(r"[a-z-]+(?::\d+)+\Z", re.ASCII)
POSITIONS = ("core", "uncore", "dram")


def renamed(zones: tuple[Zone, ...], name_of: Callable[[Zone], str | None]) -> tuple[Zone, ...]:
    """The zones of intel-rapl by other names; None leaves a zone out, with all that lies in it."""
    kept: dict[str, Zone] = {}
    for zone in zones:
        if zone.control_type != MAIN:
            kept[zone.id] = zone
            continue
        name = name_of(zone)
        if name is not None and zone.parent is None:
            kept[zone.id] = zone if name == zone.name else replace(zone, name=name, path=name)
        elif name is not None and zone.parent in kept:
            kept[zone.id] = replace(zone, name=name, path=f"{kept[zone.parent].path}/{name}")
    return tuple(kept.values())


def number_of(zone: Zone) -> int:
    """The last number of an id."""
    return int(zone.id.rpartition(":")[2], 16)


def is_mismatch(zone: Zone) -> bool:
    """Whether a package has another number in its name than in its id."""
    package = re.fullmatch(r"package-(\d+)", zone.name or "", re.ASCII)
    return zone.control_type == MAIN and package is not None and int(package[1]) != number_of(zone)


class NumberForName(Right):
    """Calls intel-rapl:N package-N, whatever its name is."""

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """Packages by their ids."""
        return renamed(zones, lambda zone: f"package-{number_of(zone)}" if zone.parent is None else zone.name)


class MismatchVanishes(Right):
    """Looks for package-N in intel-rapl:N, and a package with another number there is not found."""

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """Packages whose two numbers agree."""
        return renamed(zones, lambda zone: None if is_mismatch(zone) else zone.name or zone.id)


class MismatchEndsProgram(Right):
    """Holds the number in a package's name against that in its id, and ends where they differ."""

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """Packages, if all have two numbers that agree."""
        for zone in filter(is_mismatch, zones):
            raise ValueError(f"{zone.id} is called {zone.name}: package ID mismatch")
        return zones


class ChildrenByPosition(Right):
    """Takes the first zone in a package for core, the second for uncore, the third for dram."""

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """Children by their numbers."""
        return renamed(zones, lambda zone: zone.name if zone.parent is None else POSITIONS[min(number_of(zone), 2)])


class DecimalIds(Right):
    """Takes ids for decimal numbers: intel-rapl:a to :f are none."""

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """Those of decimal ids."""
        return tuple(zone for zone in zones if DECIMAL.match(zone.id))


class StopsAtGap(Right):
    """Counts up from intel-rapl:0 and stops at the first number that is missing."""

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """Those before the gap."""
        numbers = {number_of(zone) for zone in zones if zone.control_type == MAIN and zone.parent is None}
        gap = next(number for number in range(len(numbers) + 1) if number not in numbers)
        return renamed(
            zones, lambda zone: None if zone.parent is None and number_of(zone) > gap else zone.name or zone.id
        )


class FirstPackageFound(Right):
    """Opens the zone of package-0, and no other package's."""

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """The first package and what is no package."""
        return renamed(zones, lambda zone: None if _is_later_package(zone) else zone.name or zone.id)


def _is_later_package(zone: Zone) -> bool:
    return (zone.name or "").startswith("package-") and re.match(r"package-0\b", zone.name or "") is None


class DiesAreOnePackage(Right):
    """Parses the number in package-0-die-1 and stops at the hyphen: the first die of each package is all there is."""

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """One die of each package, which keeps its name."""
        seen: dict[str, str] = {}

        def first(zone: Zone) -> str | None:
            package, is_die, _ = (zone.name or "").partition("-die-")
            return (zone.name or zone.id) if not is_die or seen.setdefault(package, zone.id) == zone.id else None

        return renamed(zones, first)


class DieNameEndsDiscovery(Right):
    """Parses what follows "package-" as a number, and gives up all zones where that fails."""

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """All or nothing."""
        return () if any("-die-" in (zone.name or "") for zone in zones) else zones


class UnknownNameEndsDiscovery(Right):
    """Knows five kinds of zones, and gives up all of them where one is of another kind."""

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """All or nothing."""
        return zones if all(zone.control_type != MAIN or KNOWN.match(zone.name or "") for zone in zones) else ()


class TwinEndsScrape(Right):
    """Exports a series for each name, and nothing at all where two zones have the same."""

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """All or nothing."""
        names = [zone.name for zone in zones if zone.parent is None]
        return () if len(set(names)) < len(names) else zones


class SubzonesOnly(Right):
    """Takes a zone for a package if zones lie in it."""

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """Packages with parts."""
        parents = {zone.parent for zone in zones}
        return renamed(
            zones, lambda zone: (zone.name or zone.id) if zone.parent is not None or zone.id in parents else None
        )


class PsysIsSocket(Right):
    r"""Where no package has zones in it, takes every zone for a socket that is not called "psys": "psys\n" is not."""

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """The psys as one more package."""
        mains = [zone for zone in zones if zone.control_type == MAIN]
        if any(zone.parent is not None for zone in mains):
            return zones
        return renamed(zones, lambda zone: f"package-{len(mains) - 1}" if zone.name == "psys" else zone.name)


class KeyedByName(Right):
    """Keeps energies by the names of zones: the last zone called dram is the dram of every socket."""

    def answer(self) -> dict[str, Reading]:
        """For each zone what the last one of its name spent."""
        deltas = self.follower.meter.total()
        by_name = {delta.zone.name: delta for delta in deltas}
        return {delta.zone.path: self.say(by_name[delta.zone.name]) for delta in deltas} | self.total(deltas)


class AbsentIsZero(Right):
    """Reports 0 J for a core, an uncore and a psys that the machine does not have."""

    def answer(self) -> dict[str, Reading]:
        """What is right, and zeros."""
        right = super().answer()
        packages = [path for path in right if path.startswith("package-") and "/" not in path]
        parts = [f"{package}/{part}" for package in packages for part in ("core", "uncore")]
        return {path: Reading(0) for path in (*parts, "psys")} | right


class EveryEntryIsZone(Right):
    """Takes every entry of the class and of a zone's directory for a zone."""

    def answer(self) -> dict[str, Reading]:
        """What is right, and an error for every directory that has no counter."""
        right = super().answer()
        nothing = Reading(None, "error", errno.errorcode[errno.ENOENT])
        packages = [path for path in right if path.startswith("package-") and "/" not in path]
        inside = [f"{package}/{entry}" for package in packages for entry in ("device", "power", "subsystem")]
        return dict.fromkeys((MAIN, *inside), nothing) | right


class ZonesFoundOnce(Right):
    """Looks for zones when it starts, and never again."""

    def source(self) -> Source:
        """A source that answers once."""
        return _Once(self.tree)


class _Once(Powercap):
    """The first answer, again and again."""

    def __init__(self, tree: Tree) -> None:
        super().__init__(tree)
        self._found: tuple[Zone, ...] | None = None

    def discover(self) -> tuple[Zone, ...]:
        if self._found is None:
            self._found = ()
            self._found = super().discover()
        return self._found
