# SPDX-License-Identifier: Apache-2.0
"""What differs between the kernels, question by question of the table, as a program finds it.

6.1, 6.12 and 7.2 are held by recordings; here they stand beside the kernels that were read in the source.
"""

import os
from collections.abc import Callable
from errno import EACCES, EEXIST, EINVAL, ENODEV, ENOENT, ENOSYS

import pytest

from raplica_fixtures import profile_ids
from raplica_simulator import Machine
from raplica_simulator.linux.kernel import KERNELS
from raplica_simulator.linux.powercap_sys import ConstraintOps, ZoneOps

MakeMachine = Callable[..., Machine]
CLASS = "class/powercap"
PACKAGE = f"{CLASS}/intel-rapl:0"
LOAD = "[load]\npackage = 20\ncore = 5\nuncore = 1\ndram = 3\n"
SPLIT = [version for version in KERNELS if version != "3.13"]


def old_and_new(make: MakeMachine, version: str, **more: object) -> Machine:
    """A part that every kernel knows (Sandy Bridge), under a load that 3.13 needs to see it."""
    return make("kabylake", version, cpu="GenuineIntel:6:0x2A", more=LOAD, **more)


def errno_of(call: Callable[[], object]) -> int:
    with pytest.raises(OSError, match=r"\[") as refused:
        call()
    return refused.value.errno or 0


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", profile_ids())
def test_every_machine_can_be_built_for_every_kernel(name: str, kernel: str) -> None:
    machine = Machine.from_profile(name, kernel=kernel)
    zones = [zone for zone in machine.sysfs.listdir(CLASS) if ":" in zone]
    for zone in zones:
        counter = "power_uw" if zone.startswith("dtpm") else "energy_uj"
        assert int(machine.sysfs.read(f"{CLASS}/{zone}/{counter}")) >= 0
    # Where the driver does not list the processor there is an empty class.
    assert zones or (kernel in ("3.13", "5.5") and machine.sysfs.listdir(CLASS) == [])


@pytest.mark.pitfall("energy-readable-before-5-10")
@pytest.mark.parametrize("kernel", KERNELS)
def test_everybody_could_read_the_energy_before_5_10(make_machine: MakeMachine, kernel: str) -> None:
    machine = old_and_new(make_machine, kernel)
    early = kernel in ("3.13", "5.5")
    assert machine.sysfs.stat(f"{PACKAGE}/energy_uj").st_mode & 0o777 == (0o444 if early else 0o400)
    if early:
        assert machine.sysfs.read(f"{PACKAGE}/energy_uj", uid=1000) == machine.sysfs.read(f"{PACKAGE}/energy_uj")
    else:
        assert errno_of(lambda: machine.sysfs.read(f"{PACKAGE}/energy_uj", uid=1000)) == EACCES
    assert errno_of(lambda: machine.sysfs.write(f"{PACKAGE}/energy_uj", b"0")) == EACCES


NO_LIMITS = ConstraintOps(
    set_power_limit_uw=lambda *_: None,
    get_power_limit_uw=lambda *_: 0,
    set_time_window_us=lambda *_: None,
    get_time_window_us=lambda *_: 0,
    get_name=lambda _, number: "n" * (27 + number),
)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_counter_that_can_be_reset_is_for_root_to_write_on_every_kernel(
    make_machine: MakeMachine, kernel: str
) -> None:
    machine = old_and_new(make_machine, kernel)
    kind = machine.powercap.register_control_type("mine")
    ops = ZoneOps(get_energy_uj=lambda _: 5, reset_energy_uj=lambda _: None)
    machine.powercap.register_zone(kind, "zone", ops, constraint_ops=NO_LIMITS)
    mode = machine.sysfs.stat(f"{CLASS}/mine:0/energy_uj").st_mode & 0o777
    assert mode == (0o644 if kernel in ("3.13", "5.5") else 0o600)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_long_constraint_name_lost_its_newline_on_early_kernels(make_machine: MakeMachine, kernel: str) -> None:
    machine = old_and_new(make_machine, kernel)
    kind = machine.powercap.register_control_type("mine")
    ops = ZoneOps(get_energy_uj=lambda _: 5)
    machine.powercap.register_zone(kind, "zone", ops, constraints=4, constraint_ops=NO_LIMITS)
    shown = [machine.sysfs.read(f"{CLASS}/mine:0/constraint_{number}_name") for number in range(4)]
    cut = b"n" * 29 + (b"" if kernel in ("3.13", "5.5") else b"\n")
    # 27, 28, 29 and 30 letters.
    assert shown == [b"n" * 27 + b"\n", b"n" * 28 + b"\n", cut, cut]


