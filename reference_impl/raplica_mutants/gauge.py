# SPDX-License-Identifier: Apache-2.0
"""A gauge that a mutant puts between a counter and the sampler: for readers that take a counter for something else."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

from raplica_reader.zone import Gauge, Handle, Zone

__all__ = ["Between", "behind"]


@dataclass(frozen=True)
class Between:
    """Does what `gauge` does, for counters that count on while nobody looks.

    A subclass changes what is read (`read`) or what is made of it (`count`).
    """

    gauge: Gauge

    counts_on = True

    def open(self) -> Handle:
        """Open the counter."""
        handle = self.gauge.open()
        return Handle(partial(self.read, handle.read), handle.descriptor, handle.release)

    def once(self) -> bytes:
        """Read the counter once."""
        return self.read(self.gauge.once)

    def check(self) -> None:
        """As the gauge."""
        self.gauge.check()

    def decode(self, content: bytes) -> int:
        """The count in what was read."""
        return self.count(self.gauge.decode(content))

    def read(self, read: Callable[[], bytes]) -> bytes:
        """What a reading gives; `read` is the right one."""
        return read()

    def count(self, count: int) -> int:
        """What is made of a right count."""
        return count


def behind(gauge: type[Between], zones: Iterable[Zone]) -> tuple[Zone, ...]:
    """The zones, each read through such a gauge."""
    return tuple(replace(zone, gauge=gauge(zone.gauge)) for zone in zones)
