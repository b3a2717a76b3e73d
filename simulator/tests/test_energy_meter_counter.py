# SPDX-License-Identifier: Apache-2.0
"""Windows' energy meters: what they count, held against registers and the truth."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator import Machine
from raplica_simulator.windows.energy_meter import EnergyMeterDriver
from raplica_simulator.windows.energy_meter_counter import MeterCounter

from .emi_program import J_PER_PWH, energies, meters, pwh

DOMAINS = {"PKG": ("", 0x611), "PP0": ("/core", 0x639), "PP1": ("/uncore", 0x641), "DRAM": ("/dram", 0x619)}


@pytest.mark.parametrize("profile", ["kabylake", "skylake-sp-2s", "alderlake-p", "haswell-ep-2s"])
def test_an_intel_meter_counts_its_registers_in_their_exact_unit_across_wraps(profile: str) -> None:
    machine = Machine.from_profile(profile)
    units = machine.counter_units()
    found = meters(machine)
    first = energies(found)
    for seconds in (1, 3600, 86400):
        machine.clock.advance(seconds=seconds)
        for name, energy in energies(found).items():
            package, (part, register) = int(name[12]), DOMAINS[name.split("_")[2]]
            unit_j = units[part[1:] or "package"]
            cpu = machine.profile.topology.cpus_of_die(package)[0]
            truth_j = machine.truth_joules(f"package-{package}{part}")
            assert abs((energy - first[name]) * J_PER_PWH - truth_j) <= unit_j + J_PER_PWH
            wraps = (energy * J_PER_PWH / unit_j + Fraction(1, 2)) // (1 << 32)
            assert energy == pwh(machine.msr.read(cpu, register) + (wraps << 32), unit_j)
    assert any(energy * J_PER_PWH > 2 * units["package"] * (1 << 32) for energy in energies(found).values())


@pytest.mark.parametrize("profile", ["zen2-epyc-2s", "zen4"])
def test_an_amd_meter_counts_packages_and_cores_across_wraps(profile: str) -> None:
    machine = Machine.from_profile(profile)
    found = meters(machine)
    before = energies(found)
    machine.clock.advance(seconds=86400)
    for name, energy in energies(found).items():
        parts = name.removeprefix("RAPL_Package").split("_")
        domain = f"package-{parts[0]}" + ("" if parts[1] == "PKG" else f"/core-{parts[1].removeprefix('Core')}")
        spent_j = (energy - before[name]) * J_PER_PWH
        assert abs(spent_j - machine.truth_joules(domain)) <= Fraction(1, 1 << 16) + J_PER_PWH, name


def test_without_polling_of_its_own_a_driver_loses_whole_wraps_between_two_requests() -> None:
    machine = Machine.from_profile("kabylake")
    machine.load.set(package=100)
    both = {polls: meters(machine, EnergyMeterDriver(polls=polls)) for polls in (True, False)}
    before = {polls: energies(found)["RAPL_Package0_PKG"] for polls, found in both.items()}
    machine.clock.advance(seconds=86400)
    truth_j, wrap_j = machine.truth_joules("package-0"), Fraction(1 << 32, 1 << 14)
    spent_j = {
        polls: (energies(found)["RAPL_Package0_PKG"] - before[polls]) * J_PER_PWH for polls, found in both.items()
    }
    assert truth_j > 2 * wrap_j
    assert abs(spent_j[True] - truth_j) < Fraction(1, 1 << 13)
    assert abs(spent_j[False] - truth_j % wrap_j) < Fraction(1, 1 << 13)


def test_a_meter_counts_from_the_moment_at_which_its_driver_was_loaded_whoever_asks_when() -> None:
    machine = Machine.from_profile("kabylake")
    (meter,) = meters(machine)
    held = machine.msr.read(0, 0x611)
    machine.load.set(package=100)
    machine.clock.advance(seconds=86400)
    spent_j = energies([meter])["RAPL_Package0_PKG"] * J_PER_PWH - held * Fraction(1, 1 << 14)
    assert abs(spent_j - machine.truth_joules("package-0")) <= Fraction(1, 1 << 14) + J_PER_PWH


def test_a_counter_that_somebody_sets_back_looks_like_a_wrap() -> None:
    machine = Machine.from_profile("kabylake")
    (meter,) = meters(machine)
    before = energies([meter])["RAPL_Package0_PKG"]
    held = machine.msr.read(0, 0x611)
    machine.msr.poke(0, 0x611, held - 10)
    after = energies([meter])["RAPL_Package0_PKG"]
    assert after == pwh(held + (1 << 32) - 10, Fraction(1, 1 << 14)) > before
    # Where it was set and wrapped, nobody can tell how often it wrapped.
    machine.load.set(package=100)
    machine.clock.advance(seconds=86400)
    machine.msr.poke(0, 0x611, held)
    assert energies([meter])["RAPL_Package0_PKG"] == pwh(held + (1 << 32), Fraction(1, 1 << 14))


def test_a_counter_that_stands_still_is_counted_so() -> None:
    machine = Machine.from_profile("kabylake")
    (meter,) = meters(machine)
    machine.msr.stop(0, 0x611)
    before = energies([meter])
    machine.clock.advance(seconds=100_000)
    after = energies([meter])
    assert after["RAPL_Package0_PKG"] == before["RAPL_Package0_PKG"]
    assert after["RAPL_Package0_PP0"] > before["RAPL_Package0_PP0"]


def test_all_channels_are_measured_at_one_moment_of_the_machine() -> None:
    machine = Machine.from_profile("kabylake")
    (meter,) = meters(machine)
    machine.clock.advance(nanoseconds=1_234_567_899)
    assert {at for _, at in meter.measure().values()} == {12_345_678}


@given(steps=st.lists(st.integers(0, 1 << 34), min_size=1, max_size=30), polls=st.booleans())
def test_a_counter_never_goes_back_and_misses_only_what_nobody_looked_at(steps: list[int], polls: bool) -> None:  # noqa: FBT001
    now = 0
    counter = MeterCounter(lambda: now % (1 << 32), lambda: now, Fraction(1, 1 << 14), polls=polls)
    assert counter.steps() == 0
    expected = 0
    for step in steps:
        now += step
        expected += step if polls else step % (1 << 32)
        assert counter.steps() == expected
        assert counter.energy_pwh() == pwh(expected, Fraction(1, 1 << 14))
