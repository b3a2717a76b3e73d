# SPDX-License-Identifier: Apache-2.0
"""What was judged, as a report shows it: facts and zones as they read, and a word where they do not."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from raplica_conformance.clause import Clause
from raplica_conformance.cli import main
from raplica_conformance.reports import html
from raplica_conformance.reports.portrait import DrawnZone, portrait, portraits
from raplica_conformance.subject import Crashed
from raplica_conformance.subjects.reader import ReferenceReader
from raplica_conformance.subjects.real import RealMachine
from raplica_conformance.subjects.recording import RecordedTree
from raplica_conformance.subjects.simulator import SimulatedMachine
from raplica_conformance.subjects.tree import WrittenTree
from raplica_conformance.verdicts import Verdict

RECORDINGS = Path(__file__).resolve().parents[2] / "fixtures" / "recordings"


def every(zones: tuple[DrawnZone, ...]) -> Iterator[DrawnZone]:
    for zone in zones:
        yield zone
        yield from every(zone.children)


@pytest.fixture(scope="module")
def machine() -> SimulatedMachine:
    return SimulatedMachine("skylake-sp-2s", "6.12")


def test_a_simulated_machine_is_drawn_with_its_zones_and_limits(machine: SimulatedMachine) -> None:
    shown = portrait(machine)
    facts = dict(shown.facts)
    assert facts["machine"] == "2-socket Intel Xeon Gold 6148 (Skylake-SP)"
    assert facts["judged by"] == "conformance run --machine skylake-sp-2s --kernel 6.12"
    assert facts["kernel"].startswith("6.12.")
    tree = machine.fresh()
    by_id = {zone.id: zone for zone in every(shown.zones)}
    assert {"intel-rapl", "intel-rapl:0", "intel-rapl:0:0", "intel-rapl:1", "intel-rapl:1:0"} <= set(by_id)
    zone = by_id["intel-rapl:0"]
    assert zone.name == "package-0"
    read = tree.read("class/powercap/intel-rapl:0/energy_uj").decode().strip()
    assert dict(zone.values)["energy_uj"] == read
    limit = tree.read("class/powercap/intel-rapl:0/constraint_0_power_limit_uw").decode().strip()
    assert (zone.constraints[0].name, dict(zone.constraints[0].values)["limit"]) == ("long_term", limit)
    assert [child.id for child in zone.children] == ["intel-rapl:0:0"]


def test_a_reader_is_shown_by_its_facts_and_not_drawn(machine: SimulatedMachine) -> None:
    shown = portrait(ReferenceReader(machine))
    assert (shown.kind, shown.zones, shown.note) == ("reader", (), "")


def test_a_recording_and_a_written_tree_are_drawn(right_tree: Path) -> None:
    recorded = portrait(RecordedTree(RECORDINGS / "skx_2s-6.12.json.xz"))
    assert "family 6" in dict(recorded.facts)["CPU"]
    assert "package-0" in {zone.name for zone in every(recorded.zones)}
    written = portrait(WrittenTree(right_tree))
    assert "package-0" in {zone.name for zone in every(written.zones)}


def test_this_machine_is_described_without_its_name() -> None:
    subject = RealMachine()
    facts = dict(portrait(subject, looked_at=False).facts)
    subject.close()
    assert {"architecture", "judged as", "kernel"} <= set(facts)
    assert os.uname().nodename not in {*facts.values()}


class Failing:
    """A tree in which something fails."""

    name = "failing"
    kernel = None

    def __init__(self, machine: SimulatedMachine, error: Exception, *, at: str) -> None:
        self._tree = machine.anew()
        self._error = error
        self._at = at

    def read(self, path: str) -> bytes:
        if self._at in path:
            raise self._error
        return self._tree.read(path)

    def listdir(self, path: str) -> list[str]:
        if path.endswith(self._at):
            raise self._error
        return self._tree.listdir(path)

    def stat(self, path: str) -> object:
        return self._tree.stat(path)


def test_what_does_not_read_is_shown_by_its_errno(machine: SimulatedMachine) -> None:
    shown = portrait(Failing(machine, OSError(errno.ENODATA, "no data"), at="energy_uj"))
    energies = {dict(zone.values).get("energy_uj") for zone in every(shown.zones)}
    assert energies == {"ENODATA", None}
    assert shown.facts == ()


@pytest.mark.parametrize("error", [Crashed("oops"), OSError(errno.EIO, "broken")])
def test_a_tree_that_cannot_be_walked_is_not_drawn_and_says_why(machine: SimulatedMachine, error: Exception) -> None:
    at = "/name" if isinstance(error, Crashed) else "intel-rapl"
    shown = portrait(Failing(machine, error, at=at))
    assert shown.zones == ()
    assert shown.note == f"not drawn: {error}"


def powercap(root: Path, *zones: str) -> WrittenTree:
    """A tree that somebody made, with these zones by their paths below the devices."""
    (root / "class/powercap").mkdir(parents=True)
    for zone in zones:
        folder = root / "devices/virtual/powercap" / zone
        folder.mkdir(parents=True)
        (folder / "name").write_text("package-0\n")
    return WrittenTree(root)


def test_zones_that_lie_in_one_of_their_own_id_are_drawn_where_they_lie(tmp_path: Path) -> None:
    tree = powercap(tmp_path, "intel-rapl/intel-rapl:0", "intel-rapl/intel-rapl:0/intel-rapl:0")
    (control_type,) = portrait(tree).zones
    (outer,) = control_type.children
    assert [zone.id for zone in every((outer,))] == ["intel-rapl:0", "intel-rapl:0"]
    assert outer.children[0].children == ()


def test_a_plain_zone_whose_parent_is_not_there_is_drawn_below_its_control_type(tmp_path: Path) -> None:
    for zone in ("intel-rapl", "intel-rapl:0:0"):
        (tmp_path / "class/powercap" / zone).mkdir(parents=True)
    (control_type,) = portrait(WrittenTree(tmp_path)).zones
    assert [zone.id for zone in control_type.children] == ["intel-rapl:0:0"]


def test_zones_deeper_than_any_machine_has_them_are_counted_and_a_page_still_comes(tmp_path: Path) -> None:
    path = "intel-rapl" + "".join(f"/intel-rapl:{number}" for number in range(150))
    shown = portrait(powercap(tmp_path, path))
    assert len(list(every(shown.zones))) == 21
    assert shown.note == "drawn but for 130, which are too many or lie too deep"
    assert shown.note in html.render([], [shown])


def test_zones_that_no_program_can_walk_are_not_drawn(machine: SimulatedMachine) -> None:
    shown = portrait(Failing(machine, RecursionError("maximum recursion depth exceeded"), at="intel-rapl"))
    assert (shown.zones, shown.note) == ((), "not drawn: maximum recursion depth exceeded")


def test_a_tree_that_let_a_clause_wait_in_vain_is_not_read_again(machine: SimulatedMachine) -> None:
    rule = Clause("powercap.x", "must", "A rule.", "shape", "here", lambda _: None)
    (shown,) = portraits([machine], [Verdict(rule, machine.name, "timeout", "did not end within 20 s")])
    assert shown.zones == ()
    assert "waited" in shown.note


def test_a_run_draws_what_it_judged_on_the_page_and_in_no_other_report(tmp_path: Path) -> None:
    page, document = tmp_path / "x.html", tmp_path / "x.json"
    asked = ["run", "powercap.zone.nesting", "--machine", "kabylake", "--report", str(page), "--report", str(document)]
    with pytest.raises(SystemExit) as ended:
        main(asked)
    assert ended.value.code == 0
    assert "15 W laptop, Intel Core i7-7500U (Kaby Lake)" in page.read_text()
    assert "<strong>package-0</strong>" in page.read_text()
    assert "Kaby Lake" not in document.read_text()
