# SPDX-License-Identifier: Apache-2.0
"""Every clause on every machine that is right: built-in ones, recorded kernels, and odd ones composed for this.

A clause that fails here says something about the world that is not so. The odd machines lie in `machines/`; for each
the clauses stand here that have something to say of it and of hardly any other.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from raplica_conformance.clause import load_clauses
from raplica_conformance.judge import judge
from raplica_conformance.subject import zones
from raplica_conformance.subjects.recording import RecordedTree
from raplica_conformance.subjects.simulator import SimulatedMachine
from raplica_conformance.subjects.tree import WrittenTree
from raplica_conformance.verdicts import Verdict
from raplica_fixtures import profile_ids
from raplica_simulator import Machine
from raplica_simulator.surfaces.directory import write_tree

# A whole suite or tree each time: the quick set of the other Pythons leaves them out.
pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
RECORDINGS = sorted((HERE.parents[1] / "fixtures" / "recordings").glob("*.json*"))
KERNELS = ("6.1", "6.12")


def machine_of(recording: Path) -> str:
    return recording.name.partition(".json")[0].rpartition("-")[0]


#: By machine the recording of the newest kernel: the older one makes the same machine.
NEWEST = {machine_of(path): path for path in RECORDINGS}

#: By odd machine and kernel ("" for both): clauses that pass on it.
ODD: dict[tuple[str, str], str] = {
    ("above-its-limit", ""): "hardware.counter.wraps hardware.counter.forward",
    ("both-interfaces", ""): "rapl.mmio.same-energy rapl.mmio.limits-apart rapl.write.limit-width",
    ("both-interfaces", "6.1"): "rapl.mmio.no-peak-before rapl.mmio.same-range rapl.mmio.dram-limits",
    ("both-interfaces", "6.12"): "rapl.mmio.dram-max-power rapl.write.enabled-reads-back rapl.errno.peak-window",
    ("broadwell-d", ""): "rapl.agree.range rapl.range.known-unit",
    ("counters-at-zero", ""): "rapl.agree.energy rapl.agree.domains rapl.zone.child-packed",
    ("failing-counters", ""): "powercap.errno.meter powercap.errno.constraint",
    ("fine-unit", ""): "rapl.agree.energy rapl.range.whole-counter hardware.counter.wraps",
    ("kvm-guest", ""): "powercap.class.directory powercap.devices.when-empty",
    ("locked-core", "6.1"): "firmware.lock.wrong-bit-before-6-5 firmware.lock.window-before-6-5",
    ("locked-core", "6.12"): "firmware.lock.reads-disabled firmware.lock.refuses rapl.write.success-means-done",
    ("locked-package", "6.1"): "firmware.lock.window-before-6-5 rapl.agree.enabled",
    ("locked-package", "6.12"): "firmware.lock.reads-disabled firmware.lock.refuses firmware.lock.peak-open",
    ("longest-window", ""): "rapl.window.overflow rapl.window.whole-steps rapl.agree.window",
    ("no-energy-unit", ""): "rapl.range.zero-unit rapl.range.whole-counter",
    ("no-info", ""): "rapl.agree.max-power rapl.constraint.files",
    ("no-units", "6.1"): "powercap.devices.when-empty",
    ("no-units", "6.12"): "rapl.units.missing rapl.range.zero-unit powercap.write.number-refused",
    ("other-control-types", ""): "dtpm.zone.no-energy dtpm.zone.no-window powercap.number.signed-64",
    ("peak-only", ""): "rapl.errno.peak-window rapl.constraint.name-known rapl.write.peak-window",
    ("psys-on-each-die", ""): "rapl.psys.once rapl.psys.after-package rapl.package.die-numbers",
    ("psys-on-the-second", ""): "rapl.psys.once rapl.psys.after-package rapl.zone.name-known",
    ("seventeen-packages", ""): "powercap.zone.id-counting powercap.zone.id-text hardware.counter.moves",
    ("tpmi", "6.1"): "powercap.devices.when-empty",
    ("tpmi", "6.12"): "rapl.tpmi.zones rapl.write.limit-width rapl.limit.fits-field rapl.write.enabled-keeps-limits",
}


def judged(subject: Any) -> list[Verdict]:
    return [judge(clause, subject) for clause in load_clauses().values() if clause.kind == "provider"]


def wrong(verdicts: list[Verdict]) -> dict[str, str]:
    return {v.clause.id: f"{v.verdict}: {v.reason}" for v in verdicts if v.verdict not in ("pass", "not-applicable")}


@pytest.mark.untraced  # the odd machines show it all
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("machine", profile_ids())
def test_every_built_in_machine_is_right_on_every_kernel(machine: str, kernel: str) -> None:
    subject = SimulatedMachine(machine, kernel)
    verdicts = judged(subject)
    assert wrong(verdicts) == {}
    # Half of the clauses are about RAPL drivers, and not every machine has one.
    assert Counter(v.verdict for v in verdicts)["pass"] > (80 if any(subject.profile.registers.values()) else 50)


@pytest.mark.untraced  # the odd machines show it all
@pytest.mark.parametrize("recording", RECORDINGS, ids=[path.name.partition(".json")[0] for path in RECORDINGS])
def test_every_recorded_kernel_is_right(recording: Path) -> None:
    subject = RecordedTree(recording)
    verdicts = judged(subject)
    assert wrong(verdicts) == {}
    # Of a tree without a zone there is little to say.
    assert Counter(v.verdict for v in verdicts)["pass"] > (60 if zones(subject) else 2)


@pytest.mark.untraced  # the odd machines show it all
@pytest.mark.parametrize("recording", NEWEST.values(), ids=NEWEST)
def test_every_machine_made_from_a_recording_is_right(recording: Path) -> None:
    assert wrong(judged(SimulatedMachine(str(recording)))) == {}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("machine", sorted({name for name, _ in ODD}))
def test_an_odd_machine_is_right_and_its_own_clauses_have_something_to_say(machine: str, kernel: str) -> None:
    verdicts = judged(SimulatedMachine(str(HERE / "machines" / f"{machine}.toml"), kernel))
    assert wrong(verdicts) == {}
    wanted = {name for key in ((machine, ""), (machine, kernel)) for name in ODD.get(key, "").split()}
    assert wanted - {v.clause.id for v in verdicts if v.verdict == "pass"} == set()


@pytest.mark.untraced  # the odd machines show it all
@pytest.mark.parametrize(("kernel", "told"), [("6.1", "6.1"), ("6.1", None), ("6.12", None)])
@pytest.mark.parametrize("machine", ["alderlake-p", "baytrail", "sapphirerapids-2s", "zen4"])
def test_a_tree_written_from_a_machine_is_right_whether_its_kernel_is_known_or_not(
    machine: str, kernel: str, told: str | None, tmp_path: Path
) -> None:
    write_tree(Machine.from_profile(machine, kernel=kernel), tmp_path)
    assert wrong(judged(WrittenTree(tmp_path, told))) == {}


@pytest.mark.untraced  # the odd machines show it all
@pytest.mark.parametrize("machine", sorted({name for name, _ in ODD}))
def test_a_tree_written_from_an_odd_machine_is_right(machine: str, tmp_path: Path) -> None:
    write_tree(Machine.from_profile(HERE / "machines" / f"{machine}.toml"), tmp_path)
    assert wrong(judged(WrittenTree(tmp_path))) == {}


@pytest.mark.parametrize("name", ["intel-rapl", "intel-rapl-mmio"])
def test_a_control_type_that_no_driver_made_is_not_judged_by_a_driver_of_its_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / "page.toml"
    text = (HERE / "machines" / "other-control-types.toml").read_text()
    path.write_text(text.replace('name = "made"', f'name = "{name}"'))
    verdicts = judged(SimulatedMachine(str(path)))
    assert wrong(verdicts) == {}
    reasons = {v.reason for v in verdicts if v.verdict == "not-applicable" and name in v.clause.drivers}
    assert f"{name} of this subject is composed: no driver of that name made it" in reasons
    # What holds for any control type is judged all the same.
    passed = {v.clause.id for v in verdicts if v.verdict == "pass"}
    assert {"powercap.constraint.name-length", "powercap.write.number-refused", "dtpm.zone.no-energy"} <= passed


def test_every_composed_machine_is_used() -> None:
    assert {path.stem for path in (HERE / "machines").glob("*.toml")} == {name for name, _ in ODD}
