# SPDX-License-Identifier: Apache-2.0
"""What `raplica generate` does: bring a machine to a moment, write it out, say in one line what came of it.

Here and not among the surfaces, because what belongs to a command only (a terminal that must not get an archive, a
signal that must not leave half a tree) is no business of a program that writes a tree itself.
"""

import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from types import FrameType

from raplica_simulator.clock import VirtualClock
from raplica_simulator.machine import Machine
from raplica_simulator.surfaces import Refused, Written, stream_archive, write_archive, write_tree

__all__ = ["generate"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def generate(machine: Machine, at_s: Fraction, out: str, *, tar: bool, force: bool) -> list[str]:
    """Write the machine as it is ``at_s`` seconds after power-on to ``out``, and return what to tell, a line each.

    ``out`` is a folder, or for ``tar`` a file, with ``-`` for stdout.  Raises as the surfaces do, and Refused for a
    stdout that is a terminal.  SIGINT raises KeyboardInterrupt and SIGTERM and SIGHUP raise SystemExit, once: what is
    half done is then deleted undisturbed.  TypeError for a machine whose clock follows the host's.
    """
    clock = machine.clock
    if not isinstance(clock, VirtualClock):
        raise TypeError("this machine's time goes by itself: only one on a VirtualClock can be brought to a moment")
    # A driver that watched the counters for a while has moved it already.
    clock.advance(seconds=max(at_s - Fraction(clock.now_ns, 1_000_000_000), Fraction(0)))
    with _undisturbed_cleaning():
        if not tar:
            written = write_tree(machine, out, force=force)
        elif out != "-":
            written = write_archive(machine, out, force=force)
        elif sys.stdout is None or sys.stdout.isatty():
            raise Refused("OUT is - and stdout is a terminal: redirect it to a file or a program")
        else:
            written = stream_archive(machine, sys.stdout.buffer)
    return list(_told(machine, at_s, "stdout" if tar and out == "-" else out, written))


def _told(machine: Machine, at_s: Fraction, out: str, written: Written) -> Iterator[str]:
    yield from (f"warning: {warning}" for warning in machine.warnings)
    moment = f"{machine.profile.id} at {_decimal(at_s)} s"
    if not written.attributes:
        yield f"{out} is a snapshot of {moment}: no driver finds zones there, class/powercap is empty"
    else:
        yield f"{out} is a snapshot of {moment}: {written.attributes} attributes{_empty(written)}"
    if written.strangers:
        count = len(written.strangers)
        more = f" and {count - 1} more" if count > 1 else ""
        yield f"{written.strangers[0]}{more} left as it was: this machine has no such thing"


def _empty(written: Written) -> str:
    """How many attributes could not be read, by name and errno."""
    if not written.unreadable:
        return ""
    kinds = Counter(f"{one.path.rpartition('/')[2]} {one.errno}" for one in written.unreadable)
    listed = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(4))
    more = "" if len(kinds) <= 4 else " and others"
    return f", of which {len(written.unreadable)} could not be read and are empty ({listed}{more})"


def _decimal(number: Fraction) -> str:
    """A number that was read from a decimal, as one again."""
    places = 0
    while (number * 10**places).denominator != 1:
        places += 1
    digits = str((number * 10**places).numerator).rjust(places + 1, "0")
    return f"{digits[:-places]}.{digits[-places:]}" if places else digits


@contextmanager
def _undisturbed_cleaning() -> Iterator[None]:
    """Let the first of the signals that end a program raise, and ignore those that follow while it cleans up."""

    def stop(number: int, _frame: FrameType | None) -> None:
        for one in _SIGNALS:
            signal.signal(one, signal.SIG_IGN)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)

    before = {one: signal.getsignal(one) for one in _SIGNALS}
    # Who started us with a signal ignored (nohup) means it.
    caught = [one for one in _SIGNALS if before[one] != signal.SIG_IGN]
    try:
        for one in caught:
            signal.signal(one, stop)
        yield
    finally:
        for one in caught:
            signal.signal(one, before[one])
