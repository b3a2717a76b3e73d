# SPDX-License-Identifier: Apache-2.0
"""What the matrix has measured, kept as it comes: a JSON document a line, so that a run that was stopped goes on.

A result counts as long as nothing that it came from has changed: the version of the tool, the case and the adapter.
"""

import hashlib
import json
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from raplica_conformance.atomic import write_text
from raplica_conformance.matrix_tools import Tool
from raplica_conformance.readers import tools
from raplica_conformance.readers.adapter import find_adapter
from raplica_fixtures.cases import case_path

__all__ = ["Result", "Results", "ResultsError", "origin"]

_WRITE_EVERY_S = 1.0


class ResultsError(ValueError):
    """A file of results that cannot be used: one line with the file."""


@dataclass(frozen=True, slots=True)
class Result:
    """One tool on one case. `origin` stands for all that it came from; `details` tell a failure at length."""

    tool: str
    version: str
    case: str
    origin: str
    verdict: str
    reason: str
    took_s: float
    again: str
    details: Mapping[str, Any] | None = None


class Results:
    """All results so far, in memory and, where there is a path, in a file; for several threads."""

    def __init__(self, path: Path | None, *, afresh: bool = False) -> None:
        """Read what is there unless it is to begin `afresh`. ResultsError for a file that is none of ours."""
        self._path = path
        self._lock = threading.Lock()
        self._written_s = 0.0
        self._found: dict[tuple[str, str], Result] = {}
        if path is not None and not path.absolute().parent.is_dir():
            raise ResultsError(f"{path}: the folder {path.parent} does not exist; make it first")
        if path is not None and path.exists() and not afresh:
            for result in _read(path):
                self._found[result.tool, result.case] = result

    def of(self, tool: str, case: str, origin: str) -> Result | None:
        """The result that is there, unless something has changed since."""
        with self._lock:
            result = self._found.get((tool, case))
        return result if result is not None and result.origin == origin else None

    def add(self, result: Result) -> None:
        """Take one in; it is on disk within a second, or when `write` is called."""
        with self._lock:
            self._found[result.tool, result.case] = result
            if time.monotonic() - self._written_s < _WRITE_EVERY_S:
                return
            self._write()

    def write(self) -> None:
        """Write all of them. OSError leaves the file as it was."""
        with self._lock:
            self._write()

    def _write(self) -> None:
        if self._path is not None:
            lines = (json.dumps(asdict(result), sort_keys=True) for result in self._found.values())
            write_text(self._path, "".join(f"{line}\n" for line in lines))
        self._written_s = time.monotonic()


def origin(tool: Tool, version: str, case: str) -> str:
    """A short text that changes with the tool's version, with its adapter, with what it claims and with the case."""
    digest = hashlib.sha256(_drivers())
    for part in (
        version,
        _described(tool.name),
        json.dumps(tool.as_json()),
        case_path(case).read_text("utf-8"),
    ):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()[:16]


def _described(name: str) -> str:
    """An adapter as text, the same in every process: sets have no order of their own."""
    adapter = find_adapter(name)
    values = ((field.name, getattr(adapter, field.name)) for field in fields(adapter))
    return repr([(key, sorted(value) if isinstance(value, frozenset) else value) for key, value in values])


@cache
def _drivers() -> bytes:
    """What asks the tools."""
    files = sorted(path for path in Path(tools.__file__).parent.iterdir() if path.is_file())
    return b"\0".join(path.read_bytes() for path in files)


def _read(path: Path) -> Iterable[Result]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise ResultsError(f"{path}: cannot be read: {error}") from error
    for number, line in enumerate(lines, 1):
        try:
            yield Result(**json.loads(line))
        except (TypeError, ValueError) as error:
            raise ResultsError(
                f"{path}:{number}: is no result of the matrix; name another file with --results, or take it away"
            ) from error
