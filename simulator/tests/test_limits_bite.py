# SPDX-License-Identifier: Apache-2.0
"""Limits that bite: what is written through any door changes what a domain draws, and every face shows it."""

import os
from collections.abc import Callable, Iterator
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raplica_simulator import Machine, VirtualClock
from raplica_simulator.hardware.domains import Domains
from raplica_simulator.hardware.limits import LIMITED_KINDS, Limit
from raplica_simulator.hardware.topology import Topology
from raplica_simulator.hardware.units import KINDS
from raplica_simulator.linux.msr_dev import MsrModule
from raplica_simulator.live.machine import start
from raplica_simulator.load.demand import Load
from raplica_simulator.load.plan import read_load

ZONE = "class/powercap/intel-rapl:0"
MMIO_ZONE = "class/powercap/intel-rapl-mmio:0"
PACKAGE_LIMIT = 0x610
PACKAGE_ENERGY = 0x611
MMIO_PACKAGE_ENERGY = 0x593C
PEAK_LIMIT = 0x601
ENABLED = 1 << 15
UNIT_J = Fraction(1, 2**14)
# What a counter may lag behind: one step, and one tick of a millisecond at the watts of these tests.
SLACK_J = UNIT_J + Fraction(400, 1000)


def spent_j(machine: Machine, seconds: Fraction | int, domain: str = "package-0") -> Fraction:
    """What a domain spends in the time that now goes by."""
    before = machine.truth_joules(domain)
    machine.clock.advance(seconds=seconds)
    return machine.truth_joules(domain) - before


def drawn_w(machine: Machine, domain: str = "package-0") -> Fraction:
    """What a domain draws now; a millisecond passes."""
    return spent_j(machine, Fraction(1, 1000), domain) * 1000


def field(watts: int) -> int:
    """A limit in the units of 1/8 W of these machines."""
    return watts * 8


def write(machine: Machine, path: str, number: int) -> None:
    text = f"{number}\n".encode()
    assert machine.sysfs.write(path, text) == len(text)


def loaded(name: str, **watts: int) -> Machine:
    machine = Machine.from_profile(name)
    machine.load.set(cores=None, on_package=None, **watts)
    machine.clock.advance(seconds=100)
    return machine


# Through the doors.


def test_wrmsr_through_the_device_caps_the_package() -> None:
    machine = loaded("skylake-sp-2s", package=140)
    assert drawn_w(machine) == 140
    module = MsrModule(machine)
    with module.device(3).open(os.O_RDWR) as msr:
        held = int.from_bytes(msr.pread(8, PACKAGE_LIMIT), "little")
        msr.pwrite((held & ~0x7FFF | field(90)).to_bytes(8, "little"), PACKAGE_LIMIT)
    machine.clock.advance(seconds=10)
    assert drawn_w(machine) == 90
    assert drawn_w(machine, "package-1") == 140, "each package has a register of its own"
    assert machine.sysfs.read(f"{ZONE}/constraint_0_power_limit_uw") == b"90000000\n"


def test_a_write_to_a_constraint_caps_the_package_and_shows_in_the_register() -> None:
    machine = loaded("skylake-sp-2s", package=140)
    write(machine, f"{ZONE}/constraint_0_power_limit_uw", 90_000_000)
    assert machine.msr.read(0, PACKAGE_LIMIT) & 0x7FFF == field(90)
    assert drawn_w(machine) == 140, "the bucket is full: a burst first"
    machine.clock.advance(seconds=10)
    assert drawn_w(machine) == 90
    assert drawn_w(machine, "psys") == 90 + 140 + 2 * 12


def faces(machine: Machine) -> Iterator[tuple[str, Fraction]]:
    """The energy that each face shows of package 0, without its wraps, in joules."""
    yield "sysfs", Fraction(int(machine.sysfs.read(f"{ZONE}/energy_uj")), 10**6)
    yield "msr", machine.msr.read(0, PACKAGE_ENERGY) * UNIT_J
    if machine.profile.mmio:
        yield "mmio", machine.mmio.read(MMIO_PACKAGE_ENERGY) * UNIT_J
        yield "sysfs of mmio", Fraction(int(machine.sysfs.read(f"{MMIO_ZONE}/energy_uj")), 10**6)


def test_every_face_shows_the_energy_that_was_cut() -> None:
    machine = loaded("alderlake-p", package=60, core=40)
    write(machine, f"{ZONE}/constraint_0_power_limit_uw", 20_000_000)
    machine.clock.advance(seconds=600)
    before = dict(faces(machine))
    assert spent_j(machine, 100) == (100 * 15), "the limit in MMIO is the lowest"
    after = dict(faces(machine))
    assert len(after) == 4
    for face, joules in after.items():
        # sysfs counts in 61035 nJ and not in 61.03515625 uJ.
        assert abs(joules - before[face] - 1500) < SLACK_J, face


