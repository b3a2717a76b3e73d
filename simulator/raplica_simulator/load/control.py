# SPDX-License-Identifier: Apache-2.0
"""Changing the watts that a running machine's domains want; ``machine.load``."""

from collections.abc import Mapping

from raplica_simulator.hardware.domains import Domains
from raplica_simulator.hardware.load_walk import LoadWalk
from raplica_simulator.load.demand import CoreKey, Load, Watts, microwatts
from raplica_simulator.load.steps import LoadSteps

__all__ = ["LoadControl", "merge_load"]


class LoadControl:
    """What every package wants from now on."""

    def __init__(self, domains: Domains) -> None:
        self._domains = domains

    def now(self, package: int = 0) -> Load:
        """What a package wants at present."""
        return self._domains.loads[package]

    def set(
        self,
        *,
        cores: "dict[CoreKey, Watts] | None" = None,
        on_package: int | None = None,
        **watts: Watts | None,
    ) -> None:
        """Let domains want other watts from now on: ``set(package=100, dram=7.5)``.

        Names are package, core, uncore, dram and psys, in every package or in one (``on_package``); ``psys=None``
        is package and dram together.  A domain that is not named keeps its watts as far as they still fit: the
        cores, then the uncore, shrink into a smaller package, and psys keeps what it has above package and dram.
        ValueError where named parts exceed their whole and for a package that does not exist, TypeError for an
        unknown name.
        """
        packages = range(len(self._domains.loads)) if on_package is None else range(on_package, on_package + 1)
        if not 0 <= packages.start < len(self._domains.loads):
            last = len(self._domains.loads) - 1
            raise ValueError(f"package {on_package} does not exist: the machine has packages 0 to {last}")
        changed = {package: merge_load(self._domains.loads[package], watts, cores) for package in packages}
        for load in changed.values():
            self._domains.check_load(load)
        for package, load in changed.items():
            self._domains.set_load(load, package=package)

    def walk(self, steps: LoadSteps) -> LoadWalk:
        """A way through steps that every package is to want; ValueError for one that does not fit the topology."""
        return LoadWalk(self._domains, steps)

    def replace(self, load: Load) -> None:
        """Let every package want exactly this from now on.  ValueError for a load that does not fit the topology."""
        self._domains.set_load(load)


def merge_load(old: Load, watts: Mapping[str, Watts | None], cores: "dict[CoreKey, Watts] | None" = None) -> Load:
    """The new load of one package: what is named, and of the rest what fits beside it; errors as `LoadControl.set`."""
    wanted = dict(watts)
    package_uw = _microwatts(wanted, "package", old.package_uw)
    if "package" in wanted and cores is None:
        uncore_uw = _microwatts(wanted, "uncore", old.uncore_uw)
        if "uncore" not in wanted and uncore_uw > package_uw - _microwatts(wanted, "core", 0):
            uncore_uw = max(0, package_uw - _microwatts(wanted, "core", 0))
            wanted["uncore"] = _watts(uncore_uw)
        if "core" not in wanted and _core_uw(old) > package_uw - uncore_uw:
            wanted["core"] = _watts(max(0, package_uw - uncore_uw))
    if "psys" not in wanted and old.psys_uw is not None:
        above_uw = old.psys_uw - old.package_uw - old.dram_uw
        wanted["psys"] = _watts(package_uw + _microwatts(wanted, "dram", old.dram_uw) + above_uw)
    return old.with_(cores, **wanted)


def _microwatts(watts: dict[str, Watts | None], name: str, otherwise: int) -> int:
    given = watts.get(name)
    return otherwise if given is None else microwatts(given, name)


def _core_uw(load: Load) -> int:
    """What the cores of the busiest package want together."""
    totals: dict[int, int] = {}
    for (package, _, _), uw in load.cores_uw.items():
        totals[package] = totals.get(package, 0) + uw
    return max(totals.values(), default=load.core_uw)


def _watts(uw: int) -> str:
    return f"{uw // 1_000_000}.{uw % 1_000_000:06d}"
