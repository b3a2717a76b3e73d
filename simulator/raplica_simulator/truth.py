# SPDX-License-Identifier: Apache-2.0
"""The joules that were really spent, by the name of a domain.

A reader or a driver can be wrong; this cannot: it adds up the meters of :mod:`.hardware.domains` exactly.
Names are those of the zones, so that a zone can be held against its truth by its own path.  On AMD ``package-0/core``
is the package's first core, which the zone measures until the package's first CPU goes offline. A zone of
intel-rapl-mmio has its control type before its name, ``intel-rapl-mmio/package-0``, and measures the same energy.
"""

import re
from fractions import Fraction
from typing import NamedTuple

from raplica_simulator.hardware.domains import Domains
from raplica_simulator.hardware.meter import Meter
from raplica_simulator.hardware.topology import Topology

__all__ = ["DomainPlace", "Truth"]

_NAME = re.compile(r"package-(\d+)(?:-die-(\d+))?(?:/(core|uncore|dram|core-\d+))?\Z", re.ASCII)

# The MMIO driver knows package 0 alone, and of it the package and dram.
_SECOND_DOOR = re.compile(r"intel-rapl-mmio/(package-0(?:/dram)?)\Z", re.ASCII)


class DomainPlace(NamedTuple):
    """What in the silicon the name of a domain means.

    Attributes:
        kind: package, core, uncore, dram, psys, or cpu-core for a single core.
        dies: the logical dies that it covers.
        core: the machine-wide number of the single core.
        mmio_alone: whether only the counter of the MMIO interface is meant.
    """

    kind: str
    dies: tuple[int, ...]
    core: int | None
    mmio_alone: bool = False


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
        return sum((meter.joules() for meter in self._meters(name)), Fraction(0))

    def watts(self, name: str) -> Fraction:
        """Exactly the watts that the domain draws now, limits included; errors as :meth:`joules`."""
        return sum((meter.draw_w() for meter in self._meters(name)), Fraction(0))

    def place(self, name: str) -> DomainPlace:
        """What in the silicon a name means; errors as :meth:`joules`."""
        twin = _SECOND_DOOR.match(name) if self._mmio else None
        if twin is not None:
            name = twin[1]
        if platform := re.fullmatch(r"psys(?:-(\d+))?", name, re.ASCII):
            # However many packages have a psys zone, they measure the one platform.
            if int(platform[1] or 0) >= self._topology.packages:
                raise self._unknown(name)
            return DomainPlace("psys", tuple(self._topology.dies), None)
        match = _NAME.match(name)
        if match is None:
            raise self._unknown(name)
        dies = self._dies(name, int(match[1]), match[2])
        kind = match[3] or "package"
        if kind.startswith("core-"):
            return DomainPlace("cpu-core", dies, self._core(name, dies, int(kind.removeprefix("core-"))))
        if kind == "core" and self._amd:
            # Also once its first CPU is offline and the zone shows the counter of another core.
            return DomainPlace("cpu-core", dies, self._core(name, dies, 0))
        return DomainPlace(kind, dies, None, mmio_alone=twin is not None)

    def _meters(self, name: str) -> list[Meter]:
        place = self.place(name)
        if place.kind == "psys":
            return [self._domains.meter("psys")]
        if place.core is not None:
            return [self._domains.meter("cpu-core", core_index=place.core)]
        return [self._domains.meter(place.kind, die) for die in place.dies]

    def _dies(self, name: str, package: int, die: str | None) -> tuple[int, ...]:
        """The logical dies that a name means."""
        each = self._topology.dies_per_package
        if package >= self._topology.packages:
            raise self._unknown(name)
        first = package * each
        if die is None:
            return tuple(range(first, first + each))
        number = int(die)
        counted = number - self._topology.die_number(package, 0)
        if self._kernel_counts_dies and 0 <= counted < each:
            return (first + counted,)
        if number < each:
            return (first + number,)
        raise self._unknown(name)

    def _core(self, name: str, dies: tuple[int, ...], number: int) -> int:
        """The machine-wide number of one core by its number in the named dies."""
        if number >= len(dies) * self._topology.cores_per_die:
            raise self._unknown(name)
        return dies[0] * self._topology.cores_per_die + number

    def _unknown(self, name: str) -> ValueError:
        last = self._topology.packages - 1
        return ValueError(
            f"no domain {name!r} here: say psys or package-N (0 to {last}), with /core, /uncore or /dram behind it"
        )
