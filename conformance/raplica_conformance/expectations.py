# SPDX-License-Identifier: Apache-2.0
"""Known failures as a file: written from today's run, read again tomorrow, stale as soon as one passes.

Plain text has one failure a line, `ID SUBJECT # reason`; the subject may be a glob, and where it is left out
any subject is meant. A subject in double quotes is a JSON string, for a name that holds ` # `. Empty lines and
lines that begin with # say nothing. A file whose name ends in .json holds
`{"format": 1, "expected": [{"id": …, "subject": …, "reason": …}]}`. The reason is for people only.
"""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from raplica_conformance.atomic import write_text
from raplica_conformance.verdicts import Verdict

__all__ = ["Expectations", "ExpectationsError", "emit_expectations", "load_expectations"]

_HEAD = "# Known failures: ID SUBJECT # reason. A listed failure that passes is an unexpected-pass.\n"


class ExpectationsError(ValueError):
    """An expectation file that cannot be used: one line with the file, the place and what would be right."""


@dataclass(frozen=True, slots=True)
class Expectations:
    """The failures that are known: pairs of a clause id and a subject or a glob of subjects."""

    entries: tuple[tuple[str, str], ...] = ()

    def lists(self, clause_id: str, subject: str) -> bool:
        """Whether a failure of this clause on this subject is known."""
        return any(
            clause_id == listed and (subject == pattern or fnmatchcase(subject, pattern))
            for listed, pattern in self.entries
        )


def load_expectations(path: Path, known_ids: Collection[str]) -> Expectations:
    """Read a file of either form; ExpectationsError for a wrong one and for an id that nobody knows."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ExpectationsError(f"{path}: cannot be read as text: {error}") from error
    entries = _from_json(path, text) if path.suffix == ".json" else _from_text(path, text)
    for place, clause_id, _ in entries:
        if clause_id not in known_ids:
            raise ExpectationsError(f"{path}: {place}: {clause_id!r} is no clause; `conformance list` names them all")
    return Expectations(tuple((clause_id, subject) for _, clause_id, subject in entries))


def emit_expectations(path: Path, verdicts: Iterable[Verdict]) -> int:
    """Write the failures of a run, known ones included, and return how many; the form follows the suffix."""
    failed = [verdict for verdict in verdicts if verdict.verdict in ("fail", "timeout", "expected-fail")]
    if path.suffix == ".json":
        entries = [
            {"id": verdict.clause.id, "subject": verdict.subject, "reason": verdict.reason} for verdict in failed
        ]
        write_text(path, json.dumps({"format": 1, "expected": entries}, indent=2) + "\n")
    else:
        lines = [f"{verdict.clause.id} {_as_text(verdict.subject)} # {verdict.reason}\n" for verdict in failed]
        write_text(path, _HEAD + "".join(lines))
    return len(failed)


def _as_text(subject: str) -> str:
    """The subject as a line can carry it: as it is, or in quotes where it would be read as something else."""
    plain = subject.isprintable() and subject == subject.strip() != "" and not subject.startswith('"')
    return subject if plain and " # " not in f" {subject} " else json.dumps(subject)


def _from_text(path: Path, text: str) -> list[tuple[str, str, str]]:
    """(place, id, subject) of every line that says something."""
    entries = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("#"):
            continue
        place = f"line {number}"
        clause_id, _, rest = line.strip().partition(" ")
        if rest.lstrip().startswith('"'):
            entries.append((place, clause_id, _in_quotes(f"{path}: {place}", rest.lstrip())))
        elif meaning := f"{line} ".partition(" # ")[0].strip():
            clause_id, _, subject = meaning.partition(" ")
            entries.append((place, clause_id, subject.strip() or "*"))
    return entries


def _in_quotes(where: str, rest: str) -> str:
    """The subject that `rest` of a line begins with, in quotes; after it nothing or # and the reason."""
    try:
        subject, end = json.JSONDecoder().raw_decode(rest)
    except ValueError as error:
        raise ExpectationsError(f"{where}: the subject in quotes is no JSON string: {error}") from error
    after = rest[end:]
    if after.strip() and not after.startswith(" #"):
        raise ExpectationsError(f"{where}: after the subject in quotes only ` # reason` may come, not {after!r}")
    return str(subject)


def _from_json(path: Path, text: str) -> list[tuple[str, str, str]]:
    """(place, id, subject) of every entry."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ExpectationsError(f"{path}: is not JSON: {error}") from error
    if not isinstance(document, dict) or document.get("format") != 1:
        raise ExpectationsError(f'{path}: wants an object with "format": 1 and a list "expected"')
    listed = document.get("expected")
    if not isinstance(listed, list):
        raise ExpectationsError(f'{path}: "expected" wants a list of objects with "id" and "subject"')
    entries = []
    for number, entry in enumerate(listed):
        place = f"expected[{number}]"
        if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
            raise ExpectationsError(f'{path}: {place} wants an object with "id", and "subject" if it is not *')
        subject = entry.get("subject", "*")
        if not isinstance(subject, str):
            raise ExpectationsError(f"{path}: {place}: the subject wants text, not {subject!r}")
        entries.append((place, entry["id"], subject))
    return entries
