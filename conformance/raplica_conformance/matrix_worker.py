# SPDX-License-Identifier: Apache-2.0
"""The process of the matrix that judges one tool: `python -m raplica_conformance.matrix_worker TOOL CASE...`.

TOOL is a JSON document, CASE an id; a JSON document on stdout for each verdict. A process of its own, because the time
limit of a judgement is a signal, and tools with a clock of their own are waited for side by side.
"""

import json
import os
import sys
import time
from dataclasses import replace
from typing import Any

from raplica_conformance import ending
from raplica_conformance.clause import Clause, not_applicable
from raplica_conformance.judge import judge
from raplica_conformance.matrix_fit import fitted, unfit
from raplica_conformance.matrix_tools import Tool
from raplica_conformance.readers.adapter import find_adapter
from raplica_conformance.readers.case_clauses import clause_of
from raplica_conformance.readers.subject import PluggedReader
from raplica_fixtures.cases import alternatives, load_case

__all__ = ["main"]

_NOBODY_LISTENS = 141


def main(told: str, *case_ids: str) -> int:
    """Judge a tool on some cases, and print each verdict as it is made."""
    with ending.orderly():
        tool = Tool.from_json(json.loads(told))
        subject = PluggedReader(find_adapter(tool.name).plug())
        try:
            for case_id in case_ids:
                sys.stdout.write(f"{json.dumps(_verdict(tool, subject, case_id))}\n")
                sys.stdout.flush()
                ending.check()
        except KeyboardInterrupt:
            return ending.status()
        except BrokenPipeError:  # who asked was killed
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return _NOBODY_LISTENS
        finally:
            subject.close()
        return 0


def _verdict(tool: Tool, subject: PluggedReader, case_id: str) -> dict[str, Any]:
    begun_s = time.monotonic()
    clause = _clause(case_id, tool)
    set_of = alternatives().get(clause.alternatives, ())
    others = {other: _clause(other, tool) for other in set_of if other != case_id}
    verdict = judge(clause, subject, registry=others)
    return {
        "case": case_id,
        "verdict": verdict.verdict,
        "reason": verdict.reason,
        "took_s": round(time.monotonic() - begun_s, 2),
        "again": tool.again(case_id),
        "details": None if verdict.details is None or verdict.verdict == "pass" else verdict.details.as_json(),
    }


def _clause(case_id: str, tool: Tool) -> Clause:
    """A case as a clause, cut to what the tool claims."""
    case = load_case(case_id)
    if not (why := unfit(case, tool)):
        return clause_of(fitted(case, tool) or case)

    def says_nothing(_subject: object) -> None:
        not_applicable(why)

    return replace(clause_of(case), function=says_nothing)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
