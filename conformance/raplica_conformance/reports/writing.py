# SPDX-License-Identifier: Apache-2.0
"""Which report a path asks for: the end of its name says so, and nothing is judged before that is clear.

Every format has a module of its own here with a function `render`; all of them are made from verdicts alone, but for
the page, which also draws what was judged.
"""

import importlib
from collections.abc import Sequence
from pathlib import Path

from raplica_conformance.atomic import write_text
from raplica_conformance.reports.portrait import Portrait
from raplica_conformance.verdicts import Verdict

__all__ = ["ReportError", "check_path", "check_place", "draws_subjects", "write_report", "write_whole"]

#: The longer ending comes first: a badge is JSON as well.
_MODULES = {
    ".badge.json": "badge",
    ".html": "html",
    ".json": "json",
    ".xml": "junit",
    ".tap": "tap",
    ".ktap": "ktap",
}


class ReportError(ValueError):
    """A report that cannot be written: one line with the path and what would be right."""


def check_path(path: Path) -> None:
    """Refuse a path whose ending no report has, or whose folder is not there."""
    if not _module(path):
        known = ", ".join(_MODULES)
        raise ReportError(f"{path}: there is no report with the suffix {path.suffix!r}; known are {known}")
    check_place(path)


def check_place(path: Path) -> None:
    """Refuse a path whose folder is not there, or that is a folder itself."""
    if not path.parent.is_dir():
        raise ReportError(f"{path}: the folder {path.parent} does not exist; make it first")
    if path.is_dir():
        raise ReportError(f"{path}: is a folder; name a file")


def draws_subjects(path: Path) -> bool:
    """Whether the report shows what was judged, and not only what came out."""
    return _module(path) == "html"


def write_report(path: Path, verdicts: Sequence[Verdict], portraits: Sequence[Portrait] = ()) -> None:
    """Write the report that the name asks for, whole or not at all; ReportError where that fails."""
    check_path(path)
    module = importlib.import_module(f"{__package__}.{_module(path)}")
    text = module.render(verdicts, portraits) if draws_subjects(path) else module.render(verdicts)
    write_whole(path, text)


def write_whole(path: Path, text: str) -> None:
    """Write the text, whole or not at all; ReportError where that fails."""
    try:
        write_text(path, text)
    except OSError as error:
        raise ReportError(f"{path}: cannot be written: {error.strerror}") from error


def _module(path: Path) -> str:
    """The module that makes the report, "" where there is none. A name that is an ending alone has none."""
    return next((module for end, module in _MODULES.items() if path.name.endswith(end) and path.name != end), "")
