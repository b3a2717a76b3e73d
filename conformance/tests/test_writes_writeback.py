# SPDX-License-Identifier: Apache-2.0
"""The rule whether an attribute survives its own text, held against a kernel that does it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_conformance.clauses import _driver
from raplica_conformance.clauses._driver import Units
from raplica_conformance.subjects.writeback import code_survives, kernel_is_known, limit_survives, window_survives
from raplica_simulator import Machine

ZONE = "class/powercap/intel-rapl:0"
CORE_NJ, ATOM_NJ = 61_035, 32_000
T = 976

PROFILE = """
rules = "table"
[cpu]
vendor = "GenuineIntel"
family = 6
model = {model}
stepping = 1
name = "one package"
[topology]
packages = 1
cores_per_die = 1
[registers]
0x606 = {unit:#x}
0x610 = 0x00428440001B83E8
0x611 = 0x1000
"""


def package(folder: Path, model: int, unit: int, kernel: str) -> Machine:
    path = folder / "package.toml"
    path.write_text(PROFILE.format(model=model, unit=unit))
    return Machine.from_profile(path, kernel=kernel)


@pytest.mark.parametrize("kernel", ["6.1", "6.12"])
@pytest.mark.parametrize(("model", "unit"), [(85, 0xA0E03), (85, 0x40E03), (55, 0x00505)], ids=["core", "slow", "atom"])
def test_every_code_that_is_said_to_survive_does_and_only_the_overflowing_ones_are_left_out_besides(
    model: int, unit: int, kernel: str, tmp_path: Path
) -> None:
    machine = package(tmp_path, model, unit, kernel)
    units = Units.of(unit, atom=model == 55)
    said, seen = set(), set()
    for code in range(128):
        raw = 0x8000 | code << 17
        machine.msr.poke(0, 0x610, raw)
        text = machine.sysfs.read(f"{ZONE}/constraint_0_time_window_us")
        if code_survives(code, units):
            said.add(code)
            assert int(text) == units.window_us(code)
        machine.sysfs.write(f"{ZONE}/constraint_0_time_window_us", text)
        if machine.msr.read(0, 0x610) == raw:
            seen.add(code)
    assert said <= seen
    if not units.atom:
        overflowing = {code for code in range(128) if code & 0x1F == 31}
        assert seen - said <= overflowing
        assert {0x20, 0x40, 0x60, 0x21, 0x61} == set(range(128)) - said - overflowing


@pytest.mark.parametrize("kernel", ["6.1", "6.12"])
@pytest.mark.parametrize(("model", "unit"), [(85, 0xA0E03), (85, 0xA0E08), (55, 0x00505)], ids=["w8", "w256", "atom"])
def test_every_limit_survives(model: int, unit: int, kernel: str, tmp_path: Path) -> None:
    machine = package(tmp_path, model, unit, kernel)
    energy_nj = ATOM_NJ if model == 55 else CORE_NJ
    for field in (1, 2, 3, 136, 1000, 0x5555, 0x7FFE, 0x7FFF):
        raw = 0x00420000001B8000 | field
        machine.msr.poke(0, 0x610, raw)
        text = machine.sysfs.read(f"{ZONE}/constraint_0_power_limit_uw")
        assert limit_survives(int(text), energy_nj)
        machine.sysfs.write(f"{ZONE}/constraint_0_power_limit_uw", text)
        assert machine.msr.read(0, 0x610) == raw


def test_a_limit_that_is_a_whole_number_of_no_steps_does_not() -> None:
    assert limit_survives(15_000_000, CORE_NJ)
    assert limit_survives(3_999_744, CORE_NJ)
    assert not limit_survives(14_976_001, ATOM_NJ)
    assert not limit_survives(2**40 + 1, CORE_NJ)


@pytest.mark.parametrize(
    ("window_us", "others_us", "energy_nj", "survives"),
    [
        (27_983_872, [2440], CORE_NJ, True),
        (999_424, [], CORE_NJ, True),
        (976, [27_983_872], CORE_NJ, True),
        (2440, [27_983_872], CORE_NJ, False),
        # In steps of 488 us it would survive, in steps of 976 it would not, and nobody knows.
        (2440, [], CORE_NJ, False),
        (0, [], CORE_NJ, False),
        (1_000_001, [], CORE_NJ, False),
        (4_611_683_922_483_347_456, [], CORE_NJ, False),
        (28_000_000, [], ATOM_NJ, True),
        # Code 0 reads as 1 s too, and would be stored as 1.
        (1_000_000, [2_000_000], ATOM_NJ, False),
        # Of which kind the machine is tells the window here, and does not there.
        (28_000_000, [], None, True),
        (1_000_000, [], None, False),
    ],
)
def test_a_window_whose_step_nobody_sees_survives_where_every_step_agrees(
    window_us: int, others_us: list[int], energy_nj: int | None, *, survives: bool
) -> None:
    assert window_survives(window_us, others_us, energy_nj) is survives


@given(st.integers(0, 127), st.sampled_from(_driver.TIME_UNITS_US))
def test_what_is_said_without_the_register_is_never_more_than_what_is_said_with_it(code: int, step: int) -> None:
    units = Units(CORE_NJ, 125_000, step)
    window_us = units.window_us(code)
    if window_survives(window_us, [], CORE_NJ):
        assert code_survives(code, units)
        assert _driver.window_code(window_us, step) == code


@pytest.mark.parametrize(
    ("kernel", "known"),
    [("6.12.117-amd64", True), ("5.3.0", True), ("5.2.21", False), ("3.13.0", False), (None, False)],
)
def test_only_kernels_with_this_arithmetic_are_known(kernel: str | None, *, known: bool) -> None:
    assert kernel_is_known(kernel) is known