TRUE_FROM = {
    b"1": "3.13",
    b"y": "3.13",
    b"Y": "3.13",
    b"on": "5.5",
    b"oN": "5.5",
    b"t": "6.1",
    b"T": "6.1",
    b"e": "7.2",
}
FALSE_FROM = {b"0": "3.13", b"n": "3.13", b"no": "3.13", b"off": "5.5", b"F": "6.1", b"f": "6.1", b"disable": "7.2"}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(("word", "since"), [*TRUE_FROM.items(), *FALSE_FROM.items()])
def test_booleans_learned_words_over_time(make_machine: MakeMachine, kernel: str, word: bytes, since: str) -> None:
    machine = old_and_new(make_machine, kernel)
    path = f"{PACKAGE}/enabled"
    if KERNELS[kernel].number >= KERNELS[since].number:
        assert machine.sysfs.write(path, word) == len(word)
        assert machine.sysfs.read(path) == (b"1\n" if word in TRUE_FROM else b"0\n")
        assert errno_of(lambda: machine.sysfs.write(f"{CLASS}/intel-rapl/enabled", word)) == ENOSYS
    else:
        assert errno_of(lambda: machine.sysfs.write(path, word)) == EINVAL
        assert errno_of(lambda: machine.sysfs.write(f"{CLASS}/intel-rapl/enabled", word)) == EINVAL


def mixed(name: str) -> int:
    """include/linux/dcache.h partial_name_hash, of which 3.13 keeps the low bits."""
    value = 0
    for byte in name.encode():
        value = (value + (byte << 4) + (byte >> 4)) * 11
    return value % 2**64


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_order_of_a_directory_is_another_hash_on_3_13(make_machine: MakeMachine, kernel: str) -> None:
    machine = old_and_new(make_machine, kernel)
    for path in (CLASS, PACKAGE, f"{PACKAGE}/power"):
        names = machine.sysfs.listdir(path)
        early = sorted(names, key=lambda name: mixed(name) % 2**31)
        late = sorted(names, key=lambda name: (mixed(name) * 0x61C8864680B583EB % 2**64 >> 32) % 2**31)
        assert early != late
        assert names == (early if kernel == "3.13" else late)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_uevent_by_hand_could_not_fail_on_3_13(make_machine: MakeMachine, kernel: str) -> None:
    machine = old_and_new(make_machine, kernel)
    path = f"{PACKAGE}/uevent"
    machine.uevents.clear()
    if kernel == "3.13":
        for text in (b"change\n", b"bind", b"nonsense", b"add 12345678-1234-1234-1234-123456789abc A=1", b"\n"):
            assert machine.sysfs.write(path, text) == len(text)
        assert [event[0] for event in machine.uevents] == ["ACTION=change"]
        assert len(machine.uevents[0]) == 3
        return
    assert errno_of(lambda: machine.sysfs.write(path, b"nonsense")) == EINVAL
    assert machine.sysfs.write(path, b"bind") == 4
    assert machine.uevents[0][0] == "ACTION=bind"
    assert machine.uevents[0][-1] == "SYNTH_UUID=0"


@pytest.mark.parametrize("kernel", KERNELS)
def test_seeking_where_the_device_has_gone_fails_on_newer_kernels(make_machine: MakeMachine, kernel: str) -> None:
    machine = old_and_new(make_machine, kernel)
    with machine.sysfs.open(f"{PACKAGE}/name", os.O_RDONLY) as handle:
        machine.driver.unload()
        if kernel in ("6.12", "7.2"):
            assert errno_of(lambda: handle.lseek(0)) == ENODEV
        else:
            assert handle.lseek(0) == 0


@pytest.mark.parametrize("kernel", KERNELS)
def test_what_has_gone_has_no_link_left_on_the_newest_kernel(make_machine: MakeMachine, kernel: str) -> None:
    machine = old_and_new(make_machine, kernel)
    with machine.sysfs.open(f"{PACKAGE}/name") as file, machine.sysfs.open(PACKAGE) as folder:
        assert file.fstat().st_nlink == 1
        assert folder.fstat().st_nlink > 2
        machine.driver.unload()
        gone = (file.fstat().st_nlink, folder.fstat().st_nlink)
    assert gone == ((0, 0) if kernel == "7.2" else (1, 2))


# The driver.