@pytest.mark.parametrize("lower", ["msr", "mmio"])
def test_msr_and_mmio_are_two_registers_and_the_lower_enabled_one_binds(lower: str) -> None:
    machine = loaded("alderlake-p", package=60)
    zones = {"msr": ZONE, "mmio": MMIO_ZONE}
    for name, zone in zones.items():
        write(machine, f"{zone}/constraint_0_power_limit_uw", 12_000_000 if name == lower else 25_000_000)
    machine.clock.advance(seconds=600)
    assert drawn_w(machine) == 12
    assert {zone: machine.sysfs.read(f"{zone}/constraint_0_power_limit_uw") for zone in zones.values()} == {
        zones[lower]: b"12000000\n",
        next(zone for name, zone in zones.items() if name != lower): b"25000000\n",
    }
    write(machine, f"{zones[lower]}/enabled", 0)
    machine.clock.advance(seconds=600)
    assert drawn_w(machine) == 25, "what is off binds nothing, and the other one does"


def test_a_limit_register_that_firmware_brings_later_leaves_the_credit_of_the_others(
    make_machine: Callable[..., Machine],
) -> None:
    # 10 W over a second in MCHBAR, and no limit in any MSR.
    more = f"[mmio]\n0x59A0 = {field(10) | ENABLED | 10 << 17}\n[load]\npackage = 20.0"
    machine = make_machine("alderlake", registers={PACKAGE_LIMIT: None, PEAK_LIMIT: None}, more=more)
    assert spent_j(machine, Fraction(1, 2)) == 10
    machine.msr.poke(0, PACKAGE_LIMIT, 0)
    assert spent_j(machine, 1) == 20 * Fraction(1, 2) + 10 * Fraction(1, 2)


def test_disabling_ends_the_effect_at_once() -> None:
    machine = loaded("kabylake", package=40)
    assert drawn_w(machine) == 17
    held = machine.msr.read(0, PACKAGE_LIMIT)
    machine.msr.write(0, PACKAGE_LIMIT, held & ~ENABLED & ~(ENABLED << 32))
    assert drawn_w(machine) == 40
    assert spent_j(machine, 1000) == 40_000
    machine.msr.write(0, PACKAGE_LIMIT, held)
    machine.clock.advance(seconds=1)
    assert drawn_w(machine) == 29, "both start full, and the credit of PL2 lasts for 6.4 ms"
    machine.clock.advance(seconds=100)
    assert drawn_w(machine) == 17


def test_a_burst_goes_up_to_pl4_then_pl2_then_pl1_and_comes_again_after_a_rest() -> None:
    machine = loaded("alderlake-p", package=200)
    machine.load.set(package=0)
    machine.mmio.poke(0x59A0, 0)
    # 40 W over 28 s, 100 W over 2.4 ms, and never more than 126 W.
    high = (0x428000 | ENABLED | field(100)) << 32 & ~(0x7F << 49) | (1 << 49)
    machine.msr.poke(0, PACKAGE_LIMIT, high | 0xDD8000 | field(40))
    machine.clock.advance(seconds=10_000)
    assert machine.msr.read(0, PEAK_LIMIT) == field(126)
    for _ in range(2):
        machine.load.set(package=200)
        waits = [Fraction(1, 1000)] * 30 + [Fraction(1, 2)] * 80
        stages = [spent_j(machine, wait) / wait for wait in waits]
        assert stages == sorted(stages, reverse=True), "down, never up"
        assert stages[0] == 126
        assert stages[-1] == 40
        assert 100 in stages
        machine.load.set(package=1)
        machine.clock.advance(seconds=10_000)


def test_a_burst_is_as_long_as_its_credit() -> None:
    machine = Machine.from_profile("kabylake")
    machine.load.set(package=25)
    # 17 W over 28 s: 476 J that go at 8 W.
    assert spent_j(machine, Fraction(119, 2)) == 25 * Fraction(119, 2)
    assert spent_j(machine, 10) == 170


def test_a_limit_bites_under_a_load_that_comes_and_goes() -> None:
    live = start("kabylake", load=read_load("package=sine:5:29:1"))
    live.machine.clock.advance(seconds=24 * 3600)
    with live.held() as machine:
        day_j = machine.truth_joules("package-0")
        free_j = day_j / (24 * 3600)
        assert 16 < free_j <= 17, "the mean is 17 W and so is the limit: the credit of 28 s lasts for every peak"
        write(machine, f"{ZONE}/constraint_0_power_limit_uw", 10_000_000)
    live.machine.clock.advance(seconds=24 * 3600)
    with live.held() as machine:
        assert machine.truth_joules("package-0") - day_j <= 10 * (24 * 3600 + 28)
        assert machine.truth_joules("package-0") - day_j > 9 * 24 * 3600


# What holds always.

UNITS = dict.fromkeys(KINDS, Fraction(1, 10**12))
POWER = st.integers(0, 60)
LIMIT = st.builds(Limit, st.integers(0, 60), st.integers(0, 40), st.booleans())


