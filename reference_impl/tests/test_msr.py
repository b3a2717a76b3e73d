# SPDX-License-Identifier: Apache-2.0
"""Registers as a source, on every built-in machine: names, units, scopes, joules against raw steps and the truth."""

from __future__ import annotations

import errno
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest

from raplica_fixtures import profile_ids
from raplica_reader import Follower, Meter, OsFiles, Sampler, Zone, shares
from raplica_reader.msr import EnergyRegister, Msr, energy_filtering
from raplica_reader.processor import Processor
from raplica_simulator import Machine, load_profile

if TYPE_CHECKING:
    from tests.conftest import Faces

WITH_REGISTERS = [one for one in profile_ids() if any(load_profile(one).registers.values())]


def source_of(shown: Faces, known: Processor | None = None) -> Msr:
    """The registers of a machine whose processor files say everything."""
    return Msr(shown.registers, shown.files, shown.cpuinfo, known)


def paths(zones: tuple[Zone, ...]) -> list[str]:
    return [zone.path for zone in zones]


def unit_of(zone: Zone) -> Fraction:
    """Nanojoules per step, exactly."""
    numerator, denominator = zone.counter.unit  # type: ignore[attr-defined]
    return Fraction(numerator, denominator)


@pytest.mark.parametrize("machine_id", WITH_REGISTERS)
def test_each_zone_is_raw_steps_times_its_unit_and_the_truth_within_a_step(machine_id: str, faces: type[Faces]) -> None:
    machine = Machine.from_profile(machine_id)
    shown = faces(machine)
    sampler = Sampler(source_of(shown).discover(), clock=shown.now_ns)
    assert sampler.zones
    meter = Meter()
    meter.add(sampler.sample())
    steps = dict.fromkeys(paths(sampler.zones), 0)
    raw = {zone.path: zone.gauge.decode(zone.gauge.once()) for zone in sampler.zones}
    before_uj = {zone.path: machine.truth_uj(zone.path) for zone in sampler.zones}
    for _ in range(60):
        machine.clock.advance(seconds=97)
        meter.add(sampler.sample())
        for zone in sampler.zones:
            now = zone.gauge.decode(zone.gauge.once())
            steps[zone.path] += (now - raw[zone.path]) % zone.counter.period  # type: ignore[operator]
            raw[zone.path] = now
    for spent in meter.total():
        path, unit_nj = spent.zone.path, unit_of(spent.zone)
        assert spent.energy_nj == int(steps[path] * unit_nj)
        assert spent.energy_uj is not None
        truth_uj = machine.truth_uj(path) - before_uj[path]
        assert abs(spent.energy_uj - truth_uj) <= unit_nj / 1000 + 2


@pytest.mark.parametrize("machine_id", [one for one in WITH_REGISTERS if not one.startswith("zen")])
def test_an_intel_machine_has_the_zones_that_its_powercap_has(machine_id: str, faces: type[Faces]) -> None:
    machine = Machine.from_profile(machine_id)
    shown = faces(machine)
    from_powercap = {path for path in paths(_powercap(machine)) if not path.startswith("intel-rapl-mmio")}
    assert set(paths(source_of(shown).discover())) == from_powercap


def _powercap(machine: Machine) -> tuple[Zone, ...]:
    from raplica_reader import discover

    return discover(machine.sysfs)


