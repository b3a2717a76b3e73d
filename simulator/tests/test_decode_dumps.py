# SPDX-License-Identifier: Apache-2.0
"""Registers and trees of real machines decode to what those machines showed.

The dumps are output of turbostat, libmsr, raplcap, rdmsr and powercap, as owners of the machines posted it. A
number agrees when it prints as the tool printed it; where a tool is known to print a wrong one, the file says
so, why, and what is right.
"""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from raplica_simulator.decode import decode
from raplica_simulator.linux.rapl_units import RaplUnits, core_units

DUMPS = Path(__file__).resolve().parents[2] / "fixtures" / "dumps" / "real-dumps.json"
MACHINES: dict[str, Any] = {
    machine["id"]: machine for machine in json.loads(DUMPS.read_text(encoding="utf-8"))["machines"]
}
REGISTERS = [
    pytest.param(machine, register, id=f"{name}-{register['name']}-{register['raw']}")
    for name, machine in MACHINES.items()
    for register in machine.get("registers", ())
]
ZONES = [
    pytest.param(machine, zone, id=f"{name}-{number}-{path}")
    for name, machine in MACHINES.items()
    for number, zones in enumerate((machine.get("zones", {}), machine.get("zones_after", {}).get("zones", {})))
    for path, zone in zones.items()
]


def cpu_of(machine: Any) -> str | None:
    return None if machine["model"] is None else f"{machine['family']}:{machine['model']}"


def fields_of(machine: Any, register: str, value: int | str) -> Any:
    return decode(register, value, unit=machine["unit"], cpu=cpu_of(machine))["fields"]


def prints_as(value: float, text: str) -> bool:
    """Whether a number prints as the text in as many decimals as the text has."""
    decimals = len(text.partition(".")[2])
    return f"{value:.{decimals}f}" == text


def test_the_dumps_are_many_and_of_every_kind() -> None:
    assert len(REGISTERS) >= 30
    assert len(ZONES) >= 12
    shown = {name for machine in MACHINES.values() for one in machine.get("registers", ()) for name in one["shown"]}
    assert {"power_unit", "energy_unit", "time_unit", "thermal_spec_power", "maximum_time_window"} <= shown
    assert {"pl1_power_limit", "pl2_time_window", "pl4_power_limit", "lock", "priority_level"} <= shown


@pytest.mark.parametrize(("machine", "register"), REGISTERS)
def test_a_register_decodes_to_the_numbers_that_the_machine_showed(machine: Any, register: Any) -> None:
    fields = fields_of(machine, register["name"], register["raw"])
    assert fields == fields_of(machine, register["address"], register["raw"])
    for name, shown in register["shown"].items():
        if isinstance(shown, int):
            assert fields[name]["raw"] == shown, name
        else:
            assert prints_as(fields[name]["value"], shown), name
    for name, wrong in register.get("wrong", {}).items():
        assert fields[name]["value"] == float(Fraction(wrong["right"])), name
        assert not prints_as(fields[name]["value"], wrong["shown"]), f"{name}: {wrong['why']}, yet it agrees"


@pytest.mark.parametrize("name", [name for name, machine in MACHINES.items() if "counter_range" in machine])
def test_the_package_counter_lasts_as_long_as_turbostat_says(name: str) -> None:
    machine = MACHINES[name]
    seconds, watts = machine["counter_range"]["seconds"], int(machine["counter_range"]["watts"])
    counter = "MSR_AMD_PKG_ENERGY_STATUS" if machine["vendor"] == "AuthenticAMD" else "MSR_PKG_ENERGY_STATUS"
    joules = fields_of(machine, counter, 0xFFFFFFFF)["energy"]["value"]
    if watts == 0:
        # A register of zeros: no RAPL, and a power to divide by that is none.
        assert (seconds, joules) == ("inf", 0xFFFFFFFF)
    else:
        assert prints_as(joules / watts, seconds)


def test_avoton_counts_by_the_core_formula_and_not_by_the_manuals() -> None:
    machine = MACHINES["silvermont-d-c2558-raplcap"]
    energy = fields_of(machine, "MSR_PKG_ENERGY_STATUS", 0xFFFFFFFF)["energy"]
    step_j = Fraction(energy["value"]) / 0xFFFFFFFF
    assert step_j == Fraction(1, 2 ** machine["units"]["energy_exponent"])
    for reading in machine["units"]["shown"]:
        assert step_j * reading["steps"] == Fraction(reading["joules"])
    for reading in machine["units"]["wrong"]:
        assert step_j * reading["steps"] != Fraction(reading["joules"])
    raw = 120 | 0x2D << 17 | 144 << 32 | 0x23 << 49
    fields = fields_of(machine, "MSR_PKG_POWER_LIMIT", raw)
    for name, shown in machine["shown"].items():
        assert prints_as(fields[name]["value"], shown), name


def test_a_raphael_has_a_power_unit_of_a_whole_watt() -> None:
    machine = MACHINES["zen4-7950x-unit"]
    units = fields_of(machine, "MSR_RAPL_PWR_UNIT", machine["unit"])
    assert [units[name]["value"] for name in ("power_unit", "energy_unit", "time_unit")] == [1.0, 2.0**-16, 2.0**-10]


def assert_whole_units(units: RaplUnits, constraint: Any, windows_us: set[int]) -> None:
    for name in ("power_limit_uw", "max_power_uw"):
        power_uw = constraint.get(name, 0)
        assert power_uw % units.power_unit_uw == 0, name
        assert units.power_to_uw(units.uw_to_power_raw(power_uw)) == power_uw, name
    if "time_window_us" in constraint:
        assert constraint["time_window_us"] in windows_us


@pytest.mark.parametrize(("machine", "zone"), ZONES)
def test_numbers_of_a_tree_are_whole_driver_units(machine: Any, zone: Any) -> None:
    units = core_units(int(machine["unit"], 16))
    full = fields_of(machine, "MSR_PKG_ENERGY_STATUS", 0xFFFFFFFF)["energy"]
    assert zone["max_energy_range_uj"] == full["sysfs"]
    if "energy_uj" in zone:
        raw = -(-zone["energy_uj"] * 1000 // units.energy_unit_nj)
        assert units.energy_to_uj(raw) == zone["energy_uj"]
    limits = (fields_of(machine, "MSR_PKG_POWER_LIMIT", code << 17)["pl1_time_window"] for code in range(128))
    windows_us = {field["sysfs"] for field in limits}
    for constraint in zone["constraints"]:
        assert_whole_units(units, constraint, windows_us)


def test_the_tree_of_a_comet_lake_is_what_its_registers_say() -> None:
    machine = MACHINES["cml-125w-6core-s19"]
    raw = {register["name"]: register["raw"] for register in machine["registers"]}
    limit = fields_of(machine, "MSR_PKG_POWER_LIMIT", raw["MSR_PKG_POWER_LIMIT"])
    info = fields_of(machine, "MSR_PKG_POWER_INFO", raw["MSR_PKG_POWER_INFO"])
    zone = MACHINES["cml-s19-powercap"]["zones"]["intel-rapl:0"]
    most = ("thermal_spec_power", "maximum_power")
    for number, constraint in enumerate(zone["constraints"]):
        assert limit[f"pl{number + 1}_power_limit"]["sysfs"] == constraint["power_limit_uw"]
        assert limit[f"pl{number + 1}_time_window"]["sysfs"] == constraint["time_window_us"]
        assert info[most[number]]["sysfs"] == constraint["max_power_uw"]
