# SPDX-License-Identifier: Apache-2.0
"""Energy, limits, windows and largest powers as the driver shows and stores them: exact numbers, both kernels."""

from errno import EINVAL, ENODATA

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator import KernelCrash

from .limit_files import KERNELS, PACKAGE, MakeMachine, errno_of, show, store

COMET_LAKE = 0x00428440001B83E8  # PL1 125 W 8 s, PL2 136 W 2.4 ms, PL1 clamps, both enabled

pytestmark = pytest.mark.parametrize("kernel", KERNELS)


# Energy.


@pytest.mark.pitfall("energy-is-raw-times-truncated-unit")
@given(raw=st.integers(0, 2**32 - 1), exponent=st.integers(0, 31))
def test_energy_is_the_raw_counter_times_a_unit_cut_to_nanojoules(
    make_machine: MakeMachine, kernel: str, raw: int, exponent: int
) -> None:
    machine = make_machine("kabylake", kernel, registers={0x606: 0xA0003 | exponent << 8})
    machine.msr.poke(0, 0x611, raw)
    unit_nj = 1_000_000_000 // 2**exponent
    assert show(machine, "energy_uj") == raw * unit_nj // 1000
    assert show(machine, "max_energy_range_uj") == (2**32 - 1) * unit_nj // 1000


@pytest.mark.pitfall("range-is-2-32-minus-1-truncated-steps")
@pytest.mark.parametrize(
    ("unit_raw", "range_uj"),
    [(0xA0E03, 262143328850), (0xA1003, 65532610987), (0xA0003, 4294967295000000), (0xA0A03, 4194301851539)],
)
def test_the_range_is_one_step_less_than_the_counters_period(
    make_machine: MakeMachine, kernel: str, unit_raw: int, range_uj: int
) -> None:
    assert show(make_machine("kabylake", kernel, registers={0x606: unit_raw}), "max_energy_range_uj") == range_uj


