# SPDX-License-Identifier: Apache-2.0
"""What the limits of one die let it draw at any moment: fidelity rule 10, as :mod:`.limits` tells it.

Powers are whole "parts": microwatts times the `scale` that makes even spreads over dies and cores integers. Credit is
in parts x ns. Whoever owns a governor keeps the time and bends the meters; it may let a governor go a long way at
once where nothing is cut on the way (`lasts`, `follow`, `earn`), and where what has happened since a moment happens
again and again (`mark`, `times_again`, `again`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from raplica_simulator.hardware.limits import Limit

__all__ = ["Draw", "Governor"]


@dataclass(frozen=True, slots=True)
class Draw:
    """What a die draws or wants to draw, in parts; `package` includes `core` and `uncore`."""

    package: int = 0
    core: int = 0
    uncore: int = 0
    dram: int = 0


class _Bucket:
    """One enabled limit and the credit that it has left, in parts x nanoseconds.

    `marked` is the credit at the last mark, `lowest` and `highest` are where it has been since, `highest` above the
    capacity where something ran over.
    """

    __slots__ = ("capacity", "credit", "highest", "limit", "lowest", "marked", "rate")

    def __init__(self, limit: Limit, scale: int) -> None:
        self.limit = limit
        self.rate = limit.limit_uw * scale
        self.capacity = self.rate * limit.window_ns
        self.credit = self.lowest = self.highest = self.marked = self.capacity

    def is_for(self, limit: Limit) -> bool:
        """Tell whether a limit is this one, the clamp bit aside."""
        return self.limit.limit_uw == limit.limit_uw and self.limit.window_ns == limit.window_ns

    def earn(self, gained: int) -> None:
        """Gain credit, less than nothing where more was drawn than the limit."""
        credit = self.credit + gained
        self.highest = max(self.highest, credit)
        self.credit = credit = min(max(credit, 0), self.capacity)
        self.lowest = min(self.lowest, credit)

    def lasts(self, wanted: Iterable[tuple[int, int]]) -> int:
        """How many steps of (parts, nanoseconds) it lets pass uncut."""
        credit, count = self.credit, 0
        for parts, nanoseconds in wanted:
            credit = min(credit + (self.rate - parts) * nanoseconds, self.capacity)
            if credit < 0:
                break
            count += 1
        return count

    def times_again(self) -> int | None:
        """How often what has happened since the mark happens again just so; None for ever."""
        gained = self.credit - self.marked
        if gained == 0:
            return None
        # It met neither end, so it goes the same way from a little higher or lower, as long as it meets none there.
        if self.lowest <= 0 or self.highest > self.capacity:
            return 0
        return (self.capacity - self.highest) // gained if gained > 0 else (self.lowest - 1) // -gained


class Governor:
    """The limits of one die: turns what the die wants into what it draws, and knows when that will change.

    `floors` gives the parts below which only a clamping limit may press a kind of domain. The owner keeps time: it
    calls `elapse` before it changes anything and `decide` afterwards.
    """

    __slots__ = ("_buckets", "_floors", "_scale", "_wanted", "draw")

    def __init__(self, scale: int, floors: Mapping[str, int] | None = None) -> None:
        self._scale = scale
        self._floors = dict(floors or {})
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
        for kind, bucket in self._enabled():
            drawn: int = getattr(self.draw, kind)
            bucket.earn((bucket.rate - drawn) * nanoseconds)

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
        waits = []
        for kind, bucket in self._enabled():
            drawn: int = getattr(self.draw, kind)
            if bucket.credit > 0 and drawn > bucket.rate:
                waits.append(-(-bucket.credit // (drawn - bucket.rate)))
        return min(waits, default=None)

    # A long way at once, where nothing is cut: buckets then know nothing of each other.

    def ceilings(self) -> dict[str, int]:
        """By kind that has a limit: the parts that no limit of it ever cuts."""
        return {
            kind: min(bucket.rate for bucket in buckets if bucket is not None)
            for kind, buckets in self._buckets.items()
        }

    def lasts(self, kind: str, wanted: list[tuple[int, int]]) -> int:
        """How many steps of (parts, nanoseconds) the limits of a kind let pass uncut."""
        return min(bucket.lasts(wanted) for bucket in self._buckets[kind] if bucket is not None)

    def follow(self, kind: str, wanted: Iterable[tuple[int, int]]) -> None:
        """Let a kind draw uncut, step by step, as many steps as `lasts` gave at most."""
        buckets = [bucket for bucket in self._buckets[kind] if bucket is not None]
        for parts, nanoseconds in wanted:
            for bucket in buckets:
                bucket.earn((bucket.rate - parts) * nanoseconds)

    def earn(self, kind: str, energy: int, nanoseconds: int) -> None:
        """Let a kind spend so many parts x ns, never more than its ceiling at any moment."""
        for bucket in self._buckets[kind]:
            if bucket is not None:
                bucket.earn(bucket.rate * nanoseconds - energy)

    # Again and again.

    def mark(self) -> None:
        """Remember this moment, the only one that is remembered."""
        for _, bucket in self._enabled():
            bucket.marked = bucket.lowest = bucket.highest = bucket.credit

    def times_again(self) -> int | None:
        """How often what has happened since the mark happens again just so, if the same is wanted; None for ever."""
        times = (bucket.times_again() for _, bucket in self._enabled())
        return min((one for one in times if one is not None), default=None)

    def again(self, times: int) -> None:
        """Let it happen so many times more."""
        for _, bucket in self._enabled():
            bucket.credit += times * (bucket.credit - bucket.marked)

    def _enabled(self) -> Iterator[tuple[str, _Bucket]]:
        for kind, buckets in self._buckets.items():
            for bucket in buckets:
                if bucket is not None:
                    yield kind, bucket

    def _capped(self, kind: str, wanted: int) -> int:
        for bucket in self._buckets.get(kind, ()):
            if bucket is not None and bucket.credit == 0:
                floor = 0 if bucket.limit.clamp else self._floors.get(kind, 0)
                wanted = min(wanted, max(bucket.rate, floor))
        return wanted
