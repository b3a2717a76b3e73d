# SPDX-License-Identifier: Apache-2.0
"""`conformance record`: the processors that are told."""

from dataclasses import replace

from raplica_conformance.record.places import Places
from raplica_conformance.record.processors import read_processors
from raplica_fixtures.recording import (
    Cpu,
    Topology,
)

from .record_files import cpus, files


def test_two_packages_of_two_dies_are_counted_and_each_die_has_a_leader(places: Places) -> None:
    seats = {cpu: (cpu // 4 % 2, cpu // 2 % 2, cpu % 2) for cpu in range(16)}
    cpus(places, {cpu: (package, die, core) for cpu, (package, die, core) in seats.items()}, "0-7,8-15")
    files(
        places.sys.parent / "proc",
        {
            "cpuinfo": "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 85\n"
            "model name\t: A CPU\nstepping\t: 7\nflags\t\t: fpu pts pln sse\n\nvendor_id : second\n"
        },
    )
    found = read_processors(places, [])
    assert found.cpu == Cpu("GenuineIntel", 6, 85, 7)
    assert (found.name, found.flags, found.online) == ("A CPU", ("pln", "pts"), 16)
    assert found.topology == Topology(2, 2, 2, 2)
    assert found.places == ((0, 0), (0, 1), (1, 0), (1, 1))
    assert found.leaders == {0: 0, 1: 2, 2: 4, 3: 6}
    assert found.notes == ()


def test_cores_of_two_kinds_and_processors_that_are_down_give_the_fullest_shape_and_a_note(places: Places) -> None:
    cpus(places, {0: (0, None, 0), 1: (0, None, 0), 2: (0, None, 1)}, "0-2,7")
    files(places.sys.parent / "proc", {"cpuinfo": "vendor_id : GenuineIntel\nno such line\nmodel : 99999\n"})
    found = read_processors(places, [])
    assert found.topology == Topology(1, 1, 2, 2)
    assert found.cpu == Cpu("GenuineIntel", 0, 255, 0)
    assert found.notes == ("the exact shape: 3 processors are up, and packages, dies or cores are not all alike",)


def test_where_nothing_tells_of_processors_the_zones_count_the_packages(places: Places) -> None:
    names = [b"package-0\n", b"core\n", b"package-2-die-1\n", b"psys\n"]
    found = read_processors(replace(places, proc=None), names)
    assert found.topology == Topology(3, 1, 1, 1)
    assert (found.cpu, found.online, found.leaders) == (Cpu("unknown", 0, 0, 0), 0, {})
    assert len(found.notes) == 2
    assert read_processors(places, []).topology.packages == 1
