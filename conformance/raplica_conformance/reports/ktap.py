# SPDX-License-Identifier: Apache-2.0
"""The KTAP report, version 1, as kernel CI reads it (Documentation/dev-tools/ktap.rst).

What was wrong stands in diagnostic lines before the result line it belongs to. An expected failure is "ok" with the
directive XFAIL, as kselftest has it; what could not be judged is ERROR, what did not end TIMEOUT.
"""

from collections.abc import Sequence

from raplica_conformance.reports.tap import document, passed_or_skipped
from raplica_conformance.verdicts import Verdict

__all__ = ["render"]


def render(verdicts: Sequence[Verdict]) -> str:
    """A whole KTAP document; the plan comes first."""
    return document("KTAP version 1", verdicts, _result)


def _result(number: int, verdict: Verdict) -> list[str]:
    """The lines of one verdict."""
    what = f"{number} {_plain(verdict.clause.id)} on {_plain(verdict.subject)}"
    reason = _plain(verdict.reason)
    if line := passed_or_skipped(what, verdict.verdict, reason):
        return line
    if verdict.verdict == "expected-fail":
        return [f"ok {what} # XFAIL {reason}"]
    details = [
        f"# {verdict.clause.title}",
        f"# {verdict.verdict}: {reason}",
        f"# source: {verdict.clause.source}",
        f"# reproduce: {verdict.reproduce}",
    ]
    directive = {"timeout": " # TIMEOUT", "broken": " # ERROR"}.get(verdict.verdict, "")
    return [*(_one_line(line) for line in details), f"not ok {what}{directive}"]


def _plain(text: str) -> str:
    """Text on one line in which nothing looks like a directive: KTAP has no way to escape."""
    return _one_line(text.replace("#", ""))


def _one_line(text: str) -> str:
    return " ".join(text.split())
