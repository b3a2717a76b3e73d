# SPDX-License-Identifier: Apache-2.0
"""`[[control_type]]` of a profile: control types, zones and constraints that no register stands behind.

What is written here becomes functions of a client of the powercap framework (linux/profile_zones.py), or a hierarchy
of the dtpm driver (linux/dtpm.py). All that the framework would refuse is refused here, in one line.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from raplica_simulator.profile.parts import number, read_errno
from raplica_simulator.profile.shape import Where, build, describe, known_keys, printable, table_at, whole
from raplica_simulator.profile.tables import read_watts

__all__ = ["Constraint", "ControlType", "Zone", "read_control_types"]

_MAX_CONSTRAINTS = 10  # MAX_CONSTRAINTS_PER_ZONE in include/linux/powercap.h
_MAX_STATES = 1000
_U64 = number(0, 2**64 - 1)
_TYPE_CALLBACKS = ("set_enable", "get_enable")
_ZONE_CALLBACKS = (
    "get_max_energy_range_uj",
    "get_energy_uj",
    "reset_energy_uj",
    "get_max_power_range_uw",
    "get_power_uw",
    *_TYPE_CALLBACKS,
)
_CONSTRAINT_CALLBACKS = (
    "set_power_limit_uw",
    "get_power_limit_uw",
    "set_time_window_us",
    "get_time_window_us",
    "get_max_power_uw",
    "get_min_power_uw",
    "get_max_time_window_us",
    "get_min_time_window_us",
)


def _errors(callbacks: tuple[str, ...]) -> Callable[[object, Where], Mapping[str, int]]:
    """A parser of a table `callback = "ERRNO"`."""

    def parse(value: object, where: Where) -> Mapping[str, int]:
        table = table_at(value, where)
        known_keys(table, callbacks, where)
        return {name: read_errno(given, where.at(name)) for name, given in table.items()}

    return parse


def _microwatts(value: object, where: Where) -> int:
    """Watts as whole microwatts."""
    uw = Fraction(read_watts(value, where)) * 1_000_000
    if uw.denominator != 1:
        raise where.error(f"{printable(str(value))} W is finer than a microwatt: give at most six decimals")
    return uw.numerator


def _states(value: object, where: Where) -> tuple[int, ...]:
    """The powers of an energy model, in microwatts: at least one, each above the one before."""
    if not isinstance(value, list) or not 1 <= len(value) <= _MAX_STATES:
        raise where.error(f"must be an array of 1 to {_MAX_STATES} powers in microwatts, not {describe(value)}")
    states = tuple(whole(one, where.at(index), 1, 2**40) for index, one in enumerate(value))
    for index in range(1, len(states)):
        if states[index] <= states[index - 1]:
            raise where.at(index).error(f"{states[index]} is not above the power before it: list them from low to high")
    return states


@dataclass(frozen=True, slots=True)
class Constraint:
    """`[[control_type.zone.constraint]]`: what is left out (None) has no file; limit and window always have one.

    `errors` names callbacks that fail, each with the driver's errno.
    """

    name: str | None = None
    power_limit_uw: int = field(default=0, metadata=_U64)
    time_window_us: int = field(default=0, metadata=_U64)
    max_power_uw: int | None = field(default=None, metadata=_U64)
    min_power_uw: int | None = field(default=None, metadata=_U64)
    max_time_window_us: int | None = field(default=None, metadata=_U64)
    min_time_window_us: int | None = field(default=None, metadata=_U64)
    errors: Mapping[str, int] = field(default_factory=dict, metadata={"parse": _errors(_CONSTRAINT_CALLBACKS)})


@dataclass(frozen=True, slots=True)
class Zone:
    """`[[control_type.zone]]`: a zone that no register stands behind; `enabled` None means that it has no switch.

    `draws_uw` (`watts` in the file) is how fast the counter grows, from `energy_uj` at time 0. `states_uw` belongs to
    a device of dtpm: the powers that it can be held to. `errors` is as in `Constraint`.
    """

    name: str
    energy_uj: int | None = field(default=None, metadata=_U64)
    max_energy_range_uj: int | None = field(default=None, metadata=_U64)
    power_uw: int | None = field(default=None, metadata=_U64)
    max_power_range_uw: int | None = field(default=None, metadata=_U64)
    enabled: bool | None = None
    constraints: tuple[Constraint, ...] = field(default=(), metadata={"key": "constraint"})
    zones: tuple[Zone, ...] = field(default=(), metadata={"key": "zone"})
    resettable: bool = False
    draws_uw: int | None = field(default=None, metadata={"key": "watts", "parse": _microwatts})
    states_uw: tuple[int, ...] | None = field(default=None, metadata={"parse": _states})
    errors: Mapping[str, int] = field(default_factory=dict, metadata={"parse": _errors(_ZONE_CALLBACKS)})


@dataclass(frozen=True, slots=True)
class ControlType:
    """`[[control_type]]`: a control type with its own zones; `enabled` None means that it has no switch.

    `driver` is dtpm, whose rules the zones then follow, or None: each value is what the file says.
    """

    name: str
    enabled: bool | None = None
    zones: tuple[Zone, ...] = field(default=(), metadata={"key": "zone"})
    driver: str | None = field(default=None, metadata={"choices": ("dtpm",)})
    errors: Mapping[str, int] = field(default_factory=dict, metadata={"parse": _errors(_TYPE_CALLBACKS)})


def read_control_types(value: object, where: Where) -> tuple[ControlType, ...]:
    """`[[control_type]]`, each with a name of its own. Raises `ProfileError`."""
    if not isinstance(value, list):
        raise where.error(f"must be an array of tables [[{where.key}]], not {describe(value)}")
    types = tuple(build(ControlType, item, where.at(index)) for index, item in enumerate(value))
    names = [kind.name for kind in types]
    for index, kind in enumerate(types):
        place = where.at(index)
        if not kind.name or names.index(kind.name) != index:
            raise place.at("name").error(f"{kind.name!r} is empty or taken: control types have names of their own")
        if kind.driver == "dtpm":
            _check_dtpm(kind, place)
        else:
            _check_zones(kind.zones, place)
    return types


def _check_zones(zones: tuple[Zone, ...], where: Where) -> None:
    for index, zone in enumerate(zones):
        place = where.at("zone").at(index)
        if len(zone.constraints) > _MAX_CONSTRAINTS:
            raise place.error(
                f"{len(zone.constraints)} constraints are too many: a zone has at most {_MAX_CONSTRAINTS}"
            )
        if zone.energy_uj is None and zone.power_uw is None and not {"get_energy_uj", "get_power_uw"} & {*zone.errors}:
            raise place.error("needs energy_uj or power_uw: the kernel registers no zone without either")
        if zone.states_uw is not None:
            raise place.at("states_uw").error('belongs to a control type with driver = "dtpm": leave it out here')
        _check_counter(zone, place)
        _check_zones(zone.zones, place)


def _check_counter(zone: Zone, place: Where) -> None:
    if zone.energy_uj is None:
        for key, given in (("resettable", zone.resettable), ("watts", zone.draws_uw is not None)):
            if given:
                raise place.at(key).error("needs energy_uj: there is no counter that it could belong to")
    elif zone.max_energy_range_uj is not None and zone.energy_uj > zone.max_energy_range_uj:
        raise place.at("energy_uj").error(f"{zone.energy_uj} is above max_energy_range_uj, {zone.max_energy_range_uj}")


def _check_dtpm(kind: ControlType, where: Where) -> None:
    """Refuse what drivers/powercap/dtpm.c cannot be: its name, its one root and its zones' files are given."""
    if kind.name != "dtpm":
        raise where.at("name").error('must be "dtpm": the driver gives its control type no other name')
    for key, given in (("enabled", kind.enabled is not None), ("errors", bool(kind.errors))):
        if given:
            raise where.at(key).error("dtpm has no such callback: leave it out")
    if len(kind.zones) != 1:
        raise where.error(f"has {len(kind.zones)} top zones: dtpm has one, with all others below it")
    _check_dtpm_zones(kind.zones, where)


def _check_dtpm_zones(zones: tuple[Zone, ...], where: Where) -> None:
    plain = Zone("")
    for index, zone in enumerate(zones):
        place = where.at("zone").at(index)
        device = zone.states_uw is not None
        allowed = ("name", "states_uw", "power_uw") if device else ("name", "zones")
        for part in dataclasses.fields(Zone):
            if part.name not in allowed and getattr(zone, part.name) != getattr(plain, part.name):
                key = part.metadata.get("key", part.name)
                what = "device of dtpm has name, states_uw and power_uw" if device else "node of dtpm has name and zone"
                raise place.at(key).error(f"does not belong here: a {what}")
        if not device and not zone.zones:
            raise place.error("needs states_uw, the powers of a device, or zones below it")
        _check_dtpm_zones(zone.zones, place)
