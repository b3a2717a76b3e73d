# SPDX-License-Identifier: Apache-2.0
"""The built-in scenarios: each does what its title says, and nothing else."""

import os
from collections.abc import Callable
from errno import EACCES, EINVAL, EIO, ENODATA, ENODEV, ENOENT, EPERM
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest

from raplica_fixtures import profile_ids, scenario_ids, scenario_path
from raplica_simulator import Scenario
from raplica_simulator.live.machine import LiveMachine, start

POWERCAP = "class/powercap"
WRAP = 1 << 32


def live_of(scenario: str) -> LiveMachine:
    return start(scenario=Scenario.load(scenario))


def read(live: LiveMachine, zone: str, name: str = "energy_uj") -> str | int:
    """What a file of a zone says, or its errno."""
    with live.held() as machine:
        try:
            return machine.sysfs.read(f"{POWERCAP}/{zone}/{name}").decode().rstrip()
        except OSError as error:
            return error.errno or -1


def joules(live: LiveMachine, zone: str) -> float:
    return int(read(live, zone)) / 1e6


def names(live: LiveMachine) -> dict[str, str | int]:
    """The name of every zone by its id."""
    with live.held() as machine:
        ids = sorted(machine.sysfs.listdir(POWERCAP))
    return {zone: read(live, zone, "name") for zone in ids if ":" in zone}


def errno_of(function: Callable[..., object], *arguments: Any) -> int:
    try:
        function(*arguments)
    except OSError as error:
        return error.errno or -1
    return 0


@pytest.mark.parametrize("scenario_id", scenario_ids())
def test_every_built_in_scenario_runs_to_its_end_on_its_own_machine(scenario_id: str) -> None:
    scenario = Scenario.load(scenario_id)
    assert scenario.why != "not said"
    assert len(scenario.title) <= 120
    live = start(scenario=scenario)
    live.advance(seconds=1000)
    assert live.events is not None
    assert (live.events.due_ns(), live.events.missed, live.machine.warnings) == (None, [], ())


@pytest.mark.parametrize("machine", profile_ids())
def test_what_happens_to_no_machine_in_particular_can_be_shown_on_any(machine: str) -> None:
    for scenario_id in ("base", "noisy"):
        live = start(machine, scenario=Scenario.load(scenario_id))
        live.advance(seconds=10)
        assert live.events is not None
        assert live.events.missed == []


def test_on_base_all_goes_well() -> None:
    live = live_of("base")
    below = {f"intel-rapl:{n}{part}": name for n in (0, 1) for part, name in _PARTS.items()}
    assert names(live) == below | {"intel-rapl:0": "package-0", "intel-rapl:1": "package-1"}
    before = {zone: joules(live, zone) for zone in below}
    live.advance(seconds=100)
    for n in (0, 1):
        spent = {part: joules(live, f"intel-rapl:{n}{part}") - before[f"intel-rapl:{n}{part}"] for part in _PARTS}
        assert [round(one, 1) for one in spent.values()] == [5000.0, 3000.0, 500.0, 800.0]
    assert [live.machine.truth_uj(f"package-{n}/uncore") for n in (0, 1)] == [500_000_000] * 2


_PARTS = {"": "package-0", ":0": "core", ":1": "uncore", ":2": "dram"}


def test_on_noisy_the_load_changes_and_the_truth_is_what_the_trace_adds_up_to() -> None:
    live = live_of("noisy")
    rows = scenario_path("noisy").with_name("noisy.csv").read_text().splitlines()[2:]
    steps = [tuple(map(Fraction, row.split(",")))[:2] for row in rows]
    live.advance(seconds=120)
    spent_j = sum((later[0] - step[0]) * step[1] for step, later in pairwise(steps))
    assert live.machine.truth_joules("package-0") == live.machine.truth_joules("package-1") == spent_j
    assert len({watts for _, watts in steps}) > 300


def test_a_limit_bites_and_lets_go() -> None:
    live = live_of("limit-bites")
    drawn = []
    for _ in range(4):
        before = live.machine.truth_uj("package-0")
        live.advance(seconds=10)
        drawn.append((live.machine.truth_uj("package-0") - before) / 1e7)
    assert drawn[0] == drawn[3] == 140
    # One window of 0.25 s at 150 W is the credit that a full bucket of the higher limit could hold.
    assert 60 <= drawn[1] < 64
    assert drawn[2] == 60


