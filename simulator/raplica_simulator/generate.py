# SPDX-License-Identifier: Apache-2.0
"""What `raplica generate` does: bring a machine to a moment, write it out, say in one line what came of it.

Here and not among the surfaces, because what belongs to a command only (a terminal that must not get an archive, a
signal that must not leave half a tree) is no business of a program that writes a tree itself.
"""

import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from types import FrameType
from typing import IO

from raplica_simulator.clock import VirtualClock
from raplica_simulator.machine import Machine
from raplica_simulator.surfaces import Refused, Selection, Written, stream_archive, write_archive, write_tree
from raplica_simulator.surfaces.archive import WriteSnapshot, write_tar
from raplica_simulator.surfaces.target import shown

__all__ = ["FORMATS", "Wanted", "generate"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Each format with the name of such a file, to suggest one.
FORMATS = {
    "tree": "sys",
    "tar": "machine.tar",
    "ttar": "machine.ttar",
    "umockdev": "machine.umockdev",
    "recording": "machine.json",
    "zip": "machine.zip",
}
_TAKE_PREFIX = ("tar", "ttar", "zip")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody wants written.

    Attributes:
        kind: one of `FORMATS`.
        selection: which zones and attributes, in which layout.
        prefix: a relative path to put before every path in an archive.

    ValueError, one line, for what does not fit together.
    """

    kind: str = "tree"
    selection: Selection = field(default_factory=Selection)
    prefix: str = ""

    def __post_init__(self) -> None:
        if self.kind == "umockdev" and self.selection.layout != "sys":
            raise ValueError(f"--layout {self.selection.layout}: umockdev lays its devices out itself: leave it out")
        if self.kind == "recording" and self.selection != Selection():
            raise ValueError(
                "a recording is the whole machine: leave --layout, --zones and --attributes out, or name another format"
            )
        if self.prefix and self.kind not in _TAKE_PREFIX:
            raise ValueError(f"--prefix is for {', '.join(_TAKE_PREFIX)}: leave it out of --format {self.kind}")
        parts = self.prefix.split("/") if self.prefix else ()
        if any(part in ("", ".", "..") or not part.isprintable() for part in parts):
            raise ValueError(f"--prefix '{shown(self.prefix)}' is no relative path: write it like fixtures/sys")


_WHOLE_TREE = Wanted()


def generate(
    machine: Machine, at_s: Fraction, out: str, wanted: Wanted = _WHOLE_TREE, *, force: bool = False
) -> list[str]:
    """Write the machine as it is ``at_s`` seconds after power-on to ``out``, and return what to tell, a line each.

    ``out`` is a folder for a tree, else a file, with ``-`` for stdout.  Raises as the surfaces do, and Refused for a
    stdout that is a terminal and a recording that no command would take for one.  SIGINT raises KeyboardInterrupt and
    SIGTERM and SIGHUP raise SystemExit, once: what is half done is then deleted undisturbed.  TypeError for a machine
    whose clock follows the host's.
    """
    clock = machine.clock
    if not isinstance(clock, VirtualClock):
        raise TypeError("this machine's time goes by itself: only one on a VirtualClock can be brought to a moment")
    if wanted.kind == "recording" and out != "-" and not out.endswith(".json"):
        raise Refused(f"{shown(out)}: a recording is known by its ending: name a file that ends in .json")
    # A driver that watched the counters for a while has moved it already.
    clock.advance(seconds=max(at_s - Fraction(clock.now_ns, 1_000_000_000), Fraction(0)))
    selection = wanted.selection
    with _undisturbed_cleaning():
        if wanted.kind == "tree":
            written = write_tree(machine, out, selection=selection, force=force)
        elif out != "-":
            write, example = _writer(machine, at_s, wanted), FORMATS[wanted.kind]
            written = write_archive(machine, out, write=write, selection=selection, example=example, force=force)
        elif sys.stdout is None or sys.stdout.isatty():
            raise Refused("OUT is - and stdout is a terminal: redirect it to a file or a program")
        else:
            written = stream_archive(
                machine, sys.stdout.buffer, write=_writer(machine, at_s, wanted), selection=selection
            )
    return list(_told(machine, at_s, "stdout" if wanted.kind != "tree" and out == "-" else out, wanted.kind, written))


def _writer(machine: Machine, at_s: Fraction, wanted: Wanted) -> WriteSnapshot:
    """What writes a snapshot of the machine to a stream in the format that is wanted."""
    # Here and not above: whoever wants one format does not pay for the others, least of all a tree for JSON schemas.
    if wanted.kind == "tar":
        return lambda snapshot, stream: write_tar(snapshot, stream, wanted.prefix)
    if wanted.kind == "ttar":
        from raplica_simulator.surfaces.ttar import pack_ttar

        title = f"raplica generate {machine.profile.id} --at {_decimal(at_s)}"
        return lambda snapshot, stream: _put(stream, pack_ttar(snapshot, wanted.prefix, title))
    if wanted.kind == "umockdev":
        from raplica_simulator.surfaces.umockdev import pack_umockdev

        return lambda snapshot, stream: _put(stream, pack_umockdev(snapshot))
    if wanted.kind == "zip":
        from raplica_simulator.surfaces.safe_zip import pack_zip

        return lambda snapshot, stream: _put(stream, pack_zip(snapshot, wanted.prefix))
    from raplica_simulator.surfaces.recording_out import pack_recording

    return lambda _, stream: _put(stream, pack_recording(machine))


def _put(stream: IO[bytes], content: bytes) -> None:
    stream.write(content)


def _told(machine: Machine, at_s: Fraction, out: str, kind: str, written: Written) -> Iterator[str]:
    yield from (f"warning: {warning}" for warning in machine.warnings)
    moment = f"{machine.profile.id} at {_decimal(at_s)} s"
    lost = _lost(machine, kind, written)
    if not written.attributes:
        yield f"{out} is a snapshot of {moment}: no driver finds zones there, class/powercap is empty"
    else:
        files = f"{written.attributes} attribute{'' if written.attributes == 1 else 's'}"
        yield f"{out} is a snapshot of {moment}: {files}{_empty(written, kind)}{lost}"
    if written.strangers:
        count = len(written.strangers)
        more = f" and {count - 1} more" if count > 1 else ""
        yield f"{written.strangers[0]}{more} left as it was: this machine has no such thing"


def _lost(machine: Machine, kind: str, written: Written) -> str:
    """What the machine shows and the format does not hold."""
    errno = ["errno"] if written.unreadable else []
    if kind == "recording":
        from raplica_simulator.surfaces.recording_out import forgotten_by_replay

        gone = forgotten_by_replay(machine)
        return f"; replayed as a MACHINE it lacks {', '.join(gone)}" if gone else ""
    if kind == "zip":
        from raplica_simulator.surfaces.safe_zip import MANIFEST

        return f"; names are percent-encoded; modes, links, folders and errno stand in {MANIFEST}; it keeps no owner"
    lost = {
        # Files belong to who writes them.
        "tree": [*errno, *(["owner"] if os.geteuid() else [])],
        "tar": errno,
        "ttar": [*errno, "owner"],
        "umockdev": [*errno, "mode", "owner", "uevent"],
    }[kind]
    return f"; a {kind} keeps no {', no '.join(lost)}" if lost else ""


def _empty(written: Written, kind: str) -> str:
    """How many attributes could not be read, by name and errno."""
    if not written.unreadable:
        return ""
    kinds = Counter(f"{one.path.rpartition('/')[2]} {one.errno}" for one in written.unreadable)
    listed = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(4))
    more = "" if len(kinds) <= 4 else " and others"
    are_empty = "" if kind == "recording" else " and are empty"
    return f", of which {len(written.unreadable)} could not be read{are_empty} ({listed}{more})"


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
