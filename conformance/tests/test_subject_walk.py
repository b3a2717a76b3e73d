# SPDX-License-Identifier: Apache-2.0
"""Walking control types, zones and constraints over any provider."""

from pathlib import Path

import pytest

from raplica_conformance.subject import (
    CannotTell,
    Provider,
    Zone,
    constraints,
    control_types,
    exists,
    number,
    readable,
    zones,
)
from raplica_conformance.subjects.tree import WrittenTree

TOP = "devices/virtual/powercap/intel-rapl"


@pytest.fixture
def tree(written_tree: Path) -> WrittenTree:
    return WrittenTree(written_tree)


def test_a_written_tree_is_a_provider(tree: WrittenTree) -> None:
    assert isinstance(tree, Provider)


def test_zones_come_after_their_parents_with_depth_and_place(tree: WrittenTree) -> None:
    assert control_types(tree) == ["intel-rapl"]
    assert zones(tree) == [
        Zone("intel-rapl:0", f"{TOP}/intel-rapl:0", None, 0, "intel-rapl"),
        Zone("intel-rapl:0:0", f"{TOP}/intel-rapl:0/intel-rapl:0:0", "intel-rapl:0", 1, "intel-rapl"),
    ]
    assert zones(tree, "intel-rapl") == zones(tree)
    assert zones(tree, "dtpm") == []


def test_a_tree_without_its_devices_is_walked_by_the_colons_of_the_class(tmp_path: Path) -> None:
    for name in ("intel-rapl", "intel-rapl:0:0", "intel-rapl:0", "intel-rapl:1"):
        (tmp_path / "class/powercap" / name).mkdir(parents=True)
    tree = WrittenTree(tmp_path)
    assert control_types(tree) == ["intel-rapl"]
    found = {zone.id: (zone.parent, zone.depth, zone.path) for zone in zones(tree)}
    assert found == {
        "intel-rapl:0": (None, 0, "class/powercap/intel-rapl:0"),
        "intel-rapl:1": (None, 0, "class/powercap/intel-rapl:1"),
        "intel-rapl:0:0": ("intel-rapl:0", 1, "class/powercap/intel-rapl:0:0"),
    }
    assert [zone.depth for zone in zones(tree)] == [0, 0, 1]


def test_a_control_type_may_be_called_power(tree: WrittenTree, written_tree: Path) -> None:
    (written_tree / "devices/virtual/powercap/power/power:0").mkdir(parents=True)
    assert sorted(control_types(tree)) == ["intel-rapl", "power"]
    assert [zone.id for zone in zones(tree, "power")] == ["power:0"]


def test_no_powercap_at_all_is_no_control_type_and_no_zone(tmp_path: Path) -> None:
    assert control_types(WrittenTree(tmp_path)) == []
    assert zones(WrittenTree(tmp_path)) == []
    assert zones(WrittenTree(tmp_path), "intel-rapl") == []


def test_constraints_are_the_numbers_in_the_names_of_attributes(tree: WrittenTree, written_tree: Path) -> None:
    zone = zones(tree)[0]
    for name in ("constraint_10_name", "constraint_2_", "constraint__name", "xconstraint_3_name"):
        (written_tree / zone.path / name).write_text("x\n")
    assert constraints(tree, zone) == [0, 1, 10]


def test_readable_is_the_content_or_nothing(tree: WrittenTree) -> None:
    assert readable(tree, f"{TOP}/enabled") == b"1\n"
    assert readable(tree, f"{TOP}/no-such-file") is None
    assert readable(tree, f"{TOP}/intel-rapl:0/intel-rapl:0:0/energy_uj") is None


@pytest.mark.parametrize(("text", "value"), [("12\n", 12), ("0\n", 0), ("-5\n", -5), ("7", 7)])
def test_number_reads_a_decimal_integer(text: str, value: int, tree: WrittenTree, written_tree: Path) -> None:
    (written_tree / TOP / "enabled").write_text(text)
    assert number(tree, f"{TOP}/enabled") == value


@pytest.mark.parametrize("text", ["0x10\n", "1.5\n", "1 2\n", "on\n", "\n"])
def test_number_cannot_tell_what_is_no_integer(text: str, tree: WrittenTree, written_tree: Path) -> None:
    (written_tree / TOP / "enabled").write_text(text)
    with pytest.raises(CannotTell, match="no integer"):
        number(tree, f"{TOP}/enabled")


def test_an_entry_exists_also_as_a_link_that_leads_nowhere(tree: WrittenTree, written_tree: Path) -> None:
    (written_tree / "class/powercap/dangling").symlink_to("nowhere")
    assert exists(tree, "class/powercap/dangling")
    assert not exists(tree, "class/powercap/missing")
