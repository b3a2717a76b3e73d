# SPDX-License-Identifier: Apache-2.0
"""What a clause is: one checkable rule with a permanent id, and the three ways in which it may end.

A clause is a plain function of a subject. The decorator `clause` gives it its metadata and enters it into a
registry; the function itself knows nothing of verdicts, reports or pytest. It speaks through `expect`, `skip`
and `not_applicable` alone: a bare assert says neither what was seen nor why it matters.

A function that returns without one `expect` has checked nothing (a loop over no zones): the judge then says
not-applicable, never pass.
"""

import importlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

__all__ = [
    "GROUPS",
    "KINDS",
    "LEVELS",
    "NEEDS",
    "REGISTRY",
    "RETIRED",
    "Clause",
    "ClauseEnded",
    "ClauseFailed",
    "ClauseNotApplicable",
    "ClauseSkipped",
    "ClauseTimedOut",
    "clause",
    "expect",
    "kernel_key",
    "load_clauses",
    "not_applicable",
    "skip",
]

#: From strict to lenient. `alternative` is one of several lawful choices: one of its set has to hold.
LEVELS = ("must", "alternative", "should", "may")

#: What a clause may ask of a subject; what each word means stands in `subject.Provider`.
NEEDS = frozenset(
    {
        *("content", "errno", "modes", "links", "order", "size", "live", "steps"),
        *("root", "nobody", "writable", "wild-writes", "msr", "silicon"),
    }
)

#: What is judged: a powercap tree with its registers, or a program that reads one; any program that reads energy,
#: plugged in from outside and judged on cases; macOS's tool that shows it; on Windows a driver for registers,
#: the system's own meters, and the program that installs such a driver.
KINDS = (
    "provider",
    "reader",
    "plugged reader",
    "powermetrics",
    "Windows driver",
    "energy meter",
    "driver loader",
)

#: The usual shelves of the clause list, in the order in which a person would read them; others come after.
GROUPS = (
    "shape",
    "names",
    "modes",
    "formats",
    "presence",
    "ranges",
    "units",
    "errno",
    "writes",
    "agreement",
    "time",
    "firmware",
    "hardware",
    "known-bugs",
    "reader",
    "windows",
    "macos",
)

_ID = re.compile(r"[a-z][a-z0-9-]*(\.[a-z0-9][a-z0-9-]*)+")
_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
#: Characters of a value that a failure shows.
_MOST_SHOWN = 200
_KERNEL = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")

Function = TypeVar("Function", bound=Callable[[Any], None])


class ClauseEnded(Exception):
    """A clause ended before its last line; only `judge` catches this."""


class ClauseFailed(ClauseEnded):
    """`expect` saw something else: `actual`, `wanted` and `why` are kept for the report."""

    def __init__(self, actual: object, wanted: object, why: str) -> None:
        super().__init__(f"{why}: got {_short(actual)}, wanted {_short(wanted)}")
        self.actual = actual
        self.wanted = wanted
        self.why = why


class ClauseSkipped(ClauseEnded):
    """The clause could be judged here, but not this time; the text says why."""


class ClauseNotApplicable(ClauseEnded):
    """The rule has nothing to say about this subject; the text says why."""


class ClauseTimedOut(ClauseEnded):
    """The subject did not answer within a time that the clause gave it; the text says what it was asked."""


@dataclass(frozen=True, slots=True)
class Clause:
    """One rule: its permanent id, what it needs, where it comes from and the function that checks it.

    `kernels` is (first, before): inclusive and exclusive, None for open. `drivers` names the control types
    that the rule is about; where it is empty the rule holds for any powercap tree. `alternatives` names the
    set of which one clause has to hold; it is empty except at level `alternative`.
    """

    id: str
    level: str
    title: str
    group: str
    source: str
    function: Callable[[Any], None]
    kind: str = "provider"
    needs: frozenset[str] = frozenset()
    kernels: tuple[str | None, str | None] = (None, None)
    threads: tuple[str, ...] = ()
    pitfalls: tuple[str, ...] = ()
    drivers: tuple[str, ...] = ()
    alternatives: str = ""

    def holds_for(self, kernel: str) -> bool:
        """Whether a kernel release ("6.12.117", also with a suffix) lies in the clause's range."""
        key = kernel_key(kernel)
        first, before = self.kernels
        return (first is None or kernel_key(first) <= key) and (before is None or key < kernel_key(before))


#: Every clause by id, in the order of definition. Filled by importing; `load_clauses` imports them all.
REGISTRY: dict[str, Clause] = {}

#: Clauses that are judged no more, by id: one line that says why and what replaced it. No entry is ever taken out.
RETIRED: dict[str, str] = {}


class _Tally:
    """Counts every `expect` of this process: the judge looks whether a clause made one."""

    made = 0


