# SPDX-License-Identifier: Apache-2.0
"""The machine as a whole: made from a profile or a recording, one state behind every face, the built-in ones."""

from collections.abc import Callable
from dataclasses import replace
from errno import EIO, ENODATA
from pathlib import Path

import pytest

from raplica_fixtures import profile_ids
from raplica_simulator import Machine, ProfileError, VirtualClock, load_profile

MakeMachine = Callable[..., Machine]
PACKAGE = "class/powercap/intel-rapl:0"
KERNELS = ("6.1", "6.12")
# Those that a RAPL driver makes a tree of.
WITH_RAPL = [name for name in profile_ids() if any(load_profile(name).registers.values())]


def energy_uj(machine: Machine, zone: str = PACKAGE) -> int:
    return int(machine.sysfs.read(f"{zone}/energy_uj"))


def tree_of(machine: Machine) -> dict[str, list[str]]:
    """Zones by name of the directory, with the names of their files."""
    return {zone: machine.sysfs.listdir(f"class/powercap/{zone}") for zone in machine.sysfs.listdir("class/powercap")}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", WITH_RAPL)
def test_each_built_in_machine_has_a_tree_that_reads_without_surprise(name: str, kernel: str) -> None:
    machine = Machine.from_profile(name, kernel=kernel)
    # Arrow Lake and the like are no built-in machines: every one of these is known to both kernels.
    assert machine.sysfs.read(f"{PACKAGE}/name").startswith(b"package-0")
    for zone, files in tree_of(machine).items():
        for file in files:
            path = f"class/powercap/{zone}/{file}"
            if file in ("power", "subsystem", "device") or ":" in file:
                continue
            try:
                text = machine.sysfs.read(path)
            except OSError as error:
                # Only what has no register behind it.
                if error.errno != ENODATA or not file.endswith(("_max_power_uw", "_time_window_us")):
                    raise
            else:
                assert text.endswith(b"\n") or file == "uevent"


@pytest.mark.parametrize("name", WITH_RAPL)
def test_each_built_in_machine_shows_the_joules_that_its_domains_spend(name: str) -> None:
    machine = Machine.from_profile(name)
    zones = [zone for zone in tree_of(machine) if ":" in zone]
    paths = {}
    for zone in zones:
        parent, _, _ = zone.rpartition(":")
        own = machine.sysfs.read(f"class/powercap/{zone}/name").decode().strip()
        above = machine.sysfs.read(f"class/powercap/{parent}/name").decode().strip() if parent.count(":") else ""
        paths[zone] = f"{above}/{own}" if above else own
    before = {zone: (energy_uj(machine, f"class/powercap/{zone}"), machine.truth_uj(paths[zone])) for zone in zones}
    machine.clock.advance(seconds=20)
    for zone in zones:
        period_uj = int(machine.sysfs.read(f"class/powercap/{zone}/max_energy_range_uj"))
        shown_before, truth_before = before[zone]
        shown = (energy_uj(machine, f"class/powercap/{zone}") - shown_before) % (period_uj + 61)
        spent = machine.truth_uj(paths[zone]) - truth_before
        # The unit is cut to whole nanojoules (51.7 ppm at 2^-16 J), a joule is the largest step.
        assert abs(spent - shown) <= spent * 52 // 1_000_000 + 1_000_000


def test_two_machines_of_one_profile_share_nothing() -> None:
    one, other = Machine.from_profile("kabylake"), Machine.from_profile("kabylake")
    one.sysfs.write(f"{PACKAGE}/constraint_0_power_limit_uw", b"1000000")
    one.clock.advance(seconds=100)
    one.driver.unload()
    assert other.sysfs.read(f"{PACKAGE}/constraint_0_power_limit_uw") != b"1000000\n"
    assert other.clock.now_ns == 0


def test_machines_on_one_clock_age_together() -> None:
    clock = VirtualClock()
    machines = [Machine.from_profile("zen4", clock=clock) for _ in range(2)]
    clock.advance(seconds=5)
    first, second = (machine.truth_uj("package-0") for machine in machines)
    assert first == second > 0