def test_every_counter_wraps_once_after_five_seconds() -> None:
    live = live_of("wrap")
    zones = list(names(live))
    before = [joules(live, zone) for zone in zones]
    live.advance(nanoseconds=5 * 10**9 - 1_000_000)
    almost = [joules(live, zone) for zone in zones]
    live.advance(nanoseconds=1_000_000)
    assert [read(live, zone) for zone in zones] == ["0"] * 4
    assert all(then < now for then, now in zip(before, almost, strict=True))


def test_a_slow_reader_misses_several_wraps() -> None:
    live = live_of("several-wraps")
    range_j = int(read(live, "intel-rapl:0", "max_energy_range_uj")) / 1e6
    assert 4000 < range_j < 4100
    before = joules(live, "intel-rapl:0")
    live.advance(seconds=60)
    assert live.machine.truth_uj("package-0") == 24_000_000_000
    # Between two reads at most one wrap can be seen: five are lost.
    seen = (joules(live, "intel-rapl:0") - before) % range_j
    assert 24_000 - seen == pytest.approx(5 * range_j, rel=1e-3)


def test_a_counter_is_stuck_for_ten_seconds_and_loses_what_was_spent() -> None:
    live = live_of("counter-stuck")
    found = [joules(live, "intel-rapl:0")]
    for wait_s in (5, 5, 5, 5):
        live.advance(seconds=wait_s)
        found.append(joules(live, "intel-rapl:0"))
    steps = [round(later - then) for then, later in pairwise(found)]
    assert steps == [500, 0, 0, 500]
    assert live.machine.truth_uj("package-0") == 2_000_000_000


def test_a_counter_begins_again_at_0() -> None:
    live = live_of("counter-reset")
    live.advance(nanoseconds=10**10 - 1)
    assert joules(live, "intel-rapl:0") > 60_000
    live.advance(nanoseconds=1)
    assert read(live, "intel-rapl:0") == "0"
    assert joules(live, "intel-rapl:1") > 60_000


def test_every_energy_file_is_refused_when_it_is_opened() -> None:
    live = live_of("eacces")
    with live.held() as machine:
        for zone in names(live):
            assert errno_of(machine.sysfs.open, f"{POWERCAP}/{zone}/energy_uj", os.O_RDONLY) == EACCES
            assert errno_of(machine.sysfs.read, f"{POWERCAP}/{zone}/max_energy_range_uj") == 0


def test_energy_is_enodata_for_five_seconds_and_goes_on_with_what_was_spent() -> None:
    live = live_of("enodata")
    before = joules(live, "intel-rapl:0")
    live.advance(seconds=5)
    assert (read(live, "intel-rapl:0"), read(live, "intel-rapl:0")) == (ENODATA, ENODATA)
    assert isinstance(read(live, "intel-rapl:1"), str)
    live.advance(seconds=5)
    assert round(joules(live, "intel-rapl:0") - before) == 1000


def test_the_third_read_fails_alone() -> None:
    live = live_of("eio-third-read")
    assert [read(live, "intel-rapl:0") == EIO for _ in range(5)] == [False, False, True, False, False]


def test_the_third_read_of_the_register_faults_alone() -> None:
    live = live_of("register-third-read")
    with live.held() as machine:
        assert errno_of(machine.msr.read, 0, 0x611) == 0
        assert [read(live, "intel-rapl:0") == EINVAL for _ in range(3)] == [False, True, False]
    live = live_of("register-third-read")
    with live.msr_module.device(7).open() as device:
        assert [errno_of(device.pread, 8, 0x611) for _ in range(4)] == [0, 0, EIO, 0]


def test_locked_limits_answer_and_do_not_change() -> None:
    live = live_of("bios-lock")
    with live.held() as machine:
        zone = f"{POWERCAP}/intel-rapl:0"
        assert machine.sysfs.read(f"{zone}/constraint_0_power_limit_uw") == b"150000000\n"
        assert errno_of(machine.sysfs.write, f"{zone}/constraint_0_power_limit_uw", b"90000000") == ENODATA
        before = machine.msr.read(0, 0x610)
        machine.msr.write(0, 0x610, before & ~(1 << 63) & ~0x7FFF)
        assert machine.msr.read(0, 0x610) == before == 0x800185A0001184B0


def test_the_msr_device_is_closed_for_writes() -> None:
    live = live_of("msr-closed")
    with live.msr_module.device(0).open(os.O_RDWR) as device:
        assert (errno_of(device.pwrite, bytes(8), 0x610), errno_of(device.pread, 8, 0x610)) == (EPERM, 0)


