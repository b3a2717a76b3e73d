# SPDX-License-Identifier: Apache-2.0
"""Find zones that show one and the same counter, so that it is not counted twice.

Kernels before 6.11 gave an AMD processor of several dies a zone for each die, and all of them read the one counter of
the socket: two zones of 68 W are then 68 W and not 137 W. Dies of Intel's multi-die processors have a counter each.
What tells them apart beforehand is that AMD has no limit registers, so its zones have no constraints; what proves it
is the counter: whatever it shows between two readings of its twin lies between these two.
"""

from collections.abc import Sequence
from dataclasses import replace

from raplica_reader.zone import Zone

__all__ = ["marked"]


def marked(zones: Sequence[Zone], unlimited: frozenset[str]) -> tuple[Zone, ...]:
    """Give the zones back, those that mirror another one marked; `unlimited`: ids of zones without constraints."""
    first: dict[str, Zone] = {}
    answers = []
    for zone in zones:
        package, is_die, _ = (zone.name or "").partition("-die-")
        if is_die and zone.parent is None and zone.id in unlimited and zone.has_energy:
            twin = first.setdefault(f"{zone.control_type} {package}", zone)
            if twin is not zone and _show_the_same(twin, zone):
                answers.append(replace(zone, mirror_of=twin.id))
                continue
        answers.append(zone)
    return tuple(answers)


def _show_the_same(one: Zone, other: Zone) -> bool:
    """Whether a reading of `other` lies between two of `one`; also where nobody may read, since then none counts."""
    try:
        before, between, after = (
            zone.counter.position(zone.gauge.decode(zone.gauge.once())) for zone in (one, other, one)
        )
    except OSError:
        return True
    if before is None or between is None or after is None or one.counter != other.counter:
        return False
    period = one.counter.period or 1 << 128
    return (between - before) % period <= (after - before) % period
