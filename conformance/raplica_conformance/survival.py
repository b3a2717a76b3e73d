# SPDX-License-Identifier: Apache-2.0
"""Whether the suite outlives programs that are no readers: the verdict that is due, in time, and nothing left behind.

Each program is plugged in as a reader that is started for every sample, and as one that is told when to look.
"""

import os
import sys
import tempfile
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from raplica_conformance.judge import judge
from raplica_conformance.readers.case_clauses import clause_of
from raplica_conformance.readers.command import Command
from raplica_conformance.readers.extract import read_extractor
from raplica_conformance.readers.oneshot import OneshotPlug
from raplica_conformance.readers.plug import Plug
from raplica_conformance.readers.stepped import SteppedPlug
from raplica_conformance.readers.subject import PluggedReader
from raplica_fixtures.cases import Case
from raplica_mutants import Program

__all__ = ["survived"]

_MARK = "RAPLICA_SELFTEST"
_NEVER_S = 0.3  # for programs that do not answer, however long they are waited for
_LONG_S = 60.0  # for those that end by themselves, and need not be waited for to the end


def survived(program: Program, case: Case) -> Generator[tuple[str, str, str], None, None]:
    """For each kind of plug: its name, what was wrong with the suite ("": nothing), and why that was not tried ("")."""
    limit_s = _NEVER_S if program.verdict == "timeout" else _LONG_S
    command = Command((sys.executable, "-I", "-S", str(program.path)))
    plugs: list[Plug] = [
        OneshotPlug(program.name, command, read_extractor(("json",), "uJ", None), limit_s=limit_s),
        SteppedPlug(program.name, command, limit_s=limit_s),
    ]
    for plug in plugs:
        with _watched() as (mark, folder):
            reader = PluggedReader(plug)
            try:
                verdict = judge(clause_of(case), reader)
            finally:
                reader.close()
            wrong = "" if verdict.verdict == program.verdict else f"is {verdict.verdict}: {verdict.reason}"
            wrong = wrong or _left(mark, folder)
        skipped = verdict.verdict == "skip"
        yield plug.kind, "" if skipped else wrong, verdict.reason if skipped else ""


@contextmanager
def _watched() -> Iterator[tuple[str, Path]]:
    """A mark in the environment of all that is started, and a folder for all files that are made for a while."""
    mark, before = uuid.uuid4().hex, tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix="raplica-selftest-") as folder:
        os.environ[_MARK], tempfile.tempdir = mark, folder
        try:
            yield mark, Path(folder)
        finally:
            del os.environ[_MARK]
            tempfile.tempdir = before


def _left(mark: str, folder: Path) -> str:
    """What is left of a reader that has been closed, in one line."""
    wanted = f"{_MARK}={mark}".encode()
    alive = [pid for pid in map(_pid, Path("/proc").iterdir()) if pid and wanted in _environment(pid)]
    if alive:
        return f"leaves processes behind: {', '.join(map(str, alive))}"
    files = sorted(path.name for path in folder.iterdir())
    return f"leaves files behind: {', '.join(files)}" if files else ""


def _pid(path: Path) -> int:
    return int(path.name) if path.name.isdigit() else 0


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # gone meanwhile, or somebody else's
        return []
