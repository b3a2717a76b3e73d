# SPDX-License-Identifier: Apache-2.0
"""Who made the processor, and where its CPUs sit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_reader.processor import Place, Processor, cores, groups, has_dies, parse_cpus, places, processor

if TYPE_CHECKING:
    from tests.conftest import Memory

CPUINFO = b"""processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 85
model name\t: Intel(R) Xeon(R): the best
physical id\t: 0
core id\t\t: 4
flags\t\t:

processor\t: 1
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 85
physical id\t: 1
core id\t\t: 4
"""
TOPOLOGY = "devices/system/cpu/cpu{}/topology/"


def test_the_model_stands_in_cpuinfo(memory: type[Memory]) -> None:
    assert processor(memory({}), CPUINFO) == Processor("GenuineIntel", 6, 85)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"cpu:type:x86,ven0002fam0019mod0061:feature:,0000\n", Processor("AuthenticAMD", 0x19, 0x61)),
        (b"cpu:type:x86,ven0000fam0006mod008F:feature:,0000\n", Processor("GenuineIntel", 6, 0x8F)),
        (b"cpu:type:x86,ven0009fam0018mod0001:feature:,0000\n", Processor("HygonGenuine", 0x18, 1)),
        (b"cpu:type:aarch64:feature:,0000\n", None),
    ],
)
def test_without_cpuinfo_it_stands_in_modalias(memory: type[Memory], text: bytes, told: Processor | None) -> None:
    assert processor(memory({"devices/system/cpu/modalias": text}), None) == told


@pytest.mark.parametrize("text", [None, b"", b"processor: 0\n", b"vendor_id: x\ncpu family: six\nmodel: 1\n"])
def test_where_nobody_says_it_it_is_not_known(memory: type[Memory], text: bytes | None) -> None:
    assert processor(memory({}), text) is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("6:85", Processor("GenuineIntel", 6, 85)),
        ("0x19:0x61", Processor("AuthenticAMD", 25, 97)),
        ("18:1", Processor("GenuineIntel", 18, 1)),
    ],
)
def test_the_family_tells_the_vendor(text: str, told: Processor) -> None:
    assert Processor.parse(text) == told


@pytest.mark.parametrize("text", ["", "6", "6:", "6:85:1", "six:85", "-6:85"])
def test_what_is_no_family_and_model_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        Processor.parse(text)


def test_places_stand_in_sysfs_and_where_they_do_not_in_cpuinfo(memory: type[Memory]) -> None:
    folder = TOPOLOGY.format(0)
    files = memory(
        {f"{folder}physical_package_id": b"3\n", f"{folder}core_id": b"7\n", f"{folder}die_id": b"2\n"}
        | {f"{TOPOLOGY.format(2)}physical_package_id": b"3\n", f"{TOPOLOGY.format(2)}core_id": b"8\n"}
    )
    assert places(files, [0, 1, 2, 9], CPUINFO) == {0: Place(3, 2, 7), 1: Place(1, 0, 4), 2: Place(3, 0, 8)}


def test_cpus_are_grouped_by_package_and_by_die_where_that_is_how_registers_are_shared() -> None:
    found = {0: Place(0, 0, 0), 1: Place(0, 1, 0), 2: Place(1, 2, 0), 3: Place(1, 3, 0), 4: Place(0, 0, 1)}
    assert groups(found, per_die=True) == {
        "package-0-die-0": [0, 4],
        "package-0-die-1": [1],
        "package-1-die-2": [2],
        "package-1-die-3": [3],
    }
    assert groups(found, per_die=False) == {"package-0": [0, 4, 1], "package-1": [2, 3]}
    assert has_dies(found)
    assert not has_dies({0: Place(0, 0, 0), 1: Place(1, 1, 0)})


def test_cores_are_named_by_their_number_and_by_their_die_where_that_is_not_enough() -> None:
    found = {0: Place(0, 0, 0), 1: Place(0, 0, 5), 2: Place(0, 0, 0), 3: Place(0, 1, 5)}
    assert cores(found, found) == {"core-0": [0, 2], "core-5-die-0": [1], "core-5-die-1": [3]}
    assert cores(found, [1, 0]) == {"core-0": [0], "core-5": [1]}


@pytest.mark.parametrize(
    ("text", "cpus"),
    [(b"0\n", [0]), (b"0,28\n", [0, 28]), (b"0-3,8\n", [0, 1, 2, 3, 8]), (b"\n", []), (b"a-b\n", []), (b"0-\n", [])],
)
def test_lists_of_cpus_are_read(text: bytes, cpus: list[int]) -> None:
    if text == b"0-\n":
        cpus = [0]
    assert parse_cpus(text) == cpus


@given(st.binary(max_size=40))
def test_no_list_of_cpus_is_an_exception(text: bytes) -> None:
    assert all(cpu >= 0 for cpu in parse_cpus(text))
