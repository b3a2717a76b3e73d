# SPDX-License-Identifier: Apache-2.0
"""The judge: the only place where a verdict is made.

Both hosts, pytest and the plain loop, call `judge` and do nothing else, so that they cannot differ. A subject
may have a method `fresh`, which gives a provider that nobody else has touched: then no clause sees what
another one wrote. One that cannot be made anew may have a method `put_back`, which is called after each clause.

A clause that does not end is stopped by a timer signal, which leaves no thread behind. Signals reach the main
thread only: called from another one, or on Windows, `judge` has no time limit.
"""

import contextlib
import signal
import threading
from collections.abc import Generator, Mapping
from types import FrameType, TracebackType
from typing import Any, NamedTuple, NoReturn

from raplica_conformance.clause import (
    REGISTRY,
    Clause,
    ClauseFailed,
    ClauseNotApplicable,
    ClauseSkipped,
    ClauseTimedOut,
    expectations,
)
from raplica_conformance.expectations import Expectations
from raplica_conformance.subject import CannotTell, Crashed, composed, control_types
from raplica_conformance.verdicts import Story, Verdict

__all__ = ["LIMIT_S", "judge"]

#: Seconds that one clause may take. The slowest takes hundredths; only something that hangs comes near.
LIMIT_S = 20.0

#: The alarm rings again this many seconds later, for a clause that swallowed the first.
_AGAIN_S = 0.05


class _TimeIsUp(BaseException):
    """Raised inside a clause by the alarm; not an Exception, so that a clause does not catch it by chance."""


class _Outcome(NamedTuple):
    """How a clause ended: a word of VERDICTS, one line, and the story behind it."""

    word: str
    reason: str = ""
    details: Story | None = None


def judge(
    clause: Clause,
    subject: Any,
    *,
    known: Expectations | None = None,
    limit_s: float = LIMIT_S,
    registry: Mapping[str, Clause] = REGISTRY,
) -> Verdict:
    """Judge one clause on one subject; nothing that either of them raises comes out but KeyboardInterrupt.

    `known` lists the failures that are expected. `registry` is where the other clauses of a set of
    alternatives are found: where one of them holds, a clause that does not hold is not applicable. A subject that
    knows how long it may take says so by a `limit_s` of its own, and one that can tell how it made it right by `story`.
    """
    limit_s = getattr(subject, "limit_s", limit_s)
    word, reason, details = _outcome(clause, subject, limit_s)
    if word == "fail" and clause.alternatives:
        word, reason, details = _other_choice(clause, subject, limit_s, registry) or (word, reason, details)
    if known is not None and known.lists(clause.id, subject.name):
        if word in ("fail", "timeout"):
            word = "expected-fail"
        elif word == "pass":
            word, reason = "unexpected-pass", "listed as a known failure, and it holds: take it off the list"
            details = None
    arguments = tuple(getattr(subject, "arguments", ()))
    return Verdict(clause, subject.name, word, _one_line(reason), arguments, details)


def _outcome(clause: Clause, subject: Any, limit_s: float) -> _Outcome:
    """How it ended, before alternatives and known failures are looked at."""
    try:
        return _ended(clause, subject, limit_s)
    finally:
        # Outside the alarm: what puts back is not to be stopped in the middle.
        if put_back := getattr(subject, "put_back", None):
            put_back()


def _ended(clause: Clause, subject: Any, limit_s: float) -> _Outcome:
    """How the clause's function ended."""
    before = expectations()
    try:
        with _alarm(limit_s):
            if reason := _ruled_out(clause, subject):
                return _Outcome("not-applicable", reason)
            fresh = getattr(subject, "fresh", None)
            provider = subject if fresh is None else fresh()
            if missing := _missing_driver(clause, provider):
                return _Outcome("not-applicable", missing)
            clause.function(provider)
    except KeyboardInterrupt:
        raise
    except _TimeIsUp:
        return _Outcome("timeout", f"did not end within {limit_s:g} s")
    except BaseException as error:  # noqa: BLE001 - whatever a clause raises ends here, as a verdict
        return _ending(error)
    if expectations() == before:
        return _Outcome("not-applicable", "the subject has nothing that this clause is about")
    return _Outcome("pass", details=getattr(subject, "story", None))