def test_a_machine_is_made_from_a_loaded_profile_a_path_and_a_recording(tmp_path: Path) -> None:
    profile = load_profile("kabylake")
    assert Machine.from_profile(profile).profile is profile
    path = tmp_path / "mine.toml"
    path.write_text('[cpu]\nvendor = "GenuineIntel"\nfamily = 6\nmodel = 85\n[topology]\npackages = 1\n')
    assert Machine.from_profile(path).profile.id == "mine"
    with pytest.raises(ProfileError, match="unknown machine; did you mean kabylake"):
        Machine.from_profile("kabilake")


def test_without_registers_there_is_an_empty_class_and_no_error(tmp_path: Path) -> None:
    path = tmp_path / "bare.toml"
    path.write_text('[cpu]\nvendor = "GenuineIntel"\nfamily = 6\nmodel = 85\n[topology]\npackages = 2\n')
    for kernel in KERNELS:
        machine = Machine.from_profile(path, kernel=kernel)
        assert machine.sysfs.listdir("class/powercap") == []
        with pytest.raises(OSError, match="rdmsr 0x611 on CPU 0") as fault:
            machine.msr.read(0, 0x611)
        assert fault.value.errno == EIO


# One state behind every face.


def test_a_limit_written_through_the_msr_shows_in_sysfs_and_the_other_way(make_machine: MakeMachine) -> None:
    machine = make_machine("kabylake", rules="silicon")
    machine.msr.write(0, 0x610, machine.msr.read(0, 0x610) & ~0x7FFF | 80)
    assert machine.sysfs.read(f"{PACKAGE}/constraint_0_power_limit_uw") == b"10000000\n"
    machine.sysfs.write(f"{PACKAGE}/constraint_0_power_limit_uw", b"20000000")
    assert machine.msr.read(1, 0x610) & 0x7FFF == 160


def test_energy_in_sysfs_is_the_counter_times_the_drivers_unit(make_machine: MakeMachine) -> None:
    machine = make_machine("kabylake", more="[load]\npackage = 31.7\ncore = 20\n")
    for _ in range(5):
        machine.clock.advance(nanoseconds=123_456_789)
        assert energy_uj(machine) == machine.msr.read(0, 0x611) * 61035 // 1000
        assert energy_uj(machine, f"{PACKAGE}:0") == machine.msr.read(0, 0x639) * 61035 // 1000


@pytest.mark.pitfall("wrap-is-one-step-more-than-the-range")
def test_powercap_is_low_by_2_6_ppm_at_14_bits_and_51_7_at_16(make_machine: MakeMachine) -> None:
    for unit_raw, exponent, parts in ((0xA0E03, 14, (2.5, 2.6)), (0xA1003, 16, (51.6, 51.8))):
        machine = make_machine("kabylake", registers={0x606: unit_raw, 0x611: 1}, more="[load]\npackage = 64\n")
        start_uj, spent_uj = energy_uj(machine), 64_000_000 * 1000
        machine.clock.advance(seconds=1000)
        shown_uj = energy_uj(machine) - start_uj
        low_ppm = (spent_uj - shown_uj) * 1_000_000 / spent_uj
        assert parts[0] < low_ppm < parts[1], exponent


def test_a_limit_written_in_sysfs_holds_the_domain_back(make_machine: MakeMachine) -> None:
    machine = make_machine("kabylake", registers={0x610: 0}, more="[load]\npackage = 60\ncore = 50\n")
    machine.sysfs.write(f"{PACKAGE}/constraint_0_power_limit_uw", b"20000000")
    machine.sysfs.write(f"{PACKAGE}/constraint_0_time_window_us", b"999424")
    # The switch turns the second limit on as well, and at 0 W that one would stop the package.
    machine.sysfs.write(f"{PACKAGE}/constraint_1_power_limit_uw", b"100000000")
    machine.clock.advance(seconds=100)
    assert machine.truth_uj("package-0") == 6_000_000_000  # written, not yet enabled
    machine.sysfs.write(f"{PACKAGE}/enabled", b"1")
    machine.clock.advance(seconds=100)
    held_uj = machine.truth_uj("package-0") - 6_000_000_000
    # 20 W, and the credit of a second that was full at first.
    assert 2_000_000_000 < held_uj < 2_000_000_000 + 25_000_000
    machine.sysfs.write(f"{PACKAGE}/constraint_1_power_limit_uw", b"0")
    before_uj = machine.truth_uj("package-0")
    machine.clock.advance(seconds=10)
    assert machine.truth_uj("package-0") == before_uj
    machine.msr.poke(0, 0x610, 0)
    before_uj = machine.truth_uj("package-0/core")
    machine.clock.advance(seconds=1)
    assert machine.truth_uj("package-0/core") - before_uj == 50_000_000


