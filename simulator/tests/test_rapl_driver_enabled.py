# SPDX-License-Identifier: Apache-2.0
"""The switch of a zone: the accesses that it makes, the hooks behind it, and what hardware may refuse."""

from collections.abc import Callable
from errno import EINVAL, EIO, ENOSYS

import pytest

from raplica_simulator import Machine

MakeMachine = Callable[..., Machine]
KERNELS = ("6.1", "6.12")
PACKAGE, CORE, PSYS = (f"class/powercap/intel-rapl:{zone}" for zone in ("0", "0:0", "1"))

pytestmark = pytest.mark.parametrize("kernel", KERNELS)


def errno_of(call: Callable[..., object], *arguments: object) -> int | None:
    """The errno that a call fails with, 0 where it does not."""
    try:
        call(*arguments)
    except OSError as error:
        return error.errno
    return 0


def steps(machine: Machine) -> list[str]:
    """The accesses of the last step: what, which register, which bit."""
    return [f"{access.op} {access.register:#x} {access.mask.bit_length() - 1}" for access in machine.msr.log]


@pytest.mark.pitfall("enabled-sets-clamps-too")
@pytest.mark.parametrize(("text", "raw"), [(b"1", 0x1_8000_0001_8000), (b"0", 0)])
def test_a_package_has_its_limits_and_clamps_switched_bit_by_bit(
    make_machine: MakeMachine, kernel: str, text: bytes, raw: int
) -> None:
    machine = make_machine("alderlake", kernel, registers={0x610: 0x8000 - raw % 0x10000})
    machine.sysfs.write(f"{PACKAGE}/enabled", text)
    back = ["r 0x610 15"] if kernel == "6.12" else []
    assert steps(machine) == ["w 0x610 15", *back, "w 0x610 16", "w 0x610 47", "w 0x610 48"]
    assert machine.msr.read(0, 0x610) == raw


