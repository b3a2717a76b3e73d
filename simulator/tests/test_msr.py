# SPDX-License-Identifier: Apache-2.0
"""Registers of a machine: who owns one, what a counter counts, what an injected fault does, what the log says."""

from collections.abc import Callable
from errno import EIO, EPERM

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator import Machine

MakeMachine = Callable[..., Machine]
ENERGY = "class/powercap/intel-rapl:0/energy_uj"
LIMIT = "class/powercap/intel-rapl:0/constraint_0_power_limit_uw"
U64 = st.integers(0, 2**64 - 1)


def errno_of(call: Callable[..., object], *arguments: object) -> int | None:
    """The errno that a call fails with, 0 where it does not."""
    try:
        call(*arguments)
    except OSError as error:
        return error.errno
    return 0


@pytest.mark.pitfall("register-scope")
def test_a_package_register_is_the_same_on_every_processor_of_its_package(make_machine: MakeMachine) -> None:
    machine = make_machine("skylake-sp", topology=(2, 1, 2, 2), where={"package.1": {0x610: 0x11}})
    of_package: dict[int, set[int]] = {0: set(), 1: set()}
    machine.msr.write(0, 0x610, 0x22)
    for cpu in machine.profile.topology.cpus:
        of_package[cpu.package].add(machine.msr.read(cpu.number, 0x610))
    assert of_package == {0: {0x22}, 1: {0x11}}


@pytest.mark.pitfall("register-scope")
def test_a_register_of_a_multi_die_intel_part_belongs_to_its_die(make_machine: MakeMachine) -> None:
    machine = make_machine("skylake-sp", topology=(2, 2, 1, 1), where={'die."1.1"': {0x611: 0x77}})
    assert [machine.msr.read(cpu, 0x611) for cpu in range(4)] == [0x40001111, 0x40001111, 0x40001111, 0x77]


@pytest.mark.pitfall("register-scope")
def test_amd_core_energy_is_one_counter_per_core_shared_by_its_threads(make_machine: MakeMachine) -> None:
    machine = make_machine("zen3", topology=(1, 1, 2, 2), rules="silicon", where={'core."0.0.1"': {0xC001029A: 0x1234}})
    # First threads come first: CPUs 0 and 2 are one core, 1 and 3 the other.
    assert [machine.msr.read(cpu, 0xC001029A) for cpu in range(4)] == [0x765432, 0x1234, 0x765432, 0x1234]
    machine.msr.poke(3, 0xC001029A, 0x99)
    assert [machine.msr.read(cpu, 0xC001029A) for cpu in range(4)] == [0x765432, 0x99, 0x765432, 0x99]


def test_a_processor_that_does_not_exist_is_named(make_machine: MakeMachine) -> None:
    machine = make_machine()
    for call in (
        lambda: machine.msr.read(2, 0x611),
        lambda: machine.msr.write(2, 0x610, 0),
        lambda: machine.msr.poke(-1, 0x610, 0),
        lambda: machine.msr.inject(2, 0x610),
        lambda: machine.msr.driver_read(2, 0x611, 1),
        lambda: machine.msr.driver_write(2, 0x610, 1, 1),
    ):
        with pytest.raises(ValueError, match=r"there is no CPU -?\d; this machine has 0 to 1"):
            call()


@pytest.mark.parametrize("value", [-1, 2**64])
def test_a_value_that_does_not_fit_64_bits_is_refused(make_machine: MakeMachine, value: int) -> None:
    machine = make_machine()
    for call in (machine.msr.write, machine.msr.poke, machine.msr.write_mask, machine.msr.ignore_when_locked):
        with pytest.raises(ValueError, match="does not fit a 64-bit register"):
            call(0, 0x610, value)


def test_an_address_wider_than_32_bits_is_refused(make_machine: MakeMachine) -> None:
    with pytest.raises(ValueError, match="an address is 32 bits wide"):
        make_machine().msr.poke(0, 1 << 32, 0)


def test_poking_makes_a_register_exist_and_clearing_takes_all_away(make_machine: MakeMachine) -> None:
    machine = make_machine("zen3")
    assert list(machine.msr.addresses(0)) == [0xC0010299, 0xC001029A, 0xC001029B]
    assert errno_of(machine.msr.read, 0, 0x123) == EIO
    machine.msr.poke(0, 0x123, 5)
    assert machine.msr.read(1, 0x123) == 5
    machine.msr.clear()
    assert list(machine.msr.addresses(0)) == []
    assert errno_of(machine.msr.read, 0, 0x123) == EIO
    assert machine.msr.content(0, 0x123) is None


