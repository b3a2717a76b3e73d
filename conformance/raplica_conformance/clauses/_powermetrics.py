# SPDX-License-Identifier: Apache-2.0
"""What clauses about powermetrics read with: a program that is asked, its text in samples, its property lists."""

import plistlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol
from xml.parsers.expat import ExpatError

from raplica_conformance.clause import expect

__all__ = ["COUNT", "INTERVAL_MS", "KIND", "Powermetrics", "Printed", "TextSample", "lists", "printed", "text"]

#: The kind of subject that these clauses are about.
KIND = "powermetrics"
#: What is asked for in every clause that needs samples.
INTERVAL_MS, COUNT = 100, 3
SEPARATOR = b"\0"

_SAMPLE = re.compile(r"^\*\*\* Sampled system activity \((.*)\) \(([0-9]+\.[0-9]{2})ms elapsed\) \*\*\*$", re.MULTILINE)
_POWER = re.compile(
    r"^(?:(?P<name>.*) Power(?: \([^)]*\))?|Intel [^:]*package power \([^)]*\)): *(?P<figure>.*)$", re.MULTILINE
)


class Printed(NamedTuple):
    """What a program printed until it ended, and its exit status."""

    status: int
    out: bytes
    err: bytes


class Powermetrics(Protocol):
    """A powermetrics, real or not."""

    @property
    def name(self) -> str:
        """What reports call it."""

    @property
    def can(self) -> frozenset[str]:
        """Of the words of a provider "content", where it may be asked as root, and "nobody", where as somebody else."""

    def run(self, *words: str) -> Printed:
        """Run it with these options until it ends."""

    def write(self, *words: str) -> tuple[Printed, bytes]:
        """The same with ``-o`` and a file behind them: what it printed, and what is in that file afterwards."""


@dataclass(frozen=True, slots=True)
class TextSample:
    """One sample of a text.

    `powers` are its lines of power, in order: the name before " Power" ("" for the one of Intel) and all that stands
    behind the colon.
    """

    elapsed_ms: float
    powers: tuple[tuple[str, str], ...]

    def milliwatts(self) -> dict[str, int]:
        """The figures that are whole milliwatts, the first of each name."""
        found: dict[str, int] = {}
        for name, figure in self.powers:
            if match := re.fullmatch(r"([0-9]+) mW", figure):
                found.setdefault(name, int(match[1]))
        return found


def printed(program: Powermetrics, form: str, samplers: str = "cpu_power") -> bytes:
    """What it prints of some samples; a run that ends wrongly fails the clause."""
    words = ("-f", form, "-i", str(INTERVAL_MS), "-n", str(COUNT), "--samplers", samplers)
    done = program.run(*words)
    if done.status:  # that it ends rightly is no clause, and is not to pass for one
        expect(done.status, 0, f"the exit status of powermetrics {' '.join(words)}")
    return done.out


def text(program: Powermetrics, samplers: str = "cpu_power") -> tuple[str, list[TextSample]]:
    """What stands before the first sample, and the samples."""
    output = printed(program, "text", samplers).decode(errors="replace")
    begins = list(_SAMPLE.finditer(output))
    ends = [*(following.start() for following in begins[1:]), len(output)]
    samples = [
        TextSample(
            float(one[2]),
            tuple((found["name"] or "", found["figure"]) for found in _POWER.finditer(output, one.end(), end)),
        )
        for one, end in zip(begins, ends, strict=False)
    ]
    return (output[: begins[0].start()] if begins else output), samples


def lists(program: Powermetrics, samplers: str = "cpu_power") -> Iterator[Mapping[str, Any]]:
    """Its property lists; what is none fails the clause."""
    for document in printed(program, "plist", samplers).split(SEPARATOR):
        content = _content(document)
        if isinstance(content, dict):
            yield content
        else:
            expect(document[:80], b"<?xml", "the beginning of what is to be a property list with keys")


def _content(document: bytes) -> object:
    try:
        return plistlib.loads(document)
    except (plistlib.InvalidFileException, ExpatError, ValueError, TypeError, AttributeError):
        return None
