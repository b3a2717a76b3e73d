# SPDX-License-Identifier: Apache-2.0
"""What a profile becomes: exact numbers, register tables laid over each other, warnings."""

from __future__ import annotations

import errno
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_fixtures import recording_paths
from raplica_simulator.hardware.registers import CpuId
from raplica_simulator.hardware.topology import Topology
from raplica_simulator.load.demand import Load
from raplica_simulator.profile.control_types import Constraint, ControlType, Zone
from raplica_simulator.profile.parts import (
    Faults,
    Provenance,
    RegisterFault,
    SysfsFault,
    Witness,
)
from raplica_simulator.profile.profile import Profile, load_profile
from raplica_simulator.profile.registers import read_registers, read_words
from raplica_simulator.profile.shape import Where

HEAD = """
title = "a machine"
source = "this test"
[cpu]
vendor = "GenuineIntel"
family = 6
model = 85
[topology]
packages = 2
dies_per_package = 2
cores_per_die = 2
threads_per_core = 2
"""
AMD_HEAD = HEAD.replace("GenuineIntel", "AuthenticAMD").replace("family = 6", "family = 23").replace("85", "49")
Load_ = Callable[[str], Profile]


@pytest.fixture
def profile_of(tmp_path: Path) -> Load_:
    def load(text: str) -> Profile:
        path = tmp_path / "machine.toml"
        path.write_text(text, encoding="utf-8")
        return load_profile(path)

    return load


def test_a_profile_says_what_machine_it_is(profile_of: Load_) -> None:
    profile = profile_of(HEAD)
    assert (profile.id, profile.title, profile.source, profile.rules) == (
        "machine",
        "a machine",
        "this test",
        "silicon",
    )
    assert profile.cpu.id == CpuId("GenuineIntel", 6, 85, 0)
    assert profile.topology == Topology(2, 2, 2, 2)
    assert not profile.recorded
    assert (profile.load, profile.kernel, profile.firmware, profile.mmio, profile.tpmi) == (None,) * 5


def test_the_cpu_table_holds_name_flags_and_stepping(profile_of: Load_) -> None:
    extra = 'stepping = 4\nname = "Xeon"\nflags = ["pts", "pln"]\n[topology]'
    cpu = profile_of(HEAD.replace("[topology]", extra)).cpu
    assert (cpu.id.stepping, cpu.name, cpu.flags) == (4, "Xeon", frozenset({"pts", "pln"}))


def test_dies_cores_and_threads_are_one_where_they_are_left_out(profile_of: Load_) -> None:
    text = HEAD.replace("dies_per_package = 2\ncores_per_die = 2\nthreads_per_core = 2\n", "")
    assert profile_of(text).topology == Topology(2, 1, 1, 1)


def test_registers_hold_everywhere_and_are_overridden_by_package_then_die(profile_of: Load_) -> None:
    profile = profile_of(
        HEAD
        + """
[registers]
0x606 = 0xA0E03
0x611 = 1
[registers.package.1]
0x611 = 2
[registers.die."1.1"]
0x611 = 3
0x619 = 4
"""
    )
    assert profile.registers == {
        0: {0x606: 0xA0E03, 0x611: 1},
        1: {0x606: 0xA0E03, 0x611: 1},
        2: {0x606: 0xA0E03, 0x611: 2},
        3: {0x606: 0xA0E03, 0x611: 3, 0x619: 4},
    }
    assert profile.core_registers == {}


def test_without_common_registers_each_package_and_die_stands_alone(profile_of: Load_) -> None:
    profile = profile_of(HEAD + "[registers.package.0]\n0x611 = 1\n[registers.die.'1.0']\n0x611 = 2\n")
    assert profile.registers == {0: {0x611: 1}, 1: {0x611: 1}, 2: {0x611: 2}, 3: {}}


def test_a_core_register_is_given_to_every_core_and_overridden_one_by_one(profile_of: Load_) -> None:
    profile = profile_of(
        AMD_HEAD
        + """
[registers]
0xC001029A = 5
0xC001029B = 6
[registers.package.1]
0xC001029A = 7
[registers.core."1.1.0"]
0xC001029A = 8
"""
    )
    assert profile.registers == {die: {0xC001029B: 6} for die in range(4)}
    assert profile.core_registers == {
        (die, core): {0xC001029A: 8 if (die, core) == (3, 0) else 7 if die > 1 else 5}
        for die in range(4)
        for core in range(2)
    }


def test_each_address_is_looked_up_once_however_many_packages_there_are() -> None:
    asked: list[int] = []

    def is_core_register(address: int) -> bool:
        asked.append(address)
        return address == 3

    table = {"1": 10, "2": 20, "package": {"7": {"1": 11}}, "core": {"999.0.1": {"3": 30}, "998.0.0": {"3": 31}}}
    registers = read_registers(table, Where("machine.toml", "registers"), Topology(1000, 1, 2, 1), is_core_register)
    assert sorted(asked) == [1, 2, 3]
    assert registers.dies[7] == {1: 11, 2: 20}
    assert registers.dies[999] == {1: 10, 2: 20}
    assert registers.cores == {(999, 1): {3: 30}, (998, 0): {3: 31}}


