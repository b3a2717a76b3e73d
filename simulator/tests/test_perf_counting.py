# SPDX-License-Identifier: Apache-2.0
"""What an opened event of a power PMU counts: the energy spent, to a step of its counter, whatever happens."""

from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raplica_simulator import Machine
from raplica_simulator.linux.perf_power import PowerPmu

Make = Callable[..., Machine]

STEP_J = Fraction(1, 1 << 32)


def test_a_count_begins_at_nothing() -> None:
    machine = Machine.from_profile("kabylake")
    machine.clock.advance(seconds=1000)
    assert [PowerPmu(machine).open(config, 0).read() for config in range(1, 6)] == [0] * 5


@given(
    profile=st.sampled_from(("kabylake", "zen2-epyc-2s", "cascadelake-ap-2s", "sapphirerapids-2s", "skylake-sp-2s")),
    begin_ns=st.integers(0, 10**7),
    gaps_ns=st.lists(st.integers(1, 2 * 10**14), min_size=1, max_size=6),
    watts=st.integers(1, 400),
    near=st.integers(0, (1 << 32) - 1),
)
@settings(max_examples=40, deadline=None)
def test_a_count_is_the_energy_spent_to_a_step_of_its_counter_across_any_number_of_wraps(
    profile: str, begin_ns: int, gaps_ns: list[int], watts: int, near: int
) -> None:
    """Up to 55 hours between two reads, in which a counter of 2^-16 J at 400 W wraps 1,200 times."""
    machine = Machine.from_profile(profile, kernel="7.2")
    package = next(iter(machine.profile.registers[0].keys() & {0x611, 0xC001029B}))
    machine.load.set(package=watts, dram=watts / 4)
    machine.clock.advance(nanoseconds=begin_ns)
    machine.msr.poke(0, package, near)
    several = machine.profile.topology.dies_per_package > 1
    name = "package-0-die-0" if several else "package-0"
    unit_j = machine.counter_units()["package"]
    # What a register shows is up to a millisecond old.
    late_j = Fraction(watts, 1000)
    counter = PowerPmu(machine).open("energy-pkg", 0)
    begun = machine.truth_joules(name)
    shown = 0
    for gap_ns in gaps_ns:
        machine.clock.advance(nanoseconds=gap_ns)
        count = counter.read()
        assert count >= shown
        shown = count
        # All of these count in 2^-14 or 2^-16 J, which 2^-32 J divides.
        assert count * STEP_J % unit_j == 0
        assert abs(count * STEP_J - (machine.truth_joules(name) - begun)) <= unit_j + late_j


@pytest.mark.parametrize("wraps", [0, 1, 2, 100])
def test_a_wrap_more_is_not_missed_for_an_old_register(wraps: int) -> None:
    """Opened just before a register steps and read just after it did, a whole number of wraps later."""
    machine = Machine.from_profile("zen2-epyc-2s")
    # 2^16 J a second, so that a counter of 2^-16 J wraps in one.
    machine.load.set(package=65536)
    machine.clock.advance(nanoseconds=999_999)
    counter = PowerPmu(machine).open("energy-pkg", 0)
    machine.clock.advance(nanoseconds=wraps * 10**9 + 1)
    assert counter.read() == (wraps * 65536 << 32) + (65536 << 32) // 1000 - (65536 << 32) // 1000 % (1 << 16)


def test_every_event_counts_its_own_domain() -> None:
    machine = Machine.from_profile("kabylake")
    machine.load.set(package=20, core=12, uncore=3, dram=2, psys=40)
    pmu = PowerPmu(machine)
    counters = [pmu.open(event.config, 0) for event in pmu.events]
    machine.clock.advance(seconds=100)
    joules = {counter.event.name: float(counter.read() * STEP_J) for counter in counters}
    wanted = {"energy-cores": 1200, "energy-pkg": 2000, "energy-ram": 200, "energy-gpu": 300, "energy-psys": 4000}
    assert joules == pytest.approx(wanted, abs=0.01)


def test_each_package_counts_for_itself() -> None:
    machine = Machine.from_profile("skylake-sp-2s")
    machine.load.set(package=100)
    pmu = PowerPmu(machine)
    counters = [pmu.open("energy-pkg", cpu) for cpu in pmu.cpumask]
    machine.load.set(package=50, on_package=1)
    machine.clock.advance(seconds=10)
    assert [float(counter.read() * STEP_J) for counter in counters] == pytest.approx([1000, 500], abs=0.01)


