# SPDX-License-Identifier: Apache-2.0
"""Readers that make a mistake where something cannot be read: a number of an error, or an end of all."""

import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import replace

from raplica_mutants.books import Books, Interval, Line
from raplica_mutants.gauge import Between, behind
from raplica_mutants.right import TOTAL, Reading, Right, RightMsr, Tree
from raplica_reader.files import errno_name
from raplica_reader.meter import Delta, Meter
from raplica_reader.powercap import CLASS
from raplica_reader.step import RESET, Step
from raplica_reader.zone import Gauge, Handle, Zone

__all__ = [
    "BaselineIsZero",
    "BaselineLost",
    "ErrorIsZero",
    "ErrorIsZeroCount",
    "ErrorLeftOut",
    "EstimateForError",
    "LastValueRepeated",
    "MaskedEndsProgram",
    "NoDataEndsZone",
    "NoRangeEndsDiscovery",
    "NoZonesIsZero",
    "OneErrorEndsAll",
    "RefusalEndsProgram",
    "RegisterErrorIsZero",
    "RegisterFaultEndsProgram",
    "RegistersOfGuestAreZero",
    "StaysBroken",
    "UnexpectedErrnoEndsProgram",
]

ESTIMATE_W = 42


class _ZeroCount(Between):
    """A counter that shows 0 where it cannot be read."""

    def open(self) -> Handle:
        try:
            return super().open()
        except OSError:
            return Handle(lambda: b"0\n", None)

    def read(self, read: Callable[[], bytes]) -> bytes:
        try:
            return read()
        except OSError:
            return b"0\n"

    def check(self) -> None:
        """Nothing has ever failed."""


class ErrorIsZeroCount(Right):
    """Takes 0 for the count where reading fails: that looks like a wrap, and the next count like another."""

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """Zones that never fail."""
        return behind(_ZeroCount, zones)

    def meter(self) -> Meter:
        """Books that take a fall to 0 for a wrap."""

        def trusting(it: Interval, right: Step) -> Step:
            return Step(it.back + it.period, None) if right.error == RESET and it.after == 0 else right

        return Books(trusting)


class _Zero(Right):
    """A reader that says 0 J where reading failed."""

    def say(self, delta: Delta) -> Reading:
        right = super().say(delta)
        return Reading(0) if right.status == "error" else right

    def added(self, deltas: Sequence[Delta]) -> dict[str, Reading]:
        zeros = (replace(delta, energy_nj=0, error=None) if delta.status == "error" else delta for delta in deltas)
        return super().added(list(zeros))


class ErrorIsZero(_Zero):
    """Says 0 J, and no word, of a zone that cannot be read."""


class RegisterErrorIsZero(RightMsr, _Zero):
    """Says 0 J, and no word, of a register that faults."""


