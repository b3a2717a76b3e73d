# SPDX-License-Identifier: Apache-2.0
"""One counter in several zones, and zones that only look so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from raplica_reader import discover, shares
from raplica_simulator import Machine

if TYPE_CHECKING:
    from tests.conftest import Memory, Tree

DIES = ("package-0-die-0", "package-0-die-1", "package-1-die-2", "package-1-die-3")
AMD_RANGE_UJ = 65_532_610_987


def amd(tree: Tree, *energies_uj: int) -> None:
    """Zones without constraints, as AMD's are."""
    for number, (name, energy_uj) in enumerate(zip(DIES, energies_uj, strict=False)):
        directory = tree.zone(f"intel-rapl:{number}", name, energy_uj, AMD_RANGE_UJ)
        (directory / "constraint_0_name").unlink()


def counted(tree: Tree) -> list[str]:
    zones = discover(tree.root)
    return [zone.path for zone, share in zip(zones, shares(zones), strict=True) if share.counted]


def test_dies_that_show_one_counter_count_once_in_each_package(tree: Tree) -> None:
    amd(tree, 68_000_000, 68_000_000, 5, 5)
    assert counted(tree) == ["package-0-die-0", "package-1-die-2"]
    zones = discover(tree.root)
    assert [zone.mirror_of for zone in zones] == [None, "intel-rapl:0", None, "intel-rapl:2"]
    assert shares(zones)[1].why == "it shows the counter of intel-rapl:0 once more"


def test_dies_with_counters_of_their_own_count_each(tree: Tree) -> None:
    amd(tree, 68_000_000, 67_999_999, 5, 6)
    assert counted(tree) == list(DIES)


def test_dies_of_intel_count_each_also_where_they_happen_to_stand_alike(tree: Tree) -> None:
    for number, name in enumerate(DIES):
        tree.zone(f"intel-rapl:{number}", name, 68_000_000)
    assert counted(tree) == list(DIES)


@pytest.mark.parametrize("kernel", ["6.1", "6.12"])
def test_dies_of_a_real_machine_count_each(kernel: str) -> None:
    zones = discover(Machine.from_profile("cascadelake-ap-2s", kernel=kernel).sysfs)
    assert all(zone.mirror_of is None for zone in zones)


def test_a_counter_that_moves_while_it_is_looked_at_is_still_known_again(memory: type[Memory]) -> None:
    class Moving(memory):  # type: ignore[misc, valid-type]
        """Every reading of a counter, through either zone, is one step later than the one before."""

        raw = 2**32 - 2

        def read(self, path: str) -> bytes:
            if not path.endswith("/energy_uj"):
                return bytes(super().read(path))
            self.raw += 1
            return b"%d\n" % (self.raw % 2**32 * 15_258 // 1000)

    files = Moving(
        {
            f"class/powercap/intel-rapl:{number}/{name}": text
            for number in (0, 1)
            for name, text in {
                "name": b"package-0-die-%d\n" % number,
                "energy_uj": b"",
                "max_energy_range_uj": b"%d\n" % AMD_RANGE_UJ,
            }.items()
        }
    )
    assert [zone.mirror_of for zone in discover(files)] == [None, "intel-rapl:0"]


def test_where_nobody_may_read_amds_dies_are_taken_for_one_counter(tree: Tree) -> None:
    amd(tree, 1, 2)
    for number in (0, 1):
        tree.write(f"intel-rapl:{number}", b"")
    assert counted(tree) == ["package-0-die-0"]
