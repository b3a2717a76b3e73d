# SPDX-License-Identifier: Apache-2.0
"""The matrix as a table for a terminal or Markdown, as JSON, and as one page that needs nothing from anywhere.

Rows are cases and columns tools. The JSON report, format 1: `{"format": 1, "tools": [...], "cases": [...],
"results": [...]}`; fields may be added in format 1, none will change or go.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from raplica_conformance.matrix_results import Result
from raplica_conformance.matrix_tools import Tool
from raplica_conformance.reports.writing import ReportError, check_place, write_whole
from raplica_conformance.verdicts import VERDICTS
from raplica_fixtures.cases import Case, load_case

__all__ = ["MARKS", "Matrix", "check_matrix_path", "render", "render_failures", "write_matrix"]

#: What stands in the table for each verdict.
MARKS: Mapping[str, str] = {
    "pass": "ok",
    "fail": "FAIL",
    "timeout": "HUNG",
    "not-applicable": "-",
    "skip": "skip",
    "broken": "BROKEN",
}
_NOT_MADE = "?"
_FORMATS = ("txt", "md", "json", "html")


@dataclass(frozen=True, slots=True)
class Matrix:
    """What there is to report: `versions` has the tools that are here, `missing` says why the others are not."""

    tools: tuple[Tool, ...]
    versions: Mapping[str, str]
    missing: Mapping[str, str]
    cases: tuple[str, ...]
    results: Mapping[tuple[str, str], Result]

    @property
    def here(self) -> tuple[Tool, ...]:
        """The tools that were run."""
        return tuple(tool for tool in self.tools if tool.name in self.versions)

    @property
    def away(self) -> tuple[tuple[str, str], ...]:
        """The others: what a person calls each, and why."""
        return tuple((tool.title, self.missing[tool.name]) for tool in self.tools if tool.name not in self.versions)

    def verdict(self, tool: Tool, case: str) -> str:
        """The word of VERDICTS, "" where none was made."""
        result = self.results.get((tool.name, case))
        return "" if result is None else result.verdict

    def mark(self, tool: Tool, case: str) -> str:
        """What stands in the table."""
        return MARKS.get(self.verdict(tool, case), _NOT_MADE)

    def counted(self, tool: Tool) -> str:
        """How many of those that were judged are right: `7/12`."""
        words = Counter(self.verdict(tool, case) for case in self.cases)
        return f"{words['pass']}/{words['pass'] + words['fail'] + words['timeout']}"

    def failures(self) -> Iterator[tuple[Tool, Case, Result]]:
        """Whatever is wrong, tool by tool."""
        for tool in self.here:
            for case in self.cases:
                result = self.results.get((tool.name, case))
                if result is not None and result.verdict in ("fail", "timeout", "broken"):
                    yield tool, load_case(case), result


def check_matrix_path(path: Path) -> None:
    """ReportError where a report of that name cannot be written."""
    if path.suffix.removeprefix(".") not in _FORMATS:
        raise ReportError(f"--report {path}: the name must end in {', '.join(f'.{one}' for one in _FORMATS)}")
    check_place(path)


def write_matrix(path: Path, matrix: Matrix) -> None:
    """Write a report in the format that its name says; ReportError where that fails."""
    write_whole(path, render(matrix, path.suffix.removeprefix(".")))


def render(matrix: Matrix, form: str) -> str:
    """The report in one of the formats."""
    if form == "json":
        return _json(matrix)
    if form == "html":
        return _html(matrix)
    table = "\n".join(_markdown(matrix) if form == "md" else _text(matrix))
    return f"{table}\n"


def render_failures(matrix: Matrix) -> str:
    """Two lines for each thing that is wrong: what it is, and the command that shows it again."""
    lines = [
        line
        for tool, case, result in matrix.failures()
        for line in (f"{tool.title}: {case.id}: {result.reason}", f"    again   {tool.again(case.id)}")
    ]
    return "".join(f"{line}\n" for line in ["", *lines]) if lines else ""


def _rows(matrix: Matrix) -> list[list[str]]:
    head = ["case", *(f"{tool.title} {matrix.versions[tool.name]}".strip() for tool in matrix.here)]
    body = [[case, *(matrix.mark(tool, case) for tool in matrix.here)] for case in matrix.cases]
    return [head, *body, ["right of those judged", *(matrix.counted(tool) for tool in matrix.here)]]


def _text(matrix: Matrix) -> Iterator[str]:
    """Columns as narrow as their marks: the names of tools stand above, by number."""
    head, *body = _rows(matrix)
    for number, name in enumerate(head[1:], 1):
        yield f"{number:>4}  {name}"
    for title, why in matrix.away:
        yield f"   -  {title}: {why}"
    yield ""
    rows = [["", *map(str, range(1, len(head)))], *body]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for row in rows:
        first, *rest = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join([first, *rest]).rstrip()


def _markdown(matrix: Matrix) -> Iterator[str]:
    head, *body = _rows(matrix)
    yield f"| {' | '.join(_cell(one) for one in head)} |"
    yield f"|{'---|' * len(head)}"
    for row in body:
        yield f"| {' | '.join(_cell(one) for one in row)} |"
    failures = list(matrix.failures())
    if failures:
        yield ""
    for tool, case, result in failures:
        yield f"* {tool.title}, {case.id}: {_cell(result.reason)}"
    if matrix.away:
        yield ""
    for title, why in matrix.away:
        yield f"* {title}: {_cell(why)}"


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def _json(matrix: Matrix) -> str:
    cases = [load_case(case) for case in matrix.cases]
    document: dict[str, Any] = {
        "format": 1,
        "tools": [
            {
                "name": tool.name,
                "title": tool.title,
                "version": matrix.versions.get(tool.name, ""),
                "not_run": matrix.missing[tool.name],
                "tried": tool.is_tried,
            }
            for tool in matrix.tools
        ],
        "cases": [
            {"id": case.id, "title": case.title, "level": case.level, "bug_class": case.bug_class} for case in cases
        ],
        "results": [asdict(result) for result in matrix.results.values()],
    }
    return json.dumps(document, indent=2) + "\n"


def _html(matrix: Matrix) -> str:
    from raplica_conformance.reports.page import render_page

    occurring = {result.verdict for result in matrix.results.values()}
    return render_page(
        "matrix.html.j2",
        matrix=matrix,
        shelves=[
            (group, list(cases)) for group, cases in groupby(map(load_case, matrix.cases), lambda case: case.group)
        ],
        failures=list(matrix.failures()),
        words=[word for word in VERDICTS if word in occurring],
    )