def test_peak_power_caps_at_once_in_the_register_of_its_own(make_machine: MakeMachine) -> None:
    machine = make_machine("alderlake", registers={0x610: 0, 0x601: 0}, more="[load]\npackage = 60\n")
    machine.sysfs.write(f"{PACKAGE}/constraint_2_power_limit_uw", b"30000000")
    machine.clock.advance(seconds=10)
    assert machine.truth_uj("package-0") == 300_000_000


def test_0x601_of_a_sandy_bridge_is_amperes_and_holds_nothing_back(make_machine: MakeMachine) -> None:
    machine = make_machine(
        "kabylake", cpu="GenuineIntel:6:0x2A", registers={0x610: 0, 0x601: 0x8}, more="[load]\npackage = 60\n"
    )
    machine.clock.advance(seconds=10)
    assert machine.truth_uj("package-0") == 600_000_000


def test_a_fault_of_the_profile_below_sys_holds_from_the_start(make_machine: MakeMachine) -> None:
    fault = f'[[faults.sysfs]]\npath = "{PACKAGE}/energy_uj"\non = "read"\nerrno = "ENODATA"\nafter = 1\ntimes = 1\n'
    machine = make_machine("kabylake", more=fault)
    assert energy_uj(machine)
    with pytest.raises(OSError, match="No data available") as failed:
        energy_uj(machine)
    assert failed.value.errno == ENODATA
    assert energy_uj(machine)


def test_a_fault_on_a_path_that_is_not_there_is_a_warning_and_no_error(make_machine: MakeMachine) -> None:
    path = f"{PACKAGE}/constraint_2_name"
    fault = f'[[faults.sysfs]]\npath = "{path}"\non = "read"\nerrno = "EIO"\n'
    machine = make_machine("kabylake", more=fault)
    assert [line for line in machine.warnings if path in line] == [
        f"faults.sysfs: {path}: No such file or directory: nothing fails there"
    ]
    assert make_machine("alderlake", more=fault).warnings == ()


def test_watts_for_a_domain_that_no_counter_shows_are_warned_of(make_machine: MakeMachine) -> None:
    machine = make_machine("kabylake", registers={0x641: 0}, more="[load]\npackage = 10\nuncore = 2\n")
    assert any("uncore" in line for line in machine.warnings)


def test_a_core_unit_of_the_profile_is_what_amd_cores_count_in(make_machine: MakeMachine) -> None:
    load = "[load]\npackage = 40\ncore = 20\n"
    machine = make_machine("zen3", rules="silicon", more=f'{load}[units]\ncore = "1/1000"\n')
    start = machine.msr.read(0, 0xC001029A)
    machine.clock.advance(seconds=1)
    # 10 W in each of two cores, in steps of a millijoule.
    assert machine.msr.read(0, 0xC001029A) - start == 10_000


@pytest.mark.parametrize("recorded", [False, True])
def test_registers_are_one_per_core_unless_the_profile_was_recorded(
    make_machine: MakeMachine, *, recorded: bool
) -> None:
    profile = replace(make_machine("zen3").profile, kernel="6.1", recorded=recorded)
    machine = Machine.from_profile(profile)
    machine.msr.poke(1, 0xC001029A, 0x99)
    assert (machine.msr.read(0, 0xC001029A) == 0x99) is recorded
