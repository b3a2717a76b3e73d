# SPDX-License-Identifier: Apache-2.0
"""Registers behind the Scaphandre driver for Windows, in each of its versions, against simulated machines' truth."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from raplica_fixtures import profile_ids
from raplica_reader import Meter, Sampler, Zone, shares
from raplica_reader.processor import Processor
from raplica_reader.windows import Scaphandre
from raplica_reader.windows_driver import BY_CODE, EIGHT, FOUR, DriverRegisters
from raplica_simulator import Machine, load_profile
from raplica_simulator.windows.scaphandre_driver import ScaphandreDriver
from raplica_simulator.windows.system import WindowsSystem

from .scaphandre import KABYLAKE, driver, paths, process_of

WITH_REGISTERS = [one for one in profile_ids() if any(load_profile(one).registers.values())]
OF_VERSION_2 = ("v2-4", "v2-8", "v2-8-open")
LATER = ("v2-8-allow", "v3", "v3.1", "v3.2", "fixed")
SKYLAKE = {"package-0", "package-0/dram", "package-1", "package-1/dram"}
CASES = [
    ("kabylake", "v1", {"package-0"}),
    *(("kabylake", version, KABYLAKE | {"psys"}) for version in (*OF_VERSION_2, "v3.1", "v3.2", "fixed")),
    *(("kabylake", version, KABYLAKE) for version in ("v2-8-allow", "v3")),
    ("skylake-sp-2s", "v1", {"package-0", "package-1"}),
    *(("skylake-sp-2s", version, SKYLAKE) for version in (*OF_VERSION_2, *LATER)),
    *(
        ("zen2-epyc-2s", version, {"package-0", "package-1"})
        for version in ("v2-4", "v2-8", "v2-8-open", "v3.2", "fixed")
    ),
    *(("zen4", version, {"package-0"}) for version in ("v2-4", "v2-8", "v3.2", "fixed")),
]


def step_uj(zone: Zone) -> float:
    return float(zone.counter.unit_nj or 0) / 1000


def near_the_wrap(machine: Machine) -> None:
    """Let every energy counter of 32 bits begin anew within a few seconds."""
    for cpu in machine.profile.topology.cpus:
        for register in (0x611, 0x619, 0x639, 0x641, 0x64D, 0xC001029A, 0xC001029B):
            try:
                standing = machine.msr.read(cpu.number, register)
            except OSError:
                continue
            if standing and cpu.thread == 0:
                machine.msr.poke(cpu.number, register, standing | 0xFFFFF000)


@pytest.mark.parametrize(("machine_id", "version", "expected"), CASES)
def test_every_version_gives_the_truth_to_the_unit_across_wraps(
    machine_id: str, version: str, expected: set[str]
) -> None:
    machine = Machine.from_profile(machine_id)
    near_the_wrap(machine)
    zones = Scaphandre(process_of(machine, version)).discover()
    assert {path for path in paths(zones) if "core-" not in path} == expected
    with Sampler(zones, clock=lambda: machine.clock.now_ns) as sampler:
        first = sampler.sample()
        before_uj = {path: machine.truth_uj(path) for path in paths(zones)}
        meter = Meter()
        meter.add(first)
        latest = first
        for _ in range(3):
            machine.clock.advance(seconds=60)
            latest = sampler.sample()
            meter.add(latest)
    for spent in meter.total():
        path = spent.zone.path
        truth_uj = machine.truth_uj(path) - before_uj[path]
        assert spent.energy_uj is not None, path
        assert truth_uj > 0
        assert abs(spent.energy_uj - truth_uj) <= step_uj(spent.zone) + 2, path
    wrapped = [one for one, other in zip(first.counts, latest.counts, strict=True) if (other or 0) < (one or 0)]
    assert bool(wrapped) == (machine_id != "zen4")  # whose counters have 64 bits
    counted = {zone.path for zone, share in zip(zones, shares(zones), strict=True) if share.counted}
    assert counted == {path for path in expected if path.startswith("package") and "core" not in path} - {
        "package-0/uncore"
    }


@pytest.mark.parametrize("machine_id", ["zen2-epyc-2s", "zen4"])
@pytest.mark.parametrize("version", ["v3.2", "fixed"])
def test_each_core_of_an_amd_package_is_read_on_that_core(machine_id: str, version: str) -> None:
    machine = Machine.from_profile(machine_id)
    zones = Scaphandre(process_of(machine, version)).discover()
    counts = {zone.path: zone.gauge.decode(zone.gauge.once()) for zone in zones if "core-" in zone.path}
    standing = {
        f"package-{cpu.package}/core-{cpu.core}": machine.msr.read(cpu.number, 0xC001029A)
        for cpu in machine.profile.topology.cpus
    }
    assert counts == standing


@pytest.mark.parametrize("version", ["v1", "v2-4", "v2-8-open", "v2-8-allow", "v3"])
@pytest.mark.parametrize("machine_id", WITH_REGISTERS)
def test_no_version_without_a_guard_is_asked_for_what_takes_the_machine_down(machine_id: str, version: str) -> None:
    system = WindowsSystem.with_driver(Machine.from_profile(machine_id), driver(version))
    source = Scaphandre(system.process(administrator=False))
    if machine_id.startswith("zen") and version not in OF_VERSION_2:
        with pytest.raises(OSError, match="AMD's unit register") as refused:
            source.discover()
        assert refused.value.errno == errno.ENOSYS
    else:
        assert source.discover()[0].path.startswith("package-0")
    assert system.crashed is None


@pytest.mark.parametrize(
    ("version", "dialect"), [("v1", BY_CODE), ("v2-4", FOUR), ("v2-8", EIGHT), ("v2-8-allow", EIGHT), ("v3.2", EIGHT)]
)
def test_the_protocol_is_found_and_said(version: str, dialect: Any) -> None:
    source = Scaphandre(process_of(Machine.from_profile("kabylake"), version))
    source.discover()
    assert source.about == f"{dialect.name}; placed by the thread that asks"
    is_said = any("take the machine down" in note for note in source.notes)
    assert is_said == (version not in {"v1", "v3.2"})


def test_a_driver_without_a_list_and_one_without_psys_on_it_are_not_taken_for_guarded() -> None:
    guarded = {}
    for version in (*OF_VERSION_2, *LATER):
        registers = DriverRegisters(
            process_of(Machine.from_profile("kabylake"), version), Processor("GenuineIntel", 6, 142)
        )
        registers.learn()
        guarded[version] = registers.is_guarded
    assert [version for version, is_guarded in guarded.items() if is_guarded] == ["v3.1", "v3.2", "fixed"]


def test_looking_leaves_no_handle_and_reading_one() -> None:
    system = WindowsSystem.with_driver(Machine.from_profile("skylake-sp-2s"), ScaphandreDriver())
    zones = Scaphandre(system.process(administrator=False)).discover()
    assert system.kernel.devices[0].open_handles == 0
    with Sampler(zones) as sampler:
        sampler.sample()
        assert system.kernel.devices[0].open_handles == 1
    assert system.kernel.devices[0].open_handles == 0
