# SPDX-License-Identifier: Apache-2.0
"""Cases as the judge knows them: each is a clause about a plugged reader, and its permanent id is its path."""

from collections.abc import Mapping
from functools import partial
from typing import Protocol

from raplica_conformance.clause import Clause, load_clauses
from raplica_fixtures.cases import Case, case_ids, load_case

__all__ = ["KIND", "all_clauses", "case_clauses", "clause_of"]

#: The kind of subject that cases are about.
KIND = "plugged reader"


def all_clauses() -> Mapping[str, Clause]:
    """Every clause and every built-in case, by id."""
    return {**load_clauses(), **case_clauses()}


def case_clauses() -> dict[str, Clause]:
    """Every built-in case by its id, as a clause."""
    return {case_id: clause_of(load_case(case_id)) for case_id in case_ids()}


def clause_of(case: Case) -> Clause:
    """A case as a clause; what it plays on is imported when it is played."""
    return Clause(
        id=case.id,
        level=case.level,
        title=case.title,
        group=case.group,
        source=case.kernel_ref,
        function=partial(_play, case),
        kind=KIND,
        threads=tuple(_address(thread) for thread in case.threads),
        alternatives=case.alternative or "",
    )


class _Player(Protocol):
    """What plays cases."""

    def play(self, case: Case) -> None: ...


def _play(case: Case, subject: _Player) -> None:
    subject.play(case)


def _address(thread: str) -> str:
    """The address of owner/repository#number; GitHub leads from an issue's to a pull request's by itself."""
    repository, _, number = thread.partition("#")
    return f"https://github.com/{repository}/issues/{number}"
