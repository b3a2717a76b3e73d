# SPDX-License-Identifier: Apache-2.0
"""The matrix: a tool is asked of what it claims alone, and judged by how exact it is."""

from dataclasses import replace
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from raplica_conformance.matrix_fit import fitted, kind_of, unfit
from raplica_conformance.matrix_tools import EVERYTHING, Tool
from raplica_fixtures.cases import load_case


def test_a_tool_is_asked_of_what_it_speaks_of_alone() -> None:
    case = load_case("topology/every-zone")
    everything = Tool("x", "x")
    assert fitted(case, everything) is case
    memory = fitted(case, replace(everything, speaks_of=frozenset({"dram"})))
    assert memory is not None
    assert [expect.domain for expect in memory.expects] == ["package-0/dram", "package-1/dram"]
    assert fitted(case, replace(everything, speaks_of=frozenset({"psys"}))) is None


def test_a_tool_that_shows_watts_now_and_then_is_not_asked_about_a_moment() -> None:
    case = load_case("arithmetic/wrap-in-the-first-interval")
    tool = Tool("x", "x", shortest_s=4)
    assert unfit(case, tool) == "the case is over in 1 s, and the tool is asked about 4 s at the least"
    assert unfit(case, replace(tool, shortest_s=1)) == ""
    assert unfit(load_case("topology/every-zone"), replace(tool, speaks_of=frozenset({"psys"}))) == (
        "the tool speaks of psys, and the case is about something else"
    )


def test_the_whole_is_what_a_tool_calls_so_and_watts_need_not_be_exact() -> None:
    case = load_case("topology/all-sockets")
    tool = Tool("x", "x", speaks_of=frozenset({"total"}), total_is=frozenset({"package"}), within=Fraction(1, 50))
    fit = fitted(case, tool)
    assert fit is not None
    (expect,) = fit.expects
    assert expect.of == ("package-0", "package-1")
    # Two sockets of 100 and 30 W, for ten seconds.
    assert expect.tolerance_uj == 26_000_000


@given(st.sampled_from(["package-0", "package-15-die-3", "psys", "total", "package-0/dram", "package-0/power", "x"]))
def test_every_domain_has_a_kind(domain: str) -> None:
    assert kind_of(domain) in EVERYTHING
