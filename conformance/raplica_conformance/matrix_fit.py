# SPDX-License-Identifier: Apache-2.0
"""A case cut to what a tool claims: of the domains that it speaks of, as exact as it can be.

The machine is played through once without a reader, which takes milliseconds, to know which domains there are and what
each of them spends.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

from raplica_conformance.matrix_tools import EVERYTHING, Tool
from raplica_conformance.readers.called import CalledPlug
from raplica_conformance.readers.moment import Moment, parts_of_total
from raplica_conformance.readers.plug import TOTAL, Answer
from raplica_conformance.readers.trial import Trial
from raplica_fixtures.cases import Case, Expect

__all__ = ["fitted", "kind_of", "unfit"]

_EVERY = "*"


def unfit(case: Case, tool: Tool) -> str:
    """Why a tool cannot be asked about a case at all, in one line; "" where it can."""
    window_s = case.samples_s[-1] - case.samples_s[0]
    if window_s < tool.shortest_s:
        return (
            f"the case is over in {float(window_s):g} s, and the tool is asked about {tool.shortest_s} s at the least"
        )
    if fitted(case, tool) is None:
        return f"the tool speaks of {' and '.join(sorted(tool.speaks_of))}, and the case is about something else"
    return ""


def fitted(case: Case, tool: Tool) -> Case | None:
    """The case with what it expects of this tool; None where the tool speaks of nothing that it is about."""
    if (tool.speaks_of, tool.total_is, tool.within) == (EVERYTHING, frozenset({"package", "dram"}), Fraction(0)):
        return case
    moments = _moments(case)
    expects = tuple(one for expect in case.expects for one in _expects(expect, moments, tool))
    return replace(case, expects=expects) if expects else None


def kind_of(domain: str) -> str:
    """The kind of a domain: the last name of its path, `package` for every package and die, else `other`."""
    name = domain.rpartition("/")[2]
    kind = "package" if name.startswith("package-") else name
    return kind if kind in EVERYTHING else "other"


def _expects(expect: Expect, moments: Sequence[Moment], tool: Tool) -> Iterator[Expect]:
    last = moments[expect.to_sample]
    names = [gauge.path for gauge in last.gauges if gauge.path in last.spent] if expect.domain == _EVERY else None
    for name in dict.fromkeys(names if names is not None else [expect.domain]):
        if kind_of(name) not in tool.speaks_of:
            continue
        one = replace(expect, domain=name)
        if name == TOTAL and not expect.of:
            one = replace(one, of=tuple(part for part in parts_of_total(last) if kind_of(part) in tool.total_is))
        yield replace(one, tolerance_uj=_tolerance_uj(one, moments, tool.within))


def _tolerance_uj(expect: Expect, moments: Sequence[Moment], within: Fraction) -> int | None:
    """What may be missing or too much, where the tool is less exact than the case wants."""
    first, last = moments[expect.from_sample], moments[expect.to_sample]
    domains = expect.of or (expect.domain,)
    spent_uj = sum(last.spent[one].truth_uj - first.spent[one].truth_uj for one in domains if one in last.spent)
    allowed_uj = int(spent_uj * within)
    return allowed_uj if allowed_uj > (expect.tolerance_uj or 0) else expect.tolerance_uj


class _Nobody:
    """Who never looks."""

    def __init__(self, _tree: object, _clock: object) -> None:
        pass

    def sample(self) -> None:
        pass

    def answer(self) -> Answer:
        return {}


def _moments(case: Case) -> Sequence[Moment]:
    """What there is to know at each sample."""
    plug = CalledPlug("nobody", _Nobody, interfaces=frozenset(case.interfaces))
    with Trial(case, plug) as trial:
        return trial.moments()
