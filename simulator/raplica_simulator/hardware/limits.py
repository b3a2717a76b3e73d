# SPDX-License-Identifier: Apache-2.0
"""What the power limits of one die let it draw: fidelity rule 10, a leaky bucket in integers.

Mirrors the running average limits of Intel SDM vol. 3B 15.10.3, whose exact filter is not public. The rule is
read as literally as possible:

* Time is whole nanoseconds. A bucket has a capacity of limit x window, starts full, loses draw - limit in each
  nanosecond (it gains where that is negative) and stays between 0 and its capacity. It is empty from the
  first whole nanosecond at which it holds 0.
* While every enabled limit of a domain holds credit, the domain draws what it wants; a limit whose bucket is
  empty caps the draw at the limit. PL4 has no window: its capacity is 0, so it is always empty and always
  caps.
* A cut of the package takes from the cores first, then from the uncore, then from the rest of the package. The
  bucket of the cores sees what the cores draw after that cut.
* A cap holds down to the domain's floor; only a limit with its clamp bit set goes below.
* A register write that changes a limit, its window or its enable bit starts that limit with a full bucket;
  whatever did not change keeps its credit. A disabled limit keeps nothing.

The draw can only change when a load changes, a register is written or a bucket runs empty: filling up, or
leaving 0 again, never changes it. So the next event is known in closed form and nothing is stepped through.

So in any time T in which an enabled limit stands as it is, from the moment at which it was written, a domain without a
floor spends no more than limit x (T + window), and what it draws within the nanosecond in which the bucket runs empty.

Limits of package, core, uncore and dram bind, wherever their registers lie. Those of psys bind nothing: the platform
is more than what has meters here, and what a real one cuts, in which package and in what order, is not public.

A floor is what a package or its dram draws in the state that the operating system has asked for: clamping is to go
below that state (SDM vol. 3B 15.10.3). No register tells it: the least power of 0x614 and 0x61C is what a limit may be
set to, not what is drawn then. A profile may (`[floor]`); where it does not, floors are 0 and the clamp bit changes
nothing.

Here is what a limit is and where registers say it; :mod:`.governor` does what the rule says.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from raplica_simulator.hardware.registers_types import Register
from raplica_simulator.hardware.units import Units, window_linear_s, window_s

__all__ = ["LIMITED_KINDS", "Limit", "limits_of"]

LIMITED_KINDS = ("package", "core", "uncore", "dram")


@dataclass(frozen=True, slots=True)
class Limit:
    """One power limit: microwatts, averaged over `window_ns` nanoseconds (0 for a cap without a window)."""

    limit_uw: int
    window_ns: int
    enabled: bool = True
    clamp: bool = False

    def __post_init__(self) -> None:
        for name in ("limit_uw", "window_ns"):
            value = getattr(self, name)
            if type(value) is not int or value < 0:
                raise ValueError(f"{name} is {value!r}, it must be a whole number of 0 or more")


def limits_of(register: Register, raw: int, units: Units) -> tuple[Limit, ...]:
    """Return the limits that a limit register holds, in the order PL1, PL2, PL3, PL4.

    Powers and windows are the manual's exact values rounded down to a whole microwatt and nanosecond. A PL4
    without an enable bit (MSR 0x601) counts as enabled unless it is 0, which stands for "not programmed".
    """
    fields = {one.name: one for one in register.fields}
    found: list[Limit] = []
    for name in ("pl1", "pl2", "pl3", "pl4"):
        power = fields.get(f"{name}_power_limit")
        if power is None:
            continue
        number = power.extract(raw)
        enabled = fields.get(f"{name}_enabled")
        clamp = fields.get(f"{name}_clamp")
        window = fields.get(f"{name}_time_window")
        window_ns = 0
        if window is not None:
            seconds = window_linear_s if window.quantity == "window_linear" else window_s
            window_ns = _floor(seconds(window.extract(raw), units.time_s) * 1_000_000_000)
        found.append(
            Limit(
                limit_uw=_floor(number * units.power_w * 1_000_000),
                window_ns=window_ns,
                enabled=bool(number if enabled is None else enabled.extract(raw)),
                clamp=clamp is not None and bool(clamp.extract(raw)),
            )
        )
    return tuple(found)


def _floor(value: Fraction) -> int:
    return value.numerator // value.denominator
