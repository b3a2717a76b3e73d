# SPDX-License-Identifier: Apache-2.0
"""Two reports side by side: what counts is whether a rule holds, and something worse is status 1."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_conformance.clause import Clause
from raplica_conformance.cli import main
from raplica_conformance.compare import MEANINGS, CompareError, Report, Result, compare, load_report
from raplica_conformance.reports import json as json_report
from raplica_conformance.verdicts import VERDICTS, Verdict, exit_code

RULE = Clause("powercap.x", "must", "A rule.", "shape", "here", lambda _: None)


def status_of(arguments: Sequence[str | Path]) -> int:
    """The exit status of the command in this process."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def kind_of(before: str | None, after: str | None) -> str:
    """What became of one verdict, beside one that stays as it is."""
    found = compare(_report(before), _report(after))
    kinds = [kind for kind, changes in found.kinds() for _ in changes]
    assert len(kinds) + found.same == 2 - (before is None and after is None)
    return kinds[0] if kinds else "same"


def _report(word: str | None) -> Report:
    beside = {("b", "two"): Result("pass", "")}
    return beside if word is None else {("a", "one"): Result(word, ""), **beside}


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        ("pass", "fail", "worse"),
        ("pass", "timeout", "worse"),
        ("pass", "broken", "worse"),
        ("skip", "fail", "worse"),
        ("not-applicable", "fail", "worse"),
        ("pass", "expected-fail", "worse"),
        (None, "fail", "worse"),
        ("fail", "pass", "mended"),
        ("broken", "pass", "mended"),
        ("expected-fail", "pass", "mended"),
        ("expected-fail", "unexpected-pass", "mended"),
        ("fail", "expected-fail", "changed"),
        ("expected-fail", "fail", "changed"),
        ("fail", "timeout", "changed"),
        ("fail", "skip", "changed"),
        ("pass", "not-applicable", "changed"),
        ("pass", "unexpected-pass", "changed"),
        ("skip", "expected-fail", "changed"),
        (None, "pass", "new"),
        (None, "expected-fail", "new"),
        ("fail", None, "gone"),
        ("pass", "pass", "same"),
        ("fail", "fail", "same"),
    ],
)
def test_each_pair_of_verdicts_has_its_word(before: str | None, after: str | None, kind: str) -> None:
    assert kind_of(before, after) == kind


words = st.sampled_from(VERDICTS)
reports = st.dictionaries(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["one", "two"])),
    st.builds(Result, words, st.sampled_from(["", "x"])),
)


@given(reports, reports)
def test_every_verdict_is_counted_once_and_a_report_is_like_itself(before: Report, after: Report) -> None:
    found = compare(before, after)
    there = sum(len(changes) for kind, changes in found.kinds() if kind != "gone") + found.same
    assert there == len(after)
    itself = compare(before, before)
    assert itself.same == len(before)
    assert not any(changes for _, changes in itself.kinds())


@given(reports, st.sampled_from(VERDICTS))
def test_what_is_worse_is_never_something_that_holds(before: Report, word: str) -> None:
    after = {key: Result(word, "") for key in before}
    if word in ("pass", "unexpected-pass", "skip", "not-applicable"):
        assert compare(before, after).worse == []


def test_one_subject_each_is_compared_whatever_they_are_called() -> None:
    found = compare({("a", "tree:/one"): Result("pass", "")}, {("a", "tree:/two"): Result("fail", "no")})
    assert [(change.subject, change.before, change.after) for change in found.worse] == [("tree:/two", "pass", "fail")]
    assert found.gone == []
    assert found.subjects == ("tree:/one", "tree:/two")
    assert compare({("a", "one"): Result("pass", "")}, {("a", "one"): Result("fail", "")}).subjects is None


def test_two_subjects_that_are_called_differently_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.json").write_text(json_report.render([Verdict(RULE, f"tree:/{name}\n", "pass")]))
    page = tmp_path / "c.html"
    assert status_of(["compare", tmp_path / "one.json", tmp_path / "two.json", "--report", page]) == 0
    assert capsys.readouterr().out == "tree:/one\\n before, tree:/two\\n now\n1 the same\n"
    assert "The first is about tree:/one\\n, the second about tree:/two\\n." in page.read_text()
    assert "1 verdict is the same." in page.read_text()


