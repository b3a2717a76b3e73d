# SPDX-License-Identifier: Apache-2.0
"""Whether an answer is right: what a case expects, held against what a reader said and what was really spent.

Everything here is arithmetic on moments; no machine and no reader is touched.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from raplica_conformance.readers.moment import Gauge, Moment, Spent, parts_of_total
from raplica_conformance.readers.plug import TOTAL, Answer, Reading
from raplica_fixtures.cases import Expect

__all__ = ["Finding", "findings", "said_of"]

_EVERY = "*"
_NS_PER_S = 10**9
_RAW_STEPS = 1 << 32


@dataclass(frozen=True, slots=True)
class Finding:
    """What one expectation came to for one domain.

    `wrong` is one line on what is wrong, empty where nothing is; `not_judged` says why nothing can be said. `domains`
    are those whose counters tell the story, `first` and `last` the samples between which it plays; `excess_uj` is how
    much too much was reported, None where that is no number; `power_w` the same over the time between.
    """

    domain: str
    wrong: str = ""
    not_judged: str = ""
    domains: tuple[str, ...] = ()
    first: int = 0
    last: int = 0
    excess_uj: Fraction | None = None
    power_w: Fraction | None = None


@dataclass(frozen=True, slots=True)
class _Right:
    """What was spent between two samples as a reader can know it, and how far off it may be, both in uJ.

    `turned`: a counter began again meanwhile, which nobody sees who shows counters.
    """

    energy_uj: Fraction
    tolerance_uj: Fraction
    turned: bool


def findings(expect: Expect, moments: Sequence[Moment], *, counter: bool = False) -> Iterator[Finding]:
    """Judge one expectation; several findings for `*`. With `counter` the answers are what counters show."""
    if silence := _silence(expect.domain, moments):
        yield Finding(expect.domain, not_judged=silence)
        return
    if expect.domain != _EVERY:
        yield _finding(expect, expect.domain, moments, counter=counter)
        return
    last = moments[expect.to_sample]
    for gauge in last.gauges:
        if gauge.path in last.spent:
            yield _finding(expect, gauge.path, moments, counter=counter, gauge=gauge)


def _silence(domain: str, moments: Sequence[Moment]) -> str:
    """Why a reader has no say here, or nothing: some tell of domains and add nothing up, some tell the sum alone."""
    keys = {key for moment in moments for key in moment.answer}
    if domain == TOTAL and keys and TOTAL not in keys:
        return "the reader says nothing of the machine as a whole"
    sums = (moment.answer.get(TOTAL) for moment in moments)
    if domain != TOTAL and keys == {TOTAL} and any(one is not None and one.energy_uj is not None for one in sums):
        return "the reader says nothing of single domains"
    return ""


def said_of(domain: str, moments: Sequence[Moment], sample: int, gauge: Gauge | None = None) -> Reading | None:
    """What the reader said of a domain after a sample; None where it did not list it.

    A domain is found by the id that it has then, by its path, or by an id that it had before and that no other has.
    """
    answer: Answer = moments[sample].answer
    ids = [gauge.id] if gauge is not None else _ids(domain, moments, sample)
    for key in (*ids, domain):
        if key in answer:
            return answer[key]
    return None


def _ids(domain: str, moments: Sequence[Moment], sample: int) -> list[str]:
    """The ids under which a domain may be listed after a sample."""
    here = [gauge.id for gauge in moments[sample].gauges if gauge.path == domain]
    if here or domain == TOTAL:
        return here
    taken = {gauge.id for gauge in moments[sample].gauges}
    before = (gauge for moment in moments for gauge in moment.gauges if gauge.path == domain)
    return [gauge_id for gauge_id in dict.fromkeys(gauge.id for gauge in before) if gauge_id not in taken]


def _finding(
    expect: Expect, domain: str, moments: Sequence[Moment], *, counter: bool, gauge: Gauge | None = None
) -> Finding:
    first, last = expect.from_sample, expect.to_sample
    domains = _domains(expect, domain, moments[last])
    after = said_of(domain, moments, last, gauge)
    before = said_of(domain, moments, first, gauge)
    energy_uj = _between(before, after, since_start=first == 0 and not counter)
    right = _right(expect, domains, moments)
    span_ns = moments[last].at_ns - moments[first].at_ns

    def end(wrong: str = "", not_judged: str = "") -> Finding:
        excess_uj = None if energy_uj is None or right is None else energy_uj - right.energy_uj
        power_w = None if excess_uj is None or span_ns <= 0 else excess_uj * 1000 / span_ns
        where = f"{domain} from {_s(moments[first])} to {_s(moments[last])}"
        line = f"{where}: {wrong}" if wrong else ""
        return Finding(domain, line, not_judged, domains, first, last, excess_uj, power_w)

    if counter and (unsayable := _unsayable(expect, right, energy_uj, after)):
        return end(not_judged=unsayable)
    return end(_verdict(expect, right, energy_uj, after))


def _domains(expect: Expect, domain: str, last: Moment) -> tuple[str, ...]:
    """Those whose truths add up to the one that is meant."""
    if expect.of:
        return expect.of
    return parts_of_total(last) if domain == TOTAL else (domain,)


def _between(before: Reading | None, after: Reading | None, *, since_start: bool) -> int | None:
    """What was reported between two samples; None where either is no number.

    At the baseline nothing has been spent, whether the reader says so or not.
    """
    if after is None or after.energy_uj is None:
        return None
    if since_start:
        return after.energy_uj
    return None if before is None or before.energy_uj is None else after.energy_uj - before.energy_uj


def _right(expect: Expect, domains: Sequence[str], moments: Sequence[Moment]) -> _Right | None:
    """The truth and its tolerance; None where the machine knows nothing of the domain."""
    first, last = moments[expect.from_sample].spent, moments[expect.to_sample].spent
    parts: list[tuple[Spent, Spent]] = [(first[name], last[name]) for name in domains if name in first and name in last]
    if not parts or len(parts) < len(domains):
        return None
    energy_nj = sum((after.steps - before.steps) * after.unit_nj for before, after in parts)
    usual_uj = sum(2 * after.unit_nj / 1000 + 1 for _, after in parts)
    slack_uj = sum((before.slack_uj + after.slack_uj for before, after in parts), Fraction(0))
    tolerance_uj = slack_uj + (usual_uj if expect.tolerance_uj is None else expect.tolerance_uj)
    turned = any(
        after.steps - before.steps >= _RAW_STEPS
        or (before.raw is not None and after.raw is not None and after.raw < before.raw)
        for before, after in parts
    )
    return _Right(Fraction(energy_nj) / 1000, tolerance_uj, turned)


def _unsayable(expect: Expect, right: _Right | None, energy_uj: int | None, after: Reading | None) -> str:
    """Why nothing can be said of a reader that shows counters, or nothing."""
    if expect.energy in ("absent", "listed", "error") or after is None:
        return ""
    if expect.energy in ("unknown", "at-most-truth", "truth-or-unknown") and energy_uj is not None:
        return "who shows counters does not say what was spent between them"
    if right is not None and right.turned:
        return "a counter begins again, which who shows counters cannot say"
    return ""


def _verdict(expect: Expect, right: _Right | None, energy_uj: int | None, after: Reading | None) -> str:
    """One line on what is wrong with an answer, or nothing."""
    said = "it does not list it" if after is None else f"it says {after}"
    is_energy = energy_uj is not None
    match expect.energy:
        case "absent":
            wrong = "" if after is None else f"{said}, and there is no such domain"
        case "listed":
            wrong = said if after is None else ""
        case "error":
            is_right = after is not None and after.energy_uj is None and bool(after.error)
            wrong = "" if is_right else f"{said}, and should say with an error that it cannot be read"
        case "unknown":
            wrong = f"it says {energy_uj} uJ, and nobody can know" if is_energy else ""
        case "truth" | "zero" if not is_energy:
            wrong = f"{said}, where {_wanted(right)}"
        case _:
            wrong = "" if energy_uj is None else _wrong_number(expect.energy, right, energy_uj)
    return wrong


def _wrong_number(energy: str, right: _Right | None, energy_uj: int) -> str:
    """One line on what is wrong with a number, or nothing."""
    if energy == "not-negative" or (energy == "at-most-truth" and energy_uj < 0):
        return "" if energy_uj >= 0 else f"it says {energy_uj} uJ, and energy is never negative"
    if right is None:
        return f"it says {energy_uj} uJ of a domain that was never there"
    least = Fraction(0) if energy in ("at-most-truth", "zero") else right.energy_uj
    most = Fraction(0) if energy == "zero" else right.energy_uj
    if least - right.tolerance_uj <= energy_uj <= most + right.tolerance_uj:
        return ""
    at_most = "at most " if energy == "at-most-truth" else ""
    bound, direction = (most, "too much") if energy_uj > most else (least, "too little")
    off_j = float(abs(energy_uj - bound)) / 1e6
    return (
        f"it says {energy_uj} uJ, and {at_most}{_uj(most)} uJ are right (to {_uj(right.tolerance_uj)} uJ): "
        f"{off_j:g} J {direction}"
    )


def _wanted(right: _Right | None) -> str:
    return "it can be known" if right is None else f"{_uj(right.energy_uj)} uJ are right"


def _uj(energy_uj: Fraction) -> int:
    return round(energy_uj)


def _s(moment: Moment) -> str:
    return f"{moment.at_ns / _NS_PER_S:.12g} s"
