# SPDX-License-Identifier: Apache-2.0
"""Windows' energy meters: which there are on which machine, and their channels."""

from collections.abc import Callable
from fractions import Fraction

import pytest

from raplica_simulator import Machine
from raplica_simulator.windows.energy_meter import EnergyMeterDriver
from raplica_simulator.windows.energy_meter_layout import GET_MEASUREMENT

from .emi_program import J_PER_PWH, energies, meters, pwh

Make = Callable[..., Machine]


def all_names(machine: Machine, driver: EnergyMeterDriver | None = None) -> list[list[str]]:
    return [meter.names() for meter in meters(machine, driver)]


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        ("kabylake", [["RAPL_Package0_PKG", "RAPL_Package0_PP0", "RAPL_Package0_PP1", "RAPL_Package0_DRAM"]]),
        ("baytrail", [["RAPL_Package0_PKG", "RAPL_Package0_PP0"]]),
        ("dtpm", []),
    ],
)
def test_a_package_is_a_meter_with_a_channel_for_each_register(profile: str, expected: list[list[str]]) -> None:
    assert all_names(Machine.from_profile(profile)) == expected


def test_each_die_with_registers_of_its_own_is_a_meter() -> None:
    machine = Machine.from_profile("cascadelake-ap-2s")
    found = energies(meters(machine))
    for die in range(4):
        cpu = machine.profile.topology.cpus_of_die(die)[0]
        expected = pwh(machine.msr.read(cpu, 0x611), Fraction(1, 1 << 14))
        assert found[f"RAPL_Package{die}_PKG"] == expected > 0
    assert len({found[f"RAPL_Package{die}_PKG"] for die in range(4)}) == 4


def test_each_core_of_an_amd_processor_is_a_meter_of_its_own() -> None:
    names = all_names(Machine.from_profile("zen2-epyc-2s"))
    assert names[:2] == [["RAPL_Package0_PKG"], ["RAPL_Package1_PKG"]]
    assert names[2:] == [[f"RAPL_Package{package}_Core{core}_CORE"] for package in (0, 1) for core in range(16)]


def test_amd_names_say_package_nowhere_and_the_cores_are_part_of_the_socket() -> None:
    machine = Machine.from_profile("zen2-epyc-2s")
    found = meters(machine, EnergyMeterDriver(names="amd"))
    assert [meter.names() for meter in found] == [["Current Socket Energy", "VDDCR_VDD Energy"]] * 2
    before = [meter.measure() for meter in found]
    machine.clock.advance(seconds=10)
    for package, meter in enumerate(found):
        names = {"Current Socket Energy": "", "VDDCR_VDD Energy": "/core-{}"}
        for name, part in names.items():
            domains = [f"package-{package}" + part.format(core) for core in range(16 if part else 1)]
            truth_j = sum(machine.truth_joules(domain) for domain in domains)
            spent_j = (meter.measure()[name][0] - before[package][name][0]) * J_PER_PWH
            assert abs(spent_j - truth_j) <= len(domains) * Fraction(1, 1 << 16)


def test_mirrored_meters_show_one_counter_several_times() -> None:
    machine = Machine.from_profile("zen4")
    names = all_names(machine, EnergyMeterDriver(mirrors=3))
    assert names[:3] == [[f"RAPL_Package{number}_PKG"] for number in range(3)]
    found = energies(meters(machine, EnergyMeterDriver(mirrors=3)))
    assert found["RAPL_Package0_PKG"] == found["RAPL_Package1_PKG"] == found["RAPL_Package2_PKG"] > 0


def test_a_mirror_less_than_the_meter_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="at least"):
        EnergyMeterDriver(mirrors=0)


def test_a_virtual_machine_has_no_meter_and_amd_has_none_on_intel() -> None:
    assert meters(Machine.from_profile("kabylake"), EnergyMeterDriver(virtual_machine=True)) == []
    assert meters(Machine.from_profile("kabylake"), EnergyMeterDriver(names="amd")) == []


def test_a_register_that_faults_has_no_channel_and_without_units_there_is_no_meter(make_machine: Make) -> None:
    assert all_names(make_machine("kabylake", registers={0x641: None})) == [
        ["RAPL_Package0_PKG", "RAPL_Package0_PP0", "RAPL_Package0_DRAM"]
    ]
    assert all_names(make_machine("zen3", registers={0xC001029A: None})) == [["RAPL_Package0_PKG"]]
    machine = make_machine("kabylake")
    machine.msr.inject(0, 0x606, on="read")
    assert meters(machine) == []


def test_version_1_has_one_channel_in_each_device() -> None:
    found = meters(Machine.from_profile("kabylake"), EnergyMeterDriver(version=1))
    assert [meter.version for meter in found] == [1] * 4
    assert [meter.names() for meter in found] == [
        ["RAPL_Package0_PKG"],
        ["RAPL_Package0_PP0"],
        ["RAPL_Package0_PP1"],
        ["RAPL_Package0_DRAM"],
    ]


def test_who_expects_version_2_of_a_version_1_meter_gets_one_channel_and_is_told_so() -> None:
    meter = meters(Machine.from_profile("kabylake"), EnergyMeterDriver(version=1))[0]
    done = meter.ask(GET_MEASUREMENT, 64)
    assert (done.ok, done.returned, done.output[16:]) == (True, 16, b"\xcc" * 48)
