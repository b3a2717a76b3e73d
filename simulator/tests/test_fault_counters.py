# SPDX-License-Identifier: Apache-2.0
"""Events that happen to counters: they wrap, jump and stick at their moment, and no truth moves."""

from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator import Machine
from raplica_simulator.counters import counters_of
from raplica_simulator.faults.verbs import read_event
from raplica_simulator.linux.msr_dev import MsrModule

ENERGY = "class/powercap/intel-rapl:0/energy_uj"
WRAP = 1 << 32

Happen = Callable[..., None]


@pytest.fixture
def machine() -> Machine:
    return Machine.from_profile("skylake-sp-2s")


def test_the_counters_of_a_domain_wrap_just_then_and_no_truth_moves(machine: Machine, happen: Happen) -> None:
    machine.clock.advance(seconds=Fraction(12345, 1000))
    before_uj = machine.truth_uj("package-1/dram")
    others = ((0, 0x611), (0, 0x619), (20, 0x611))
    before = [machine.msr.read(*other) for other in others]
    happen("wrap", domain="package-1/dram", in_s="2.5")
    assert machine.truth_uj("package-1/dram") == before_uj
    assert [machine.msr.read(*other) for other in others] == before
    machine.clock.advance(nanoseconds=2_499_000_000)
    assert machine.msr.read(20, 0x619) % WRAP > WRAP // 2
    machine.clock.advance(nanoseconds=1_000_000)
    assert machine.msr.read(20, 0x619) % WRAP == 0


@given(moment_ns=st.integers(0, 10**10), wait_ns=st.integers(2 * 10**6, 10**11), watts=st.integers(1, 140))
def test_any_moment_and_any_wait_meet_at_the_wrap(moment_ns: int, wait_ns: int, watts: int) -> None:
    machine = Machine.from_profile("alderlake-p")
    machine.load.set(package=min(watts, 14), core=1)
    machine.clock.advance(nanoseconds=moment_ns)
    event = read_event({"do": "wrap", "domain": "package-0", "in_s": f"{wait_ns // 10**9}.{wait_ns % 10**9:09d}"})
    event.do(machine, MsrModule(machine))
    wound = counters_of(machine, "package-0")
    assert [type(one.space).__name__ for one in wound] == ["RegisterFile", "WordSpace"]
    machine.clock.advance(nanoseconds=wait_ns)
    assert {one.content % WRAP for one in wound} == {0}


def test_a_counter_that_is_stopped_stands_and_then_counts_on_from_there(machine: Machine, happen: Happen) -> None:
    happen("stop-counter", domain="package-0")
    stands = machine.sysfs.read(ENERGY)
    machine.clock.advance(seconds=10)
    assert machine.sysfs.read(ENERGY) == stands
    assert machine.truth_uj("package-0") == 800_000_000
    happen("stop-counter", domain="package-0")
    happen("start-counter", domain="package-0")
    assert machine.sysfs.read(ENERGY) == stands
    machine.clock.advance(seconds=10)
    assert int(machine.sysfs.read(ENERGY)) - int(stands) == 799997952
    happen("start-counter", domain="package-0")
    assert int(machine.sysfs.read(ENERGY)) - int(stands) == 799997952


def test_a_counter_that_stands_can_be_set_and_does_not_wrap(machine: Machine, happen: Happen) -> None:
    happen("stop-counter", domain="package-0")
    happen("set-counter", domain="package-0", raw="0xFFFFFFFF")
    machine.clock.advance(seconds=1)
    assert machine.msr.read(0, 0x611) == 0xFFFFFFFF
    with pytest.raises(ValueError, match="moves within"):
        happen("wrap", domain="package-0", in_s=1)


def test_a_counter_set_to_0_begins_again_and_only_its_low_bits_change(make_machine: Callable[..., Machine]) -> None:
    machine = make_machine("zen3", registers={0xC001029B: 0x77_12345678})
    read_event({"do": "set-counter", "domain": "package-0", "raw": 5}).do(machine, MsrModule(machine))
    assert machine.msr.read(0, 0xC001029B) == 0x77_00000005


def test_counters_are_found_in_every_space() -> None:
    twin = Machine.from_profile("alderlake-p")
    both = [(one.space, one.owner, one.address) for one in counters_of(twin, "package-0")]
    assert both == [(twin.msr, 0, 0x611), (twin.mmio, 0, 0x593C)]
    assert [one.address for one in counters_of(twin, "intel-rapl-mmio/package-0")] == [0x593C]
    amd = Machine.from_profile("zen2-epyc-2s")
    assert [(one.owner, one.address) for one in counters_of(amd, "package-0/core-3")] == [(3, 0xC001029A)]
    dies = Machine.from_profile("cascadelake-ap-2s")
    assert len(counters_of(dies, "package-1")) == 2
    assert len(counters_of(dies, "package-1-die-0/dram")) == 1
    with pytest.raises(ValueError, match="no register of this machine counts the energy of package-0/dram"):
        counters_of(Machine.from_profile("zen4"), "package-0/dram")
    platform = Machine.from_profile("sapphirerapids-2s")
    assert {one.address for one in counters_of(platform, "psys")} == {0x64D}


def test_counters_in_tpmi_wrap_too(make_machine: Callable[..., Machine]) -> None:
    words = "0x08 = 0xA0E03\n0x10 = 0\n0x38 = 0x1234"
    more = f"[tpmi.0.package]\n{words}\n[tpmi.0.memory]\n{words}\n[load]\npackage = 90\ndram = 10"
    machine = make_machine("sapphirerapids", cpu="GenuineIntel:6:0xAD", more=more)
    read_event({"do": "wrap", "domain": "package-0/dram", "in_s": 3}).do(machine, MsrModule(machine))
    tpmi = [one for one in counters_of(machine, "package-0/dram") if one.space is machine.tpmi]
    assert [one.address for one in tpmi] == [128 + 0x38]
    machine.clock.advance(seconds=3)
    assert [one.content for one in tpmi] == [0]
    for name, expected in (("stop-counter", 0), ("start-counter", 0)):
        read_event({"do": name, "domain": "package-0/dram"}).do(machine, MsrModule(machine))
        assert tpmi[0].content == expected
        machine.clock.advance(seconds=1)
    assert tpmi[0].content > 0
