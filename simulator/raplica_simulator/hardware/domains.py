# SPDX-License-Identifier: Apache-2.0
"""Exact energy of every domain, in closed form between events, as counters show it on their update grid.

Mirrors the energy status registers of Intel SDM vol. 3B 15.10: a counter steps about once a millisecond, in
whole steps of its unit. Nothing ticks here. Each meter holds one straight line (energy = offset + rate x
time) that is bent only when a load, a limit or an empty bucket changes the draw, so a year costs the same as
a second and no rounding ever adds up. Rates are whole "parts" (microwatts x dies x cores of a package):
microwatt x nanosecond is a femtojoule, and the factor keeps even spreads whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import NamedTuple

from raplica_simulator.clock import Clock
from raplica_simulator.hardware.governor import Draw, Governor
from raplica_simulator.hardware.limits import LIMITED_KINDS, Limit
from raplica_simulator.hardware.meter import Meter
from raplica_simulator.hardware.topology import Topology
from raplica_simulator.hardware.uncut import go_uncut
from raplica_simulator.hardware.units import KINDS
from raplica_simulator.load.demand import CoreKey, Load
from raplica_simulator.load.steps import LoadSteps

# Later than any clock goes: compared with on every read, so an integer and not None.
_NEVER_NS = 1 << 200
_NO_LOAD = Load()


class Mark(NamedTuple):
    """A moment, in ns, and what every meter had spent by then."""

    at_ns: int
    spent: list[int]


class Domains:
    """All domains of a machine: loads and limits go in, meters come out.

    `units` are the joules per raw step of each kind, as `counter_units` returns them. `watts` is the load
    since time 0, None for a machine that stands still. `grid_ns` is the counters' update interval; 0 or 1
    means at once. `floors_uw` are the microwatts per package below which a limit without clamp does not press a
    kind, spread evenly over its dies. Raises ValueError in one line for a unit that is missing or not above 0
    and for a load that does not fit. Not locked: one thread at a time.
    """

    def __init__(
        self,
        clock: Clock,
        topology: Topology,
        units: Mapping[str, Fraction],
        watts: Load | None,
        grid_ns: int = 1_000_000,
        *,
        floors_uw: Mapping[str, int] | None = None,
    ) -> None:
        if grid_ns < 0:
            raise ValueError(f"grid_ns is {grid_ns}, it must be 0 or more")
        self._clock = clock
        self._topology = topology
        self.grid_ns = max(grid_ns, 1)
        self._scale = topology.dies_per_package * topology.cores_per_die
        floors = {kind: uw * topology.cores_per_die for kind, uw in (floors_uw or {}).items()}
        self._governors = [Governor(self._scale, floors) for _ in topology.dies]
        self._loads = [_NO_LOAD] * topology.packages
        self._cores_wanted = [[0] * topology.cores_per_die for _ in topology.dies]
        # What psys wants above package + dram, and the parts that the platform draws in all.
        self._above_parts = [0] * topology.packages
        self._psys_parts = 0
        self._since_ns = [0] * len(topology.dies)
        self._events_ns = [_NEVER_NS] * len(topology.dies)
        self.until_ns = _NEVER_NS

        def meter(kind: str) -> Meter:
            unit_j = units.get(kind, units.get("core") if kind == "cpu-core" else None)
            if unit_j is None or unit_j <= 0:
                raise ValueError(f"units: {kind} is {unit_j}, it must be the joules of one raw step, above 0")
            return Meter(self, clock, self.grid_ns, unit_j, self._scale)

        self._meters = {kind: [meter(kind) for _ in topology.dies] for kind in LIMITED_KINDS}
        self._core_meters = [meter("cpu-core") for _ in range(topology.core_count)]
        self._psys_meter = meter("psys")
        self._set_load(0, watts, range(topology.packages))

    def meter(self, kind: str, logical_die: int = 0, core_index: int | None = None) -> Meter:
        """Return the meter of a domain, the same one each time.

        "package", "core" (all cores of the die), "uncore" and "dram" are per die, "cpu-core" is one physical
        core by its machine-wide number, "psys" the whole platform. Raises ValueError for what does not exist.
        """
        if kind == "psys":
            return self._psys_meter
        if kind == "cpu-core":
            if core_index is None or not 0 <= core_index < len(self._core_meters):
                last = len(self._core_meters) - 1
                raise ValueError(f"core {core_index} does not exist: the machine has cores 0 to {last}")
            return self._core_meters[core_index]
        if kind not in self._meters:
            raise ValueError(f"unknown kind of domain {kind!r}: the kinds are {', '.join(KINDS)}")
        self._topology.package_of_die(logical_die)
        return self._meters[kind][logical_die]

    def counter(self, kind: str, dies: range, unit_j: Fraction) -> Callable[[], int]:
        """Return the steps function of a counter of its own over the dies together, each step worth `unit_j` joules.

        It counts the energy of their meters and shows it on the same update grid. ValueError as for `meter`.
        """
        meters = [self.meter(kind, die) for die in dies]
        if len(meters) == 1 and meters[0].unit_j == unit_j:
            return meters[0].steps
        # All meters of a kind count in the same unit.
        factor = meters[0].unit_j / (meters[0].denominator * unit_j)
        return lambda: sum(meter.fractions() for meter in meters) * factor.numerator // factor.denominator

    @property
    def loads(self) -> tuple[Load, ...]:
        """What each package wants now."""
        return tuple(self._loads)

    def check_load(self, load: Load) -> None:
        """Raise ValueError in one line for a load that does not fit the topology."""
        load.check(self._topology)

    def set_load(self, load: Load | None, *, package: int | None = None) -> None:
        """Let every package, or one, want other watts from now on; None stands for nothing at all.

        Raises ValueError in one line for a load that does not fit the topology.
        """
        topology = self._topology
        if package is not None:
            topology.dies_of_package(package)
        packages = range(topology.packages) if package is None else range(package, package + 1)
        self._set_load(self._clock.now_ns, load, packages)

    def _set_load(self, now_ns: int, load: Load | None, packages: range) -> None:
        load = _NO_LOAD if load is None else load
        load.check(self._topology)
        self.settle(now_ns)
        for package in packages:
            self._loads[package] = load
            below_uw = load.package_uw + load.dram_uw
            above_uw = 0 if load.psys_uw is None else load.psys_uw - below_uw
            self._psys_parts += above_uw * self._scale - self._above_parts[package]
            self._above_parts[package] = above_uw * self._scale
            for die in self._topology.dies_of_package(package):
                self._elapse(die, now_ns)
                self._want(die, load)
                self._decide(die, now_ns)

    def set_limits(self, kind: str, logical_die: int, limits: tuple[Limit, ...]) -> None:
        """Let these limits hold from now on, in place of all that a kind of domain had on a die.

        A limit is known by its position. Raises ValueError for a die that does not exist and for kinds that
        have no limit here: psys and single cores are metered only.
        """
        if kind not in LIMITED_KINDS:
            raise ValueError(f"no limits on {kind!r}: the kinds are {', '.join(LIMITED_KINDS)}")
        self._topology.package_of_die(logical_die)
        now_ns = self._clock.now_ns
        self.settle(now_ns)
        self._elapse(logical_die, now_ns)
        self._governors[logical_die].set_limits(kind, limits)
        self._decide(logical_die, now_ns)

    # Steps of a load, one by one and many at once.

    def begin_step(self, steps: LoadSteps, place: int, now_ns: int) -> None:
        """Let every package want what a step says, from a moment on that is not before any other that was given."""
        self._set_load(now_ns, steps.load(place), range(self._topology.packages))

    def leap(self, steps: LoadSteps, first: int, last: int, later_ns: int) -> int:
        """Go at once from the beginning of step `first`, now in force, to the end of the last that no limit cuts.

        Steps are `later_ns` later than the first time. Returns the edge that was reached, `last` at most, and `first`
        where the first step may be cut. The step there is to begin next; nobody may look before the next tick.
        """
        cores = self._topology.cores_per_die
        reached = go_uncut(self._governors, steps, first, last, cores)
        if reached > first:
            total = steps.sum(first, reached)
            now_ns = steps.edges_ns[first] + later_ns
            until_ns = now_ns + total.ns
            for die in self._topology.dies:
                singles = [parts * total.single_ns for parts in self._single_cores(die, steps.single_cores)]
                energy = Draw(
                    total.package * cores, total.core * cores + sum(singles), total.uncore * cores, total.dram * cores
                )
                for kind in LIMITED_KINDS:
                    self._add(self._meters[kind][die], now_ns, until_ns, getattr(energy, kind))
                for core, single in zip(self._topology.cores_of_die(die), singles, strict=True):
                    self._add(self._core_meters[core], now_ns, until_ns, total.core + single)
                self._since_ns[die] = until_ns
            platform = (total.package + total.dram + total.above) * self._scale * self._topology.packages
            self._add(self._psys_meter, now_ns, until_ns, platform)
            # What was to happen on the way has not: nothing was cut.
            self._events_ns = [_NEVER_NS] * len(self._events_ns)
            self.until_ns = _NEVER_NS
        return reached

    @staticmethod
    def _add(meter: Meter, now_ns: int, until_ns: int, parts_ns: int) -> None:
        meter.leap(until_ns, meter.spent(now_ns) + meter.fractions_of(parts_ns))

    def _all_meters(self) -> Iterator[Meter]:
        for meters in self._meters.values():
            yield from meters
        yield from self._core_meters
        yield self._psys_meter

    def mark(self, now_ns: int) -> Mark:
        """Remember this moment, at which a load has begun; the only one that is remembered."""
        for governor in self._governors:
            governor.mark()
        return Mark(now_ns, [meter.spent(now_ns) for meter in self._all_meters()])

    def repeat(self, mark: Mark, now_ns: int, most: int) -> int:
        """Let happen again at once, `most` times at the most, what has happened between a mark and now.

        The same is to be wanted again, and limits are not to have changed. Returns how often it has: as often as the
        limits' credit goes the same way; not at all where a limit met its end and is not back where it was. Nobody
        may look before the next tick after that.
        """
        possible = [times for governor in self._governors if (times := governor.times_again()) is not None]
        times = min([most, *possible])
        if times > 0:
            until_ns = now_ns + times * (now_ns - mark.at_ns)
            for meter, before in zip(self._all_meters(), mark.spent, strict=True):
                spent = meter.spent(now_ns)
                meter.leap(until_ns, spent + times * (spent - before))
            for die, governor in enumerate(self._governors):
                governor.again(times)
                self._since_ns[die] = until_ns
                self._decide(die, until_ns)
        return times

    def settle(self, now_ns: int) -> None:
        """Work off every limit event up to now; a meter calls this when `until_ns` has come."""
        while self.until_ns <= now_ns:
            event_ns = self.until_ns
            die = self._events_ns.index(event_ns)
            self._elapse(die, event_ns)
            self._decide(die, event_ns)

    def _elapse(self, die: int, now_ns: int) -> None:
        """Bring the credit of a die's limits up to now; no event of the die may lie in between."""
        self._governors[die].elapse(now_ns - self._since_ns[die])
        self._since_ns[die] = now_ns

    def _decide(self, die: int, now_ns: int) -> None:
        """Work out what a die draws from now on, bend its meters and find its next event."""
        governor = self._governors[die]
        before = governor.draw
        governor.decide()
        draw = governor.draw
        for kind in LIMITED_KINDS:
            self._meters[kind][die].bend(now_ns, getattr(draw, kind))
        self._bend_cores(now_ns, die, draw.core)
        self._psys_parts += draw.package + draw.dram - before.package - before.dram
        self._psys_meter.bend(now_ns, self._psys_parts)
        wait_ns = governor.next_event_ns()
        self._events_ns[die] = _NEVER_NS if wait_ns is None else now_ns + wait_ns
        self.until_ns = min(self._events_ns)

    def _want(self, die: int, load: Load) -> None:
        """Set what one die wants: an even share of its package, except where single cores are given."""
        cores = self._topology.cores_per_die
        wanted = self._single_cores(die, load.cores_uw) if load.cores_uw else [load.core_uw] * cores
        self._cores_wanted[die] = wanted
        self._governors[die].want(
            Draw(load.package_uw * cores, sum(wanted), load.uncore_uw * cores, load.dram_uw * cores)
        )

    def _single_cores(self, die: int, cores_uw: Mapping[CoreKey, int]) -> list[int]:
        """What the cores of a die want that are given one by one, in parts."""
        package, in_package = divmod(die, self._topology.dies_per_package)
        cores = range(self._topology.cores_per_die)
        return [cores_uw.get((package, in_package, core), 0) * self._scale for core in cores]

    def _bend_cores(self, now_ns: int, die: int, drawn: int) -> None:
        """Share what the cores of a die draw among them, in proportion to what each wants.

        Even shares come out whole. Others are rounded down to a part, and what is left goes to the first
        cores that can take it, so that the cores always add up to the die.
        """
        wanted = self._cores_wanted[die]
        whole = sum(wanted)
        cores = self._topology.cores_of_die(die)
        meters = self._core_meters[cores.start : cores.stop]
        if drawn == whole:
            for meter, one in zip(meters, wanted, strict=True):
                meter.bend(now_ns, one)
            return
        shares = [drawn * one // whole for one in wanted]
        left = drawn - sum(shares)
        for meter, share, one in zip(meters, shares, wanted, strict=True):
            extra = 1 if left and share < one else 0
            left -= extra
            meter.bend(now_ns, share + extra)
