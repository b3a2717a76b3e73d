# SPDX-License-Identifier: Apache-2.0
"""A simulated machine as a recording: everything that its tree shows, errnos included, and a MACHINE again."""

import json
import os
from pathlib import Path

import pytest

from raplica_fixtures.recording import from_json, load_recording, to_json
from raplica_fixtures.recording_values import Recording
from raplica_simulator import Machine, VirtualClock
from raplica_simulator.surfaces.recording_out import forgotten_by_replay, pack_recording, record_machine
from raplica_simulator.surfaces.snapshot import take_snapshot


def written(machine: Machine, folder: Path) -> Path:
    path = folder / "machine.json"
    path.write_bytes(pack_recording(machine))
    return path


def machine_at(profile: str, seconds: int) -> Machine:
    clock = VirtualClock()
    machine = Machine.from_profile(profile, clock=clock)
    clock.advance(seconds=seconds)
    return machine


# One package, MMIO beside the MSRs, two packages, a counter for each core, two dies in a package, no registers at all.
@pytest.mark.parametrize(
    "profile",
    ["kabylake", "alderlake-p", "sapphirerapids-2s", "zen4", "cascadelake-ap-2s", "dtpm", "kernel-doc-example"],
)
def test_replayed_as_a_machine_it_shows_the_same_tree(tmp_path: Path, profile: str) -> None:
    machine = machine_at(profile, 60)
    again = Machine.from_profile(written(machine, tmp_path))
    assert take_snapshot(again.sysfs) == take_snapshot(machine.sysfs)
    assert again.kernel is machine.kernel
    assert again.profile.topology == machine.profile.topology


def test_the_words_of_tpmi_are_recorded_by_package(tmp_path: Path) -> None:
    profile = tmp_path / "tpmi.toml"
    tables = "".join(
        f'[tpmi.{package}.package]\n0x8 = 0xA383\n0x10 = "0xC000000000000320"\n0x38 = {package + 7}\n'
        for package in range(2)
    )
    profile.write_text('[cpu]\nvendor = "GenuineIntel"\nfamily = 6\nmodel = 173\n[topology]\npackages = 2\n' + tables)
    machine = Machine.from_profile(profile)
    assert machine.driver.interfaces == ("tpmi",)
    words = record_machine(machine).registers
    assert {package: set(words[package]) for package in words} == {
        package: set(machine.tpmi.addresses(package)) for package in range(2)
    }
    assert [words[package][0x38] for package in range(2)] == [7, 8]
    again = Machine.from_profile(written(machine, tmp_path))
    assert take_snapshot(again.sysfs) == take_snapshot(machine.sysfs)


def test_it_follows_the_schema_and_reads_back_as_it_was_written(tmp_path: Path) -> None:
    machine = machine_at("alderlake-p", 1)
    recording = record_machine(machine)
    assert load_recording(written(machine, tmp_path)) == recording == from_json(to_json(recording))


def test_the_tree_says_of_each_file_who_may_open_it_and_how_reading_ends() -> None:
    machine = machine_at("kabylake", 0)
    tree = record_machine(machine).tree
    zone = "devices/virtual/powercap/intel-rapl/intel-rapl:0"
    energy = tree[f"{zone}/energy_uj"]
    assert (energy.mode, energy.uid, energy.size) == (0o400, 0, 4096)
    assert energy.read is not None
    assert energy.read.content == machine.sysfs.read(f"{zone}/energy_uj")
    assert energy.opens is not None
    assert os.strerror(energy.opens.nobody_read or 0) == "Permission denied"
    silent = tree[f"{zone}/intel-rapl:0:0/constraint_0_max_power_uw"].read
    assert silent is not None
    assert os.strerror(silent.errno or 0) == "No data available"
    assert tree["class/powercap/intel-rapl:0"].target == f"../../{zone}"
    assert tree[zone].order == tuple(machine.sysfs.listdir(zone))


def test_it_says_that_no_real_machine_was_recorded() -> None:
    recording = record_machine(machine_at("kabylake", 7))
    assert "simulated" in recording.what
    assert recording.kernel_build == "simulated by raplica"
    assert recording.log == ("raplica: simulated, 7000000000 ns after power-on; no real machine was recorded",)
    assert recording.steps == ()
    assert recording.capture is not None
    assert recording.capture.program == "raplica generate"
    assert (recording.capture.cpu_name, recording.capture.cpus) == ("Intel(R) Core(TM) i7-7500U CPU @ 2.70GHz", 4)


def test_a_register_that_faults_is_left_out_and_faults_again(tmp_path: Path) -> None:
    machine = Machine.from_profile("skylake-sp-2s")
    machine.msr.inject(cpu=0, register=0x619, on="read")
    recording = record_machine(machine)
    assert 0x619 not in recording.registers[0]
    assert 0x619 in recording.registers[1]
    again = Machine.from_profile(written(machine, tmp_path))
    with pytest.raises(OSError, match="Input/output error"):
        again.msr.read(cpu=0, register=0x619)


def test_a_machine_without_a_tree_is_recorded_with_the_empty_class() -> None:
    machine = Machine.from_profile("kabylake")
    machine.driver.unload()
    assert list(record_machine(machine).tree) == ["class/powercap"]


def test_a_name_that_a_recording_cannot_have_is_made_one(tmp_path: Path) -> None:
    profile = tmp_path / "my machine.2.toml"
    profile.write_text(
        '[cpu]\nvendor = "GenuineIntel"\nfamily = 6\nmodel = 85\n[topology]\npackages = 1\n[registers]\n0x611 = 1\n'
        '[[faults.register]]\nregister = "0x611"\non = "read"\n[firmware]\n0x611 = 1\n'
    )
    machine = Machine.from_profile(profile)
    document = json.loads(pack_recording(machine))
    assert document["machine"] == "my-machine-2"
    assert isinstance(from_json(document), Recording)
    assert forgotten_by_replay(machine) == ["faults", "what firmware loads"]
