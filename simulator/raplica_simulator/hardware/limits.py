# SPDX-License-Identifier: Apache-2.0
"""What the power limits of one die let it draw: fidelity rule 10, a leaky bucket in integers.

Mirrors the running average limits of Intel SDM vol. 3B 15.10.3, whose exact filter is not public. The rule is
read as literally as possible:

* Time is whole nanoseconds. A bucket has a capacity of limit x window, starts full, loses draw - limit in each
  nanosecond (it gains where that is negative) and stays between 0 and its capacity. It is empty from the
  first whole nanosecond at which it holds 0.
* While every enabled limit of a domain holds credit, the domain draws what it wants; a limit whose bucket is
  empty caps the draw at the limit. PL4 has no window: its capacity is 0, so it is always empty and always
  caps.
* A cut of the package takes from the cores first, then from the uncore, then from the rest of the package. The
  bucket of the cores sees what the cores draw after that cut.
* A cap holds down to the domain's floor; only a limit with its clamp bit set goes below.
* A register write that changes a limit, its window or its enable bit starts that limit with a full bucket;
  whatever did not change keeps its credit. A disabled limit keeps nothing.

The draw can only change when a load changes, a register is written or a bucket runs empty: filling up, or
leaving 0 again, never changes it. So the next event is known in closed form and nothing is stepped through.

Limits of package, core, uncore and dram bind, wherever their registers lie; those of psys bind nothing. No profile
gives a floor yet: on a machine made from one every floor is 0, so there the clamp bit changes nothing.

Powers are whole "parts": microwatts times the `scale` that makes even spreads over dies and cores integers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

from raplica_simulator.hardware.registers_types import Register
from raplica_simulator.hardware.units import Units, window_linear_s, window_s

LIMITED_KINDS = ("package", "core", "uncore", "dram")


@dataclass(frozen=True, slots=True)
class Limit:
    """One power limit: microwatts, averaged over `window_ns` nanoseconds (0 for a cap without a window)."""

    limit_uw: int
    window_ns: int
    enabled: bool = True
    clamp: bool = False

    def __post_init__(self) -> None:
        for name in ("limit_uw", "window_ns"):
            value = getattr(self, name)
            if type(value) is not int or value < 0:
                raise ValueError(f"{name} is {value!r}, it must be a whole number of 0 or more")


def limits_of(register: Register, raw: int, units: Units) -> tuple[Limit, ...]:
    """Return the limits that a limit register holds, in the order PL1, PL2, PL3, PL4.

    Powers and windows are the manual's exact values rounded down to a whole microwatt and nanosecond. A PL4
    without an enable bit (MSR 0x601) counts as enabled unless it is 0, which stands for "not programmed".
    """
    fields = {one.name: one for one in register.fields}
    found: list[Limit] = []
    for name in ("pl1", "pl2", "pl3", "pl4"):
        power = fields.get(f"{name}_power_limit")
        if power is None:
            continue
        number = power.extract(raw)
        enabled = fields.get(f"{name}_enabled")
        clamp = fields.get(f"{name}_clamp")
        window = fields.get(f"{name}_time_window")
        window_ns = 0
        if window is not None:
            seconds = window_linear_s if window.quantity == "window_linear" else window_s
            window_ns = _floor(seconds(window.extract(raw), units.time_s) * 1_000_000_000)
        found.append(
            Limit(
                limit_uw=_floor(number * units.power_w * 1_000_000),
                window_ns=window_ns,
                enabled=bool(number if enabled is None else enabled.extract(raw)),
                clamp=clamp is not None and bool(clamp.extract(raw)),
            )
        )
    return tuple(found)


def _floor(value: Fraction) -> int:
    return value.numerator // value.denominator


@dataclass(frozen=True, slots=True)
class Draw:
    """What a die draws or wants to draw, in parts; `package` includes `core` and `uncore`."""

    package: int = 0
    core: int = 0
    uncore: int = 0
    dram: int = 0


class _Bucket:
    """One enabled limit and the credit that it has left, in parts x nanoseconds."""

    __slots__ = ("capacity", "credit", "limit", "rate")

    def __init__(self, limit: Limit, scale: int) -> None:
        self.limit = limit
        self.rate = limit.limit_uw * scale
        self.capacity = self.rate * limit.window_ns
        self.credit = self.capacity

    def is_for(self, limit: Limit) -> bool:
        """Tell whether a limit is this one, the clamp bit aside."""
        return self.limit.limit_uw == limit.limit_uw and self.limit.window_ns == limit.window_ns


class Governor:
    """The limits of one die: turns what the die wants into what it draws, and knows when that will change.

    `floors_uw` gives the microwatts below which only a clamping limit may press a kind of domain. The owner
    keeps time: it calls `elapse` before it changes anything and `decide` afterwards.
    """

    __slots__ = ("_buckets", "_floors", "_scale", "_wanted", "draw")

    def __init__(self, scale: int, floors_uw: Mapping[str, int] | None = None) -> None:
        self._scale = scale
        self._floors = {kind: uw * scale for kind, uw in (floors_uw or {}).items()}
        # A place per limit of each kind, None where that limit is disabled: positions name limits, so that
        # switching PL1 off does not turn PL2 into a new limit.
        self._buckets: dict[str, list[_Bucket | None]] = {}
        self._wanted = Draw()
        self.draw = Draw()

    def want(self, wanted: Draw) -> None:
        """Set what the die wants from now on."""
        self._wanted = wanted

    def set_limits(self, kind: str, limits: tuple[Limit, ...]) -> None:
        """Replace all limits of a kind; one that stays as it was keeps its credit."""
        old = self._buckets.get(kind, [])
        new: list[_Bucket | None] = []
        for position, limit in enumerate(limits):
            bucket = _Bucket(limit, self._scale) if limit.enabled else None
            before = old[position] if position < len(old) else None
            if bucket is not None and before is not None and before.is_for(limit):
                bucket.credit = before.credit
            new.append(bucket)
        if any(new):
            self._buckets[kind] = new
        else:
            self._buckets.pop(kind, None)

    def elapse(self, nanoseconds: int) -> None:
        """Let time pass at the present draw; at most until `next_event_ns`."""
        for drawn, bucket in self._enabled():
            credit = bucket.credit - (drawn - bucket.rate) * nanoseconds
            bucket.credit = min(max(credit, 0), bucket.capacity)

    def decide(self) -> None:
        """Work out the draw from what is wanted and which buckets are empty."""
        wanted = self._wanted
        if not self._buckets:
            self.draw = wanted
            return
        core = self._capped("core", wanted.core)
        uncore = self._capped("uncore", wanted.uncore)
        package_wanted = wanted.package - wanted.core - wanted.uncore + core + uncore
        package = self._capped("package", package_wanted)
        cut = package_wanted - package
        core_cut = min(core, cut)
        uncore_cut = min(uncore, cut - core_cut)
        self.draw = Draw(package, core - core_cut, uncore - uncore_cut, self._capped("dram", wanted.dram))

    def next_event_ns(self) -> int | None:
        """Nanoseconds until the first bucket that drains is empty; None when none will be."""
        waits = (
            -(-bucket.credit // (drawn - bucket.rate))
            for drawn, bucket in self._enabled()
            if bucket.credit > 0 and drawn > bucket.rate
        )
        return min(waits, default=None)

    def _enabled(self) -> Iterator[tuple[int, _Bucket]]:
        for kind, buckets in self._buckets.items():
            drawn: int = getattr(self.draw, kind)
            for bucket in buckets:
                if bucket is not None:
                    yield drawn, bucket

    def _capped(self, kind: str, wanted: int) -> int:
        for bucket in self._buckets.get(kind, ()):
            if bucket is not None and bucket.credit == 0:
                floor = 0 if bucket.limit.clamp else self._floors.get(kind, 0)
                wanted = min(wanted, max(bucket.rate, floor))
        return wanted
