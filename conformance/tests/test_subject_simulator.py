# SPDX-License-Identifier: Apache-2.0
"""A simulated machine as a subject: it can everything, and no clause meets what another one did."""

import errno
from pathlib import Path

import pytest

from raplica_conformance.clause import NEEDS, Clause, clause, expect, load_clauses
from raplica_conformance.judge import judge
from raplica_conformance.subject import Crashed, Provider, Reader, number, zones
from raplica_conformance.subjects.reader import ReferenceReader
from raplica_conformance.subjects.simulator import SimulatedMachine

ZONE = "class/powercap/intel-rapl:0"
LIMIT = f"{ZONE}/constraint_0_power_limit_uw"


@pytest.fixture(scope="module")
def machine() -> SimulatedMachine:
    return SimulatedMachine("skylake-sp-2s", "6.12")


def test_a_machine_can_everything_and_names_its_kernel(machine: SimulatedMachine) -> None:
    tree = machine.fresh()
    assert isinstance(tree, Provider)
    assert machine.can == tree.can == NEEDS
    assert machine.name == tree.name == "skylake-sp-2s@6.12"
    assert machine.kernel == tree.kernel == "6.12.117"
    assert machine.arguments == ("--machine", "skylake-sp-2s", "--kernel", "6.12")
    assert SimulatedMachine("skylake-sp-2s").name == "skylake-sp-2s@6.12"
    assert SimulatedMachine("skylake-sp-2s", "6.1").kernel == "6.1.192"


def test_the_tree_is_the_kernels(machine: SimulatedMachine) -> None:
    tree = machine.fresh()
    assert {zone.id for zone in zones(tree)} == {"intel-rapl:0", "intel-rapl:0:0", "intel-rapl:1", "intel-rapl:1:0"}
    assert tree.readlink(ZONE) == "../../devices/virtual/powercap/intel-rapl/intel-rapl:0"
    assert tree.stat(ZONE).kind == "link"
    assert (tree.stat(f"{ZONE}/name").mode, tree.stat(f"{ZONE}/name").size) == (0o444, 4096)
    assert tree.open_errno(f"{ZONE}/energy_uj", "r", "root") == 0
    assert tree.open_errno(f"{ZONE}/energy_uj", "r", "nobody") == errno.EACCES
    assert tree.open_errno(f"{ZONE}/energy_uj", "w", "root") == errno.EACCES
    assert tree.cpus() == list(range(80))
    assert tree.msr_read(0, 0x606) == 0xA0E03
    with pytest.raises(OSError, match=rf"\[Errno {errno.EIO}\]"):
        tree.msr_read(0, 0x123)


def test_reading_leaves_the_machine_to_the_next_clause_and_anything_else_does_not(machine: SimulatedMachine) -> None:
    first = machine.fresh()
    first.read(f"{ZONE}/energy_uj")
    assert machine.fresh() is first
    first.write(LIMIT, b"50000000\n")
    second = machine.fresh()
    assert second is not first
    assert second.read(LIMIT) != first.read(LIMIT)
    before = number(second, f"{ZONE}/energy_uj")
    second.advance(1_000_000_000)
    assert number(second, f"{ZONE}/energy_uj") > before
    third = machine.fresh()
    assert number(third, f"{ZONE}/energy_uj") == before
    third.msr_write(0, 0x610, third.msr_read(0, 0x610))
    assert machine.fresh() is not third


def test_two_clauses_that_write_do_not_see_each_other(machine: SimulatedMachine) -> None:
    registry: dict[str, Clause] = {}

    def lowers_the_limit(tree: Provider) -> None:
        expect(tree.read(LIMIT) == b"50000000\n", False, "the limit as another clause left it")
        tree.write(LIMIT, b"50000000\n")
        expect(tree.read(LIMIT), b"50000000\n", "the limit as written")

    for name in ("write.one", "write.two"):
        clause(name, level="must", title="A rule.", group="writes", source="x", needs=("writable",), registry=registry)(
            lowers_the_limit
        )
    assert [judge(entry, machine).verdict for entry in registry.values()] == ["pass", "pass"]


def test_a_kernel_that_dies_of_a_write_fails_the_clause_and_does_not_break_it(tmp_path: Path) -> None:
    profile = tmp_path / "no-unit.toml"
    profile.write_text(
        'rules = "table"\n'
        '[cpu]\nvendor = "GenuineIntel"\nfamily = 6\nmodel = 85\nstepping = 4\nname = "no unit register"\n'
        "[topology]\npackages = 1\ndies_per_package = 1\ncores_per_die = 1\nthreads_per_core = 1\n"
        "[registers]\n0x610 = 0x1\n0x611 = 0x1000\n"
    )
    tree = SimulatedMachine(str(profile), "6.12").fresh()
    with pytest.raises(Crashed):
        tree.write(LIMIT, b"1000000\n")