def _ending(error: BaseException) -> _Outcome:
    """What an exception out of a clause means."""
    match error:
        case ClauseFailed():
            return _Outcome("fail", str(error), getattr(error, "details", None))
        case ClauseTimedOut():
            return _Outcome("timeout", str(error), getattr(error, "details", None))
        case ClauseSkipped():
            return _Outcome("skip", str(error))
        case ClauseNotApplicable():
            return _Outcome("not-applicable", str(error))
        case CannotTell():
            return _Outcome("not-applicable", f"the subject cannot show this: {error.strerror or error}")
        case Crashed():
            return _Outcome("fail", f"the subject crashed: {error}")
        case _:
            return _Outcome("broken", f"{type(error).__name__}: {error} ({_where(error.__traceback__)})")


def _ruled_out(clause: Clause, subject: Any) -> str:
    """Why the clause cannot be judged on this subject, or nothing."""
    kind = getattr(subject, "kind", "provider")
    if clause.kind != kind:
        return f"the clause is about a {clause.kind}, and this is a {kind}"
    if missing := sorted(clause.needs - subject.can):
        return f"the subject cannot show {', '.join(missing)}"
    if clause.kernels == (None, None):
        return ""
    first, before = clause.kernels
    span = " and ".join(
        text for text in (first and f"Linux {first} or later", before and f"Linux before {before}") if text
    )
    if subject.kernel is None:
        return f"holds for {span}, and the subject's kernel is not known (--kernel tells)"
    if not clause.holds_for(subject.kernel):
        return f"holds for {span}, and this is {subject.kernel}"
    return ""


def _missing_driver(clause: Clause, provider: Any) -> str:
    """Why none of the clause's control types is there, or nothing."""
    if not clause.drivers:
        return ""
    found = set(clause.drivers) & set(control_types(provider))
    if found - composed(provider):
        return ""
    if found:
        return f"{' and '.join(sorted(found))} of this subject is composed: no driver of that name made it"
    return f"the subject has no {' or '.join(clause.drivers)}"


def _other_choice(clause: Clause, subject: Any, limit_s: float, registry: Mapping[str, Clause]) -> _Outcome | None:
    """not-applicable, where another clause of the same set holds for this subject."""
    for other in registry.values():
        is_choice = other.alternatives == clause.alternatives and other.id != clause.id
        if is_choice and _outcome(other, subject, limit_s).word == "pass":
            return _Outcome("not-applicable", f"the subject chose {other.id}, which is as good")
    return None


@contextlib.contextmanager
def _alarm(limit_s: float) -> Generator[None, None, None]:
    """Raise _TimeIsUp in the body after `limit_s`; whoever had the timer before has it again afterwards."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def ring(_signal: int, _frame: FrameType | None) -> NoReturn:
        raise _TimeIsUp

    handler = signal.signal(signal.SIGALRM, ring)
    left_s, interval_s = signal.setitimer(signal.ITIMER_REAL, limit_s, _AGAIN_S)
    try:
        yield
    finally:
        _silence()
        signal.setitimer(signal.ITIMER_REAL, left_s, interval_s)
        signal.signal(signal.SIGALRM, handler)


def _silence() -> None:
    """Ignore the alarm from here on, also where it rings during this very call."""
    while True:
        try:
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
        except _TimeIsUp:
            continue
        return


def _where(trace: TracebackType | None) -> str:
    """file:line of the innermost frame."""
    if trace is None:
        return "nowhere"
    while trace.tb_next is not None:
        trace = trace.tb_next
    name = trace.tb_frame.f_code.co_filename.rpartition("/")[2]
    return f"{name}:{trace.tb_lineno}"


def _one_line(text: str) -> str:
    """The same text without line breaks and other characters that a report cannot carry."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
