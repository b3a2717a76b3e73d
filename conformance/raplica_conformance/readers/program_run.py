# SPDX-License-Identifier: Apache-2.0
"""A program that is started, says what it found, and ends: what the plugs oneshot and timed have in common.

They differ in when it is started and how long it may take; not in what it is given, how it is ended, and what is read
of it afterwards.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from raplica_conformance.ending import held
from raplica_conformance.readers.command import Command
from raplica_conformance.readers.extract import Extractor
from raplica_conformance.readers.plug import TOTAL, Answer, ReaderFault, Reading, Stage
from raplica_conformance.readers.program import MOST_BYTES, Printed, Program

__all__ = ["ProgramPlug", "ProgramRun"]


@dataclass(frozen=True, slots=True)
class ProgramPlug:
    """A command that ends by itself. `file`: where it writes instead of printing, with {state}."""

    name: str
    command: Command
    extractor: Extractor
    interfaces: frozenset[str] = frozenset({"powercap"})
    limit_s: float = 10.0
    file: str | None = None

    def close(self) -> None:
        """Nothing is kept."""


class ProgramRun:
    """One case: the program that is at work, and a folder that goes with the case."""

    def __init__(self, plug: ProgramPlug, stage: Stage) -> None:
        self._plug = plug
        self._stage = stage
        self._state = tempfile.TemporaryDirectory(prefix="raplica-reader-", ignore_cleanup_errors=True)
        self._program: Program | None = None
        self._answer: Answer = {}

    def answer(self) -> Answer:
        """What it said when it ended last."""
        return self._answer

    def close(self) -> None:
        """End the program and forget what it wrote."""
        self._end()
        self._state.cleanup()

    def _start(self, words: Sequence[str]) -> Program:
        with held():
            self._program = Program(words)
        return self._program

    def _end(self) -> None:
        if self._program is not None:
            self._program.close()

    def _understand(self, printed: Printed) -> None:
        """Take what it said for the answer. ReaderFault where it has broken down."""
        self._answer = _understood(self._plug.extractor, printed, self._plug.file, self._state.name)


def _understood(extractor: Extractor, printed: Printed, file: str | None, state: str) -> Answer:
    """What a reader said by what it printed, or wrote to its file.

    One that ended with a complaint and printed nothing that can be understood has said that it knows nothing. One that
    ended with a status that is not 0 and never said why has broken down.
    """
    knows_nothing: Answer = {TOTAL: Reading(None, "error", printed.complaint)} if printed.complaint else {}
    try:
        answer = extractor.answer(printed.text if file is None else _written(Path(file.replace("{state}", state))))
    except ReaderFault as fault:
        if knows_nothing:
            return knows_nothing
        if printed.ending:
            raise ReaderFault(f"{printed.ending} without a line on stderr that says why, and {fault}") from None
        raise
    return answer or knows_nothing


def _written(path: Path) -> str:
    """The content of a file. ReaderFault where there is none, or too much in it."""
    try:
        if not path.is_file():
            raise ReaderFault(f"it did not write {path.name}")
        with path.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise ReaderFault(f"what it wrote to {path.name} cannot be read: {error.strerror}") from error
    if len(content) > MOST_BYTES:
        raise ReaderFault(f"it wrote more than {MOST_BYTES} bytes to {path.name}")
    return content.decode(errors="backslashreplace")