def test_server_memory_counts_2_6_per_mille_less_than_it_spent() -> None:
    """Its counter steps by 15.3 uJ, and perf takes 2^-16 J for it."""
    machine = Machine.from_profile("skylake-sp-2s")
    machine.load.set(package=100, dram=12)
    counter = PowerPmu(machine).open("energy-ram", 0)
    machine.clock.advance(seconds=1000)
    spent = machine.truth_joules("package-0/dram")
    assert float(counter.read() * STEP_J / spent) == pytest.approx(float(Fraction(10**7, 153) / 2**16), rel=1e-6)


def test_the_platform_of_sapphire_rapids_counts_in_whole_joules() -> None:
    machine = Machine.from_profile("sapphirerapids-2s")
    machine.load.set(package=100, psys=500)
    counter = PowerPmu(machine).open("energy-psys", 0)
    machine.clock.advance(seconds=10)
    joules = counter.read() * STEP_J
    assert joules.denominator == 1
    assert abs(joules - machine.truth_joules("psys")) <= 1


def test_each_core_of_amd_counts_for_itself() -> None:
    machine = Machine.from_profile("zen2-epyc-2s", kernel="7.2")
    machine.load.set(package=90, cores={(0, 0, 3): 20, (0, 0, 0): 5})
    cores = PowerPmu(machine, "power_core")
    counters = [cores.open("energy-core", cpu) for cpu in (0, 3, 17, 35)]
    machine.clock.advance(seconds=100)
    unit_j = machine.counter_units()["cpu-core"]
    joules = []
    names = ("package-0/core-0", "package-0/core-3", "package-1/core-1", "package-0/core-3")
    for counter, name in zip(counters, names, strict=True):
        assert abs(counter.read() * STEP_J - machine.truth_joules(name)) <= unit_j
        joules.append(float(counter.read() * STEP_J))
    assert joules[1] == joules[3] == pytest.approx(4 * joules[0], rel=0.001)


def test_a_count_goes_on_while_anybody_of_the_package_is_up_and_then_stands_for_good(make_machine: Make) -> None:
    machine = make_machine("skylake-sp", topology=(2, 1, 2, 1), more="[load]\npackage = 80.0\n")
    counter = PowerPmu(machine).open("energy-pkg", 2)
    machine.cpu(2).offline()
    machine.clock.advance(seconds=10)
    assert counter.read() * STEP_J == pytest.approx(800, abs=0.01)
    machine.cpu(3).offline()
    machine.clock.advance(seconds=10)
    stood = counter.read()
    assert stood * STEP_J == pytest.approx(800, abs=0.01)
    machine.cpu(3).online()
    machine.clock.advance(seconds=10)
    assert counter.read() == stood


def test_a_counter_that_is_set_back_counts_as_wrapped(make_machine: Make) -> None:
    """Perf knows no other reason for a smaller value."""
    machine = make_machine("skylake-sp")
    counter = PowerPmu(machine).open("energy-pkg", 0)
    machine.msr.poke(0, 0x611, 0x40001111 - 5)
    assert counter.read() == ((1 << 32) - 5) << 18


def test_a_counter_that_stands_still_counts_nothing(make_machine: Make) -> None:
    machine = make_machine("skylake-sp", more="[load]\npackage = 100.0\n")
    counter = PowerPmu(machine).open("energy-pkg", 0)
    machine.clock.advance(seconds=10_000)
    held = machine.msr.read(0, 0x611)
    counted = counter.read()
    machine.clock.advance(seconds=10_000)
    machine.msr.poke(0, 0x611, held)
    assert counter.read() == counted


def test_a_counter_that_faults_reads_as_0(make_machine: Make) -> None:
    """The kernel's rdmsr notes the fault in its log and gives 0, from which perf counts on."""
    machine = make_machine("skylake-sp")
    counter = PowerPmu(machine).open("energy-pkg", 0)
    machine.msr.inject(0, 0x611)
    assert counter.read() == ((1 << 32) - 0x40001111) << 18
    machine.msr.inject(0, 0x611, errno=None)
    assert counter.read() == 1 << 50
