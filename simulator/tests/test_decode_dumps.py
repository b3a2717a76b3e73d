# SPDX-License-Identifier: Apache-2.0
"""Registers and trees of real machines decode to what those machines showed.

The dumps are terminal output of turbostat, libmsr, raplcap and powercap, as their owners posted it. Where a
tool is known to print wrong numbers, the test says which and expects the right ones.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from raplica_simulator.decode import decode
from raplica_simulator.linux.rapl_units import core_units, window_to_us

DUMPS = Path(__file__).resolve().parents[2] / "fixtures" / "dumps" / "real-dumps.json"
ENTRIES: dict[str, Any] = {entry["id"]: entry for entry in json.loads(DUMPS.read_text(encoding="utf-8"))}
WITH_LINES = [name for name, entry in ENTRIES.items() if {"turbostat_lines", "turbostat_line"} & set(entry["data"])]
TREES = [name for name, entry in ENTRIES.items() if entry["kind"] == "powercap-tree"]

# turbostat replaces a time unit of 0 by 2^-10 s; the register says 1 s.
TIME_UNIT_REPLACED = {"vm-zero-rapl-unit"}

REGISTER = re.compile(r"cpu\d+: (MSR_\w+): (0x[0-9a-f]+)(?: \((.*)\))?")
UNITS = re.compile(r"([\d.]+) Watts, ([\d.]+) Joules, ([\d.]+) sec\.")
INFO = re.compile(r"([\d.]+) W TDP, RAPL ([\d.]+) - ([\d.]+) W, ([\d.]+) sec\.")
LIMIT = re.compile(
    r"cpu\d+: (?:PKG Limit #(\d)|(?:Cores|GFX|DRAM) Limit): (EN|DIS)abled "
    r"\(([\d.]+) Watts, ([\d.]+)\*? sec, clamp (EN|DIS)abled\)"
)
PEAK = re.compile(r"cpu\d+: PKG Limit #4: ([\d.]+) Watts \((UN)?locked\)")


def cpu_of(entry: Any) -> str | None:
    return None if entry["model"] is None else f"{entry['family']}:{entry['model']}"


def unit_of(lines: list[str]) -> str | None:
    found = (REGISTER.match(line) for line in lines)
    return next((match[2] for match in found if match and "UNIT" in match[1]), None)


def printed(value: float, text: str) -> bool:
    """Whether a number prints as the text, in as many decimals as the text has."""
    decimals = len(text.partition(".")[2])
    return f"{value:.{decimals}f}" == text


@pytest.mark.parametrize("name", WITH_LINES)
def test_every_line_of_turbostat_is_what_the_register_says(name: str) -> None:
    entry = ENTRIES[name]
    lines = entry["data"].get("turbostat_lines") or [entry["data"]["turbostat_line"]]
    unit = unit_of(lines)
    tick_s = 1 / 1024 if name in TIME_UNIT_REPLACED else None
    fields: Any = {}
    checked = 0
    for line in lines:
        if match := REGISTER.match(line):
            register, raw, text = match.groups()
            fields = decode(register, raw, unit=unit, cpu=cpu_of(entry))["fields"]
            text = text or ""
            if units := UNITS.match(text):
                assert printed(fields["power_unit"]["value"], units[1])
                assert printed(fields["energy_unit"]["value"], units[2])
                assert printed(tick_s or fields["time_unit"]["value"], units[3])
            elif info := INFO.match(text):
                assert printed(fields["thermal_spec_power"]["value"], info[1])
                assert printed(fields["minimum_power"]["value"], info[2])
                assert printed(fields["maximum_power"]["value"], info[3])
                assert printed(fields["maximum_time_window"]["value"], info[4])
            elif text in ("locked", "UNlocked"):
                assert fields["lock"]["raw"] == (text == "locked")
        elif match := LIMIT.match(line):
            limit = f"pl{match[1] or 1}"
            assert fields[f"{limit}_enabled"]["raw"] == (match[2] == "EN")
            assert printed(fields[f"{limit}_power_limit"]["value"], match[3])
            assert printed(tick_s or fields[f"{limit}_time_window"]["value"], match[4])
            assert fields[f"{limit}_clamp"]["raw"] == (match[5] == "EN")
        elif match := PEAK.match(line):
            assert printed(fields["pl4_power_limit"]["value"], match[1])
            assert fields["lock"]["raw"] == (match[2] is None)
        elif match := re.match(r"cpu\d+: (MSR_PP[01]_POLICY): (\d+)", line):
            policy = decode(match[1], match[2], cpu=cpu_of(entry))["fields"]
            assert policy["priority_level"]["raw"] == int(match[2])
        elif match := re.match(r"RAPL: (\d+) sec\. Joule Counter Range, at (\d+) Watts", line):
            assert unit is not None
            counter = "PKG_ENERGY_STAT" if entry["vendor"] == "AMD" else "MSR_PKG_ENERGY_STATUS"
            full = decode(counter, 0xFFFFFFFF, unit=unit, cpu=cpu_of(entry))["fields"]["energy"]["value"]
            assert f"{full / int(match[2]):.0f}" == match[1]
        else:
            assert line == "RAPL: inf sec. Joule Counter Range, at 0 Watts", f"not understood: {line}"
        checked += 1
    assert checked == len(lines)


@pytest.mark.parametrize(
    "name", [name for name, entry in ENTRIES.items() if "pkg_power_limit" in entry["decoded_by_us"]]
)
def test_package_limits_show_the_microwatts_and_microseconds_of_sysfs(name: str) -> None:
    entry = ENTRIES[name]
    lines = entry["data"]["turbostat_lines"]
    raw = next(match[2] for line in lines if (match := REGISTER.match(line)) and "PKG_POWER_LIMIT" in match[1])
    fields = decode("0x610", raw, unit=unit_of(lines), cpu=cpu_of(entry))["fields"]
    for number in (1, 2):
        expected = entry["decoded_by_us"]["pkg_power_limit"][f"PL{number}"]
        assert fields[f"pl{number}_power_limit"]["sysfs"] == expected["sysfs_power_limit_uw"]
        window_us = 1_000_000 if name in TIME_UNIT_REPLACED else expected["sysfs_time_window_us"]
        assert fields[f"pl{number}_time_window"]["sysfs"] == window_us


def test_a_skylake_server_before_and_after_a_write() -> None:
    data = ENTRIES["skx-libmsr-2s"]["data"]
    for bits, text in ((data["pkg_bits"], data["pkg_text"]), (data["after_write_bits"], data["after_write_text"])):
        fields = decode("0x610", f"0x{bits}", cpu="6:85")["fields"]
        shown = [
            f"{fields[name]['value']:f}"
            for name in ("pl1_time_window", "pl1_power_limit", "pl2_time_window", "pl2_power_limit")
        ]
        # libmsr prints a window code of 0 as no time at all; it is one time unit.
        assert shown[2] == "0.000977"
        shown[2] = "0.000000"
        assert [line.rpartition(" ")[2] for line in text] == shown
    dram = decode("0x618", f"0x{data['dram_bits']}", cpu="6:85")["fields"]
    assert [line.rpartition(" ")[2] for line in data["dram_text"]] == [
        f"{dram[name]['value']:f}" for name in ("pl1_time_window", "pl1_power_limit")
    ]


def test_avoton_counts_by_the_core_formula_and_not_by_the_manuals() -> None:
    data = ENTRIES["silvermont-d-c2558-raplcap"]["data"]
    joules = float(data["with_1/2^ESU_J"]["joules"])
    raw = round(joules * 65536)
    field = decode("0x611", raw, cpu="6:77")["fields"]["energy"]
    assert field["value"] == joules
    assert 2**32 / raw * field["value"] == float(data["with_1/2^ESU_J"]["joules_max"])
    limit = decode("0x610", 120 | 0x2D << 17 | 144 << 32 | 0x23 << 49, cpu="6:77")["fields"]
    shown = [limit[f"pl{number}_{name}"]["value"] for number in (1, 2) for name in ("power_limit", "time_window")]
    assert shown == [float(data[name]) for name in ("watts_long", "seconds_long", "watts_short", "seconds_short")]


def test_raphael_has_a_power_unit_of_a_whole_watt() -> None:
    entry = ENTRIES["zen4-7950x-unit"]
    raw = entry["data"]["rdmsr -a 0xc0010299"][0]
    fields = decode("0xc0010299", f"0x{raw}", cpu=cpu_of(entry))["fields"]
    ours = entry["decoded_by_us"]
    assert [fields[f"{name}_unit"]["raw"] for name in ("power", "energy", "time")] == [
        ours["psu"],
        ours["esu"],
        ours["tsu"],
    ]
    assert fields["energy_unit"]["value"] == 2.0**-16


def zones_in(tree: Any) -> list[dict[str, Any]]:
    """Every zone of a posted tree, children included."""
    found = []
    for value in tree.values():
        if isinstance(value, dict):
            found += [value] if "max_energy_range_uj" in value else []
            found += zones_in(value)
    return found


@pytest.mark.parametrize("name", TREES)
def test_numbers_of_trees_without_registers_are_whole_driver_units(name: str) -> None:
    zones = zones_in(ENTRIES[name]["data"]["zones"])
    assert zones
    # Apollo Lake counts power in 1/256 W, all others here in 1/8 W.
    units = core_units(0xA0E08 if name.startswith("apl-") else 0xA0E03)
    windows_us = {window_to_us(raw, units.time_unit_us, (6, 12)) for raw in range(128)}
    for zone in zones:
        assert zone["max_energy_range_uj"] == units.energy_to_uj(0xFFFFFFFF)
        energy_uj = zone.get("energy_uj")
        if isinstance(energy_uj, int):
            raw = -(-energy_uj * 1000 // units.energy_unit_nj)
            assert units.energy_to_uj(raw) == energy_uj
        for constraint in zone.get("constraints", ()):
            for power in ("power_limit_uw", "max_power_uw"):
                power_uw = constraint.get(power, 0)
                assert units.power_to_uw(units.uw_to_power_raw(power_uw)) == power_uw
            if "time_window_us" in constraint:
                assert constraint["time_window_us"] in windows_us


def test_the_tree_of_comet_lake_is_what_its_registers_say() -> None:
    zone = ENTRIES["cml-s19-powercap"]["data"]["zones"]["intel-rapl:0"]
    lines = ENTRIES["cml-125w-6core-s19"]["data"]["turbostat_lines"]
    raw = {match[1]: match[2] for line in lines if (match := REGISTER.match(line))}
    limit = decode("MSR_PKG_POWER_LIMIT", raw["MSR_PKG_POWER_LIMIT"])["fields"]
    info = decode("MSR_PKG_POWER_INFO", raw["MSR_PKG_POWER_INFO"])["fields"]
    for number, constraint in enumerate(zone["constraints"], start=1):
        assert limit[f"pl{number}_power_limit"]["sysfs"] == constraint["power_limit_uw"]
        assert limit[f"pl{number}_time_window"]["sysfs"] == constraint["time_window_us"]
        most = "thermal_spec_power" if number == 1 else "maximum_power"
        assert info[most]["sysfs"] == constraint["max_power_uw"]
