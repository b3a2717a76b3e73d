# SPDX-License-Identifier: Apache-2.0
"""Guards against the mistakes that no clause can find, because they take more than one look at one tree."""

from errno import EEXIST, EINVAL, EIO, ENOENT
from fractions import Fraction
from pathlib import Path

import pytest

from raplica_simulator import Machine, VirtualClock
from raplica_simulator.linux.powercap_sys import ConstraintOps, ZoneOps

MACHINES = Path(__file__).parent / "machines"
PACKAGE_1 = "class/powercap/intel-rapl:1"
METER = ZoneOps(get_power_uw=lambda _: 0)
LIMITS = ConstraintOps(
    set_power_limit_uw=lambda _zone, _number, _value: None,
    get_power_limit_uw=lambda _zone, _number: 0,
    set_time_window_us=lambda _zone, _number, _value: None,
    get_time_window_us=lambda _zone, _number: 0,
)


@pytest.mark.pitfall("zones-unregister-before-children")
@pytest.mark.parametrize("kernel", ["6.1", "6.12"])
def test_a_zone_goes_before_its_children_but_a_control_type_does_not_go_before_its_zones(kernel: str) -> None:
    machine = Machine.from_profile("zen4", kernel=kernel)
    control_type = machine.powercap.register_control_type("plain")
    parent = machine.powercap.register_zone(control_type, "parent", METER, constraint_ops=LIMITS)
    child = machine.powercap.register_zone(control_type, "child", METER, parent=parent, constraint_ops=LIMITS)
    with pytest.raises(OSError, match=r".") as refused:
        machine.powercap.unregister_control_type(control_type)
    assert refused.value.errno == EINVAL
    parent.unregister()
    assert "plain:0" not in machine.sysfs.listdir("class/powercap")
    child.unregister()
    machine.powercap.unregister_control_type(control_type)
    assert "plain" not in machine.sysfs.listdir("class/powercap")


@pytest.mark.pitfall("zone-ids-are-reused")
def test_the_lowest_free_id_is_taken_again() -> None:
    machine = Machine.from_profile("zen4")
    control_type = machine.powercap.register_control_type("plain")
    zones = [
        machine.powercap.register_zone(control_type, name, METER, constraint_ops=LIMITS) for name in ("a", "b", "c")
    ]
    zones[1].unregister()
    machine.powercap.register_zone(control_type, "d", METER, constraint_ops=LIMITS)
    names = [machine.sysfs.read(f"class/powercap/plain:{number}/name") for number in range(3)]
    assert names == [b"a\n", b"d\n", b"c\n"]


@pytest.mark.pitfall("hotplug-redetects")
@pytest.mark.parametrize("kernel", ["6.1", "6.12"])
def test_a_package_whose_cpus_go_takes_its_zones_and_its_enables_along(kernel: str) -> None:
    machine = Machine.from_profile("skylake-sp-2s", kernel=kernel)
    second = [place.number for place in machine.profile.topology.cpus if place.package == 1]
    assert machine.sysfs.read(f"{PACKAGE_1}/enabled") == b"1\n"
    limit = machine.sysfs.read(f"{PACKAGE_1}/constraint_0_power_limit_uw")
    for number in second[:-1]:
        machine.cpu(number).offline()
    assert machine.sysfs.read(f"{PACKAGE_1}/enabled") == b"1\n"
    machine.cpu(second[-1]).offline()
    with pytest.raises(OSError, match=r".") as gone:
        machine.sysfs.read(f"{PACKAGE_1}/enabled")
    assert gone.value.errno == ENOENT
    machine.cpu(second[3]).online()
    assert machine.sysfs.read(f"{PACKAGE_1}/name") == b"package-1\n"
    assert machine.sysfs.read(f"{PACKAGE_1}/enabled") == b"0\n"
    assert machine.sysfs.read(f"{PACKAGE_1}/constraint_0_power_limit_uw") == limit