@pytest.mark.pitfall("enabled-sets-clamps-too")
def test_a_domain_of_one_limit_has_two_bits_switched(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("kabylake", kernel)
    machine.sysfs.write(f"{CORE}/enabled", b"on")
    assert machine.msr.read(0, 0x638) == 0x18000
    assert machine.sysfs.read(f"{CORE}/enabled") == b"1\n"
    assert machine.sysfs.write(f"{CORE}/enabled", b"off\n") == 4
    assert machine.msr.read(0, 0x638) == 0


def test_where_hardware_keeps_the_bit_the_write_succeeds_and_6_12_goes_no_further(
    make_machine: MakeMachine, kernel: str
) -> None:
    machine = make_machine("kabylake", kernel, registers={0x610: 0})
    machine.msr.write_mask(0, 0x610, 2**64 - 1 - 0x8000)
    assert machine.sysfs.write(f"{PACKAGE}/enabled", b"1") == 1
    assert machine.sysfs.read(f"{PACKAGE}/enabled") == b"0\n"
    assert machine.msr.read(0, 0x610) == {"6.1": 0x1_8000_0001_0000, "6.12": 0}[kernel]


@pytest.mark.pitfall("write-faults-before-6-5")
def test_a_fault_is_success_on_6_1_and_enosys_on_6_12(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("kabylake", kernel)
    wanted = {"6.1": 0, "6.12": ENOSYS}[kernel]
    machine.msr.inject(0, 0x610, "write", EIO)
    assert errno_of(machine.sysfs.write, f"{PACKAGE}/enabled", b"0") == wanted
    machine.msr.inject(0, 0x610, "both", EIO)
    assert errno_of(machine.sysfs.write, f"{PACKAGE}/enabled", b"0") == wanted
    assert errno_of(machine.sysfs.write, f"{PACKAGE}/enabled", b"x") == EINVAL


@pytest.mark.pitfall("amd-has-no-constraints")
def test_switching_amd_writes_register_0_on_6_1_and_is_enosys_on_6_12(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("zen3", kernel)
    errno = errno_of(machine.sysfs.write, f"{PACKAGE}/enabled", b"1")
    assert errno == {"6.1": 0, "6.12": ENOSYS}[kernel]
    assert [str(access) for access in machine.msr.log] == {
        "6.1": ["w die0 cpu0 0x0 mask=0x8000 val=0x8000 reg=0x0 err=-5"],
        "6.12": [],
    }[kernel]
    machine.driver.unload()
    # Teardown asks for nothing either: PL1's enable and clamp of both zones.
    assert steps(machine) == {"6.1": ["w 0x0 15", "w 0x0 16"] * 2, "6.12": []}[kernel]


def test_a_zone_without_its_first_limit_is_off_and_is_told_apart_by_kernel(
    make_machine: MakeMachine, kernel: str
) -> None:
    machine = make_machine("kabylake", kernel, registers={0x638: None})
    assert machine.sysfs.read(f"{CORE}/enabled") == b"0\n"
    errno = errno_of(machine.sysfs.write, f"{CORE}/enabled", b"1")
    assert errno == {"6.1": 0, "6.12": ENOSYS}[kernel]
    assert steps(machine) == {"6.1": ["w 0x638 15", "w 0x638 16"], "6.12": []}[kernel]


@pytest.mark.pitfall("spr-psys-clamp-is-a-limit-bit")
def test_switching_a_sapphire_rapids_platform_changes_the_top_bits_of_its_limits(
    make_machine: MakeMachine, kernel: str
) -> None:
    machine = make_machine("sapphirerapids", kernel, registers={0x65C: 8 | 16 << 32})
    machine.sysfs.write(f"{PSYS}/enabled", b"1")
    back = ["r 0x65c 17"] if kernel == "6.12" else []
    assert steps(machine) == ["w 0x65c 17", *back, "w 0x65c 16", "w 0x65c 49", "w 0x65c 48"]
    limits = [int(machine.sysfs.read(f"{PSYS}/constraint_{number}_power_limit_uw")) for number in (0, 1)]
    assert limits == [(65536 + 8) * 125_000, (65536 + 16) * 125_000]
    # So does unloading.
    machine.driver.unload()
    assert machine.msr.read(0, 0x65C) == 8 | 16 << 32


def test_unloading_clears_the_peak_power_field_on_6_1_alone(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("alderlake", kernel, registers={0x601: 0x8000F3F0})
    machine.driver.unload()
    assert machine.msr.read(0, 0x601) == {"6.1": 0x8000E000, "6.12": 0x8000F3F0}[kernel]


def test_unloading_a_package_of_two_limits_writes_register_0_on_6_1(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("skylake-sp", kernel)
    machine.driver.unload()
    package = ["w 0x610 15", "w 0x610 16", "w 0x610 47", "w 0x610 48"]
    peak = ["w 0x0 12"] if kernel == "6.1" else []
    assert steps(machine) == [*package, *peak, "w 0x618 15", "w 0x618 16"]


# The hook of Bay Trail and Merrifield.


@pytest.mark.parametrize(("model", "register"), [(0x37, 0x2), (0x4A, 0xDF)])
def test_switching_bay_trail_asks_the_power_unit_for_the_lowest_frequency(
    make_machine: MakeMachine, kernel: str, model: int, register: int
) -> None:
    machine = make_machine("baytrail", kernel, cpu=f"GenuineIntel:6:{model}")
    words = machine.driver.mailbox.registers
    words[register] = 0xABCD_4567
    before = machine.msr.read(0, 0x610)
    machine.sysfs.write(f"{PACKAGE}/enabled", b"1")
    assert words[register] == 0xABCD_0167
    # No clamp, no second limit.
    assert machine.msr.read(0, 0x610) == before | 0x8000
    words[register] = 0x1234
    machine.driver.unbind()
    machine.driver.bind()
    # The word found at first lives with the common module, and comes back whatever is there now.
    machine.sysfs.write(f"{PACKAGE}/enabled", b"0")
    assert words[register] == 0xABCD_4567
    words[register] = 0x1234
    machine.driver.unload()
    machine.driver.load()
    machine.sysfs.write(f"{PACKAGE}/enabled", b"0")
    assert words[register] == 0x1234


@pytest.mark.parametrize("model", [0x4C, 0x5A])
def test_cherry_trail_and_moorefield_have_no_hook(make_machine: MakeMachine, kernel: str, model: int) -> None:
    machine = make_machine("baytrail", kernel, cpu=f"GenuineIntel:6:{model}", registers={0x610: 0})
    machine.sysfs.write(f"{PACKAGE}/enabled", b"1")
    assert (machine.msr.read(0, 0x610), machine.driver.mailbox.registers) == (0x8000, {})


# The power limit notification interrupt.


@pytest.mark.parametrize("found", [0x1000003, 0x3])
def test_the_first_limit_written_switches_the_notification_off_until_the_package_goes(
    make_machine: MakeMachine, kernel: str, found: int
) -> None:
    machine = make_machine("skylake-sp", kernel, registers={0x1B2: found}, flags=("pts", "pln"))
    machine.sysfs.write(f"{PACKAGE}/constraint_0_time_window_us", b"1000000")
    machine.sysfs.write(f"{PACKAGE}/enabled", b"0")
    assert machine.msr.read(0, 0x1B2) == found
    machine.sysfs.write(f"{CORE}/constraint_0_power_limit_uw", b"1000000")
    assert machine.msr.read(0, 0x1B2) == 0x3
    machine.msr.poke(0, 0x1B2, 0x1000013)
    machine.sysfs.write(f"{PACKAGE}/constraint_1_power_limit_uw", b"1000000")
    assert machine.msr.read(0, 0x1B2) == 0x13
    machine.driver.unload()
    assert machine.msr.read(0, 0x1B2) == 0x13 | found & 0x1000000


@pytest.mark.parametrize("flags", [(), ("pts",), ("pln",)])
def test_without_both_processor_flags_the_notification_is_left_alone(
    make_machine: MakeMachine, kernel: str, flags: tuple[str, ...]
) -> None:
    machine = make_machine("skylake-sp", kernel, registers={0x1B2: 0x1000003}, flags=flags)
    machine.sysfs.write(f"{PACKAGE}/constraint_0_power_limit_uw", b"1000000")
    machine.driver.unload()
    assert machine.msr.read(0, 0x1B2) == 0x1000003


def test_a_refused_limit_does_not_touch_the_notification(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("skylake-sp", kernel, registers={0x1B2: 0x1000003, 0x610: 1 << 63}, flags=("pts", "pln"))
    assert errno_of(machine.sysfs.write, f"{PACKAGE}/constraint_0_power_limit_uw", b"1") != 0
    assert machine.msr.read(0, 0x1B2) == 0x1000003


def test_a_machine_without_the_interrupt_register_takes_limits_all_the_same(
    make_machine: MakeMachine, kernel: str
) -> None:
    machine = make_machine("skylake-sp", kernel, flags=("pts", "pln"))
    assert machine.sysfs.write(f"{PACKAGE}/constraint_0_power_limit_uw", b"1000000") == 7
    machine.driver.unload()
    assert errno_of(machine.msr.read, 0, 0x1B2) == EIO