@pytest.mark.pitfall("wrap-is-one-step-more-than-the-range")
def test_across_a_wrap_the_range_is_short_by_one_step(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("kabylake", kernel, registers={0x611: 0xFFFFFFFF})
    before, range_uj = show(machine, "energy_uj"), show(machine, "max_energy_range_uj")
    machine.msr.poke(0, 0x611, 0)
    after = show(machine, "energy_uj")
    assert (before, range_uj, after) == (262143328850, 262143328850, 0)
    machine.msr.poke(0, 0x611, 1)
    assert show(machine, "energy_uj") == 61


def test_a_counter_that_faults_reads_einval(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("kabylake", kernel)
    machine.msr.inject(0, 0x611, "read")
    assert errno_of(machine.sysfs.read, f"{PACKAGE}/energy_uj") == EINVAL
    assert show(machine, "max_energy_range_uj") == 262143328850


# Power limits.


@pytest.mark.pitfall("limit-is-cut-to-steps")
@pytest.mark.pitfall("large-limit-wraps")
@pytest.mark.pitfall("limits-are-not-checked")
@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (124_999, 0),
        (187_499, 125_000),
        (15_062_500, 15_000_000),
        (0, 0),
        (5_000_000_000, 904_000_000),
        (4_096_000_000, 0),
        (4_294_967_295, 198_875_000),
        (2**64 - 1, (2**64 - 1) // 125_000 % 2**15 * 125_000),
        (4_095_875_000, 4_095_875_000),
    ],
)
def test_a_power_limit_is_cut_to_steps_and_to_15_bits_and_never_refused(
    make_machine: MakeMachine, kernel: str, written: int, shown: int
) -> None:
    machine = make_machine("kabylake", kernel, registers={0x610: COMET_LAKE})
    for constraint, shift in ((0, 0), (1, 32)):
        assert store(machine, f"constraint_{constraint}_power_limit_uw", written) == shown
        assert machine.msr.read(0, 0x610) >> shift & 0x7FFF == shown // 125_000
    assert store(machine, "constraint_0_power_limit_uw", written, f"{PACKAGE}:0") == shown


@pytest.mark.pitfall("power-unit-cut-to-uw")
def test_on_parts_of_a_256th_watt_the_unit_is_cut_to_3906_microwatts(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("kabylake", kernel, cpu="GenuineIntel:6:0x5C", registers={0x606: 0xA0E08})
    assert store(machine, "constraint_0_power_limit_uw", 4_000_000) == 3_999_744


@pytest.mark.pitfall("silvermont-units")
def test_on_silvermont_a_step_is_32_milliwatts_and_the_window_whole_seconds(
    make_machine: MakeMachine, kernel: str
) -> None:
    machine = make_machine("baytrail", kernel)
    assert store(machine, "constraint_0_power_limit_uw", 15_000_000) == 14_976_000
    windows = {1_000_000: 1_000_000, 999_999: 1_000_000, 0: 1_000_000, 127_999_999: 127_000_000}
    windows |= {128_000_000: 1_000_000, 131_000_000: 3_000_000}  # seven bits, and 0 shows as 1
    for written, shown in windows.items():
        assert store(machine, "constraint_0_time_window_us", written) == shown


@pytest.mark.parametrize(("written", "shown"), [(126_000_000, 126_000_000), (1_024_000_000, 0), (1_024_124_999, 0)])
def test_peak_power_has_13_bits_of_a_register_of_its_own(
    make_machine: MakeMachine, kernel: str, written: int, shown: int
) -> None:
    machine = make_machine("alderlake", kernel, registers={0x601: 0xFFFFFFFF_FFFFE3F0})
    assert store(machine, "constraint_2_power_limit_uw", written) == shown
    assert machine.msr.read(0, 0x601) == 0xFFFFFFFF_FFFFE000 | shown // 125_000


def test_the_wide_limits_of_a_sapphire_rapids_platform_have_17_bits(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("sapphirerapids", kernel)
    psys = "class/powercap/intel-rapl:1"
    for constraint in (0, 1):
        assert store(machine, f"constraint_{constraint}_power_limit_uw", 16_383_875_000, psys) == 16_383_875_000
        assert store(machine, f"constraint_{constraint}_power_limit_uw", 16_384_000_000, psys) == 0
        assert store(machine, f"constraint_{constraint}_time_window_us", 27_983_872, psys) == 27_983_872
    assert machine.msr.read(0, 0x65C) == 0x6E << 19 | 0x6E << 51


# Golden values of one register.


@pytest.mark.pitfall("limit-and-enable-are-apart")
@pytest.mark.pitfall("windows-of-two-limits-are-apart")
@pytest.mark.parametrize(
    ("name", "text", "raw"),
    [
        ("constraint_0_power_limit_uw", b"95000000", 0x00428440001B82F8),
        ("constraint_0_time_window_us", b"28000000", 0x0042844000DD83E8),
        ("enabled", b"0", 0x00420440001A03E8),
        ("constraint_1_power_limit_uw", b"1000000", 0x00428008001B83E8),
        ("constraint_1_time_window_us", b"2440", 0x00028440001B83E8),
    ],
)
def test_a_write_touches_its_field_and_no_other_bit(
    make_machine: MakeMachine, kernel: str, name: str, text: bytes, raw: int
) -> None:
    machine = make_machine("kabylake", kernel, registers={0x610: COMET_LAKE})
    assert machine.sysfs.write(f"{PACKAGE}/{name}", text) == len(text)
    assert machine.msr.read(0, 0x610) == raw


@pytest.mark.pitfall("enabled-sets-clamps-too")
def test_off_and_on_again_leaves_the_second_limit_clamping(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("kabylake", kernel, registers={0x610: COMET_LAKE})
    machine.sysfs.write(f"{PACKAGE}/enabled", b"0")
    machine.sysfs.write(f"{PACKAGE}/enabled", b"1")
    assert machine.msr.read(0, 0x610) == 0x00438440001B83E8


# The largest power.


@pytest.mark.pitfall("info-maximum-often-zero")
@pytest.mark.parametrize(
    ("raw", "powers"),
    [(0x000F0CE803980528, [165_000_000, 413_000_000, 826_000_000]), (0x3E8, [125_000_000, 0, 0]), (0, [0, 0, 0])],
)
def test_the_largest_powers_of_a_package_are_thermal_maximal_and_twice_maximal(
    make_machine: MakeMachine, kernel: str, raw: int, powers: list[int]
) -> None:
    machine = make_machine("alderlake", kernel, registers={0x614: raw})
    assert [show(machine, f"constraint_{number}_max_power_uw") for number in range(3)] == powers


@pytest.mark.pitfall("max-power-without-info-register")
def test_domains_without_an_info_register_have_the_file_and_no_data(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("kabylake", kernel, registers={0x61C: 0})
    shown = {
        zone: show(machine, "constraint_0_max_power_uw", f"class/powercap/{zone}")
        for zone in ("intel-rapl:0:0", "intel-rapl:0:1", "intel-rapl:0:2", "intel-rapl:1")
    }
    assert shown == {"intel-rapl:0:0": None, "intel-rapl:0:1": None, "intel-rapl:0:2": 0, "intel-rapl:1": None}
    without = make_machine("kabylake", kernel, registers={0x614: None})
    assert show(without, "constraint_0_max_power_uw") is None


def test_a_zone_of_peak_power_alone_shows_the_first_limits_power_on_6_1(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("alderlake", kernel, registers={0x610: None, 0x614: 0x000F0CE803980528})
    assert machine.sysfs.read(f"{PACKAGE}/constraint_0_name") == b"peak_power\n"
    assert "constraint_1_name" not in machine.sysfs.listdir(PACKAGE)
    assert show(machine, "constraint_0_power_limit_uw") == 126_000_000
    # 6.1 looks up the declared limits by number, where this is the first.
    assert show(machine, "constraint_0_max_power_uw") == {"6.1": 165_000_000, "6.12": 826_000_000}[kernel]
    assert show(machine, "constraint_0_time_window_us") == {"6.1": 0, "6.12": None}[kernel]
    assert machine.sysfs.read(f"{PACKAGE}/enabled") == b"0\n"
    assert store(machine, "constraint_0_power_limit_uw", 80_000_000) == 80_000_000


def test_a_limit_whose_register_faults_at_load_has_no_files(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("kabylake", kernel, registers={0x638: None, 0x640: None, 0x610: None})
    for zone in ("intel-rapl:0", "intel-rapl:0:0", "intel-rapl:0:1"):
        names = machine.sysfs.listdir(f"class/powercap/{zone}")
        assert not [name for name in names if name.startswith("constraint")]
        assert machine.sysfs.read(f"class/powercap/{zone}/enabled") == b"0\n"


# Faults after load.


@pytest.mark.pitfall("write-faults-before-6-5")
def test_a_register_that_faults_on_writing_is_success_on_6_1_and_no_data_on_6_12(
    make_machine: MakeMachine, kernel: str
) -> None:
    machine = make_machine("alderlake", kernel)
    machine.msr.inject(0, 0x610, "write")
    machine.msr.inject(0, 0x601, "write")
    names = ("constraint_0_power_limit_uw", "constraint_1_time_window_us", "constraint_2_power_limit_uw")
    for name in names:
        before = show(machine, name)
        errno = errno_of(machine.sysfs.write, f"{PACKAGE}/{name}", b"1000000")
        assert errno == {"6.1": 0, "6.12": ENODATA}[kernel]
        assert show(machine, name) == before


@pytest.mark.pitfall("one-errno-per-attribute")
def test_a_register_that_faults_on_reading_is_no_data_and_reads_disabled(
    make_machine: MakeMachine, kernel: str
) -> None:
    machine = make_machine("kabylake", kernel)
    machine.msr.inject(0, 0x610, "read")
    for name in ("power_limit_uw", "time_window_us"):
        assert show(machine, f"constraint_0_{name}") is None
    assert machine.sysfs.read(f"{PACKAGE}/enabled") == b"0\n"
    assert show(machine, "constraint_0_max_power_uw") == 125_000_000


def test_without_units_a_limit_or_a_window_written_crashes_6_12(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("alderlake", kernel, registers={0x606: None, 0x638: 0x80000000})
    if kernel == "6.1":
        assert machine.sysfs.listdir("class/powercap") == []
        return
    dividing = {
        "constraint_0_power_limit_uw": "rapl_unit_xlate",
        "constraint_1_time_window_us": "rapl_compute_time_window_core",
        "constraint_2_power_limit_uw": "rapl_unit_xlate",
    }
    for name, where in dividing.items():
        with pytest.raises(KernelCrash, match=f"divide error in {where}"):
            machine.sysfs.write(f"{PACKAGE}/{name}", b"0")
    # What is refused before the division is refused as ever.
    locked = f"{PACKAGE}:0/constraint_0_power_limit_uw"
    assert errno_of(machine.sysfs.write, locked, b"1") == ENODATA
    assert errno_of(machine.sysfs.write, f"{PACKAGE}/constraint_2_time_window_us", b"1") == ENODATA
    assert errno_of(machine.sysfs.write, f"{PACKAGE}/constraint_0_power_limit_uw", b"x") == EINVAL
    assert machine.sysfs.write(f"{PACKAGE}/enabled", b"0") == 1
    machine.suspend()
    machine.resume()
    assert [access.op for access in machine.msr.log] == ["r", "r", "r"]
