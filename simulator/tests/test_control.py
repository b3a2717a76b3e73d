# SPDX-License-Identifier: Apache-2.0
"""The control door as an object: what happens to a machine that runs, the truth, the zones, and the log."""

import os
import subprocess
from collections.abc import Callable
from decimal import Decimal
from errno import EIO, ENODEV, errorcode
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raplica_simulator import Machine, VirtualClock
from raplica_simulator.control.door import Control, CounterValue
from raplica_simulator.faults.verbs import read_event
from raplica_simulator.live.machine import LiveMachine, start
from raplica_simulator.live.measured import domain_of_msr, domains, find_zone, zones
from raplica_simulator.load.plan import ConstantLoad
from raplica_simulator.surfaces.fuse import FuseMount

ZONE = "class/powercap/intel-rapl:0"
ENERGY = f"{ZONE}/energy_uj"
WRAP = 1 << 32


@pytest.fixture
def live() -> LiveMachine:
    return start("skylake-sp-2s", load=ConstantLoad({"package": 100, "dram": 8}))


@pytest.fixture
def control(live: LiveMachine) -> Control:
    return Control(live)


def read(live: LiveMachine, path: str = ENERGY) -> bytes:
    with live.held() as machine:
        return machine.sysfs.read(path)


# Time.


def test_time_stands_runs_and_goes_as_fast_as_it_is_told(control: Control) -> None:
    assert control.status()[:5] == ("skylake-sp-2s", "6.12", 0, False, Fraction(1))
    control.advance(Fraction(1, 8))
    control.set_speed(Decimal("2.5"))
    control.run()
    status = control.status()
    assert status.running
    assert status.now_ns >= 125_000_000
    assert status.speed == Fraction(5, 2)
    control.pause()
    stands_ns = control.status().now_ns
    assert control.status().now_ns == stands_ns


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (lambda control: control.advance(-1), "seconds is -1: give 0 to"),
        (lambda control: control.advance(10**13), "seconds is 10000000000000: give 0 to"),
        (lambda control: control.advance(Fraction(1, 10**10)), "finer than a nanosecond"),
        (lambda control: control.set_speed(0), "speed is 0: it must be above 0"),
        (lambda control: control.set_speed(10**10), "at most 1000000000"),
        (lambda control: control.truth("package-7"), "no domain 'package-7' here"),
        (lambda control: control.wrap("package-7"), "no domain 'package-7' here"),
        (lambda control: control.set_cpu(80, online=False), "there is no CPU 80"),
        (lambda control: control.inject(f"{ZONE}/energy"), "No such file"),
        (lambda control: control.do({"do": "wrapp"}), "did you mean wrap"),
        (lambda control: control.end(), "end the program that shows it"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused_in_one_line_and_moves_nothing(
    control: Control, live: LiveMachine, order: Callable[[Control], None], said: str
) -> None:
    before = read(live)
    with pytest.raises(ValueError, match=said) as refused:
        order(control)
    assert "\n" not in str(refused.value)
    assert (control.status().now_ns, read(live)) == (0, before)


def test_a_float_of_seconds_is_refused(control: Control) -> None:
    with pytest.raises(TypeError, match="seconds"):
        control.advance(0.1)  # type: ignore[arg-type]


def test_a_clock_of_another_kind_can_be_moved_and_nothing_else() -> None:
    control = Control(LiveMachine(Machine.from_profile("kabylake", clock=VirtualClock())))
    control.advance(2)
    assert control.status()[2:5] == (2 * 10**9, False, Fraction(0))
    for order in (control.pause, control.run, lambda: control.set_speed(2)):
        with pytest.raises(ValueError, match="one of another kind"):
            order()


# What happens to the machine.


@settings(max_examples=15)
@given(wait_ms=st.integers(1, 60_000))
def test_counters_wrap_when_it_was_said_and_no_truth_moves(wait_ms: int) -> None:
    live = start("skylake-sp-2s", load=ConstantLoad({"package": 100, "dram": 8}), at_s=Fraction(1, 3))
    control = Control(live)
    (before,) = control.truth("package-0")
    control.wrap("package-0", Fraction(wait_ms, 1000))
    (wound,) = control.truth("package-0")
    assert wound.truth_uj == before.truth_uj
    assert wound.counters[0].raw % WRAP > WRAP - 2**24 * 8
    control.advance(Fraction(wait_ms, 1000))
    # A grid of a millisecond that began before: 100 W are 1,638 steps in one.
    assert control.truth("package-0")[0].counters[0].raw % WRAP <= 1639
    assert control.truth("package-1")[0].counters[0].raw % WRAP > 2**24


def test_a_fault_is_injected_waits_for_its_reads_and_heals(control: Control, live: LiveMachine) -> None:
    control.inject(ENERGY, "read", "EIO", after=1, times=2)
    # A look through the door is no read of a program.
    assert control.zones()[0].energy_uj == int(read(live))
    for _ in range(2):
        with pytest.raises(OSError, match="Input/output error") as failed:
            read(live)
        assert failed.value.errno == EIO
    assert int(read(live)) > 0
    control.inject(ENERGY, "open", "EACCES")
    with pytest.raises(PermissionError):
        read(live)
    control.heal(ENERGY)
    assert int(read(live)) > 0


def test_the_load_changes_in_every_package_or_in_one(control: Control) -> None:
    control.set_load({"package": 60})
    control.set_load({"package": 30, "dram": Decimal("2.5")}, on_package=1)
    control.advance(10)
    spent = {one.domain: one.truth_uj for one in control.truth()}
    assert spent["package-0"] == 600_000_000
    assert spent["package-0/dram"] == 80_000_000
    assert spent["package-1"] == 300_000_000
    assert spent["package-1/dram"] == 25_000_000


def test_a_processor_goes_and_comes_and_the_last_one_cannot_go(control: Control, live: LiveMachine) -> None:
    control.set_cpu(3, online=False)
    assert not live.machine.cpu(3).is_online
    control.set_cpu(3, online=True)
    assert live.machine.cpu(3).is_online
    for cpu in range(1, 80):
        control.set_cpu(cpu, online=False)
    with pytest.raises(ValueError, match="the last one cannot go down"):
        control.set_cpu(0, online=False)


def test_an_event_of_a_scenario_happens_at_once(control: Control, live: LiveMachine) -> None:
    control.do(read_event({"do": "unload-driver"}))
    assert control.zones() == []
    control.do({"do": "load-driver"})
    assert [zone.path for zone in control.zones()] == ["package-0", "package-0/dram", "package-1", "package-1/dram"]
    control.do({"do": "msr-device", "allow_writes": "off"})
    assert live.msr_module.allow_writes == "off"


def test_whoever_shows_the_machine_is_told_after_each_order_also_after_one_that_failed(live: LiveMachine) -> None:
    told: list[int] = []
    ended: list[str] = []
    control = Control(live, lambda: told.append(live.machine.clock.now_ns), end=lambda: ended.append("end"))
    control.advance(1)
    control.do({"do": "offline", "package": 1})
    with pytest.raises(ValueError, match="give it watts before"):
        control.wrap("package-0/uncore")
    assert told == [10**9] * 3
    control.zones()
    control.truth()
    control.log()
    control.end()
    assert (len(told), ended) == (3, ["end"])


def test_what_the_machine_itself_refuses_has_its_errno(control: Control) -> None:
    control.do({"do": "offline", "package": 1})
    control.do({"do": "fault", "register": "0x611", "package": 1})
    with pytest.raises(OSError, match="domain found") as refused:
        control.set_cpu(20, online=True)
    assert refused.value.errno == ENODEV


# The truth and the zones.


def test_the_truth_names_every_domain_with_its_registers_and_they_agree(control: Control, live: LiveMachine) -> None:
    before = {one.domain: one for one in control.truth()}
    kinds = ("", "/dram", "/core", "/uncore")
    assert set(before) == {f"package-{package}{kind}" for package in range(2) for kind in kinds}
    assert before["package-1"].counters == [CounterValue("msr", 20, 0x611, before["package-1"].counters[0].raw)]
    control.advance(100)
    units = live.machine.counter_units()
    for one in control.truth():
        (then,), (now,) = before[one.domain].counters, one.counters
        unit_uj = units[one.domain.partition("/")[2] or "package"] * 10**6
        spent_uj = one.truth_uj - before[one.domain].truth_uj
        assert 0 <= spent_uj - (now.raw - then.raw) * unit_uj < unit_uj


@pytest.mark.parametrize("name", ["cascadelake-ap-2s", "zen2-epyc-2s", "sapphirerapids-2s", "alderlake-p", "baytrail"])
@pytest.mark.parametrize("kernel", ["6.1", "7.2"])
def test_every_domain_that_is_named_has_a_truth_whatever_the_machine(name: str, kernel: str) -> None:
    live = start(name, kernel=kernel)
    control = Control(live)
    control.advance(1)
    spent = control.truth()
    assert len(spent) >= 2
    assert len({one.domain for one in spent}) == len(spent)
    assert all(one.counters for one in spent)
    with live.held() as machine:
        assert {zone.names for zone in zones(machine)} <= set(domains(machine))


def test_dies_and_cores_are_named_as_the_kernel_names_them() -> None:
    machine = Machine.from_profile("cascadelake-ap-2s")
    cpus = machine.profile.topology.cpus
    named = {domain_of_msr(machine, cpu.number, 0x611) for cpu in cpus}
    assert named == {zone.names for zone in zones(machine) if "/" not in zone.names}
    zen = Machine.from_profile("zen2-epyc-2s")
    second = next(cpu.number for cpu in zen.profile.topology.cpus if (cpu.package, cpu.core) == (1, 2))
    assert domain_of_msr(zen, second, 0xC001029A) == "package-1/core-2"
    for cpu, address in ((0, 0x606), (0, 0x12345), (4096, 0x611), (-1, 0x611)):
        assert domain_of_msr(machine, cpu, address) is None


def test_a_platform_counter_without_a_meter_is_nobodys() -> None:
    machine = Machine.from_profile("sapphirerapids-2s")
    wired = {domain_of_msr(machine, machine.profile.topology.cpus_of_die(die)[0], 0x64D) for die in range(2)}
    assert "psys" in domains(machine)
    assert wired == {"psys", None}


def test_a_zone_is_found_by_the_path_of_its_files() -> None:
    machine = Machine.from_profile("skylake-sp-2s")
    below = "devices/virtual/powercap/intel-rapl"
    assert find_zone(machine, f"{below}/intel-rapl:1/intel-rapl:1:0/energy_uj") == "package-1/dram"
    assert find_zone(machine, f"{below}/enabled") is None


def test_zones_of_other_control_types_have_its_name_before_theirs(make_machine: Callable[..., Machine]) -> None:
    machine = make_machine("kabylake", more="[mmio]\n0x5938 = 0xA0E03\n0x593C = 0x1234\n0x59A0 = 0")
    control = Control(LiveMachine(machine))
    machine.load.set(package=20)
    control.advance(1)
    by_path = {zone.path: zone for zone in control.zones()}
    assert by_path["intel-rapl-mmio/package-0"].truth_uj == by_path["package-0"].truth_uj == 20_000_000
    (package,) = control.truth("package-0")
    assert [one.space for one in package.counters] == ["msr", "mmio"]


def test_a_domain_that_no_register_counts_has_a_truth_all_the_same(make_machine: Callable[..., Machine]) -> None:
    control = Control(LiveMachine(make_machine("kabylake", registers={0x641: None})))
    control.set_load({"package": 20, "uncore": 5})
    control.advance(2)
    assert control.truth("package-0/uncore") == [("package-0/uncore", 10_000_000, [])]


def test_a_zone_that_the_driver_cannot_read_says_why_in_place_of_its_energy(
    make_machine: Callable[..., Machine],
) -> None:
    machine = make_machine("kabylake")
    machine.msr.inject(0, 0x611, "read", EIO)
    zone = Control(LiveMachine(machine)).zones()[0]
    with pytest.raises(OSError, match="energy_uj") as failed:
        machine.sysfs.read(ENERGY)
    assert (zone.energy_uj, zone.error) == (None, errorcode[failed.value.errno or 0])


# On a mount.


def test_what_goes_and_comes_is_known_to_programs_when_the_order_ends(
    live: LiveMachine, mount: Callable[..., FuseMount]
) -> None:
    shown = mount(live)

    def changed() -> None:
        with shown.held():
            pass

    control = Control(live, changed)
    folder = Path(shown.directory) / "sys/class/powercap"

    def names() -> set[str]:
        return set(subprocess.run(["ls", folder], capture_output=True, text=True, check=True).stdout.split())

    both = {"intel-rapl", "intel-rapl:0", "intel-rapl:0:0", "intel-rapl:1", "intel-rapl:1:0"}
    assert names() == both
    assert (folder / "intel-rapl:1/energy_uj").stat().st_size == 4096
    control.do({"do": "offline", "package": 1})
    assert names() == {"intel-rapl", "intel-rapl:0", "intel-rapl:0:0"}
    assert not (folder / "intel-rapl:1").exists()
    control.do({"do": "online", "package": 1})
    assert names() == both
    control.inject(ENERGY, "read", "EIO", times=1)
    failed = subprocess.run(["cat", folder / "intel-rapl:0/energy_uj"], capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert failed.stderr.endswith("Input/output error\n")
    assert int((folder / "intel-rapl:0/energy_uj").read_text()) > 0
    control.inject(ENERGY, "open", "EACCES")
    with pytest.raises(PermissionError):
        os.open(folder / "intel-rapl:0/energy_uj", os.O_RDONLY)
    control.heal(ENERGY)
    assert int((folder / "intel-rapl:0/energy_uj").read_text()) > 0
