# SPDX-License-Identifier: Apache-2.0
"""What `conformance list` and `explain` tell of clauses and cases, with the standard library alone.

So that the command and `plain`, which has to do without packages, tell the same.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from raplica_conformance.clause import RETIRED, Clause
from raplica_conformance.readers.case_clauses import KIND
from raplica_conformance.selection import SelectionError, nearest

__all__ = ["described", "explained", "listed"]


def described(clause: Clause) -> dict[str, Any]:
    """The metadata of a clause as JSON carries it."""
    first, before = clause.kernels
    return {
        "id": clause.id,
        "level": clause.level,
        "title": clause.title,
        "group": clause.group,
        "kind": clause.kind,
        "alternatives": clause.alternatives,
        "needs": sorted(clause.needs),
        "drivers": list(clause.drivers),
        "kernel_from": first,
        "kernel_before": before,
        "source": clause.source,
        "threads": list(clause.threads),
        "pitfalls": list(clause.pitfalls),
    }


def listed(clauses: Mapping[str, Clause], *, as_json: bool) -> str:
    """Every clause, sorted by id: a line each, or one JSON document; without the last line end."""
    if as_json:
        return json.dumps([described(clauses[name]) for name in sorted(clauses)], indent=2)
    width = max(map(len, clauses), default=0)
    return "\n".join(f"{name:<{width}}  {clauses[name].level:<11}  {clauses[name].title}" for name in sorted(clauses))


def explained(clauses: Mapping[str, Clause], clause_id: str) -> str:
    """What one clause or case checks, where it comes from and who suffered without it; SelectionError for no such."""
    if clause_id in RETIRED:
        return f"{clause_id}\n  retired: {RETIRED[clause_id]}"
    if clause_id not in clauses:
        raise SelectionError(f"there is no clause {clause_id!r}{nearest(clause_id, clauses)}")
    return "\n".join(_lines(clauses[clause_id]))


def _lines(clause: Clause) -> Iterator[str]:
    """The lines of one clause."""
    yield f"{clause.id}\n  {clause.title}\n"
    for name, value in described(clause).items():
        if value and name not in ("id", "title", "threads"):
            yield f"  {name:<12} {', '.join(value) if isinstance(value, list) else value}"
    for thread in clause.threads:
        yield f"  {'thread':<12} {thread}"
    if clause.kind == KIND:
        yield from _case_lines(clause.id)
    elif clause.function.__doc__:
        yield "\n  " + "\n  ".join(line.strip() for line in clause.function.__doc__.strip().splitlines())
    yield f"\n  judge it     conformance run {clause.id}"


def _case_lines(case_id: str) -> Iterator[str]:
    """What a case has beyond what every clause has."""
    from raplica_fixtures.cases import load_case

    case = load_case(case_id)
    scenario = case.scenario if isinstance(case.scenario, str) else "its own"
    yield f"  {'bug class':<12} {case.bug_class}\n  {'effect':<12} {case.effect}"
    yield f"  {'read by':<12} {', '.join(case.interfaces)}\n  {'scenario':<12} {scenario}"
    yield f"  {'samples':<12} at {', '.join(f'{float(moment):.12g}' for moment in case.samples_s)} s"
    for expect in case.expects:
        yield f"  {'right':<12} {expect.domain}: {expect.energy}{f' ({expect.why})' if expect.why else ''}"
    yield f"  {'file':<12} {case.path}"