@pytest.mark.parametrize("kernel", SPLIT)
def test_a_counter_with_an_empty_low_half_was_a_domain_on_5_5(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("kabylake", kernel, registers={0x619: 1 << 32})
    names = [machine.sysfs.read(f"{CLASS}/{zone}/name") for zone in machine.sysfs.listdir(CLASS) if ":" in zone]
    assert (b"dram\n" in names) is (kernel == "5.5")


def top_names(machine: Machine) -> list[str]:
    zones = [zone for zone in machine.sysfs.listdir(CLASS) if zone.count(":") == 1]
    return [machine.sysfs.read(f"{CLASS}/{zone}/name").decode().strip() for zone in sorted(zones)]


@pytest.mark.parametrize("kernel", SPLIT)
def test_psys_was_the_last_of_all_zones_before_6_0(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("kabylake", kernel, topology=(2, 1, 1, 1), where={"package.1": {0x64D: 0, 0x65C: 0}})
    if kernel == "5.5":
        assert top_names(machine) == ["package-0", "package-1", "psys"]
    else:
        assert top_names(machine) == ["package-0", "psys", "package-1"]


@pytest.mark.parametrize("kernel", SPLIT)
@pytest.mark.parametrize(
    ("counter", "limit", "early", "late"),
    [
        (0x321, 0, False, True),
        (0x321, None, False, True),
        (0, 0xDC8078, False, False),
        (None, 0xDC8078, False, False),
        (0x321, 1 << 63, True, True),
        (1 << 40, 1, True, False),
    ],
)
def test_psys_needed_a_limit_register_that_is_not_0_before_6_0(
    make_machine: MakeMachine, kernel: str, counter: int | None, limit: int | None, *, early: bool, late: bool
) -> None:
    machine = make_machine("kabylake", kernel, registers={0x64D: counter, 0x65C: limit})
    assert ("psys" in top_names(machine)) is (early if kernel == "5.5" else late)


@pytest.mark.parametrize("kernel", SPLIT)
def test_psys_on_the_second_socket_alone_was_not_found_before_6_0(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine(
        "kabylake",
        kernel,
        topology=(2, 1, 1, 1),
        registers={0x64D: 0, 0x65C: 0},
        where={"package.1": {0x64D: 0x321, 0x65C: 1}},
    )
    assert ("psys-1" in top_names(machine)) is (kernel != "5.5")
    assert "psys" not in top_names(machine)


def test_psys_of_5_5_has_both_limits_no_lock_and_outlives_a_package(make_machine: MakeMachine) -> None:
    machine = make_machine("kabylake", "5.5", topology=(2, 1, 1, 1), registers={0x65C: 1 << 63 | 1})
    psys = f"{CLASS}/intel-rapl:2"
    assert machine.sysfs.read(f"{psys}/name") == b"psys\n"
    assert machine.sysfs.read(f"{psys}/constraint_1_name") == b"short_term\n"
    # Bit 63 locks it, and nobody looks.
    assert machine.sysfs.write(f"{psys}/constraint_0_power_limit_uw", b"1000000") == 7
    assert machine.sysfs.read(f"{psys}/constraint_0_power_limit_uw") == b"1000000\n"
    machine.cpu(1).offline()
    assert top_names(machine) == ["package-0", "psys"]
    machine.driver.unbind()
    assert machine.sysfs.listdir(CLASS) == []
    machine.driver.bind()
    assert top_names(machine) == ["package-0", "psys"]
    machine.reset()
    assert top_names(machine) == ["package-0", "package-1", "psys"]
    machine.driver.unload()
    assert machine.sysfs.listdir(CLASS) == []


@pytest.mark.parametrize("kernel", SPLIT)
def test_what_is_read_once_of_a_new_package_follows_the_drivers_table(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("skylake-sp", kernel)
    machine.driver.unload()
    machine.driver.load()
    reads = [access for access in machine.msr.log if access.op == "r"]
    # PL1's window of psys's layout, a bit field that no other layout has.
    psys_windows = [access for access in reads if access.mask == 0x7F << 19]
    assert len(psys_windows) == (2 if kernel in ("6.1", "6.12") else 0)
    # PL1's limit of psys's layout is 17 bits wide.
    assert len([access for access in reads if access.mask == 0x1FFFF]) == (0 if kernel == "5.5" else 2)
    # dram has one limit: every other slot of the table asks for its energy, once in 5.5 and twice in 6.1.
    energies = [access for access in reads if access.register == 0x619 and access.mask == 0xFFFFFFFF]
    assert len(energies) == {"5.5": 2, "6.1": 4, "6.12": 2, "7.2": 2}[kernel]


@pytest.mark.parametrize("kernel", SPLIT)
def test_only_6_1_clears_a_limit_that_is_not_there_when_it_goes(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("skylake-sp", kernel)
    machine.driver.unload()
    assert (0 in [access.register for access in machine.msr.log]) is (kernel == "6.1")


@pytest.mark.pitfall("window-31-overflows")
@pytest.mark.parametrize("kernel", KERNELS)
def test_the_longest_window_reads_right_only_since_7_1(make_machine: MakeMachine, kernel: str) -> None:
    machine = old_and_new(make_machine, kernel, registers={0x610: 0x1F << 17})
    window = int(machine.sysfs.read(f"{PACKAGE}/constraint_0_time_window_us"))
    wrong = {"3.13": (2**64 - 2**31) * 4 * 10**6 % 2**64 // 4 // 1024}.get(kernel, 4611683922483347456)
    assert window == (2**31 * 976 if kernel == "7.2" else wrong)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_window_of_0_was_the_longest_before_6_1(make_machine: MakeMachine, kernel: str) -> None:
    machine = old_and_new(make_machine, kernel)
    for window in (b"0", b"975"):
        assert machine.sysfs.write(f"{PACKAGE}/constraint_0_time_window_us", window) == len(window)
        assert machine.msr.read(0, 0x610) >> 17 & 0x7F == (0x1F if kernel in ("3.13", "5.5") else 0)


@pytest.mark.parametrize("kernel", SPLIT)
def test_a_window_too_long_wraps_before_6_5(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("kabylake", kernel)
    machine.sysfs.write(f"{PACKAGE}/constraint_0_time_window_us", b"%d" % (2**64 - 1))
    code = machine.msr.read(0, 0x610) >> 17 & 0x7F
    assert (code == 0x7F) is (kernel in ("6.12", "7.2"))


@pytest.mark.pitfall("die-in-package-name")
@pytest.mark.parametrize("kernel", SPLIT)
def test_dies_are_counted_through_the_machine_on_newer_kernels(kernel: str) -> None:
    names = top_names(Machine.from_profile("cascadelake-ap-2s", kernel=kernel))
    second = [0, 1] if kernel in ("5.5", "6.1") else [2, 3]
    assert names == ["package-0-die-0", "package-0-die-1", *(f"package-1-die-{die}" for die in second)]


# Interfaces beside the MSRs.

MMIO = """
[mmio]
0x5938 = 0xA0E03
0x59A0 = 0x00DD8078
0x593C = 0x1234
0x5930 = 0
0x58F0 = 0
0x59B0 = 0x100
0x58E0 = 0
0x58E8 = 0x77
0x58EC = 0
"""


@pytest.mark.parametrize("kernel", KERNELS)
def test_memory_mapped_rapl_came_with_5_3_and_needs_no_listed_processor_since_7_1(
    make_machine: MakeMachine, kernel: str
) -> None:
    listed = make_machine("kabylake", kernel, cpu="GenuineIntel:6:0x2A", more=MMIO + LOAD)
    unlisted = make_machine("kabylake", kernel, cpu="GenuineIntel:6:0xFF", more=MMIO)
    assert ("intel-rapl-mmio" in listed.sysfs.listdir(CLASS)) is (kernel != "3.13")
    assert unlisted.sysfs.listdir(CLASS) == [] or kernel == "7.2"
    assert ("intel-rapl-mmio" in unlisted.sysfs.listdir(CLASS)) is (kernel == "7.2")


@pytest.mark.parametrize("kernel", SPLIT)
def test_memory_mapped_dram_has_the_processors_unit_until_7_0(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("skylake-sp", kernel, more=MMIO)
    own = kernel == "7.2"
    dram = f"{CLASS}/intel-rapl-mmio:0:0"
    assert machine.sysfs.read(f"{dram}/name") == b"dram\n"
    assert machine.sysfs.read(f"{dram}/max_energy_range_uj") == (b"262143328850\n" if own else b"65712999613\n")
    assert machine.sysfs.read(f"{PACKAGE}:0/max_energy_range_uj") == b"65712999613\n"
    machine.driver.detach_mmio()
    machine.driver.attach_mmio()
    wide = [access for access in machine.msr.log if access.mask == 0x1FFFF]
    assert bool(wide) is (kernel in ("6.1", "6.12"))


@pytest.mark.parametrize("kernel", KERNELS)
def test_tpmi_has_a_driver_since_6_5(make_machine: MakeMachine, kernel: str) -> None:
    machine = old_and_new(make_machine, kernel)
    # The MSR interface has the control type already.
    assert errno_of(lambda: machine.driver.attach_tpmi(0)) == (EEXIST if kernel in ("6.12", "7.2") else ENOENT)
