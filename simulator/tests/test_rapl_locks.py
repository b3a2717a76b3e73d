# SPDX-License-Identifier: Apache-2.0
"""Limits that the BIOS has locked: what is looked at when the driver loads, and what is refused afterwards."""

from collections.abc import Callable
from errno import ENODATA, ENOSYS

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator import Machine

MakeMachine = Callable[..., Machine]
KERNELS = ("6.1", "6.12")
PACKAGE, CORE, UNCORE, DRAM, PSYS = (f"class/powercap/intel-rapl:{zone}" for zone in ("0", "0:0", "0:1", "0:2", "1"))
LOCK_63, LOCK_31 = 1 << 63, 1 << 31
ENABLED = 1 << 15
LIMIT_REGISTERS = {PACKAGE: 0x610, CORE: 0x638, UNCORE: 0x640, DRAM: 0x618, PSYS: 0x65C}


def errno_of(call: Callable[..., object], *arguments: object) -> int | None:
    """The errno that a call fails with, 0 where it does not."""
    try:
        call(*arguments)
    except OSError as error:
        return error.errno
    return 0


def write(machine: Machine, path: str, text: bytes = b"1000000") -> int | None:
    return errno_of(machine.sysfs.write, path, text)


def is_locked(machine: Machine, zone: str) -> bool:
    """Whether the driver takes the zone's first limit for locked: the limit, the switch, and what it shows agree."""
    limit = write(machine, f"{zone}/constraint_0_power_limit_uw")
    switch = write(machine, f"{zone}/enabled", b"1")
    assert (limit, switch) in ((0, 0), (ENODATA, ENOSYS))
    return limit != 0


