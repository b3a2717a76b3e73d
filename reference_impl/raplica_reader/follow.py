# SPDX-License-Identifier: Apache-2.0
"""Follow a machine whose zones come and go: processors that go offline, a driver that is loaded, a container.

Before each sample the source is asked for something cheap that changes with its zones (for powercap the list of its
directory, for the registers the CPUs that are up). If that changed, or other zones fail than before, they are looked
for anew. What stays is not opened again.
"""

from raplica_reader.meter import Delta, Meter
from raplica_reader.sample import Sampler
from raplica_reader.source import Source

__all__ = ["Follower"]


class Follower:
    """Takes samples from a source and adds them up. `meter` has the sum so far; `at_ns` is the latest sample's time."""

    def __init__(self, source: Source, sampler: Sampler, *, possible_w: int | None = None) -> None:
        self.source = source
        self.sampler = sampler
        self.meter = Meter(possible_w=possible_w)
        self.at_ns = 0
        self._signature = source.signature()
        self._failed: frozenset[tuple[str, str]] = frozenset()

    def sample(self) -> tuple[Delta, ...]:
        """Take the next sample, and tell what each zone spent since its last good reading; () for the first."""
        signature = self.source.signature()
        if signature != self._signature and self._look_again():
            self._signature = signature
        sample = self.sampler.sample()
        failed = frozenset(
            (zone.path, error) for zone, error in zip(sample.zones, sample.errors, strict=True) if error is not None
        )
        if failed - self._failed:
            self._signature = None  # the next sample begins with a new look
        self._failed = failed
        self.at_ns = sample.at_ns
        return self.meter.add(sample)

    def _look_again(self) -> bool:
        """Find the zones anew. Where nobody can tell them, those of before go on, and False is given."""
        try:
            self.sampler.replace(self.source.discover())
        except OSError:
            return False
        return True
