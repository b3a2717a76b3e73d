# SPDX-License-Identifier: Apache-2.0
"""Control types and zones that a profile writes down itself (``[[control_type]]``), with no register behind them.

Such a zone is a plain store: limits and windows keep what is written, monitors show what the profile says.  It
is how ``dtpm`` and other users of drivers/powercap/powercap_sys.c are put beside the RAPL driver's tree.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from raplica_simulator.linux.powercap_sys import ConstraintOps, ControlType, ControlTypeOps, Powercap, Zone, ZoneOps
from raplica_simulator.profile_parts import Constraint
from raplica_simulator.profile_parts import ControlType as ControlTypeTable
from raplica_simulator.profile_parts import Zone as ZoneTable

__all__ = ["register_profile_zones"]


@dataclass(slots=True)
class _Settings:
    """What can be written in a zone."""

    enabled: bool
    limits_uw: list[int]
    windows_us: list[int]
    constraints: tuple[Constraint, ...]


def register_profile_zones(powercap: Powercap, tables: tuple[ControlTypeTable, ...]) -> None:
    """Register every control type of a profile with its zones."""
    for table in tables:
        control_type = powercap.register_control_type(table.name, _control_type_ops(table))
        for zone in table.zones:
            _register_zone(powercap, control_type, zone, None)


def _control_type_ops(table: ControlTypeTable) -> ControlTypeOps:
    if table.enabled is None:
        return ControlTypeOps()
    switch = [table.enabled]

    def put(_: ControlType, on: bool) -> None:  # noqa: FBT001 - the kernel's callback
        switch[0] = on

    return ControlTypeOps(set_enable=put, get_enable=lambda _: switch[0])


def _register_zone(powercap: Powercap, control_type: ControlType, table: ZoneTable, parent: Zone | None) -> None:
    settings = _Settings(
        enabled=bool(table.enabled),
        limits_uw=[one.power_limit_uw for one in table.constraints],
        windows_us=[one.time_window_us for one in table.constraints],
        constraints=table.constraints,
    )
    zone = powercap.register_zone(
        control_type,
        table.name,
        _zone_ops(table),
        parent=parent,
        constraints=len(table.constraints),
        constraint_ops=_constraint_ops(table.constraints),
        driver_data=settings,
    )
    for child in table.zones:
        _register_zone(powercap, control_type, child, zone)


def _zone_ops(table: ZoneTable) -> ZoneOps:
    def put(zone: Zone, on: bool) -> None:  # noqa: FBT001 - the kernel's callback
        _settings(zone).enabled = on

    return ZoneOps(
        get_max_energy_range_uj=_constant(table.max_energy_range_uj),
        get_energy_uj=_constant(table.energy_uj),
        get_max_power_range_uw=_constant(table.max_power_range_uw),
        get_power_uw=_constant(table.power_uw),
        set_enable=None if table.enabled is None else put,
        get_enable=None if table.enabled is None else lambda zone: _settings(zone).enabled,
    )


def _constraint_ops(constraints: tuple[Constraint, ...]) -> ConstraintOps:
    def put_limit(zone: Zone, number: int, limit_uw: int) -> None:
        _settings(zone).limits_uw[number] = limit_uw

    def put_window(zone: Zone, number: int, window_us: int) -> None:
        _settings(zone).windows_us[number] = window_us

    def optional(name: str) -> Callable[[Zone, int], int] | None:
        # A file exists for all constraints of a zone or for none: the functions are shared.
        if all(getattr(one, name) is None for one in constraints):
            return None

        def get(zone: Zone, number: int) -> int:
            value = getattr(_settings(zone).constraints[number], name)
            if value is None:
                raise OSError("not given in the profile")
            return int(value)

        return get

    named = any(one.name is not None for one in constraints)
    return ConstraintOps(
        set_power_limit_uw=put_limit,
        get_power_limit_uw=lambda zone, number: _settings(zone).limits_uw[number],
        set_time_window_us=put_window,
        get_time_window_us=lambda zone, number: _settings(zone).windows_us[number],
        get_max_power_uw=optional("max_power_uw"),
        get_min_power_uw=optional("min_power_uw"),
        get_max_time_window_us=optional("max_time_window_us"),
        get_min_time_window_us=optional("min_time_window_us"),
        get_name=(lambda zone, number: _settings(zone).constraints[number].name) if named else None,
    )


def _constant(value: int | None) -> Callable[[Zone], int] | None:
    return None if value is None else lambda _: value


def _settings(zone: Zone) -> _Settings:
    return cast("_Settings", zone.driver_data)
