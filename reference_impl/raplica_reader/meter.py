# SPDX-License-Identifier: Apache-2.0
"""Tell what was spent between two or more samples.

Energy is always a difference: `delta` makes it of two samples, `Meter` of a series, in which a reading that fails costs
nothing but its own interval, because the next good one is compared with the last good one. Watts are joules over the
time that was measured, never over the time that was asked for. What is unknown is None and has an error beside it; it
is never 0, and no part of it is passed off as the whole.

Zones may come and go between samples. One that is gone is ENODEV until it is back; then it goes on from its last good
reading, since the registers behind it counted on. One that is new begins with its first reading.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from raplica_reader.sample import Sample
from raplica_reader.step import SLACK_NS, step, verdict
from raplica_reader.zone import Zone

__all__ = ["Delta", "Meter", "Tally", "delta"]

GONE = "ENODEV"


@dataclass(frozen=True, slots=True)
class Delta:
    """What one zone spent over a time.

    `energy_nj` is cut to whole nanojoules and otherwise exact where the counter's unit is known; None where the energy
    is unknown. Then `error` says why: the errno name of the failed reading, or one of the errors of `step`; a zone
    that has no counter at all has no error either.
    """

    zone: Zone
    duration_ns: int
    energy_nj: int | None
    error: str | None

    @property
    def energy_uj(self) -> int | None:
        """Whole microjoules, cut downward; None where unknown."""
        return None if self.energy_nj is None else self.energy_nj // 1000

    @property
    def power_w(self) -> float | None:
        """Mean power in watts (nJ per ns); None where the energy is unknown or no time has passed."""
        return None if self.energy_nj is None or self.duration_ns <= 0 else self.energy_nj / self.duration_ns

    @property
    def status(self) -> str:
        """Say "ok", "unknown", "reset", "error" for a failed reading, or "none" where there is no counter."""
        return "none" if self.energy_nj is None and self.error is None else verdict(self.error)


@dataclass(frozen=True, slots=True)
class Tally:
    """What is known of a zone when gaps do not matter, as for a counter that others read at any time.

    `energy_nj`: the sum of all intervals whose energy is known, so it never falls. `gaps`: how many intervals are
    missing in it, by the status that they had ("error" for failed readings, which the next good one makes up for).
    """

    zone: Zone
    energy_nj: int
    gaps: dict[str, int]


class _Account:
    """What a `Meter` knows of one zone: its last good reading, and what it spent up to that."""

    def __init__(self, zone: Zone, at_ns: int, count: int | None, error: str | None, possible_w: int | None) -> None:
        self.zone = zone
        self.possible_w = zone.possible_w if possible_w is None else possible_w
        self.gaps: dict[str, int] = {}
        self.last_ns = at_ns
        self.last = count
        self.parts = 0
        self.before_nj = 0  # what a counter of another kind said that was in this zone's place before
        self.latest_error = error
        self.trouble = error  # why the sum of all intervals is unknown, now and for ever

    def add(self, at_ns: int, count: int | None, error: str | None) -> Delta:
        """Book one more reading."""
        self.latest_error = error
        duration_ns = at_ns - self.last_ns
        if count is None:
            if error is not None:
                self._miss(error)
            return Delta(self.zone, duration_ns, None, error)
        counter = self.zone.counter
        parts = None
        if self.last is None:
            error = self.trouble  # the first reading failed: there is nothing to compare with
        else:
            parts, error = step(counter, self.last, count, duration_ns, self.possible_w)
            if parts is None:
                self.trouble = self.trouble or error
                self._miss(error)
            else:
                self.parts += parts
                self._learn(parts, duration_ns, forward=count >= self.last)
        self.last_ns, self.last = at_ns, count
        return Delta(self.zone, duration_ns, None if parts is None else counter.energy_nj(parts), error)

    def _miss(self, error: str | None) -> None:
        status = verdict(error)
        self.gaps[status] = self.gaps.get(status, 0) + 1

    def succeed(self, other: "_Account", error: str | None) -> None:
        """Take over from the account of another counter, whose last interval nobody knows for that `error`."""
        self.trouble = error
        self.before_nj = other.known_nj
        self.gaps = other.gaps
        if error is not None:
            self._miss(error)

    @property
    def known_nj(self) -> int:
        """The sum of all intervals that are known."""
        return self.before_nj + self.zone.counter.energy_nj(self.parts)

    def _learn(self, parts: int, duration_ns: int, *, forward: bool) -> None:
        """Take twice the power for possible that a step forward showed, if it was more than was thought possible.

        Steps of more than a quarter of the period teach nothing, so that no single jump makes later steps unknown.
        """
        counter = self.zone.counter
        if not forward or counter.period is None or parts * 4 > counter.period:
            return
        energy_nj, within_ns = counter.energy_nj(parts), duration_ns + SLACK_NS
        if energy_nj > self.possible_w * within_ns:
            self.possible_w = -(-2 * energy_nj // within_ns)

    def total(self, duration_ns: int) -> Delta:
        """Sum up, if every interval is known and the latest reading is good."""
        error = self.trouble or self.latest_error
        known = error is None and self.last is not None
        return Delta(self.zone, duration_ns, self.zone.counter.energy_nj(self.parts) if known else None, error)


class Meter:
    """Adds up a series of samples. `possible_w`: watts that no domain can exceed, where the caller knows better."""

    def __init__(self, *, possible_w: int | None = None) -> None:
        self._possible_w = possible_w
        self._first: Sample | None = None
        self._latest: Sample | None = None
        self._accounts: dict[str, _Account] = {}

    def add(self, sample: Sample) -> tuple[Delta, ...]:
        """Take the next sample and tell what each zone spent since its last good reading.

        The first sample is the baseline and gives (). Zones that this sample lacks stand behind those that it has.
        """
        if self._first is None:
            self._first = self._latest = sample
            for zone, count, error in _readings(sample):
                self._accounts[zone.path] = _Account(zone, sample.at_ns, count, error, self._possible_w)
            return ()
        self._latest = sample
        deltas = []
        for zone, count, error in _readings(sample):
            account = self._accounts.get(zone.path)
            if account is None or account.zone.counter != zone.counter:
                missing = (error or GONE) if zone.has_energy else None
                before, account = account, _Account(zone, sample.at_ns, count, error, self._possible_w)
                account.trouble = missing
                if before is not None:
                    account.succeed(before, missing)
                self._accounts[zone.path] = account
                deltas.append(Delta(zone, 0, None, missing))
            else:
                account.zone = zone
                deltas.append(account.add(sample.at_ns, count, error))
        if len(deltas) < len(self._accounts):
            here = {zone.path for zone in sample.zones}
            gone = (account for key, account in self._accounts.items() if key not in here)
            deltas.extend(account.add(sample.at_ns, None, GONE) for account in gone)
        return tuple(deltas)

    def total(self) -> tuple[Delta, ...]:
        """What each zone spent from the first sample to the latest; () before the first.

        A failed reading in between changes nothing. Where the first or the latest one failed, or an interval is
        unknown, the whole is unknown: part of it would pass for all of it.
        """
        if self._first is None or self._latest is None:
            return ()
        duration_ns = self._latest.at_ns - self._first.at_ns
        return tuple(account.total(duration_ns) for account in self._accounts.values())

    def tallies(self) -> tuple[Tally, ...]:
        """What is known of each zone so far, gaps left out and counted."""
        return tuple(Tally(account.zone, account.known_nj, dict(account.gaps)) for account in self._accounts.values())


def delta(before: Sample, after: Sample) -> tuple[Delta, ...]:
    """What each zone spent between two samples of the same zones; unknown where either reading failed.

    Errors: ValueError for samples of other zones.
    """
    if before.zones != after.zones:
        raise ValueError("two samples of the same zones can be compared: a Meter takes zones that come and go")
    meter = Meter()
    meter.add(before)
    return meter.add(after)


def _readings(sample: Sample) -> Iterable[tuple[Zone, int | None, str | None]]:
    return zip(sample.zones, sample.counts, sample.errors, strict=True)