@pytest.mark.parametrize(
    ("machine_id", "path", "unit_nj"),
    [
        ("kabylake", "package-0", Fraction(10**9, 2**14)),
        ("kabylake", "package-0/dram", Fraction(10**9, 2**14)),
        ("kabylake", "psys", Fraction(10**9, 2**14)),
        ("sandybridge", "package-0/uncore", Fraction(10**9, 2**16)),
        ("skylake-sp-2s", "package-1/dram", Fraction(15_300)),
        ("sapphirerapids-2s", "package-1/dram", Fraction(10**9, 2**14)),
        ("sapphirerapids-2s", "psys", Fraction(10**9)),
        ("baytrail", "package-0/core", Fraction(32_000)),
        ("zen2-epyc-2s", "package-1/core-15", Fraction(10**9, 2**16)),
    ],
)
def test_the_unit_is_that_of_the_model_and_the_domain(
    machine_id: str, path: str, unit_nj: Fraction, faces: type[Faces]
) -> None:
    zones = {zone.path: zone for zone in source_of(faces(Machine.from_profile(machine_id))).discover()}
    assert unit_of(zones[path]) == unit_nj
    assert zones[path].counter.unit_nj == unit_nj
    assert zones[path].counter.exact


def test_the_counters_of_zen_4_have_64_bits_and_those_before_it_32(faces: type[Faces]) -> None:
    bits = {}
    for machine_id in ("zen2-epyc-2s", "zen4", "kabylake"):
        package = source_of(faces(Machine.from_profile(machine_id))).discover()[0]
        bits[machine_id] = package.counter.period
    assert bits == {"zen2-epyc-2s": 2**32, "zen4": 2**64, "kabylake": 2**32}


def test_a_counter_of_zen_4_is_read_past_where_powercap_wraps(faces: type[Faces]) -> None:
    machine = Machine.from_profile("zen4")
    machine.msr.poke(0, 0xC001029B, 2**32 - 5)
    shown = faces(machine)
    sampler = Sampler(source_of(shown).discover(), clock=shown.now_ns)
    meter = Meter()
    meter.add(sampler.sample())
    before_uj = machine.truth_uj("package-0")
    machine.clock.advance(seconds=7200)  # several times the 65 kJ that 32 bits hold
    meter.add(sampler.sample())
    spent = meter.total()[0]
    assert spent.energy_uj == pytest.approx(machine.truth_uj("package-0") - before_uj, abs=18)


def test_every_core_of_an_amd_package_is_read_once_by_the_first_of_its_threads(faces: type[Faces]) -> None:
    machine = Machine.from_profile("zen4")
    zones = source_of(faces(machine)).discover()
    assert paths(zones) == ["package-0", *(f"package-0/core-{number}" for number in range(16))]
    gauges = [zone.gauge for zone in zones[1:]]
    assert [gauge.cpus for gauge in gauges if isinstance(gauge, EnergyRegister)] == [(n, n + 16) for n in range(16)]
    assert [share.counted for share in shares(zones)] == [True] + [False] * 16


def test_a_package_of_several_dies_is_read_in_each_die(faces: type[Faces]) -> None:
    machine = Machine.from_profile("cascadelake-ap-2s", kernel="6.12")
    zones = source_of(faces(machine)).discover()
    assert [zone.path for zone in zones if zone.parent is None] == [
        "package-0-die-0",
        "package-0-die-1",
        "package-1-die-2",
        "package-1-die-3",
    ]
    assert all(share.counted for share in shares(zones))


def test_one_cpu_of_each_package_is_asked_and_another_when_it_goes_offline(faces: type[Faces]) -> None:
    machine = Machine.from_profile("skylake-sp-2s")
    shown = faces(machine)
    source = source_of(shown)
    follower = Follower(source, Sampler(source.discover(), clock=shown.now_ns))
    follower.sample()
    shown.registers.log.clear()
    machine.clock.advance(seconds=10)
    assert {spent.status for spent in follower.sample()} == {"ok"}
    assert set(shown.registers.log) == {(0, 0x611), (0, 0x619), (20, 0x611), (20, 0x619)}
    machine.cpu(20).offline()
    machine.clock.advance(seconds=10)
    assert {spent.status for spent in follower.sample()} == {"ok"}
    shown.registers.log.clear()
    machine.clock.advance(seconds=10)
    follower.sample()
    assert set(shown.registers.log) == {(0, 0x611), (0, 0x619), (21, 0x611), (21, 0x619)}
    assert follower.meter.total()[2].energy_uj == pytest.approx(machine.truth_uj("package-1"), rel=1e-6)


