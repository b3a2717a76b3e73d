# SPDX-License-Identifier: Apache-2.0
"""The JUnit report: one suite for each subject, as CI servers read it.

fail, timeout and unexpected-pass are failures, broken is an error, and all that is neither good nor bad is
skipped with its reason. There are no times: a run has nothing to say about speed.
"""

from collections.abc import Sequence
from itertools import groupby
from xml.etree import ElementTree as ET

from raplica_conformance.verdicts import FAILURES, Verdict

__all__ = ["render"]

_HEAD = '<?xml version="1.0" encoding="utf-8"?>\n'


def render(verdicts: Sequence[Verdict]) -> str:
    """One XML document that ends in a newline."""
    totals = _counts(verdicts)
    # The schema that Jenkins publishes has no such count for all suites together.
    del totals["skipped"]
    top = ET.Element("testsuites", {"name": "conformance", **totals})
    for subject, group in groupby(verdicts, key=lambda verdict: verdict.subject):
        of_subject = list(group)
        suite = ET.SubElement(top, "testsuite", {"name": _xml(subject), **_counts(of_subject)})
        for verdict in of_subject:
            _case(suite, verdict)
    ET.indent(top)
    return _HEAD + ET.tostring(top, encoding="unicode") + "\n"


def _case(suite: ET.Element, verdict: Verdict) -> None:
    """Add one test case to its suite."""
    case = ET.SubElement(suite, "testcase", classname=_xml(verdict.subject), name=verdict.clause.id)
    message = _xml(verdict.reason)
    if verdict.verdict in FAILURES or verdict.verdict == "broken":
        tag = "error" if verdict.verdict == "broken" else "failure"
        wrong = ET.SubElement(case, tag, type=verdict.verdict, message=message)
        lines = (verdict.clause.title, verdict.reason, verdict.clause.source, *verdict.clause.threads)
        story = () if verdict.details is None else verdict.details.lines()
        wrong.text = _xml("\n".join((*lines, *story, verdict.reproduce)))
    elif verdict.verdict != "pass":
        ET.SubElement(case, "skipped", message=f"{verdict.verdict}: {message}")


def _counts(verdicts: Sequence[Verdict]) -> dict[str, str]:
    """The attributes in which JUnit counts."""
    words = [verdict.verdict for verdict in verdicts]
    failures = sum(word in FAILURES for word in words)
    errors = words.count("broken")
    skipped = len(words) - failures - errors - words.count("pass")
    counts = {"tests": len(words), "failures": failures, "errors": errors, "skipped": skipped}
    return {name: str(count) for name, count in counts.items()}


def _xml(text: str) -> str:
    """The same text without the characters that XML 1.0 cannot carry, not even escaped (section 2.2)."""
    return "".join(c if c in "\t\n" or (c >= " " and c not in "\ufffe\uffff") else "\ufffd" for c in text)
