# SPDX-License-Identifier: Apache-2.0
"""What adds up to the machine, and what must not be counted twice."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from raplica_reader.meter import Delta, delta
from raplica_reader.overlap import shares, total
from raplica_reader.powercap import discover
from raplica_reader.sample import Sampler

if TYPE_CHECKING:
    from tests.conftest import Tree


def counted(tree: Tree) -> list[str]:
    """Paths of the zones that the total counts."""
    zones = discover(tree.root)
    return [zone.path for zone, share in zip(zones, shares(zones), strict=True) if share.counted]


def reasons(tree: Tree) -> dict[str, str]:
    """Why each zone is counted or not, by path."""
    zones = discover(tree.root)
    return {zone.path: share.why for zone, share in zip(zones, shares(zones), strict=True)}


def spent(tree: Tree, *energies_nj: int | None) -> list[Delta]:
    """Deltas of one second for the zones of a tree, made by hand; None is a reading that failed with EIO."""
    pairs = zip(discover(tree.root), energies_nj, strict=True)
    return [Delta(zone, 10**9, energy_nj, "EIO" if energy_nj is None else None) for zone, energy_nj in pairs]


def test_packages_and_memory_are_counted_and_nothing_twice(client: Tree) -> None:
    assert counted(client) == ["package-0", "package-0/dram"]


def test_each_zone_has_its_reason(client: Tree) -> None:
    assert reasons(client) == {
        "package-0": "a package with all that it contains",
        "package-0/core": "it is contained in package-0",
        "package-0/uncore": "it is contained in package-0",
        "package-0/dram": "memory, which no package contains",
        "psys": "psys is the whole platform and contains the packages",
        "intel-rapl-mmio/package-0": "it shows the counter of intel-rapl:0 over another interface",
    }


def test_every_socket_and_every_die_counts(tree: Tree) -> None:
    for number, name in enumerate(["package-0-die-0", "package-0-die-1", "package-1"]):
        tree.zone(f"intel-rapl:{number}", name)
        tree.zone(f"intel-rapl:{number}:0", "dram")
    assert len(counted(tree)) == 6


def test_psys_of_another_socket_is_not_counted_either(tree: Tree) -> None:
    tree.zone("intel-rapl:0", "psys-1")
    assert counted(tree) == []


def test_an_mmio_package_without_a_twin_is_counted(tree: Tree) -> None:
    tree.zone("intel-rapl:0", "package-0")
    tree.zone("intel-rapl-mmio:0", "package-0")
    tree.zone("intel-rapl-mmio:0:0", "dram")
    assert counted(tree) == ["package-0", "intel-rapl-mmio/package-0/dram"]


def test_the_second_of_two_zones_with_one_name_is_not_counted(tree: Tree) -> None:
    tree.zone("intel-rapl:0", "package-0")
    tree.zone("intel-rapl:1", "package-0")
    assert reasons(tree)["package-0[intel-rapl:1]"] == "it has the same name as intel-rapl:0, which is counted"


def test_what_nobody_knows_is_not_counted(tree: Tree) -> None:
    tree.zone("arm-scmi:0", "soc")
    tree.zone("dtpm:0", "soc", energy_uj=None)
    tree.zone("intel-rapl:0", "npu")
    (tree.zone("intel-rapl:1", "package-1") / "name").unlink()
    assert counted(tree) == []
    assert len(set(reasons(tree).values())) == 4


def test_the_total_is_the_sum_of_the_counted_zones(client: Tree) -> None:
    summed = total(spent(client, 5_000, 4_000, 1_000, 2_000, 9_000, 5_000))
    assert (summed.energy_nj, summed.energy_uj, summed.power_w, summed.error) == (7_000, 7, 7e-6, None)
    assert [zone.id for zone in summed.zones] == ["intel-rapl:0", "intel-rapl:0:2"]


def test_a_total_that_lacks_a_part_is_unknown_and_not_too_low(client: Tree) -> None:
    summed = total(spent(client, 5_000, 4_000, 1_000, None, 9_000, 5_000))
    assert (summed.energy_uj, summed.power_w, summed.error) == (None, None, "EIO")


def test_a_zone_outside_the_total_may_fail(client: Tree) -> None:
    assert total(spent(client, 5_000, None, None, 2_000, None, None)).energy_nj == 7_000


def test_a_total_of_nothing_is_unknown_and_not_0(tree: Tree) -> None:
    tree.zone("intel-rapl:0", "npu")
    with Sampler(discover(tree.root)) as sampler:
        sample = sampler.sample()
    summed = total(delta(sample, sample))
    assert (summed.zones, summed.energy_uj, summed.power_w, summed.error) == ((), None, None, None)


def test_a_total_over_no_time_has_no_power(client: Tree) -> None:
    with Sampler(discover(client.root)) as sampler:
        sample = sampler.sample()
    summed = total(delta(sample, sample))
    assert (summed.energy_uj, summed.power_w) == (0, None)


def test_energies_of_different_times_are_not_added_up(client: Tree) -> None:
    """A zone that makes up for a failed reading has the energy of two intervals, and the others have that of one."""
    deltas = spent(client, 5_000, 4_000, 1_000, 2_000, 9_000, 5_000)
    late = [replace(deltas[0], duration_ns=2 * 10**9), *deltas[1:]]
    summed = total(late)
    assert (summed.energy_nj, summed.power_w, summed.error) == (None, None, "EDOM")
    assert total([*deltas[:4], replace(deltas[4], duration_ns=2 * 10**9)]).energy_nj == 7_000


def test_the_memory_of_a_package_that_is_gone_does_not_stand_for_that_of_another(tree: Tree) -> None:
    """Ids are given anew: what was package-1 may be intel-rapl:0 now, as package-0 was before it went offline."""
    for number in range(2):
        tree.zone(f"intel-rapl:{number}", f"package-{number}")
        tree.zone(f"intel-rapl:{number}:0", "dram")
    first, its_memory, second, other_memory = discover(tree.root)
    second = replace(second, id=first.id)
    other_memory = replace(other_memory, id=its_memory.id, parent=first.id)
    assert [share.counted for share in shares([first, its_memory, second, other_memory])] == [True] * 4