# Counters.


def test_limits_that_were_cleared_away_no_longer_bind(make_machine: MakeMachine) -> None:
    # PL1 and PL2 at 125 W: enabled, with the smallest windows.
    machine = make_machine(
        registers={0x610: 0x000083E8000083E8}, topology=(2, 1, 2, 1), more="[load]\npackage = 1000\n"
    )
    machine.clock.advance(seconds=1)
    before = [machine.truth_uj(f"package-{number}") for number in range(2)]
    assert max(before) < 130_000_000
    machine.msr.clear()
    machine.clock.advance(seconds=1)
    after = [machine.truth_uj(f"package-{number}") for number in range(2)]
    assert [end - start for start, end in zip(before, after, strict=True)] == [1_000_000_000] * 2


def test_a_poked_counter_goes_on_from_there_and_the_truth_does_not_move(make_machine: MakeMachine) -> None:
    machine = make_machine(more="[load]\npackage = 16\n")
    machine.clock.advance(seconds=10)
    spent = machine.truth_uj("package-0")
    assert spent == 160_000_000
    machine.msr.poke(0, 0x611, 0xFFFFFFF0)
    assert (machine.msr.read(0, 0x611), machine.truth_uj("package-0")) == (0xFFFFFFF0, spent)
    machine.clock.advance(seconds=1)
    # 16 W are 2^18 steps of 2^-14 J a second.
    assert machine.msr.read(0, 0x611) == (0xFFFFFFF0 + (1 << 18)) % 2**32
    assert machine.truth_uj("package-0") == spent + 16_000_000


