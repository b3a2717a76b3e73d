# SPDX-License-Identifier: Apache-2.0
"""The matrix: results in a file and on a page, and to which version of a tool they belong."""

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest

from raplica_conformance.matrix_report import Matrix, render, render_failures
from raplica_conformance.matrix_results import Result, Results, ResultsError, origin
from raplica_conformance.matrix_show import Shown, progress
from raplica_conformance.matrix_tools import Tool, tools_named


def test_a_file_that_holds_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("milk\n")
    with pytest.raises(ResultsError, match=r"notes\.txt:1: is no result"):
        Results(file)
    assert file.read_text() == "milk\n"


def test_what_came_out_of_a_tool_is_shown_as_text_and_not_as_markup() -> None:
    tool = Tool("x", "<b>x</b>")
    reason = "it says <script>alert(1)</script> | and"
    result = Result("x", "1", "topology/every-zone", "", "fail", reason, 0.1, "conformance run")
    matrix = Matrix((tool,), {"x": "1"}, {"x": ""}, ("topology/every-zone",), {("x", "topology/every-zone"): result})
    assert "<script>alert" not in render(matrix, "html")
    assert "<script>" not in render(matrix, "md")
    assert "\\|" in render(matrix, "md")
    assert reason in render_failures(matrix)
    assert matrix.counted(tool) == "0/1"


def test_a_result_belongs_to_the_version_of_the_tool() -> None:
    (tool,) = tools_named(("raplica-reader-stepped",))
    assert origin(tool, "1", "arithmetic/one-wrap") != origin(tool, "2", "arithmetic/one-wrap")
    assert Tool.from_json(json.loads(json.dumps(tool.as_json()))) == replace(tool, version=Tool("x", "x").version)


def test_on_a_terminal_there_is_a_bar_instead_of_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with progress(2, 1, quiet=False) as show:
        show(Shown("tool", "group/case", "pass"))
        show(Shown("tool", "group/other", "fail"))
    shown = terminal.getvalue()
    assert shown.startswith("2 verdicts to be made, 1 are there from before\n")
    assert "[1/2]" not in shown


def test_results_that_cannot_be_read_are_told_with_their_file(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="cannot be read: "):
        Results(tmp_path)
