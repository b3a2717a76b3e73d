# SPDX-License-Identifier: Apache-2.0
"""Which report a path asks for: its suffix says so, and nothing is judged before that is clear."""

import importlib
from collections.abc import Sequence
from pathlib import Path

from raplica_conformance.atomic import write_text
from raplica_conformance.verdicts import Verdict

__all__ = ["ReportError", "check_path", "write_report"]

_MODULES = {".json": "report_json", ".xml": "report_junit", ".tap": "report_tap", ".ktap": "report_ktap"}


class ReportError(ValueError):
    """A report that cannot be written: one line with the path and what would be right."""


def check_path(path: Path) -> None:
    """Refuse a path whose suffix no report has, or whose folder is not there."""
    if path.suffix not in _MODULES:
        known = ", ".join(_MODULES)
        raise ReportError(f"{path}: there is no report with the suffix {path.suffix!r}; known are {known}")
    if not path.parent.is_dir():
        raise ReportError(f"{path}: the folder {path.parent} does not exist; make it first")
    if path.is_dir():
        raise ReportError(f"{path}: is a folder; name a file")


def write_report(path: Path, verdicts: Sequence[Verdict]) -> None:
    """Write the report that the suffix names, whole or not at all; ReportError where that fails."""
    check_path(path)
    module = importlib.import_module(f"raplica_conformance.{_MODULES[path.suffix]}")
    try:
        write_text(path, module.render(verdicts))
    except OSError as error:
        raise ReportError(f"{path}: cannot be written: {error.strerror}") from error
