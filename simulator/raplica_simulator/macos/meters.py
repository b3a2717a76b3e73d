# SPDX-License-Identifier: Apache-2.0
"""What the stand-in of powermetrics reads: a machine's energies at one moment of its time, and how that time goes by.

A machine that another process runs is reached through its control door; one in this process is read directly, and its
time goes by when it is waited for.
"""

import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from raplica_simulator.control.client import Connection

__all__ = ["SAMPLE_NOW", "DoorMeters", "Look", "MachineMeters", "Meters"]

# macOS has SIGINFO, number 29: "take a sample now".  Linux has no such signal; its number 29 is SIGIO.
SAMPLE_NOW = signal.SIGIO
_NS_PER_S = 10**9
# A machine whose time stands, and one that may end, is asked again so often.
_ASK_AGAIN_S = 0.01
_NEVER_S = 0.5


class Look(NamedTuple):
    """The machine's time, and the microjoules that each domain had spent by then, by the domain's name."""

    now_ns: int
    truths_uj: Mapping[str, int]


class Meters(Protocol):
    """Where energies come from."""

    def look(self, domains: Sequence[str]) -> Look:
        """What the domains have spent."""
        ...

    def wait(self, until_ns: int | None) -> None:
        """Wait until the machine's time has come there, or somebody wants a sample now; None waits for that alone."""
        ...


class _Machine(Protocol):
    """What is asked of a machine in this process; a :class:`.Machine` has it."""

    @property
    def clock(self) -> Any:
        """A clock that can be advanced."""
        ...

    def truth_uj(self, domain: str) -> int:
        """What a domain has spent."""
        ...


class MachineMeters:
    """A machine in this process, on a clock that moves when it is told to."""

    def __init__(self, machine: _Machine) -> None:
        self._machine = machine

    def look(self, domains: Iterable[str]) -> Look:
        """What they have spent."""
        return Look(self._machine.clock.now_ns, {name: self._machine.truth_uj(name) for name in domains})

    def wait(self, until_ns: int | None) -> None:
        """Move time there; with None nothing moves, as if somebody had wanted a sample at once."""
        if until_ns is not None:
            self._machine.clock.advance(nanoseconds=until_ns - self._machine.clock.now_ns)


def _wait_for_signal(longest_s: float) -> bool:
    """Wait so long at most: whether somebody has sent the signal meanwhile."""
    return signal.sigtimedwait({SAMPLE_NOW}, longest_s) is not None


class DoorMeters:
    """A machine that another process runs.

    Raises :class:`.control.client.Refused` once that has ended.
    """

    def __init__(self, connection: Connection, wait: Callable[[float], bool] = _wait_for_signal) -> None:
        """``wait`` waits for so many seconds, or says True when a sample is wanted now; SIGIO is held back for it."""
        self._connection = connection
        self._wait = wait

    def look(self, domains: Iterable[str]) -> Look:
        """What they have spent, all at one moment."""
        found = self._connection.ask("energies", {"domains": [*domains]})
        return Look(found["now_ns"], {one["domain"]: one["truth_uj"] for one in found["energies"]})

    def wait(self, until_ns: int | None) -> None:
        """Wait as long as the machine's time takes to come there, which stands or runs at its own speed."""
        while True:
            status = self._connection.ask("status")
            if until_ns is None:
                longest_s = _NEVER_S
            elif status["now_ns"] >= until_ns:
                return
            elif status["running"]:
                longest_s = min((until_ns - status["now_ns"]) / _NS_PER_S / float(status["speed"]), _NEVER_S)
            else:
                longest_s = _ASK_AGAIN_S
            if self._wait(longest_s):
                return
