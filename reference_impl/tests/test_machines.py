# SPDX-License-Identifier: Apache-2.0
"""The reader on every built-in machine, in process: names and joules against what the machine knows it spent."""

import errno

import pytest

from raplica_fixtures import profile_ids
from raplica_reader import Meter, Sampler, Zone, delta, discover, shares, total
from raplica_simulator import Machine, VirtualClock, load_profile

PACKAGE = "class/powercap/intel-rapl:0/energy_uj"
STEP_S = 97
"""No built-in machine goes through 65 kJ in this time, so that each wrap is seen."""


class AsNobody:
    """A machine's tree as somebody without rights sees it."""

    def __init__(self, machine: Machine) -> None:
        self.sysfs = machine.sysfs

    def listdir(self, path: str) -> list[str]:
        return list(self.sysfs.listdir(path))

    def readlink(self, path: str) -> str:
        return self.sysfs.readlink(path)

    def read(self, path: str) -> bytes:
        return self.sysfs.read(path, uid=65534)


def advance(machine: Machine, seconds: int) -> None:
    """Let time pass."""
    assert isinstance(machine.clock, VirtualClock)
    machine.clock.advance(seconds=seconds)


def names(zones: tuple[Zone, ...]) -> list[str]:
    """The paths of zones."""
    return [zone.path for zone in zones]


def sampler_of(machine: Machine) -> Sampler:
    """A sampler that lives in the machine's time."""
    return Sampler(discover(machine.sysfs), clock=lambda: machine.clock.now_ns)


@pytest.mark.parametrize("kernel", ["6.1", "6.12"])
@pytest.mark.parametrize("machine_id", [one for one in profile_ids() if any(load_profile(one).registers.values())])
def test_every_joule_of_every_built_in_machine_is_counted_over_two_hours(machine_id: str, kernel: str) -> None:
    machine = Machine.from_profile(machine_id, kernel=kernel)
    sampler = sampler_of(machine)
    meter = Meter()
    before_uj = {zone.path: machine.truth_uj(zone.path) for zone in sampler.zones}
    meter.add(sampler.sample())
    for _ in range(75):
        advance(machine, STEP_S)
        meter.add(sampler.sample())
    packages = [spent for spent in meter.total() if spent.zone.parent is None]
    assert all(spent.energy_uj for spent in packages)
    for spent in meter.total():
        truth_uj = machine.truth_uj(spent.zone.path) - before_uj[spent.zone.path]
        unit_nj = spent.zone.counter.unit_nj
        assert spent.energy_uj is not None
        assert unit_nj is not None
        step_uj = unit_nj // 1000 + 1
        # The driver cuts the unit to whole nanojoules, and the counter shows whole steps; nothing else is lost.
        assert -truth_uj // unit_nj - 2 * step_uj <= spent.energy_uj - truth_uj <= step_uj
        assert spent.duration_ns == 75 * STEP_S * 10**9


@pytest.mark.parametrize("machine_id", ["kernel-doc-example", "idle-injection"])
def test_counters_that_no_register_stands_behind_are_read_to_the_microjoule(machine_id: str) -> None:
    machine = Machine.from_profile(machine_id)
    sampler = sampler_of(machine)
    meter = Meter()
    meter.add(sampler.sample())
    for _ in range(300):
        advance(machine, STEP_S)
        meter.add(sampler.sample())
    truths_uj = {spent.zone.path: machine.truth_uj(spent.zone.path) for spent in meter.total()}
    assert {spent.zone.path: spent.energy_uj for spent in meter.total()} == truths_uj
    # The fastest went through its range more than once.
    assert truths_uj[sampler.zones[0].path] > 3 * (sampler.zones[0].max_energy_range_uj or 0)


def test_zones_without_a_counter_are_listed_and_spend_nothing_that_is_known() -> None:
    machine = Machine.from_profile("dtpm")
    sampler = sampler_of(machine)
    assert names(sampler.zones)[:2] == ["dtpm/soc", "dtpm/soc/cpus"]
    assert set(sampler.sample().energies_uj) == {None}


@pytest.mark.parametrize(
    ("machine_id", "register", "unit_nj"), [("kabylake", 0x611, 61_035), ("zen4", 0xC001029B, 15_258)]
)
def test_joules_are_raw_steps_times_the_unit_whatever_wraps(machine_id: str, register: int, unit_nj: int) -> None:
    machine = Machine.from_profile(machine_id)
    machine.load.set(package=200)
    sampler = sampler_of(machine)
    meter = Meter()
    raw = machine.msr.read(cpu=0, register=register)
    meter.add(sampler.sample())
    steps = 0
    for _ in range(1000):
        advance(machine, 100)
        meter.add(sampler.sample())
        steps += (machine.msr.read(cpu=0, register=register) - raw) % 2**32
        raw = machine.msr.read(cpu=0, register=register)
    assert steps > 4 * 2**32
    assert meter.total()[0].energy_nj == steps * unit_nj


def test_a_server_with_psys_on_one_socket_has_its_zones_named_rightly() -> None:
    zones = discover(Machine.from_profile("sapphirerapids-2s").sysfs)
    assert names(zones) == ["package-0", "package-0/dram", "psys", "package-1", "package-1/dram"]
    assert [share.counted for share in shares(zones)] == [True, True, False, True, True]


def test_dies_are_named_as_the_kernel_names_them() -> None:
    zones = discover(Machine.from_profile("cascadelake-ap-2s", kernel="6.12").sysfs)
    assert [zone.name for zone in zones if zone.parent is None] == [
        "package-0-die-0",
        "package-0-die-1",
        "package-1-die-2",
        "package-1-die-3",
    ]


def test_the_total_is_what_packages_and_memory_spent() -> None:
    machine = Machine.from_profile("skylake-sp-2s")
    sampler = sampler_of(machine)
    machine.load.set(package=100, dram=10)
    before = sampler.sample()
    advance(machine, 60)
    summed = total(delta(before, sampler.sample()))
    assert summed.power_w == pytest.approx(220, rel=1e-4)


def test_a_reading_that_fails_once_costs_no_energy() -> None:
    machine = Machine.from_profile("skylake-sp-2s")
    sampler = sampler_of(machine)
    meter = Meter()
    meter.add(sampler.sample())
    advance(machine, 10)
    machine.sysfs.inject(PACKAGE, on="read", errno=errno.EINVAL, times=1)
    assert meter.add(sampler.sample())[0].error == "EINVAL"
    advance(machine, 10)
    spent = meter.add(sampler.sample())[0]
    assert (spent.error, spent.duration_ns) == (None, 20 * 10**9)
    assert meter.total()[0].energy_uj == pytest.approx(machine.truth_uj("package-0"), rel=1e-5)


def test_zones_that_go_and_come_back_are_read_again() -> None:
    machine = Machine.from_profile("skylake-sp-2s")
    sampler = sampler_of(machine)
    sampler.sample()
    machine.driver.unload()
    assert set(sampler.sample().errors) == {"ENOENT"}
    machine.driver.load()
    assert set(sampler.sample().errors) == {None}


def test_without_rights_every_zone_has_its_name_and_eacces() -> None:
    machine = Machine.from_profile("kabylake")
    sample = Sampler(discover(AsNobody(machine))).sample()
    assert names(sample.zones) == names(discover(machine.sysfs))
    assert set(sample.errors) == {"EACCES"}
    assert set(sample.energies_uj) == {None}
