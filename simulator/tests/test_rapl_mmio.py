# SPDX-License-Identifier: Apache-2.0
"""The MMIO interface: a second control type with limits of its own over the same energy."""

from collections.abc import Callable, Mapping
from errno import EBUSY, EEXIST, EINVAL, ENODATA, ENODEV, ENOENT, ENOSYS

import pytest

from raplica_simulator import KernelCrash, Machine

MakeMachine = Callable[..., Machine]
CLASS = "class/powercap"
MSR = "class/powercap/intel-rapl:0"
MMIO = "class/powercap/intel-rapl-mmio:0"
KERNELS = ("6.1", "6.12")
# 100 W and 100 W of limits, a dram that counts, PL4 160 W.
WORDS: Mapping[int, int] = {
    0x58E0: 0,
    0x58E8: 0x00ABCDEF,
    0x58EC: 0,
    0x58F0: 0,
    0x5930: 0x3E8,
    0x5938: 0xA0E03,
    0x593C: 0x10000000,
    0x59A0: 0x00428320001B8320,
    0x59B0: 0x500,
}

pytestmark = pytest.mark.parametrize("kernel", KERNELS)


def table(words: Mapping[int, int | None] | None = None) -> str:
    merged = {**WORDS, **(words or {})}
    return "\n".join(["[mmio]", *(f'{offset:#x} = "{raw:#x}"' for offset, raw in merged.items() if raw is not None)])


def make(
    make_machine: MakeMachine, kernel: str, words: Mapping[int, int | None] | None = None, **how: object
) -> Machine:
    load = how.pop("load", "")
    return make_machine("alderlake", kernel, more=f"{table(words)}\n{load}", **how)


def names(machine: Machine) -> dict[str, str]:
    zones = (zone for zone in machine.sysfs.listdir(CLASS) if zone.startswith("intel-rapl-mmio:"))
    return {zone: machine.sysfs.read(f"{CLASS}/{zone}/name").decode().rstrip("\n") for zone in sorted(zones)}


def show(machine: Machine, path: str) -> int | None:
    """The number in an attribute; minus the errno where it cannot be read."""
    try:
        return int(machine.sysfs.read(path))
    except OSError as error:
        return -(error.errno or 0)


def errno_of(call: Callable[..., object], *arguments: object) -> int | None:
    try:
        call(*arguments)
    except OSError as error:
        return error.errno
    return 0


def test_package_0_and_its_dram_are_there_beside_the_msr_tree(make_machine: MakeMachine, kernel: str) -> None:
    machine = make(make_machine, kernel)
    assert {access.space for access in machine.msr.log} == {"msr", "mmio"}
    assert names(machine) == {"intel-rapl-mmio:0": "package-0", "intel-rapl-mmio:0:0": "dram"}
    assert machine.driver.interfaces == ("msr", "mmio")
    assert machine.sysfs.read(f"{CLASS}/intel-rapl-mmio/enabled") == b"1\n"
    assert machine.mmio.log is machine.msr.log


@pytest.mark.pitfall("mmio-dram-has-two-constraints")
def test_peak_power_is_there_since_6_12_and_the_dram_has_two_limits_and_no_largest_power(
    make_machine: MakeMachine, kernel: str
) -> None:
    machine = make(make_machine, kernel)
    last = {"6.1": "short_term", "6.12": "peak_power"}[kernel]
    numbers = [name for name in machine.sysfs.listdir(MMIO) if name.endswith("_name")]
    assert machine.sysfs.read(f"{MMIO}/constraint_{len(numbers) - 1}_name").decode() == f"{last}\n"
    assert len([name for name in machine.sysfs.listdir(f"{MMIO}:0") if name.endswith("_name")]) == 2
    assert (
        show(machine, f"{MMIO}/constraint_0_max_power_uw"),
        show(machine, f"{MMIO}:0/constraint_0_max_power_uw"),
    ) == (
        125_000_000,
        -ENODATA,
    )