class EstimateForError(Right):
    """Makes up joules from a constant power where it may not read the counter, and says nothing."""

    def say(self, delta: Delta) -> Reading:
        """The watts that a table has for the processor, times the time."""
        right = super().say(delta)
        return Reading(ESTIMATE_W * delta.duration_ns // 1000) if right.error == "EACCES" else right

    def added(self, deltas: Sequence[Delta]) -> dict[str, Reading]:
        """As for a zone."""
        if any(delta.error == "EACCES" for delta in deltas):
            return {TOTAL: Reading(ESTIMATE_W * max(delta.duration_ns for delta in deltas) // 1000)}
        return super().added(deltas)


class LastValueRepeated(Right):
    """Repeats what it knew last of a zone that cannot be read."""

    def meter(self) -> Meter:
        """Books that overlook errors once they know something."""

        class Repeating(Books):
            def told(self, line: Line, duration_ns: int) -> Delta:
                if line.trouble is None and line.last is not None:
                    line.latest_error = None
                return super().told(line, duration_ns)

        return Repeating()


class BaselineLost(Right):
    """Forgets its baseline when a reading fails, so that the interval up to the next good one is lost."""

    def meter(self) -> Meter:
        """Books that begin again after an error."""

        class Forgetting(Books):
            def failed(self, line: Line) -> None:
                line.last = None

        return Forgetting()


class BaselineIsZero(Right):
    """Begins again at 0 after a reading that failed: the whole counter is the energy of one interval."""

    def meter(self) -> Meter:
        """Books whose baseline falls to 0."""

        class FromZero(Books):
            def failed(self, line: Line) -> None:
                line.last = 0

        return FromZero()


class StaysBroken(Right):
    """Keeps the descriptor of a zone for ever: once it has failed it fails until the end."""

    def __init__(self, tree: Tree, clock: Callable[[], int]) -> None:
        self.broken: dict[Gauge, int] = {}
        super().__init__(tree, clock)

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """Zones that remember their first failure."""
        broken = self.broken

        class Kept(Between):
            def read(self, read: Callable[[], bytes]) -> bytes:
                if self.gauge in broken:
                    raise OSError(broken[self.gauge], os.strerror(broken[self.gauge]))
                try:
                    return read()
                except OSError as error:
                    broken[self.gauge] = error.errno or errno.EIO
                    raise

        return behind(Kept, zones)


class OneErrorEndsAll(Right):
    """Gives up all zones where one of them cannot be read."""

    def answer(self) -> dict[str, Reading]:
        """All or nothing."""
        right = super().answer()
        failed = next((reading for reading in right.values() if reading.status == "error"), None)
        return right if failed is None else dict.fromkeys(right, failed)


class ErrorLeftOut(Right):
    """Says nothing of a zone that cannot be read, and calls that a success."""

    def answer(self) -> dict[str, Reading]:
        """What has a number."""
        return {path: reading for path, reading in super().answer().items() if reading.energy_uj is not None}


class _Ends(Right):
    """A reader that ends at some errors."""

    fatal: frozenset[int] = frozenset()

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """Zones that raise what nobody catches."""
        fatal = self.fatal

        class Fatal(Between):
            def read(self, read: Callable[[], bytes]) -> bytes:
                try:
                    return read()
                except OSError as error:
                    if error.errno in fatal:
                        raise RuntimeError(f"[{errno_name(error)}] energy_uj") from error
                    raise

        return behind(Fatal, zones)


class RefusalEndsProgram(_Ends):
    """Knows that a counter may be missing, and ends with a traceback where it may not be read."""

    fatal = frozenset({errno.EACCES, errno.EPERM})


class UnexpectedErrnoEndsProgram(_Ends):
    """Knows EACCES and ENOENT, and ends at what powercap makes of a register that faults: EINVAL."""

    fatal = frozenset({errno.EINVAL, errno.EIO, errno.ENODATA})


class RegisterFaultEndsProgram(RightMsr, _Ends):
    """Ends where a register faults, which is EIO from the device."""

    fatal = frozenset({errno.EIO})


class MaskedEndsProgram(_Ends):
    """Believes that what the class lists is there, and ends where a container hides it."""

    fatal = frozenset({errno.ENOENT, errno.ENODEV})


class NoZonesIsZero(Right):
    """Says 0 J of a machine that has no zones."""

    def total(self, deltas: Sequence[Delta]) -> dict[str, Reading]:
        """A sum of nothing."""
        return super().total(deltas) or {TOTAL: Reading(0)}


class RegistersOfGuestAreZero(RightMsr, NoZonesIsZero):
    """Says 0 J of a virtual machine whose registers read 0."""


class NoRangeEndsDiscovery(Right):
    """Gives up all zones where one has no `max_energy_range_uj` that can be read."""

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """All or nothing."""
        return () if any(zone.has_energy and zone.max_energy_range_uj is None for zone in zones) else zones


class NoDataEndsZone(Right):
    """Reads the constraints of every zone, and leaves out a zone of which one cannot be read (ENODATA is usual)."""

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """Those whose constraints all have data."""
        return tuple(zone for zone in zones if self._is_readable(zone))

    def _is_readable(self, zone: Zone) -> bool:
        try:
            for entry in self.tree.listdir(f"{CLASS}/{zone.id}"):
                if entry.startswith("constraint_"):
                    self.tree.read(f"{CLASS}/{zone.id}/{entry}")
        except OSError:
            return False
        return True
