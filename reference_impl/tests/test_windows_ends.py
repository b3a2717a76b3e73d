# SPDX-License-Identifier: Apache-2.0
"""A Scaphandre driver that fails, stops, is replaced or is none at all."""

from __future__ import annotations

import errno

import pytest

from raplica_reader import Follower, Meter, Sampler
from raplica_reader.windows import Scaphandre
from raplica_simulator import Machine
from raplica_simulator.windows.scaphandre_driver import ScaphandreDriver
from raplica_simulator.windows.system import WindowsSystem

from .scaphandre import KABYLAKE, paths, process_of


def test_a_register_that_faults_is_an_error_and_its_energy_is_made_up_for() -> None:
    machine = Machine.from_profile("kabylake")
    with Sampler(Scaphandre(process_of(machine, "v3.2")).discover(), clock=lambda: machine.clock.now_ns) as sampler:
        meter = Meter()
        meter.add(sampler.sample())
        machine.clock.advance(seconds=10)
        for cpu in machine.profile.topology.cpus:
            machine.msr.inject(cpu.number, 0x619, on="read", errno=errno.EIO)
        sample = sampler.sample()
        assert dict(zip(paths(sample.zones), sample.errors, strict=True))["package-0/dram"] == "EIO"
        assert dict(zip(paths(sample.zones), sample.counts, strict=True))["package-0/dram"] is None
        meter.add(sample)
        for cpu in machine.profile.topology.cpus:
            machine.msr.inject(cpu.number, 0x619, on="read", errno=None)
        machine.clock.advance(seconds=10)
        healed = {spent.zone.path: spent for spent in meter.add(sampler.sample())}
    assert healed["package-0/dram"].duration_ns == 20 * 10**9
    assert healed["package-0/dram"].energy_uj == pytest.approx(25_000_000, abs=200)  # 1.25 W


def test_a_unit_that_cannot_be_read_ends_the_search() -> None:
    machine = Machine.from_profile("kabylake")
    for cpu in machine.profile.topology.cpus:
        machine.msr.inject(cpu.number, 0x606, on="read", errno=errno.EIO)
    assert Scaphandre(process_of(machine, "v3.2")).discover() == ()


def test_a_driver_that_is_stopped_is_an_error_until_it_runs_again() -> None:
    machine = Machine.from_profile("kabylake")
    system = WindowsSystem.with_driver(machine, ScaphandreDriver())
    source = Scaphandre(system.process(administrator=False))
    follower = Follower(source, Sampler(source.discover(), clock=lambda: machine.clock.now_ns))
    follower.sample()
    system.reboot()
    assert {spent.error for spent in follower.sample()} == {"EBADF"}
    assert {spent.error for spent in follower.sample()} == {"ENOENT"}
    system.kernel.load(ScaphandreDriver())
    machine.clock.advance(seconds=1)
    follower.sample()
    machine.clock.advance(seconds=1)
    assert {spent.status for spent in follower.sample()} == {"ok"}
    follower.sampler.close()
    assert all(device.open_handles == 0 for device in system.kernel.devices)


def test_a_driver_of_another_version_that_comes_in_its_place_is_asked_in_its_own_way() -> None:
    machine = Machine.from_profile("kabylake")
    system = WindowsSystem.with_driver(machine, ScaphandreDriver())
    source = Scaphandre(system.process())
    follower = Follower(source, Sampler(source.discover(), clock=lambda: machine.clock.now_ns))
    follower.sample()
    system.reboot()
    assert {spent.error for spent in follower.sample()} == {"EBADF"}
    system.kernel.load(ScaphandreDriver("v2-4"))
    follower.sample()
    machine.clock.advance(seconds=1)
    assert {spent.zone.path: spent.status for spent in follower.sample()} == dict.fromkeys(KABYLAKE | {"psys"}, "ok")
    assert source.about.startswith("register in 4 bytes")
    follower.sampler.close()


@pytest.mark.parametrize("version", ["v0-none", "v0-ones", "v0-unit"])
def test_the_first_trials_of_the_driver_that_answer_everything_are_refused(version: str) -> None:
    system = WindowsSystem.with_driver(Machine.from_profile("kabylake"), ScaphandreDriver(version))
    with pytest.raises(OSError, match="stands for no register") as refused:
        Scaphandre(system.process()).discover()
    assert refused.value.errno == errno.ENOSYS
    assert system.crashed is None


def test_without_a_driver_it_is_enoent() -> None:
    with pytest.raises(OSError, match=r"RAPLDriver|ScaphandreDriver") as missing:
        Scaphandre(WindowsSystem(Machine.from_profile("kabylake")).process()).discover()
    assert missing.value.errno == errno.ENOENT
