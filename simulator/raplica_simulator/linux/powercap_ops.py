# SPDX-License-Identifier: Apache-2.0
"""What a client of the powercap framework hands over: the functions behind its control types, zones and constraints.

Mirrors include/linux/powercap.h, whose structures of function pointers these are.  A function that is None is a null
pointer there.  To fail, a function raises OSError; which errno user space then sees, the framework decides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raplica_simulator.linux.powercap_sys import ControlType, Zone

__all__ = ["ConstraintOps", "ControlTypeOps", "ZoneOps"]


@dataclass(frozen=True, slots=True)
class ControlTypeOps:
    """What a control type answers: its own ``enabled``.  All may be missing (struct powercap_control_type_ops).

    ``release`` is called when the last reference to the control type has gone; where the client owns the memory it
    has to be there.
    """

    set_enable: Callable[[ControlType, bool], None] | None = None
    get_enable: Callable[[ControlType], bool] | None = None
    release: Callable[[ControlType], None] | None = None


@dataclass(frozen=True, slots=True)
class ZoneOps:
    """What a zone answers, in microjoules and microwatts (struct powercap_zone_ops).

    An attribute exists when its function does; ``energy_uj`` can be written when there is ``reset_energy_uj``.  Energy
    or power has to be there.  ``release`` is as in `ControlTypeOps`.
    """

    get_max_energy_range_uj: Callable[[Zone], int] | None = None
    get_energy_uj: Callable[[Zone], int] | None = None
    reset_energy_uj: Callable[[Zone], None] | None = None
    get_max_power_range_uw: Callable[[Zone], int] | None = None
    get_power_uw: Callable[[Zone], int] | None = None
    set_enable: Callable[[Zone, bool], None] | None = None
    get_enable: Callable[[Zone], bool] | None = None
    release: Callable[[Zone], None] | None = None


@dataclass(frozen=True, slots=True)
class ConstraintOps:
    """What the constraints of a zone answer, by constraint number; microwatts and microseconds.

    The first four have to be there, even for a zone of no constraints (struct powercap_zone_constraint_ops).  The
    functions are those of all constraints of a zone, so each optional attribute is there for all or for none.
    """

    set_power_limit_uw: Callable[[Zone, int, int], None] | None = None
    get_power_limit_uw: Callable[[Zone, int], int] | None = None
    set_time_window_us: Callable[[Zone, int, int], None] | None = None
    get_time_window_us: Callable[[Zone, int], int] | None = None
    get_max_power_uw: Callable[[Zone, int], int] | None = None
    get_min_power_uw: Callable[[Zone, int], int] | None = None
    get_max_time_window_us: Callable[[Zone, int], int] | None = None
    get_min_time_window_us: Callable[[Zone, int], int] | None = None
    get_name: Callable[[Zone, int], str | None] | None = None

    def complete(self) -> bool:
        """Whether the four that have to be there are."""
        mandatory = (
            self.set_power_limit_uw,
            self.get_power_limit_uw,
            self.set_time_window_us,
            self.get_time_window_us,
        )
        return None not in mandatory
