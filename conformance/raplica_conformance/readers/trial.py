# SPDX-License-Identifier: Apache-2.0
"""One case played with one reader: time goes from sample to sample, the reader looks, and is held against the truth.

A trial ends as a clause does: it returns where the reader is right, and raises ClauseFailed, with the whole story,
ClauseTimedOut, ClauseSkipped or ClauseNotApplicable where not.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import NoReturn, Self

from raplica_conformance.clause import ClauseTimedOut, expect, not_applicable
from raplica_conformance.ending import held
from raplica_conformance.readers.details import CaseFailed, Details, details_of
from raplica_conformance.readers.moment import Moment
from raplica_conformance.readers.plug import INTERFACES, Look, NotExpressible, Plug, ReaderFault, ReaderHung, Running
from raplica_conformance.readers.rule import Finding, findings
from raplica_conformance.readers.stage import Stage
from raplica_conformance.readers.timed import Window, as_looked, best_findings
from raplica_fixtures.cases import Case

__all__ = ["Trial", "run_case"]


def run_case(case: Case, plug: Plug) -> None:
    """Play a case with a reader; returns where it is right, and raises as a clause does where it is not."""
    with Trial(case, plug) as trial:
        trial.play()


class Trial:
    """A case and a reader; close it whatever happened, from wherever."""

    def __init__(self, case: Case, plug: Plug) -> None:
        self._case = case
        self._plug = plug
        self._stage: Stage | None = None
        self._running: Running | None = None
        self._moments: dict[str, list[Moment]] = {}
        self._looks: Mapping[str, Sequence[Look]] = {}
        #: How it went, once the reader has made it right.
        self.story: Details | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the reader and take the machine away; closing twice does nothing."""
        with held():
            running, self._running = self._running, None
            try:
                if running is not None:
                    # Where it was not closed before, something worse is known of it already.
                    with suppress(ReaderFault):
                        running.close()
            finally:
                stage, self._stage = self._stage, None
                if stage is not None:
                    stage.close()

    def play(self) -> None:
        """Play it to the end."""
        if not any(one in self._plug.interfaces for one in self._case.interfaces):
            theirs, ours = " or ".join(self._case.interfaces), " and ".join(sorted(self._plug.interfaces))
            not_applicable(f"the case is about {theirs}, and this reader reads {ours}")
        try:
            self._sample_by_sample()
        except NotExpressible as error:
            not_applicable(str(error))
        except ReaderFault as error:
            self._fail((), str(error))
        except ReaderHung as error:
            raise ClauseTimedOut(str(error)) from error
        self._judge()

    def moments(self) -> Sequence[Moment]:
        """Play it and judge nothing: what there was to know at each sample. ReaderFault, ReaderHung, NotExpressible."""
        self._sample_by_sample()
        return next(iter(self._moments.values()))

    def _sample_by_sample(self) -> None:
        doors = [one for one in INTERFACES if one in self._plug.interfaces and one in self._case.interfaces]
        self._moments = {one: [] for one in doors}
        stage = self._stage = Stage(self._case)
        running = self._running = self._plug.open(stage)
        if isinstance(running, Window):
            self._in_one_go(stage, running)
            return
        for at_ns in self._case.samples_ns:
            stage.go_to(at_ns)
            running.sample()
            answer = running.answer()
            seen = stage.take_seen()
            for interface, moments in self._moments.items():
                moments.append(replace(stage.look(interface), answer=answer, seen=seen))
        # A reader that breaks down in the end has broken down.
        running.close()

    def _in_one_go(self, stage: Stage, running: Window) -> None:
        begin_ns, *_, end_ns = self._case.samples_ns
        for interface, moments in self._moments.items():
            moments.append(stage.look(interface))
        if not any(moments[0].gauges for moments in self._moments.values()) and any(
            wanted.energy in ("truth", "listed") for wanted in self._case.expects
        ):
            raise NotExpressible("the machine has no counter at first, and time begins with the first look at one")
        self._looks = running.measure(end_ns - begin_ns)
        for interface, moments in self._moments.items():
            moments.append(replace(stage.look(interface), answer=running.answer()))

    def _findings(self, moments: Sequence[Moment]) -> list[Finding]:
        expects = self._case.expects
        if self._plug.kind == "timed":
            samples, ends = len(self._case.samples_s), (moments[0], moments[1])
            return [one for wanted in expects for one in best_findings(wanted, samples, ends, self._looks)]
        return [one for wanted in expects for one in findings(wanted, moments, counter=self._plug.counter)]

    def _judge(self) -> None:
        """By whichever door it read, one has to make it right."""
        found = [self._findings(moments) for moments in self._moments.values()]
        best = min(found, key=lambda some: sum(bool(one.wrong) for one in some))
        if wrong := [one for one in best if one.wrong]:
            self._fail(wrong)
        judged = [one for one in best if not one.not_judged]
        if not judged:
            not_applicable(best[0].not_judged if best else "the machine shows nothing that the case is about")
        for one in judged:
            expect(one.wrong, "", one.domain)
        self.story = self._details(judged)

    def _fail(self, wrong: Sequence[Finding], *faults: str) -> NoReturn:
        details = self._details(wrong, *faults)
        first, *others = details.wrong
        more = f" (and {len(others)} more)" if others else ""
        raise CaseFailed(f"{first}{more}", details)

    def _details(self, found: Sequence[Finding], *faults: str) -> Details:
        moments: Sequence[Moment] = next(iter(self._moments.values()), [])
        if self._looks:
            moments = as_looked((moments[0], moments[-1]), self._looks)
        case = self._case
        return details_of(found, moments, case.bug_class, case.effect, faults, counters=self._plug.counter)
