# SPDX-License-Identifier: Apache-2.0
"""A powermetrics by its command: `powermetrics` of a Mac, or whatever is given for one."""

import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from raplica_conformance.clause import ClauseTimedOut
from raplica_conformance.clauses._powermetrics import KIND, Printed

__all__ = ["PowermetricsProgram"]

_LONGEST_S = 15


class PowermetricsProgram:
    """A program that is started anew for each question; the same question is asked once.

    As root it shows what it measures, and as anybody else how it refuses. ValueError in one line for a command that is
    none.
    """

    kind = KIND
    kernel = None

    def __init__(self, command: str) -> None:
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise ValueError(f"--powermetrics {command!r}: {error}") from None
        if not self._words:
            raise ValueError("--powermetrics is empty: name a program, such as powermetrics")
        if shutil.which(self._words[0]) is None:
            raise ValueError(
                f"--powermetrics {command}: there is no program {self._words[0]}: name one that is in PATH"
            )
        self.name = command
        self.arguments = ("--powermetrics", command)
        self.can = frozenset({"content"} if os.geteuid() == 0 else {"nobody"})
        self._answers: dict[tuple[str, ...], Printed] = {}

    def run(self, *words: str) -> Printed:
        """Run it. OSError where it cannot be started, ClauseTimedOut where it does not end."""
        if words not in self._answers:
            try:
                done = subprocess.run(  # noqa: S603 - the program that was named
                    [*self._words, *words],
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    check=False,
                    timeout=_LONGEST_S,
                )
            except subprocess.TimeoutExpired:
                raise ClauseTimedOut(f"{' '.join(words)}: it did not end within {_LONGEST_S} s") from None
            self._answers[words] = Printed(done.returncode, done.stdout, done.stderr)
        return self._answers[words]

    def write(self, *words: str) -> tuple[Printed, bytes]:
        """Run it with a file for its output that holds something already."""
        with tempfile.TemporaryDirectory(prefix="raplica-") as folder:
            file = Path(folder) / "output"
            file.write_bytes(b"something of before\n" * 1000)
            return self.run(*words, "-o", str(file)), file.read_bytes()
