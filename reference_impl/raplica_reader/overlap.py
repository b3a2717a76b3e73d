# SPDX-License-Identifier: Apache-2.0
"""Say which zones add up to what a machine spends, and why the others must be left out.

Zones overlap. A package contains its cores and its graphics (core, uncore) but not the memory, although `dram` is a
directory inside it; psys contains the packages; intel-rapl-mmio shows the same counters as intel-rapl over another
interface (Intel SDM volume 3B, "RAPL Interfaces": the domains; drivers/powercap/intel_rapl_common.c: their names);
some kernels show one counter in several zones (`mirror`). So the total is the packages and the memory, each once. psys
is a wider figure of its own and never a part of this one. All sources name their zones alike, so this holds for all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from raplica_reader.meter import Delta
from raplica_reader.step import UNEVEN
from raplica_reader.zone import Zone

__all__ = ["Share", "Total", "shares", "total"]


RAPL = ("intel-rapl", "msr", "perf", "emi", "scaphandre")
"""How the control types begin whose zones are RAPL domains."""
POWERMETRICS = "powermetrics"
"""That of macOS, where the package of Apple silicon contains the memory too."""


@dataclass(frozen=True, slots=True)
class Share:
    """Whether a zone is counted in the total, and the reason in words."""

    counted: bool
    why: str


@dataclass(frozen=True, slots=True)
class Total:
    """The energy of all counted zones together.

    It is None where one of them is unknown, and `error` has the errno name of the first such zone; also where one
    makes up for a reading that failed, so that its energy is of a longer time than that of the others (EDOM of
    `step`). Without a counted zone both are None.
    """

    zones: tuple[Zone, ...]
    duration_ns: int
    energy_nj: int | None
    error: str | None

    @property
    def energy_uj(self) -> int | None:
        """Whole microjoules, cut downward; None where unknown."""
        return None if self.energy_nj is None else self.energy_nj // 1000

    @property
    def power_w(self) -> float | None:
        """Mean power in watts; None where the energy is unknown or no time has passed."""
        return None if self.energy_nj is None or self.duration_ns <= 0 else self.energy_nj / self.duration_ns


def shares(zones: Sequence[Zone]) -> tuple[Share, ...]:
    """Tell for each zone, in their order, whether the total counts it."""
    # Not by id: the id of a zone that is gone may be another one's by now.
    by_path = {zone.path: zone for zone in zones}
    counted: dict[tuple[str, ...], Zone] = {}
    answers = []
    for zone in zones:
        share = _on_macos(zone) if zone.control_type == POWERMETRICS else _alone(zone, by_path)
        if share.counted:
            first = counted.setdefault(_names(zone, by_path), zone)
            if first is not zone:
                share = Share(counted=False, why=_again(zone, first))
        answers.append(share)
    return tuple(answers)


def total(deltas: Sequence[Delta]) -> Total:
    """Add up the counted zones of one reading of a whole tree."""
    answers = shares([delta.zone for delta in deltas])
    parts = [delta for delta, share in zip(deltas, answers, strict=True) if share.counted]
    known = [part.energy_nj for part in parts if part.energy_nj is not None]
    error = next((part.error for part in parts if part.energy_nj is None), None)
    if len(known) == len(parts) and len({part.duration_ns for part in parts}) > 1:
        error = UNEVEN
    return Total(
        zones=tuple(part.zone for part in parts),
        duration_ns=max((part.duration_ns for part in parts), default=0),
        energy_nj=sum(known) if known and len(known) == len(parts) and error is None else None,
        error=error,
    )


def _above(zone: Zone, by_path: dict[str, Zone]) -> Zone | None:
    """The zone that this one lies in; None at the top, and where that is not among the zones."""
    return by_path.get(zone.path.rpartition("/")[0]) if zone.parent is not None else None


def _alone(zone: Zone, by_path: dict[str, Zone]) -> Share:
    """Judge a zone by itself, as if no other had its name."""
    kind = zone.name or ""
    if not zone.has_energy:
        return Share(counted=False, why="it has no energy counter")
    if not zone.control_type.startswith(RAPL):
        return Share(counted=False, why=f"what zones of {zone.control_type} share with the others is not known")
    if kind == "psys" or kind.startswith("psys-"):
        return Share(counted=False, why="psys is the whole platform and contains the packages")
    if kind == "dram":
        return Share(counted=True, why="memory, which no package contains")
    if zone.mirror_of is not None:
        return Share(counted=False, why=f"it shows the counter of {zone.mirror_of} once more")
    if zone.parent is not None:
        above = _above(zone, by_path)
        return Share(counted=False, why=f"it is contained in {zone.parent if above is None else above.path}")
    if kind.startswith("package-"):
        return Share(counted=True, why="a package with all that it contains")
    what = f"what {kind} contains" if zone.name is not None else "it has no readable name, so what it contains"
    return Share(counted=False, why=f"{what} is not known")


def _on_macos(zone: Zone) -> Share:
    """Judge a zone of powermetrics: nothing that it shows is in two zones but what a zone contains."""
    if zone.parent is not None:
        return Share(counted=False, why="it is contained in the package")
    return Share(counted=True, why="macOS shows nothing that contains it")


def _again(zone: Zone, first: Zone) -> str:
    """Say why a second zone of the same names is not counted."""
    if zone.control_type != first.control_type:
        return f"it shows the counter of {first.id} over another interface"
    return f"it has the same name as {first.id}, which is counted"


def _names(zone: Zone, by_path: dict[str, Zone]) -> tuple[str, ...]:
    """Names from the top of the tree down to the zone."""
    names = []
    above: Zone | None = zone
    while above is not None:
        names.append(above.name or above.id)
        above = _above(above, by_path)
    return tuple(reversed(names))