def clause(  # noqa: PLR0913 - a clause is all of its metadata, given by name
    id: str,  # noqa: A002 - the word that every report and the command line use
    *,
    level: str,
    title: str,
    group: str,
    source: str,
    needs: Iterable[str] = (),
    kernels: tuple[str | None, str | None] = (None, None),
    threads: Iterable[str] = (),
    pitfalls: Iterable[str] = (),
    drivers: Iterable[str] = (),
    alternatives: str = "",
    kind: str = "provider",
    registry: dict[str, Clause] | None = None,
) -> Callable[[Function], Function]:
    """Enter the decorated function as clause `id` into `registry` (default: `REGISTRY`); return it as it is.

    Raises ValueError, in one line that begins with the id, for metadata that cannot be right and for an id
    that is already taken: ids are permanent, a clause is retired and its id never used again.
    """

    def enter(function: Function) -> Function:
        entry = Clause(
            id=id,
            level=level,
            title=title,
            group=group,
            source=source,
            function=function,
            kind=kind,
            needs=frozenset(needs),
            kernels=kernels,
            threads=tuple(threads),
            pitfalls=tuple(pitfalls),
            drivers=tuple(drivers),
            alternatives=alternatives,
        )
        _check(entry)
        if id in RETIRED:
            raise ValueError(f"{id}: this clause was retired ({RETIRED[id]}); take another id")
        shelf = REGISTRY if registry is None else registry
        if id in shelf:
            raise ValueError(f"{id}: this clause id is already taken; ids are permanent and unique")
        shelf[id] = entry
        return function

    return enter


def expect(actual: object, wanted: object, why: str) -> None:
    """Go on when `actual == wanted`; otherwise the clause has failed, and `why` says what that breaks."""
    _Tally.made += 1
    # The type counts as well: True is not 1, and b"1" is not "1".
    if type(actual) is not type(wanted) or actual != wanted:
        raise ClauseFailed(actual, wanted, why)


def skip(reason: str) -> NoReturn:
    """End the clause as skipped."""
    raise ClauseSkipped(reason)


def not_applicable(reason: str) -> NoReturn:
    """End the clause as not applicable to this subject."""
    raise ClauseNotApplicable(reason)


def expectations() -> int:
    """How many times `expect` was called so far in this process."""
    return _Tally.made


def load_clauses() -> dict[str, Clause]:
    """Import every clause module once and return `REGISTRY`."""
    import pkgutil

    from raplica_conformance import clauses

    for module in sorted(pkgutil.iter_modules(clauses.__path__), key=lambda found: found.name):
        importlib.import_module(f"{clauses.__name__}.{module.name}")
    importlib.import_module("raplica_conformance.reader_clauses")
    return REGISTRY


def kernel_key(release: str) -> tuple[int, int, int]:
    """A kernel release as numbers that sort: "6.12.117-amd64" is (6, 12, 117); else ValueError."""
    found = _KERNEL.match(release)
    if found is None:
        raise ValueError(f"{release!r} is not a kernel version; write it like 6.12 or 6.12.117")
    return int(found[1]), int(found[2]), int(found[3] or 0)


def _short(value: object) -> str:
    """The value as a report shows it: a page of sysfs would bury everything around it."""
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}… ({len(text)} characters)"


def _check(entry: Clause) -> None:
    """Refuse metadata that cannot be right, in one line that says what would be."""

    def refuse(wrong: str) -> NoReturn:
        raise ValueError(f"{entry.id}: {wrong}")

    if not _ID.fullmatch(entry.id):
        raise ValueError(f"{entry.id!r}: a clause id is lower-case words joined by dots, like powercap.zone.name")
    if entry.level not in LEVELS:
        refuse(f"level {entry.level!r} is none of {', '.join(LEVELS)}")
    if entry.kind not in KINDS:
        refuse(f"kind {entry.kind!r} is none of {', '.join(KINDS)}")
    if not _SLUG.fullmatch(entry.group):
        refuse(f"group {entry.group!r} is not a lower-case word like {GROUPS[0]}")
    if not entry.title or "\n" in entry.title or not entry.source:
        refuse("give a title in one line and the source: a kernel file and function, or a section of a manual")
    if unknown := sorted(entry.needs - NEEDS):
        refuse(f"needs {', '.join(unknown)}: none of {', '.join(sorted(NEEDS))}")
    if (entry.level == "alternative") != bool(entry.alternatives):
        refuse("level alternative and alternatives=NAME go together")
    if wrong := [thread for thread in entry.threads if not thread.startswith("https://")]:
        refuse(f"thread {wrong[0]!r} is not an https:// address")
    if wrong := [slug for slug in entry.pitfalls if not _SLUG.fullmatch(slug)]:
        refuse(f"pitfall {wrong[0]!r} is not a slug")
    first, before = (None if text is None else kernel_key(text) for text in entry.kernels)
    if first is not None and before is not None and first >= before:
        refuse(f"no kernel is at least {entry.kernels[0]} and before {entry.kernels[1]}")
