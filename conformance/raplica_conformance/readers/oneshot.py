# SPDX-License-Identifier: Apache-2.0
"""The plug for readers that look once and end: started for each sample, while the machine's time stands.

Such a reader prints what counters show (`counter`), and the suite subtracts, or what was spent since it was first
started for this case, for which it has the folder {state} to remember in.
"""

from dataclasses import dataclass

from raplica_conformance.readers.plug import Stage
from raplica_conformance.readers.program_run import ProgramPlug, ProgramRun

__all__ = ["OneshotPlug"]


@dataclass(frozen=True, slots=True)
class OneshotPlug(ProgramPlug):
    """A command that is started once for each sample."""

    counter: bool = False
    kind: str = "oneshot"

    def open(self, stage: Stage) -> "_Shots":
        """Nothing is started yet."""
        return _Shots(self, stage)


class _Shots(ProgramRun):
    """One case."""

    def sample(self) -> None:
        program = self._start(self._plug.command.filled(self._stage, state=self._state.name))
        try:
            printed = program.output(self._plug.limit_s)
        finally:
            self._end()
        self._understand(printed)
