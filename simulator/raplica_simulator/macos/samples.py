# SPDX-License-Identifier: Apache-2.0
"""Samples as powermetrics takes them: what was spent between two looks, over the time that really went by.

Apple's power controller counts whole millijoules, and what is printed as power is that count over the time: the powers
of the M1 in codecarbon's tests are, all of them, whole millijoules over the elapsed time, rounded.  So a short sample
is coarse (10 mW at 100 ms) and many of them together lose nothing.  How finely an Intel Mac's powermetrics counts is
not known; it is given microjoules here.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

from raplica_simulator.macos.mac import CPU, Mac
from raplica_simulator.macos.meters import Meters

__all__ = ["Sample", "samples"]

_NS_PER_MS = 10**6
_UJ_PER_MJ = 1000


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample.

    Attributes:
        at_ns: the machine's time at its end.
        elapsed_ns: its length.
        spent_uj: what each part spent in it, by the names of :mod:`.mac`; whole millijoules for Apple silicon.
    """

    at_ns: int
    elapsed_ns: int
    spent_uj: dict[str, int]

    def mj(self, part: str) -> int:
        """The millijoules of a part, cut downward."""
        return self.spent_uj[part] // _UJ_PER_MJ

    def mw(self, *parts: str) -> Fraction:
        """The mean milliwatts of some parts together; 0 for a sample without length."""
        if not self.elapsed_ns:
            return Fraction(0)
        return Fraction(sum(self.spent_uj[part] for part in parts) * _NS_PER_MS, self.elapsed_ns)


def samples(meters: Meters, mac: Mac, interval_ms: int, count: int | None = None) -> Iterator[Sample]:
    """Samples of ``interval_ms`` and a little more, by the Mac's seed; with 0 each when it is asked for.

    The first begins now.  ``count`` None goes on for ever.
    """
    lateness = random.Random(mac.seed)  # noqa: S311 - how late a tool is
    last = meters.look(mac.domains)
    counted = _counted(mac, last.truths_uj)
    taken = 0
    while count is None or taken < count:
        late_ns = lateness.randint(*mac.late_ns)
        until_ns = last.now_ns + interval_ms * _NS_PER_MS + late_ns if interval_ms else None
        meters.wait(until_ns)
        look = meters.look(mac.domains)
        now = _counted(mac, look.truths_uj)
        spent = {part: now[part] - counted[part] for part in now}
        yield Sample(look.now_ns, look.now_ns - last.now_ns, spent)
        last, counted = look, now
        taken += 1


def _counted(mac: Mac, truths_uj: Mapping[str, int]) -> dict[str, int]:
    """Microjoules as the counters of the Mac show them: in whole millijoules those of Apple silicon."""
    spent_uj = mac.spent_uj(truths_uj)
    if not mac.is_apple:
        return {part: int(uj) for part, uj in spent_uj.items()}
    counted = {part: int(uj) // _UJ_PER_MJ * _UJ_PER_MJ for part, uj in spent_uj.items()}
    # The power of the CPU is that of its clusters, to the milliwatt, in every sample that was seen.
    return {CPU: sum(counted[one.name] for one in mac.clusters), **counted}
