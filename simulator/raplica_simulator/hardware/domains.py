# SPDX-License-Identifier: Apache-2.0
"""Exact energy of every domain, in closed form between events, as counters show it on their update grid.

Mirrors the energy status registers of Intel SDM vol. 3B 15.10: a counter steps about once a millisecond, in
whole steps of its unit. Nothing ticks here. Each meter holds one straight line (energy = offset + rate x
time) that is bent only when a load, a limit or an empty bucket changes the draw, so a year costs the same as
a second and no rounding ever adds up. Rates are whole "parts" (microwatts x dies x cores of a package):
microwatt x nanosecond is a femtojoule, and the factor keeps even spreads whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction

from raplica_simulator.clock import Clock
from raplica_simulator.hardware.limits import LIMITED_KINDS, Draw, Governor, Limit
from raplica_simulator.hardware.topology import Topology
from raplica_simulator.hardware.units import KINDS
from raplica_simulator.load import Load

_FEMTOJOULES_PER_J = 10**15
# Later than any clock goes: compared with on every read, so an integer and not None.
_NEVER_NS = 1 << 200
_NO_LOAD = Load()


class Meter:
    """The energy of one domain. Made by `Domains.meter`, one for each domain."""

    __slots__ = ("_clock", "_grid_ns", "_joules_per", "_line", "_owner", "_rate", "denominator", "unit_j")

    def __init__(self, owner: Domains, clock: Clock, grid_ns: int, unit_j: Fraction, scale: int) -> None:
        self._owner = owner
        self._clock = clock
        self._grid_ns = grid_ns
        # One part for one nanosecond is 1 / (10^15 x scale) J: the factor to raw steps as a reduced fraction
        # whose numerator goes into the line and whose denominator divides once, at the read.
        step = 1 / (unit_j * _FEMTOJOULES_PER_J * scale)
        self.unit_j = unit_j
        self.denominator = step.denominator
        self._joules_per = Fraction(1, step.numerator * _FEMTOJOULES_PER_J * scale)
        self._rate = step.numerator
        # Since when the line holds, the fractions of a step that were visible then, offset and rate: read in one go.
        self._line = (0, 0, 0, 0)

    def steps(self) -> int:
        """Whole raw steps counted since time 0, as visible at the last tick of the update grid; never wraps."""
        # As `fractions`, said again because every read of a counter comes here and a call costs as much as the rest.
        now_ns = self._clock.now_ns
        owner = self._owner
        if now_ns >= owner.until_ns:
            owner.settle(now_ns)
        since_ns, held, offset, rate = self._line
        tick_ns = now_ns - now_ns % self._grid_ns
        return (held if tick_ns < since_ns else offset + rate * tick_ns) // self.denominator

    def fractions(self) -> int:
        """The same in steps of ``unit_j`` / ``denominator``, of which nothing is cut off."""
        now_ns = self._clock.now_ns
        owner = self._owner
        if now_ns >= owner.until_ns:
            owner.settle(now_ns)
        since_ns, held, offset, rate = self._line
        tick_ns = now_ns - now_ns % self._grid_ns
        if tick_ns < since_ns:
            return held
        return offset + rate * tick_ns

    def joules(self) -> Fraction:
        """Exactly the joules spent from time 0 until now, not on the grid."""
        now_ns = self._clock.now_ns
        self._owner.settle(now_ns)
        _, _, offset, rate = self._line
        return (offset + rate * now_ns) * self._joules_per

    def draw_w(self) -> Fraction:
        """Exactly the watts drawn now, limits included."""
        self._owner.settle(self._clock.now_ns)
        return self._line[3] * self._joules_per * 1_000_000_000

    def bend(self, now_ns: int, parts: int) -> None:
        """Draw so many parts from now on; for the owner only."""
        since_ns, held, offset, rate = self._line
        new_rate = parts * self._rate
        if new_rate == rate:
            return
        tick_ns = now_ns - now_ns % self._grid_ns
        if tick_ns >= since_ns:
            held = offset + rate * tick_ns
        self._line = (now_ns, held, offset + (rate - new_rate) * now_ns, new_rate)


class Domains:
    """All domains of a machine: loads and limits go in, meters come out.

    `units` are the joules per raw step of each kind, as `counter_units` returns them. `watts` is the load
    since time 0, None for a machine that stands still. `grid_ns` is the counters' update interval; 0 or 1
    means at once. `floors_uw` are the microwatts per die below which a limit without clamp does not press a
    kind. Raises ValueError in one line for a unit that is missing or not above 0 and for a load that does not
    fit. Not locked: one thread at a time.
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
        self._scale = topology.dies_per_package * topology.cores_per_die
        self._governors = [Governor(self._scale, floors_uw) for _ in topology.dies]
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
            return Meter(self, clock, max(grid_ns, 1), unit_j, self._scale)

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

    def set_load(self, load: Load | None, *, package: int | None = None) -> None:
        """Let every package, or one, want other watts from now on; None stands for nothing at all.

        Raises ValueError in one line for a load that does not fit the topology.
        """
        topology = self._topology
        if package is not None:
            topology.dies_of_package(package)
        packages = range(topology.packages) if package is None else range(package, package + 1)
        now_ns = self._clock.now_ns
        self.settle(now_ns)
        self._set_load(now_ns, load, packages)

    def _set_load(self, now_ns: int, load: Load | None, packages: range) -> None:
        load = _NO_LOAD if load is None else load
        load.check(self._topology)
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
        if load.cores_uw:
            package, die_in_package = divmod(die, self._topology.dies_per_package)
            wanted = [load.cores_uw.get((package, die_in_package, core), 0) * self._scale for core in range(cores)]
        else:
            wanted = [load.core_uw] * cores
        self._cores_wanted[die] = wanted
        self._governors[die].want(
            Draw(load.package_uw * cores, sum(wanted), load.uncore_uw * cores, load.dram_uw * cores)
        )

    def _bend_cores(self, now_ns: int, die: int, drawn: int) -> None:
        """Share what the cores of a die draw among them, in proportion to what each wants.

        Even shares come out whole. Others are rounded down to a part, and what is left goes to the first
        cores that can take it, so that the cores always add up to the die.
        """
        wanted = self._cores_wanted[die]
        whole = sum(wanted)
        shares = [drawn * one // whole for one in wanted] if whole else wanted
        left = drawn - sum(shares)
        for index, share, one in zip(self._topology.cores_of_die(die), shares, wanted, strict=True):
            extra = 1 if left and share < one else 0
            left -= extra
            self._core_meters[index].bend(now_ns, share + extra)