@pytest.mark.pitfall("msr-and-mmio-limits-are-apart")
@pytest.mark.pitfall("mmio-has-its-own-limits")
def test_a_limit_written_in_one_never_shows_in_the_other(make_machine: MakeMachine, kernel: str) -> None:
    machine = make(make_machine, kernel)
    machine.sysfs.write(f"{MMIO}/constraint_0_power_limit_uw", b"50000000")
    machine.sysfs.write(f"{MSR}/constraint_1_power_limit_uw", b"77000000")
    shown = [show(machine, f"{zone}/constraint_{number}_power_limit_uw") for zone in (MSR, MMIO) for number in (0, 1)]
    assert shown == [125_000_000, 77_000_000, 50_000_000, 100_000_000]
    assert machine.mmio.read(0x59A0) & 0x7FFF == 400
    machine.mmio.write(0x59A0, machine.mmio.read(0x59A0) + 8)
    assert show(machine, f"{MMIO}/constraint_0_power_limit_uw") == 51_000_000


def test_both_count_the_same_joules_from_their_own_starting_values(make_machine: MakeMachine, kernel: str) -> None:
    load = "[load]\npackage = 40.0\ndram = 3.0"
    machine = make(make_machine, kernel, load=load)
    before = [machine.msr.read(0, 0x611), machine.mmio.read(0x593C), machine.mmio.read(0x58E8)]
    machine.clock.advance(seconds=10)
    after = [machine.msr.read(0, 0x611), machine.mmio.read(0x593C), machine.mmio.read(0x58E8)]
    counted = [new - old for new, old in zip(after, before, strict=True)]
    assert counted == [400 << 14, 400 << 14, 30 << 14]
    assert show(machine, f"{MMIO}/energy_uj") == after[1] * 61035 // 1000


def test_an_mmio_counter_in_another_unit_and_over_two_dies_counts_their_joules(
    make_machine: MakeMachine, kernel: str
) -> None:
    machine = make(make_machine, kernel, {0x5938: 0xA1003}, load="[load]\npackage = 41.0", topology=(1, 2, 2, 1))
    before = machine.mmio.read(0x593C)
    machine.clock.advance(nanoseconds=3_000_000_001)
    assert machine.mmio.read(0x593C) - before == 123 << 16
    machine.load.set(package=1)
    assert machine.mmio.read(0x593C) - before == 123 << 16
    assert machine.counter_units("intel-rapl-mmio")["package"].denominator == 1 << 16


def test_the_lower_of_two_enabled_limits_binds(make_machine: MakeMachine, kernel: str) -> None:
    # No time window: a limit of 20 W holds at once, as does the other's 15 W once it is enabled.
    limits = {0x610: 0x80A0, 0x601: 0}
    words = {0x59A0: 0x0078, 0x59B0: 0}
    machine = make(make_machine, kernel, words, registers=limits, load="[load]\npackage = 60.0")
    machine.clock.advance(seconds=1)
    start_uj = machine.truth_uj("package-0")
    machine.clock.advance(seconds=1)
    assert machine.truth_uj("package-0") - start_uj == 20_000_000
    machine.mmio.write(0x59A0, 0x8078)
    machine.clock.advance(seconds=1)
    start_uj = machine.truth_uj("package-0")
    machine.clock.advance(seconds=1)
    assert machine.truth_uj("package-0") - start_uj == 15_000_000


def test_a_locked_limit_is_refused_and_shows_disabled(make_machine: MakeMachine, kernel: str) -> None:
    machine = make(make_machine, kernel, {0x59A0: 0x00428320001B8320 | 1 << 63})
    assert machine.sysfs.read(f"{MMIO}/enabled") == b"0\n"
    assert errno_of(machine.sysfs.write, f"{MMIO}/constraint_0_power_limit_uw", b"1000000") == ENODATA
    assert errno_of(machine.sysfs.write, f"{MMIO}/enabled", b"0") == ENOSYS
    # The lock that 6.1 tests is a bit of both interfaces' table: it stays at 63 for the MSRs that are bound later.
    machine.msr.poke(0, 0x638, 1 << 63)
    machine.driver.unbind()
    machine.driver.bind()
    refused = errno_of(machine.sysfs.write, f"{MSR}:0/constraint_0_power_limit_uw", b"0")
    assert refused == {"6.1": ENODATA, "6.12": 0}[kernel]


