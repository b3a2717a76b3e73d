# SPDX-License-Identifier: Apache-2.0
"""Take samples of energy counters, and tell what was spent between two or more of them.

A sample is what all counters showed at one time of a monotonic clock. Energy is always a difference: `delta` makes it
of two samples, `Meter` of a series, in which a reading that fails costs nothing but its own interval, because the
next good one is compared with the last good one. Watts are joules over the time that was measured, never over the
time that was asked for. What is unknown is None and has the name of an errno beside it; it is never 0.

Between two good readings a counter must not start again more than once. That takes minutes at full power: about
11 for 65 kJ at 100 W.
"""

import errno
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from raplica_reader.files import NUMBER, OsFiles, errno_name, parse_number
from raplica_reader.powercap import Zone

__all__ = ["Delta", "Meter", "Sample", "Sampler", "delta"]

T = TypeVar("T")

MAX_OPEN = 256
"""Descriptors kept open at most, so that a machine of a thousand zones leaves the caller most of its 1,024."""
NEWLINE = ord("\n")
WENT_BACK = "ERANGE"
"""The error of a counter that went backward with no range by which that could be a wrap, or stands above its range."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What the counters of `zones` showed at one time.

    `at_ns`: the clock before the first was read. `energies_uj`: as their files show them, in the order of `zones`,
    None where reading failed and where a zone has no counter. `errors`: the errno names, None where nothing failed.
    """

    at_ns: int
    zones: tuple[Zone, ...]
    energies_uj: tuple[int | None, ...]
    errors: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Delta:
    """What one zone spent over a time.

    `energy_nj` is exact where the counter's unit is known, and None where the energy is unknown. Then `error` says
    why: the errno name of the failed reading, or ERANGE for a counter that went backward with no usable range or
    stands above it; a zone that has no counter at all has no error either.
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


class Sampler:
    """Reads the counters of zones again and again.

    `clock` gives nanoseconds that never go backward. Descriptors stay open between samples, `max_open` at most:
    reading one again at offset 0 gives a fresh value (fs/kernfs/file.c) for a tenth of what opening the file costs.
    Use it as a context manager, or call `close`, to give them back. A counter that fails is opened anew at the next
    sample, so that a zone which went away and came back is read again.
    """

    def __init__(
        self,
        zones: Iterable[Zone],
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        max_open: int = MAX_OPEN,
    ) -> None:
        self.zones = tuple(zones)
        self._clock = clock
        self._max_open = max_open
        self._metered = tuple(index for index, zone in enumerate(self.zones) if zone.has_energy)
        self._descriptors: dict[int, int] = {}
        self._reads = [self._first_read(position) for position in range(len(self._metered))]
        self._no_errors: tuple[str | None, ...] = (None,) * len(self.zones)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every descriptor; a later sample opens them again."""
        for position in tuple(self._descriptors):
            self._forget(position)

    def sample(self) -> Sample:
        """Read every counter once. A failing one is None with its errno name and does not disturb the others."""
        energies: list[int | None] = []
        failed: dict[int, str] = {}
        at_ns = self._clock()
        for read in self._reads:
            try:
                text = read()
                # Nearly always digits and a newline; the careful way is for what is not.
                energies.append(int(text) if text[:-1].isdigit() and text[-1] == NEWLINE else _energy_uj(text))
            except OSError as error:
                failed[len(energies)] = errno_name(error)
                energies.append(None)
        errors = self._no_errors
        if failed:
            for position in failed:
                self._forget(position)
            errors = self._spread([failed.get(position) for position in range(len(energies))])
        return Sample(at_ns, self.zones, self._spread(energies), errors)

    def _spread(self, values: Sequence[T | None]) -> tuple[T | None, ...]:
        """Put the values of the zones that have a counter at these zones' places among all."""
        if len(values) == len(self.zones):
            return tuple(values)
        by_zone = dict(zip(self._metered, values, strict=True))
        return tuple(by_zone.get(index) for index in range(len(self.zones)))

    def _first_read(self, position: int) -> Callable[[], bytes]:
        """The call that reads a counter while no descriptor is open for it."""
        zone = self.zones[self._metered[position]]
        if zone.directory is None:
            return partial(_refuse, zone)
        path = f"{zone.directory}/energy_uj"
        if isinstance(zone.files, OsFiles):
            return partial(self._open_and_read, position, zone.files, path)
        return partial(zone.files.read, path)

    def _open_and_read(self, position: int, files: OsFiles, path: str) -> bytes:
        """Read a counter and keep its descriptor, unless there are too many already."""
        if len(self._descriptors) < self._max_open:
            try:
                descriptor, read = files.keep_open(path)
            except OSError as error:
                if error.errno not in {errno.EMFILE, errno.ENFILE} or not self._descriptors:
                    raise
                self._forget(next(reversed(self._descriptors)))
                self._max_open = len(self._descriptors)
            else:
                self._descriptors[position] = descriptor
                self._reads[position] = read
                return read()
        return files.read(path)[:NUMBER]

    def _forget(self, position: int) -> None:
        """Close a counter's descriptor, if it has one."""
        descriptor = self._descriptors.pop(position, None)
        if descriptor is not None:
            self._reads[position] = self._first_read(position)
            os.close(descriptor)