def test_another_reason_for_the_same_failure_is_a_change_and_for_a_pass_it_is_none() -> None:
    found = compare(
        {("a", "one"): Result("fail", "x"), ("b", "one"): Result("skip", "x")},
        {("a", "one"): Result("fail", "y"), ("b", "one"): Result("skip", "y")},
    )
    assert [change.reason for change in found.changed] == ["y"]
    assert found.same == 1


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Two reports on one machine: a rule broke, one was mended, thirty are gone and one is new."""
    before, after = tmp_path / "a.json", tmp_path / "b.json"

    def verdict(name: str, word: str, reason: str = "") -> Verdict:
        rule = Clause(name, "must", "A rule.", "shape", "here", lambda _: None)
        return Verdict(rule, "machine\x1b", word, reason)

    old = [verdict(f"powercap.old-{number}", "pass") for number in range(30)]
    first = [verdict("powercap.broke", "pass"), verdict("powercap.mended", "fail", "it did not"), *old]
    second = [verdict("powercap.broke", "fail", "no longer"), verdict("powercap.mended", "pass")]
    before.write_text(json_report.render(first))
    after.write_text(json_report.render([*second, verdict("powercap.new", "pass")]))
    return before, after


def test_the_command_says_what_broke_and_ends_with_1(
    two: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(["compare", *two]) == 1
    told = capsys.readouterr().out
    assert "WORSE    powercap.broke on machine\\x1b: pass -> fail\n         no longer\n" in told
    assert "MENDED   powercap.mended on machine\\x1b: fail -> pass" in told
    assert "NEW      powercap.new on machine\\x1b: not there -> pass" in told
    assert "GONE     10 more; --json and --report name them all" in told
    assert told.endswith("1 worse, 1 mended, 1 new, 30 gone, 0 the same\n")
    assert status_of(["compare", two[1], two[1]]) == 0
    assert capsys.readouterr().out == "3 the same\n"


def test_the_comparison_is_written_as_a_page_and_as_json(
    two: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, document = tmp_path / "c.html", tmp_path / "c.json"
    assert status_of(["compare", *two, "--report", page, "--report", document, "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == json.loads(document.read_text())
    text = page.read_text()
    for kind, meaning in MEANINGS.items():
        assert meaning in text
        assert len(json.loads(document.read_text())[kind]) == json.loads(document.read_text())["summary"][kind]
    assert "1 worse than before." in text
    assert "machine\\x1b" in text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("milk", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[]", "is no report"),
        ('{"format": 2, "results": []}', "of format 2; this version knows format 1"),
        ('{"format": 1, "results": []}', "has no results: nothing was judged there"),
        ('{"format": 1, "results": [1]}', "results[0] is no object"),
        ('{"format": 1, "results": [{"id": "a"}]}', "results[0] has no text 'subject'"),
    ],
)
def test_a_file_that_is_no_report_is_refused_in_one_line(text: str, why: str, tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text(text)
    with pytest.raises(CompareError) as refused:
        load_report(file)
    assert str(refused.value).startswith(f"{file}: ")
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_word_that_is_none_and_a_result_that_is_there_twice_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    result: dict[str, Any] = {"id": "a", "subject": "one", "verdict": "good", "reason": ""}
    file.write_text(json.dumps({"format": 1, "results": [result]}))
    with pytest.raises(CompareError, match="'good' is none of pass, fail"):
        load_report(file)
    result["verdict"] = "pass"
    file.write_text(json.dumps({"format": 1, "results": [result, result]}))
    with pytest.raises(CompareError, match=r"results\[1\]: a on one is there twice"):
        load_report(file)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["no-such-file.json"], "no-such-file.json: cannot be read: No such file or directory"),
        (["{b}", "--report", "x.pdf"], "--report x.pdf: the name must end in .html or .json"),
        (["{b}", "--report", "none/x.html"], "the folder none does not exist; make it first"),
        (["{b}", "--report", "folder.html"], "folder.html: is a folder; name a file"),
        (["{b}", "--report", "/proc/x.html"], "/proc/x.html: cannot be written"),
    ],
)
def test_what_cannot_be_compared_is_one_line_with_status_2(
    arguments: list[str],
    why: str,
    two: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.html").mkdir()
    assert status_of(["compare", two[0], *(one.format(b=two[1]) for one in arguments)]) == 2
    told = capsys.readouterr().err
    assert why in told
    assert told.count("\n") == 1


def test_a_report_that_was_written_can_be_read_whatever_came_out(tmp_path: Path) -> None:
    verdicts = [Verdict(RULE, f"on {word}", word, f"reason of {word}") for word in VERDICTS]
    file = tmp_path / "x.json"
    file.write_text(json_report.render(verdicts))
    read = load_report(file)
    assert {key[1]: result.verdict for key, result in read.items()} == {f"on {word}": word for word in VERDICTS}
    assert exit_code(verdicts) == 1
