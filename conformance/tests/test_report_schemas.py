# SPDX-License-Identifier: Apache-2.0
"""What the published schemas say is what is written, and they say enough to refuse what is not."""

import copy
import json
from importlib.resources import files
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from raplica_conformance.clause import Clause
from raplica_conformance.compare import Result, compare
from raplica_conformance.judge import judge
from raplica_conformance.matrix_report import Matrix, render
from raplica_conformance.matrix_results import Result as MatrixResult
from raplica_conformance.matrix_tools import Tool
from raplica_conformance.readers.called import CalledPlug
from raplica_conformance.readers.case_clauses import clause_of
from raplica_conformance.readers.plug import Reading
from raplica_conformance.readers.subject import PluggedReader
from raplica_conformance.reports import badge
from raplica_conformance.reports import json as json_report
from raplica_conformance.verdicts import VERDICTS, Verdict
from raplica_fixtures.cases import load_case

RULE = Clause("powercap.x", "must", "A rule.", "shape", "here", lambda _: None)
CASE = "arithmetic/one-wrap"


def schema(name: str) -> dict[str, Any]:
    text = files("raplica_conformance.reports").joinpath("schema", f"{name}.json").read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    Draft202012Validator.check_schema(document)
    return document


class Halved:
    """A reader that finds one package, and says half of what it spent."""

    def __init__(self, tree: Any, _clock: object) -> None:
        self._tree = tree
        self._seen: list[int] = []

    def sample(self) -> None:
        self._seen.append(int(self._tree.read("class/powercap/intel-rapl:0/energy_uj")))

    def answer(self) -> dict[str, Reading]:
        return {"intel-rapl:0": Reading((self._seen[-1] - self._seen[0]) // 2)}


@pytest.fixture(scope="module")
def told() -> Verdict:
    """A failure with a story."""
    return judge(clause_of(load_case(CASE)), PluggedReader(CalledPlug("halved", Halved)))


@pytest.fixture(scope="module")
def documents(told: Verdict) -> dict[str, Any]:
    """A document of each kind."""
    assert told.details is not None
    verdicts = [told, *(Verdict(RULE, f"on {word}", word, "reason") for word in VERDICTS)]
    tool = Tool("sample", "Sample")
    result = MatrixResult("sample", "1", CASE, "0", told.verdict, told.reason, 0.5, "again", told.details.as_json())
    passed = MatrixResult("sample", "1", "errors/eacces", "0", "pass", "", 0.5, "again")
    cells = {("sample", CASE): result, ("sample", "errors/eacces"): passed}
    matrix = Matrix((tool,), {"sample": "1"}, {"sample": ""}, (CASE, "errors/eacces"), cells)
    before = {("a", "one"): Result("pass", ""), ("b", "one"): Result("pass", "")}
    after = {("a", "one"): Result("fail", "no"), ("c", "one"): Result("pass", "")}
    return {
        "report-1": json.loads(json_report.render(verdicts)),
        "badge-1": json.loads(badge.render(verdicts)),
        "comparison-1": json.loads(json.dumps(compare(before, after).as_json())),
        "two-subjects": json.loads(json.dumps(compare(before, {("a", "two"): Result("pass", "")}).as_json())),
        "matrix-1": json.loads(render(matrix, "json")),
    }


NAMES = ("report-1", "badge-1", "comparison-1", "matrix-1")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_is_what_the_schema_says(name: str, documents: dict[str, Any]) -> None:
    Draft202012Validator(schema(name)).validate(documents[name])


def test_a_comparison_of_two_subjects_names_them(documents: dict[str, Any]) -> None:
    check = Draft202012Validator(schema("comparison-1"))
    document = documents["two-subjects"]
    check.validate(document)
    assert document["subjects"] == ["one", "two"]
    with pytest.raises(ValidationError):
        check.validate({**document, "subjects": ["one"]})


@pytest.mark.parametrize("name", NAMES)
def test_a_document_that_lacks_a_key_that_is_always_there_is_refused(name: str, documents: dict[str, Any]) -> None:
    for key in schema(name)["required"]:
        less = {other: value for other, value in documents[name].items() if other != key}
        with pytest.raises(ValidationError):
            Draft202012Validator(schema(name)).validate(less)


def test_a_word_that_is_no_verdict_and_a_story_without_its_parts_are_refused(documents: dict[str, Any]) -> None:
    check = Draft202012Validator(schema("report-1"))
    for key, wrong in (("id", ""), ("verdict", "good"), ("level", "often"), ("details", {}), ("reason", None)):
        document = copy.deepcopy(documents["report-1"])
        document["results"][0][key] = wrong
        with pytest.raises(ValidationError):
            check.validate(document)


def test_every_key_of_a_result_is_described(documents: dict[str, Any]) -> None:
    properties = schema("report-1")["$defs"]
    result = documents["report-1"]["results"][0]
    assert set(result) == set(properties["result"]["properties"])
    assert set(result["details"]) == set(properties["details"]["properties"])