@pytest.mark.pitfall("hotplug-redetects")
def test_a_counter_that_stands_at_zero_when_its_package_comes_back_has_lost_its_zone() -> None:
    machine = Machine.from_profile(MACHINES / "failing-counters.toml")
    second = [place.number for place in machine.profile.topology.cpus if place.package == 1]
    assert machine.sysfs.read("class/powercap/intel-rapl:1:0/name") == b"dram\n"
    machine.load.set(package=0, dram=0)
    machine.msr.poke(cpu=second[0], register=0x619, value=0)
    for number in second:
        machine.cpu(number).offline()
    for number in second:
        machine.cpu(number).online()
    assert "intel-rapl:1" in machine.sysfs.listdir("class/powercap")
    assert "intel-rapl:1:0" not in machine.sysfs.listdir("class/powercap")


@pytest.mark.pitfall("suspend-restores-package-limits-only")
@pytest.mark.parametrize("kernel", ["6.1", "6.12"])
def test_resume_brings_back_package_limits_and_nothing_else(kernel: str) -> None:
    machine = Machine.from_profile("kabylake", kernel=kernel)
    package, core = "class/powercap/intel-rapl:0", "class/powercap/intel-rapl:0:0"
    machine.sysfs.write(f"{package}/constraint_0_power_limit_uw", b"9000000")
    machine.sysfs.write(f"{package}/constraint_0_time_window_us", b"999424")
    machine.sysfs.write(f"{core}/constraint_0_power_limit_uw", b"5000000")
    machine.suspend()
    # Firmware forgets everything while the machine sleeps.
    machine.msr.poke(cpu=0, register=0x610, value=0x00DD8088)
    machine.msr.poke(cpu=0, register=0x638, value=0)
    machine.resume()
    assert machine.sysfs.read(f"{package}/constraint_0_power_limit_uw") == b"9000000\n"
    assert machine.sysfs.read(f"{package}/constraint_0_time_window_us") == b"27983872\n"
    assert machine.sysfs.read(f"{core}/constraint_0_power_limit_uw") == b"0\n"


@pytest.mark.pitfall("mmio-has-its-own-limits")
@pytest.mark.pitfall("msr-and-mmio-limits-are-apart")
@pytest.mark.parametrize("kernel", ["6.1", "6.12", "7.2"])
def test_each_interface_shows_the_limit_of_its_own_register(kernel: str) -> None:
    machine = Machine.from_profile(MACHINES / "both-interfaces.toml", kernel=kernel)
    paths = [f"class/powercap/{name}:0/constraint_0_power_limit_uw" for name in ("intel-rapl", "intel-rapl-mmio")]
    assert [machine.sysfs.read(path) for path in paths] == [b"125000000\n", b"28000000\n"]
    machine.sysfs.write(paths[1], b"15000000")
    assert (machine.msr.read(0, 0x610), machine.mmio.read(0x59A0) & 0x7FFF) == (0x00428440001B83E8, 120)
    machine.sysfs.write(paths[0], b"44000000")
    assert [machine.sysfs.read(path) for path in paths] == [b"44000000\n", b"15000000\n"]
    assert (machine.msr.read(0, 0x610) & 0x7FFF, machine.mmio.read(0x59A0) & 0x7FFF) == (352, 120)


@pytest.mark.pitfall("mmio-dram-has-two-constraints")
def test_dram_has_two_limits_behind_mmio_and_one_behind_the_msrs() -> None:
    server = Machine.from_profile("haswell-ep-2s")
    client = Machine.from_profile(MACHINES / "both-interfaces.toml")
    found = []
    for machine, zone in ((server, "intel-rapl:0:0"), (client, "intel-rapl-mmio:0:0")):
        assert machine.sysfs.read(f"class/powercap/{zone}/name") == b"dram\n"
        found.append([name for name in machine.sysfs.listdir(f"class/powercap/{zone}") if name.endswith("_name")])
    assert [sorted(names) for names in found] == [
        ["constraint_0_name"],
        ["constraint_0_name", "constraint_1_name"],
    ]


