# SPDX-License-Identifier: Apache-2.0
"""The two rule sets for writing a register, each against a model of a few lines: silicon and a recording's table."""

from collections.abc import Callable
from errno import EIO

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from raplica_simulator import Machine

MakeMachine = Callable[..., Machine]
U64 = st.integers(0, 2**64 - 1)
# Bits of MSR_PKG_POWER_LIMIT that no field covers: 31:24 and 62:56.
PACKAGE_LIMIT_RESERVED = 0x7F000000FF000000
LOCK_63 = 1 << 63
LOCK_31 = 1 << 31


def wrmsr(machine: Machine, register: int, value: int) -> int | None:
    """0, or the errno of the fault."""
    try:
        machine.msr.write(0, register, value)
    except OSError as error:
        return error.errno
    return 0


@pytest.fixture(scope="module")
def silicon(make_machine: MakeMachine) -> Machine:
    return make_machine("alderlake", rules="silicon", registers={0x61C: 0, 0x1B2: 0x3, 0x9999: 0})


def test_on_silicon_a_register_that_is_absent_faults_either_way(silicon: Machine) -> None:
    assert wrmsr(silicon, 0x65B, 0) == EIO
    with pytest.raises(OSError, match="rdmsr 0x65b on CPU 0") as fault:
        silicon.msr.read(0, 0x65B)
    assert fault.value.errno == EIO


@pytest.mark.pitfall("read-only-registers-fault")
@pytest.mark.parametrize("register", [0x606, 0x611, 0x613, 0x614, 0x619, 0x61B, 0x61C, 0x639, 0x641, 0x64D])
def test_on_silicon_a_read_only_register_faults_even_on_what_it_reads(silicon: Machine, register: int) -> None:
    before = silicon.msr.read(0, register)
    assert wrmsr(silicon, register, before) == EIO
    assert wrmsr(silicon, register, before ^ 1) == EIO
    assert silicon.msr.read(0, register) == before


@pytest.mark.parametrize("register", [0xC0010299, 0xC001029A, 0xC001029B])
def test_on_silicon_amd_has_only_registers_to_read(make_machine: MakeMachine, register: int) -> None:
    machine = make_machine("zen3", rules="silicon")
    assert wrmsr(machine, register, machine.msr.read(0, register)) == EIO


@pytest.mark.pitfall("lock-drops-writes")
@given(old=U64, value=U64)
@example(old=LOCK_63, value=LOCK_63)
@example(old=LOCK_63, value=0)
@example(old=0, value=LOCK_63)
@example(old=1 << 24, value=1 << 24 | 5)
def test_a_write_to_the_package_limit_faults_is_dropped_or_stands(silicon: Machine, old: int, value: int) -> None:
    silicon.msr.poke(0, 0x610, old)
    errno = wrmsr(silicon, 0x610, value)
    if (old ^ value) & PACKAGE_LIMIT_RESERVED:
        assert (errno, silicon.msr.read(0, 0x610)) == (EIO, old)
    elif old & LOCK_63:
        assert (errno, silicon.msr.read(0, 0x610)) == (0, old)
    else:
        assert (errno, silicon.msr.read(0, 0x610)) == (0, value)


@pytest.mark.pitfall("lock-bit-31-or-63")
@pytest.mark.parametrize(
    ("register", "lock"), [(0x610, LOCK_63), (0x65C, LOCK_63), (0x638, LOCK_31), (0x640, LOCK_31), (0x618, LOCK_31)]
)
def test_each_limit_register_has_its_own_lock_bit(silicon: Machine, register: int, lock: int) -> None:
    silicon.msr.poke(0, register, 0x8000)
    assert wrmsr(silicon, register, lock | 0x8001) == 0
    assert wrmsr(silicon, register, lock | 0x8002) == 0
    # Not even the lock itself can be taken back.
    assert wrmsr(silicon, register, 0) == 0
    assert silicon.msr.read(0, register) == lock | 0x8001


def test_the_peak_power_register_has_its_lock_at_31(silicon: Machine) -> None:
    silicon.msr.poke(0, 0x601, LOCK_31 | 0x10)
    assert wrmsr(silicon, 0x601, LOCK_31 | 0x20) == 0
    assert silicon.msr.read(0, 0x601) == LOCK_31 | 0x10


