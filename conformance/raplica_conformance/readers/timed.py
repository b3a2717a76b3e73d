# SPDX-License-Identifier: Apache-2.0
"""The plug for readers with a clock of their own: they sleep, and report what was spent in a window of real seconds.

Nobody can tell such a reader when to look, so it is the other way round: every look that it takes at the mount is
written down together with the truth of that very moment, and its answer has to be the truth between a look near the
beginning and one near the end. Between the two ends of a case nothing can be asked of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

from raplica_conformance.readers.moment import Moment, Spent
from raplica_conformance.readers.plug import Look, NotExpressible, ReaderFault, Stage
from raplica_conformance.readers.program_run import ProgramPlug, ProgramRun
from raplica_conformance.readers.rule import Finding, findings
from raplica_fixtures.cases import Expect

__all__ = ["TimedPlug", "Window", "as_looked", "best_findings"]

_SHORTEST_S, _LONGEST_S = 1, 20
_NS_PER_S = 10**9
#: Counters move once in so many ns, and what they show may be as old as that.
_GRID_NS = 1_000_000
#: How many looks at each end may be the one that counts: programs look at counters when they search for them, too.
_ENDS = 3


@dataclass(frozen=True, slots=True)
class TimedPlug(ProgramPlug):
    """A command that takes {seconds} and ends."""

    kind: str = "timed"
    counter: bool = False

    def open(self, stage: Stage) -> "Window":
        """Nothing is started yet."""
        return Window(self, stage)


class Window(ProgramRun):
    """One case: the program runs through it once, from the first sample to the last."""

    def measure(self, window_ns: int) -> Mapping[str, Sequence[Look]]:
        """Let the program measure a window; its looks at each domain, oldest first.

        NotExpressible for a window that is too short or too long to be waited for, ReaderFault for a program that ended
        before half of it was over and speaks of energies nevertheless.
        """
        if not _SHORTEST_S * _NS_PER_S <= window_ns <= _LONGEST_S * _NS_PER_S:
            raise NotExpressible(
                f"a reader with a clock of its own would take {window_ns / _NS_PER_S:g} s of real time, and windows of "
                f"{_SHORTEST_S} to {_LONGEST_S} s are waited for"
            )
        seconds = f"{window_ns / _NS_PER_S:.12g}"
        words = self._plug.command.filled(self._stage, seconds=seconds, state=self._state.name)
        begun_ns = self._stage.now_ns()
        with self._stage.running():
            printed = self._start(words).output(window_ns / _NS_PER_S + self._plug.limit_s)
        self._end()
        self._understand(printed)
        # The machine's time began with the first look, and stands since the end.
        measured_ns = self._stage.now_ns() - begun_ns
        if measured_ns * 2 < window_ns and any(one.energy_uj is not None for one in self._answer.values()):
            ended = f"ended {measured_ns / _NS_PER_S:.3g} s after its first look at a counter"
            raise ReaderFault(
                f"it {ended if measured_ns else 'never looked at a counter'}, where {seconds} s were to be measured, "
                "and says energies"
            )
        looks: dict[str, list[Look]] = {}
        for call in self._stage.energy_reads():
            looks.setdefault(call.domain, []).append(Look(call.at_ns, call.value or "", call.truth_uj))
        return looks

    def sample(self) -> None:
        """It looks when it likes."""


def best_findings(
    expect: Expect, samples: int, ends: tuple[Moment, Moment], looks: Mapping[str, Sequence[Look]]
) -> list[Finding]:
    """Judge one expectation by the looks that a reader took: it is right where some pair of them makes it right."""
    if (expect.from_sample, expect.to_sample) != (0, samples - 1):
        return [Finding(expect.domain, not_judged="a reader with a clock of its own answers for the whole window only")]
    whole = replace(expect, from_sample=0, to_sample=1)
    tried = [
        list(findings(whole, as_looked(ends, looks, early, late))) for early in range(_ENDS) for late in range(_ENDS)
    ]
    # Of two that are as wrong, the whole of what it saw says more.
    return min(tried, key=lambda found: sum(bool(one.wrong) for one in found))


def as_looked(
    ends: tuple[Moment, Moment], looks: Mapping[str, Sequence[Look]], early: int = 0, late: int = 0
) -> tuple[Moment, Moment]:
    """Both ends, with what was spent at the early look from the front and the late one from the back."""
    before, after = dict(ends[0].spent), dict(ends[1].spent)
    seen_before, seen_after = {}, {}
    at_ns: list[tuple[int, int]] = []
    for domain, taken in looks.items():
        if domain not in after or len(taken) < 2:
            continue
        half_ns = (ends[1].at_ns - ends[0].at_ns) / 2
        first, last = taken[min(early, len(taken) - 2)], taken[max(len(taken) - 1 - late, 1)]
        if last.at_ns - first.at_ns < half_ns:
            # They belong to one end of the window.
            first, last = taken[0], taken[-1]
        if last.at_ns - first.at_ns < half_ns:
            # All of them do: who looked for a moment is held against the window.
            continue
        slack_uj = _GRID_NS * max(_uj_per_ns(first, last), _steepest(taken, first), _steepest(taken, last))
        before[domain] = _spent(after[domain], first.truth_uj, slack_uj)
        after[domain] = _spent(after[domain], last.truth_uj, slack_uj)
        seen_before[domain], seen_after[domain] = first.text, last.text
        at_ns.append((first.at_ns, last.at_ns))
    begin_ns = min((first for first, _ in at_ns), default=ends[0].at_ns)
    end_ns = max((last for _, last in at_ns), default=ends[1].at_ns)
    for domain in before.keys() & after.keys() - seen_after.keys() if at_ns else ():
        # Nobody looked at it, and the program ran for longer than it measured: its share of that time.
        before[domain] = _spent(after[domain], _truth_at(begin_ns, domain, ends), Fraction(0))
        after[domain] = _spent(after[domain], _truth_at(end_ns, domain, ends), Fraction(0))
    return (
        replace(ends[0], at_ns=begin_ns, spent=before, seen=seen_before),
        replace(ends[1], at_ns=end_ns, spent=after, seen=seen_after),
    )


def _truth_at(at_ns: int, domain: str, ends: tuple[Moment, Moment]) -> int:
    """What a domain had spent by a moment between both ends, at the power that it had on average."""
    first, last = ends
    begun_uj, spent_uj = first.spent[domain].truth_uj, last.spent[domain].truth_uj - first.spent[domain].truth_uj
    return begun_uj + spent_uj * (at_ns - first.at_ns) // max(1, last.at_ns - first.at_ns)


def _steepest(taken: Sequence[Look], look: Look) -> Fraction:
    """The most that was spent a ns from the look before this one, or to the one after: a load may come in bursts."""
    place = taken.index(look)
    around = taken[max(0, place - 1) : place + 2]
    return max((_uj_per_ns(before, after) for before, after in pairwise(around)), default=Fraction(0))


def _uj_per_ns(before: Look, after: Look) -> Fraction:
    return Fraction(max(0, after.truth_uj - before.truth_uj), max(1, after.at_ns - before.at_ns))


def _spent(known: Spent, truth_uj: int, slack_uj: Fraction) -> Spent:
    """What had been spent by a moment between: so many joules, in the steps and units of the domain."""
    if not known.truth_uj:
        return replace(known, truth_uj=truth_uj, steps=0, slack_uj=slack_uj)
    steps = known.steps * truth_uj // known.truth_uj
    return replace(known, truth_uj=truth_uj, steps=steps, slack_uj=slack_uj)