@pytest.mark.pitfall("tpmi-layout")
@pytest.mark.parametrize("kernel", ["6.12", "7.2"])
def test_tpmi_keeps_18_bits_and_switches_three_limits_and_no_clamp(kernel: str) -> None:
    machine = Machine.from_profile(MACHINES / "tpmi.toml", kernel=kernel)
    package = "class/powercap/intel-rapl:0"
    limits = (0x10, 0x18, 0x28)
    before = [machine.tpmi.read(offset) for offset in limits]
    machine.sysfs.write(f"{package}/constraint_0_power_limit_uw", b"5000000000")
    assert machine.sysfs.read(f"{package}/constraint_0_power_limit_uw") == b"5000000000\n"
    assert machine.tpmi.read(0x10) == before[0] & ~0x3FFFF | 40_000
    assert machine.msr.read(0, 0x610) == 0x00428440001B83E8
    machine.sysfs.write(f"{package}/enabled", b"0")
    switched = [machine.tpmi.read(offset) for offset in limits]
    assert switched == [40_000 | before[0] & ~0x3FFFF & ~(1 << 62), before[1] & ~(1 << 62), before[2] & ~(1 << 62)]
    # dram counts in steps of its own, and so does psys.
    ranges = [
        machine.sysfs.read(f"class/powercap/{zone}/max_energy_range_uj") for zone in ("intel-rapl:0:0", "intel-rapl:1")
    ]
    assert ranges == [b"65532610987\n", b"4194301851539\n"]


@pytest.mark.pitfall("tpmi-layout")
def test_only_one_driver_can_have_the_control_type() -> None:
    machine = Machine.from_profile(MACHINES / "tpmi.toml")
    assert machine.driver.interfaces == ("tpmi",)
    with pytest.raises(OSError, match=r".") as refused:
        machine.powercap.register_control_type("intel-rapl")
    assert refused.value.errno == EEXIST


@pytest.mark.pitfall("limit-write-ends-a-notification")
@pytest.mark.parametrize("flags", [("pts", "pln"), ("pts",)])
def test_a_limit_that_is_written_ends_the_notification_where_there_is_one(
    flags: tuple[str, ...], tmp_path: Path
) -> None:
    text = (MACHINES / "both-interfaces.toml").read_text()
    text = text.replace("model = 140", f"model = 140\nflags = {list(flags)}").replace(
        "[registers]", "[registers]\n0x1B2 = 0x1000010"
    )
    path = tmp_path / "notified.toml"
    path.write_text(text)
    machine = Machine.from_profile(path)
    machine.sysfs.write("class/powercap/intel-rapl:0/constraint_1_power_limit_uw", b"64000000")
    assert machine.msr.read(0, 0x1B2) == (0x10 if len(flags) == 2 else 0x1000010)
    machine.driver.unload()
    assert machine.msr.read(0, 0x1B2) == 0x1000010


@pytest.mark.pitfall("kvm-reads-five-zeros")
@pytest.mark.parametrize("kernel", ["6.1", "6.12"])
def test_a_guest_reads_five_zeros_and_has_no_tree(kernel: str) -> None:
    machine = Machine.from_profile(MACHINES / "kvm-guest.toml", kernel=kernel)
    assert [machine.msr.read(0, address) for address in (0x606, 0x611, 0x619, 0x639, 0x641)] == [0] * 5
    for address in (0x610, 0x614, 0x618, 0x64D, 0x65C):
        with pytest.raises(OSError, match=r".") as fault:
            machine.msr.read(0, address)
        assert fault.value.errno == EIO
    assert machine.sysfs.listdir("class/powercap") == []


@pytest.mark.pitfall("broadwell-d-three-answers")
@pytest.mark.parametrize("kernel", ["6.1", "6.12"])
def test_the_driver_takes_the_wrong_unit_for_dram_of_broadwell_d(kernel: str) -> None:
    clock = VirtualClock()
    machine = Machine.from_profile(MACHINES / "broadwell-d.toml", kernel=kernel, clock=clock)
    dram = "class/powercap/intel-rapl:0:0"
    assert machine.sysfs.read(f"{dram}/max_energy_range_uj") == b"262143328850\n"
    before = int(machine.sysfs.read(f"{dram}/energy_uj"))
    clock.advance(seconds=1000)
    shown = int(machine.sysfs.read(f"{dram}/energy_uj")) - before
    truth = machine.truth_uj("package-0/dram")
    assert truth == 10_000 * 1_000_000
    # The counter moves by 15.3 uJ and the driver multiplies by 61035 nJ: a factor of 3.99.
    assert abs(Fraction(shown, truth) - Fraction(61_035, 15_300)) < Fraction(1, 1_000_000)
