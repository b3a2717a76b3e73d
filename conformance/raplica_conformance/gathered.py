# SPDX-License-Identifier: Apache-2.0
"""What a run was asked to judge, and the subjects that somebody brings: a tree, a recording, this machine.

With the standard library alone, so that `plain` refuses what `gather` refuses, in the same words. What needs the
simulator is in `gather`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raplica_conformance.clause import kernel_key
from raplica_conformance.subject import CLASS, DEVICES, exists

__all__ = ["GatherError", "Gathered", "Request", "add_files", "check", "powermetrics"]


class GatherError(ValueError):
    """A subject that cannot be had as it was asked for: one line that says what would be right."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asks to judge; with nothing in it, every built-in machine."""

    machines: Sequence[str] = ()
    kernel: str | None = None
    real: bool = False
    trees: Sequence[str] = ()
    live: bool = False
    recordings: Sequence[str] = ()
    allow_writes: bool = False
    wild_writes: bool = False
    journal: Path | None = None
    powermetrics: Sequence[str] = ()
    windows: Sequence[str] = ()


@dataclass(slots=True)
class Gathered:
    """The subjects in order, and a line for each one asked for that has no powercap to judge."""

    subjects: list[Any] = field(default_factory=list)
    nothing_in: list[str] = field(default_factory=list)

    def add(self, subject: Any) -> None:
        """Take a subject once, however often it was named."""
        if all(subject.name != known.name for known in self.subjects):
            self.subjects.append(subject)

    def close(self) -> None:
        """Let every subject give back what it holds."""
        for subject in self.subjects:
            if hasattr(subject, "close"):
                subject.close()

    @property
    def unrestored(self) -> bool:
        """Whether a subject, once closed, is not as it was before it was judged."""
        return any(getattr(subject, "unrestored", ()) for subject in self.subjects)


def check(request: Request) -> None:
    """Refuse options that say nothing together, and a kernel that is none: GatherError in one line."""
    if request.live and not request.trees:
        raise GatherError("--live says that a tree is live; name the tree with --tree DIR")
    if request.allow_writes and not request.real:
        raise GatherError("--allow-writes is about this machine; name it with --real")
    if request.wild_writes and not request.allow_writes:
        raise GatherError("--wild-writes says how to write; allow that with --allow-writes")
    if request.journal is not None and not request.allow_writes:
        raise GatherError("--journal is kept of what is written; allow that with --allow-writes")
    if request.kernel == "":
        raise GatherError("--kernel is empty; leave it out or name one, like 6.12")
    if request.kernel is not None:
        try:
            kernel_key(request.kernel)
        except ValueError as error:
            raise GatherError(f"--kernel {error}") from error
    if request.kernel and (request.real or request.recordings) and not (request.machines or request.trees):
        told = "--real runs the kernel of this machine" if request.real else "a recording knows its own kernel"
        raise GatherError(f"{told}; leave --kernel out")
    if request.kernel and (request.windows or request.powermetrics) and not (request.machines or request.trees):
        raise GatherError("--kernel is one of Linux, which neither Windows nor macOS has; leave it out")
    for path in request.trees:
        if not Path(path).is_dir():
            raise GatherError(f"--tree {path}: is no directory; name the root of a sysfs, like /sys")


def powermetrics(command: str) -> Any:
    """The subject of --powermetrics."""
    from raplica_conformance.subjects.powermetrics import PowermetricsProgram

    try:
        return PowermetricsProgram(command)
    except ValueError as error:
        raise GatherError(str(error)) from error


def add_files(gathered: Gathered, request: Request) -> None:
    """Add recordings, then trees, then this machine; a place without powercap is not an error but noted."""
    for path in request.recordings:
        _add(gathered, _recording(path), path)
    for path in request.trees:
        from raplica_conformance.subjects.tree import LiveTree, WrittenTree

        kind = LiveTree if request.live else WrittenTree
        _add(gathered, kind(path, request.kernel), path)
    if request.real:
        from raplica_conformance.subjects.real import RealMachine

        # The last thing that can be refused: from here on there is something to put back.
        _add(gathered, RealMachine(), "/sys", allowed=request)


def _recording(path: str) -> Any:
    from raplica_conformance.subjects.recording import RecordedTree

    try:
        return RecordedTree(path)
    except OSError as error:
        raise GatherError(f"--recording {path}: {error.strerror}") from error
    except ValueError as error:
        raise GatherError(f"--recording {error}") from error


def _add(gathered: Gathered, tree: Any, path: str, *, allowed: Request | None = None) -> None:
    """Take a tree that somebody brought, or note that it holds no powercap at all.

    `allowed` is given for the one that may be written to, if it says so.
    """
    if exists(tree, CLASS) or exists(tree, DEVICES):
        gathered.add(_guarded(tree, allowed) if allowed is not None and allowed.allow_writes else tree)
    else:
        gathered.nothing_in.append(
            f"no {path.rstrip('/')}/{CLASS} here: nothing to judge (a kernel without powercap, a container that "
            "hides it, or not the root of a sysfs)"
        )


def _guarded(tree: Any, request: Request) -> Any:
    from raplica_conformance.subjects.guarded import guard
    from raplica_conformance.subjects.journal import JournalError

    try:
        return guard(tree, request.journal, wild=request.wild_writes)
    except JournalError as error:
        tree.close()
        raise GatherError(str(error)) from error
