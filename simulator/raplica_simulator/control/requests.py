# SPDX-License-Identifier: Apache-2.0
"""What can be said to the control door as data, and what it answers.

A request is a table such as ``{"do": "advance", "seconds": "0.5"}``: the verbs below, and every event of a scenario
under its own verb.  Integers stay integers; seconds are decimal text, or a number, which is read as it is written.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from errno import errorcode
from fractions import Fraction
from typing import Any

from raplica_simulator.control.door import Control, CounterValue, Status
from raplica_simulator.decimals import read_decimal
from raplica_simulator.faults.event import read_seconds_value
from raplica_simulator.faults.verbs import VERBS, Event, read_event
from raplica_simulator.linux.kernel import KernelCrash
from raplica_simulator.live.read_log import Call
from raplica_simulator.profile.parts import number
from raplica_simulator.profile.shape import Where, build, describe, one_of, printable, text

__all__ = ["REQUESTS", "Request", "answer", "failure", "read_request"]

_MOST_CALLS = 1000
_FAR = 15  # decimal places: farther from 1 no clock goes
_COUNT = number(0, 2**63 - 1)
_Document = dict[str, Any]


def _read_factor(value: object, where: Where) -> Fraction:
    """Exactly what a number, or a decimal number as text, says; what a clock can go by is its own business."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        raise where.error(f"must be a number such as 10 or 0.5, not {describe(value)}")
    try:
        factor = read_decimal(str(value))
    except ValueError:
        factor = Decimal("nan")
    if not factor.is_finite() or abs(factor.adjusted()) > _FAR:
        raise where.error(f"{printable(str(value))} is no number such as 10 or 0.5")
    return Fraction(factor)


class Request(ABC):
    """One request; a frozen value."""

    __slots__ = ()

    @abstractmethod
    def answer(self, control: Control) -> object:
        """Do it: what to answer, ready to be written as JSON.  Errors as the order's own."""


@dataclass(frozen=True, slots=True)
class _Status(Request):
    """``status``."""

    def answer(self, control: Control) -> _Document:
        return _status(control.status())


@dataclass(frozen=True, slots=True)
class _Advance(Request):
    """``advance``: ``seconds``."""

    seconds: Fraction = field(metadata={"parse": read_seconds_value})

    def answer(self, control: Control) -> _Document:
        control.advance(self.seconds)
        return _status(control.status())


@dataclass(frozen=True, slots=True)
class _Pause(Request):
    """``pause``."""

    def answer(self, control: Control) -> _Document:
        control.pause()
        return _status(control.status())


@dataclass(frozen=True, slots=True)
class _Run(Request):
    """``run``."""

    def answer(self, control: Control) -> _Document:
        control.run()
        return _status(control.status())


@dataclass(frozen=True, slots=True)
class _Speed(Request):
    """``speed``: ``factor``, seconds of the machine in one of the host."""

    factor: Fraction = field(metadata={"parse": _read_factor})

    def answer(self, control: Control) -> _Document:
        control.set_speed(self.factor)
        return _status(control.status())


@dataclass(frozen=True, slots=True)
class _Truth(Request):
    """``truth``: of all domains, or of ``domain``."""

    domain: str | None = field(default=None, metadata={"parse": text})

    def answer(self, control: Control) -> list[_Document]:
        return [
            {"domain": one.domain, "truth_uj": one.truth_uj, "counters": [_counter(value) for value in one.counters]}
            for one in control.truth(self.domain)
        ]


@dataclass(frozen=True, slots=True)
class _Energies(Request):
    """``energies``: of ``domains``, at one moment."""

    domains: tuple[str, ...]

    def answer(self, control: Control) -> _Document:
        found = control.energies(self.domains)
        spent = zip(self.domains, found.truths_uj, strict=True)
        return {"now_ns": found.now_ns, "energies": [{"domain": name, "truth_uj": uj} for name, uj in spent]}


