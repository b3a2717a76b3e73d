# SPDX-License-Identifier: Apache-2.0
"""The client of the powercap framework that a recording tells what to register, done again on a simulated machine.

Mirrors what the witness's module does (conformance/kernel_witness/modules/framework.c): it takes the same commands,
its callbacks answer what they were told to, and each call of one is written down in the same words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from errno import EIO
from functools import partial
from typing import Any

from raplica_fixtures.recording import ERRNOS, Framework
from raplica_simulator.linux.powercap_sys import ConstraintOps, ControlType, ControlTypeOps, Powercap, Zone, ZoneOps

__all__ = ["MODULE", "FrameworkClient"]

MODULE = "raplica_framework"
_GETTERS = {"set_power_limit_uw": "get_power_limit_uw", "set_time_window_us": "get_time_window_us"}
_ZONE = tuple(part.name for part in fields(ZoneOps))
_CONSTRAINT = tuple(part.name for part in fields(ConstraintOps))


@dataclass(slots=True)
class _Thing:
    """A control type or a zone of the client: what its callbacks answer, by name and constraint (0 without one)."""

    key: str
    called: list[str]
    values: dict[tuple[str, int], int] = field(default_factory=dict)
    errors: dict[tuple[str, int], str] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    control_type: ControlType | None = None
    zone: Zone | None = None

    def call(self, callback: str, number: int | None = None, value: int | None = None) -> None:
        """Write one call down, and fail where it was told to."""
        error = self.errors.get((callback, number or 0), "ok")
        which = "" if number is None else f".{number}"
        given = "" if value is None else f" {int(value)}"
        self.called.append(f"{self.key} {callback}{which}{given}: {error}")
        if error != "ok":
            raise OSError(ERRNOS[error], error)

    def give(self, callback: str, _: object, number: int | None = None) -> int:
        """A getter."""
        self.call(callback, number)
        return self.values.get((callback, number or 0), 0)

    def take(self, callback: str, _: object, number: int, value: int) -> None:
        """The setter of a constraint, which leaves its value to the getter."""
        self.call(callback, number, value)
        self.values[_GETTERS[callback], number] = value

    def set_enable(self, _: object, on: bool) -> None:  # noqa: FBT001 - the kernel's callback
        """The switch."""
        self.call("set_enable", value=on)
        self.values["get_enable", 0] = on

    def get_enable(self, _: object) -> bool:
        """The switch, read."""
        return bool(self.give("get_enable", None))

    def reset(self, _: object) -> None:
        """Reset the counter."""
        self.call("reset_energy_uj")
        self.values["get_energy_uj", 0] = 0

    def release(self, _: object) -> None:
        """Nobody refers to it any more."""
        self.call("release")

    def name(self, _: object, number: int) -> str | None:
        """The name of a constraint."""
        self.call("get_name", number)
        return self.names.get(number)

    def function(self, callback: str) -> Callable[..., Any]:
        """What is behind a callback."""
        own: dict[str, Callable[..., Any]] = {
            "set_enable": self.set_enable,
            "get_enable": self.get_enable,
            "reset_energy_uj": self.reset,
            "release": self.release,
            "get_name": self.name,
        }
        return own.get(callback) or partial(self.take if callback in _GETTERS else self.give, callback)


class FrameworkClient:
    """The module, loaded or not, and everything that it has registered."""

    def __init__(self, powercap: Powercap) -> None:
        self._powercap = powercap
        self._called: list[str] = []
        self._reported = 0
        self._types: dict[str, _Thing] = {}
        self._zones: dict[str, _Thing] = {}

    def do(self, step: Framework) -> tuple[int, tuple[str, ...]]:
        """Do what a step says: the errno that came of it (0: none), and the callbacks that were called meanwhile.

        ValueError for a command that the module does not know.
        """
        errno = 0
        if step.command != "called":
            self._called.clear()
            self._reported = 0
            try:
                self._obey(step.command)
            except OSError as error:
                errno = error.errno or EIO
        called = tuple(self._called[self._reported :])
        self._reported = len(self._called)
        return errno, called

    def unload(self) -> int:
        """The module goes, and takes out what is left: zones first, the newest first.  Returns 0, for no error."""
        for thing in reversed(self._zones.values()):
            if thing.zone and thing.control_type and thing.zone.device.added:
                self._powercap.unregister_zone(thing.control_type, thing.zone)
        for thing in reversed(self._types.values()):
            if thing.control_type and thing.control_type.device.added:
                self._powercap.unregister_control_type(thing.control_type)
        self._zones.clear()
        self._types.clear()
        return 0

    def _obey(self, command: str) -> None:
        verb, _, rest = command.partition(" ")
        key, _, rest = rest.partition(" ")
        match verb:
            case "type" | "zone":
                before, named, name = f" {rest}".partition(" name=")
                options = _options(before)
                self._add(verb, key, name if named else None, options)
            case "untype":
                control_type = self._types[key].control_type
                # What failed to be registered is on no list, either.
                self._powercap.unregister_control_type(
                    control_type or ControlType(self._powercap, "", ControlTypeOps())
                )
            case "unzone":
                self._drop_zone(key, _options(rest))
            case "answer":
                _set_answer(self._zones.get(key) or self._types[key], rest)
            case _:
                raise ValueError(f"the module of the witness has no command {command[:60]!r}")

    def _add(self, verb: str, key: str, name: str | None, options: dict[str, str]) -> None:
        thing = _Thing(key, self._called)
        things = self._types if verb == "type" else self._zones
        # The newest is the last, also when its key was there before.
        things.pop(key, None)
        things[key] = thing
        owned = "own" in options
        if verb == "type":
            made = _chosen(ControlTypeOps, options.get("ops"), thing)
            thing.control_type = self._powercap.register_control_type(name, made, caller_owned=owned)
            return
        parent = self._zones[options["parent"]].zone if "parent" in options else None
        control_type = self._types[options["type"]].control_type if "type" in options else None
        thing.control_type = control_type
        thing.zone = self._powercap.register_zone(
            control_type,
            name,
            _chosen(ZoneOps, options.get("ops"), thing),
            parent=parent,
            constraints=int(options.get("constraints", "0")),
            constraint_ops=_chosen(ConstraintOps, options.get("cops"), thing),
            caller_owned=owned,
        )

    def _drop_zone(self, key: str, options: dict[str, str]) -> None:
        thing = self._zones.get(key)
        control_type = thing.control_type if thing else None
        if "type" in options:
            other = self._types.get(options["type"])
            control_type = other.control_type if other else None
        self._powercap.unregister_zone(control_type, thing.zone if thing else None)


def _options(text: str) -> dict[str, str]:
    """``WORD=VALUE`` and ``WORD`` by their words."""
    return {word: value for word, _, value in (part.partition("=") for part in text.split())}


def _chosen(kind: type[Any], names: str | None, thing: _Thing) -> Any:
    """The structure of functions with those that are named; None where not even an empty list was given."""
    if names is None:
        return None
    return kind(**{name: thing.function(name) for name in names.split(",") if name})


def _set_answer(thing: _Thing, text: str) -> None:
    """``CALLBACK[.CONSTRAINT]`` and an error's name, a number, ``=TEXT`` or ``null``."""
    callback, _, what = text.partition(" ")
    callback, _, constraint = callback.partition(".")
    place = (callback, int(constraint or 0))
    if callback == "get_name":
        thing.names.pop(place[1], None)
        if what != "null":
            thing.names[place[1]] = what.removeprefix("=")
    elif what == "ok" or what in ERRNOS:
        thing.errors[place] = what
    else:
        thing.errors.pop(place, None)
        thing.values[place] = int(what)
