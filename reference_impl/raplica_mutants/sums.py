# SPDX-License-Identifier: Apache-2.0
"""Readers whose zones are right and whose total is not: something is in it twice, or not at all."""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace

from raplica_mutants.books import Books
from raplica_mutants.right import TOTAL, Reading, Right, RightMsr
from raplica_reader.meter import Delta, Meter
from raplica_reader.overlap import shares
from raplica_reader.sample import Sample
from raplica_reader.zone import Zone

__all__ = [
    "CoresAdded",
    "DramIsTheMachine",
    "DramLeftOut",
    "EveryControlTypeAdded",
    "MirroredDiesAdded",
    "PartForWhole",
    "PartsAdded",
    "PsysAdded",
    "SumThenWrap",
    "TwinAdded",
]

PLAIN_PACKAGE = re.compile(r"package-\d+", re.ASCII)


class _Adds(Right, ABC):
    """A reader whose total has more in it than it should."""

    def counted(self, zones: Sequence[Zone]) -> Sequence[bool]:
        """All that is right, and what `adds` says."""
        return [
            right or (zone.has_energy and self.adds(zone))
            for zone, right in zip(zones, super().counted(zones), strict=True)
        ]

    @abstractmethod
    def adds(self, zone: Zone) -> bool:
        """Whether a zone is added that should not be."""


class PsysAdded(_Adds):
    """Adds psys to the packages that it contains."""

    def adds(self, zone: Zone) -> bool:
        """The psys of any package."""
        return (zone.name or "").partition("-")[0] == "psys"


class PartsAdded(_Adds):
    """Adds core and uncore to the package that contains them."""

    def adds(self, zone: Zone) -> bool:
        """Every zone in a package."""
        return zone.parent is not None and zone.control_type == "intel-rapl"


class CoresAdded(RightMsr, _Adds):
    """Adds the cores of a processor to the package that contains them, read from registers."""

    def adds(self, zone: Zone) -> bool:
        """Every domain in a package."""
        return zone.parent is not None


class TwinAdded(_Adds):
    """Adds the package once more that intel-rapl-mmio shows."""

    def adds(self, zone: Zone) -> bool:
        """Packages over the other interface."""
        return zone.parent is None and zone.control_type == "intel-rapl-mmio"


class EveryControlTypeAdded(_Adds):
    """Adds the packages of every control type of the class, whatever it is for."""

    def adds(self, zone: Zone) -> bool:
        """What is called a package elsewhere."""
        is_package = zone.parent is None and (zone.name or "").startswith("package-")
        return is_package and not zone.control_type.startswith("intel-rapl")


class DramLeftOut(Right):
    """Takes dram, a directory in the package's, for a part of the package's energy."""

    def counted(self, zones: Sequence[Zone]) -> Sequence[bool]:
        """Packages alone."""
        return [right and zone.name != "dram" for zone, right in zip(zones, super().counted(zones), strict=True)]


class MirroredDiesAdded(Right):
    """Takes each zone named after a die for a counter of its own."""

    def counted(self, zones: Sequence[Zone]) -> Sequence[bool]:
        """Mirrors as well."""
        return [share.counted for share in shares([replace(zone, mirror_of=None) for zone in zones])]


class PartForWhole(Right):
    """Adds up what it could read, and calls that the machine."""

    def added(self, deltas: Sequence[Delta]) -> dict[str, Reading]:
        """The sum of what is known, if anything is."""
        known = [delta for delta in deltas if delta.energy_nj is not None]
        return super().added(known or deltas)


class DramIsTheMachine(Right):
    """Looks for zones called package and a number; where all packages are dies it takes dram for the machine."""

    def counted(self, zones: Sequence[Zone]) -> Sequence[bool]:
        """Memory alone, if there is no such package."""
        right = super().counted(zones)
        if any(PLAIN_PACKAGE.fullmatch(zone.name or "") for zone in zones):
            return right
        return [one and zone.name == "dram" for one, zone in zip(right, zones, strict=True)]


class SumThenWrap(Right):
    """Adds up the counters first and puts the sum right, with the range of the package, when it went backward."""

    def meter(self) -> Meter:
        """Books that have the sum of each sample beside them."""
        return _Sums(self)

    def total(self, deltas: Sequence[Delta]) -> dict[str, Reading]:
        """The sums' differences."""
        right = super().total(deltas)
        books = self.follower.meter
        if isinstance(books, _Sums) and TOTAL in right and right[TOTAL].energy_uj is not None:
            return {TOTAL: Reading(books.spent_nj // 1000)}
        return right


class _Sums(Books):
    """Books that also compare the sum of all counters with the one before."""

    def __init__(self, reader: Right) -> None:
        super().__init__()
        self.reader = reader
        self.before_nj: int | None = None
        self.spent_nj = 0

    def add(self, sample: Sample) -> tuple[Delta, ...]:
        counted = self.reader.counted(sample.zones)
        read = [
            (zone, count)
            for zone, count, one in zip(sample.zones, sample.counts, counted, strict=True)
            if one and count is not None
        ]
        if len(read) == sum(counted) and read:
            now_nj = sum(zone.counter.energy_nj(zone.counter.position(count) or 0) for zone, count in read)
            if self.before_nj is not None:
                went_nj = now_nj - self.before_nj
                self.spent_nj += went_nj if went_nj >= 0 else went_nj + (read[0][0].counter.period_nj or 0)
            self.before_nj = now_nj
        return super().add(sample)
