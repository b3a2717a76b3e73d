# SPDX-License-Identifier: Apache-2.0
"""A machine that runs while others look at it: one lock, one clock, one load plan, whatever the faces it is shown by.

``raplica mount`` and everything else that shows a machine to other processes begins here: :func:`start` makes the
machine, brings it to its first moment and hands it over with its time still standing.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction

from raplica_simulator.linux.msr_dev import MsrModule
from raplica_simulator.live_clock import LiveClock
from raplica_simulator.load_plan import LoadPlan
from raplica_simulator.machine import Machine
from raplica_simulator.profile import Profile

__all__ = ["LiveMachine", "start"]

_COUNTER_MASK = (1 << 32) - 1  # what powercap counts by, also where the register is wider

# A register: "msr", its processor and address, or "mmio" or "tpmi", its package and offset.
_Place = tuple[str, int, int]


class LiveMachine:
    """A machine and the only lock under which anybody touches it.

    Attributes:
        machine: the machine; use it within :meth:`held` only.
        msr_module: its ``/dev/cpu/N/msr`` devices.
    """

    def __init__(self, machine: Machine, catch_up: Callable[[], None] | None = None) -> None:
        """``catch_up`` is called before each look at the machine: what has become due is then done."""
        self.machine = machine
        self.msr_module = MsrModule(machine)
        self._catch_up = catch_up
        self._lock = threading.RLock()

    @contextmanager
    def held(self) -> Iterator[Machine]:
        """Keep everybody else away from the machine, which is up to date."""
        with self._lock:
            if self._catch_up is not None:
                self._catch_up()
            yield self.machine

    def let_time_run(self) -> None:
        """Start the clock; a machine on a clock of another kind is left as it is."""
        with self._lock:
            if isinstance(self.machine.clock, LiveClock):
                self.machine.clock.start()


def start(
    profile: "str | os.PathLike[str] | Profile",
    *,
    kernel: str | None = None,
    load: LoadPlan | None = None,
    speed: Fraction | int = 1,
    at_s: Fraction | int = 0,
    near_wrap_s: Fraction | int | None = None,
) -> LiveMachine:
    """Make a machine that has run for ``at_s`` seconds under ``load`` and whose time stands, to go ``speed`` as fast.

    With ``near_wrap_s`` every energy counter that moves is set so that its low 32 bits reach 0 that many seconds
    later, under the plan as far as it is known (a load that follows the host counts as idle).  No truth moves.
    Raises as :meth:`.Machine.from_profile` and the plan do.
    """
    machine, catch_up = _begin(profile, kernel, load, speed, at_s)
    if near_wrap_s is not None:
        twin, twin_catch_up = _begin(machine.profile, machine.kernel.version, load, speed, at_s)
        before = _words(twin)
        twin.clock.advance(seconds=near_wrap_s)
        twin_catch_up()
        for place, value in _words(twin).items():
            # Nothing but counters moves by itself.
            if moved := value - before[place] & _COUNTER_MASK:
                _wind(machine, place, moved)
    return LiveMachine(machine, catch_up)


def _begin(
    profile: "str | os.PathLike[str] | Profile",
    kernel: str | None,
    load: LoadPlan | None,
    speed: Fraction | int,
    at_s: Fraction | int,
) -> tuple[Machine, Callable[[], None]]:
    clock = LiveClock(speed)
    machine = Machine.from_profile(profile, kernel=kernel, clock=clock)
    catch_up = load.begin(machine, clock) if load is not None else lambda: None
    clock.advance(seconds=at_s)
    catch_up()
    return machine, catch_up


def _words(machine: Machine) -> dict[_Place, int]:
    """What every register holds."""
    msr = machine.msr
    words: dict[_Place, int] = {
        ("msr", place.number, address): msr.content(place.number, address) or 0
        for place in machine.profile.topology.cpus
        for address in msr.addresses(place.number)
    }
    for space in (machine.mmio, machine.tpmi):
        for package in space.packages():
            for offset in space.addresses(package):
                words[space.name, package, offset] = space.content(offset, package) or 0
    return words


def _wind(machine: Machine, place: _Place, missing: int) -> None:
    """Let the low bits of a counter be so many steps short of their wrap."""
    name, owner, address = place
    if name == "msr":
        held = machine.msr.content(owner, address) or 0
        machine.msr.poke(owner, address, (held & ~_COUNTER_MASK) | (-missing & _COUNTER_MASK))
    else:
        space = machine.mmio if name == "mmio" else machine.tpmi
        held = space.content(address, owner) or 0
        space.poke(address, (held & ~_COUNTER_MASK) | (-missing & _COUNTER_MASK), owner)
