# SPDX-License-Identifier: Apache-2.0
"""The JSON report, format 1: `{"format": 1, "summary": {word: count}, "results": [...]}`.

A result has `id`, `subject`, `level`, `verdict` and `reason`, and `details` where there is more to tell of a failure.
Fields may be added in format 1, none will change or go.
"""

import json
from collections.abc import Sequence

from raplica_conformance.verdicts import Verdict, summary

__all__ = ["render"]


def render(verdicts: Sequence[Verdict]) -> str:
    """One JSON document that ends in a newline."""
    results = [
        {
            "id": verdict.clause.id,
            "subject": verdict.subject,
            "level": verdict.clause.level,
            "verdict": verdict.verdict,
            "reason": verdict.reason,
            **({} if verdict.details is None or verdict.verdict == "pass" else {"details": verdict.details.as_json()}),
        }
        for verdict in verdicts
    ]
    return json.dumps({"format": 1, "summary": summary(verdicts), "results": results}, indent=2) + "\n"
