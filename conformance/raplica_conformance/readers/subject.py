# SPDX-License-Identifier: Apache-2.0
"""A plugged reader as the judge knows subjects: it plays one case at a time, and leaves nothing behind between two."""

from raplica_conformance.clause import not_applicable
from raplica_conformance.ending import held
from raplica_conformance.readers.case_clauses import KIND
from raplica_conformance.readers.details import CaseFailed, Details
from raplica_conformance.readers.plug import Plug
from raplica_conformance.readers.trial import Trial
from raplica_fixtures.cases import Case

__all__ = ["PluggedReader"]

#: Seconds that a case may take in which the reader is a program: many samples, or a window of real time.
_PROGRAM_S = 60.0


class PluggedReader:
    """A plug on trial. `arguments` are those of `conformance run` that bring it again."""

    kind = KIND
    can: frozenset[str] = frozenset()
    kernel: str | None = None

    def __init__(self, plug: Plug, arguments: tuple[str, ...] = ()) -> None:
        self.plug = plug
        self.name = plug.name
        self.arguments = arguments
        # A program that hangs is found by its own limit, answer by answer; this is for one that is slow each time.
        self.limit_s = plug.limit_s if plug.kind == "callable" else _PROGRAM_S + plug.limit_s
        self._trial: Trial | None = None
        #: How the last case went, where the reader made it right: the judge hangs it on the verdict.
        self.story: Details | None = None

    def play(self, case: Case) -> None:
        """Play a case; ends as a clause does. What is optional is no failure of who does without."""
        self.story = None
        trial = self._trial = Trial(case, self.plug)
        try:
            trial.play()
        except CaseFailed as failed:
            if case.level == "may":
                not_applicable(f"optional, and this reader does without: {failed}")
            raise
        self.story = trial.story

    def put_back(self) -> None:
        """End what is still going on; called outside the alarm, which would stop it half way."""
        trial, self._trial = self._trial, None
        if trial is not None:
            trial.close()

    def close(self) -> None:
        """End the reader for good."""
        with held():
            self.put_back()
            self.plug.close()