ONE_CPU = "[topology]\npackages = 1\ndies_per_package = 1\ncores_per_die = 1\nthreads_per_core = 1\n"


def written(path: Path, rules: str, model: int, registers: str) -> SimulatedMachine:
    cpu = f'[cpu]\nvendor = "GenuineIntel"\nfamily = 6\nmodel = {model}\nstepping = 4\nname = "{path.stem}"\n'
    path.write_text(f'rules = "{rules}"\n{cpu}{ONE_CPU}[registers]\n{registers}')
    return SimulatedMachine(str(path), "6.12")


@pytest.mark.parametrize(("rules", "word"), [("table", "not-applicable"), ("silicon", "pass")])
def test_only_a_machine_with_a_processors_rules_answers_for_them(rules: str, word: str, tmp_path: Path) -> None:
    machine = written(tmp_path / "machine.toml", rules, 85, "0x606 = 0xA0E03\n0x610 = 0xDD8000\n0x611 = 0x1000\n")
    assert machine.can == machine.fresh().can
    assert ("silicon" in machine.can) is (rules == "silicon")
    for name in ("read-only", "reserved", "absent"):
        assert judge(load_clauses()[f"hardware.registers.{name}"], machine).verdict == word


@pytest.mark.parametrize("unit", [0x505, 0xA0E03, 0xA0503, 0x31400])
@pytest.mark.parametrize("model", [0x37, 0x4C])
def test_atoms_with_any_units_are_right_about_windows(model: int, unit: int, tmp_path: Path) -> None:
    registers = f"0x606 = {unit}\n0x610 = 0xB78000\n0x611 = 0x1000\n0x639 = 0x100\n"
    machine = written(tmp_path / "atom.toml", "silicon", model, registers)
    for name in ("rapl.window.whole-steps", "rapl.write.window-rounds-down"):
        verdict = judge(load_clauses()[name], machine)
        assert (verdict.verdict, verdict.reason) == ("pass", "")


def test_an_atom_whose_energy_unit_overflows_is_not_taken_for_a_core(tmp_path: Path) -> None:
    machine = written(tmp_path / "atom.toml", "silicon", 0x37, "0x606 = 0xA1703\n0x610 = 0xB78000\n0x611 = 0x1000\n")
    words = [
        judge(load_clauses()[name], machine).verdict
        for name in ("rapl.window.whole-steps", "rapl.write.window-rounds-down")
    ]
    assert words == ["pass", "not-applicable"]


def test_scheduled_faults_count_reads_so_every_clause_gets_a_machine_of_its_own(tmp_path: Path) -> None:
    profile = tmp_path / "faulty.toml"
    profile.write_text(
        '[cpu]\nvendor = "GenuineIntel"\nfamily = 6\nmodel = 85\nstepping = 4\nname = "faulty"\n'
        "[topology]\npackages = 1\ndies_per_package = 1\ncores_per_die = 1\nthreads_per_core = 1\n"
        "[registers]\n0x606 = 0xA0E03\n0x610 = 0x1\n0x611 = 0x1000\n"
        f'[[faults.sysfs]]\npath = "{ZONE}/energy_uj"\non = "read"\nerrno = "EINVAL"\ntimes = 1\n'
    )
    machine = SimulatedMachine(str(profile))
    for _ in range(2):
        tree = machine.fresh()
        with pytest.raises(OSError, match=rf"\[Errno {errno.EINVAL}\]"):
            tree.read(f"{ZONE}/energy_uj")
        tree.read(f"{ZONE}/energy_uj")


def test_the_reference_reader_is_a_reader_on_a_machine_of_its_own(machine: SimulatedMachine) -> None:
    subject = ReferenceReader(machine)
    run = subject.fresh()
    assert isinstance(run, Reader)
    assert subject.name == run.name == "raplica-reader:skylake-sp-2s@6.12"
    assert subject.arguments == machine.arguments
    assert run.tree is not machine.fresh()
    assert subject.fresh().tree is not run.tree
    assert run.listed()["intel-rapl:0:0"] == "package-0/dram"
    assert run.truth_uj("package-0/dram") == 0
    assert run.truth_uj("no such zone") is None
