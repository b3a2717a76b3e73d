# SPDX-License-Identifier: Apache-2.0
"""How much power a domain could draw at most, which bounds what it can have spent between two readings.

Too low a figure would take a wrap for a reset and would miss that a counter may have started again twice; too high a
one would call a reading unknown that is not. Where the machine names limits, twice the highest of them is taken: a
limit can be raised, and short peaks go beyond it, but neither doubles the watts of minutes. Below 25 W that is not
trusted either, since notebooks have their limits raised, and above 1,000 W it is no limit: firmware writes 4,095 W for
"none". Where the machine names none (AMD has no limit registers), the figures below are used: more than any package,
memory of one socket, or platform is sold with.
"""

from collections.abc import Iterable

__all__ = ["possible_w"]

LEAST_W, MOST_W = 25, 1_000
USUAL_W = {"package": 500, "dram": 250, "psys": 2_000}
UNKNOWN_W = 1_000


def possible_w(name: str | None, limits_uw: Iterable[int], parent_w: int | None = None) -> int:
    """Watts that a domain cannot exceed for more than a moment.

    `name` is the zone's ("package-0-die-1", "core"), `limits_uw` every limit and every maximum that the machine names
    for it, in microwatts (0: none), and `parent_w` what was found for the zone that it lies in.
    """
    kind = (name or "").partition("-")[0]
    highest_uw = max(limits_uw, default=0)
    if highest_uw > 0 and kind != "psys":
        return min(max(2 * highest_uw // 1_000_000, LEAST_W), MOST_W)
    if parent_w is not None and kind not in USUAL_W:
        return parent_w
    return USUAL_W.get(kind, UNKNOWN_W)
