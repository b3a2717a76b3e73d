# SPDX-License-Identifier: Apache-2.0
"""The TAP report, version 14: a line for each verdict, and a YAML block under each that is bad.

An expected failure carries TAP's own directive for one, whose word is TODO (TAP 14, "TODO tests"); nothing here is
unfinished. An unexpected pass is "not ok", since TAP lets one under that directive go by.
"""

import json
from collections.abc import Sequence

from raplica_conformance.printable import printable
from raplica_conformance.verdicts import FAILURES, Verdict

__all__ = ["render"]


def render(verdicts: Sequence[Verdict]) -> str:
    """A whole TAP document; the plan comes first."""
    lines = ["TAP version 14", f"1..{len(verdicts)}"]
    for number, verdict in enumerate(verdicts, start=1):
        lines.extend(_point(number, verdict))
    return "\n".join(lines) + "\n"


def _point(number: int, verdict: Verdict) -> list[str]:
    """The lines of one verdict."""
    what = f"{number} - {_escaped(verdict.clause.id)} on {_escaped(verdict.subject)}"
    reason = _escaped(verdict.reason)
    match verdict.verdict:
        case "pass":
            return [f"ok {what}"]
        case "skip" | "not-applicable":
            return [f"ok {what} # SKIP {verdict.verdict}: {reason}"]
        case "expected-fail":
            return [f"not ok {what} # TODO {reason}"]
    severity = "fail" if verdict.verdict in FAILURES else "error"
    block = {
        "verdict": verdict.verdict,
        "severity": severity,
        "message": verdict.reason,
        "title": verdict.clause.title,
        "level": verdict.clause.level,
        "source": verdict.clause.source,
        "threads": list(verdict.clause.threads),
        "reproduce": verdict.reproduce,
    }
    return [f"not ok {what}", "  ---", *(f"  {key}: {_yaml(value)}" for key, value in block.items()), "  ..."]


def _yaml(value: object) -> str:
    """A JSON value is a YAML value, with none of YAML's surprises.

    But JSON escapes a letter beyond 16 bits in two halves, which YAML refuses, so what prints stands as it is.
    """
    return printable(json.dumps(value, ensure_ascii=False))


def _escaped(text: str) -> str:
    """Text that cannot begin a directive or break the line (TAP 14, Escaping)."""
    return " ".join(text.replace("\\", "\\\\").replace("#", "\\#").split())
