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

#: By odd machine and kernel ("" for both): clauses that pass on it.
ODD: dict[tuple[str, str], str] = {
    ("broadwell-d", ""): "rapl.agree.range rapl.range.known-unit",
    ("counters-at-zero", ""): "rapl.agree.energy rapl.agree.domains rapl.zone.child-packed",
    ("failing-counters", ""): "powercap.errno.meter powercap.errno.constraint",
    ("kvm-guest", ""): "powercap.class.directory powercap.devices.when-empty",
    ("locked-core", "6.1"): "firmware.lock.wrong-bit-before-6-5 firmware.lock.window-before-6-5",
    ("locked-core", "6.12"): "firmware.lock.reads-disabled firmware.lock.refuses rapl.write.success-means-done",
    ("locked-package", "6.1"): "firmware.lock.window-before-6-5 rapl.agree.enabled",
    ("locked-package", "6.12"): "firmware.lock.reads-disabled firmware.lock.refuses rapl.agree.peak-listed",
    ("longest-window", ""): "rapl.window.overflow rapl.window.whole-steps rapl.agree.window",
    ("no-energy-unit", ""): "rapl.range.zero-unit rapl.range.whole-counter",
    ("no-info", ""): "rapl.agree.max-power rapl.constraint.files",
    ("no-units", "6.1"): "powercap.devices.when-empty",
    ("no-units", "6.12"): "rapl.units.missing rapl.range.zero-unit powercap.write.number-refused",
    ("other-control-types", ""): "dtpm.zone.no-energy powercap.constraint.name-length powercap.number.signed-64",
    ("peak-only", ""): "rapl.errno.peak-window rapl.constraint.name-known rapl.write.peak-window",
    ("psys-on-each-die", ""): "rapl.psys.once rapl.psys.after-package rapl.package.die-numbers",
    ("psys-on-the-second", ""): "rapl.psys.once rapl.psys.after-package rapl.zone.name-known",
    ("seventeen-packages", ""): "powercap.zone.id-counting powercap.zone.id-text hardware.counter.moves",
}


def judged(subject: Any) -> list[Verdict]:
    return [judge(clause, subject) for clause in load_clauses().values() if clause.kind == "provider"]


def wrong(verdicts: list[Verdict]) -> dict[str, str]:
    return {v.clause.id: f"{v.verdict}: {v.reason}" for v in verdicts if v.verdict not in ("pass", "not-applicable")}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("machine", profile_ids())
def test_every_built_in_machine_is_right_on_every_kernel(machine: str, kernel: str) -> None:
    verdicts = judged(SimulatedMachine(machine, kernel))
    assert wrong(verdicts) == {}
    assert Counter(v.verdict for v in verdicts)["pass"] > 80


@pytest.mark.parametrize("recording", RECORDINGS, ids=[path.name.partition(".json")[0] for path in RECORDINGS])
def test_every_recorded_kernel_is_right(recording: Path) -> None:
    verdicts = judged(RecordedTree(recording))
    assert wrong(verdicts) == {}
    assert Counter(v.verdict for v in verdicts)["pass"] > 60


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("recording", RECORDINGS, ids=[path.name.partition(".json")[0] for path in RECORDINGS])
def test_every_machine_made_from_a_recording_is_right(recording: Path, kernel: str) -> None:
    assert wrong(judged(SimulatedMachine(str(recording), kernel))) == {}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("machine", sorted({name for name, _ in ODD}))
def test_an_odd_machine_is_right_and_its_own_clauses_have_something_to_say(machine: str, kernel: str) -> None:
    verdicts = judged(SimulatedMachine(str(HERE / "machines" / f"{machine}.toml"), kernel))
    assert wrong(verdicts) == {}
    wanted = {name for key in ((machine, ""), (machine, kernel)) for name in ODD.get(key, "").split()}
    assert wanted - {v.clause.id for v in verdicts if v.verdict == "pass"} == set()


@pytest.mark.parametrize(("kernel", "told"), [("6.1", "6.1"), ("6.1", None), ("6.12", None)])
@pytest.mark.parametrize("machine", ["alderlake-p", "baytrail", "sapphirerapids-2s", "zen4"])
def test_a_tree_written_from_a_machine_is_right_whether_its_kernel_is_known_or_not(
    machine: str, kernel: str, told: str | None, tmp_path: Path
) -> None:
    write_tree(Machine.from_profile(machine, kernel=kernel), tmp_path)
    assert wrong(judged(WrittenTree(tmp_path, told))) == {}


@pytest.mark.parametrize("machine", sorted({name for name, _ in ODD}))
def test_a_tree_written_from_an_odd_machine_is_right(machine: str, tmp_path: Path) -> None:
    write_tree(Machine.from_profile(HERE / "machines" / f"{machine}.toml"), tmp_path)
    assert wrong(judged(WrittenTree(tmp_path))) == {}


def test_every_composed_machine_is_used() -> None:
    assert {path.stem for path in (HERE / "machines").glob("*.toml")} == {name for name, _ in ODD}
