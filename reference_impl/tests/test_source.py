# SPDX-License-Identifier: Apache-2.0
"""Which source is taken, and what is said of it and of the others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from raplica_reader import Host, choose
from raplica_reader.processor import Processor
from raplica_reader.source import Choice

if TYPE_CHECKING:
    from tests.conftest import Tree

SPARSE = {0x606: 0xA0E03, 0x611: 0x1234, 0x619: 0x99, 0x64D: 0}


@pytest.fixture
def dev(tmp_path: Path) -> Path:
    """Devices of two CPUs as files with holes: eight bytes at each register's offset, and faults nowhere."""
    for cpu in (0, 1):
        device = tmp_path / f"dev/cpu/{cpu}/msr"
        device.parent.mkdir(parents=True)
        with device.open("wb") as file:
            file.truncate(0x2000)
            for register, word in SPARSE.items():
                file.seek(register)
                file.write(word.to_bytes(8, "little"))
    return tmp_path / "dev"


@pytest.fixture
def chosen() -> Iterator[list[Choice]]:
    """Choices whose samplers are closed at the end."""
    choices: list[Choice] = []
    yield choices
    for choice in choices:
        choice.sampler.close()


def test_a_tree_of_another_machine_is_read_by_powercap_alone(client: Tree, chosen: list[Choice]) -> None:
    chosen.append(choose(Host(str(client.root))))
    assert (chosen[0].source.name, chosen[0].why, chosen[0].others) == ("powercap", "6 of 6 counters can be read", ())
    assert chosen[0].trouble is None


def test_registers_are_taken_where_powercap_has_no_counter_that_can_be_read(
    client: Tree, dev: Path, chosen: list[Choice]
) -> None:
    for file in client.devices.rglob("energy_uj"):
        client.write(file.parent.name, b"")
    machine = Host(str(client.root), str(dev), Processor.parse("6:158"))
    chosen.append(choose(machine))
    assert chosen[0].source.name == "msr"
    assert chosen[0].others == (("powercap", "0 of 6 counters can be read (ENODATA)"),)
    assert [zone.path for zone in chosen[0].sampler.zones] == ["package-0", "package-0/dram"]
    assert chosen[0].notes == ("nobody says which CPUs share a package: only CPU 0 is asked, and called package-0",)


def test_powercap_is_taken_where_both_can_be_read_and_the_registers_when_asked_for(
    client: Tree, dev: Path, chosen: list[Choice]
) -> None:
    machine = Host(str(client.root), str(dev), Processor.parse("6:158"))
    chosen.append(choose(machine))
    assert (chosen[0].source.name, chosen[0].others) == ("powercap", (("msr", "not looked at: it comes later"),))
    chosen.append(choose(machine, "msr"))
    assert (chosen[1].source.name, chosen[1].why) == ("msr", "2 of 2 counters can be read; asked for")
    assert chosen[1].sampler.sample().counts == (0x1234, 0x99)


def test_places_in_the_tree_tell_packages_apart(client: Tree, dev: Path, chosen: list[Choice]) -> None:
    for cpu in (0, 1):
        folder = client.root / f"devices/system/cpu/cpu{cpu}/topology"
        folder.mkdir(parents=True)
        for name in ("physical_package_id", "core_id"):
            (folder / name).write_text(f"{cpu}\n")
    chosen.append(choose(Host(str(client.root), str(dev), Processor.parse("6:158")), "msr"))
    paths = [zone.path for zone in chosen[0].sampler.zones]
    assert paths == ["package-0", "package-0/dram", "package-1", "package-1/dram"]


def test_where_nothing_can_be_read_the_zones_that_there_are_are_told_with_their_errors(
    client: Tree, tmp_path: Path, chosen: list[Choice]
) -> None:
    for file in client.devices.rglob("energy_uj"):
        client.write(file.parent.name, b"")
    (tmp_path / "dev").mkdir()
    chosen.append(choose(Host(str(client.root), str(tmp_path / "dev"))))
    assert (chosen[0].source.name, len(chosen[0].sampler.zones)) == ("powercap", 6)
    assert chosen[0].others == (("msr", "none (ENOENT)"),)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("powercap", "class/powercap cannot be listed (ENOENT)"),
        ("perf", "bus/event_source/devices/power cannot be read (ENOENT)"),
        ("msr", "cpu/*/msr cannot be read (ENOENT): run as root, and load the module with `modprobe msr`"),
    ],
)
def test_a_source_that_is_not_there_is_said_to_be_missing(
    source: str, words: str, tmp_path: Path, chosen: list[Choice]
) -> None:
    chosen.append(choose(Host(str(tmp_path), str(tmp_path)), source))
    assert chosen[0].trouble is not None
    assert words in chosen[0].trouble
    assert chosen[0].sampler.zones == ()


def test_registers_that_count_nothing_are_said_to_count_nothing(tmp_path: Path, chosen: list[Choice]) -> None:
    device = tmp_path / "cpu/0/msr"
    device.parent.mkdir(parents=True)
    device.write_bytes(bytes(0x2000))
    chosen.append(choose(Host(str(tmp_path), str(tmp_path), Processor.parse("6:85")), "msr"))
    assert chosen[0].trouble == f"the registers below {tmp_path} count no energy (usual in a virtual machine)"


def test_looking_leaves_nothing_open(client: Tree, dev: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for source in ("auto", "msr", "powercap", "perf"):
        choose(Host(str(client.root), str(dev), Processor.parse("6:158")), source).sampler.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_this_machines_processor_file_is_not_asked_about_another_machine(tmp_path: Path) -> None:
    cpuinfo = Path("/proc/cpuinfo").read_bytes()
    assert (Host()._cpuinfo() or b"").partition(b"\n")[0] == cpuinfo.partition(b"\n")[0]
    assert Host("/sys", "/dev")._cpuinfo() is not None
    for other in (Host(str(tmp_path)), Host(None, str(tmp_path))):
        assert other._cpuinfo() is None


@pytest.mark.parametrize(
    ("host", "sources"),
    [
        (Host(), ("powercap", "perf", "msr")),
        (Host("/sys"), ("powercap", "perf", "msr")),
        (Host("/elsewhere"), ("powercap",)),
        (Host("/elsewhere", "/somewhere"), ("powercap", "msr")),
    ],
)
def test_auto_looks_at_what_belongs_to_the_machine(host: Host, sources: tuple[str, ...]) -> None:
    assert host.usual() == sources
