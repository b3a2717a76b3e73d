# SPDX-License-Identifier: Apache-2.0
"""The TAP report, version 14: a line for each verdict, and a YAML block under each that is bad.

An expected failure carries TAP's own directive for one, whose word is TODO (TAP 14, "TODO tests"); nothing here is
unfinished. An unexpected pass is "not ok", since TAP lets one under that directive go by.
"""

import json
from collections.abc import Callable, Sequence

from raplica_conformance.printable import printable
from raplica_conformance.verdicts import FAILURES, Verdict

__all__ = ["document", "passed_or_skipped", "render"]


def render(verdicts: Sequence[Verdict]) -> str:
    """A whole TAP document; the plan comes first."""
    return document("TAP version 14", verdicts, _point)


def document(version: str, verdicts: Sequence[Verdict], point: Callable[[int, Verdict], list[str]]) -> str:
    """What a whole document is in TAP's family: its version, the plan, and then the lines of each verdict."""
    lines = [version, f"1..{len(verdicts)}"]
    for number, verdict in enumerate(verdicts, start=1):
        lines.extend(point(number, verdict))
    return "\n".join(lines) + "\n"


def passed_or_skipped(what: str, verdict: str, reason: str) -> list[str]:
    """The line of what passed or was not judged, which is the same in all of the family; none for other verdicts."""
    match verdict:
        case "pass":
            return [f"ok {what}"]
        case "skip" | "not-applicable":
            return [f"ok {what} # SKIP {verdict}: {reason}"]
    return []


def _point(number: int, verdict: Verdict) -> list[str]:
    """The lines of one verdict."""
    what = f"{number} - {_escaped(verdict.clause.id)} on {_escaped(verdict.subject)}"
    reason = _escaped(verdict.reason)
    if line := passed_or_skipped(what, verdict.verdict, reason):
        return line
    if verdict.verdict == "expected-fail":
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
