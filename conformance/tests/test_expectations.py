# SPDX-License-Identifier: Apache-2.0
"""Known failures: both forms of the file are read, written, and refused when they say nothing sensible."""

import json
from pathlib import Path

import pytest

from raplica_conformance.clause import Clause
from raplica_conformance.expectations import (
    Expectations,
    ExpectationsError,
    emit_expectations,
    load_expectations,
)
from raplica_conformance.verdicts import VERDICTS, Verdict

IDS = {"a.b", "a.c"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "known.txt"


def test_a_text_file_has_an_id_a_subject_and_a_reason_on_a_line(path: Path) -> None:
    path.write_text("# a comment\n\na.b tree:/a dir # why\na.c\na.c sim*@6.1 # old # kernels\na.b # any\n")
    assert load_expectations(path, IDS).entries == (
        ("a.b", "tree:/a dir"),
        ("a.c", "*"),
        ("a.c", "sim*@6.1"),
        ("a.b", "*"),
    )


def test_a_json_file_has_the_same_as_objects(path: Path) -> None:
    path = path.with_suffix(".json")
    entries = [{"id": "a.b", "subject": "one", "reason": "why"}, {"id": "a.c"}]
    path.write_text(json.dumps({"format": 1, "expected": entries}))
    assert load_expectations(path, IDS).entries == (("a.b", "one"), ("a.c", "*"))


@pytest.mark.parametrize(
    ("entry", "subject", "listed"),
    [
        ("one", "one", True),
        ("one", "two", False),
        ("o*", "one", True),
        ("*@6.1", "kabylake@6.1", True),
        ("*@6.1", "kabylake@6.12", False),
        ("tree:/a[1]", "tree:/a[1]", True),
    ],
)
def test_a_subject_is_meant_by_its_name_or_by_a_glob(entry: str, subject: str, *, listed: bool) -> None:
    assert Expectations((("a.b", entry),)).lists("a.b", subject) is listed
    assert not Expectations((("a.b", entry),)).lists("a.c", subject)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("not json", "is not JSON"),
        ("[]", '"format": 1'),
        ('{"format": 2, "expected": []}', '"format": 1'),
        ('{"format": 1}', "wants a list"),
        ('{"format": 1, "expected": ["a.b"]}', r"expected\[0\] wants an object"),
        ('{"format": 1, "expected": [{"subject": "x"}]}', r"expected\[0\] wants an object"),
        ('{"format": 1, "expected": [{"id": "a.b", "subject": 1}]}', r"expected\[0\]: the subject"),
        ('{"format": 1, "expected": [{"id": "a.d"}]}', r"expected\[0\]: 'a.d' is no clause"),
    ],
)
def test_a_wrong_json_file_is_refused_in_one_line_that_names_the_place(text: str, complaint: str, path: Path) -> None:
    path = path.with_suffix(".json")
    path.write_text(text)
    with pytest.raises(ExpectationsError, match=complaint) as refused:
        load_expectations(path, IDS)
    assert str(refused.value).startswith(str(path))
    assert "\n" not in str(refused.value)


def test_an_id_that_no_clause_has_is_refused_with_its_line(path: Path) -> None:
    path.write_text("a.b\na.misspelt one # why\n")
    with pytest.raises(ExpectationsError, match=r"line 2: 'a\.misspelt' is no clause"):
        load_expectations(path, IDS)


def test_a_file_that_is_not_there_or_no_text_is_refused(path: Path) -> None:
    with pytest.raises(ExpectationsError, match="cannot be read"):
        load_expectations(path, IDS)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ExpectationsError, match="cannot be read"):
        load_expectations(path, IDS)


@pytest.mark.parametrize("suffix", [".txt", ".json"])
def test_what_is_written_is_read_back_and_lists_the_failures_alone(suffix: str, path: Path) -> None:
    path = path.with_suffix(suffix)
    rule = Clause("a.b", "must", "A rule.", "shape", "a.c", lambda _: None)
    subjects = {word: f"tree:/some where/{word}" for word in VERDICTS}
    verdicts = [Verdict(rule, subjects[word], word, f"reason # of {word}") for word in VERDICTS]
    assert emit_expectations(path, verdicts) == 3
    known = load_expectations(path, IDS)
    listed = {word for word in VERDICTS if known.lists("a.b", subjects[word])}
    assert listed == {"fail", "timeout", "expected-fail"}


@pytest.mark.parametrize("suffix", [".txt", ".json"])
@pytest.mark.parametrize(
    "subject",
    [
        "tree:a # b",
        "tree:a #",
        "# b",
        "#",
        "tree:x\ny",
        "tree:x\x85y",
        " edges ",
        '"quoted"',
        'a "b"',
        "",
        "tree:a\\nb",
    ],
)
def test_a_subject_of_any_name_is_read_back_as_it_was(subject: str, suffix: str, path: Path) -> None:
    path = path.with_suffix(suffix)
    rule = Clause("a.b", "must", "A rule.", "shape", "a.c", lambda _: None)
    emit_expectations(path, [Verdict(rule, subject, "fail", "reason # of it")])
    assert load_expectations(path, IDS).entries == (("a.b", subject),)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('a.b "tree:a', r"line 2: the subject in quotes is no JSON string"),
        ('a.b "tree:a" b # why', r"line 2: after the subject in quotes only"),
        ('a.b "tree:a"# why', r"line 2: after the subject in quotes only"),
    ],
)
def test_wrong_quotes_are_refused_with_their_line(line: str, complaint: str, path: Path) -> None:
    path.write_text(f'a.c "x" # why\n{line}\n')
    with pytest.raises(ExpectationsError, match=complaint) as refused:
        load_expectations(path, IDS)
    assert str(refused.value).startswith(str(path))
