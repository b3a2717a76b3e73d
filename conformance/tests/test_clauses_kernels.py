# SPDX-License-Identifier: Apache-2.0
"""Every clause on the kernels beside the usual two: what they do contradicts no clause that holds for them.

The old ones nobody saw run, and the newest one was seen on few machines.

The first driver (3.13) believes a counter only when it moves, and knows five models, so the machines here are such
models at work.
"""

from pathlib import Path

import pytest

from raplica_conformance.clause import load_clauses
from raplica_conformance.judge import judge
from raplica_conformance.subjects.reader import ReferenceReader
from raplica_conformance.subjects.simulator import SimulatedMachine
from raplica_conformance.subjects.tree import WrittenTree
from raplica_conformance.verdicts import Verdict
from raplica_simulator import Machine
from raplica_simulator.surfaces.directory import write_tree

# A whole suite each time: the quick set of the other Pythons leaves it out.
pytestmark = pytest.mark.slow

CLIENT = """
0x606 = "0xA0E03"
0x610 = "0x00428440001B83E8"
0x611 = "0x12345678"
0x614 = "0x00000000000003E8"
0x619 = "0x00ABCDEF"
0x638 = "0x0"
0x639 = "0x00234567"
0x63A = "0x0"
0x640 = "0x0"
0x641 = "0x00034567"
0x642 = "0x0"
0x64D = "0x00456789"
0x65C = "0x0000000000DC8078"
"""
SERVER = """
0x606 = "0xA0E03"
0x610 = "0x000184B0001183E8"
0x611 = "0x40001111"
0x613 = "0x0"
0x614 = "0x000F0CE803980528"
0x618 = "0x0000000000108444"
0x619 = "0x20000777"
0x61C = "0x00280444009C01F8"
"""
SILVERMONT = """
0x606 = "0x505"
0x610 = "0x00000000000280EA"
0x611 = "0x00112233"
0x639 = "0x00010203"
"""

# Model, packages, what is at work, registers.
MACHINES = {
    "sandy-bridge": (0x2A, 1, "package = 20\ncore = 5\nuncore = 1\ndram = 3", CLIENT),
    "sandy-bridge-server": (0x2D, 3, "package = 80\ndram = 9", SERVER),
    "ivy-bridge-locked": (0x3A, 1, "package = 20\ncore = 5", CLIENT.replace("0x0042844000", "0x8042844000")),
    "haswell-without-a-limit-register": (0x45, 1, "package = 9\ncore = 5", CLIENT.replace("0x610", "0x1610")),
    "silvermont": (0x37, 1, "package = 5\ncore = 2", SILVERMONT),
}
KERNELS = ("3.13", "5.5", "7.2")


@pytest.fixture(params=MACHINES)
def profile(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    model, packages, load, registers = MACHINES[request.param]
    path = tmp_path / f"{request.param}.toml"
    cpu = f'[cpu]\nvendor = "GenuineIntel"\nfamily = 6\nmodel = {model}\n'
    topology = f"[topology]\npackages = {packages}\ncores_per_die = 2\n"
    path.write_text(f'rules = "silicon"\n{cpu}{topology}[load]\n{load}\n[registers]\n{registers}')
    return path


def wrong(verdicts: list[Verdict]) -> dict[str, str]:
    return {v.clause.id: f"{v.verdict}: {v.reason}" for v in verdicts if v.verdict not in ("pass", "not-applicable")}


def passed(verdicts: list[Verdict]) -> set[str]:
    return {verdict.clause.id for verdict in verdicts if verdict.verdict == "pass"}


@pytest.mark.untraced  # test_clauses_machines.py and test_kernel_versions.py show it
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_machine_and_its_reader_are_right_on_these_kernels_too(profile: Path, kernel: str) -> None:
    machine = SimulatedMachine(str(profile), kernel)
    clauses = load_clauses().values()
    verdicts = [judge(clause, machine) for clause in clauses if clause.kind == "provider"]
    assert wrong(verdicts) == {}
    assert len(passed(verdicts)) > 80
    assert {"rapl.range.whole-counter", "hardware.counter.still"} <= passed(verdicts)
    verdicts = [judge(clause, ReferenceReader(machine)) for clause in clauses if clause.kind == "reader"]
    assert wrong(verdicts) == {}
    assert {"reader.energy.load", "reader.energy.wrap"} <= passed(verdicts)


@pytest.mark.untraced  # test_clauses_machines.py shows it
@pytest.mark.parametrize("kernel", KERNELS[:2])
def test_its_tree_is_right_when_it_is_written_to_a_disk(profile: Path, kernel: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    write_tree(Machine.from_profile(profile, kernel=kernel), root)
    tree = WrittenTree(root, kernel)
    verdicts = [judge(clause, tree) for clause in load_clauses().values() if clause.kind == "provider"]
    assert wrong(verdicts) == {}
    assert "rapl.range.whole-counter" in passed(verdicts)
