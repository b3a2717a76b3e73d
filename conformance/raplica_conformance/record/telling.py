# SPDX-License-Identifier: Apache-2.0
"""What a person is told of a recording: what is in it, what was refused, what was left out."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Iterator

from raplica_fixtures.recording import Capture, CounterFacts, Entry, Recording

__all__ = ["told"]

_MOST_KINDS = 4
_WHY = {
    errno.ENOENT: "no msr device: modprobe msr",
    errno.ENODEV: "none is known of this processor",
    errno.EACCES: "the msr device is root's",
    errno.EPERM: "the msr device wants CAP_SYS_RAWIO, and no lockdown",
}


def told(recording: Recording) -> tuple[str, ...]:
    """A line each. TypeError for a recording that no running machine was recorded in."""
    if recording.capture is None:
        raise TypeError("only a recording of a running machine tells of one")
    return tuple(_told(recording, recording.capture))


def _told(recording: Recording, capture: Capture) -> Iterator[str]:
    yield f"{recording.what}, Linux {recording.kernel_full}"
    yield f"tree: {len(recording.tree)} entries{_failed(recording)}"
    if words := sum(map(len, recording.registers.values())):
        dies = len(recording.registers)
        yield f"registers: {words} on {dies} die{'' if dies == 1 else 's'}"
    elif capture.msr_errno == 0:
        yield "registers: none (each one faults)"
    else:
        yield f"registers: none ({_WHY.get(capture.msr_errno, _name(capture.msr_errno))})"
    for facts in capture.counters:
        yield f"{facts.path.split('/')[-2]}: {_measured(facts)}"
    yield from (f"{hint.source}: {hint.text}" for hint in capture.hints)
    if capture.left_out:
        yield f"left out: {'; '.join(capture.left_out)}"
    if capture.identity:
        yield f"kept because of --no-redact: {', '.join(capture.identity)}"


def _failed(recording: Recording) -> str:
    """How many paths could not be read, by name and errno."""
    kinds = Counter(
        f"{path.rpartition('/')[2]} {_name(number)}"
        for path, entry in recording.tree.items()
        if (number := _errno(entry)) is not None
    )
    if not kinds:
        return ""
    listed = ", ".join(f"{count} {what}" for what, count in kinds.most_common(_MOST_KINDS))
    return f", of which {kinds.total()} did not read ({listed}{' and others' if len(kinds) > _MOST_KINDS else ''})"


def _errno(entry: Entry) -> int | None:
    if entry.read is None:
        return entry.errno
    return entry.read.open_errno if entry.read.errno is None else entry.read.errno


def _name(number: int) -> str:
    return errno.errorcode.get(number, str(number))


def _measured(facts: CounterFacts) -> str:
    if facts.interval_ns is None or facts.smallest_step_uj is None:
        return f"{facts.changes} changes in {facts.reads} reads: too few to tell an interval"
    unit = f"a unit of {facts.unit_nj} nJ explains all" if facts.unit_nj else "no known unit explains all"
    return (
        f"a change every {facts.interval_ns / 1e6:.3f} ms (median of {facts.changes}, read every "
        f"{facts.read_gap_ns / 1e6:.3f} ms), the least {facts.smallest_step_uj} uJ; {unit}"
    )
