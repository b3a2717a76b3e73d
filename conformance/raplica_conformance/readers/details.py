# SPDX-License-Identifier: Apache-2.0
"""How a case went: at each sample what was spent, what the counter held, what the reader saw and what it said.

It hangs on the verdict. Of a failure it is printed below the table and stands in the JSON report; the page draws it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from raplica_conformance.clause import ClauseEnded, ClauseFailed
from raplica_conformance.readers.moment import Moment
from raplica_conformance.readers.rule import Finding, said_of

__all__ = ["CaseFailed", "Details", "Row", "Timeline", "details_of"]

_MOST_DOMAINS = 3
_MOST_ROWS = 12
_NS_PER_S = 10**9
_HEAD = ("time s", "spent uJ", "counter", "the reader saw", "the reader says")


@dataclass(frozen=True, slots=True)
class Row:
    """One sample of one domain: what it had spent since the first sample, its counter, what was seen and said."""

    at_ns: int
    spent_uj: int | None
    raw: int | None
    seen: str | None
    said: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """A domain through the samples of a case."""

    domain: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Details:
    """How a reader came through a case, or why it failed.

    `wrong` has a line for each expectation that was not met, `errors` for each of them the domain, the joules and the
    watts too much (None where nothing was reported), `effect` is what a person sees of such a mistake. `counters` says
    that the reader says what counters show, and not what was spent since it began.
    """

    wrong: tuple[str, ...]
    errors: tuple[tuple[str, float | None, float | None], ...]
    timelines: tuple[Timeline, ...]
    bug_class: str
    effect: str
    counters: bool = False

    def as_json(self) -> dict[str, Any]:
        """As the JSON report carries it."""
        return {
            "bug_class": self.bug_class,
            "effect": self.effect,
            "answers": "counters" if self.counters else "energies",
            "wrong": list(self.wrong),
            "errors": [
                {"domain": domain, "energy_j": energy_j, "power_w": power_w}
                for domain, energy_j, power_w in self.errors
            ],
            "timelines": [
                {
                    "domain": timeline.domain,
                    "samples": [
                        {
                            "at_s": row.at_ns / _NS_PER_S,
                            "spent_uj": row.spent_uj,
                            "counter": row.raw,
                            "seen": row.seen,
                            "said": row.said,
                        }
                        for row in timeline.rows
                    ],
                }
                for timeline in self.timelines
            ],
        }

    def lines(self) -> Iterator[str]:
        """As a person reads it below the verdict."""
        yield f"effect  {self.effect} ({self.bug_class})"
        for line in self.wrong[1:]:
            yield f"also    {line}"
        for domain, energy_j, power_w in self.errors:
            if energy_j is not None:
                watts = "" if power_w is None else f", {power_w:+.6g} W"
                yield f"error   {domain}: {energy_j:+.6g} J{watts}"
        for timeline in self.timelines:
            yield f"{timeline.domain}:"
            yield from _table(timeline.rows)


class CaseFailed(ClauseFailed):
    """A reader is wrong; the text is the first thing that is, in a whole sentence, and `details` tell the rest."""

    def __init__(self, reason: str, details: Details) -> None:
        ClauseEnded.__init__(self, reason)
        self.actual, self.wanted, self.why = reason, "", "what is wrong"
        self.details = details


def details_of(
    found: Sequence[Finding],
    moments: Sequence[Moment],
    bug_class: str,
    effect: str,
    faults: Sequence[str] = (),
    *,
    counters: bool = False,
) -> Details:
    """The story of some findings, and of what else went wrong."""
    told: dict[str, tuple[str, ...]] = {}
    for one in found:
        told.setdefault(one.domain, one.domains or (one.domain,))
        for domain in one.domains:
            told.setdefault(domain, (domain,))
    return Details(
        wrong=(*faults, *(one.wrong for one in found if one.wrong)),
        errors=tuple((one.domain, _joules(one.excess_uj), _watts(one.power_w)) for one in found),
        timelines=tuple(
            Timeline(domain, tuple(_rows(domain, parts, moments)))
            for domain, parts in list(told.items())[:_MOST_DOMAINS]
            if moments
        ),
        bug_class=bug_class,
        effect=effect,
        counters=counters,
    )


def _rows(domain: str, parts: Sequence[str], moments: Sequence[Moment]) -> Iterator[Row]:
    """The samples of a domain that is the sum of `parts`, most often of itself alone."""
    start_uj = _spent_uj(parts, moments[0])
    for sample, moment in enumerate(moments):
        spent_uj = _spent_uj(parts, moment)
        spent = moment.spent.get(domain)
        said = said_of(domain, moments, sample)
        ids = [gauge.id for gauge in moment.gauges if gauge.path == domain]
        yield Row(
            at_ns=moment.at_ns,
            spent_uj=None if spent_uj is None or start_uj is None else spent_uj - start_uj,
            raw=None if spent is None else spent.raw,
            seen=next((moment.seen[key] for key in (*ids, domain) if key in moment.seen), None),
            said="" if said is None else str(said),
        )


def _spent_uj(parts: Sequence[str], moment: Moment) -> int | None:
    """What they had spent together; None where the machine does not know it of each."""
    if not all(part in moment.spent for part in parts):
        return None
    return sum(moment.spent[part].truth_uj for part in parts)


def _table(rows: Sequence[Row]) -> Iterator[str]:
    """The rows under their heads, each column as wide as it has to be; of very many those at both ends."""
    half = _MOST_ROWS // 2
    left_out = len(rows) - _MOST_ROWS
    shown = [*rows[:half], *rows[-half:]] if left_out > 0 else rows
    cells = [
        _HEAD,
        *(
            (
                f"{row.at_ns / _NS_PER_S:.12g}",
                _or_dash(row.spent_uj),
                _or_dash(row.raw),
                _or_dash(row.seen),
                row.said or "-",
            )
            for row in shown
        ),
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEAD))]
    for number, line in enumerate(cells):
        if left_out > 0 and number == half + 1:
            yield f"  ... {left_out} more"
        yield "  " + "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)


def _joules(energy_uj: Any) -> float | None:
    return None if energy_uj is None else float(energy_uj) / 1e6


def _watts(power_w: Any) -> float | None:
    return None if power_w is None else float(power_w)
