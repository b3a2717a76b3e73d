# SPDX-License-Identifier: Apache-2.0
"""Events that happen to the energy counters of a domain: they wrap, jump or stick.  No truth moves."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from raplica_simulator.counters import COUNTER_MASK, Counter, counters_of
from raplica_simulator.faults.event import Event, read_seconds_value
from raplica_simulator.linux.msr_dev import MsrModule
from raplica_simulator.machine import Machine
from raplica_simulator.profile.registers import raw_value
from raplica_simulator.profile.shape import Where, text

__all__ = ["COUNTER_VERBS", "SetCounter", "StartCounter", "StopCounter", "WrapCounter"]

_NS_PER_S = 10**9


def _read_wait(value: object, where: Where) -> Fraction:
    seconds = read_seconds_value(value, where)
    if not seconds:
        raise where.error("a counter wraps after some time: say how many seconds, above 0")
    return seconds


def _read_count(value: object, where: Where) -> int:
    """What the low 32 bits of a counter can hold."""
    raw = raw_value(value, where)
    if raw > COUNTER_MASK:
        raise where.error(f"0x{raw:X} is out of range: a counter shows 32 bits, 0 to 0x{COUNTER_MASK:X}")
    return raw


@dataclass(frozen=True, slots=True)
class _OfDomain(Event):
    """What happens to all counters of one domain, named as zones are: ``package-0/dram``."""

    domain: str = field(metadata={"parse": text})

    def check(self, machine: Machine) -> None:
        """A register counts the domain."""
        counters_of(machine, self.domain)


@dataclass(frozen=True, slots=True)
class WrapCounter(_OfDomain):
    """``do = "wrap"``: set so that the low 32 bits reach 0 after ``in_s`` seconds at the draw of this moment."""

    in_s: Fraction = field(metadata={"parse": _read_wait})

    def check(self, machine: Machine) -> None:
        """A register counts the domain, and moves within that time."""
        if not self._steps(machine):
            raise ValueError(f"no counter of {self.domain} moves within {float(self.in_s):g} s: give it watts before")

    def do(self, machine: Machine, module: MsrModule) -> None:  # noqa: ARG002 - all events have one signature
        """Wind them."""
        for counter, steps in self._steps(machine):
            counter.hold(-steps)

    def _steps(self, machine: Machine) -> list[tuple[Counter, int]]:
        spent_j, draw_w = machine.truth_joules(self.domain), machine.draw_w(self.domain)
        now_ns, wait_ns = machine.clock.now_ns, int(self.in_s * _NS_PER_S)
        wound = ((one, one.steps_within(wait_ns, now_ns, spent_j, draw_w)) for one in counters_of(machine, self.domain))
        return [(counter, steps) for counter, steps in wound if steps]


@dataclass(frozen=True, slots=True)
class SetCounter(_OfDomain):
    """``do = "set-counter"``: the low 32 bits jump to ``raw``; with 0 it is the reset that some firmware makes."""

    raw: int = field(metadata={"parse": _read_count})

    def do(self, machine: Machine, module: MsrModule) -> None:  # noqa: ARG002 - all events have one signature
        """Let them hold it; they count on from there."""
        for counter in counters_of(machine, self.domain):
            counter.hold(self.raw)


@dataclass(frozen=True, slots=True)
class StopCounter(_OfDomain):
    """``do = "stop-counter"``: the counters stick; reading works."""

    def do(self, machine: Machine, module: MsrModule) -> None:  # noqa: ARG002 - all events have one signature
        """Stop them."""
        for counter in counters_of(machine, self.domain):
            counter.stop()

    def opposite(self) -> StartCounter:
        """They go on."""
        return StartCounter(self.domain)


@dataclass(frozen=True, slots=True)
class StartCounter(_OfDomain):
    """``do = "start-counter"``: counters that stuck count on from what they show; what was spent meanwhile is lost."""

    def do(self, machine: Machine, module: MsrModule) -> None:  # noqa: ARG002 - all events have one signature
        """Let them go on."""
        for counter in counters_of(machine, self.domain):
            counter.go_on()


COUNTER_VERBS: dict[str, type[Event]] = {
    "wrap": WrapCounter,
    "set-counter": SetCounter,
    "stop-counter": StopCounter,
    "start-counter": StartCounter,
}
