# SPDX-License-Identifier: Apache-2.0
"""What there was to know at one moment of a case: what every domain had spent, what counters showed, what was answered.

Counters count in whole steps. A domain that spent so many joules owes its counter so many steps, whatever the counter
does: one that sticks or is set back leaves the debt as it is. A reader cannot know better than steps times what its
interface says that a step is worth (powercap says whole nanojoules), so this is the truth that it is held against.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from raplica_conformance.readers.plug import Answer

__all__ = ["Gauge", "Moment", "Spent", "parts_of_total"]


@dataclass(frozen=True, slots=True)
class Spent:
    """What one domain has spent since the machine was switched on.

    `truth_uj` are the joules of physics in whole microjoules, `steps` those owed to its counter, each worth `unit_nj`
    nanojoules by the interface. `raw` is what the counter itself holds (None: no counter is behind it), and `slack_uj`
    how far the steps may be off, where they were not seen at a standstill.
    """

    truth_uj: int
    steps: int
    unit_nj: Fraction
    raw: int | None = None
    slack_uj: Fraction = Fraction(0)


@dataclass(frozen=True, slots=True)
class Gauge:
    """One energy counter that an interface shows: its id and the names from the top, as answers call it."""

    id: str
    path: str


@dataclass(frozen=True, slots=True)
class Moment:
    """One sample: the machine's time in ns, the counters shown, what domains had spent, what was seen and answered.

    `seen` is what the reader itself was given when it looked, by zone id or path: a counter's text, or an errno name.
    """

    at_ns: int
    gauges: tuple[Gauge, ...]
    spent: Mapping[str, Spent]
    answer: Answer = field(default_factory=dict)
    seen: Mapping[str, str] = field(default_factory=dict)


def parts_of_total(moment: Moment) -> tuple[str, ...]:
    """The domains that add up to the machine: the packages and their memory, each once, that are shown now.

    Never psys, which contains them, never the MMIO twin, core or uncore, which they contain.
    """
    paths = dict.fromkeys(gauge.path for gauge in moment.gauges)
    return tuple(
        path
        for path in paths
        if path.startswith("package-") and ("/" not in path or path.endswith("/dram")) and path in moment.spent
    )