def test_a_package_vanishes_and_comes_back_under_its_number() -> None:
    live = live_of("zone-vanishes")
    before = names(live)
    with live.held() as machine:
        file = machine.sysfs.open(f"{POWERCAP}/intel-rapl:1/energy_uj")
    live.advance(seconds=5)
    assert names(live) == {"intel-rapl:0": "package-0", "intel-rapl:0:0": "dram"}
    assert (errno_of(file.pread, 10, 0), read(live, "intel-rapl:1")) == (ENODEV, ENOENT)
    live.advance(seconds=10)
    assert names(live) == before
    assert errno_of(file.pread, 10, 0) == ENODEV


def test_the_tree_goes_and_comes_with_the_driver() -> None:
    live = live_of("driver-unloaded")
    before = names(live)
    live.advance(seconds=5)
    assert names(live) == {}
    live.advance(seconds=5)
    assert names(live) == before
    late = live_of("zone-appears")
    assert names(late) == {}
    late.advance(seconds=5)
    assert names(late) == before


def test_the_order_of_the_packages_is_swapped_and_so_is_their_energy() -> None:
    live = live_of("order-swapped")
    assert names(live) == {
        "intel-rapl:0": "package-1",
        "intel-rapl:0:0": "dram",
        "intel-rapl:1": "package-0",
        "intel-rapl:1:0": "dram",
    }
    before = [joules(live, f"intel-rapl:{n}") for n in (0, 1)]
    live.advance(seconds=10)
    assert [round(joules(live, f"intel-rapl:{n}") - before[n]) for n in (0, 1)] == [600, 1000]


def test_a_number_is_missing_between_the_zones() -> None:
    tops = {zone: name for zone, name in names(live_of("index-gap")).items() if zone.count(":") == 1}
    assert tops == {"intel-rapl:0": "package-0", "intel-rapl:2": "package-2", "intel-rapl:3": "package-3"}


def test_seventeen_packages_have_hexadecimal_numbers() -> None:
    found = names(live_of("two-digit-packages"))
    assert (found["intel-rapl:a"], found["intel-rapl:f"], found["intel-rapl:10"]) == (
        "package-10",
        "package-15",
        "package-16",
    )
    assert len(found) == 34


def test_dies_have_names_of_their_own() -> None:
    tops = {name for zone, name in names(live_of("die-names")).items() if zone.count(":") == 1}
    assert tops == {"package-0-die-0", "package-0-die-1", "package-1-die-2", "package-1-die-3"}


def test_psys_stands_between_the_packages_or_before_them() -> None:
    def tops(scenario: str) -> list[str | int]:
        return [name for zone, name in names(live_of(scenario)).items() if zone.count(":") == 1]

    assert tops("psys-between") == ["package-0", "psys", "package-1"]
    assert tops("psys-first") == ["psys", "package-0", "package-1"]
    live = live_of("psys-first")
    live.advance(seconds=10)
    assert [read(live, f"intel-rapl:{n}") for n in range(3)] == ["1501000000", "602000000", "503000000"]
    assert live.machine.truth_uj("psys") == 1_500_000_000


def test_the_package_is_there_twice() -> None:
    live = live_of("mmio-twin")
    found = names(live)
    assert found["intel-rapl:0"] == found["intel-rapl-mmio:0"] == "package-0"
    before = [joules(live, zone) for zone in ("intel-rapl:0", "intel-rapl-mmio:0")]
    live.advance(seconds=100)
    after = [joules(live, zone) for zone in ("intel-rapl:0", "intel-rapl-mmio:0")]
    assert after[0] - before[0] == pytest.approx(after[1] - before[1], abs=0.001)


def test_in_a_container_the_links_lead_nowhere() -> None:
    live = live_of("masked")
    found = names(live)
    assert len(found) == 4
    assert set(found.values()) == {ENOENT}
    with live.held() as machine:
        assert machine.sysfs.listdir("devices/virtual/powercap") == []


@pytest.mark.parametrize("load", [None, 100])
def test_in_an_empty_guest_five_registers_read_0_for_ever_and_the_others_fault(load: int | None) -> None:
    live = live_of("empty-vm")
    with live.held() as machine:
        if load is not None:
            machine.load.set(package=load, core=50, dram=5)
    live.advance(seconds=50)
    assert names(live) == {}
    with live.msr_module.device(0).open() as device:
        for register in (0x606, 0x611, 0x619, 0x639, 0x641):
            assert device.pread(8, register) == bytes(8)
        for register in (0x610, 0x614, 0x618, 0x638, 0x64D, 0x65C, 0xC0010299):
            assert errno_of(device.pread, 8, register) == EIO
