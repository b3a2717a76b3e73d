# SPDX-License-Identifier: Apache-2.0
"""`raplica decode`: the manual's value and the driver's integer of every field."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raplica_simulator.decode import decode, render
from raplica_simulator.hardware.registers import (
    AMD_REGISTERS,
    INTEL_REGISTERS,
    MMIO_REGISTERS,
    TPMI_REGISTERS,
    CpuId,
    Register,
)

U64 = st.integers(0, 2**64 - 1)
EVERY = (*INTEL_REGISTERS, *AMD_REGISTERS, *MMIO_REGISTERS, *TPMI_REGISTERS)


def raws(decoded: Any) -> dict[str, int]:
    return {name: field["raw"] for name, field in decoded["fields"].items()}


def sysfs(register: int | str, value: int, **options: Any) -> dict[str, int]:
    fields = decode(register, value, **options)["fields"]
    return {name: field["sysfs"] for name, field in fields.items() if "sysfs" in field}


def test_the_front_doors_example_is_exactly_this() -> None:
    assert decode("0x610", "0x00428440001B83E8", unit="0xA0E03") == {
        "register": "MSR_PKG_POWER_LIMIT",
        "address": "0x610",
        "raw": "0x00428440001B83E8",
        "fields": {
            "pl1_power_limit": {"raw": 1000, "value": 125.0, "unit": "W", "sysfs": 125000000},
            "pl1_enabled": {"raw": 1},
            "pl1_clamp": {"raw": 1},
            "pl1_time_window": {"raw": 13, "value": 8.0, "unit": "s", "sysfs": 7995392},
            "pl2_power_limit": {"raw": 1088, "value": 136.0, "unit": "W", "sysfs": 136000000},
            "pl2_enabled": {"raw": 1},
            "pl2_clamp": {"raw": 0},
            "pl2_time_window": {"raw": 33, "value": 0.00244140625, "unit": "s", "sysfs": 2440},
            "lock": {"raw": 0},
        },
    }


def test_a_unit_register_gives_its_units() -> None:
    assert decode("MSR_RAPL_POWER_UNIT", 0xA0E08)["fields"] == {
        "power_unit": {"raw": 8, "value": 0.00390625, "unit": "W"},
        "energy_unit": {"raw": 14, "value": 2.0**-14, "unit": "J"},
        "time_unit": {"raw": 10, "value": 2.0**-10, "unit": "s"},
    }


def test_power_info_has_a_plain_time_window_and_two_powers_that_sysfs_shows() -> None:
    assert decode(0x614, 0x000F0CE803980528)["fields"] == {
        "thermal_spec_power": {"raw": 1320, "value": 165.0, "unit": "W", "sysfs": 165000000},
        "minimum_power": {"raw": 920, "value": 115.0, "unit": "W"},
        "maximum_power": {"raw": 3304, "value": 413.0, "unit": "W", "sysfs": 413000000},
        "maximum_time_window": {"raw": 15, "value": 0.0146484375, "unit": "s"},
    }


def test_a_xeon_gets_both_readings_of_the_maximum_time_window() -> None:
    fields = decode(0x614, 0x000F0CE803980528, cpu="6:85")["fields"]
    assert fields["maximum_time_window"]["value"] == 0.0146484375
    assert fields["maximum_time_window_yz"] == {"raw": 15, "value": 32.0, "unit": "s"}


def test_a_dram_zone_shows_no_maximum_power() -> None:
    assert sysfs(0x61C, 0x0000025800780118) == {"thermal_spec_power": 35000000}


@pytest.mark.parametrize("register", ["0x618", "0x638", "0x640"])
def test_single_limits_lock_at_bit_31(register: str) -> None:
    decoded = decode(register, 0x80DD8001)
    assert raws(decoded) == {
        "pl1_power_limit": 1,
        "pl1_enabled": 1,
        "pl1_clamp": 1,
        "pl1_time_window": 0x6E,
        "lock": 1,
    }
    assert decoded["fields"]["pl1_time_window"]["sysfs"] == 27983872


def test_peak_power_has_13_bits_and_a_lock() -> None:
    assert decode("0x601", 0x80000850)["fields"] == {
        "pl4_power_limit": {"raw": 0x850, "value": 266.0, "unit": "W", "sysfs": 266000000},
        "lock": {"raw": 1},
    }


def test_peak_power_is_shown_only_where_the_driver_lists_the_model() -> None:
    assert sysfs(0x601, 0x850, cpu="6:0x97") == {"pl4_power_limit": 266000000}
    assert sysfs(0x601, 0x850, cpu="6:0xC6") == {}


def test_a_counter_is_shown_in_the_drivers_truncated_unit() -> None:
    field = decode("0x611", 0x7EDFAD3)["fields"]["energy"]
    assert field == {"raw": 0x7EDFAD3, "value": 0x7EDFAD3 / 2**14, "unit": "J", "sysfs": 8119898341}


@pytest.mark.parametrize(
    ("register", "cpu", "value", "uj"),
    [
        ("0x619", "6:85", 10**6 * 0.0000153, 15300000),
        ("0x619", "6:0x56", 10**6 * 0.0000153, 61035000),
        ("0x619", "6:0x8F", 10**6 / 2**14, 61035000),
        ("0x64D", "6:0x8F", 10**6, 10**12),
        ("0x64D", "6:0x9E", 10**6 / 2**14, 61035000),
        ("0x611", "6:0x37", 32.0, 32000000),
        ("0xC001029A", "23:49", 10**6 / 2**16, 15258000),
    ],
)
def test_each_counter_has_the_unit_of_its_model(register: str, cpu: str, value: float, uj: int) -> None:
    field = decode(register, 10**6, cpu=cpu)["fields"]["energy"]
    assert field["value"] == pytest.approx(value, rel=1e-15)
    assert field["sysfs"] == uj


def test_a_64_bit_counter_is_cut_to_32_bits_by_linux_alone() -> None:
    field = decode("0xC001029B", 2**60 + 5, cpu="25:0x61")["fields"]["energy"]
    assert field["value"] == pytest.approx((2**60 + 5) / 2**16)
    assert field["sysfs"] == 5 * 15258 // 1000


def test_a_value_that_no_float_holds_is_an_int() -> None:
    value = decode("0xC001029B", 2**64 - 1, unit=0, cpu="25:0x61")["fields"]["energy"]["value"]
    assert value == 2**64 - 1
    assert isinstance(value, int)


def test_silvermont_counts_milliwatts_and_seconds() -> None:
    fields = decode("0x610", 0x003881D5, cpu="6:55")["fields"]
    assert fields["pl1_power_limit"] == {"raw": 469, "value": 15.008, "unit": "W", "sysfs": 15008000}
    assert fields["pl1_time_window"] == {"raw": 28, "value": 28.0, "unit": "s", "sysfs": 28000000}
    assert "lock" not in fields
    assert decode("0x610", 0, cpu="6:55")["fields"]["pl1_time_window"]["value"] == 1.0
    assert decode("0x606", 0x505, cpu="6:55")["fields"]["energy_unit"]["value"] == 0.000032


def test_sapphire_rapids_platform_limits_have_17_bits() -> None:
    raw = 0x1FFFF | 1 << 17 | 0x6E << 19 | 0x10001 << 32 | 1 << 49
    fields = decode("0x65C", raw, cpu=CpuId("GenuineIntel", 6, 0x8F))["fields"]
    assert fields["pl1_power_limit"]["sysfs"] == 0x1FFFF * 125000
    assert fields["pl1_time_window"]["value"] == 28.0
    assert fields["pl2_power_limit"]["raw"] == 0x10001
    assert (fields["pl1_enabled"], fields["pl2_enabled"]) == ({"raw": 1}, {"raw": 1})


def test_the_unit_register_defaults_to_the_models_usual_one() -> None:
    assert decode("0x611", 2**16, cpu="6:42")["fields"]["energy"]["value"] == 1.0
    assert decode("0x610", 1024, cpu="6:92")["fields"]["pl1_power_limit"]["sysfs"] == 3999744
    assert decode("0xC001029B", 2**16)["fields"]["energy"]["value"] == 1.0
    assert decode("0x611", 2**14)["fields"]["energy"]["value"] == 1.0


def test_a_given_unit_register_wins() -> None:
    assert decode("0x610", "1000", unit="0")["fields"]["pl1_power_limit"]["value"] == 1000.0
    assert decode("0x610", 1000, unit=0xA0E08, cpu="6:85")["fields"]["pl1_power_limit"]["sysfs"] == 3906000


def test_a_processor_that_linux_does_not_know_shows_nothing() -> None:
    assert sysfs("0x610", 0x8001, cpu="6:0x4D") == {}
    assert decode("0x610", 0x8001, cpu="6:0x4D")["fields"]["pl1_power_limit"]["value"] == 0.125


def test_registers_that_linux_never_reads_show_nothing() -> None:
    assert sysfs("0x612", 5) == {}
    assert sysfs("0x66E", 0x78, cpu="6:77") == {}
    assert sysfs("0x649", 0x78) == {}
    assert sysfs("0x613", 0x78) == {}


def test_the_overflow_of_the_longest_window_is_the_drivers_alone() -> None:
    field = decode("0x610", 0x1F << 17)["fields"]["pl1_time_window"]
    assert field["value"] == 2.0**31 / 1024
    assert field["sysfs"] == 4611683922483347456


def test_mmio_and_tpmi_words_are_decoded_by_their_own_tables() -> None:
    assert decode("0x59A0", 120)["register"] == "MCHBAR_PKG_POWER_LIMIT"
    assert sysfs("0x58E0", 80 | 40 << 32)["pl2_power_limit"] == 5000000
    tpmi = decode("TPMI_PL1", 0x20000 | 0x6E << 18 | 1 << 62 | 1 << 63)
    assert tpmi["fields"] == {
        "pl1_power_limit": {"raw": 0x20000, "value": 16384.0, "unit": "W", "sysfs": 16384000000},
        "pl1_time_window": {"raw": 0x6E, "value": 28.0, "unit": "s", "sysfs": 27983872},
        "pl1_enabled": {"raw": 1},
        "lock": {"raw": 1},
    }
    assert raws(decode("TPMI_POWER_UNIT", 0xA383)) == {"power_unit": 3, "energy_unit": 14, "time_unit": 10}


def test_a_register_without_a_meaning_is_plain_fields() -> None:
    decoded = decode("0x64B", 0x80000002)
    assert decoded["fields"] == {"level": {"raw": 2}, "lock": {"raw": 1}}
    reasons = decode("0x64F", 1 << 10 | 1 << 27)["fields"]
    assert [name for name, field in reasons.items() if field["raw"]] == ["pl1_status", "pl2_log"]


@pytest.mark.parametrize("register", EVERY, ids=lambda one: f"{one.name}-{one.source}")
@settings(max_examples=20, deadline=None)
@given(value=U64, unit=st.integers(0, 2**20 - 1))
def test_every_register_decodes_and_its_fields_put_it_together_again(register: Register, value: int, unit: int) -> None:
    cpu = CpuId("GenuineIntel", register.models[-1].family, register.models[-1].low) if register.models else None
    if cpu and "GenuineIntel" not in register.vendors:
        cpu = CpuId("AuthenticAMD", cpu.family, cpu.model)
    decoded = decode(register.name, value, unit=unit, cpu=cpu)
    assert json.loads(json.dumps(decoded)) == decoded
    again = 0
    for name, raw in raws(decoded).items():
        again = register.field(name).insert(again, raw)
    assert again == value & ~register.reserved
    assert decoded["raw"] == f"0x{value:016X}"
    for field in decoded["fields"].values():
        assert ("value" in field) == ("unit" in field)
        assert field.get("sysfs", 0) >= 0


@given(U64, st.sampled_from([0xA0E03, 0xA1003, 0xA0E08, 0xA1000]))
def test_sysfs_is_never_above_the_exact_value_and_close_to_it(value: int, unit: int) -> None:
    scale = {"W": 10**6, "J": 10**6, "s": 10**6}
    for register in ("0x610", "0x611", "0x614"):
        for name, field in decode(register, value, unit=unit)["fields"].items():
            if "sysfs" in field and field["raw"] & 31 != 31:
                exact = field["value"] * scale[field["unit"]]
                assert exact * 0.999 - 1 <= field["sysfs"] <= exact * (1 + 1e-12), name


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("0x999", 0), {}, "unknown register 0x999: the nearest known are 0x6B1"),
        ((0x999, 0), {}, "unknown register 0x999"),
        (("0x10", 0), {}, "unknown register 0x10"),
        (("MSR_PKG_POWER_LIMITS", 0), {}, "try MSR_PKG_POWER_LIMIT"),
        (("what?", 0), {}, "try an address such as 0x610 or a name such as MSR_PKG_POWER_LIMIT"),
        (("", 0), {}, "unknown register ''"),
        (("0x10000000000000000", 0), {}, "it must be 0 to 0xFFFFFFFFFFFFFFFF"),
        (("0x610", "12 W"), {}, "value of MSR_PKG_POWER_LIMIT is '12 W': write it in hexadecimal"),
        (("0x610", "00428440001B83E8h"), {}, "write it in hexadecimal"),
        (("0x610", "-1"), {}, "write it in hexadecimal"),
        (("0x610", -1), {}, "it must be 0 to 0xFFFFFFFFFFFFFFFF"),
        (("0x610", 1 << 64), {}, "it must be 0 to 0xFFFFFFFFFFFFFFFF"),
        (("0x610", 0), {"unit": "A0E03"}, "unit register is 'A0E03'"),
        (("0x610", 0), {"unit": 1 << 64}, "unit register is"),
        (("0x610", 0), {"cpu": "skylake"}, "cpu 'skylake' is not FAMILY:MODEL"),
        (("0x610", 0), {"cpu": "25:97"}, "MSR_PKG_POWER_LIMIT (0x610) is no register of AuthenticAMD 25:97"),
        (("0xC001029B", 0), {"cpu": "6:85"}, "is no register of GenuineIntel 6:85"),
        (("0x66E", 0), {"cpu": "6:85"}, "MSR_PKG_POWER_INFO_ATOM (0x66E) is no register of GenuineIntel 6:85"),
    ],
)
def test_bad_input_is_refused_in_one_line_that_says_what_is_right(
    arguments: tuple[Any, Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=r"^.+$") as refusal:
        decode(*arguments, **options)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_people_get_aligned_lines() -> None:
    assert render(decode("0x638", 0x80DD8320)).splitlines() == [
        "MSR_PP0_POWER_LIMIT (0x638) = 0x0000000080DD8320",
        "  field            raw  value      sysfs",
        "  pl1_power_limit  800  100 W  100000000",
        "  pl1_enabled        1",
        "  pl1_clamp          1",
        "  pl1_time_window  110   28 s   27983872",
        "  lock               1",
    ]
