# SPDX-License-Identifier: Apache-2.0
"""The table of programs that are no readers at all: how each misbehaves, and which verdict it earns."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["PROGRAMS", "Program"]


@dataclass(frozen=True, slots=True)
class Program:
    """A program that misbehaves. `verdict` is the word that it earns, "fail" or "timeout"."""

    name: str
    wrong: str
    verdict: str = "fail"

    @property
    def path(self) -> Path:
        """Its source."""
        return Path(__file__).with_name("programs") / f"{self.name}.py"


PROGRAMS = (
    Program("crashes", "Is killed by a signal of its own in the middle of an answer."),
    Program("raises", "Ends with a traceback and a status that is not 0."),
    Program("hangs", "Says nothing, does not end, and takes no notice of SIGTERM.", "timeout"),
    Program("garbage", "Answers with bytes that are no text."),
    Program("nested", "Answers with a hundred thousand open brackets."),
    Program("huge_number", "Answers with an energy of a hundred thousand digits."),
    Program("wrong_types", "Answers with JSON in which nothing has the type that it should."),
    Program("silent", "Ends well and says nothing."),
    Program("mute", "Closes its stdout and goes on running.", "timeout"),
    Program("forks", "Answers nothing and leaves children behind, which left its group and hold its stdout open."),
    Program("gigabytes", "Writes one line without end."),
    Program("complains", "Writes to stderr without end.", "timeout"),
)
"""How a program can misbehave, the harmless first."""
