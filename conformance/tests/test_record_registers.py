# SPDX-License-Identifier: Apache-2.0
"""`conformance record`: the registers that are read."""

import errno
import os
from pathlib import Path

import pytest

from raplica_conformance.record.places import Places
from raplica_conformance.record.processors import read_processors
from raplica_conformance.record.registers import REGISTERS, read_registers, settle
from raplica_fixtures.recording import (
    ReadResult,
    Topology,
)
from raplica_simulator.hardware.registers import AMD_REGISTERS, INTEL_REGISTERS

from .record_files import cpus, files, processors, zones


def test_only_registers_of_rapl_are_ever_asked_for_and_each_that_its_driver_uses() -> None:
    known = {register.address for register in (*INTEL_REGISTERS, *AMD_REGISTERS)}
    for vendor, addresses in REGISTERS.items():
        assert set(addresses) <= known, vendor
    assert {0x606, 0x610, 0x611, 0x614, 0x618, 0x619, 0x61C, 0x638, 0x639, 0x640, 0x641, 0x64D, 0x65C, 0x601} <= set(
        REGISTERS["GenuineIntel"]
    )
    assert set(REGISTERS["AuthenticAMD"]) == {register.address for register in AMD_REGISTERS}


def device(dev: Path, cpu: int, words: dict[int, int]) -> Path:
    """A file that answers as the device does, up to its end."""
    path = dev / f"cpu/{cpu}/msr"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        for address, word in words.items():
            file.seek(address)
            file.write(word.to_bytes(8, "little"))
    return path


def test_registers_are_read_little_endian_and_what_does_not_answer_is_left_out(tmp_path: Path) -> None:
    device(tmp_path, 0, {0x606: 0xA0E03})
    table, refusal = read_registers(tmp_path, processors())
    assert refusal == 0
    assert table[0][0x606] == 0xA0E03
    # The file ends there; what a processor does not have faults as well.
    assert max(table[0]) == 0x606


@pytest.mark.parametrize(
    ("dev", "vendor", "refusal"),
    [(None, "GenuineIntel", errno.ENOENT), ("", "GenuineIntel", errno.ENOENT), ("", "unknown", errno.ENODEV)],
)
def test_without_devices_or_on_an_unknown_processor_there_are_none(
    dev: str | None, vendor: str, refusal: int, tmp_path: Path
) -> None:
    place = None if dev is None else tmp_path
    assert read_registers(place, processors(vendor=vendor)) == ({}, refusal)


def test_a_refusal_that_no_recording_can_hold_is_an_input_output_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EUCLEAN, "clean me")

    monkeypatch.setattr(os, "open", refuse)
    assert read_registers(tmp_path, processors()) == ({}, errno.EIO)


def test_counters_are_read_again_until_their_register_stands_still_around_them(tmp_path: Path) -> None:
    known = processors(((0, 0), (0, 1), (1, 0)))
    tree = zones("package-0-die-1", "/dram", "package-1", "psys", "odd", "package-9", "/core", "psys")
    for path in tree:
        files(tmp_path, {path: "77\n"})
    for cpu in known.leaders:
        device(tmp_path / "dev", cpu, {0x64D: 9, 0x611: 5, 0x619: 6})
    table = {die: {0x611: 1, 0x619: 1, 0x64D: 1} for die in known.leaders}
    settled, words = settle(tree, table, tmp_path, tmp_path / "dev", known)
    assert words[1] == {0x611: 5, 0x619: 6, 0x64D: 9}  # package-0-die-1, its dram, and the second psys
    assert words[2][0x611] == 5  # package-1 has one die, whatever its number
    assert words[0] == {0x611: 1, 0x619: 1, 0x64D: 9}  # no zone of its own but the first psys
    again = {path for path in tree if settled[path] != tree[path]}
    stayed = {path for path in tree if path.endswith("energy_uj")} - again
    assert {path.split("/")[4] for path in stayed} == {"intel-rapl:3", "intel-rapl:4"}
    assert all(settled[path].read == ReadResult(content=b"77\n") for path in again)
    assert table[1][0x611] == 1


def test_a_counter_that_never_stands_still_or_whose_processor_went_down_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = zones("package-0")
    files(tmp_path, dict.fromkeys(tree, "77\n"))
    ticks = iter(range(1000))
    monkeypatch.setattr(os, "pread", lambda *_: next(ticks).to_bytes(8, "little"))
    assert settle(tree, {0: {0x611: 1}}, tmp_path, tmp_path, processors()) == (tree, {0: {0x611: 1}})
    device(tmp_path, 0, {0x611: 5})
    assert settle(tree, {0: {0x611: 1}}, tmp_path, tmp_path, processors()) == (tree, {0: {0x611: 1}})
    assert next(ticks) > 20
    assert settle(tree, {}, tmp_path, tmp_path, processors()) == (tree, {})


def test_numbers_of_thousands_of_digits_and_endless_lists_are_no_processors(places: Places) -> None:
    long = "9" * 5000
    cpus(places, {0: (0, 0, 0)}, "0-8000," * 2_000 + f"{long}-{long}")
    files(places.sys / "devices/system/cpu/cpu0/topology", {"core_id": long})
    assert places.proc is not None
    files(places.proc, {"cpuinfo": f"vendor_id : GenuineIntel\nmodel : {long}\n"})
    found = read_processors(places, [f"package-{long}\n".encode()])
    assert (found.online, found.cpu.model, found.topology) == (1, 0, Topology(1, 1, 1, 1))
    files(places.sys / "devices/system/cpu/cpu0/topology", {"physical_package_id": long})
    assert read_processors(places, [f"package-{long}\n".encode()]).topology.packages == 1
