# SPDX-License-Identifier: Apache-2.0
"""A machine that runs while others look at it: one lock, one clock, one load plan, whatever the faces it is shown by.

``raplica mount`` and everything else that shows a machine to other processes begins here: :func:`start` makes the
machine, brings it to its first moment and hands it over with its time still standing.
"""

import os
import threading
from contextlib import AbstractContextManager
from decimal import Decimal
from fractions import Fraction
from types import TracebackType

from raplica_simulator.linux.msr_dev import MsrModule
from raplica_simulator.live.clock import LiveClock
from raplica_simulator.live.read_log import ReadLog
from raplica_simulator.live.timeline import Timeline
from raplica_simulator.load.host import HostLoad
from raplica_simulator.load.plan import LoadPlan
from raplica_simulator.machine import Machine
from raplica_simulator.profile.profile import Profile, load_profile
from raplica_simulator.scenario.course import ScenarioCourse
from raplica_simulator.scenario.scenario import Scenario

__all__ = ["LiveMachine", "start", "wind"]

_COUNTER_MASK = (1 << 32) - 1  # what powercap counts by, also where the register is wider

# A register: "msr", its processor and address, or "mmio" or "tpmi", its package and offset.
_Place = tuple[str, int, int]


class _Hold:
    """What keeps others away; made once, since every read of every file takes it."""

    __slots__ = ("_lock", "_machine", "_timeline")

    def __init__(self, machine: Machine, timeline: Timeline | None, lock: "threading.RLock") -> None:
        self._machine = machine
        self._timeline = timeline
        self._lock = lock

    def __enter__(self) -> Machine:
        self._lock.acquire()
        if self._timeline is not None:
            try:
                self._timeline.catch_up()
            except BaseException:
                self._lock.release()
                raise
        return self._machine

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()


class LiveMachine:
    """A machine and the only lock under which anybody touches it.

    Attributes:
        machine: the machine; use it within :meth:`held` only.
        msr_module: its ``/dev/cpu/N/msr`` devices.
        log: what other processes do with its files, once that is switched on.
        events: where it stands in its scenario; None without one.
    """

    def __init__(
        self,
        machine: Machine,
        timeline: Timeline | None = None,
        *,
        msr_module: MsrModule | None = None,
        events: ScenarioCourse | None = None,
    ) -> None:
        """``timeline`` catches up before each look at the machine; ``events`` are among its courses."""
        self.machine = machine
        self.msr_module = msr_module or MsrModule(machine)
        self.events = events
        self.log = ReadLog()
        self._lock = threading.RLock()
        self._hold = _Hold(machine, timeline, self._lock)

    def held(self) -> AbstractContextManager[Machine]:
        """Keep everybody else away from the machine, which is up to date."""
        return self._hold

    def advance(self, seconds: int | Fraction | Decimal = 0, *, nanoseconds: int = 0) -> None:
        """Move time forward, whether it stands or runs, and let everything happen that has become due.

        As :meth:`.VirtualClock.advance`; who shows the machine has to tell others of names that go or come.
        """
        with self._lock:
            self.machine.clock.advance(seconds, nanoseconds=nanoseconds)
            with self._hold:
                pass

    def let_time_run(self) -> None:
        """Start the clock; a machine on a clock of another kind is left as it is."""
        with self._lock:
            if isinstance(self.machine.clock, LiveClock):
                self.machine.clock.start()


def start(
    profile: "str | os.PathLike[str] | Profile | None" = None,
    *,
    kernel: str | None = None,
    load: LoadPlan | None = None,
    speed: Fraction | int = 1,
    at_s: Fraction | int | None = None,
    near_wrap_s: Fraction | int | None = None,
    scenario: Scenario | None = None,
) -> LiveMachine:
    """Make a machine that has run for ``at_s`` seconds under ``load`` and whose time stands, to go ``speed`` as fast.

    ``scenario`` says what happens to it, and all that is left out here: the machine, too, unless ``profile`` names
    another one.  With ``near_wrap_s`` every energy counter that moves is set so that its low 32 bits reach 0 that many
    seconds later, under the plan as far as it is known (a load that follows the host counts as idle).  No truth moves.
    Raises as :meth:`.Machine.from_profile` and the plan do, TypeError without a machine, and ValueError as
    :meth:`.Scenario.rehearse` for an event that does not fit this one.
    """
    if scenario is not None:
        profile = scenario.profile if profile is None else profile
        kernel = kernel or scenario.kernel
        load = load or scenario.load_plan
        at_s = scenario.at_s if at_s is None else at_s
        near_wrap_s = scenario.near_wrap_s if near_wrap_s is None else near_wrap_s
    if profile is None:
        raise TypeError("start() needs a profile, or a scenario that has one")
    at_s = 0 if at_s is None else at_s
    if not isinstance(profile, Profile):
        profile = load_profile(profile)
    if scenario is not None:
        scenario.rehearse(profile, kernel, load)
    live = _begin(profile, kernel, load, speed, at_s, scenario)
    if near_wrap_s is not None:
        wind(live.machine, near_wrap_s, load=load, at_s=at_s, scenario=scenario)
    return live


def wind(
    machine: Machine,
    seconds: Fraction | int,
    *,
    load: LoadPlan | None,
    at_s: Fraction | int,
    scenario: Scenario | None,
) -> None:
    """Set every energy counter that moves so that its low 32 bits reach 0 so many seconds later.

    A twin of the machine, which has run for ``at_s`` seconds under ``load`` and ``scenario``, goes ahead and tells.
    """
    known = None if isinstance(load, HostLoad) else load
    twin = _begin(machine.profile, machine.kernel.version, known, 1, at_s, scenario)
    before = _held(twin.machine)
    twin.advance(seconds=seconds)
    for place, count in _held(twin.machine).items():
        if place in before and (moved := (count - before[place]) & _COUNTER_MASK):
            _wind(machine, place, moved)


def _begin(
    profile: Profile,
    kernel: str | None,
    load: LoadPlan | None,
    speed: Fraction | int,
    at_s: Fraction | int,
    scenario: Scenario | None,
) -> LiveMachine:
    clock = LiveClock(speed)
    machine = Machine.from_profile(profile, kernel=kernel, clock=clock)
    module = MsrModule(machine)
    course = None if load is None else load.begin(machine, clock)
    events = None if scenario is None else scenario.begin(machine, clock, module)
    courses = [one for one in (course, events) if one is not None]
    live = LiveMachine(machine, Timeline(clock, courses) if courses else None, msr_module=module, events=events)
    live.advance(seconds=at_s)
    return live


def _held(machine: Machine) -> dict[_Place, int]:
    """What every energy counter that counts holds."""
    msr = machine.msr
    found = {
        ("msr", place.number, address): msr.content(place.number, address) or 0
        for place in machine.profile.topology.cpus
        for address in msr.addresses(place.number)
        if msr.counted(place.number, address) is not None
    }
    for space in (machine.mmio, machine.tpmi):
        for package in space.packages():
            for offset in space.addresses(package):
                if space.counted(offset, package) is not None:
                    found[space.name, package, offset] = space.content(offset, package) or 0
    return found


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
