# SPDX-License-Identifier: Apache-2.0
"""Somebody else has a name that the RAPL drivers want, or a zone in what is theirs: nothing half done is left."""

from collections.abc import Callable
from errno import EEXIST

import pytest

from raplica_simulator import ConstraintOps, Machine, ZoneOps

MakeMachine = Callable[..., Machine]
CLASS = "class/powercap"
KERNELS = ("5.5", "6.1", "6.12", "7.2")
MMIO = """
[mmio]
0x5938 = 0xA0E03
0x593C = 5
0x58E8 = 7
0x59A0 = "0x8320"
"""
TPMI = """
[tpmi.0.package]
0x08 = 0xA383
0x10 = 0x320
0x38 = 0x1000
[tpmi.0.memory]
0x08 = 0xA383
0x38 = 0x1000
"""

pytestmark = pytest.mark.parametrize("kernel", KERNELS)


def errno_of(call: Callable[..., object], *arguments: object) -> int | None:
    try:
        call(*arguments)
    except OSError as error:
        return error.errno
    return 0


@pytest.mark.parametrize("name", ["intel-rapl:0", "intel-rapl:0:0", "intel-rapl:0:1", "intel-rapl:1:0"])
def test_a_zone_whose_name_is_taken_takes_the_whole_tree_along(
    make_machine: MakeMachine, kernel: str, name: str
) -> None:
    machine = make_machine("skylake-sp", kernel, topology=(2, 1, 1, 1), registers={0x639: 9, 0x638: 0, 0x63A: 0})
    whole = machine.sysfs.listdir(CLASS)
    assert name in whole
    machine.driver.unbind()
    taken = machine.powercap.register_control_type(name)
    assert errno_of(machine.driver.bind) == EEXIST
    assert machine.sysfs.listdir(CLASS) == [name]
    machine.driver.load()
    assert machine.sysfs.listdir(CLASS) == [name]
    machine.powercap.unregister_control_type(taken)
    machine.driver.load()
    assert machine.sysfs.listdir(CLASS) == whole


def test_a_processor_whose_package_finds_a_name_taken_stays_down(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("skylake-sp", kernel, topology=(2, 1, 1, 1))
    whole = machine.sysfs.listdir(CLASS)
    machine.cpu(1).offline()
    left = machine.sysfs.listdir(CLASS)
    taken = machine.powercap.register_control_type("intel-rapl:1:0")
    assert errno_of(machine.cpu(1).online) == EEXIST
    assert (machine.cpu(1).is_online, set(machine.sysfs.listdir(CLASS))) == (False, {*left, "intel-rapl:1:0"})
    machine.powercap.unregister_control_type(taken)
    machine.cpu(1).online()
    assert machine.sysfs.listdir(CLASS) == whole


def test_what_comes_through_mmio_or_tpmi_goes_as_a_whole_too(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("skylake-sp", kernel, more=MMIO)
    machine.driver.detach_mmio()
    machine.powercap.register_control_type("intel-rapl-mmio:0:0")
    assert errno_of(machine.driver.attach_mmio) == EEXIST
    assert "intel-rapl-mmio" not in machine.powercap.control_types
    if not machine.kernel.has_tpmi:
        return
    machine = make_machine("skylake-sp", kernel, cpu="GenuineIntel:6:0xAD", more=TPMI)
    machine.driver.detach_tpmi(0)
    machine.powercap.register_control_type("intel-rapl:0:0")
    assert errno_of(machine.driver.attach_tpmi, 0) == EEXIST
    assert machine.sysfs.listdir(CLASS) == ["intel-rapl:0:0"]


def test_a_psys_whose_name_is_taken_is_missed_by_nobody_before_6_0(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("kabylake", kernel)
    machine.driver.unload()
    machine.powercap.register_control_type("intel-rapl:1")
    machine.driver.load()
    assert ("intel-rapl:0" in machine.sysfs.listdir(CLASS)) == (kernel == "5.5")
    machine.driver.unload()
    assert machine.sysfs.listdir(CLASS) == ["intel-rapl:1"]


def test_a_control_type_with_a_zone_of_somebody_elses_outlives_its_driver(
    make_machine: MakeMachine, kernel: str
) -> None:
    machine = make_machine("skylake-sp", kernel, more=MMIO)
    own = ConstraintOps(
        set_power_limit_uw=lambda *_: None,
        get_power_limit_uw=lambda *_: 0,
        set_time_window_us=lambda *_: None,
        get_time_window_us=lambda *_: 0,
    )
    zones = [
        machine.powercap.register_zone(
            machine.powercap.control_types[name], "mine", ZoneOps(get_power_uw=lambda _: 1), constraint_ops=own
        )
        for name in ("intel-rapl", "intel-rapl-mmio")
    ]
    whole = machine.sysfs.listdir(CLASS)
    machine.driver.unload()
    assert sorted(machine.sysfs.listdir(CLASS)) == [
        "intel-rapl",
        "intel-rapl-mmio",
        "intel-rapl-mmio:1",
        "intel-rapl:1",
    ]
    # The next one to come finds the name taken.
    machine.driver.load()
    assert (machine.driver.interfaces, errno_of(machine.driver.bind)) == ((), EEXIST)
    for zone in zones:
        zone.unregister()
        machine.powercap.unregister_control_type(zone.control_type)
    machine.driver.load()
    assert sorted(machine.sysfs.listdir(CLASS)) == sorted({*whole} - {"intel-rapl:1", "intel-rapl-mmio:1"})
