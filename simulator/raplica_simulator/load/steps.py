# SPDX-License-Identifier: Apache-2.0
"""The watts that packages want over time, as steps, with sums beforehand: any stretch of them is added up at once.

What ``--load`` says becomes this: a trace is a list of steps, a sine the steps of one period that come again for ever.
The energy from one step to another is the difference of two sums, so a day costs what a second costs.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate, pairwise
from operator import add, attrgetter, mul, sub
from typing import NamedTuple

from raplica_simulator.load.demand import CoreKey, Load

__all__ = ["LoadSteps", "LoadSum"]

# Sums are kept at every so many steps: a million of them would take more memory than the steps themselves.
_BLOCK = 256
_KINDS = ("package", "core", "uncore", "dram")


class LoadSum(NamedTuple):
    """What a package wants over some time, in microwatts x ns.

    Attributes:
        ns: how long that is.
        above: what the platform wants beside package and dram.
        core: what the cores want that are given together.
        single_ns: for how long single cores are given instead.
    """

    ns: int
    package: int
    core: int
    uncore: int
    dram: int
    above: int
    single_ns: int


class LoadSteps:
    """Loads that follow each other, each from its moment on.

    ``moments_ns`` ascend and count from power-on; ``again`` is the place of a step and a time in ns: from that step on
    all comes again, for ever, whenever that time has passed; without it the last step lasts.  Raises ValueError for
    steps that are in no order, and for single cores that change: they are those of the machine's own load or none.

    Attributes:
        edges_ns: when each step comes, and of steps that come again when they have passed for the first time.
        count: the number of steps.
        first_again: the place of the step from which on all comes again, or None.
        again_ns: after how long.
        single_cores: what single cores want, in microwatts, in the steps that leave them to it.
    """

    def __init__(self, moments_ns: Iterable[int], loads: Iterable[Load], again: tuple[int, int] | None = None) -> None:
        self.edges_ns = list(moments_ns)
        self._loads = list(loads)
        self.count = len(self._loads)
        if self.count != len(self.edges_ns) or not self.count:
            raise ValueError(f"{len(self.edges_ns)} moments and {self.count} loads: give as many, and one at least")
        self.first_again: int | None = None
        self.again_ns = 0
        if again is not None:
            self.first_again, self.again_ns = again
            self.edges_ns.append(self.edges_ns[self.first_again] + self.again_ns)
        if self.edges_ns[0] < 0 or any(later <= earlier for earlier, later in pairwise(self.edges_ns)):
            raise ValueError("the moments of the steps do not ascend: put the steps in order of time")
        self.single_cores = self._one_of_single_cores()
        self._sums = list(accumulate(self._blocks(), _plus, initial=LoadSum(0, 0, 0, 0, 0, 0, 0)))
        self._most = [self._most_of(start, start + _BLOCK) for start in range(0, self.count, _BLOCK)]

    def load(self, place: int) -> Load:
        """What is wanted from a step on."""
        return self._loads[place]

    def place_at(self, moment_ns: int) -> int:
        """The last edge that has come by a moment of the first time; -1 before the first."""
        return bisect_right(self.edges_ns, moment_ns) - 1

    def sum(self, first: int, last: int) -> LoadSum:
        """What is wanted from one edge to another."""
        return LoadSum(*map(sub, self._sum_until(last), self._sum_until(first)))

    def wanted(self, kind: str, first: int, last: int) -> Iterator[tuple[int, int]]:
        """What a kind of domain wants from one edge to another, cores together: microwatts, and for how many ns."""
        edges = self.edges_ns
        lengths = map(sub, edges[first + 1 : last + 1], edges[first:last])
        return zip(map(attrgetter(f"{kind}_uw"), self._loads[first:last]), lengths, strict=True)

    def calm_until(self, first: int, last: int, ceilings_uw: Mapping[str, int]) -> int:
        """The first step of a stretch that wants more than it says of a kind; ``last`` where none does."""
        limited = [(attrgetter(f"{kind}_uw"), ceiling) for kind, ceiling in ceilings_uw.items()]
        place = first
        while place < last:
            block, within = divmod(place, _BLOCK)
            if not within and all(self._most[block][_KINDS.index(kind)] <= uw for kind, uw in ceilings_uw.items()):
                place += _BLOCK
                continue
            for load in self._loads[place : min(place - within + _BLOCK, last)]:
                for wanted, ceiling in limited:
                    if wanted(load) > ceiling:
                        return place
                place += 1
        return last

    def _one_of_single_cores(self) -> Mapping[CoreKey, int]:
        distinct: list[Mapping[CoreKey, int]] = []
        for load in self._loads:
            if load.cores_uw and load.cores_uw not in distinct:
                distinct.append(load.cores_uw)
        if len(distinct) > 1:
            raise ValueError("single cores want now this and now that: give all cores together in some of the steps")
        return distinct[0] if distinct else {}

    def _blocks(self) -> Iterator[LoadSum]:
        ends = len(self.edges_ns) - 1
        return (self._plain_sum(start, min(start + _BLOCK, ends)) for start in range(0, ends, _BLOCK))

    def _sum_until(self, edge: int) -> LoadSum:
        block = edge // _BLOCK
        return _plus(self._sums[block], self._plain_sum(block * _BLOCK, edge))

    def _plain_sum(self, first: int, last: int) -> LoadSum:
        """As `sum`, added up step by step."""
        loads = self._loads[first:last]
        edges = self.edges_ns
        lengths = list(map(sub, edges[first + 1 : last + 1], edges[first:last]))

        def total(column: Iterable[int]) -> int:
            return sum(map(mul, column, lengths))

        package, core, uncore, dram = (total(map(attrgetter(f"{kind}_uw"), loads)) for kind in _KINDS)
        above = total(map(_above_uw, loads))
        return LoadSum(sum(lengths), package, core, uncore, dram, above, total(bool(load.cores_uw) for load in loads))

    def _most_of(self, first: int, last: int) -> tuple[int, ...]:
        """The most that each kind wants in some steps, single cores aside."""
        loads = self._loads[first:last]
        return tuple(max(map(attrgetter(f"{kind}_uw"), loads)) for kind in _KINDS)


def _above_uw(load: Load) -> int:
    return 0 if load.psys_uw is None else load.psys_uw - load.package_uw - load.dram_uw


def _plus(one: LoadSum, other: LoadSum) -> LoadSum:
    return LoadSum(*map(add, one, other))
