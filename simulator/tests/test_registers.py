# SPDX-License-Identifier: Apache-2.0
"""The register tables: complete, consistent, and found by address, name and model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator.hardware.registers import (
    AMD_REGISTERS,
    INTEL_REGISTERS,
    MMIO_REGISTERS,
    TPMI_REGISTERS,
    CpuId,
    Field,
    Models,
    Register,
    counter_width,
    lookup,
)

EVERY = (*INTEL_REGISTERS, *AMD_REGISTERS, *MMIO_REGISTERS, *TPMI_REGISTERS)
SKYLAKE_SP = CpuId("GenuineIntel", 6, 0x55, 4)
SAPPHIRE_RAPIDS = CpuId("GenuineIntel", 6, 0x8F)
BAY_TRAIL = CpuId("GenuineIntel", 6, 0x37)
ZEN2 = CpuId("AuthenticAMD", 0x17, 0x31)
ZEN4 = CpuId("AuthenticAMD", 0x19, 0x61)

every_register = pytest.mark.parametrize("register", EVERY, ids=lambda one: f"{one.name}-{one.source}")


def test_every_intel_register_of_the_manuals_is_there() -> None:
    addresses = {register.address for register in INTEL_REGISTERS}
    assert addresses == {
        *(0x601, 0x606, 0x610, 0x611, 0x612, 0x613, 0x614, 0x618, 0x619, 0x61B, 0x61C, 0x66E),
        *range(0x638, 0x63C),
        *range(0x640, 0x643),
        *range(0x648, 0x64E),
        *(0x64F, 0x65C, 0x690, 0x6B0, 0x6B1, 0x1B1, 0x1B2),
    }


def test_amd_has_three_registers_and_mmio_nine() -> None:
    assert {register.address for register in AMD_REGISTERS} == {0xC0010299, 0xC001029A, 0xC001029B}
    assert {register.address for register in MMIO_REGISTERS} == {
        *(0x5938, 0x59A0, 0x593C, 0x58F0, 0x5930, 0x59B0),
        *(0x58E0, 0x58E8, 0x58EC),
    }
    assert {register.address for register in TPMI_REGISTERS} == set(range(0, 0x60, 8)) - {0x30}


@every_register
def test_fields_lie_within_64_bits_and_do_not_overlap(register: Register) -> None:
    seen = 0
    for field in register.fields:
        assert 0 <= field.low <= field.high <= 63
        # The Xeon reading of the maximum time window is a second view of the same bits, and says so.
        if field.name != "maximum_time_window_yz":
            assert seen & field.mask == 0, field
        seen |= field.mask
    assert register.reserved == ~seen & (1 << 64) - 1


@every_register
def test_every_row_is_filled_in(register: Register) -> None:
    assert register.fields
    assert register.source
    assert "\n" not in register.source
    assert register.scope in ("package", "core", "platform")
    assert register.access in ("ro", "rw", "rw-lock")
    assert len({field.name for field in register.fields}) == len(register.fields)


@every_register
def test_a_lockable_register_has_its_lock_bit_as_a_field(register: Register) -> None:
    assert (register.access == "rw-lock") == (register.lock is not None)
    if register.lock is not None:
        lock = register.field("lock")
        assert (lock.low, lock.high) == (register.lock, register.lock)


def a_general_model(vendor: str) -> Models:
    general = {"GenuineIntel": (6, 0x9E), "AuthenticAMD": (0x17, 0x01), "HygonGenuine": (0x18, 0x00)}
    family, model = general[vendor]
    return Models(family, model, model)


@every_register
def test_every_layout_can_be_found(register: Register) -> None:
    cpus = [
        CpuId(vendor, group.family, group.low)
        for vendor in register.vendors
        for group in register.models or (a_general_model(vendor),)
    ]
    for key in (register.address, register.name, register.name.lower(), hex(register.address), str(register.address)):
        assert register in {lookup(key, cpu, register.space) for cpu in cpus}
    if not register.models:
        assert lookup(register.address, None, register.space) == register


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0x610", 0x610),
        ("0X0610", 0x610),
        ("1552", 0x610),
        (" msr_pkg_power_limit ", 0x610),
        ("PKG_POWER_LIMIT", 0x610),
        ("MSR_RAPL_PWR_UNIT", 0xC0010299),
        ("pkg_energy_stat", 0xC001029B),
        ("MSR_GFX_PERF_LIMIT_REASONS", 0x6B0),
    ],
)
def test_registers_go_by_address_and_by_their_several_names(text: str, address: int) -> None:
    register = lookup(text)
    assert register is not None
    assert register.address == address


@pytest.mark.parametrize("text", ["", "0x", "610h", "0x999", "MSR_NOTHING", "-1"])
def test_what_is_no_register_is_not_found(text: str) -> None:
    assert lookup(text) is None


def test_a_register_of_another_vendor_is_not_found() -> None:
    assert lookup(0x610, ZEN2) is None
    assert lookup(0xC001029B, SKYLAKE_SP) is None
    assert lookup(0xC001029B, CpuId("HygonGenuine", 0x18, 2)) is not None


def test_each_space_has_addresses_of_its_own() -> None:
    assert lookup(0x59A0) is None
    mmio = lookup(0x59A0, None, "mmio")
    assert mmio is not None
    assert mmio.name == "MCHBAR_PKG_POWER_LIMIT"
    tpmi = lookup(0x10, None, "tpmi")
    assert tpmi is not None
    assert (tpmi.name, tpmi.field("pl1_power_limit").high, tpmi.lock) == ("TPMI_PL1", 17, 63)


def found(address: int, cpu: CpuId | None) -> Register:
    register = lookup(address, cpu)
    assert register is not None
    return register


def names(register: Register) -> list[str]:
    return [field.name for field in register.fields]


def test_silvermont_has_one_package_limit_with_a_window_in_seconds() -> None:
    limit = found(0x610, BAY_TRAIL)
    assert names(limit) == ["pl1_power_limit", "pl1_enabled", "pl1_clamp", "pl1_time_window"]
    assert limit.field("pl1_time_window").quantity == "window_linear"
    assert limit.reserved == 0xFFFF_FFFF_FF00_0000
    assert limit.lock is None


def test_the_package_limit_has_the_bits_of_the_manual() -> None:
    limit = found(0x610, SKYLAKE_SP)
    assert {field.name: (field.high, field.low) for field in limit.fields} == {
        "pl1_power_limit": (14, 0),
        "pl1_enabled": (15, 15),
        "pl1_clamp": (16, 16),
        "pl1_time_window": (23, 17),
        "pl2_power_limit": (46, 32),
        "pl2_enabled": (47, 47),
        "pl2_clamp": (48, 48),
        "pl2_time_window": (55, 49),
        "lock": (63, 63),
    }
    assert limit.reserved == 0x7F00_0000_FF00_0000


def test_single_limits_lock_at_bit_31() -> None:
    for address in (0x618, 0x638, 0x640):
        assert found(address, None).lock == 31
    assert found(0x618, CpuId("GenuineIntel", 6, 0x6A)).lock == 63


def test_sapphire_rapids_has_17_bits_for_platform_watts() -> None:
    limit = found(0x65C, SAPPHIRE_RAPIDS)
    wide = ["pl1_power_limit", "pl1_enabled", "pl1_time_window", "pl2_power_limit", "pl2_enabled", "pl2_time_window"]
    assert [(limit.field(name).high, limit.field(name).low) for name in wide] == [
        (16, 0),
        (17, 17),
        (25, 19),
        (48, 32),
        (49, 49),
        (57, 51),
    ]
    assert found(0x65C, SKYLAKE_SP).fields == found(0x610, SKYLAKE_SP).fields


def test_sandy_bridge_has_amperes_where_others_have_pl4() -> None:
    assert "current_limit" in names(found(0x601, CpuId("GenuineIntel", 6, 0x3A)))
    assert "pl4_power_limit" in names(found(0x601, CpuId("GenuineIntel", 6, 0x97)))


def test_xeons_have_a_second_reading_of_the_maximum_window() -> None:
    assert found(0x614, SKYLAKE_SP).field("maximum_time_window_yz").high == 54
    assert "maximum_time_window_yz" not in names(found(0x614, None))
    assert found(0x61C, CpuId("GenuineIntel", 6, 0x3F)).field("lock").low == 63


def test_a_lock_of_a_plane_also_locks_its_policy() -> None:
    assert found(0x63A, None).locked_by == (0x638, 31)
    assert found(0x642, None).locked_by == (0x640, 31)


def test_energy_counters_say_which_domain_they_count() -> None:
    domains = {0x611: "package", 0x639: "core", 0x641: "uncore", 0x619: "dram", 0x64D: "psys"}
    for address, domain in domains.items():
        register = found(address, None)
        assert register.domain == domain
        assert register.counter == Field("energy", 0, 31, "energy")
    assert found(0x64D, None).scope == "platform"
    assert found(0xC001029A, ZEN2).scope == "core"
    assert found(0x610, None).counter is None


def test_amd_counters_have_64_bits_from_zen_4_on() -> None:
    widths = {
        (0x17, 0x01): 32,
        (0x17, 0x71): 32,
        (0x19, 0x01): 32,
        (0x19, 0x21): 32,
        (0x19, 0x44): 32,
        (0x19, 0x50): 32,
        (0x19, 0x11): 64,
        (0x19, 0x61): 64,
        (0x19, 0x75): 64,
        (0x19, 0x90): 64,
        (0x19, 0xA0): 64,
        (0x1A, 0x02): 64,
        (0x1A, 0x44): 64,
    }
    for (family, model), width in widths.items():
        cpu = CpuId("AuthenticAMD", family, model)
        assert counter_width(cpu) == width, cpu
        for address in (0xC001029A, 0xC001029B):
            counter = found(address, cpu).counter
            assert counter is not None
            assert counter.high == width - 1
    assert counter_width(SKYLAKE_SP) == counter_width(None) == 32


@given(
    st.tuples(st.integers(0, 63), st.integers(0, 63)),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**64 - 1),
)
def test_a_field_put_in_comes_out_and_touches_nothing_else(bits: tuple[int, int], raw: int, value: int) -> None:
    field = Field("any", min(bits), max(bits))
    value &= field.mask >> field.low
    changed = field.insert(raw, value)
    assert field.extract(changed) == value
    assert changed & ~field.mask == raw & ~field.mask
    assert field.insert(changed, field.extract(raw)) == raw


@pytest.mark.parametrize("value", [-1, 32])
def test_a_number_that_does_not_fit_a_field_is_refused(value: int) -> None:
    with pytest.raises(ValueError, match=f"priority_level is {value}, it must be 0 to 31"):
        found(0x63A, None).field("priority_level").insert(0, value)


def test_a_register_splits_into_its_fields() -> None:
    assert found(0x638, None).extract(0x80DD8001) == {
        "pl1_power_limit": 1,
        "pl1_enabled": 1,
        "pl1_clamp": 1,
        "pl1_time_window": 0x6E,
        "lock": 1,
    }
    with pytest.raises(KeyError, match="MSR_PP0_POWER_LIMIT has no field pl2_enabled"):
        found(0x638, None).field("pl2_enabled")


@pytest.mark.parametrize(
    ("text", "cpu"),
    [
        ("6:85", CpuId("GenuineIntel", 6, 85)),
        ("0x6:0x55", CpuId("GenuineIntel", 6, 85)),
        ("25:0x61", ZEN4),
        (" 0X19:97 ", ZEN4),
        ("24:2", CpuId("HygonGenuine", 24, 2)),
        ("18:1", CpuId("GenuineIntel", 18, 1)),
    ],
)
def test_a_processor_is_written_family_colon_model(text: str, cpu: CpuId) -> None:
    assert CpuId.parse(text) == cpu


@pytest.mark.parametrize("text", ["", "6", "6:", "6:55h", "GenuineIntel 6:85", "15:2", "6:256", "-6:1", "6:1:2"])
def test_another_text_is_no_processor(text: str) -> None:
    with pytest.raises(ValueError, match=r"^cpu ") as refusal:
        CpuId.parse(text)
    assert "\n" not in str(refusal.value)


def test_a_processor_prints_as_vendor_family_and_model() -> None:
    assert str(SKYLAKE_SP) == "GenuineIntel 6:85"
