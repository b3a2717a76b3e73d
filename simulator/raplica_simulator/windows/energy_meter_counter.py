# SPDX-License-Identifier: Apache-2.0
"""An energy register as a Windows energy meter counts it: wraps added up, in picowatt-hours, never back.

Mirrors what the documentation of IOCTL_EMI_GET_MEASUREMENT asks of a driver: energy is accumulated and translated to
the channel's unit on each request; how often a driver looks at its counters besides is its own affair.  How often
Windows' own processor driver looks is not known.
"""

from collections.abc import Callable
from fractions import Fraction

from raplica_simulator.windows.energy_meter_layout import PWH_PER_J

__all__ = ["MeterCounter"]

_WRAP = 1 << 32  # RAPL counters are counted by their low 32 bits, also where the register is wider


class MeterCounter:
    """The steps of one 32-bit energy register since the processor's reset, without its wraps.

    The first look takes the register as it is, so that what was spent before the driver came counts too (inferred).
    Everything is kept in whole steps; an energy in pWh is rounded down at each answer, and nothing adds up.
    """

    def __init__(
        self, read: Callable[[], int], counted: Callable[[], int | None], unit_j: Fraction, *, polls: bool
    ) -> None:
        """``read`` reads the register, ``unit_j`` is what one step is worth, in joules.

        With ``polls`` the driver looks at the register often enough by itself that no wrap is lost between two
        requests: ``counted`` then says how far the register went without wraps, or None where nobody knows.  Without,
        more than one wrap between two requests is lost.
        """
        self._read = read
        self._counted = counted
        self._pwh_per_step = unit_j * PWH_PER_J
        self._polls = polls
        self._seen: int | None = None
        self._went: int | None = None
        self._steps = 0

    def steps(self) -> int:
        """Look at the register, and return everything counted so far.  OSError, and nothing moves, where it faults."""
        now = self._read() % _WRAP
        went = self._counted() if self._polls else None
        if self._seen is None:
            self._steps = now
        else:
            moved = (now - self._seen) % _WRAP
            if went is not None and self._went is not None and went - self._went >= moved:
                # The wraps that the driver saw in between; none where the register was set by somebody.
                further = went - self._went - moved
                moved += further if further % _WRAP == 0 else 0
            self._steps += moved
        self._seen = now
        self._went = went
        return self._steps

    def energy_pwh(self) -> int:
        """As :meth:`steps`, in whole picowatt-hours."""
        return self.steps() * self._pwh_per_step // 1
