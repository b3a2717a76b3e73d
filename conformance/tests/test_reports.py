# SPDX-License-Identifier: Apache-2.0
"""Every report says what the verdicts say, can be parsed whatever the reasons hold, and is written whole."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_conformance.clause import Clause
from raplica_conformance.judge import judge
from raplica_conformance.reports import badge
from raplica_conformance.reports import json as report_json
from raplica_conformance.reports import junit as report_junit
from raplica_conformance.reports import ktap as report_ktap
from raplica_conformance.reports import tap as report_tap
from raplica_conformance.reports.writing import ReportError, check_path, write_report
from raplica_conformance.verdicts import VERDICTS, Verdict, summary

RULE = Clause("a.b", "must", "A <rule> & more.", "shape", "a.c", lambda _: None, threads=("https://example.org/1",))

ONE_OF_EACH = [
    Verdict(RULE, subject, word, f"reason of {word}", ("--tree", "a b"))
    for subject in ("one", "two")
    for word in VERDICTS
]

anything = st.builds(
    Verdict,
    st.just(RULE),
    st.text(),
    st.sampled_from(VERDICTS),
    st.text(),
    st.just(("--tree", "x")),
)


def test_the_json_report_has_exactly_the_promised_shape() -> None:
    document = json.loads(report_json.render(ONE_OF_EACH))
    assert list(document) == ["format", "summary", "results"]
    assert document["format"] == 1
    assert document["summary"] == dict.fromkeys(VERDICTS, 2)
    assert document["results"][1] == {
        "id": "a.b",
        "subject": "one",
        "level": "must",
        "verdict": "fail",
        "reason": "reason of fail",
    }
    assert len(document["results"]) == 16


def test_the_junit_report_counts_failures_errors_and_skips_for_each_subject() -> None:
    root = ET.fromstring(report_junit.render(ONE_OF_EACH))  # noqa: S314 - our own words
    wanted = {"tests": "8", "failures": "3", "errors": "1", "skipped": "3"}
    assert [suite.attrib for suite in root] == [{"name": name, **wanted} for name in ("one", "two")]
    assert root.attrib == {"name": "conformance", "tests": "16", "failures": "6", "errors": "2"}
    failure = root.find(".//testcase/failure[@type='fail']")
    assert failure is not None
    assert failure.attrib["message"] == "reason of fail"
    assert failure.text is not None
    assert failure.text.splitlines()[-2:] == ["https://example.org/1", "conformance run a.b --tree 'a b'"]
    assert [case.attrib["type"] for case in root.iter("error")] == ["broken", "broken"]


def test_the_tap_report_is_version_14_with_a_plan_and_a_yaml_block_under_what_is_bad() -> None:
    lines = report_tap.render(ONE_OF_EACH[:8]).splitlines()
    assert lines[:2] == ["TAP version 14", "1..8"]
    points = [line for line in lines if re.match(r"(not )?ok ", line)]
    assert points == [
        "ok 1 - a.b on one",
        "not ok 2 - a.b on one",
        "ok 3 - a.b on one # SKIP skip: reason of skip",
        "ok 4 - a.b on one # SKIP not-applicable: reason of not-applicable",
        "not ok 5 - a.b on one",
        "not ok 6 - a.b on one",
        "not ok 7 - a.b on one # TODO reason of expected-fail",
        "not ok 8 - a.b on one",
    ]
    assert lines.count("  ---") == lines.count("  ...") == 4
    assert "  reproduce: \"conformance run a.b --tree 'a b'\"" in lines


def test_no_text_in_the_yaml_of_a_tap_report_is_an_escape_that_yaml_refuses() -> None:
    """Half a letter: JSON writes what is beyond 16 bits as two escapes, YAML 1.2 section 5.7 has eight digits."""
    report = report_tap.render([Verdict(RULE, "one", "fail", '\U0001f600 \x00\x1b\u2028\U000e0001 "x" # TODO')])
    assert '  message: "\U0001f600 \\u0000\\u001b\\u2028\\U000e0001 \\"x\\" # TODO"\n' in report


@given(st.lists(anything))
def test_whatever_the_reasons_hold_every_report_parses_and_counts_all_verdicts(
    verdicts: list[Verdict],
) -> None:
    document = json.loads(report_json.render(verdicts))
    assert document["summary"] == summary(verdicts)
    assert [result["reason"] for result in document["results"]] == [verdict.reason for verdict in verdicts]
    junit = ET.fromstring(report_junit.render(verdicts).encode("utf-8", "replace"))  # noqa: S314 - ours
    assert len(list(junit.iter("testcase"))) == int(junit.attrib["tests"]) == len(verdicts)
    tap = report_tap.render(verdicts).split("\n")
    numbers = [int(found[1]) for found in (re.match(r"(?:not )?ok (\d+) - ", line) for line in tap) if found]
    assert numbers == list(range(1, len(verdicts) + 1))
    assert tap[1] == f"1..{len(verdicts)}"
    directives = [line for line in tap if re.search(r"(?<!\\)(?:\\\\)*#", line) and not line.startswith("  ")]
    quiet = {"skip", "not-applicable", "expected-fail"}
    assert len(directives) == sum(verdict.verdict in quiet for verdict in verdicts)


def test_the_ktap_report_has_a_plan_directives_and_diagnostics_before_what_is_bad() -> None:
    lines = report_ktap.render(ONE_OF_EACH[:8]).splitlines()
    assert lines[:2] == ["KTAP version 1", "1..8"]
    results = [line for line in lines if re.match(r"(not )?ok ", line)]
    assert [int(re.sub(r"\D*(\d+).*", r"\1", line)) for line in results] == list(range(1, 9))
    words = {verdict.verdict: line for verdict, line in zip(ONE_OF_EACH[:8], results, strict=True)}
    assert results[0] == "ok 1 a.b on one"
    assert words["not-applicable"].endswith("# SKIP not-applicable: reason of not-applicable")
    assert words["expected-fail"].startswith("ok ")
    assert words["expected-fail"].endswith("# XFAIL reason of expected-fail")
    assert words["timeout"].endswith("# TIMEOUT")
    assert words["broken"].endswith("# ERROR")
    failed = lines.index(words["fail"])
    assert words["fail"].startswith("not ok ")
    assert lines[failed - 4 : failed - 1] == ["# A <rule> & more.", "# fail: reason of fail", "# source: a.c"]


@given(st.lists(anything))
def test_no_text_breaks_a_ktap_line_or_begins_a_directive(verdicts: list[Verdict]) -> None:
    lines = report_ktap.render(verdicts).split("\n")
    results = [line for line in lines if re.match(r"(not )?ok ", line)]
    assert len(results) == len(verdicts)
    allowed = r"#( SKIP | XFAIL| TIMEOUT| ERROR)"
    assert all(line.count("#") <= 1 and ("#" not in line or re.search(allowed, line)) for line in results)
    assert all(line.startswith("# ") for line in lines[2:] if line and line not in results)


@pytest.mark.parametrize("suffix", [".html", ".json", ".badge.json", ".xml", ".tap", ".ktap"])
def test_a_report_replaces_an_older_one_whole_and_leaves_nothing_beside_it(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"report{suffix}"
    path.write_text("old and long " * 10_000)
    umask = os.umask(0o027)
    try:
        write_report(path, ONE_OF_EACH)
    finally:
        os.umask(umask)
    assert "old and long" not in path.read_text(encoding="utf-8")
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_report_that_cannot_be_made_leaves_the_old_one_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")

    def full(*_arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fchmod", full)
    with pytest.raises(ReportError, match=r"report\.json: cannot be written: No space left on device"):
        write_report(path, ONE_OF_EACH)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.json"]


@pytest.mark.parametrize("name", ["report.txt", "report", "report.JSON", "none/report.json", ".html"])
def test_a_report_with_another_suffix_or_without_a_folder_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(ReportError) as refused:
        check_path(tmp_path / name)
    assert str(refused.value).startswith(str(tmp_path / name))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("words", "message", "color"),
    [
        (["pass", "pass", "not-applicable", "expected-fail"], "2 pass", "brightgreen"),
        (["pass", "fail", "timeout", "broken", "skip"], "2 of 4 fail", "red"),
        (["pass", "broken"], "1 broken", "lightgrey"),
        (["skip"], "nothing judged", "lightgrey"),
        ([], "nothing judged", "lightgrey"),
    ],
)
def test_a_badge_says_in_a_few_words_how_it_ended(words: list[str], message: str, color: str) -> None:
    shown = json.loads(badge.render([Verdict(RULE, "one", word) for word in words]))
    assert shown.pop("isError", False) is (color == "lightgrey")
    assert shown == {"schemaVersion": 1, "label": "RAPL conformance", "message": message, "color": color}


def test_a_folder_is_no_report(tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(ReportError, match="is a folder"):
        check_path(tmp_path / "folder.json")


def test_the_harness_clauses_go_through_every_report(
    harness: dict[str, Clause], bare: type, limit_of: Callable[[str], float]
) -> None:
    verdicts = [judge(clause, bare(), limit_s=limit_of(clause.id)) for clause in harness.values()]
    assert json.loads(report_json.render(verdicts))["summary"]["timeout"] == 2
    assert ET.fromstring(report_junit.render(verdicts)).attrib["errors"] == "2"  # noqa: S314 - our own words
    assert report_tap.render(verdicts).count("\nnot ok") == 6
