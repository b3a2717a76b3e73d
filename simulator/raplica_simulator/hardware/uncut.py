# SPDX-License-Identifier: Apache-2.0
"""How far a load goes on without being cut by a limit, and what credit the limits have then.

While nothing is cut, every domain draws what it wants and the limits know nothing of each other: their credit follows
from what is wanted alone.  Where nothing is wanted above any limit, it even follows from the sum of what is wanted.
"""

from collections.abc import Sequence

from raplica_simulator.hardware.governor import Governor
from raplica_simulator.load.steps import LoadSteps

__all__ = ["go_uncut"]

# So many steps are looked at before it is clear that none of them is cut: often the very next one is.
_TRIED_FIRST = 4
_TRIED_AT_ONCE = 256


def go_uncut(governors: Sequence[Governor], steps: LoadSteps, first: int, last: int, parts: int) -> int:
    """Let the limits of all dies go from the beginning of step ``first`` until a step may be cut, or to edge ``last``.

    A die wants ``parts`` for each microwatt of its package.  Returns the edge up to which nothing is cut; the credit
    is then that of this edge.
    """
    ceilings_uw: dict[str, int] = {}
    for governor in governors:
        for kind, ceiling in governor.ceilings().items():
            ceilings_uw[kind] = min(ceiling // parts, ceilings_uw.get(kind, ceiling))
    if "core" in ceilings_uw and steps.single_cores:
        # Dies want different things of their cores: such a machine goes step by step.
        return first
    place, length = first, _TRIED_FIRST
    while place < last:
        calm = steps.calm_until(place, last, ceilings_uw)
        if calm > place:
            total = steps.sum(place, calm)
            for governor in governors:
                for kind in governor.ceilings():
                    governor.earn(kind, getattr(total, kind) * parts, total.ns)
            place = calm
            continue
        end = min(place + length, last)
        wanted = {
            kind: [(uw * parts, nanoseconds) for uw, nanoseconds in steps.wanted(kind, place, end)]
            for kind in ceilings_uw
        }
        count = min(governor.lasts(kind, wanted[kind]) for governor in governors for kind in governor.ceilings())
        for governor in governors if count else ():
            for kind in governor.ceilings():
                governor.follow(kind, wanted[kind][:count])
        place += count
        if place < end:
            return place
        length = min(2 * length, _TRIED_AT_ONCE)
    return place
