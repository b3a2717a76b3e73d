# SPDX-License-Identifier: Apache-2.0
"""The joules that were really spent, by the name of a domain.

A reader or a driver can be wrong; this cannot: it adds up the meters of :mod:`.hardware.domains` exactly.
Names are those of the zones, so that a zone can be held against its truth by its own path.  On AMD ``package-0/core``
is the package's first core, which the zone measures until the package's first CPU goes offline. A zone of
intel-rapl-mmio has its control type before its name, ``intel-rapl-mmio/package-0``, and measures the same energy.
"""

import re
from fractions import Fraction

from raplica_simulator.hardware.domains import Domains
from raplica_simulator.hardware.topology import Topology

__all__ = ["Truth"]

_NAME = re.compile(r"package-(\d+)(?:-die-(\d+))?(?:/(core|uncore|dram|core-\d+))?\Z", re.ASCII)

# The MMIO driver knows package 0 alone, and of it the package and dram.
_SECOND_DOOR = re.compile(r"intel-rapl-mmio/(package-0(?:/dram)?)\Z", re.ASCII)


class Truth:
    """Answers how much a domain has spent.

    ``kernel_counts_dies``: dies of a multi-die machine are numbered through all packages in names, as the
    kernel of this machine does; numbers that count from 0 in each package are understood as well.  ``mmio``: the
    machine has that interface too.
    """

    def __init__(
        self, domains: Domains, topology: Topology, *, kernel_counts_dies: bool, amd: bool, mmio: bool
    ) -> None:
        self._domains = domains
        self._topology = topology
        self._kernel_counts_dies = kernel_counts_dies
        self._amd = amd
        self._mmio = mmio

    def joules(self, name: str) -> Fraction:
        """Exactly the joules that the domain spent.  ValueError for a name that the machine does not have."""
        if self._mmio and (twin := _SECOND_DOOR.match(name)):
            name = twin[1]
        if platform := re.fullmatch(r"psys(?:-(\d+))?", name, re.ASCII):
            # However many packages have a psys zone, they measure the one platform.
            if int(platform[1] or 0) >= self._topology.packages:
                raise self._unknown(name)
            return self._domains.meter("psys").joules()
        match = _NAME.match(name)
        if match is None:
            raise self._unknown(name)
        dies = self._dies(name, int(match[1]), match[2])
        kind = match[3] or "package"
        if kind.startswith("core-"):
            return self._core(name, dies, int(kind.removeprefix("core-")))
        if kind == "core" and self._amd:
            # Also once its first CPU is offline and the zone shows the counter of another core.
            return self._core(name, dies, 0)
        return sum((self._domains.meter(kind, die).joules() for die in dies), Fraction(0))

    def _dies(self, name: str, package: int, die: str | None) -> list[int]:
        """The logical dies that a name means."""
        each = self._topology.dies_per_package
        if package >= self._topology.packages:
            raise self._unknown(name)
        first = package * each
        if die is None:
            return list(range(first, first + each))
        number = int(die)
        if first <= number < first + each and (self._kernel_counts_dies or package == 0):
            return [number]
        if number < each:
            return [first + number]
        raise self._unknown(name)

    def _core(self, name: str, dies: list[int], number: int) -> Fraction:
        """One core by its number in the named dies."""
        index = dies[0] * self._topology.cores_per_die + number
        if number >= len(dies) * self._topology.cores_per_die:
            raise self._unknown(name)
        return self._domains.meter("cpu-core", core_index=index).joules()

    def _unknown(self, name: str) -> ValueError:
        last = self._topology.packages - 1
        return ValueError(
            f"no domain {name!r} here: say psys or package-N (0 to {last}), with /core, /uncore or /dram behind it"
        )