@settings(deadline=None)
@given(st.data())
def test_no_interval_has_more_energy_than_limit_times_interval_and_window(data: st.DataObject) -> None:
    """For every enabled limit, over every interval in which it stood as it is, from the moment it was written on.

    Loads change meanwhile, and so do the other limits; which of them binds does not matter.
    """
    clock = VirtualClock()
    domains = Domains(clock, Topology(1, 1, 2, 1), UNITS, None, 1)
    limits: dict[str, list[Limit]] = {kind: [] for kind in LIMITED_KINDS}
    since: dict[tuple[str, int], int] = {}
    spent: dict[str, list[tuple[int, Fraction]]] = {kind: [(0, Fraction(0))] for kind in LIMITED_KINDS}
    for _ in range(data.draw(st.integers(2, 14))):
        if data.draw(st.booleans()):
            core, uncore, rest, dram = (data.draw(POWER) for _ in range(4))
            domains.set_load(Load(core + uncore + rest, core, uncore, dram))
        for kind in data.draw(st.sets(st.sampled_from(LIMITED_KINDS), max_size=2)):
            old, new = limits[kind], data.draw(st.lists(LIMIT, max_size=3))
            if data.draw(st.booleans()):
                new = [*old[:1], *new[1:]]
            for place, limit in enumerate(new):
                if place >= len(old) or old[place] != limit:
                    since[kind, place] = clock.now_ns
            limits[kind] = new
            domains.set_limits(kind, 0, tuple(new))
        clock.advance(nanoseconds=data.draw(st.integers(1, 60)))
        for kind, looks in spent.items():
            joules = domains.meter(kind).joules()
            assert domains.meter(kind).steps() == joules // Fraction(1, 10**12), "the counter is the truth in steps"
            looks.append((clock.now_ns, joules * 10**15))
            for place, limit in enumerate(limits[kind]):
                for from_ns, before in looks if limit.enabled else ():
                    if from_ns >= since[kind, place]:
                        allowed = limit.limit_uw * (clock.now_ns - from_ns + limit.window_ns)
                        # A bucket is empty from a whole nanosecond on: within the one before it may be overdrawn.
                        assert looks[-1][1] - before <= allowed + 180


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 300), st.integers(0, 999_999)), min_size=1, max_size=8))
def test_counters_are_the_truth_at_the_last_tick_whatever_is_written(changes: list[tuple[int, int, int]]) -> None:
    machine = Machine.from_profile("alderlake-p")
    first = machine.msr.read(0, PACKAGE_ENERGY)
    for watts, limit, beyond_ns in changes:
        machine.load.set(package=watts)
        held = machine.msr.read(0, PACKAGE_LIMIT)
        machine.msr.write(0, PACKAGE_LIMIT, held & ~0x7FFF | limit)
        machine.clock.advance(nanoseconds=20_000_000 - machine.clock.now_ns % 1_000_000)
        steps = machine.truth_joules("package-0") // UNIT_J
        machine.clock.advance(nanoseconds=beyond_ns)
        assert machine.msr.read(0, PACKAGE_ENERGY) - first == steps
        assert machine.mmio.read(MMIO_PACKAGE_ENERGY) - first == steps


def test_below_a_floor_that_the_profile_gives_only_a_limit_that_clamps_presses(
    make_machine: Callable[..., Machine],
) -> None:
    more = "[load]\npackage = 30.0\ndram = 8.0\n[floor]\npackage = 12.0\ndram = 3.0"
    machine = make_machine("kabylake", rules="silicon", registers={0x610: 0}, more=more)
    # 5 W over a millisecond, enabled and not clamping.
    machine.msr.write(0, PACKAGE_LIMIT, field(5) | ENABLED)
    machine.msr.write(0, 0x618, field(1) | ENABLED)
    machine.clock.advance(seconds=100)
    assert [drawn_w(machine), drawn_w(machine, "package-0/dram")] == [12, 3]
    machine.load.set(package=7)
    assert drawn_w(machine) == 7, "a floor is no demand"
    machine.load.set(package=30)
    machine.clock.advance(seconds=100)
    # The driver that is told to enable a zone sets the clamp bits as well.
    write(machine, f"{ZONE}/enabled", 0)
    machine.clock.advance(seconds=1)
    assert drawn_w(machine) == 30
    write(machine, f"{ZONE}/enabled", 1)
    machine.msr.write(0, PACKAGE_LIMIT, machine.msr.read(0, PACKAGE_LIMIT) & ~(ENABLED << 32))
    machine.clock.advance(seconds=100)
    assert [drawn_w(machine), drawn_w(machine, "package-0/dram")] == [5, 3]


def test_a_floor_is_shared_out_among_dies_as_a_load_is(make_machine: Callable[..., Machine]) -> None:
    more = "[load]\npackage = 50.0\n[floor]\npackage = 10.000001"
    machine = make_machine("skylake-sp", topology=(2, 2, 3, 1), registers={0x610: field(1) | ENABLED}, more=more)
    machine.clock.advance(seconds=100)
    assert [drawn_w(machine, f"package-{number}") for number in range(2)] == [Fraction(10_000_001, 10**6)] * 2


def test_the_limits_of_psys_bind_nothing() -> None:
    machine = loaded("kabylake", package=10, dram=1, psys=20)
    machine.msr.poke(0, 0x65C, ENABLED | field(5))
    assert spent_j(machine, 1000, "psys") == 20_000
    assert drawn_w(machine) == 10