def test_a_package_that_goes_offline_is_gone_and_goes_on_when_it_is_back(faces: type[Faces]) -> None:
    machine = Machine.from_profile("skylake-sp-2s")
    shown = faces(machine)
    source = source_of(shown)
    follower = Follower(source, Sampler(source.discover(), clock=shown.now_ns))
    follower.sample()
    second = [cpu.number for cpu in machine.profile.topology.cpus if cpu.package == 1]
    for cpu in second:
        machine.cpu(cpu).offline()
    machine.clock.advance(seconds=5)
    gone = {spent.zone.path: spent.error for spent in follower.sample()}
    assert gone == {"package-0": None, "package-0/dram": None, "package-1": "ENODEV", "package-1/dram": "ENODEV"}
    machine.cpu(second[3]).online()
    machine.clock.advance(seconds=5)
    assert {spent.zone.path: spent.status for spent in follower.sample()}["package-1"] == "ok"
    assert follower.meter.total()[2].energy_uj == pytest.approx(machine.truth_uj("package-1"), rel=1e-5)


def test_a_core_that_goes_offline_does_not_give_its_name_to_another(faces: type[Faces]) -> None:
    machine = Machine.from_profile("zen4")
    shown = faces(machine)
    source = source_of(shown)
    follower = Follower(source, Sampler(source.discover(), clock=shown.now_ns))
    follower.sample()
    for cpu in (3, 19):
        machine.cpu(cpu).offline()
    machine.clock.advance(seconds=10)
    errors = {spent.zone.path: spent.error for spent in follower.sample()}
    assert len(errors) == 17
    assert [path for path, error in errors.items() if error] == ["package-0/core-3"]


def test_a_die_keeps_its_name_when_the_other_is_down(faces: type[Faces]) -> None:
    machine = Machine.from_profile("cascadelake-ap-2s")
    shown = faces(machine)
    source = source_of(shown)
    source.discover()
    for cpu in machine.profile.topology.cpus:
        if cpu.die == 1:
            machine.cpu(cpu.number).offline()
    assert paths(source.discover())[::2] == ["package-0-die-0", "package-1-die-2"]


def test_where_nobody_says_who_shares_a_package_one_cpu_is_asked_and_a_note_says_so(faces: type[Faces]) -> None:
    shown = faces(Machine.from_profile("skylake-sp-2s"), topology=False)
    source = Msr(shown.registers, shown.files, None, Processor("GenuineIntel", 6, 85))
    assert paths(source.discover()) == ["package-0", "package-0/dram"]
    assert source.notes == ("nobody says which CPUs share a package: only CPU 0 is asked, and called package-0",)


@pytest.mark.parametrize(("machine_id", "found"), [("skylake-sp-2s", ["package-0"]), ("zen4", ["package-0"])])
def test_without_a_model_nothing_is_read_whose_unit_depends_on_it(
    machine_id: str, found: list[str], faces: type[Faces]
) -> None:
    machine = Machine.from_profile(machine_id)
    source = Msr(faces(machine).registers, OsFiles("/nonexistent"), None)
    assert [path for path in paths(source.discover()) if "core-" not in path] == found
    assert source.notes[-1].startswith("the CPU model is not known, so dram and psys are left out")


def test_a_model_whose_dram_unit_nobody_knows_has_no_dram(faces: type[Faces]) -> None:
    shown = faces(Machine.from_profile("skylake-sp-2s"))
    zones = source_of(shown, Processor("GenuineIntel", 6, 0xFE)).discover()
    assert paths(zones) == ["package-0", "package-1"]


def test_a_machine_without_energy_registers_has_no_zones(faces: type[Faces]) -> None:
    shown = faces(Machine.from_profile("dtpm"))
    assert source_of(shown).discover() == ()


