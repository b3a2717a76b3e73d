# SPDX-License-Identifier: Apache-2.0
"""What a raw step is worth: exactly in silicon, truncated in the driver."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator.hardware.registers import CpuId
from raplica_simulator.hardware.units import (
    KINDS,
    Units,
    counter_units,
    exact_units,
    unit_style,
    usual_unit,
    window_linear_s,
    window_s,
)
from raplica_simulator.linux.rapl_units import core_units


def intel(model: int) -> CpuId:
    return CpuId("GenuineIntel", 6, model)


@pytest.mark.parametrize(
    ("unit_raw", "style", "units"),
    [
        (0xA0E03, "core", Units(Fraction(1, 8), Fraction(1, 2**14), Fraction(1, 1024))),
        (0xA1003, "core", Units(Fraction(1, 8), Fraction(1, 2**16), Fraction(1, 1024))),
        (0xA0E08, "core", Units(Fraction(1, 256), Fraction(1, 2**14), Fraction(1, 1024))),
        (0xA1000, "core", Units(Fraction(1), Fraction(1, 2**16), Fraction(1, 1024))),
        (0x00000, "core", Units(Fraction(1), Fraction(1), Fraction(1))),
        (0x00505, "atom", Units(Fraction(32, 1000), Fraction(32, 10**6), Fraction(1))),
        (0x0A383, "tpmi", Units(Fraction(1, 8), Fraction(1, 2**14), Fraction(1, 1024))),
    ],
)
def test_a_unit_register_gives_exact_fractions(unit_raw: int, style: str, units: Units) -> None:
    assert exact_units(unit_raw, style) == units


@given(st.integers(0, 2**64 - 1))
def test_only_the_three_exponents_of_a_unit_register_count(unit_raw: int) -> None:
    assert exact_units(unit_raw) == exact_units(unit_raw & 0xF1F0F)


@pytest.mark.parametrize(("exponent", "ppm", "short_j"), [(14, "2.6", "0.671"), (16, "51.7", "3.389")])
def test_powercap_is_a_little_low_and_silicon_is_not(exponent: int, ppm: str, short_j: str) -> None:
    unit_raw = exponent << 8
    exact_j = counter_units(intel(0x9E), unit_raw)["package"]
    shown_j = Fraction(core_units(unit_raw).energy_unit_nj, 10**9)
    assert f"{float((1 - shown_j / exact_j) * 10**6):.1f}" == ppm
    assert f"{float((exact_j - shown_j) * 2**32):.3f}" == short_j


@pytest.mark.parametrize("model", [0x3F, 0x4F, 0x55, 0x56, 0x57, 0x6A, 0x6C, 0x85])
def test_dram_of_these_servers_counts_in_15_3_microjoules(model: int) -> None:
    units = counter_units(intel(model), 0xA0E03)
    assert units["dram"] == Fraction(153, 10**7)
    assert units["package"] == units["psys"] == Fraction(1, 2**14)


@pytest.mark.parametrize("model", [0x8F, 0xCF])
def test_the_platform_of_sapphire_rapids_counts_in_joules_and_its_dram_as_usual(model: int) -> None:
    units = counter_units(intel(model), 0xA0E03)
    assert units["psys"] == 1
    assert units["dram"] == units["package"] == Fraction(1, 2**14)


@pytest.mark.parametrize("model", [0x37, 0x4A, 0x4C, 0x5A])
def test_silvermont_counts_upwards_from_a_microjoule(model: int) -> None:
    assert unit_style(intel(model)) == "atom"
    assert counter_units(intel(model), 0x505)["package"] == Fraction(32, 10**6)


def test_avoton_counts_like_a_core_although_the_manual_says_otherwise() -> None:
    assert unit_style(intel(0x4D)) == "core"
    assert counter_units(intel(0x4D), usual_unit(intel(0x4D)))["package"] == Fraction(1, 2**16)


def test_every_kind_of_domain_has_a_unit_with_and_without_a_processor() -> None:
    for cpu in (None, intel(0x55), CpuId("AuthenticAMD", 0x19, 0x61)):
        assert set(counter_units(cpu, 0xA1003)) == set(KINDS)
        assert counter_units(cpu, 0xA1003)["cpu-core"] == Fraction(1, 2**16)


@pytest.mark.parametrize(
    ("cpu", "unit_raw"),
    [
        (None, 0xA0E03),
        (intel(0x2A), 0xA1003),
        (intel(0x3E), 0xA1003),
        (intel(0x55), 0xA0E03),
        (intel(0xC6), 0xA0E03),
        (intel(0x37), 0x00505),
        (intel(0x4D), 0xA1003),
        (intel(0x5C), 0xA0E08),
        (intel(0x7A), 0xA0E08),
        (intel(0x5F), 0xA0E03),
        (CpuId("AuthenticAMD", 0x17, 0x31), 0xA1003),
        (CpuId("AuthenticAMD", 0x19, 0x61), 0xA1000),
        (CpuId("AuthenticAMD", 0x19, 0x11), 0xA1003),
        (CpuId("AuthenticAMD", 0x1A, 0x44), 0xA1000),
        (CpuId("HygonGenuine", 0x18, 0), 0xA1003),
    ],
)
def test_each_model_has_its_usual_unit_register(cpu: CpuId | None, unit_raw: int) -> None:
    assert usual_unit(cpu) == unit_raw


def test_a_tpmi_domain_has_its_unit_at_other_bits() -> None:
    assert exact_units(usual_unit(None, "tpmi"), "tpmi") == exact_units(usual_unit(None))


@given(st.integers(0, 127), st.integers(0, 15))
def test_a_window_is_a_power_of_two_and_quarters_of_it(raw: int, exponent: int) -> None:
    time_s = Fraction(1, 1 << exponent)
    quarters = window_s(raw, time_s) / time_s * 4
    assert quarters.denominator == 1
    assert 4 << (raw & 31) <= quarters < 8 << (raw & 31)
    assert quarters == (4 << (raw & 31)) + (raw >> 5 << (raw & 31))


def test_windows_of_real_machines() -> None:
    unit_s = Fraction(1, 1024)
    assert [window_s(raw, unit_s) for raw in (0x6E, 0x0D, 0x0A, 0x08, 0x50)] == [28, 8, 1, Fraction(1, 4), 96]
    assert [window_linear_s(raw, Fraction(1)) for raw in (0, 1, 28)] == [1, 1, 28]
