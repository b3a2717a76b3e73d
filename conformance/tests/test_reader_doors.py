# SPDX-License-Identifier: Apache-2.0
"""The doors of a case's machine that other systems than Linux have: a Windows and its driver, a Mac and its tool."""

import pytest

from raplica_conformance.readers.doors import MachineTree
from raplica_conformance.readers.stage import Stage
from raplica_conformance.subjects.reader import powermetrics, windows
from raplica_conformance.subjects.windows import driver_names
from raplica_fixtures.case_values import DRIVERS
from raplica_fixtures.cases import load_case
from raplica_reader.powermetrics_output import readings
from raplica_simulator import Machine, ProfileError
from raplica_simulator.macos.mac_files import mac_of

SECOND_NS = 10**9


def test_each_reader_has_a_windows_of_its_own_which_it_may_crash() -> None:
    machine = Machine.from_profile("kabylake")
    tree = MachineTree(machine, "v1")
    one, other = tree.windows(), tree.windows()
    handle = one.create_file(r"\\.\RAPLDriver", 0xC0000000)
    with pytest.raises(Exception, match="bug check"):
        one.device_io_control(handle, 0x0022D844, bytes(8), 8)
    assert other.create_file(r"\\.\RAPLDriver", 0xC0000000)


def test_a_case_that_is_not_about_windows_has_none() -> None:
    with pytest.raises(LookupError, match="not about Windows"):
        MachineTree(Machine.from_profile("kabylake")).windows()


@pytest.mark.parametrize("plist", [True, False])
def test_a_sample_of_powermetrics_lasts_from_the_one_before_to_now(plist: bool) -> None:  # noqa: FBT001 - a parameter of the test
    stage = Stage(load_case("interfaces/powermetrics-combined"))
    program = stage.tree.powermetrics()
    lengths = []
    for moment in (0, 2, 7):
        stage.go_to(moment * SECOND_NS)
        lengths += [round(one.elapsed_ns / SECOND_NS) for one in readings(program.sample(plist=plist))]
    assert lengths == [0, 2, 5]


def test_any_intel_machine_may_be_taken_for_a_mac_and_no_other() -> None:
    assert mac_of(Machine.from_profile("kabylake").profile).has_package
    with pytest.raises(ProfileError, match="no Mac has a processor of AuthenticAMD"):
        mac_of(Machine.from_profile("zen4").profile)


def test_the_reference_says_what_each_part_spent() -> None:
    stage = Stage(load_case("interfaces/powermetrics-package"))
    reader = powermetrics(stage.tree, stage.now_ns)
    reader.sample()
    stage.go_to(10 * SECOND_NS)
    reader.sample()
    answer = reader.answer()
    reader.close()
    assert {"package-0", "package-0/cpu", "package-0/gpu", "package-0/dram", "total"} <= set(answer)
    assert answer["total"] == answer["package-0"]


def test_the_reference_takes_the_meters_where_windows_has_them() -> None:
    machine = Machine.from_profile("kabylake")
    for driver, ids in (("emi", {"package-0/dram"}), ("v1", {"package-0"})):
        reader = windows(MachineTree(machine, driver), lambda: machine.clock.now_ns)
        reader.sample()
        assert ids <= set(reader.answer())
        reader.close()


def test_every_driver_that_a_case_may_name_is_there() -> None:
    assert set(DRIVERS) <= set(driver_names())