def _energy_uj(text: bytes) -> int:
    """Parse what is not plainly a number; a counter below 0 is none (OSError EBADMSG)."""
    energy_uj = parse_number(text)
    if energy_uj < 0:
        raise OSError(errno.EBADMSG, "a negative counter")
    return energy_uj


def _refuse(zone: Zone) -> bytes:
    """Stand in for reading a zone that lies outside the tree."""
    raise OSError(getattr(errno, zone.error or "ENOENT"), f"{zone.id} lies outside the tree")


class _Account:
    """What a `Meter` knows of one zone: its last good reading, and what it spent up to that."""

    def __init__(self, zone: Zone, at_ns: int, energy_uj: int | None, error: str | None) -> None:
        self.zone = zone
        self.counter = zone.counter
        self.last_ns = at_ns
        self.last_uj = energy_uj
        self.spent_nj = 0
        self.trouble = error  # why the sum of all intervals is unknown, now and for ever

    def add(self, at_ns: int, energy_uj: int | None, error: str | None) -> Delta:
        """Book one more reading."""
        duration_ns = at_ns - self.last_ns
        if energy_uj is None:
            return Delta(self.zone, duration_ns, None, error)
        spent_nj = None
        if self.last_uj is None:
            error = self.trouble  # the first reading failed: there is nothing to compare with
        else:
            spent_nj = self.counter.spent_nj(self.last_uj, energy_uj)
            self.spent_nj += spent_nj or 0
            if spent_nj is None:
                error = WENT_BACK
                self.trouble = self.trouble or error
        self.last_ns, self.last_uj = at_ns, energy_uj
        return Delta(self.zone, duration_ns, spent_nj, error)

    def total(self, duration_ns: int, latest_error: str | None) -> Delta:
        """Sum up, if every interval is known and the latest reading is good."""
        error = self.trouble or latest_error
        known = error is None and self.last_uj is not None
        return Delta(self.zone, duration_ns, self.spent_nj if known else None, error)


class Meter:
    """Adds up a series of samples of the same zones."""

    def __init__(self) -> None:
        self._first: Sample | None = None
        self._latest: Sample | None = None
        self._accounts: tuple[_Account, ...] = ()

    def add(self, sample: Sample) -> tuple[Delta, ...]:
        """Take the next sample and tell what each zone spent since its last good reading.

        The first sample is the baseline and gives (). Errors: ValueError for a sample of other zones.
        """
        readings = zip(sample.zones, sample.energies_uj, sample.errors, strict=True)
        if self._first is None:
            self._first = self._latest = sample
            self._accounts = tuple(_Account(zone, sample.at_ns, energy, error) for zone, energy, error in readings)
            return ()
        if self._first.zones != sample.zones:
            raise ValueError("a meter adds up samples of the same zones: begin a new one after a new discovery")
        self._latest = sample
        return tuple(
            account.add(sample.at_ns, energy, error)
            for account, (_, energy, error) in zip(self._accounts, readings, strict=True)
        )

    def total(self) -> tuple[Delta, ...]:
        """What each zone spent from the first sample to the latest; () before the first.

        A failed reading in between changes nothing. Where the first or the latest one failed, or an interval is
        unknown, the whole is unknown: part of it would pass for all of it.
        """
        if self._first is None or self._latest is None:
            return ()
        duration_ns = self._latest.at_ns - self._first.at_ns
        return tuple(
            account.total(duration_ns, error)
            for account, error in zip(self._accounts, self._latest.errors, strict=True)
        )


def delta(before: Sample, after: Sample) -> tuple[Delta, ...]:
    """What each zone spent between two samples of the same zones; unknown where either reading failed."""
    meter = Meter()
    meter.add(before)
    return meter.add(after)
