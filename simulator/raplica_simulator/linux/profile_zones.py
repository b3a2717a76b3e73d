# SPDX-License-Identifier: Apache-2.0
"""Control types and zones that a profile writes down itself (``[[control_type]]``), with no register behind them.

Such a zone is a plain client of drivers/powercap/powercap_sys.c: limits, windows and switches keep what is written,
monitors show what the profile says, a counter with watts grows with the machine's time, and a callback fails where
the profile says so.  ``driver = "dtpm"`` makes the hierarchy of dtpm.py instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, cast

from raplica_simulator.clock import Clock
from raplica_simulator.linux.dtpm import Dtpm, register_dtpm
from raplica_simulator.linux.kernel import Kernel
from raplica_simulator.linux.powercap_sys import ConstraintOps, ControlType, ControlTypeOps, Powercap, Zone, ZoneOps
from raplica_simulator.profile.control_types import Constraint
from raplica_simulator.profile.control_types import ControlType as ControlTypeTable
from raplica_simulator.profile.control_types import Zone as ZoneTable

__all__ = ["ProfileZones", "has_driver"]

_NS_PER_S = 1_000_000_000
_U64 = 1 << 64
_FIRST_DTPM = (5, 11)


def has_driver(table: ControlTypeTable, kernel: Kernel) -> bool:
    """Whether a kernel has what a control type is registered by; a plain client is part of none, and so of each."""
    return table.driver != "dtpm" or kernel.number >= _FIRST_DTPM


class ProfileZones:
    """The control types of a profile, registered.

    Attributes:
        lacking: a line for each that this kernel has no driver for.
    """

    def __init__(self, powercap: Powercap, tables: tuple[ControlTypeTable, ...], clock: Clock) -> None:
        """Register each with its zones.  OSError where a name is taken."""
        self._powercap = powercap
        self._clock = clock
        self._counters: dict[str, list[_Counter]] = {}
        self.lacking: tuple[str, ...] = ()
        for table in tables:
            self._register(table)

    def spent_joules(self, path: str) -> Fraction | None:
        """What the zone of a counter with a range has spent since time 0; None for any other path.

        Paths are those of the names, ``idle-injection/package-0/cpu0``; those of intel-rapl begin below it.  A path
        that two zones share names neither.
        """
        counters = self._counters.get(path, ())
        return counters[0].spent_joules() if len(counters) == 1 else None

    def _register(self, table: ControlTypeTable) -> None:
        kernel = self._powercap.kernel
        if not has_driver(table, kernel):
            line = f"control_type: dtpm came with Linux 5.11: there is none on {kernel.version}"
            self.lacking = (*self.lacking, line)
        elif table.driver == "dtpm":
            register_dtpm(self._powercap, _dtpm_node(table.zones[0]))
        else:
            control_type = self._powercap.register_control_type(table.name, _control_type_ops(table))
            above = "" if table.name == "intel-rapl" else f"{table.name}/"
            for zone in table.zones:
                self._register_zone(control_type, zone, None, above)

    def _register_zone(self, control_type: ControlType, table: ZoneTable, parent: Zone | None, above: str) -> None:
        # The largest value is the range, so the one after it is 0; without a range it is the kernel's type that ends.
        period_uj = _U64 if table.max_energy_range_uj is None else table.max_energy_range_uj + 1
        counter = _Counter(self._clock, table.energy_uj or 0, table.draws_uw or 0, period_uj)
        path = f"{above}{table.name}"
        if table.max_energy_range_uj and table.energy_uj is not None:
            self._counters.setdefault(path, []).append(counter)
        zone = self._powercap.register_zone(
            control_type,
            table.name,
            _zone_ops(table),
            parent=parent,
            constraints=len(table.constraints),
            constraint_ops=_constraint_ops(table.constraints),
            driver_data=_State(counter, table.constraints, table.enabled is not False),
        )
        for child in table.zones:
            self._register_zone(control_type, child, zone, f"{path}/")


def _dtpm_node(table: ZoneTable) -> Dtpm:
    node = Dtpm(table.name, table.states_uw, table.power_uw or 0)
    node.children = [_dtpm_node(child) for child in table.zones]
    return node


@dataclass(slots=True)
class _Counter:
    """An energy counter that grows by ``draws_uw`` and wraps at ``period_uj``."""

    clock: Clock
    start_uj: int
    draws_uw: int
    period_uj: int
    since_ns: int = 0

    def read(self) -> int:
        """The count in microjoules."""
        # 1 uW is 1 uJ a second.
        drawn_uj = self.draws_uw * (self.clock.now_ns - self.since_ns) // _NS_PER_S
        return (self.start_uj + drawn_uj) % self.period_uj

    def spent_joules(self) -> Fraction:
        """What was drawn since time 0, whatever the counter says."""
        return Fraction(self.draws_uw * self.clock.now_ns, 1_000_000 * _NS_PER_S)

    def reset(self) -> None:
        """Begin again at 0."""
        self.start_uj = 0
        self.since_ns = self.clock.now_ns


@dataclass(slots=True)
class _State:
    """What can change in a zone."""

    counter: _Counter
    constraints: tuple[Constraint, ...]
    enabled: bool
    limits_uw: list[int] = field(init=False)
    windows_us: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.limits_uw = [one.power_limit_uw for one in self.constraints]
        self.windows_us = [one.time_window_us for one in self.constraints]


def _control_type_ops(table: ControlTypeTable) -> ControlTypeOps:
    if table.enabled is None and not table.errors:
        return ControlTypeOps()
    switch = [table.enabled is not False]

    def put(_: ControlType, on: bool) -> None:  # noqa: FBT001 - the kernel's callback
        switch[0] = on

    return ControlTypeOps(
        set_enable=_failing(table.errors, "set_enable", put if table.enabled is not None else None),
        get_enable=_failing(table.errors, "get_enable", (lambda _: switch[0]) if table.enabled is not None else None),
    )


def _zone_ops(table: ZoneTable) -> ZoneOps:
    def put(zone: Zone, on: bool) -> None:  # noqa: FBT001 - the kernel's callback
        _state(zone).enabled = on

    functions: dict[str, Callable[..., Any] | None] = {
        "get_max_energy_range_uj": _constant(table.max_energy_range_uj),
        "get_energy_uj": None if table.energy_uj is None else lambda zone: _state(zone).counter.read(),
        "reset_energy_uj": (lambda zone: _state(zone).counter.reset()) if table.resettable else None,
        "get_max_power_range_uw": _constant(table.max_power_range_uw),
        "get_power_uw": _constant(table.power_uw),
        "set_enable": None if table.enabled is None else put,
        "get_enable": None if table.enabled is None else lambda zone: _state(zone).enabled,
    }
    return ZoneOps(**{name: _failing(table.errors, name, function) for name, function in functions.items()})


def _failing(errors: Mapping[str, int], name: str, function: Callable[..., Any] | None) -> Callable[..., Any] | None:
    """The callback, or one that fails with the errno that the profile gives it."""
    if name not in errors:
        return function

    def fail(*_: object) -> Any:
        raise OSError(errors[name], "as the profile says")

    return fail


def _constraint_ops(constraints: tuple[Constraint, ...]) -> ConstraintOps:
    def put_limit(zone: Zone, number: int, limit_uw: int) -> None:
        _check(zone, number, "set_power_limit_uw").limits_uw[number] = limit_uw

    def put_window(zone: Zone, number: int, window_us: int) -> None:
        _check(zone, number, "set_time_window_us").windows_us[number] = window_us

    def optional(name: str) -> Callable[[Zone, int], int] | None:
        # A file exists for all constraints of a zone or for none: the functions are shared.
        callback = f"get_{name}"
        if all(getattr(one, name) is None and callback not in one.errors for one in constraints):
            return None

        def get(zone: Zone, number: int) -> int:
            value = getattr(_check(zone, number, callback).constraints[number], name)
            if value is None:
                raise OSError("not given in the profile")
            return int(value)

        return get

    named = any(one.name is not None for one in constraints)
    return ConstraintOps(
        set_power_limit_uw=put_limit,
        get_power_limit_uw=lambda zone, number: _check(zone, number, "get_power_limit_uw").limits_uw[number],
        set_time_window_us=put_window,
        get_time_window_us=lambda zone, number: _check(zone, number, "get_time_window_us").windows_us[number],
        get_max_power_uw=optional("max_power_uw"),
        get_min_power_uw=optional("min_power_uw"),
        get_max_time_window_us=optional("max_time_window_us"),
        get_min_time_window_us=optional("min_time_window_us"),
        get_name=(lambda zone, number: _state(zone).constraints[number].name) if named else None,
    )


def _check(zone: Zone, number: int, callback: str) -> _State:
    """The state of a zone; OSError where this callback of this constraint fails."""
    state = _state(zone)
    errors = state.constraints[number].errors
    if callback in errors:
        raise OSError(errors[callback], "as the profile says")
    return state


def _constant(value: int | None) -> Callable[[Zone], int] | None:
    return None if value is None else lambda _: value


def _state(zone: Zone) -> _State:
    return cast("_State", zone.driver_data)
