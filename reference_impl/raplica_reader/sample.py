# SPDX-License-Identifier: Apache-2.0
"""Take samples of energy counters: what all of them showed at one time of a monotonic clock.

A counter that fails is None with the name of an errno beside it, never 0, and does not disturb the others. At the next
sample it is opened anew, so that a zone which went away and came back is read again. What samples mean, in joules, is
said in `meter`.
"""

import errno
import os
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

from raplica_reader.files import errno_name
from raplica_reader.zone import Gauge, Handle, Zone

__all__ = ["Sample", "Sampler"]

T = TypeVar("T")

MAX_OPEN = 256
"""Descriptors kept open at most, so that a machine of a thousand zones leaves the caller most of its 1,024."""
TAKEN_AWAY = frozenset({errno.ENODEV, errno.ENXIO})
"""What reading a descriptor gives whose zone was unregistered, or whose CPU went offline."""


class Sample(NamedTuple):
    """What the counters of `zones` showed at one time.

    `at_ns`: the clock before the first was read. `counts`: as the counters show them, in the order of `zones`, None
    where reading failed and where a zone has no counter. `errors`: the errno names, None where nothing failed.
    """

    at_ns: int
    zones: tuple[Zone, ...]
    counts: tuple[int | None, ...]
    errors: tuple[str | None, ...]

    @property
    def energies_uj(self) -> tuple[int | None, ...]:
        """Where the counters stand in whole microjoules; in powercap that is what their files show."""
        return tuple(
            None if count is None else zone.counter.shown_uj(count)
            for zone, count in zip(self.zones, self.counts, strict=True)
        )


class Sampler:
    """Reads the counters of zones again and again.

    `clock` gives nanoseconds that never go backward: `perf_counter_ns` is the monotonic clock on Linux and macOS, and
    on Windows the one without the steps of 15.6 ms that Python's `monotonic` has there before 3.13. Descriptors stay
    open between samples, `max_open` at most. Use it as a context manager, or call `close`, to give them back.
    """

    def __init__(
        self,
        zones: Iterable[Zone],
        *,
        clock: Callable[[], int] = time.perf_counter_ns,
        max_open: int = MAX_OPEN,
    ) -> None:
        self.clock = clock
        self._max_open = max_open
        self.zones: tuple[Zone, ...] = ()
        self._gauges: list[Gauge] = []
        self._handles: dict[int, Handle] = {}
        self._reads: list[tuple[Callable[[], bytes], Callable[[bytes], int]]] = []
        self._places: tuple[int, ...] = ()
        self.replace(zones)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every descriptor; a later sample opens them again."""
        for position in tuple(self._handles):
            self._forget(position)

    def replace(self, zones: Iterable[Zone]) -> None:
        """Read these zones from now on; what is open already and still wanted stays open."""
        open_before = {
            _identity(self.zones[self._places[position]]): (self._gauges[position], self._reads[position], handle)
            for position, handle in self._handles.items()
        }
        self.zones = tuple(zones)
        self._places = tuple(index for index, zone in enumerate(self.zones) if zone.has_energy)
        self._gauges = [self.zones[index].gauge for index in self._places]
        self._reads = [(self._first_read(position), gauge.decode) for position, gauge in enumerate(self._gauges)]
        self._handles = {}
        self._no_errors: tuple[str | None, ...] = (None,) * len(self.zones)
        for position, index in enumerate(self._places):
            if kept := open_before.pop(_identity(self.zones[index]), None):
                self._gauges[position], self._reads[position], self._handles[position] = kept
        for _, _, handle in open_before.values():
            _close(handle)

    def sample(self) -> Sample:
        """Read every counter once. A failing one is None with its errno name and does not disturb the others."""
        counts: list[int | None] = []
        failed: dict[int, str] = {}
        at_ns = self.clock()
        for read, decode in self._reads:
            try:
                counts.append(decode(read()))
            except OSError as error:
                count = self._once_more(len(counts), error)
                if count is None:
                    failed[len(counts)] = errno_name(error)
                counts.append(count)
        if not failed and len(counts) == len(self.zones):  # nearly always, so it takes no call more
            return Sample(at_ns, self.zones, tuple(counts), self._no_errors)
        for position in failed:
            self._lose(position)
        errors = [failed.get(position) for position in range(len(counts))]
        return Sample(at_ns, self.zones, self._spread(counts), self._spread(errors))

    def _spread(self, values: Sequence[T | None]) -> tuple[T | None, ...]:
        """Put the values of the zones that have a counter at these zones' places among all."""
        by_zone = dict(zip(self._places, values, strict=True))
        return tuple(by_zone.get(index) for index in range(len(self.zones)))

    def _first_read(self, position: int, *, anew: bool = False) -> Callable[[], bytes]:
        """The call that reads a counter while nothing is open for it."""
        return partial(self._open_and_read, position, anew=anew)

    def _open_and_read(self, position: int, *, anew: bool) -> bytes:
        """Read a counter and keep it open, unless there are too many already."""
        gauge = self._gauges[position]
        if anew:
            gauge.check()
        if len(self._handles) < self._max_open or not gauge.counts_on:
            try:
                handle = gauge.open()
            except OSError as error:
                if error.errno not in {errno.EMFILE, errno.ENFILE} or not self._handles or not gauge.counts_on:
                    raise
                self._forget(next(reversed(self._handles)))
                self._max_open = len(self._handles)
            else:
                self._handles[position] = handle
                self._reads[position] = handle.read, gauge.decode
                return handle.read()
        return gauge.once()

    def _once_more(self, position: int, error: OSError) -> int | None:
        """Read a counter that was taken away under an open descriptor, in case it is back already."""
        if error.errno not in TAKEN_AWAY or position not in self._handles or not self._gauges[position].counts_on:
            return None
        self._lose(position)
        read, decode = self._reads[position]
        try:
            return decode(read())
        except OSError:
            return None

    def _lose(self, position: int) -> None:
        """After a failure: begin anew at the next sample, but for counters that only count while they are open."""
        if self._gauges[position].counts_on or position not in self._handles:
            self._forget(position)
            self._reads[position] = self._first_read(position, anew=True), self._gauges[position].decode

    def _forget(self, position: int) -> None:
        """Close a counter, if it is open."""
        handle = self._handles.pop(position, None)
        if handle is not None:
            self._reads[position] = self._first_read(position), self._gauges[position].decode
            _close(handle)


def _close(handle: Handle) -> None:
    if handle.descriptor is not None:
        os.close(handle.descriptor)
    if handle.release is not None:
        handle.release()


def _identity(zone: Zone) -> tuple[object, ...]:
    """What makes a zone of a new discovery the same as one of an earlier discovery, as far as its descriptor goes."""
    return zone.path, zone.gauge
