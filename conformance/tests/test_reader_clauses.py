# SPDX-License-Identifier: Apache-2.0
"""The clauses about readers have teeth: each wrong reader here fails the clause that names its mistake."""

from pathlib import Path
from typing import Any

import pytest

from raplica_conformance.clause import load_clauses
from raplica_conformance.judge import judge
from raplica_conformance.subject import zones
from raplica_conformance.subjects.reader import ReaderRun, ReferenceReader
from raplica_conformance.subjects.simulator import SimulatedMachine
from raplica_fixtures import profile_ids

CLAUSES = [name for name, entry in load_clauses().items() if entry.kind == "reader"]


class Wrong(ReaderRun):
    """A reader that makes one mistake; this one makes none yet."""


class LeavesOutSubzones(Wrong):
    def listed(self) -> dict[str, str]:
        return {zone: path for zone, path in super().listed().items() if zone.count(":") == 1}


class NamesByPosition(Wrong):
    def listed(self) -> dict[str, str]:
        return {zone: zone.replace("intel-rapl:", "package-", 1) for zone in super().listed()}


class ReportsTheCounter(Wrong):
    def spent_uj(self) -> dict[str, int | None]:
        return {zone.id: int(self.tree.read(f"{zone.path}/energy_uj")) for zone in zones(self.tree)}


class KnowsNoWrap(Wrong):
    def __init__(self, tree: Any, name: str) -> None:
        super().__init__(tree, name)
        self.readings: list[dict[str, int]] = []

    def restart(self) -> None:
        self.readings = []

    def sample(self) -> None:
        self.readings.append({zone.id: int(self.tree.read(f"{zone.path}/energy_uj")) for zone in zones(self.tree)})

    def spent_uj(self) -> dict[str, int | None]:
        return {zone: self.readings[-1][zone] - before for zone, before in self.readings[0].items()}


class WrapsAtTwoToThe32(KnowsNoWrap):
    def spent_uj(self) -> dict[str, int | None]:
        return {zone: spent % 2**32 for zone, spent in super().spent_uj().items() if spent is not None}


class AddsUpInThousandths(Wrong):
    def spent_uj(self) -> dict[str, int | None]:
        return {zone: spent and spent // 1000 for zone, spent in super().spent_uj().items()}


class ShowsZeroForUnknown(Wrong):
    def spent_uj(self) -> dict[str, int | None]:
        return {zone: spent or 0 for zone, spent in super().spent_uj().items()}


class ForgetsAllWhenOneFails(Wrong):
    def spent_uj(self) -> dict[str, int | None]:
        spent = super().spent_uj()
        return dict.fromkeys(spent) if None in spent.values() else spent


WRONG: dict[type[ReaderRun], set[str]] = {
    LeavesOutSubzones: {"reader.list.complete"},
    NamesByPosition: {"reader.list.names"},
    ReportsTheCounter: {name for name in CLAUSES if name.startswith("reader.energy.")},
    KnowsNoWrap: {"reader.energy.wrap", "reader.energy.series", "reader.energy.unreadable"},
    WrapsAtTwoToThe32: {"reader.energy.wrap", "reader.energy.series", "reader.energy.unreadable"},
    AddsUpInThousandths: {
        "reader.energy.load",
        "reader.energy.wrap",
        "reader.energy.series",
        "reader.energy.unreadable",
    },
    ShowsZeroForUnknown: {"reader.energy.unreadable"},
    ForgetsAllWhenOneFails: {"reader.energy.unreadable"},
}


def judged(kind: type[ReaderRun], machine: SimulatedMachine) -> dict[str, str]:
    """The verdict of every clause about readers on one kind of reader."""
    subject = ReferenceReader(machine)
    made = lambda: kind(machine.anew(), subject.name)  # noqa: E731 - it stands in for a method
    subject.fresh = made  # type: ignore[method-assign]
    return {name: judge(load_clauses()[name], subject).verdict for name in CLAUSES}


@pytest.mark.untraced  # the wrong readers show it
@pytest.mark.parametrize("machine", profile_ids())
def test_the_reference_reader_passes_them_all_on_every_built_in_machine(machine: str) -> None:
    verdicts = judged(ReaderRun, SimulatedMachine(machine))
    wanted = dict.fromkeys(CLAUSES, "pass")
    if machine == "dtpm":
        # It knows the power of the moment, and counts no energy.
        wanted |= {name: "not-applicable" for name in CLAUSES if name.startswith("reader.energy.")}
    assert verdicts == wanted


@pytest.mark.parametrize("kind", WRONG, ids=lambda kind: kind.__name__)
def test_each_wrong_reader_fails_what_names_its_mistake_and_nothing_else(kind: type[ReaderRun]) -> None:
    verdicts = judged(kind, SimulatedMachine("skylake-sp-2s", "6.12"))
    wrong = {name for name, word in verdicts.items() if word != "pass"}
    assert wrong == WRONG[kind]


def test_each_clause_about_readers_is_failed_by_some_wrong_reader() -> None:
    assert set().union(*WRONG.values()) == set(CLAUSES)


def test_a_machine_that_stands_still_says_nothing_about_joules() -> None:
    recordings = Path(__file__).resolve().parents[2] / "fixtures" / "recordings"
    verdicts = judged(ReaderRun, SimulatedMachine(str(recordings / "skx_2s-6.12.json.xz")))
    still = {name for name, word in verdicts.items() if word == "not-applicable"}
    assert still == {"reader.energy.load", "reader.energy.series", "reader.energy.wrap"}
    assert set(verdicts.values()) == {"pass", "not-applicable"}
