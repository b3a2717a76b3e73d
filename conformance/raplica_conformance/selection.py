# SPDX-License-Identifier: Apache-2.0
"""Which clauses a run is about, and on which subjects each is judged."""

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from raplica_conformance.clause import LEVELS, Clause

__all__ = ["SelectionError", "nearest", "pair", "select"]


class SelectionError(ValueError):
    """A selection that matches nothing; one line that names what may have been meant."""


def select(clauses: Mapping[str, Clause], patterns: Sequence[str], level: str = "may") -> list[Clause]:
    """The clauses that any of the ids or globs names, sorted by id, down to `level`; no pattern means all.

    Each pattern has to match something by itself: a misspelt one among others would make a run look complete.
    """
    for pattern in patterns:
        if not any(fnmatchcase(clause_id, pattern) for clause_id in clauses):
            raise SelectionError(f"no clause matches {pattern!r}{nearest(pattern, clauses)}")
    # One of a set of alternatives has to hold, so the set is never less than a must.
    strict = {*LEVELS[: LEVELS.index(level) + 1], "alternative"}
    chosen = [
        clauses[clause_id]
        for clause_id in sorted(clauses)
        if clauses[clause_id].level in strict
        and (not patterns or any(fnmatchcase(clause_id, pattern) for pattern in patterns))
    ]
    if not chosen:
        raise SelectionError(f"no clause is left at level {level} (--level may keeps all)")
    return chosen


def pair(clauses: Sequence[Clause], subjects: Iterable[Any]) -> list[tuple[Clause, Any]]:
    """Each subject with each clause about its kind, subject by subject; SelectionError if nothing meets."""
    pairs = [
        (clause, subject)
        for subject in subjects
        for clause in clauses
        if clause.kind == getattr(subject, "kind", "provider")
    ]
    if not pairs:
        kinds = " and ".join(sorted({f"a {clause.kind}" for clause in clauses}))
        raise SelectionError(f"the selected clauses are about {kinds}, and no subject of this run is one")
    return pairs


def nearest(wanted: str, known: Collection[str]) -> str:
    """What may have been meant, as the end of a message."""
    close = difflib.get_close_matches(wanted, known, n=1)
    return f"; the nearest is {close[0]}" if close else "; `conformance list` names them all"