@dataclass(frozen=True, slots=True)
class _Zones(Request):
    """``zones``."""

    def answer(self, control: Control) -> list[_Document]:
        return [one._asdict() for one in control.zones()]


@dataclass(frozen=True, slots=True)
class _Log(Request):
    """``log``: calls after number ``since``, at most ``most``."""

    since: int = field(default=0, metadata=_COUNT)
    most: int = field(default=_MOST_CALLS, metadata=number(1, _MOST_CALLS))

    def answer(self, control: Control) -> _Document:
        page = control.log(self.since, self.most)
        return {"calls": [_call(one) for one in page.calls], "last": page.last, "dropped": page.dropped}


@dataclass(frozen=True, slots=True)
class _LogOn(Request):
    """``log-on``: ``truth`` says whether what was spent is written down too."""

    truth: bool = True

    def answer(self, control: Control) -> None:
        control.switch_log(on=True, with_truth=self.truth)


@dataclass(frozen=True, slots=True)
class _LogOff(Request):
    """``log-off``."""

    def answer(self, control: Control) -> None:
        control.switch_log(on=False)


@dataclass(frozen=True, slots=True)
class _LogClear(Request):
    """``log-clear``."""

    def answer(self, control: Control) -> None:
        control.clear_log()


@dataclass(frozen=True, slots=True)
class _End(Request):
    """``end``."""

    def answer(self, control: Control) -> None:
        control.end()


@dataclass(frozen=True, slots=True)
class _Happening(Request):
    """An event of a scenario, now."""

    event: Event

    def answer(self, control: Control) -> None:
        control.do(self.event)


REQUESTS: Mapping[str, type[Request]] = {
    "status": _Status,
    "advance": _Advance,
    "pause": _Pause,
    "run": _Run,
    "speed": _Speed,
    "truth": _Truth,
    "energies": _Energies,
    "zones": _Zones,
    "log": _Log,
    "log-on": _LogOn,
    "log-off": _LogOff,
    "log-clear": _LogClear,
    "end": _End,
}


def read_request(table: Mapping[str, object]) -> Request:
    """The request that a table says.  ValueError in one line for a verb or key that is unknown, missing or wrong."""
    place = Where("request")
    if "do" not in table:
        raise place.error('do is missing: say what to do, such as {"do": "status"}')
    verb = one_of(table["do"], place.at("do"), (*REQUESTS, *VERBS))
    if verb in VERBS:
        return _Happening(read_event(table, place.at(verb)))
    return build(REQUESTS[verb], {key: value for key, value in table.items() if key != "do"}, place.at(verb))


def answer(control: Control, table: Mapping[str, object]) -> _Document:
    """What to answer to a request: ``ok`` and ``result``, or ``error``, one line, and ``errno`` where there is one."""
    try:
        return {"ok": True, "result": read_request(table).answer(control)}
    except OSError as error:
        name = None if error.errno is None else errorcode.get(error.errno, str(error.errno))
        where = f"{error.filename}: " if error.filename else ""
        return failure(f"{where}{error.strerror or error}", name)
    except (ValueError, TypeError, KernelCrash) as error:
        return failure(str(error))


def failure(error: str, errno: str | None = None) -> _Document:
    """The answer to what could not be done."""
    return {"ok": False, "error": " ".join(error.splitlines()), "errno": errno}


def _status(status: Status) -> _Document:
    return {**status._asdict(), "speed": _speed(status.speed)}


def _speed(speed: Fraction) -> str:
    return f"{Decimal(speed.numerator) / Decimal(speed.denominator):f}"


def _counter(value: CounterValue) -> _Document:
    return {**value._asdict(), "register": f"{value.register:#x}"}


def _call(call: Call) -> _Document:
    document = call._asdict()
    del document["data"]
    name = errorcode.get(call.errno, str(call.errno)) if call.errno else None
    return {**document, "errno": name, "value": call.value}
