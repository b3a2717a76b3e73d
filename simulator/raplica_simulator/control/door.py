# SPDX-License-Identifier: Apache-2.0
"""The control door of a running machine: its time, what happens to it, the truth, and who read what.

What ``raplica ctl`` says to a mount or to exec, a program says to this object.  Every order is one step that no reader
sees half done, and what has gone or come in the tree is known to everybody when it ends.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from decimal import Decimal
from errno import errorcode
from fractions import Fraction
from typing import NamedTuple

from raplica_simulator.clock import exact
from raplica_simulator.counters import counters_of
from raplica_simulator.faults.verbs import Event, read_event
from raplica_simulator.hardware.words import WordSpace
from raplica_simulator.live.clock import LiveClock
from raplica_simulator.live.machine import LiveMachine
from raplica_simulator.live.measured import ZonePlace, domains, truth_uj, zones
from raplica_simulator.live.read_log import Call
from raplica_simulator.machine import Machine

__all__ = ["Control", "CounterValue", "DomainTruth", "Energies", "LogPage", "Status", "ZoneEnergy"]

Number = int | Fraction | Decimal
_NS_PER_S = 10**9
_LONGEST_S = 10**12
_FASTEST = 10**9


class Status(NamedTuple):
    """How a machine is: what it is, its time, whether and how fast that runs, and what is logged."""

    machine: str
    kernel: str
    now_ns: int
    running: bool
    speed: Fraction
    log_on: bool
    log_last: int


class CounterValue(NamedTuple):
    """What an energy register holds: "msr", "mmio" or "tpmi", processor or package, address, the whole word."""

    space: str
    owner: int
    register: int
    raw: int


class DomainTruth(NamedTuple):
    """What a domain has really spent, in whole microjoules, and the registers that count it."""

    domain: str
    truth_uj: int
    counters: list[CounterValue]


class Energies(NamedTuple):
    """What some domains had really spent at one moment, in whole microjoules, in the order in which they were named."""

    now_ns: int
    truths_uj: list[int]


class ZoneEnergy(NamedTuple):
    """What a zone shows: its id, its names, ``energy_uj`` or the error that is in its place, and the truth."""

    id: str
    path: str
    energy_uj: int | None
    error: str | None
    truth_uj: int | None


class LogPage(NamedTuple):
    """Calls, oldest first; the number of the newest there is, and how many were let go for want of room."""

    calls: list[Call]
    last: int
    dropped: int


class Control:
    """A running machine's control door; any thread, one order at a time.

    Orders raise ValueError or TypeError in one line for what makes no sense on this machine, and OSError with the
    kernel's errno for what the machine itself refuses, such as taking down the last processor.
    """

    def __init__(
        self,
        live: LiveMachine,
        changed: Callable[[], None] = lambda: None,
        *,
        end: Callable[[], None] | None = None,
    ) -> None:
        """``changed`` lets those who show the machine find out what has gone or come; ``end`` asks it all to end."""
        self._live = live
        self._changed = changed
        self._end = end

    # Time.

    def advance(self, seconds: Number) -> None:
        """Move time forward, whether it stands or runs; all that becomes due on the way is done at its moment."""
        step_s = exact(seconds, "seconds")
        if not 0 <= step_s <= _LONGEST_S:
            raise ValueError(f"seconds is {_short(step_s)}: give 0 to {_LONGEST_S}, time only moves forward")
        if (step_s * _NS_PER_S).denominator != 1:
            raise ValueError(f"seconds is {_short(step_s)}, finer than a nanosecond: give at most nine decimals")
        with self._ordered():
            self._live.advance(step_s)

    def pause(self) -> None:
        """Let time stand: from now on it moves only when it is told to."""
        with self._ordered() as machine:
            _clock(machine).stop()

    def run(self) -> None:
        """Let time run from where it stands."""
        with self._ordered() as machine:
            _clock(machine).start()

    def set_speed(self, speed: Number) -> None:
        """Let so many seconds of the machine go by in one of the host, at once or when time is next let run."""
        rate = exact(speed, "speed")
        if not 0 < rate <= _FASTEST:
            raise ValueError(f"speed is {_short(rate)}: it must be above 0 and at most {_FASTEST}")
        with self._ordered() as machine:
            _clock(machine).set_speed(rate)

    # What happens to the machine.

    def do(self, event: Event | Mapping[str, object]) -> None:
        """Let something happen now: an event, or the table that says it, as in a scenario; see :func:`.read_event`."""
        happens = event if isinstance(event, Event) else read_event(event)
        with self._ordered() as machine:
            happens.check(machine)
            happens.do(machine, self._live.msr_module)

    def wrap(self, domain: str, in_s: Number = 1) -> None:
        """Set the counters of a domain so that they wrap so many seconds from now, at the draw of this moment."""
        self.do({"do": "wrap", "domain": domain, "in_s": _decimal(exact(in_s, "in_s"))})

    def inject(self, path: str, on: str = "read", errno: str = "EIO", *, after: int = 0, times: int = 0) -> None:
        """Let calls on a file of ``/sys`` fail: ``after`` still pass, then ``times`` fail, with 0 all."""
        count = {"times": times} if times else {}
        self.do({"do": "fault", "path": path, "on": on, "errno": errno, "after": after, **count})

    def heal(self, path: str) -> None:
        """End every fault on a file of ``/sys``."""
        self.do({"do": "heal", "path": path})

    def set_load(self, watts: Mapping[str, int | Decimal], on_package: int | None = None) -> None:
        """Let domains want other watts, in every package or in one, until the load plan says something else."""
        where = {} if on_package is None else {"on_package": on_package}
        self.do({"do": "load", **watts, **where})

    def set_cpu(self, number: int, *, online: bool) -> None:
        """Take a processor down, or bring it up."""
        self.do({"do": "online" if online else "offline", "cpu": number})

    # Looking.

    def names(self) -> tuple[str, str]:
        """The machine and its kernel: they never change, so nobody is waited for."""
        machine = self._live.machine
        return machine.profile.id, machine.kernel.version

    def status(self) -> Status:
        """How it is."""
        with self._still() as machine:
            clock, log = machine.clock, self._live.log
            running, speed = (clock.running, clock.speed) if isinstance(clock, LiveClock) else (False, 0)
            return Status(*self.names(), clock.now_ns, running, Fraction(speed), log.on, log.last)

    def truth(self, domain: str | None = None) -> list[DomainTruth]:
        """What every domain that a register or a zone counts has spent, or the one of that name; all at one moment."""
        with self._still() as machine:
            names = domains(machine) if domain is None else [domain]
            return [DomainTruth(name, machine.truth_uj(name), _counters(machine, name)) for name in names]

    def energies(self, names: Iterable[str]) -> Energies:
        """What domains have spent, named as :meth:`.Machine.truth_uj` has them, and when that was."""
        with self._still() as machine:
            return Energies(machine.clock.now_ns, [machine.truth_uj(name) for name in names])

    def zones(self) -> list[ZoneEnergy]:
        """Every zone in the tree and its energy, past injected faults, which go on waiting for a program."""
        with self._still() as machine:
            return [_zone(machine, zone) for zone in zones(machine)]

    # The log.

    def log(self, since: int = 0, most: int | None = None) -> LogPage:
        """The calls that were written down after number ``since``, at most so many."""
        with self._live.held():
            log = self._live.log
            return LogPage(log.since(since, most), log.last, log.dropped)

    def switch_log(self, *, on: bool, with_truth: bool = True) -> None:
        """Begin to write down who reads what, or end it; ``with_truth`` adds what was spent at that moment."""
        with self._live.held():
            self._live.log.switch(on=on, with_truth=with_truth)

    def clear_log(self) -> None:
        """Forget the calls written down so far; their numbers are not given again."""
        with self._live.held():
            self._live.log.clear()

    # The end.

    def end(self) -> None:
        """Ask whoever shows the machine to end, cleanly and soon.  ValueError where nobody can be asked."""
        if self._end is None:
            raise ValueError("this machine cannot be ended from here: end the program that shows it")
        self._end()

    @contextmanager
    def _ordered(self) -> Iterator[Machine]:
        """One step; also when it fails half way, what has changed is told."""
        try:
            with self._live.held() as machine:
                yield machine
        finally:
            self._changed()

    @contextmanager
    def _still(self) -> Iterator[Machine]:
        """A look at one moment, however long it takes."""
        with self._live.held() as machine:
            clock = machine.clock
            with clock.held_at(clock.now_ns) if isinstance(clock, LiveClock) else nullcontext():
                yield machine


def _clock(machine: Machine) -> LiveClock:
    if not isinstance(machine.clock, LiveClock):
        raise ValueError("this machine's clock neither runs nor stops: it was made with one of another kind")  # noqa: TRY004
    return machine.clock


def _counters(machine: Machine, domain: str) -> list[CounterValue]:
    try:
        found = counters_of(machine, domain)
    except ValueError:
        return []
    return [
        CounterValue(one.space.name if isinstance(one.space, WordSpace) else "msr", one.owner, one.address, one.content)
        for one in found
    ]


def _zone(machine: Machine, zone: ZonePlace) -> ZoneEnergy:
    energy_uj = error = None
    try:
        energy_uj = zone.energy_uj()
    except OSError as failed:
        error = errorcode.get(failed.errno or 0, str(failed.errno))
    return ZoneEnergy(zone.id, zone.names, energy_uj, error, truth_uj(machine, zone.names))


def _decimal(seconds: Fraction) -> str:
    """Seconds as a decimal number, of which nothing down to a nanosecond is lost."""
    return f"{Decimal(seconds.numerator) / Decimal(seconds.denominator):f}"


def _short(number: Fraction) -> str:
    return str(number) if number.denominator == 1 else f"{float(number):g}"
