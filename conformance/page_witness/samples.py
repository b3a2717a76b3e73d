# SPDX-License-Identifier: Apache-2.0
"""The pages that are looked at: real verdicts on real subjects, every word, and text that wants to be markup."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

from raplica_conformance.clause import Clause
from raplica_conformance.compare import MEANINGS, Result, compare
from raplica_conformance.loop import run
from raplica_conformance.matrix_report import Matrix, render
from raplica_conformance.matrix_results import Result as MatrixResult
from raplica_conformance.matrix_tools import tools_named
from raplica_conformance.readers.called import CalledPlug
from raplica_conformance.readers.case_clauses import all_clauses
from raplica_conformance.readers.plug import Reading
from raplica_conformance.readers.subject import PluggedReader
from raplica_conformance.reports import html
from raplica_conformance.reports.page import render_page
from raplica_conformance.reports.portrait import DrawnZone, Portrait, portraits
from raplica_conformance.selection import pair, select
from raplica_conformance.subjects.simulator import SimulatedMachine
from raplica_conformance.verdicts import VERDICTS, Verdict

__all__ = ["HOSTILE", "pages"]

#: What a browser would run if anybody let it, in a text, an attribute and a script.
HOSTILE = "\"'><script>window.hacked=1</script><img src=x onerror=window.hacked=1></style></script>{{7*7}}\u202e"
_CASES = ("arithmetic/one-wrap", "errors/eacces", "topology/every-zone", "topology/total-of-packages-and-memory")


class _NoWrap:
    """A reader of packages alone that takes a wrap for energy below zero, and says an error where it meets one."""

    def __init__(self, tree: Any, _clock: object) -> None:
        self._tree = tree
        self._seen: dict[str, list[int | None]] = {}

    def sample(self) -> None:
        for zone in ("intel-rapl:0", "intel-rapl:1"):
            try:
                text = self._tree.read(f"class/powercap/{zone}/energy_uj")
            except OSError:
                text = b""
            self._seen.setdefault(zone, []).append(int(text) if text else None)

    def answer(self) -> dict[str, Reading]:
        return {zone: self._said(values[0], values[-1]) for zone, values in self._seen.items()}

    def _said(self, first: int | None, last: int | None) -> Reading:
        return Reading(None, "error", "EACCES") if first is None or last is None else Reading(last - first)


class _Double(_NoWrap):
    """The same, and it counts everything twice."""

    def _said(self, first: int | None, last: int | None) -> Reading:
        once = super()._said(first, last)
        return once if once.energy_uj is None else Reading(2 * once.energy_uj)


_WRONG = {"no wrap": _NoWrap, "everything twice": _Double}


def pages() -> Iterator[tuple[str, str]]:
    """Each page by its name."""
    yield "report", html.render(*_everything())
    verdicts, drawn = _machine()
    yield "report-of-one", html.render(verdicts, drawn)
    yield "matrix", render(_matrix(), "html")
    yield "comparison", _comparison()


@cache
def _machine() -> tuple[list[Verdict], list[Portrait]]:
    """A machine on which nothing is wrong."""
    subject = SimulatedMachine("skylake-sp-2s", "6.12")
    verdicts = run(pair(select(all_clauses(), ("powercap.zone.*", "rapl.zone.*", "rapl.mmio.*")), [subject]))
    return verdicts, portraits([subject], verdicts)


@cache
def _readers() -> list[Verdict]:
    """Readers that are wrong on purpose, with their stories."""
    readers = [PluggedReader(CalledPlug(name, reader)) for name, reader in _WRONG.items()]
    return run(pair(select(all_clauses(), _CASES), readers), registry=all_clauses())


def _everything() -> tuple[list[Verdict], list[Portrait]]:
    """All of it on one page, with every verdict once more on something hostile."""
    verdicts, drawn = _machine()
    rule = Clause(
        "sample.hostile", "must", HOSTILE, "shape", HOSTILE, lambda _subject: None, threads=("https://x.example/",)
    )
    hostile = [
        Verdict(replace(rule, id=f"sample.{word}"), HOSTILE, word, HOSTILE, ("--tree", HOSTILE)) for word in VERDICTS
    ]
    zone = DrawnZone(HOSTILE, HOSTILE, ((HOSTILE, HOSTILE),))
    return [*verdicts, *_readers(), *hostile], [
        *drawn,
        Portrait(HOSTILE, "provider", ((HOSTILE, HOSTILE),), (zone,)),
        Portrait("a tree that hangs", "provider", note="not drawn: a clause waited for this tree in vain"),
    ]


def _matrix() -> Matrix:
    """The same readers as tools, and one tool that is not here."""
    tools = (*tools_named(("raplica-reader-stepped", "codecarbon")), *tools_named(("scaphandre",)))
    names = dict(zip(_WRONG, tools[:2], strict=True))
    results = {
        (names[verdict.subject].name, verdict.clause.id): MatrixResult(
            names[verdict.subject].name,
            "1",
            verdict.clause.id,
            "",
            verdict.verdict,
            verdict.reason + HOSTILE,
            0.1,
            HOSTILE,
            None if verdict.details is None else verdict.details.as_json(),
        )
        for verdict in _readers()
    }
    versions = {tool.name: "1.0" for tool in tools[:2]}
    missing = {tool.name: "" if tool.name in versions else HOSTILE for tool in tools}
    return Matrix(tools, versions, missing, _CASES, results)


def _comparison() -> str:
    words = ("pass", "fail", "skip", "expected-fail")
    before = {(f"sample.{was}-{now}", HOSTILE): Result(was, "") for was in words for now in words}
    after = {(f"sample.{was}-{now}", HOSTILE): Result(now, HOSTILE) for was in words for now in words}
    found = compare(
        {**before, ("sample.gone", "two"): Result("pass", "")}, {**after, ("sample.new", "two"): Result("pass", "")}
    )
    return render_page("comparison.html.j2", comparison=found, before=HOSTILE, after="b.json", meanings=MEANINGS)