def test_without_a_package_counter_there_is_no_mmio_tree_and_the_msr_tree_stays(
    make_machine: MakeMachine, kernel: str
) -> None:
    machine = make(make_machine, kernel, {0x593C: 0})
    assert (names(machine), machine.driver.interfaces) == ({}, ("msr",))
    assert "intel-rapl-mmio" not in machine.sysfs.listdir(CLASS)
    assert errno_of(machine.driver.attach_mmio) == ENODEV
    machine.mmio.poke(0x593C, 1)
    machine.driver.load()
    assert names(machine)["intel-rapl-mmio:0"] == "package-0"


def test_a_control_type_that_is_taken_is_eexist_and_one_that_is_there_stays(
    make_machine: MakeMachine, kernel: str
) -> None:
    machine = make(make_machine, kernel)
    assert errno_of(machine.driver.attach_mmio) == EBUSY
    machine.driver.detach_mmio()
    machine.driver.detach_mmio()
    assert (names(machine), machine.driver.interfaces) == ({}, ("msr",))
    taken = machine.powercap.register_control_type("intel-rapl-mmio")
    assert errno_of(machine.driver.attach_mmio) == EEXIST
    machine.powercap.unregister_control_type(taken)
    machine.driver.attach_mmio()
    assert names(machine)["intel-rapl-mmio:0"] == "package-0"
    machine.driver.unload()
    assert errno_of(machine.driver.attach_mmio) == ENOENT


def test_unloading_switches_both_off_and_loading_finds_both(make_machine: MakeMachine, kernel: str) -> None:
    machine = make(make_machine, kernel)
    machine.driver.unload()
    assert machine.sysfs.listdir(CLASS) == []
    assert (machine.msr.read(0, 0x610) & 0x18000, machine.mmio.read(0x59A0) & 0x18000) == (0, 0)
    # The older driver clears PL4's limit as well, where its interface has one.
    assert machine.mmio.read(0x59B0) == 0x500
    machine.driver.load()
    assert (show(machine, f"{MSR}/enabled"), show(machine, f"{MMIO}/enabled")) == (0, 0)


def test_sleeping_writes_the_limits_of_the_newest_package_back_first(make_machine: MakeMachine, kernel: str) -> None:
    machine = make(make_machine, kernel)
    machine.suspend()
    machine.mmio.poke(0x59A0, 0x001B8010)
    machine.resume()
    assert machine.mmio.read(0x59A0) == 0x00000320001B8320
    written = [access.register for access in machine.msr.log if access.op == "w"]
    peak = [0x59B0] if kernel == "6.12" else []
    assert written == [0x59A0, 0x59A0, *peak, 0x610, 0x610, 0x601]


def test_its_package_follows_the_processors_before_6_12_and_stays_since(make_machine: MakeMachine, kernel: str) -> None:
    machine = make(make_machine, kernel, topology=(2, 1, 2, 1))
    machine.sysfs.read(f"{MMIO}/energy_uj")
    assert machine.msr.log[0].cpu == 0
    machine.cpu(0).offline()
    machine.sysfs.read(f"{MMIO}/energy_uj")
    # 6.12 names the package, not a processor.
    assert machine.msr.log[0].cpu == {"6.1": 1, "6.12": 0}[kernel]
    machine.cpu(1).offline()
    assert bool(names(machine)) == (kernel == "6.12")
    machine.cpu(1).online()
    assert names(machine)["intel-rapl-mmio:0"] == "package-0"
    # The other package has no such interface and takes nothing along.
    machine.cpu(2).offline()
    machine.cpu(3).offline()
    assert len(names(machine)) == 2


def test_a_package_that_fails_in_one_interface_keeps_its_processor_down_and_leaves_the_other_alone(
    make_machine: MakeMachine, kernel: str
) -> None:
    machine = make(make_machine, kernel, topology=(2, 1, 1, 1))
    machine.cpu(0).offline()
    machine.mmio.poke(0x593C, 0)
    assert errno_of(machine.cpu(0).online) == {"6.1": ENODEV, "6.12": 0}[kernel]
    msr = [zone for zone in machine.sysfs.listdir(CLASS) if zone.startswith("intel-rapl:")]
    # 6.1 had registered package 0's MSR zones, and takes them away again.
    assert ("intel-rapl:0" in msr) == (kernel == "6.12")
    assert machine.cpu(0).is_online == (kernel == "6.12")


