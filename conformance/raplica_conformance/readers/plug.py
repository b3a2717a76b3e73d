# SPDX-License-Identifier: Apache-2.0
"""What a reader has to be so that the suite can judge it: something that samples when it is told, and answers.

A *plug* is a reader that may be opened any number of times; opened on a stage, which is a machine that a case plays on,
it is *running*. Whatever language it is written in, it comes down to these few calls.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

__all__ = [
    "INTERFACES",
    "KINDS",
    "STATUSES",
    "TOTAL",
    "Answer",
    "Look",
    "NotExpressible",
    "Plug",
    "ReaderFault",
    "ReaderHung",
    "Reading",
    "Running",
    "Stage",
]

#: How a reader is made to look at the counters: called in process, told by lines, started anew, by its own clock.
KINDS = ("callable", "stepped", "oneshot", "timed")

#: The doors through which the counters can be read, as cases name them.
INTERFACES = ("powercap", "msr", "perf", "windows", "powermetrics")

#: What a reader can say of a domain.
STATUSES = ("ok", "unknown", "reset", "error")

#: The key of an answer that is about the machine as a whole.
TOTAL = "total"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reader says of one domain: microjoules since its first sample, or None and why.

    `status` is one of STATUSES; `error` is the reader's own word for what went wrong, an errno name at best.
    """

    energy_uj: int | None
    status: str = "ok"
    error: str | None = None

    def __str__(self) -> str:
        """What it says, as a person reads it."""
        if self.energy_uj is not None:
            return f"{self.energy_uj} uJ"
        return f"{self.status} ({self.error})" if self.error else self.status


#: By zone id ("intel-rapl:0:1"), by the names from the top ("package-0/dram"), or by TOTAL.
Answer = Mapping[str, Reading]


class ReaderFault(Exception):
    """The reader broke down: it crashed, printed what cannot be understood, or nothing. One line."""


class ReaderHung(Exception):
    """The reader did not answer within its time. One line."""


class Look(NamedTuple):
    """One look that a reader took at a counter: when, what it was given, what its domain had really spent by then."""

    at_ns: int
    text: str
    truth_uj: int


class NotExpressible(Exception):
    """A reader of this kind cannot show what the case is about. One line."""


class Stage(Protocol):
    """The machine that a case plays on, as a reader meets it; `stage` has the one there is.

    Attributes:
        tree: the way in for readers in this process: `listdir`, `readlink`, `read`, and the other doors beside them.
        live: the machine itself, for who needs to know more.
    """

    tree: Any
    live: Any

    @property
    def sysfs_dir(self) -> str:
        """The root of its sysfs, mounted; ClauseSkipped where nothing can be mounted."""
        ...

    @property
    def dev_dir(self) -> str:
        """The directory that has its `cpu/N/msr`."""
        ...

    @property
    def cpu(self) -> str:
        """Its processor as FAMILY:MODEL."""
        ...

    def now_ns(self) -> int:
        """The machine's time, which the suite moves."""
        ...

    def running(self) -> AbstractContextManager[None]:
        """Let time run by itself meanwhile, from the first look at a counter on."""
        ...

    def energy_reads(self) -> Sequence[Any]:
        """The looks at counters through the mount: each has `at_ns`, `domain`, `value` and `truth_uj`."""
        ...


class Running(Protocol):
    """A reader at work on one machine."""

    def sample(self) -> None:
        """Look at the counters; the first time is the baseline. ReaderFault, ReaderHung."""
        ...

    def answer(self) -> Answer:
        """What each domain has spent from the baseline to the latest sample. ReaderFault, ReaderHung."""
        ...

    def close(self) -> None:
        """Give everything back; may be called at any time and more than once."""
        ...


class Plug(Protocol):
    """A reader that can be opened.

    Attributes:
        name: what reports call it.
        kind: one of KINDS.
        interfaces: the doors that it reads through.
        counter: it prints what counters show instead of energies, and the suite subtracts.
        limit_s: how many seconds it may take for one answer.
    """

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    @property
    def kind(self) -> str:
        """One of KINDS."""
        ...

    @property
    def interfaces(self) -> frozenset[str]:
        """The doors that it reads through."""
        ...

    @property
    def counter(self) -> bool:
        """Whether it prints what counters show."""
        ...

    @property
    def limit_s(self) -> float:
        """How many seconds it may take for one answer."""
        ...

    def open(self, stage: Stage) -> Running:
        """The reader before its first sample, on this machine. ReaderFault where it cannot be started."""
        ...

    def close(self) -> None:
        """Give back what it keeps between cases; may be called more than once."""
        ...
