# SPDX-License-Identifier: Apache-2.0
"""raplica_conformance: what the hardware and the kernel promise, clause by clause, and the judge of it.

`judge(clause, subject)` is the whole interface for a test session of one's own; the command `conformance`
hosts the same clauses for everybody else.
"""

from raplica_conformance.clause import Clause, clause, expect, load_clauses, not_applicable, skip
from raplica_conformance.judge import judge
from raplica_conformance.subject import CannotTell, Crashed, Provider, Stat, Zone
from raplica_conformance.verdicts import Verdict, exit_code, summary

__all__ = [
    "CannotTell",
    "Clause",
    "Crashed",
    "Provider",
    "Stat",
    "Verdict",
    "Zone",
    "clause",
    "exit_code",
    "expect",
    "judge",
    "load_clauses",
    "not_applicable",
    "skip",
    "summary",
]