def test_a_reset_makes_it_as_it_was(make_machine: MakeMachine, kernel: str) -> None:
    machine = make(make_machine, kernel, load="[load]\npackage = 40.0")
    machine.sysfs.write(f"{MMIO}/constraint_0_power_limit_uw", b"5000000")
    machine.clock.advance(seconds=5)
    machine.reset()
    assert (machine.mmio.read(0x593C), machine.mmio.read(0x59A0)) == (WORDS[0x593C], WORDS[0x59A0])
    assert show(machine, f"{MMIO}/constraint_0_power_limit_uw") == 100_000_000


def test_without_units_6_12_crashes_where_a_limit_or_a_window_is_written(
    make_machine: MakeMachine, kernel: str
) -> None:
    machine = make(make_machine, kernel, {0x5938: None})
    if kernel == "6.1":
        assert names(machine) == {}
        return
    assert show(machine, f"{MMIO}/energy_uj") == 0
    for name, where in (("power_limit_uw", "rapl_unit_xlate"), ("time_window_us", "rapl_compute_time_window_core")):
        with pytest.raises(KernelCrash, match=f"divide error in {where}"):
            machine.sysfs.write(f"{MMIO}/constraint_0_{name}", b"0")


def test_on_silicon_a_missing_word_reads_0_so_that_units_are_whole_joules(
    make_machine: MakeMachine, kernel: str
) -> None:
    machine = make(make_machine, kernel, {0x5938: None, 0x58E0: None}, rules="silicon", registers={0x606: 0xA0E03})
    assert show(machine, f"{MMIO}/max_energy_range_uj") == 4_294_967_295_000_000
    machine.sysfs.write(f"{MMIO}:0/constraint_0_power_limit_uw", b"5000000")
    assert show(machine, f"{MMIO}:0/constraint_0_power_limit_uw") == 0


def test_a_fault_of_a_word_reaches_user_space_as_any_register_fault(make_machine: MakeMachine, kernel: str) -> None:
    machine = make(make_machine, kernel)
    machine.mmio.inject(0x593C)
    machine.mmio.inject(0x59A0, "both")
    assert (show(machine, f"{MMIO}/energy_uj"), show(machine, f"{MMIO}/constraint_0_power_limit_uw")) == (
        -EINVAL,
        -ENODATA,
    )
    assert show(machine, f"{MMIO}/enabled") == 0
    refused = errno_of(machine.sysfs.write, f"{MMIO}/constraint_0_power_limit_uw", b"1000000")
    assert refused == {"6.1": 0, "6.12": ENODATA}[kernel]


def test_the_notification_of_the_package_is_an_msr_and_needs_a_processor_that_leads(
    make_machine: MakeMachine, kernel: str
) -> None:
    machine = make(make_machine, kernel, registers={0x1B2: 0x1000003}, flags=("pts", "pln"))
    machine.sysfs.write(f"{MMIO}/constraint_0_power_limit_uw", b"5000000")
    touched = [(access.space, access.register) for access in machine.msr.log]
    asked = [("msr", 0x1B2), ("msr", 0x1B2)] if kernel == "6.1" else []
    assert touched == [("mmio", 0x59A0), *asked]
    assert machine.msr.read(0, 0x1B2) == (0x0000003 if kernel == "6.1" else 0x1000003)


def test_on_an_unknown_processor_the_control_type_comes_and_goes_since_6_12(
    make_machine: MakeMachine, kernel: str
) -> None:
    machine = make(make_machine, kernel, cpu="GenuineIntel:6:0x4D")
    assert machine.sysfs.listdir(CLASS) == []
    actions = [words[0] for words in machine.uevents]
    assert actions == {"6.1": [], "6.12": ["ACTION=add", "ACTION=remove"]}[kernel]
