# SPDX-License-Identifier: Apache-2.0
"""From a running machine to a recording: look at everything once, check it, write it whole or not at all."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from raplica_conformance.record import counters, surroundings
from raplica_conformance.record.places import Places, one_line, read_text
from raplica_conformance.record.processors import Processors, read_processors
from raplica_conformance.record.redaction import redacted
from raplica_conformance.record.registers import read_registers, settle
from raplica_conformance.record.tree import Opener, has_powercap, walk
from raplica_conformance.subjects.real import RealMachine
from raplica_fixtures.recording import (
    POWERCAP_ROOTS,
    Capture,
    CounterFacts,
    Entry,
    Recording,
    dump_recording,
    from_json,
    to_json,
)
from raplica_fixtures.recording_files import to_text

__all__ = ["Bar", "NothingToRecordError", "Wishes", "record", "save"]

#: Shows how far something is: called with its name, gives a function that takes the part that is done, 0 to 1.
Bar = Callable[[str], AbstractContextManager[Callable[[float], None]]]

_VERSION = re.compile(r"([0-9]{1,3})\.([0-9]{1,4})(?:\.([0-9]{1,5}))?")


class NothingToRecordError(Exception):
    """There is no powercap here: one line that says where it was looked for."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What somebody wants recorded: `kernel` where it is not the running one, seconds to watch counters, names too.

    `version` is that of a program of which Python knows no version.
    """

    kernel: str | None = None
    load_seconds: float = 0.0
    redact: bool = True
    version: str | None = None


def record(places: Places, wishes: Wishes, bar: Bar) -> Recording:
    """Record the machine at these places. NothingToRecordError without powercap, ValueError for a wrong kernel."""
    kernel, full = _kernel(wishes.kernel or platform.release())
    if not has_powercap(places.sys):
        raise NothingToRecordError(
            f"no {places.sys}/class/powercap here: nothing to record (a kernel without powercap or RAPL's modules, a "
            "container that hides it, or not the root of a sysfs)"
        )
    tree = _tree(places.sys, bar)
    processors = read_processors(places, [_content(entry) for path, entry in tree.items() if path.endswith("/name")])
    table, msr_errno = read_registers(places.dev, processors)
    tree, table = settle(tree, table, places.sys, places.dev, processors)
    watched: tuple[CounterFacts, ...] = ()
    if wishes.load_seconds > 0:
        with bar(f"watching the counters for {wishes.load_seconds:g} s") as moved:
            watched = counters.sample(places.sys, tree, wishes.load_seconds, moved)
    capture = Capture(
        program=_program(wishes.version),
        uid=os.geteuid(),
        capabilities=surroundings.capabilities(Path("/proc")),
        msr_errno=msr_errno,
        cpu_name=processors.name,
        cpu_flags=processors.flags,
        cpus=processors.online,
        filesystem=surroundings.filesystem(
            places.sys / POWERCAP_ROOTS[0], read_text(Path("/proc/self/mountinfo"), lines=True)
        ),
        modules=surroundings.modules(places),
        hints=surroundings.hints(places, os.environ) if places.own else (),
        firmware=surroundings.firmware(places),
        left_out=(*processors.notes, *_notes(places, wishes)),
        counters=watched,
    )
    recording = _assemble(processors, kernel, full, table, tree)
    if places.own:
        recording = replace(recording, kernel_release=platform.release(), kernel_build=one_line(platform.version()))
    identity = surroundings.identity(places)
    if capture.is_of_a_copy:
        capture = replace(capture, left_out=(*capture.left_out, "sizes, order and errors: plain files were recorded"))
    if wishes.redact:
        recording, capture = redacted(recording, capture, identity)
    else:
        capture = replace(capture, identity=identity)
    # The same document that a reader will check: a mistake of ours must not become somebody's file.
    return from_json(to_json(replace(recording, capture=capture)))


def _tree(root: Path, bar: Bar) -> dict[str, Entry]:
    with ExitStack() as held, bar("reading the tree") as moved:
        paths = 0

        def each(_path: str) -> None:
            nonlocal paths
            paths += 1
            # How many there are is known only at the end; the bar comes ever nearer to it.
            moved(1 - 100 / (100 + paths))

        return walk(root, _opener(root, held), each)


def _content(entry: Entry) -> bytes:
    return (entry.read.content or b"") if entry.read is not None else b""


def _assemble(
    processors: Processors, kernel: str, full: str, table: dict[int, dict[int, int]], tree: dict[str, Entry]
) -> Recording:
    cpu = processors.cpu
    maker = re.sub(r"[^A-Za-z0-9]+", "", cpu.vendor).lower()[:12] or "unknown"
    packages = processors.topology.packages
    return Recording(
        machine=f"{maker}-{cpu.family}-{cpu.model}-{cpu.stepping}-{packages}p",
        what=f"{processors.name or f'{cpu.vendor} family {cpu.family} model {cpu.model}'}, {packages} package"
        f"{'' if packages == 1 else 's'}, recorded from a running system",
        kernel=kernel,
        kernel_full=full,
        kernel_release=full,
        kernel_build="",
        recorded=datetime.now(UTC).date().isoformat(),
        cpu=cpu,
        topology=processors.topology,
        registers=table,
        tree=tree,
        steps=(),
    )


def _kernel(release: str) -> tuple[str, str]:
    """Series and version of a release: ("6.12", "6.12.117") of 6.12.117-amd64."""
    found = _VERSION.match(release)
    if found is None:
        raise ValueError(f"{one_line(release)!r} is no kernel version; name it with --kernel, like 6.12")
    return f"{found[1]}.{found[2]}", found[0]


def _notes(places: Places, wishes: Wishes) -> Iterator[str]:
    if not places.own and wishes.kernel is None:
        yield "the kernel of this tree: that of the recording host stands for it; name another one with --kernel"
    if os.geteuid() != 0:
        yield "what only root may read"


def _opener(root: Path, held: ExitStack) -> Opener:
    """Asks as an unprivileged user; root alone can become one."""
    if os.geteuid() != 0:
        return lambda _path: None
    machine = RealMachine(str(root))
    held.callback(machine.close)

    def ask(path: str) -> int | None:
        try:
            return machine.open_errno(path, "r", "nobody")
        except OSError:
            # Nobody can become nobody here: a container without CAP_SETUID, a user namespace of one user.
            return None

    return ask


def _program(version: str | None) -> str:
    from importlib import metadata

    try:
        return f"conformance record (raplica {version or metadata.version('raplica')})"
    except metadata.PackageNotFoundError:
        return "conformance record"


def save(recording: Recording, out: str) -> int:
    """Write a recording to a file, or `-` for stdout; the bytes it has. RecordingError for another ending, OSError."""
    if out == "-":
        text = to_text(recording)
        sys.stdout.write(text)
        sys.stdout.flush()
        return len(text)
    dump_recording(recording, out)
    return Path(out).stat().st_size
