# SPDX-License-Identifier: Apache-2.0
"""The plug for readers that look once and end: started for each sample, while the machine's time stands.

Such a reader prints what counters show (`counter`), and the suite subtracts, or what was spent since it was first
started for this case, for which it has the folder {state} to remember in.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from raplica_conformance.ending import held
from raplica_conformance.readers.command import Command
from raplica_conformance.readers.extract import Extractor
from raplica_conformance.readers.plug import TOTAL, Answer, ReaderFault, Reading, Stage
from raplica_conformance.readers.program import MOST_BYTES, Printed, Program

__all__ = ["OneshotPlug", "understood"]


@dataclass(frozen=True, slots=True)
class OneshotPlug:
    """A command that is started once for each sample. `file`: where it writes instead of printing, with {state}."""

    name: str
    command: Command
    extractor: Extractor
    interfaces: frozenset[str] = frozenset({"powercap"})
    limit_s: float = 10.0
    counter: bool = False
    file: str | None = None
    kind: str = "oneshot"

    def open(self, stage: Stage) -> "_Shots":
        """Nothing is started yet."""
        return _Shots(self, stage)

    def close(self) -> None:
        """Nothing is kept."""


class _Shots:
    """One case."""

    def __init__(self, plug: OneshotPlug, stage: Stage) -> None:
        self._plug = plug
        self._stage = stage
        self._state = tempfile.TemporaryDirectory(prefix="raplica-reader-", ignore_cleanup_errors=True)
        self._program: Program | None = None
        self._answer: Answer = {}

    def sample(self) -> None:
        words = self._plug.command.filled(self._stage, state=self._state.name)
        with held():
            self._program = Program(words)
        try:
            printed = self._program.output(self._plug.limit_s)
        finally:
            self._end()
        self._answer = understood(self._plug.extractor, printed, self._plug.file, self._state.name)

    def answer(self) -> Answer:
        return self._answer

    def close(self) -> None:
        self._end()
        self._state.cleanup()

    def _end(self) -> None:
        if self._program is not None:
            self._program.close()


def understood(extractor: Extractor, printed: Printed, file: str | None, state: str) -> Answer:
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
