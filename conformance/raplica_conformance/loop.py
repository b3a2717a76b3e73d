# SPDX-License-Identifier: Apache-2.0
"""The host without pytest: for an initramfs, a zipapp, anywhere that has the standard library alone.

It calls the same `judge` in the same order as `host_pytest`; a test holds the two to the same verdicts.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from raplica_conformance.clause import REGISTRY, Clause
from raplica_conformance.expectations import Expectations
from raplica_conformance.judge import LIMIT_S, judge
from raplica_conformance.verdicts import Verdict

__all__ = ["run"]


def run(
    pairs: Iterable[tuple[Clause, Any]],
    *,
    known: Expectations | None = None,
    each: Callable[[Verdict], None] = lambda _verdict: None,
    limit_s: float = LIMIT_S,
    registry: Mapping[str, Clause] = REGISTRY,
) -> list[Verdict]:
    """Judge every pair of a clause and a subject in order; `each` sees a verdict as soon as it is made."""
    verdicts = []
    for clause, subject in pairs:
        verdict = judge(clause, subject, known=known, limit_s=limit_s, registry=registry)
        verdicts.append(verdict)
        each(verdict)
    return verdicts
