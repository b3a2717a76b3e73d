# SPDX-License-Identifier: Apache-2.0
"""A reader that is a program: its command with the places where it is to look filled in."""

import difflib
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from raplica_conformance.readers.plug import Stage

__all__ = ["FIELDS", "Command"]

#: What can be filled in: the root of the sysfs, what holds cpu/N/msr, FAMILY:MODEL of the processor, the seconds of
#: the window (whole cases of timed readers), a folder that lasts for one case, and the Python that runs the suite.
FIELDS = ("sysfs", "dev", "cpu", "seconds", "state", "python")

_FIELD = re.compile(r"\{([a-z]+)\}")
_NEARLY = 0.8


@dataclass(frozen=True, slots=True)
class Command:
    """The words of a command, with {fields} in them; all other braces are the command's own."""

    words: tuple[str, ...]

    @classmethod
    def parse(cls, given: str | Sequence[str]) -> "Command":
        """From a line as a shell splits it, or from its words. ValueError in one line for a wrong one."""
        try:
            words = tuple(shlex.split(given)) if isinstance(given, str) else tuple(given)
        except ValueError as error:
            raise ValueError(f"{given}: is no command: {error}") from error
        if not words or not words[0]:
            raise ValueError("the command is empty")
        for name in (name for word in words for name in _FIELD.findall(word)):
            near = difflib.get_close_matches(name, FIELDS, n=1, cutoff=_NEARLY)
            if near and name not in FIELDS:
                known = ", ".join(f"{{{field}}}" for field in FIELDS)
                raise ValueError(f"{{{name}}} is none of {known}; did you mean {{{near[0]}}}?")
        return cls(words)

    @property
    def fields(self) -> frozenset[str]:
        """The fields that it has."""
        return frozenset(FIELDS).intersection(name for word in self.words for name in _FIELD.findall(word))

    @property
    def is_there(self) -> bool:
        """Whether its program can be found, as far as that can be said before the fields are filled in."""
        return _FIELD.search(self.words[0]) is not None or shutil.which(self.words[0]) is not None

    def filled(self, stage: Stage, *, seconds: str = "", state: str = "") -> list[str]:
        """The words for one machine; it is mounted where the command asks for a directory."""
        sources: dict[str, Callable[[], str]] = {
            "sysfs": lambda: stage.sysfs_dir,
            "dev": lambda: stage.dev_dir,
            "cpu": lambda: stage.cpu,
            "seconds": lambda: seconds,
            "state": lambda: state,
            "python": lambda: sys.executable,
        }
        values = {name: sources[name]() for name in self.fields}
        return [_FIELD.sub(lambda found: values.get(found[1], found[0]), word) for word in self.words]
