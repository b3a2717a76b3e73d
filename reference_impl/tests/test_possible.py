# SPDX-License-Identifier: Apache-2.0
"""How much power is thought possible."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from raplica_reader import discover
from raplica_reader.possible import possible_w
from raplica_simulator import Machine

if TYPE_CHECKING:
    from tests.conftest import Faces


@pytest.mark.parametrize(
    ("name", "limits_uw", "parent_w", "watts"),
    [
        ("package-0", [125_000_000, 150_000_000, 0], None, 300),
        ("package-0", [4_095_875_000], None, 1_000),  # firmware's word for "no limit"
        ("package-0", [6_000_000], None, 25),
        ("package-1-die-2", [], None, 500),
        ("package-0", [0, 0], None, 500),
        ("core", [0], 300, 300),
        ("core-17", [], 500, 500),
        ("core", [], None, 1_000),
        ("dram", [0], 300, 250),
        ("dram", [136_500_000], 300, 273),
        ("psys", [280_000_000], None, 2_000),
        ("psys-1", [], None, 2_000),
        ("soc", [], None, 1_000),
        (None, [], None, 1_000),
    ],
)
def test_it_is_twice_the_highest_limit_or_what_is_usual(
    name: str | None, limits_uw: list[int], parent_w: int | None, watts: int
) -> None:
    assert possible_w(name, limits_uw, parent_w) == watts


def test_powercap_and_registers_come_to_the_same(faces: type[Faces]) -> None:
    from raplica_reader.msr import Msr

    for machine_id in ("kabylake", "skylake-sp-2s", "zen4", "sapphirerapids-2s"):
        machine = Machine.from_profile(machine_id)
        shown = faces(machine)
        in_registers = {
            zone.path: zone.possible_w for zone in Msr(shown.registers, shown.files, shown.cpuinfo).discover()
        }
        in_powercap = {zone.path: zone.possible_w for zone in discover(machine.sysfs)}
        for path in in_registers.keys() & in_powercap.keys():
            assert in_registers[path] == in_powercap[path]


def test_the_power_of_every_built_in_machine_is_possible() -> None:
    for machine_id in ("kabylake", "skylake-sp-2s", "zen4", "apollolake", "sapphirerapids-2s", "baytrail"):
        machine = Machine.from_profile(machine_id)
        zones = discover(machine.sysfs)
        before_uj = {zone.path: machine.truth_uj(zone.path) for zone in zones}
        machine.clock.advance(seconds=100)
        for zone in zones:
            assert machine.truth_uj(zone.path) - before_uj[zone.path] <= zone.possible_w * 100 * 10**6
