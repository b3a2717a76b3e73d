# SPDX-License-Identifier: Apache-2.0
"""Packages and cores behind the Scaphandre driver are told apart, or counted once where they cannot be."""

from __future__ import annotations

import pytest

from raplica_reader import Sampler, shares
from raplica_reader.windows import Scaphandre
from raplica_simulator import Machine

from .scaphandre import Wrapped, paths, process_of


@pytest.mark.parametrize(("version", "way"), [("v3.2", "the thread that asks"), ("fixed", "the index of a CPU")])
def test_two_packages_of_one_group_are_told_apart_with_the_wrong_mask_and_with_the_right_one(
    version: str, way: str
) -> None:
    machine = Machine.from_profile("zen2-epyc-2s")
    process = process_of(machine, version)
    assert len({one.group for one in process.logical_processors()}) == 1
    source = Scaphandre(process)
    zones = source.discover()
    assert source.about.endswith(way)
    assert [zone.path for zone in zones if zone.parent is None] == ["package-0", "package-1"]
    assert not any(zone.mirror_of for zone in zones)


@pytest.mark.parametrize("version", ["v3.2", "fixed"])
@pytest.mark.parametrize(("machine_id", "several"), [("zen2-epyc-2s", 0xC001029B), ("zen4", 0xC001029A)])
def test_counters_that_stand_alike_by_chance_are_told_apart_as_soon_as_they_do_not(
    machine_id: str, several: int, version: str
) -> None:
    machine = Machine.from_profile(machine_id)
    topology = machine.profile.topology
    for cpu in topology.cpus:
        for register in (0xC001029A, 0xC001029B):
            machine.msr.poke(cpu.number, register, 0x12345678)
    source = Scaphandre(process_of(machine, version))
    zones = source.discover()
    assert len(zones) == topology.packages * (1 + topology.cores_per_die)
    assert (source.notes, [zone.mirror_of for zone in zones]) == ((), [None] * len(zones))
    with Sampler(zones) as sampler:
        assert set(sampler.sample().counts) == {0x12345678}
        last = [cpu.number for cpu in topology.cpus if cpu.thread == 0][-1]
        machine.msr.poke(last, several, 0x23456789)
        counts = dict(zip(paths(zones), sampler.sample().counts, strict=True))
        assert [path for path, count in counts.items() if count == 0x23456789] == [
            "package-1" if several == 0xC001029B else "package-0/core-15"
        ]
        assert set(sampler.sample().counts) == {0x12345678, 0x23456789}


def test_the_thread_is_given_back_to_where_it_was() -> None:
    process = process_of(Machine.from_profile("skylake-sp-2s"), "v3.2")
    before = process.thread.affinity
    with Sampler(Scaphandre(process).discover()) as sampler:
        sampler.sample()
    assert process.thread.affinity == before


def test_packages_that_show_one_counter_are_counted_once_and_their_cores_left_out() -> None:
    process = process_of(Machine.from_profile("zen2-epyc-2s"), "v3.2")
    stuck = Wrapped(process, set_thread_group_affinity=lambda *_: None)
    source = Scaphandre(stuck)
    zones = source.discover()
    assert paths(zones) == ["package-0", "package-1"]
    assert [share.counted for share in shares(zones)] == [True, False]
    assert zones[1].mirror_of == "scaphandre:package-0"
    assert source.notes == (
        "several cores of package-0 show one counter, so the driver does not go where it is sent: they are left out",
    )


def test_a_thread_that_cannot_be_moved_does_no_harm_where_the_driver_obeys_the_index() -> None:
    machine = Machine.from_profile("zen2-epyc-2s")
    source = Scaphandre(Wrapped(process_of(machine, "fixed"), set_thread_group_affinity=lambda *_: None))
    zones = source.discover()
    assert len(zones) == 34
    assert source.notes == ()
    assert sum(share.counted for share in shares(zones)) == 2


def test_an_intel_package_that_shows_another_ones_counter_has_no_memory_either() -> None:
    process = process_of(Machine.from_profile("haswell-ep-2s"), "v3.2")
    assert len({one.group for one in process.logical_processors()}) == 1
    stuck = Wrapped(process, set_thread_group_affinity=lambda *_: None)
    zones = Scaphandre(stuck).discover()
    assert paths(zones) == ["package-0", "package-0/dram", "package-1"]
    assert [share.counted for share in shares(zones)] == [True, True, False]