def test_a_machine_of_a_thousand_packages_with_twenty_registers_is_read(profile_of: Load_) -> None:
    words = "".join(f"{address} = {address}\n" for address in range(0x600, 0x614))
    packages = "".join(f"[registers.package.{number}]\n0x611 = {number}\n" for number in range(1000))
    text = HEAD.replace("packages = 2\ndies_per_package = 2", "packages = 1000")
    profile = profile_of(f'rules = "table"\n{text}[registers]\n{words}{packages}')
    assert len(profile.registers) == 1000
    assert all(len(registers) == 20 for registers in profile.registers.values())
    assert profile.registers[999][0x611] == 999


def test_a_profile_without_registers_is_a_machine_where_each_faults(profile_of: Load_) -> None:
    assert profile_of(HEAD).registers == {0: {}, 1: {}, 2: {}, 3: {}}


@given(address=st.integers(0, 2**32 - 1), raw=st.integers(0, 2**64 - 1), style=st.sampled_from("xXd"))
def test_every_spelling_of_an_address_and_a_value_names_the_same_word(address: int, raw: int, style: str) -> None:
    key = str(address) if style == "d" else f"0{style}{address:08x}"
    for value in (raw, f"0x{raw:x}", f"0X{raw:016X}"):
        assert read_words({key: value}, Where("machine.toml", "registers")) == {address: raw}


def test_watts_become_exact_microwatts(profile_of: Load_) -> None:
    load = profile_of(HEAD + "[load]\npackage = 80.1\ncore = 12\nuncore = 0.000001\ndram = 1e1\npsys = 90.3\n").load
    assert load == Load(80_100_000, 12_000_000, 1, 10_000_000, 90_300_000)
    assert profile_of(HEAD + "[floor]\npackage = 1_0.25\ndram = 2\n").floors_uw == {
        "package": 10_250_000,
        "dram": 2_000_000,
    }