@pytest.mark.pitfall("lock-drops-writes")
@pytest.mark.pitfall("locked-zone-reads-disabled")
@pytest.mark.parametrize("rules", ["silicon", "table"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_locked_package_can_be_read_and_refuses_to_be_limited_or_switched(
    make_machine: MakeMachine, kernel: str, rules: str
) -> None:
    raw = 0x804280C800DD80C8  # as read on a Haswell laptop: 25 W, enabled, locked
    machine = make_machine("kabylake", kernel, registers={0x610: raw}, rules=rules)
    assert machine.sysfs.read(f"{PACKAGE}/constraint_0_power_limit_uw") == b"25000000\n"
    assert machine.sysfs.read(f"{PACKAGE}/constraint_0_time_window_us") == b"27983872\n"
    assert machine.sysfs.read(f"{PACKAGE}/constraint_1_name") == b"short_term\n"
    # Enabled it is, but the driver does not say so.
    assert machine.sysfs.read(f"{PACKAGE}/enabled") == b"0\n"
    assert machine.msr.log == []
    for number in (0, 1):
        assert write(machine, f"{PACKAGE}/constraint_{number}_power_limit_uw") == ENODATA
    assert write(machine, f"{PACKAGE}/enabled", b"1") == ENOSYS
    assert machine.msr.log == []
    assert machine.msr.read(0, 0x610) == raw


@pytest.mark.pitfall("lock-drops-writes")
@pytest.mark.parametrize("rules", ["silicon", "table"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_locked_window_is_written_all_the_same_by_6_1(make_machine: MakeMachine, kernel: str, rules: str) -> None:
    machine = make_machine("kabylake", kernel, registers={0x610: LOCK_63 | 0x83E8}, rules=rules)
    errno = write(machine, f"{PACKAGE}/constraint_0_time_window_us", b"1000000")
    assert errno == {"6.1": 0, "6.12": ENODATA}[kernel]
    # Only a table stores what a processor would drop.
    stored = kernel == "6.1" and rules == "table"
    assert machine.sysfs.read(f"{PACKAGE}/constraint_0_time_window_us") == (b"999424\n" if stored else b"976\n")


@pytest.mark.pitfall("lock-bit-31-or-63")
@given(
    raws=st.fixed_dictionaries(
        {zone: st.sampled_from([0, LOCK_31, LOCK_63, LOCK_31 | LOCK_63]) for zone in LIMIT_REGISTERS}
    )
)
def test_from_6_5_on_a_domain_of_two_limits_is_locked_at_63_and_one_of_one_at_31(
    make_machine: MakeMachine, raws: dict[str, int]
) -> None:
    registers = {LIMIT_REGISTERS[zone]: raw for zone, raw in raws.items()}
    machine = make_machine("kabylake", "6.12", registers=registers)
    for zone, raw in raws.items():
        assert is_locked(machine, zone) == bool(raw & (LOCK_63 if zone in (PACKAGE, PSYS) else LOCK_31))


@pytest.mark.pitfall("lock-bit-31-or-63")
@given(
    raws=st.fixed_dictionaries({zone: st.sampled_from([0, LOCK_31, LOCK_63]) for zone in LIMIT_REGISTERS}),
    rebinds=st.integers(0, 2),
)
def test_before_6_5_the_package_turns_the_lock_of_all_domains_to_63(
    make_machine: MakeMachine, raws: dict[str, int], rebinds: int
) -> None:
    registers = {LIMIT_REGISTERS[zone]: raw for zone, raw in raws.items()}
    machine = make_machine("kabylake", "6.1", registers=registers)
    for _ in range(rebinds):
        machine.driver.unbind()
        machine.driver.bind()
    for zone, raw in raws.items():
        assert is_locked(machine, zone) == bool(raw & LOCK_63)


@pytest.mark.parametrize("rebind", [False, True])
@pytest.mark.parametrize("lock", [LOCK_31, LOCK_63])
def test_on_6_1_a_package_of_three_limits_is_tested_at_31_until_psys_was_seen(
    make_machine: MakeMachine,
    lock: int,
    rebind: bool,  # noqa: FBT001 - from the table
) -> None:
    machine = make_machine("alderlake", "6.1", registers=dict.fromkeys(LIMIT_REGISTERS.values(), lock))
    if rebind:
        machine.driver.unbind()
        machine.driver.bind()
    first = {PACKAGE, CORE, UNCORE, DRAM}
    wanted = {zone: lock == (LOCK_31 if zone in first and not rebind else LOCK_63) for zone in LIMIT_REGISTERS}
    assert {zone: is_locked(machine, zone) for zone in LIMIT_REGISTERS} == wanted


def test_on_6_1_the_lock_bit_starts_afresh_with_the_common_module(make_machine: MakeMachine) -> None:
    machine = make_machine("alderlake", "6.1", registers={0x638: LOCK_31})
    machine.driver.unbind()
    machine.driver.bind()
    assert not is_locked(machine, CORE)
    machine.driver.unload()
    machine.driver.load()
    assert is_locked(machine, CORE)


def test_on_6_1_the_lock_bit_turns_even_when_the_read_of_the_lock_faults(make_machine: MakeMachine) -> None:
    machine = make_machine("kabylake", "6.1", registers={0x610: None, 0x638: LOCK_63 | ENABLED})
    assert is_locked(machine, CORE)
    untouched = make_machine("alderlake", "6.1", registers={0x64D: 0, 0x638: LOCK_63 | ENABLED})
    untouched.driver.unbind()
    untouched.driver.bind()
    assert not is_locked(untouched, CORE)


@pytest.mark.parametrize("kernel", KERNELS)
def test_peak_power_is_under_the_lock_of_the_package_on_6_1_and_free_on_6_12(
    make_machine: MakeMachine, kernel: str
) -> None:
    # Bit 31 is where 6.1 looks at a first load, 63 where 6.12 does; the lock of 0x601 itself nobody asks.
    machine = make_machine("alderlake", kernel, registers={0x610: LOCK_31 | LOCK_63, 0x601: LOCK_31 | 0x3F0})
    assert is_locked(machine, PACKAGE)
    errno = write(machine, f"{PACKAGE}/constraint_2_power_limit_uw")
    assert errno == {"6.1": ENODATA, "6.12": 0}[kernel]


def test_only_the_first_limits_lock_switches_the_zone_off_on_6_12(make_machine: MakeMachine) -> None:
    machine = make_machine("alderlake", "6.12", registers={0x610: 0x8000, 0x601: LOCK_31 | 0x3F0})
    assert machine.sysfs.read(f"{PACKAGE}/enabled") == b"1\n"
    assert write(machine, f"{PACKAGE}/enabled", b"0") == 0


@pytest.mark.pitfall("lock-set-after-load")
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_lock_set_after_load_lets_writes_succeed_and_change_nothing(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("kabylake", kernel, registers={0x610: 0x83E8}, rules="silicon")
    machine.msr.write(0, 0x610, LOCK_63 | 0x83E8)
    for name, text in (("constraint_0_power_limit_uw", b"1000000"), ("constraint_0_time_window_us", b"1000000")):
        before = machine.sysfs.read(f"{PACKAGE}/{name}")
        assert write(machine, f"{PACKAGE}/{name}", text) == 0
        assert machine.sysfs.read(f"{PACKAGE}/{name}") == before
    assert write(machine, f"{PACKAGE}/enabled", b"0") == 0
    assert machine.sysfs.read(f"{PACKAGE}/enabled") == b"1\n"
    # It is noticed when the driver is loaded again.
    machine.driver.unload()
    machine.driver.load()
    assert is_locked(machine, PACKAGE)
    assert machine.sysfs.read(f"{PACKAGE}/enabled") == b"0\n"


@pytest.mark.parametrize("kernel", KERNELS)
def test_teardown_leaves_locked_limits_alone_on_6_12_and_not_on_6_1(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine(
        "kabylake", kernel, registers={0x610: LOCK_63 | 0x1_8000_0001_8000, 0x638: LOCK_31 | 0x18000}
    )
    machine.driver.unload()
    assert machine.msr.read(0, 0x610) == LOCK_63 | {"6.1": 0, "6.12": 0x1_8000_0001_8000}[kernel]
    assert machine.msr.read(0, 0x638) == LOCK_31 | {"6.1": 0, "6.12": 0x18000}[kernel]
