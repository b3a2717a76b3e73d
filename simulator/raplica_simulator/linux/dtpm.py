# SPDX-License-Identifier: Apache-2.0
"""Dynamic thermal power management: one hierarchy of devices, held to the power limit of the nodes above them.

Mirrors drivers/powercap/dtpm.c and, for a device, dtpm_cpu.c of Linux 6.12: from source, not witnessed.  The witness
has the tree that such callbacks make, but not the driver, which takes a device tree that no virtual PC has.
"""

from __future__ import annotations

from errno import ENOSYS
from typing import TYPE_CHECKING, cast

from raplica_simulator.linux.powercap_ops import ConstraintOps, ZoneOps

if TYPE_CHECKING:
    from raplica_simulator.linux.powercap_sys import ControlType, Powercap, Zone

__all__ = ["Dtpm", "register_dtpm"]

_WHOLE = 1024  # the weight of a node that is all of its parent


class Dtpm:
    """A node of the hierarchy (struct dtpm); one with `states_uw` is a device, which has no children.

    `states_uw` are the powers of its energy model, rising; `draws_uw` is what it would draw without a limit.
    """

    def __init__(self, name: str, states_uw: tuple[int, ...] | None = None, draws_uw: int = 0) -> None:
        self.name = name
        self.states_uw = states_uw
        self.draws_uw = draws_uw
        self.children: list[Dtpm] = []
        self.parent: Dtpm | None = None
        self.least_uw = 0
        self.most_uw = 0
        self.limit_uw = 0
        self.weight = _WHOLE

    def power_uw(self) -> int:
        """What a device draws, or all devices below a node together (__get_power_uw)."""
        if self.states_uw is None:
            return sum(child.power_uw() for child in self.children)
        return min(self.draws_uw, self.limit_uw)

    def set_limit(self, limit_uw: int) -> None:
        """Hold it to a limit, which a node splits by weight; the limit is then what its devices came to.

        Mirrors __set_power_limit_uw: the ends of the range go to the ends of the children's, without arithmetic.
        """
        if self.states_uw is not None:
            self.limit_uw = _state_at(self.states_uw, limit_uw)
            return
        self.limit_uw = 0
        for child in self.children:
            if limit_uw == self.most_uw:
                share_uw = child.most_uw
            elif limit_uw == self.least_uw:
                share_uw = child.least_uw
            else:
                share_uw = _closest(limit_uw * child.weight, _WHOLE)
            child.set_limit(share_uw)
            self.limit_uw += child.limit_uw

    def join(self) -> None:
        """Count a device's range in for all nodes above it (update_power_uw, __dtpm_add_power).

        The limits of those stay 0 until one is written: a device has none yet when it is counted.
        """
        if self.states_uw is None:
            return
        self.least_uw, self.most_uw = self.states_uw[0], self.states_uw[-1]
        above = self.parent
        while above is not None:
            above.least_uw += self.least_uw
            above.most_uw += self.most_uw
            above = above.parent
        self.limit_uw = self.most_uw

    def rebalance(self) -> None:
        """Give the children their weights, in 1024ths of this node (__dtpm_rebalance_weight)."""
        for child in self.children:
            child.weight = _closest(child.most_uw * _WHOLE, self.most_uw)
            child.rebalance()


def register_dtpm(powercap: Powercap, root: Dtpm) -> ControlType:
    """Register control type dtpm with the hierarchy below `root` (dtpm_create_hierarchy).  OSError of the framework."""
    control_type = powercap.register_control_type("dtpm")
    _register(powercap, control_type, root, None)
    # The devices' drivers do this as their processors come online.
    root.rebalance()
    return control_type


def _register(powercap: Powercap, control_type: ControlType, node: Dtpm, above: Zone | None) -> None:
    zone = powercap.register_zone(
        control_type,
        node.name,
        _ZONE_OPS,
        parent=above,
        constraints=1,
        constraint_ops=_CONSTRAINT_OPS,
        driver_data=node,
        caller_owned=True,
    )
    node.join()
    for child in node.children:
        child.parent = node
        _register(powercap, control_type, child, zone)


def _node(zone: Zone) -> Dtpm:
    return cast("Dtpm", zone.driver_data)


def _state_at(states_uw: tuple[int, ...], limit_uw: int) -> int:
    """The highest power that is not above the limit (set_pd_power_limit).

    A share can be below the lowest; the kernel then reads what lies before its table, and here it is the lowest.
    """
    return max((state for state in states_uw if state <= limit_uw), default=states_uw[0])


def _closest(dividend: int, divisor: int) -> int:
    """DIV_ROUND_CLOSEST_ULL."""
    return (dividend + divisor // 2) // divisor


def _set_limit(zone: Zone, _: int, limit_uw: int) -> None:
    node = _node(zone)
    node.set_limit(min(max(limit_uw, node.least_uw), node.most_uw))


def _no_window(_zone: Zone, _number: int, *_window: int) -> int:
    raise OSError(ENOSYS, "dtpm has no time windows")


def _set_no_window(zone: Zone, number: int, window_us: int) -> None:
    _no_window(zone, number, window_us)


_ZONE_OPS = ZoneOps(
    get_max_power_range_uw=lambda zone: _node(zone).most_uw - _node(zone).least_uw,
    get_power_uw=lambda zone: _node(zone).power_uw(),
    release=lambda _: None,
)
_CONSTRAINT_OPS = ConstraintOps(
    set_power_limit_uw=_set_limit,
    get_power_limit_uw=lambda zone, _: _node(zone).limit_uw,
    set_time_window_us=_set_no_window,
    get_time_window_us=_no_window,
    get_max_power_uw=lambda zone, _: _node(zone).most_uw,
    get_name=lambda _zone, _number: "Instantaneous",
)
