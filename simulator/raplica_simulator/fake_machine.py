# SPDX-License-Identifier: Apache-2.0
"""A machine for a test: its time stands until the test moves it, and whoever runs the test is its administrator.

It is a :class:`.Machine` with what a running one has besides: a load plan, a scenario, the orders of the control door.
Whatever is due on the way happens when time is moved, so that what a test reads next is what a program would read.
Time can be let run as well, for programs that measure by the host's clock.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from errno import errorcode
from fractions import Fraction
from types import TracebackType
from typing import Self

from raplica_simulator.control.door import Control
from raplica_simulator.faults.event import read_seconds_value
from raplica_simulator.linux.kernel import find_kernel
from raplica_simulator.linux.msr_dev import MsrModule
from raplica_simulator.live.clock import LiveClock
from raplica_simulator.live.machine import LiveMachine
from raplica_simulator.live.ownership import give_to_caller
from raplica_simulator.live.timeline import Timeline
from raplica_simulator.load.plan import LoadPlan
from raplica_simulator.machine import Machine
from raplica_simulator.profile.profile import Profile
from raplica_simulator.profile.shape import Where
from raplica_simulator.scenario.scenario import Scenario

__all__ = ["FakeMachine", "Seconds", "StepClock", "read_seconds"]

#: Seconds as people write them in a test; a float counts as what it prints as: 0.1 is a tenth.
Seconds = int | float | str | Decimal | Fraction


def read_seconds(seconds: Seconds, what: str) -> Fraction:
    """Exactly those seconds.  ValueError, one line that names them ``what``, below 0 and for what is no number."""
    if isinstance(seconds, Fraction) and seconds >= 0:
        return seconds
    return read_seconds_value(seconds, Where(what))


class StepClock(LiveClock):
    """The clock of a :class:`FakeMachine`: to move it is to let everything happen that becomes due on the way."""

    __slots__ = ("when_moved",)

    def __init__(self) -> None:
        super().__init__()
        self.when_moved: Callable[[int | Fraction | Decimal, int], None] = self.move

    def advance(self, seconds: int | Fraction | Decimal = 0, *, nanoseconds: int = 0) -> None:
        """Move time forward; as :meth:`.VirtualClock.advance`, so no float."""
        self.when_moved(seconds, nanoseconds)

    def move(self, seconds: int | Fraction | Decimal, nanoseconds: int) -> None:
        """Move the time and nothing else."""
        super().advance(seconds, nanoseconds=nanoseconds)


class _SteppedMachine(LiveMachine):
    """A live machine whose clock asks it to advance, where usually it asks the clock."""

    machine: "FakeMachine"

    def advance(self, seconds: int | Fraction | Decimal = 0, *, nanoseconds: int = 0) -> None:
        """Move time forward and let everything happen that has become due."""
        with self.held():
            self.machine.clock.move(seconds, nanoseconds)
            with self.held():
                pass


class FakeMachine(Machine):
    """A machine for a test; :func:`.testing.fake_machine` makes one from an id.  A context manager, for symmetry.

    Where the test is not run by root, the files of powercap belong to who runs it, as if that were the machine's root:
    whoever else asks is refused what the kernel gives to root alone.

    Attributes:
        live: itself behind the lock under which the surfaces look at it.
        control: all orders of the control door, such as ``control.truth()``, ``control.log()``, ``control.set_cpu()``.
    """

    clock: StepClock

    def __init__(
        self,
        profile: Profile,
        kernel: str | None = None,
        *,
        load: LoadPlan | None = None,
        scenario: Scenario | None = None,
        at_s: Fraction | int = 0,
    ) -> None:
        """Put it together and let it run for ``at_s`` seconds; errors as :meth:`.Machine.from_profile` and the plan."""
        clock = StepClock()
        super().__init__(profile, find_kernel(kernel or profile.kernel), clock)
        module = MsrModule(self)
        course = None if load is None else load.begin(self, clock)
        events = None if scenario is None else scenario.begin(self, clock, module)
        timeline = Timeline(clock, [one for one in (course, events) if one is not None])
        self.live: LiveMachine = _SteppedMachine(self, timeline, msr_module=module, events=events)
        self.control = Control(self.live, self._tell_everybody)
        self._watchers: list[Callable[[], None]] = []
        self._missed = 0
        clock.when_moved = self._advance
        self.clock.advance(at_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is left to be closed: whoever shows the machine closes what it is shown by."""

    # Time.

    def step(self, seconds: Seconds) -> None:
        """Move time forward and let everything happen that is due by then; 0.1 is exactly a tenth of a second."""
        self.clock.advance(read_seconds(seconds, "step"))

    def run(self, speed: int | Fraction | Decimal = 1) -> None:
        """Let time run with the host's, ``speed`` times as fast; from here on touch the machine within :meth:`held`."""
        self.control.set_speed(speed)
        self.control.run()

    def pause(self) -> None:
        """Let time stand again."""
        self.control.pause()

    # What happens to it.

    def do(self, verb: str, **words: object) -> None:
        """Let something happen now, in the words of a scenario: ``do("offline", package=1)``.

        ValueError in one line for an event that does not exist or does not fit the machine as it is.
        """
        self.control.do({"do": verb, **words})

    def wrap(self, domain: str, in_s: Seconds = 1) -> None:
        """Set the counters of a domain so that they wrap so many seconds from now, at the draw of this moment."""
        self.control.wrap(domain, read_seconds(in_s, "in_s"))

    def fault(self, path: str, on: str = "read", errno: int | str = "EIO", *, after: int = 0, times: int = 0) -> None:
        """Let calls on a file of ``/sys`` fail: ``after`` still pass, then ``times`` fail, with 0 all.

        ``on`` is "open", "read" or "write"; ``errno`` a number or its name.
        """
        self.control.inject(
            path, on, errorcode.get(errno, str(errno)) if isinstance(errno, int) else errno, after=after, times=times
        )

    def heal(self, path: str) -> None:
        """End every fault on a file of ``/sys``."""
        self.control.heal(path)

    @contextmanager
    def held(self) -> Iterator[Self]:
        """Do several things in one step, or anything while time runs or a program reads: nobody looks meanwhile.

        What has gone or come in the tree is known to everybody at the end.  No file of a mount may be touched inside,
        which would wait for ever.
        """
        try:
            with self.live.held():
                yield self
        finally:
            self._tell_everybody()

    @contextmanager
    def watched(self, changed: Callable[[], None]) -> Iterator[None]:
        """Call ``changed`` after each step and order, for who shows the machine."""
        self._watchers.append(changed)
        try:
            self._tell_everybody()
            yield
        finally:
            self._watchers.remove(changed)

    def _advance(self, seconds: int | Fraction | Decimal, nanoseconds: int) -> None:
        try:
            self.live.advance(seconds, nanoseconds=nanoseconds)
        finally:
            self._tell_everybody()

    def _tell_everybody(self) -> None:
        with self.live.held() as machine:
            give_to_caller(machine)
        for changed in self._watchers:
            changed()
        missed = [] if self.live.events is None else self.live.events.missed
        lines, self._missed = missed[self._missed :], len(missed)
        for line in lines:
            warnings.warn(line, stacklevel=4)