class Refusing:
    """Registers that nobody may read."""

    def __init__(self, code: int) -> None:
        self.code = code

    def cpus(self) -> list[int]:
        return [0]

    def read(self, cpu: int, register: int) -> int:
        raise OSError(self.code, f"CPU {cpu}, {register:#x}")


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM])
def test_registers_that_may_not_be_read_are_refused_with_the_kernels_errno(code: int) -> None:
    with pytest.raises(OSError, match="CPU 0") as refused:
        Msr(Refusing(code), OsFiles("/nonexistent")).discover()
    assert refused.value.errno == code


def test_no_device_at_all_is_enoent() -> None:
    class Nobody(Refusing):
        def cpus(self) -> list[int]:
            return []

    with pytest.raises(FileNotFoundError):
        Msr(Nobody(0), OsFiles("/nonexistent")).discover()


def test_a_register_that_faults_later_is_eio_and_keeps_its_baseline(faces: type[Faces]) -> None:
    machine = Machine.from_profile("kabylake")
    shown = faces(machine)
    sampler = Sampler(source_of(shown).discover(), clock=shown.now_ns)
    meter = Meter()
    meter.add(sampler.sample())
    machine.clock.advance(seconds=10)
    machine.msr.inject(0, 0x619, on="read", errno=errno.EIO)
    failed = {spent.zone.path: spent.error for spent in meter.add(sampler.sample())}
    assert [path for path, error in failed.items() if error == "EIO"] == ["package-0/dram"]
    machine.msr.inject(0, 0x619, on="read", errno=None)
    machine.clock.advance(seconds=10)
    healed = {spent.zone.path: spent for spent in meter.add(sampler.sample())}
    assert healed["package-0/dram"].duration_ns == 20 * 10**9


def test_a_machine_that_was_reset_is_told_from_one_that_wrapped(faces: type[Faces]) -> None:
    machine = Machine.from_profile("skylake-sp-2s")
    machine.clock.advance(seconds=600)
    shown = faces(machine)
    sampler = Sampler(source_of(shown).discover(), clock=shown.now_ns)
    meter = Meter()
    meter.add(sampler.sample())
    machine.clock.advance(seconds=1)
    machine.reset()
    assert {spent.status for spent in meter.add(sampler.sample())} == {"reset"}


class FilteringRegisters(Refusing):
    """One register, which is MSR 0xbc."""

    def __init__(self, word: int) -> None:
        super().__init__(errno.EIO)
        self.word = word

    def read(self, cpu: int, register: int) -> int:
        return self.word if register == 0xBC else super().read(cpu, register)


@pytest.mark.parametrize(
    ("registers", "is_on", "words"),
    [
        (FilteringRegisters(1), True, "energy filtering: on"),
        (FilteringRegisters(0xFFFE), False, "energy filtering: off"),
        (Refusing(errno.EIO), None, "this processor has no switch for it"),
        (Refusing(errno.EACCES), None, "not known, MSR 0xbc cannot be read (EACCES)"),
    ],
)
def test_energy_filtering_is_on_off_or_not_known(registers: Refusing, is_on: bool | None, words: str) -> None:  # noqa: FBT001
    told, line = energy_filtering(registers)
    assert told is is_on
    assert words in line


def test_a_cpu_that_goes_offline_in_the_middle_costs_nothing(faces: type[Faces]) -> None:
    machine = Machine.from_profile("skylake-sp-2s")
    shown = faces(machine)
    sampler = Sampler(source_of(shown).discover(), clock=shown.now_ns)
    meter = Meter()
    meter.add(sampler.sample())
    machine.cpu(20).offline()
    assert [spent.error for spent in meter.add(sampler.sample())] == [None] * 4
    machine.clock.advance(seconds=10)
    assert {spent.status for spent in meter.add(sampler.sample())} == {"ok"}
