# SPDX-License-Identifier: Apache-2.0
"""Machine descriptions, and what the guest makes of them."""

import json
from pathlib import Path

import pytest

from kernel_witness import machines
from kernel_witness.failure import WitnessError
from kernel_witness.guest.catalogue import PROBES
from kernel_witness.guest.machine import Zone, kind_of, load_machine, registers_of
from kernel_witness.machines import load_description, machine_names


def write(folder: Path, text: str) -> None:
    (folder / "odd.toml").write_text(text, encoding="utf-8")


HEAD = 'what = "x"\n[cpu]\nvendor = "GenuineIntel"\nfamily = 6\nmodel = 85\nstepping = 4\n'


@pytest.mark.parametrize("name", machine_names())
def test_every_description_loads_and_names_probes_that_exist(name: str) -> None:
    machine = load_description(name)
    assert set(machine.probes) <= set(PROBES)
    assert set(machine.sweep_dies) <= set(machine.cpu_dies)
    for scenario in machine.scenarios:
        assert set(scenario.get("probes", ())) <= set(PROBES)


@pytest.mark.parametrize("name", machine_names())
def test_the_guest_reads_back_what_the_host_wrote(name: str, tmp_path: Path) -> None:
    described = load_description(name)
    path = tmp_path / "machine.json"
    path.write_text(json.dumps(described.for_guest("6.12")), encoding="utf-8")
    machine = load_machine(str(path))
    assert (machine.name, machine.kernel, machine.registers) == (name, "6.12", described.registers)
    assert machine.cpu_dies == described.cpu_dies


def test_processors_are_spread_over_dies_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "_FOLDER", tmp_path)
    write(tmp_path, HEAD + "[topology]\npackages = 2\ndies_per_package = 2\ncores_per_die = 2\n")
    machine = load_description("odd")
    assert machine.smp == "8,sockets=2,dies=2,cores=2"
    assert machine.cpu_dies == (0, 0, 1, 1, 2, 2, 3, 3)


def test_a_die_may_differ_and_lack_a_register(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "_FOLDER", tmp_path)
    topology = "[topology]\npackages = 2\ncores_per_die = 1\n"
    registers = '[registers]\n0x606 = 1\n0x611 = "0x8000000000000000"\n[registers.die.1]\n0x606 = 2\n0x611 = ""\n'
    write(tmp_path, HEAD + topology + registers)
    assert load_description("odd").registers == {0: {0x606: 1, 0x611: 1 << 63}, 1: {0x606: 2}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD, "odd.toml: KeyError 'topology'"),
        ("colour = 3\n" + HEAD, "odd.toml: colour is no key of a machine; known are"),
    ],
)
def test_what_is_wrong_with_a_description_is_said_in_one_line(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machines, "_FOLDER", tmp_path)
    write(tmp_path, text)
    with pytest.raises(WitnessError, match=message) as caught:
        load_description("odd")
    assert "\n" not in str(caught.value)


def test_a_machine_that_does_not_exist_is_answered_with_those_that_do() -> None:
    with pytest.raises(WitnessError, match=r"there is no machine vax; there are .*alderlake"):
        load_description("vax")


def test_registers_are_found_behind_zones_of_each_interface() -> None:
    words = dict.fromkeys((0x606, 0x610, 0x611, 0x639), 1)
    assert registers_of(Zone("/x/intel-rapl:0", "package-0"), words) == [0x610, 0x611]
    assert registers_of(Zone("/x/intel-rapl:0:0", "core"), words) == [0x639]
    mmio = dict.fromkeys((0x5938, 0x593C, 0x59A0, 0x610), 1)
    assert registers_of(Zone("/x/intel-rapl-mmio:0", "package-0"), mmio) == [0x59A0, 0x593C]
    tpmi = {0x00: 0x201, 0x08: 1, 0x10: 1, 0x38: 1, 0x80: 0x401, 0xB8: 1}
    assert registers_of(Zone("/x/intel-rapl:0", "package-0"), tpmi) == [0x10, 0x38]
    assert registers_of(Zone("/x/intel-rapl:0:0", "dram"), tpmi) == [0xB8]


@pytest.mark.parametrize(
    ("address", "kind"),
    [(0x606, "unit"), (0x610, "limit"), (0xC001029B, "counter"), (0x5930, "info"), (0x88, "unit"), (0x613, "other")],
)
def test_each_register_is_of_a_kind(address: int, kind: str) -> None:
    assert kind_of(address) == kind
