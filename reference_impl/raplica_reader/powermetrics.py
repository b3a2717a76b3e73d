# SPDX-License-Identifier: Apache-2.0
"""Find zones in the output of macOS's powermetrics.

On an Intel Mac that is the package. Apple silicon up to macOS 12 shows a package with all that lies in it, memory
too. Since macOS 13 it shows the CPU, the GPU and the neural engine, and nothing of the rest of the chip.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from raplica_reader.counter import RawCounter
from raplica_reader.possible import possible_w
from raplica_reader.powermetrics_output import NAMES
from raplica_reader.powermetrics_process import COMMAND, Powermeter
from raplica_reader.powermetrics_tally import Tally
from raplica_reader.zone import Handle, Zone

__all__ = ["Meter", "Part", "Powermetrics"]

TOP = "package-0"
BITS = 64
NANOJOULES = (1, 1)
LEFT_OUT = "powermetrics shows CPU, GPU and neural engine here: the memory and the rest of the chip are not counted"


class Meter(Protocol):
    """What adds up the samples: a `Powermeter`, or something in its place."""

    energies_nj: dict[str, int]

    def take(self) -> None:
        """Take a sample now."""
        ...

    def count(self, name: str) -> int:
        """Nanojoules of a part since the beginning."""
        ...


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the processor, as a gauge. What is not sampled is lost, so it is never given up."""

    name: str
    meter: Meter = field(repr=False, compare=False)

    counts_on = False

    def open(self) -> Handle:
        """It is open as long as powermetrics runs."""
        return Handle(self.once, None)

    def once(self) -> bytes:
        """Its nanojoules; errors as of `Powermeter`."""
        return b"%d" % self.meter.count(self.name)

    def check(self) -> None:
        """A name is always the same part."""

    def decode(self, content: bytes) -> int:
        """The number as it stands."""
        return int(content)


class Powermetrics:
    """powermetrics as a source; `command` starts it, or `begin` gives what adds up the samples of another one."""

    name = "powermetrics"

    def __init__(self, command: Sequence[str] = COMMAND, begin: Callable[[], Tally] | None = None) -> None:
        self._begin = (lambda: Powermeter(command)) if begin is None else begin
        self._meter: Tally | None = None
        self.notes: tuple[str, ...] = ()

    def signature(self) -> object:
        """The parts of a processor stay the same."""
        return self.name

    def discover(self) -> tuple[Zone, ...]:
        """Start it, take a sample, and see what is in it; errors as of `Powermeter`."""
        if self._meter is None:
            meter = self._begin()
            try:
                meter.take()
            except OSError:
                meter.close()
                raise
            self._meter = meter
        found = [name for name in NAMES if name in self._meter.energies_nj]
        if "package" not in found:
            self.notes = (LEFT_OUT,)
        return tuple(_zone(name, self._meter, "package" in found) for name in found)

    def close(self) -> None:
        """End it."""
        if self._meter is not None:
            self._meter.close()
            self._meter = None


def _zone(name: str, meter: Meter, has_package: bool) -> Zone:  # noqa: FBT001 - one of two layouts
    """The zone of one part."""
    own = TOP if name == "package" else name
    path = own if name == "package" or not has_package else f"{TOP}/{own}"
    return Zone(
        id=f"powermetrics:{path}",
        path=path,
        name=own,
        control_type="powermetrics",
        parent=None if path == own else f"powermetrics:{TOP}",
        max_energy_range_uj=None,
        has_energy=True,
        error=None,
        counter=RawCounter(NANOJOULES, BITS),
        possible_w=possible_w(own, ()),
        mirror_of=None,
        gauge=Part(name, meter),
    )
