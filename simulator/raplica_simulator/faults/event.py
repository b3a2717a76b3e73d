# SPDX-License-Identifier: Apache-2.0
"""What an event is: something that happens to a running machine, and nothing about when.

A scenario gives events a moment, the control door does them at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from decimal import Decimal
from fractions import Fraction

from raplica_simulator.decimals import read_decimal
from raplica_simulator.linux.msr_dev import MsrModule
from raplica_simulator.machine import Machine
from raplica_simulator.profile.shape import Where, describe, printable, whole

__all__ = ["Event", "cpus_of", "read_count", "read_seconds_value"]

_LONGEST_S = 10**12  # seconds, some thirty thousand years
_NS_PER_S = 10**9


class Event(ABC):
    """One thing that happens; a frozen value, made by :func:`.verbs.read_event`."""

    __slots__ = ()

    @abstractmethod
    def check(self, machine: Machine) -> None:
        """Raise ValueError, in one line that says what to do, where it cannot be done to this machine as it is now."""

    @abstractmethod
    def do(self, machine: Machine, module: MsrModule) -> None:
        """Do it now.  ``module`` is the machine's ``/dev/cpu/N/msr``.

        What :meth:`check` has let through can still fail as it fails on a real machine: OSError, KernelCrash.
        """

    def opposite(self) -> Event | None:
        """What ends it, or None for what has no end."""
        return None


def cpus_of(machine: Machine, cpu: int | None, package: int | None) -> list[int]:
    """The processors that an event names: one, a package's, or with neither all; ValueError for what is not there."""
    topology = machine.profile.topology
    if cpu is not None and package is not None:
        raise ValueError("cpu and package are both given: give one of them")
    if cpu is not None:
        machine.cpu(cpu)
        return [cpu]
    packages = range(topology.packages) if package is None else [package]
    return [number for one in packages for die in topology.dies_of_package(one) for number in topology.cpus_of_die(die)]


def read_count(value: object, where: Where) -> int:
    """How many calls: a whole number from 1."""
    return whole(value, where, 1, 2**63 - 1)


def read_seconds_value(value: object, where: Where) -> Fraction:
    """Exactly the seconds that a number, or a decimal number as text, says: whole nanoseconds, 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        raise where.error(f"must be a number of seconds such as 12.5, not {describe(value)}")
    words = repr(value) if isinstance(value, float) else str(value)
    try:
        seconds = read_decimal(words)
    except ValueError:
        raise where.error(f"must be a number of seconds such as 12.5, not {describe(value)}") from None
    if not seconds.is_finite() or seconds < 0 or seconds.adjusted() > 12 or seconds > _LONGEST_S:
        raise where.error(f"{printable(words)} s is out of range: 0 to {_LONGEST_S}")
    if (seconds and seconds.adjusted() < -9) or (Fraction(seconds) * _NS_PER_S).denominator != 1:
        raise where.error(f"{printable(words)} s is finer than a nanosecond: give at most nine decimals")
    return Fraction(seconds)