@pytest.mark.pitfall("counter-is-32-bits")
def test_an_intel_counter_wraps_in_its_low_half_and_leaves_the_upper_one_alone(make_machine: MakeMachine) -> None:
    machine = make_machine(registers={0x611: 0xDEAD0000FFFFFFFF}, more="[load]\npackage = 16\n")
    assert machine.sysfs.read(ENERGY) == b"%d\n" % (0xFFFFFFFF * 61035 // 1000)
    machine.clock.advance(seconds=1)
    assert machine.msr.read(0, 0x611) == 0xDEAD000000000000 + (1 << 18) - 1
    assert machine.sysfs.read(ENERGY) == b"%d\n" % (((1 << 18) - 1) * 61035 // 1000)


@pytest.mark.pitfall("amd-64-bit-counters-wrap-at-32")
def test_an_amd_counter_has_64_bits_from_zen_4_on_and_powercap_shows_32_of_them(make_machine: MakeMachine) -> None:
    counters = {}
    for cpu in ("AuthenticAMD:25:0x61", "AuthenticAMD:25:0x21"):
        machine = make_machine(
            "zen3", cpu=cpu, registers={0xC001029B: 0xFFFFFFFF}, more="[load]\npackage = 1\n", rules="silicon"
        )
        machine.clock.advance(seconds=1)
        counters[cpu] = machine.msr.read(0, 0xC001029B)
        assert machine.sysfs.read(ENERGY) == b"%d\n" % (0xFFFF * 15258 // 1000)
    assert counters == {"AuthenticAMD:25:0x61": 0x1_0000_FFFF, "AuthenticAMD:25:0x21": 0xFFFF}


@pytest.mark.pitfall("update-grid-of-a-millisecond")
def test_a_counter_stands_still_between_two_ticks_of_its_grid(make_machine: MakeMachine) -> None:
    machine = make_machine(registers={0x610: 0}, more="[load]\npackage = 1000\n")
    start = machine.msr.read(0, 0x611)
    machine.clock.advance(nanoseconds=999_999)
    assert machine.msr.read(0, 0x611) == start
    machine.clock.advance(nanoseconds=1)
    assert machine.msr.read(0, 0x611) == start + (1 << 14)


# Faults.


def test_an_injected_fault_holds_on_every_processor_of_the_register_until_it_is_healed(
    make_machine: MakeMachine,
) -> None:
    machine = make_machine("skylake-sp", topology=(2, 1, 2, 1))
    machine.msr.inject(cpu=1, register=0x611, on="read", errno=EIO)
    assert [errno_of(machine.msr.read, cpu, 0x611) for cpu in range(4)] == [EIO, EIO, 0, 0]
    assert errno_of(machine.msr.write, 0, 0x611, 7) == 0
    machine.msr.inject(cpu=0, register=0x611, on="read", errno=None)
    assert machine.msr.read(1, 0x611) == 7


def test_reads_and_writes_fault_apart_or_both_with_any_errno(make_machine: MakeMachine) -> None:
    machine = make_machine()
    calls = {"read": lambda: machine.msr.read(0, 0x610), "write": lambda: machine.msr.write(0, 0x610, 1)}
    for on, wanted in (("read", (EPERM, 0)), ("write", (0, EPERM)), ("both", (EPERM, EPERM))):
        machine.msr.inject(0, 0x610, on, EPERM)
        assert (errno_of(calls["read"]), errno_of(calls["write"])) == wanted
        machine.msr.inject(0, 0x610, "both", None)
    assert (errno_of(calls["read"]), errno_of(calls["write"])) == (0, 0)


def test_healing_a_register_that_does_not_exist_does_not_make_it(make_machine: MakeMachine) -> None:
    machine = make_machine()
    machine.msr.inject(0, 0x123, "both", EIO)
    machine.msr.inject(0, 0x123, "both", None)
    assert errno_of(machine.msr.read, 0, 0x123) == EIO
    assert 0x123 not in machine.msr.addresses(0)


def test_a_fault_on_anything_but_reads_and_writes_is_refused(make_machine: MakeMachine) -> None:
    with pytest.raises(ValueError, match="a register fault is on 'read', 'write' or 'both'"):
        make_machine().msr.inject(0, 0x610, on="open")


def test_a_fault_of_the_profile_holds_from_the_start_where_it_says(make_machine: MakeMachine) -> None:
    fault = '[[faults.register]]\nregister = "0xC001029A"\non = "read"\npackage = 1\n'
    machine = make_machine("zen3", topology=(2, 1, 2, 1), rules="silicon", more=fault)
    assert [errno_of(machine.msr.read, cpu, 0xC001029A) for cpu in range(4)] == [0, 0, EIO, EIO]
    # Detection met the fault: package 1 has no core zone.
    assert "intel-rapl:0:0" in machine.sysfs.listdir("class/powercap")
    assert "intel-rapl:1:0" not in machine.sysfs.listdir("class/powercap")


# The log.


def test_the_log_holds_the_accesses_of_the_last_step_only(make_machine: MakeMachine) -> None:
    machine = make_machine()
    machine.sysfs.read(ENERGY)
    assert [str(access) for access in machine.msr.log] == [
        "r die0 cpu0 0x611 mask=0xffffffff val=0x12345678 reg=0x12345678 err=0"
    ]
    machine.sysfs.write(LIMIT, b"95000000\n")
    assert [str(access) for access in machine.msr.log] == [
        "w die0 cpu0 0x610 mask=0x7fff val=0x2f8 reg=0x428440001b82f8 err=0"
    ]
    machine.sysfs.read("class/powercap/intel-rapl:0/name")
    assert machine.msr.log == []


def test_programs_that_use_the_msr_device_leave_no_trace_in_the_log(make_machine: MakeMachine) -> None:
    machine = make_machine()
    machine.msr.log.clear()
    machine.msr.read(0, 0x611)
    machine.msr.write(0, 0x610, 1)
    machine.msr.poke(0, 0x611, 1)
    assert machine.msr.log == []


def test_an_access_that_faults_is_logged_with_its_errno_and_the_register_as_it_was(make_machine: MakeMachine) -> None:
    machine = make_machine()
    machine.msr.inject(0, 0x610, "write")
    assert errno_of(machine.sysfs.write, LIMIT, b"1000000") != 0
    assert [str(access) for access in machine.msr.log] == [
        "w die0 cpu0 0x610 mask=0x7fff val=0x8 reg=0x428440001b83e8 err=-5"
    ]


@given(U64, st.integers(0, 1))
def test_what_was_poked_is_what_every_processor_of_the_die_reads(
    make_machine: MakeMachine, value: int, cpu: int
) -> None:
    machine = make_machine()
    machine.msr.poke(cpu, 0x610, value)
    assert machine.msr.read(1 - cpu, 0x610) == machine.msr.content(0, 0x610) == value
