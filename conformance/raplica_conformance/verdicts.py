# SPDX-License-Identifier: Apache-2.0
"""What came out: eight words, the verdict that carries one, and what a run of them means for the exit status.

pass, fail            the rule holds, or does not
skip, not-applicable  the clause said nothing: not this time, or never about this subject
broken                the clause or the subject raised something else: a mistake of the suite, most likely
timeout               the clause did not end within its time
expected-fail         a failure that an expectation file lists
unexpected-pass       a listed failure that passes now: the file is stale, and that is a failure
"""

import os
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from raplica_conformance.clause import Clause

__all__ = ["FAILURES", "VERDICTS", "Story", "Verdict", "exit_code", "quoted", "summary"]

VERDICTS = (
    "pass",
    "fail",
    "skip",
    "not-applicable",
    "broken",
    "timeout",
    "expected-fail",
    "unexpected-pass",
)

#: The words that make a run fail.
FAILURES = frozenset({"fail", "timeout", "unexpected-pass"})


class Story(Protocol):
    """How a verdict came about, for those who want more than its one line."""

    def lines(self) -> Iterator[str]:
        """As a person reads it."""
        ...

    def as_json(self) -> dict[str, Any]:
        """As a program reads it."""
        ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """One clause on one subject: `verdict` is a word of VERDICTS, `reason` one line, empty for a plain pass.

    `arguments` are those that bring the same subject again. `details` tell a failure, or how a
    case was passed, at length, where there is more to tell.
    """

    clause: Clause
    subject: str
    verdict: str
    reason: str = ""
    arguments: tuple[str, ...] = ()
    details: Story | None = None

    @property
    def reproduce(self) -> str:
        """The command that judges this clause on this subject again: one printable line for a shell."""
        return " ".join(map(quoted, ("conformance", "run", self.clause.id, *self.arguments)))


def quoted(argument: str) -> str:
    """The argument as a shell takes it; the bytes of what does not print as octal escapes in $'...'."""
    if argument.isprintable():
        return shlex.quote(argument)
    escaped = (
        letter
        if letter.isprintable() and letter not in "\\'"
        else "".join(f"\\{byte:03o}" for byte in os.fsencode(letter))
        for letter in argument
    )
    return f"$'{''.join(escaped)}'"


def summary(verdicts: Iterable[Verdict]) -> dict[str, int]:
    """How many there are of each word, every word named."""
    counts = dict.fromkeys(VERDICTS, 0)
    for verdict in verdicts:
        counts[verdict.verdict] += 1
    return counts


def exit_code(verdicts: Iterable[Verdict]) -> int:
    """0: something held and nothing is wrong; 1: any failure; 3: anything broken, or nothing could be judged.

    1 wins over 3. An expected failure was judged, and it is not wrong.
    """
    words = {verdict.verdict for verdict in verdicts}
    if words & FAILURES:
        return 1
    if "broken" in words or not words & {"pass", "expected-fail"}:
        return 3
    return 0
