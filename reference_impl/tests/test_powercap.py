# SPDX-License-Identifier: Apache-2.0
"""Which zones are found in which tree. Many of these trees have broken other readers."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from raplica_reader import Zone, discover
from raplica_reader.energy_file import EnergyFile

if TYPE_CHECKING:
    from tests.conftest import Memory, Tree


def paths(zones: Sequence[Zone]) -> dict[str, str]:
    """The paths of zones by their id."""
    return {zone.id: zone.path for zone in zones}


def directory_of(zone: Zone) -> str | None:
    """Where the attributes of a zone are, relative to the root of the tree."""
    assert isinstance(zone.gauge, EnergyFile)
    return zone.gauge.directory


def test_every_zone_of_a_client_is_found_with_its_name_and_parent(client: Tree) -> None:
    zones = discover(client.root)
    assert paths(zones) == {
        "intel-rapl:0": "package-0",
        "intel-rapl:0:0": "package-0/core",
        "intel-rapl:0:1": "package-0/uncore",
        "intel-rapl:0:2": "package-0/dram",
        "intel-rapl:1": "psys",
        "intel-rapl-mmio:0": "intel-rapl-mmio/package-0",
    }
    core = zones[1]
    assert (core.name, core.control_type, core.parent) == ("core", "intel-rapl", "intel-rapl:0")
    assert directory_of(core) == "devices/virtual/powercap/intel-rapl/intel-rapl:0/intel-rapl:0:0"
    assert (core.max_energy_range_uj, core.has_energy, core.error) == (262_143_328_850, True, None)


def test_names_come_from_the_file_and_never_from_the_position(tree: Tree) -> None:
    tree.zone("intel-rapl:0", "package-1")
    tree.zone("intel-rapl:0:0", "dram")
    tree.zone("intel-rapl:1", "psys-1")
    tree.zone("intel-rapl:2", "package-0")
    assert list(paths(discover(tree.root)).values()) == ["package-1", "package-1/dram", "psys-1", "package-0"]


def test_ids_are_hexadecimal_numbers(tree: Tree) -> None:
    for number in range(18):
        tree.zone(f"intel-rapl:{number:x}", f"package-{number}")
    assert [zone.name for zone in discover(tree.root)] == [f"package-{number}" for number in range(18)]


def test_an_id_that_is_no_number_comes_after_those_that_are(tree: Tree) -> None:
    tree.zone("intel-rapl:x", "odd")
    tree.zone("intel-rapl:10", "package-1")
    assert [zone.name for zone in discover(tree.root)] == ["package-1", "odd"]


def test_dies_have_zones_of_their_own(tree: Tree) -> None:
    for number, name in enumerate(["package-0-die-0", "package-0-die-1", "package-1-die-0", "package-1-die-1"]):
        tree.zone(f"intel-rapl:{number}", name)
        tree.zone(f"intel-rapl:{number}:0", "dram")
    assert len({zone.path for zone in discover(tree.root)}) == 8


def test_a_name_that_nobody_knows_is_taken_as_it_is(tree: Tree) -> None:
    tree.zone("intel-rapl:0", "package-0")
    tree.zone("intel-rapl:0:0", "npu/2")
    zone = discover(tree.root)[1]
    assert (zone.name, zone.path) == ("npu/2", "package-0/npu!2")


def test_a_name_may_lack_its_newline(tree: Tree) -> None:
    tree.zone("intel-rapl:0", "package-0", newline=False)
    assert discover(tree.root)[0].name == "package-0"


def test_a_zone_without_children_is_fine(tree: Tree) -> None:
    tree.zone("intel-rapl:0", "package-0")
    assert paths(discover(tree.root)) == {"intel-rapl:0": "package-0"}


def test_other_control_types_are_found_and_carry_their_name_in_front(tree: Tree) -> None:
    tree.zone("intel-rapl:0", "package-0")
    directory = tree.zone("dtpm:0", "soc", energy_uj=None, range_uj=None)
    (directory / "power_uw").write_text("1500000\n")
    tree.zone("dtpm:0:0", "cpu0-cpufreq", energy_uj=None, range_uj=None)
    zones = discover(tree.root)
    assert paths(zones) == {"intel-rapl:0": "package-0", "dtpm:0": "dtpm/soc", "dtpm:0:0": "dtpm/soc/cpu0-cpufreq"}
    assert [zone.has_energy for zone in zones] == [False, False, True]


def test_zones_that_share_a_name_keep_paths_of_their_own(tree: Tree) -> None:
    tree.zone("intel-rapl:0", "package-0")
    tree.zone("intel-rapl:1", "package-0")
    tree.zone("intel-rapl:1:0", "core")
    tree.zone("intel-rapl:2", "package-0[intel-rapl:1]")
    assert paths(discover(tree.root)) == {
        "intel-rapl:0": "package-0[intel-rapl:0]",
        "intel-rapl:1": "package-0[intel-rapl:1]",
        "intel-rapl:1:0": "package-0[intel-rapl:1]/core",
        "intel-rapl:2": "package-0[intel-rapl:1][intel-rapl:2]",
    }


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"caf\xc3\xa9\n", "caf\u00e9"),
        (b"pack\xffage\n", "pack\\xffage"),
        (b"two\nlines\n", "two\\nlines"),
        (b"\x1b[31mred\n", "\\x1b[31mred"),
        (b"nul\0\n", "nul\\x00"),
        (b"\n", None),
        (b"", None),
        (b"x" * 100_000, "x" * 4096),
    ],
)
def test_odd_bytes_in_a_name_are_shown_on_one_line(tree: Tree, name: bytes, shown: str | None) -> None:
    tree.zone("intel-rapl:0", name, newline=False)
    assert discover(tree.root)[0].name == shown


def test_a_directory_name_of_odd_bytes_can_be_read_and_shown(tree: Tree) -> None:
    tree.zone(os.fsdecode(b"odd\xff:0"), "soc", 7)
    zone = discover(tree.root)[0]
    assert (zone.id, zone.name) == ("odd\\udcff:0", "soc")


def test_a_zone_without_a_name_is_called_by_its_id(tree: Tree) -> None:
    (tree.zone("intel-rapl:0", "package-0") / "name").unlink()
    zone = discover(tree.root)[0]
    assert (zone.name, zone.path) == (None, "intel-rapl:0")


@pytest.mark.parametrize("content", [None, b"", b"junk\n", b"0x10\n", b"9" * 40])
def test_a_range_that_cannot_be_read_is_none(tree: Tree, content: bytes | None) -> None:
    file = tree.zone("intel-rapl:0", "package-0", range_uj=None) / "max_energy_range_uj"
    if content is not None:
        file.write_bytes(content)
    assert discover(tree.root)[0].max_energy_range_uj is None


def test_what_else_lies_in_a_directory_is_no_zone(tree: Tree) -> None:
    directory = tree.zone("intel-rapl:0", "package-0")
    (directory / "intel-rapl:0:notes").write_text("a file")
    (tree.links / "README").write_text("a file")
    (tree.links / "empty").mkdir()
    assert [zone.id for zone in discover(tree.root)] == ["intel-rapl:0"]


def test_plain_directories_in_place_of_links_are_read(tree: Tree) -> None:
    for zone_id, name in {"intel-rapl:0": "package-0", "intel-rapl:0:0": "core"}.items():
        (tree.links / zone_id).mkdir()
        (tree.links / zone_id / "name").write_text(name)
        (tree.links / zone_id / "energy_uj").write_text("5")
    assert paths(discover(tree.root)) == {"intel-rapl:0": "package-0", "intel-rapl:0:0": "package-0/core"}


def test_zones_that_the_class_does_not_list_are_found_in_the_directories(tree: Tree) -> None:
    tree.zone("intel-rapl:0", "package-0")
    tree.zone("intel-rapl:0:0", "core")
    for zone_id in ("intel-rapl:0", "intel-rapl:0:0"):
        (tree.links / zone_id).unlink()
    assert [zone.id for zone in discover(tree.root)] == ["intel-rapl:0", "intel-rapl:0:0"]


def test_without_a_class_directory_the_real_ones_are_searched(client: Tree) -> None:
    before = discover(client.root)
    client.links.rename(client.root / "class/elsewhere")
    assert discover(client.root) == before


def test_without_any_powercap_directory_the_answer_is_enoent(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="class/powercap"):
        discover(tmp_path)


def test_a_class_directory_that_may_not_be_listed_is_an_error(memory: type[Memory]) -> None:
    with pytest.raises(PermissionError):
        discover(memory({"class/powercap": PermissionError(errno.EACCES, "no")}))


def test_an_empty_class_directory_has_no_zones(tree: Tree) -> None:
    assert discover(tree.root) == ()


def test_links_whose_directories_a_container_hides_are_reported(client: Tree) -> None:
    client.devices.rename(client.root / "hidden")
    zones = discover(client.root)
    assert [zone.error for zone in zones] == ["ENOENT"] * 6
    assert [zone.path for zone in zones][:2] == ["intel-rapl:0", "intel-rapl:0/intel-rapl:0:0"]


def test_a_directory_that_may_not_be_listed_is_still_read(memory: type[Memory]) -> None:
    class Hidden(memory):  # type: ignore[misc, valid-type]
        def listdir(self, path: str) -> list[str]:
            if path.endswith(":0"):
                raise PermissionError(errno.EACCES, path)
            return list(super().listdir(path))

    zone = "class/powercap/intel-rapl:0"
    (found,) = discover(Hidden({f"{zone}/name": b"package-0\n", f"{zone}/energy_uj": b"5\n"}))
    assert (found.name, found.has_energy, found.error) == ("package-0", True, "EACCES")


def test_a_link_out_of_the_tree_is_not_followed(tree: Tree, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "name").write_text("secret\n")
    (tree.links / "intel-rapl:0").symlink_to(outside)
    (tree.links / "intel-rapl:1").symlink_to("../../../outside")
    (tree.links / "intel-rapl:2").symlink_to("intel-rapl:1")
    for zone in discover(tree.root):
        assert (zone.name, directory_of(zone), zone.error) == (None, None, "EXDEV")


def test_a_link_out_of_the_tree_in_the_middle_of_a_way_is_not_followed(tree: Tree, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "zone").mkdir(parents=True)
    (outside / "zone/name").write_text("secret\n")
    (tree.root / "way").symlink_to("../outside")
    (tree.links / "intel-rapl:0").symlink_to("../../way/zone")
    (zone,) = discover(tree.root)
    assert (zone.name, directory_of(zone), zone.error) == (None, None, "EXDEV")


def test_an_absolute_link_into_the_tree_is_followed(tree: Tree) -> None:
    directory = tree.zone("intel-rapl:0", "package-0")
    link = tree.links / "intel-rapl:0"
    link.unlink()
    link.symlink_to(directory)
    assert directory_of(discover(tree.root)[0]) == "devices/virtual/powercap/intel-rapl/intel-rapl:0"


def test_links_that_go_in_circles_end(tree: Tree) -> None:
    directory = tree.zone("intel-rapl:0", "package-0")
    (directory / "intel-rapl:0:0").symlink_to("../intel-rapl:0")
    (tree.links / "intel-rapl:1").symlink_to("intel-rapl:2")
    (tree.links / "intel-rapl:2").symlink_to("intel-rapl:1")
    assert {zone.id: zone.error for zone in discover(tree.root)} == {
        "intel-rapl:0": None,
        "intel-rapl:1": "ELOOP",
        "intel-rapl:2": "ELOOP",
    }


def test_an_attribute_that_is_a_link_or_a_pipe_neither_leads_out_nor_hangs(tree: Tree, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret\n")
    directory = tree.zone("intel-rapl:0", "package-0", range_uj=None)
    (directory / "name").unlink()
    (directory / "name").symlink_to(secret)
    os.mkfifo(directory / "max_energy_range_uj")
    zone = discover(tree.root)[0]
    assert (zone.name, zone.max_energy_range_uj) == (None, None)


@pytest.mark.untraced  # fewer zones show it
@pytest.mark.slow
def test_a_hundred_thousand_zones_are_no_trouble(memory: type[Memory]) -> None:
    entries: dict[str, bytes | str | OSError] = {}
    for number in range(100_000):
        entries[f"class/powercap/big:{number:x}"] = f"../../devices/virtual/powercap/big/big:{number:x}"
        entries[f"devices/virtual/powercap/big/big:{number:x}/name"] = b"one\n"
    zones = discover(memory(entries))
    assert len({zone.path for zone in zones}) == 100_000
    assert zones[-1].id == "big:1869f"


def test_zones_nested_as_deep_as_a_path_can_be_are_found(memory: type[Memory]) -> None:
    path = zone_id = "deep"
    entries: dict[str, bytes | str | OSError] = {}
    for _ in range(120):
        zone_id += ":0"
        path += f"/{zone_id}"
        entries[f"devices/virtual/powercap/{path}/name"] = b"level\n"
    assert discover(memory(entries))[-1].path == "deep/" + "/".join(["level"] * 120)
