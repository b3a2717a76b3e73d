# SPDX-License-Identifier: Apache-2.0
"""From the options of a command to the subjects that it judges; each kind is imported only when it is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raplica_conformance.clause import kernel_key
from raplica_conformance.subject import CLASS, DEVICES, exists

__all__ = ["GatherError", "Gathered", "Request", "check", "gather"]


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
    journal: Path | None = None


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


def gather(request: Request) -> Gathered:
    """Make the subjects. GatherError for a wrong wish; a place without powercap is not an error but noted."""
    check(request)
    gathered = Gathered()
    others = request.real or request.trees or request.recordings
    if request.machines or not others:
        for subject in _machines(request):
            gathered.add(subject)
    for path in request.recordings:
        _add_files(gathered, _recording(path), path)
    for path in request.trees:
        from raplica_conformance.subjects.tree import LiveTree, WrittenTree

        kind = LiveTree if request.live else WrittenTree
        _add_files(gathered, kind(path, request.kernel), path)
    if request.real:
        from raplica_conformance.subjects.real import RealMachine

        _add_files(gathered, RealMachine(), "/sys", allowed=request)
    return gathered


def check(request: Request) -> None:
    """Refuse options that say nothing together, and a kernel that is none: GatherError in one line."""
    if request.live and not request.trees:
        raise GatherError("--live says that a tree is live; name the tree with --tree DIR")
    if request.allow_writes and not request.real:
        raise GatherError("--allow-writes is about this machine; name it with --real")
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
    for path in request.trees:
        if not Path(path).is_dir():
            raise GatherError(f"--tree {path}: is no directory; name the root of a sysfs, like /sys")


def _machines(request: Request) -> list[Any]:
    """For each machine its simulated tree, then the reference reader on the same machine."""
    from raplica_conformance.subjects.reader import ReferenceReader
    from raplica_conformance.subjects.simulator import SimulatedMachine
    from raplica_fixtures import profile_ids

    subjects: list[Any] = []
    for machine in request.machines or profile_ids():
        try:
            simulated = SimulatedMachine(machine, request.kernel)
        except (ValueError, OSError) as error:
            raise GatherError(str(error)) from error
        subjects += [simulated, ReferenceReader(simulated)]
    return subjects


def _recording(path: str) -> Any:
    from raplica_conformance.subjects.recording import RecordedTree

    try:
        return RecordedTree(path)
    except (ValueError, OSError) as error:
        raise GatherError(f"--recording {error}") from error


def _add_files(gathered: Gathered, tree: Any, path: str, *, allowed: Request | None = None) -> None:
    """Take a tree that somebody brought, or note that it holds no powercap at all.

    `allowed` is given for the one that may be written to, if it says so: the last thing that can be refused.
    """
    if exists(tree, CLASS) or exists(tree, DEVICES):
        gathered.add(_guarded(tree, allowed.journal) if allowed is not None and allowed.allow_writes else tree)
    else:
        gathered.nothing_in.append(
            f"no {path.rstrip('/')}/{CLASS} here: nothing to judge (a kernel without powercap, a container that "
            "hides it, or not the root of a sysfs)"
        )


def _guarded(tree: Any, journal: Path | None) -> Any:
    from raplica_conformance.subjects.guarded import guard
    from raplica_conformance.subjects.journal import JournalError

    try:
        return guard(tree, journal)
    except JournalError as error:
        tree.close()
        raise GatherError(str(error)) from error