@given(uw=st.integers(0, 10**12))
def test_any_watts_of_six_decimals_are_read_exactly(uw: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "watts.toml"
    path.write_text(f"{HEAD}[load]\npackage = {uw // 10**6}.{uw % 10**6:06d}\n", encoding="utf-8")
    assert load_profile(path).load == Load(uw)


@pytest.mark.parametrize(
    "table", ['[load.core]\n"1.0.1" = 2.5\n', '[load.core."1.0.1"]\nwatts = 2.5\n', '[load]\ncore."1.0.1" = 2.5\n']
)
def test_single_cores_have_watts_of_their_own(profile_of: Load_, table: str) -> None:
    text = (
        table.replace("[load]\n", "[load]\npackage = 10\n") if "[load]" in table else f"[load]\npackage = 10\n{table}"
    )
    load = profile_of(HEAD + text).load
    assert load == Load(10_000_000, cores_uw={(1, 0, 1): 2_500_000})


@pytest.mark.parametrize(
    ("text", "unit"), [('"1/65536"', Fraction(1, 65536)), ("15.3e-6", Fraction(153, 10**7)), ("1", Fraction(1))]
)
def test_units_are_exact_joules(profile_of: Load_, text: str, unit: Fraction) -> None:
    assert profile_of(f"{HEAD}[units]\ndram = {text}\n").units == {"dram": unit}


def test_provenance_and_witnesses_say_where_values_come_from(profile_of: Load_) -> None:
    profile = profile_of(
        HEAD
        + """
[registers]
0x606 = 0xA0E03
0x611 = 1
[mmio]
0x5938 = 0xA0E03
[provenance]
0x606 = "observed: on a node"
0x0611 = "composed"
[provenance.mmio]
0x5938 = "documented: manual"
[[witness]]
kernel = "6.12"
recording = "skx_2s-6.12"
like = "two sockets"
[[witness]]
kernel = "6.1"
recording = "skx_2s-6.1"
like = "two sockets"
"""
    )
    assert profile.provenance == {0x606: Provenance("observed", "on a node"), 0x611: Provenance("composed", "")}
    assert profile.mmio_provenance == {0x5938: Provenance("documented", "manual")}
    assert profile.mmio == {0x5938: 0xA0E03}
    assert profile.witnessed == ("6.1", "6.12")
    assert profile.witnesses[0] == Witness("6.12", "skx_2s-6.12", "two sockets")


def test_tpmi_and_firmware_are_register_tables(profile_of: Load_) -> None:
    profile = profile_of(HEAD + "[tpmi.0.package]\n0x08 = 0xA383\n[firmware.package.1]\n0x610 = 5\n")
    assert profile.tpmi == {0: {"package": {8: 0xA383}}}
    assert profile.firmware is not None
    assert profile.firmware.dies == {0: {}, 1: {}, 2: {0x610: 5}, 3: {0x610: 5}}


def test_faults_are_read_with_their_errno(profile_of: Load_) -> None:
    profile = profile_of(
        'rules = "table"\n'
        + HEAD
        + """
[registers]
0x611 = 1
[[faults.register]]
register = "0x611"
package = 1
on = "read"
[[faults.register]]
register = 1553
write_mask = "0xFFFFFFFFFFFFFFFF"
ignore_when_locked = 0x80000000
[[faults.sysfs]]
path = "class/powercap/intel-rapl:0/energy_uj"
on = "read"
errno = "ENODATA"
after = 2
times = 1
"""
    )
    assert profile.faults == Faults(
        (
            RegisterFault(0x611, package=1, on="read", errno=errno.EIO),
            RegisterFault(0x611, write_mask=2**64 - 1, ignore_when_locked=1 << 31),
        ),
        (SysfsFault("class/powercap/intel-rapl:0/energy_uj", "read", errno.ENODATA, 2, 1),),
    )


def test_a_control_type_has_zones_within_zones_and_constraints(profile_of: Load_) -> None:
    profile = profile_of(
        HEAD
        + """
[[control_type]]
name = "plain"
enabled = true
[[control_type.zone]]
name = "outer"
energy_uj = 5
[[control_type.zone.constraint]]
name = "long"
power_limit_uw = 7
max_power_uw = 9
[[control_type.zone.zone]]
name = "inner"
power_uw = 3
enabled = false
"""
    )
    inner = Zone("inner", power_uw=3, enabled=False)
    outer = Zone("outer", energy_uj=5, constraints=(Constraint("long", 7, 0, 9),), zones=(inner,))
    assert profile.control_types == (ControlType("plain", True, (outer,)),)


INTEL_COUNTERS = "[registers]\n0x611 = 1\n0x619 = 1\n0x639 = 1\n0x641 = 1\n0x64D = 1\n"


@pytest.mark.parametrize(
    ("registers", "load", "domain", "places"),
    [
        ("[registers]\n0x619 = 1\n", "package = 9", "package", "0x611 is missing or reads 0: "),
        ("[registers]\n0x611 = 1\n", "package = 9\ndram = 1", "dram", "0x619 is missing or reads 0: "),
        ("[registers]\n0x611 = 1\n0x639 = 0\n", "package = 9\ncore = 1", "core", "0x639 is missing or reads 0: "),
        ("[registers]\n0x611 = 1\n0x641 = 0x100000000\n", "package = 9\nuncore = 1", "uncore", "0x641 is missing"),
        (
            INTEL_COUNTERS + "[registers.package.1]\n0x619 = 0\n",
            "package = 9\ndram = 1",
            "dram",
            '0x619 is missing or reads 0 on die "1.0", die "1.1": no dram zone there',
        ),
        ("[registers]\n0x611 = 1\n", "package = 9\npsys = 20", "psys", "0x64D is missing or reads 0: "),
    ],
)
def test_watts_that_no_counter_shows_give_a_warning_that_names_the_domain(
    profile_of: Load_, registers: str, load: str, domain: str, places: str
) -> None:
    (warning,) = profile_of(f"{HEAD}{registers}[load]\n{load}\n").warnings
    assert warning.startswith(f"load: {domain} has watts, but its counter {places}")


def test_a_platform_that_one_package_meters_gives_no_warning(profile_of: Load_) -> None:
    registers = INTEL_COUNTERS + "[registers.package.1]\n0x64D = 0\n"
    assert profile_of(f"{HEAD}{registers}[load]\npackage = 9\npsys = 20\n").warnings == ()


def test_amd_has_no_dram_counter_to_show_its_watts(profile_of: Load_) -> None:
    text = f"{AMD_HEAD}[registers]\n0xC001029A = 1\n0xC001029B = 1\n[load]\npackage = 9\ncore = 2\ndram = 1\n"
    (warning,) = profile_of(text).warnings
    assert warning.startswith("load: dram has watts, but AuthenticAMD CPUs have no counter for it")


def test_no_watts_give_no_warning(profile_of: Load_) -> None:
    assert profile_of(f"{HEAD}[registers]\n0x611 = 1\n[load]\npackage = 9\ndram = 0\n").warnings == ()


def test_a_register_that_nobody_knows_gives_a_warning(profile_of: Load_) -> None:
    (warning,) = profile_of(f"{HEAD}[registers]\n0x6111 = 1\n").warnings
    assert warning.startswith("registers: 0x6111 is no register that raplica knows on this CPU")
    assert profile_of(f'rules = "table"\n{HEAD}[registers]\n0x6111 = 1\n').warnings == ()


def test_a_recording_is_a_profile_with_table_rules() -> None:
    path = next(path for path in recording_paths() if path.name.startswith("skx_2s-6.1.json"))
    for name in (path, str(path)):
        profile = load_profile(name)
        assert (profile.id, profile.rules, profile.kernel) == ("skx_2s", "table", "6.1")
        assert profile.recorded
        assert profile.cpu.id == CpuId("GenuineIntel", 6, 85, 3)
        assert profile.topology == Topology(2, 1, 2, 1)
        assert profile.registers[1][0x611] == 0x40002222
        assert profile.core_registers == {}
        assert profile.load is None
        assert profile.source == "recorded from Linux 6.1.192"
