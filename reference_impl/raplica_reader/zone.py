# SPDX-License-Identifier: Apache-2.0
"""A zone: one energy counter and what is known of it, wherever it is read.

What powercap calls a zone the registers and perf have too: a domain of a package. A zone says how its counter counts
(`Counter`) and how it is reached (`Gauge`); everything above is the same for all sources.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from raplica_reader.counter import Counter

__all__ = ["Gauge", "Handle", "Zone"]


class Handle(NamedTuple):
    """An open counter: a call that reads it afresh, and the descriptor to close (None: there is none).

    `release`: what to call in place of that, where it is no descriptor that keeps the counter open.
    """

    read: Callable[[], bytes]
    descriptor: int | None
    release: Callable[[], None] | None = None


class Gauge(Protocol):
    """How one counter is reached. Gauges that reach the same place in the same way are equal."""

    counts_on: bool
    """Whether the counter goes on counting while nobody has it open. Where it does not, it is never closed."""

    def open(self) -> Handle:
        """Open the counter for many readings; OSError with the kernel's errno."""
        ...

    def once(self) -> bytes:
        """Read the counter without keeping anything open; OSError with the kernel's errno."""
        ...

    def check(self) -> None:
        """Make sure before it is opened anew that this place still holds the same counter; OSError where not."""
        ...

    def decode(self, content: bytes) -> int:
        """The count in what was read; OSError ENODATA or EBADMSG where there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Zone:
    """One zone.

    Attributes:
        id: unique in its source. In powercap the directory's name, "intel-rapl:0:0", which changes with CPU hotplug;
            elsewhere the source and the path, "msr:package-0/core".
        path: names from the top, "package-0/core"; unique. Zones of another control type than intel-rapl carry
            that in front ("intel-rapl-mmio/package-0"), and zones that share a name their id behind it.
        name: what the file `name` says; None where it cannot be read. Other sources use the same names.
        control_type: "intel-rapl", "intel-rapl-mmio", "dtpm", …; "msr" and "perf" for these sources.
        parent: id of the zone that this one lies in; None at the top.
        max_energy_range_uj: as the file says; None where it cannot be read, and in other sources.
        has_energy: False where there is no counter (dtpm).
        error: name of the errno that kept its directory from being listed, "ENOENT"; None if nothing did.
        counter: how it counts.
        possible_w: watts that the domain cannot exceed for more than a moment.
        mirror_of: id of a zone that shows this very counter too; None where none is known.
        gauge: how the counter is reached.

    """

    id: str
    path: str
    name: str | None
    control_type: str
    parent: str | None
    max_energy_range_uj: int | None
    has_energy: bool
    error: str | None
    counter: Counter
    possible_w: int
    mirror_of: str | None
    gauge: Gauge = field(repr=False, compare=False)