def test_the_dram_limit_of_an_ice_lake_server_has_its_lock_at_63_and_no_clamp(make_machine: MakeMachine) -> None:
    machine = make_machine("skylake-sp", cpu="GenuineIntel:6:0x6A", rules="silicon", registers={0x618: 0})
    assert wrmsr(machine, 0x618, 0x10000) == EIO
    assert wrmsr(machine, 0x618, LOCK_31) == EIO
    assert wrmsr(machine, 0x618, LOCK_63) == 0
    assert wrmsr(machine, 0x618, LOCK_63 | 5) == 0
    assert machine.msr.read(0, 0x618) == LOCK_63


@pytest.mark.parametrize(("limit", "policy"), [(0x638, 0x63A), (0x640, 0x642)])
def test_the_lock_of_a_power_plane_holds_its_policy_too(silicon: Machine, limit: int, policy: int) -> None:
    silicon.msr.poke(0, limit, 0)
    silicon.msr.poke(0, policy, 3)
    assert wrmsr(silicon, policy, 9) == 0
    silicon.msr.poke(0, limit, LOCK_31)
    assert wrmsr(silicon, policy, 4) == 0
    assert wrmsr(silicon, policy, 1 << 5) == EIO
    assert silicon.msr.read(0, policy) == 9


def test_reserved_bits_that_firmware_left_set_can_be_written_back(make_machine: MakeMachine) -> None:
    # As read on a Kaby Lake laptop: a dram limit of 0 with reserved bits that are not.
    left = 0x005400DE00000000
    machine = make_machine(rules="silicon", registers={0x618: left})
    assert wrmsr(machine, 0x618, left | 0x8008) == 0
    assert machine.msr.read(0, 0x618) == left | 0x8008
    assert wrmsr(machine, 0x618, 0x8008) == EIO


def test_a_register_that_silicon_is_not_known_to_have_is_a_plain_word(silicon: Machine) -> None:
    assert wrmsr(silicon, 0x9999, 2**64 - 1) == 0
    assert silicon.msr.read(0, 0x9999) == 2**64 - 1


@given(old=U64, value=U64, write_mask=U64, ignore_mask=st.sampled_from([0, LOCK_63, LOCK_31, 2**64 - 1]))
@example(old=LOCK_63, value=0, write_mask=2**64 - 1, ignore_mask=LOCK_63)
def test_a_table_stores_the_bits_of_the_mask_unless_it_ignores_the_write(
    make_machine: MakeMachine, old: int, value: int, write_mask: int, ignore_mask: int
) -> None:
    machine = make_machine()
    for register in (0x610, 0x606, 0x9999):
        machine.msr.poke(0, register, old)
        machine.msr.write_mask(0, register, write_mask)
        machine.msr.ignore_when_locked(0, register, ignore_mask)
        assert wrmsr(machine, register, value) == 0
        merged = old if old & ignore_mask else (old & ~write_mask) | (value & write_mask)
        assert machine.msr.read(0, register) == merged


@given(old=U64, register=st.sampled_from([0x606, 0x610, 0x614, 0x638, 0x64D, 0x65C]), value=U64)
def test_a_table_knows_nothing_of_reserved_bits_locks_or_read_only_registers(
    make_machine: MakeMachine, old: int, register: int, value: int
) -> None:
    machine = make_machine()
    machine.msr.poke(0, register, old)
    assert wrmsr(machine, register, value) == 0
    assert machine.msr.read(0, register) == value


def test_a_mask_outlives_a_poke_and_binds_the_driver_too(make_machine: MakeMachine) -> None:
    machine = make_machine()
    machine.msr.write_mask(0, 0x610, 0x3FF)
    machine.msr.poke(0, 0x610, 0x7FFF)
    limit = "class/powercap/intel-rapl:0/constraint_0_power_limit_uw"
    assert machine.sysfs.write(limit, b"0") == 1
    assert machine.msr.read(0, 0x610) == 0x7C00
    assert machine.sysfs.read(limit) == b"%d\n" % (0x7C00 * 125_000)


def test_masks_of_the_profile_hold_from_the_start(make_machine: MakeMachine) -> None:
    more = '[[faults.register]]\nregister = "0x610"\nwrite_mask = 0xFF\nignore_when_locked = "0x8000000000000000"\n'
    machine = make_machine(registers={0x610: 0x100}, more=more)
    assert wrmsr(machine, 0x610, 0x2AA) == 0
    assert machine.msr.read(0, 0x610) == 0x1AA
    machine.msr.poke(0, 0x610, LOCK_63)
    assert wrmsr(machine, 0x610, 0xAA) == 0
    assert machine.msr.read(0, 0x610) == LOCK_63
