# SPDX-License-Identifier: Apache-2.0
"""The TPMI interface: what its headers say, one package a device, limits in registers of their own."""

from collections.abc import Callable, Mapping
from errno import EEXIST, EINVAL, EIO, ENODATA, ENODEV, ENOENT, ENOSYS

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator import KernelCrash, Machine
from raplica_simulator.describe.document import describe
from raplica_simulator.describe.text import render_machine

MakeMachine = Callable[..., Machine]
CLASS = "class/powercap"
PACKAGE = "class/powercap/intel-rapl:0"
# Granite Rapids is in no table of the MSR driver.
CPU = "GenuineIntel:6:0xAD"
Domains = Mapping[str, Mapping[int, int]]
PACKAGE_WORDS: Mapping[int, int] = {
    0x00: 0x000003AF00010201,
    0x08: 0xA383,
    0x10: 0x4000000000280AF0,
    0x18: 0x4000000000040C80,
    0x28: 0x4000000000001900,
    0x38: 0x5D1C2A33,
    0x40: 0,
    0x48: 0x000000C800500AF0,
}
MEMORY_WORDS: Mapping[int, int] = {
    0x00: 0x0000038700010401,
    0x08: 0xA403,
    0x10: 0,
    0x38: 0x3A1B2C55,
    0x40: 0,
    0x48: 0x500320,
}
SYSTEM_WORDS: Mapping[int, int] = {
    0x00: 0x0000048F00010101,
    0x08: 0xA003,
    0x10: 0x281F40,
    0x18: 0x42580,
    0x38: 0xA7B31,
    0x50: 1,
}
FIRST: Domains = {"package": PACKAGE_WORDS, "memory": MEMORY_WORDS, "system": SYSTEM_WORDS}
SECOND: Domains = {**FIRST, "system": {**SYSTEM_WORDS, 0x50: 0}}


def table(packages: Mapping[int, Domains]) -> str:
    lines = []
    for package, domains in packages.items():
        for name, words in domains.items():
            lines += [f"[tpmi.{package}.{name}]", *(f'{offset:#x} = "{raw:#x}"' for offset, raw in words.items())]
    return "\n".join(lines)


@pytest.fixture(scope="module")
def machine_of(make_machine: MakeMachine) -> Callable[..., Machine]:
    """A two-socket machine of these TPMI tables, without MSRs unless told."""

    def make(packages: Mapping[int, Domains] | None = None, load: str = "", **how: object) -> Machine:
        kept = {"cpu": CPU, "topology": (2, 1, 2, 1), "kernel": "6.12", **how}
        found = {0: FIRST, 1: SECOND} if packages is None else packages
        return make_machine("skylake-sp", more=f"{table(found)}\n{load}", **kept)

    return make


def names(machine: Machine) -> dict[str, str]:
    zones = (zone for zone in machine.sysfs.listdir(CLASS) if ":" in zone)
    return {zone: machine.sysfs.read(f"{CLASS}/{zone}/name").decode().rstrip("\n") for zone in sorted(zones)}


def show(machine: Machine, path: str) -> int | None:
    """The number in an attribute; minus the errno where it cannot be read."""
    try:
        return int(machine.sysfs.read(path))
    except OSError as error:
        return -(error.errno or 0)


def errno_of(call: Callable[..., object], *arguments: object) -> int | None:
    try:
        call(*arguments)
    except OSError as error:
        return error.errno
    return 0


BOTH = {
    "intel-rapl:0": "package-0",
    "intel-rapl:0:0": "dram",
    "intel-rapl:1": "psys",
    "intel-rapl:2": "package-1",
    "intel-rapl:2:0": "dram",
}


@pytest.mark.pitfall("tpmi-layout")
def test_each_package_has_a_tree_and_the_root_alone_has_psys(machine_of: Callable[..., Machine]) -> None:
    machine = machine_of()
    # The headers are read past the accesses that a log holds.
    assert min(access.register for access in machine.msr.log) == 0x08
    assert {(access.die, access.cpu, access.space) for access in machine.msr.log} == {(0, 0, "tpmi"), (1, 1, "tpmi")}
    assert names(machine) == BOTH
    assert machine.driver.interfaces == ("tpmi",)


@pytest.mark.parametrize("kernel", ["5.5", "6.1"])
def test_older_kernels_have_no_such_driver(machine_of: Callable[..., Machine], kernel: str) -> None:
    machine = machine_of(kernel=kernel)
    assert (names(machine), machine.driver.interfaces) == ({}, ())
    assert errno_of(machine.driver.attach_tpmi, 0) == ENOENT


def test_every_domain_has_units_of_its_own(machine_of: Callable[..., Machine]) -> None:
    machine = machine_of()
    ranges = [show(machine, f"{CLASS}/{zone}/max_energy_range_uj") for zone in ("intel-rapl:0", "intel-rapl:0:0")]
    assert ranges == [262143328850, 65532610987]
    assert show(machine, f"{CLASS}/intel-rapl:1/max_energy_range_uj") == 4294967295000000
    assert {kind: unit.denominator for kind, unit in machine.counter_units().items()} == {
        "package": 1 << 14,
        "dram": 1 << 16,
        "psys": 1,
    }


@pytest.mark.pitfall("tpmi-layout")
@given(limit_uw=st.integers(0, 2**64 - 1))
def test_a_limit_has_18_bits_and_leaves_window_enable_and_lock_alone(
    machine_of: Callable[..., Machine], limit_uw: int
) -> None:
    machine = machine_of()
    assert machine.sysfs.write(f"{PACKAGE}/constraint_0_power_limit_uw", b"%d" % limit_uw) == len(str(limit_uw))
    field = limit_uw // 125_000 & 0x3FFFF
    assert machine.tpmi.read(0x10) == PACKAGE_WORDS[0x10] & ~0x3FFFF | field
    assert show(machine, f"{PACKAGE}/constraint_0_power_limit_uw") == field * 125_000


@pytest.mark.pitfall("tpmi-layout")
def test_enabling_sets_an_enable_in_each_limits_register_and_no_clamp(machine_of: Callable[..., Machine]) -> None:
    machine = machine_of()
    machine.sysfs.write(f"{PACKAGE}/enabled", b"0")
    assert [machine.tpmi.read(offset) >> 62 for offset in (0x10, 0x18, 0x28)] == [0, 0, 0]
    machine.sysfs.write(f"{PACKAGE}/enabled", b"1")
    touched = [(access.op, access.register, access.mask) for access in machine.msr.log]
    enable = 1 << 62
    assert touched == [
        ("w", 0x10, enable),
        ("r", 0x10, enable),
        ("w", 0x18, enable),
        ("w", 0x28, enable),
    ]
    assert [machine.tpmi.read(offset) for offset in (0x10, 0x18, 0x28)] == [
        PACKAGE_WORDS[offset] for offset in (0x10, 0x18, 0x28)
    ]


@pytest.mark.parametrize(("offset", "number"), [(0x10, 0), (0x18, 1), (0x28, 2)])
def test_each_limit_is_locked_for_itself(machine_of: Callable[..., Machine], offset: int, number: int) -> None:
    locked = {**PACKAGE_WORDS, offset: PACKAGE_WORDS[offset] | 1 << 63}
    machine = machine_of({0: {"package": locked}})
    refused = [
        errno_of(machine.sysfs.write, f"{PACKAGE}/constraint_{other}_power_limit_uw", b"1000000") for other in range(3)
    ]
    assert refused == [ENODATA if other == number else 0 for other in range(3)]
    first = number == 0
    assert machine.sysfs.read(f"{PACKAGE}/enabled") == (b"0\n" if first else b"1\n")
    assert errno_of(machine.sysfs.write, f"{PACKAGE}/enabled", b"1") == (ENOSYS if first else 0)


def test_info_fields_lie_where_tpmi_has_them(machine_of: Callable[..., Machine]) -> None:
    machine = machine_of()
    words = dict(PACKAGE_WORDS) | {0x48: 3000 | 4000 << 36}
    machine = machine_of({0: {"package": words}})
    shown = [show(machine, f"{PACKAGE}/constraint_{number}_max_power_uw") for number in range(3)]
    assert shown == [375_000_000, 500_000_000, 1_000_000_000]
    assert show(machine, f"{PACKAGE}/constraint_2_time_window_us") == -ENODATA


def header(**changes: int) -> int:
    """A package's header with version, type, size or flags replaced."""
    parts = {"version": 1, "type": 2, "size": 1, "flags": 0x3AF} | changes
    return parts["version"] | parts["type"] << 8 | parts["size"] << 16 | parts["flags"] << 32


@pytest.mark.parametrize(
    ("changes", "errno"),
    [
        ({"version": 0xFF}, ENODEV),
        ({"version": 0x21}, ENODEV),
        ({"size": 2}, EINVAL),
        ({"size": 0}, EINVAL),
        ({"flags": 0x3AD}, EINVAL),
        ({"flags": 0x32F}, EINVAL),
        ({"type": 3}, EINVAL),
        ({"type": 0}, EINVAL),
        ({"type": 4}, EINVAL),  # dram is there already
        ({"type": 1, "flags": 0x3AF}, EINVAL),  # a system domain without its information
    ],
)
def test_a_header_that_the_driver_does_not_take_costs_the_whole_package(
    machine_of: Callable[..., Machine], changes: Mapping[str, int], errno: int
) -> None:
    first = {"memory": MEMORY_WORDS, "package": {**PACKAGE_WORDS, 0x00: header(**changes)}}
    machine = machine_of({0: first, 1: SECOND})
    assert names(machine) == {"intel-rapl:0": "package-1", "intel-rapl:0:0": "dram"}
    assert errno_of(machine.driver.attach_tpmi, 0) == errno
    assert names(machine)["intel-rapl:0"] == "package-1"
    machine.tpmi.poke(0x80, header())
    machine.driver.load()
    assert names(machine)["intel-rapl:1"] == "package-0"


@pytest.mark.parametrize("version", [0, 1, 2, 0x1F])
def test_minor_versions_are_all_taken(machine_of: Callable[..., Machine], version: int) -> None:
    machine = machine_of({0: {"package": {**PACKAGE_WORDS, 0x00: header(version=version)}}})
    assert names(machine) == {"intel-rapl:0": "package-0"}


def test_registers_whose_flag_is_missing_are_not_there(machine_of: Callable[..., Machine]) -> None:
    # PL2 alone: PL1 is taken to be there and then has no register, PL4 is not even looked for.
    words = {**PACKAGE_WORDS, 0x00: header(flags=1 << 1 | 1 << 3 | 1 << 7)}
    machine = machine_of({0: {"package": words}})
    assert {access.register for access in machine.msr.log} == {0x08, 0x18, 0x38}
    assert machine.sysfs.read(f"{PACKAGE}/constraint_0_name") == b"short_term\n"
    assert show(machine, f"{PACKAGE}/constraint_0_max_power_uw") == -ENODATA
    assert errno_of(machine.sysfs.stat, f"{PACKAGE}/constraint_1_name") == ENOENT


def test_a_header_that_a_profile_leaves_out_says_what_there_is(machine_of: Callable[..., Machine]) -> None:
    given_words = {name: {at: raw for at, raw in words.items() if at} for name, words in FIRST.items()}
    machine = machine_of({0: given_words})
    assert machine.tpmi.read(0) == 0x000003AF00010201 & ~(1 << 32)
    assert names(machine) == {one: name for one, name in BOTH.items() if not one.startswith("intel-rapl:2")}


def test_where_the_msr_driver_has_the_control_type_tpmi_does_not_get_it(machine_of: Callable[..., Machine]) -> None:
    machine = machine_of(cpu="GenuineIntel:6:0x8F")
    assert machine.driver.interfaces == ("msr",)
    assert errno_of(machine.driver.attach_tpmi, 0) == EEXIST
    machine.driver.unbind()
    machine.driver.attach_tpmi(0)
    assert errno_of(machine.driver.bind) == EEXIST
    assert machine.driver.interfaces == ("tpmi",)
    assert errno_of(machine.driver.attach_tpmi, 0) == EEXIST


def test_devices_go_one_by_one_and_the_control_type_with_the_last(machine_of: Callable[..., Machine]) -> None:
    machine = machine_of()
    machine.driver.detach_tpmi(0)
    assert [access.die for access in machine.msr.log if access.op == "w"] == [0] * 6
    assert names(machine) == {one: name for one, name in BOTH.items() if one.startswith("intel-rapl:2")}
    machine.driver.detach_tpmi(0)
    machine.driver.attach_tpmi(0)
    assert names(machine) == BOTH
    machine.driver.unload()
    assert machine.sysfs.listdir(CLASS) == []
    # The newest device goes first when the driver is unloaded.
    assert list(dict.fromkeys(access.die for access in machine.msr.log)) == [0, 1]
    machine.driver.load()
    assert names(machine) == BOTH


def test_processors_that_go_take_nothing_along(machine_of: Callable[..., Machine]) -> None:
    machine = machine_of()
    for number in (2, 3):
        machine.cpu(number).offline()
        assert machine.msr.log == []
    assert names(machine) == BOTH


def test_sleeping_writes_package_limits_back_the_newest_package_first(machine_of: Callable[..., Machine]) -> None:
    machine = machine_of()
    machine.suspend()
    machine.tpmi.poke(0x10, 0, package=1)
    machine.resume()
    assert machine.tpmi.read(0x10, 1) == 0xAF0
    written = [(access.die, access.register) for access in machine.msr.log if access.op == "w"]
    assert written == [(package, offset) for package in (1, 0) for offset in (0x10, 0x18, 0x28)]


def test_counters_count_the_joules_of_package_memory_and_platform(machine_of: Callable[..., Machine]) -> None:
    machine = machine_of(load="[load]\npackage = 100.0\ndram = 10.0\npsys = 130.0")
    places = [(0x38, 0), (0xB8, 0), (0x138, 0), (0x38, 1), (0x138, 1)]
    before = [machine.tpmi.read(offset, package) for offset, package in places]
    machine.clock.advance(seconds=7)
    after = [machine.tpmi.read(offset, package) for offset, package in places]
    # psys measures both sockets, and the second socket's is not the root.
    wanted = [700 << 14, 70 << 16, 2 * 910, 700 << 14, 0]
    assert [new - old for new, old in zip(after, before, strict=True)] == wanted


def test_watts_that_a_tpmi_counter_shows_are_no_reason_for_a_warning(machine_of: Callable[..., Machine]) -> None:
    how: dict[str, object] = {"load": "[load]\npackage = 100.0\ndram = 10.0", "registers": {0x611: None, 0x619: None}}
    assert machine_of(**how).warnings == ()
    lacking = machine_of({0: FIRST, 1: {"package": PACKAGE_WORDS}}, **how).warnings
    assert [line.partition(" ")[2].split()[0] for line in lacking] == ["dram"]


def test_an_enabled_limit_binds_its_package_alone(machine_of: Callable[..., Machine]) -> None:
    # PL4 has no window: 50 W at once.
    words = {**PACKAGE_WORDS, 0x10: 0, 0x18: 0, 0x28: 1 << 62 | 400}
    machine = machine_of(
        {0: {"package": words}, 1: SECOND}, load="[load]\npackage = 80.0", registers={0x610: 0, 0x618: 0}
    )
    machine.clock.advance(seconds=2)
    assert (machine.truth_uj("package-0"), machine.truth_uj("package-1")) == (100_000_000, 160_000_000)


def test_a_package_limit_is_shared_out_among_its_dies(machine_of: Callable[..., Machine]) -> None:
    words = {**PACKAGE_WORDS, 0x10: 0, 0x18: 0, 0x28: 1 << 62 | 400}
    how = {"registers": {0x610: 0, 0x618: 0}, "topology": (1, 2, 1, 1)}
    machine = machine_of({0: {"package": words}}, load="[load]\npackage = 80.0", **how)
    before = machine.tpmi.read(0x38)
    machine.clock.advance(seconds=2)
    assert machine.truth_uj("package-0") == 100_000_000
    assert machine.tpmi.read(0x38) - before == 100 << 14


def test_a_reset_makes_it_as_it_was(machine_of: Callable[..., Machine]) -> None:
    machine = machine_of(load="[load]\npackage = 100.0")
    machine.sysfs.write(f"{PACKAGE}/enabled", b"0")
    machine.clock.advance(seconds=3)
    machine.reset()
    assert [machine.tpmi.read(offset) for offset in (0x10, 0x38)] == [PACKAGE_WORDS[0x10], PACKAGE_WORDS[0x38]]
    assert (names(machine), machine.sysfs.read(f"{PACKAGE}/enabled")) == (BOTH, b"1\n")


def test_without_units_a_limit_or_a_window_written_crashes(machine_of: Callable[..., Machine]) -> None:
    machine = machine_of()
    machine.driver.unload()
    machine.tpmi.inject(0x08)
    machine.driver.load()
    assert (show(machine, f"{PACKAGE}/energy_uj"), show(machine, f"{PACKAGE}:0/constraint_0_power_limit_uw")) == (0, 0)
    for name, where in (("power_limit_uw", "rapl_unit_xlate"), ("time_window_us", "rapl_compute_time_window_core")):
        with pytest.raises(KernelCrash, match=f"divide error in {where}"):
            machine.sysfs.write(f"{PACKAGE}/constraint_0_{name}", b"0")
    machine.sysfs.write(f"{PACKAGE}:0/constraint_0_power_limit_uw", b"1000000")


# 0xAF0 steps of 1/8 W, or of 1 W where memory holds 0.
@pytest.mark.parametrize(("unit_raw", "limit_uw"), [(0xA383, 350_000_000), (0, 2_800_000_000)])
@pytest.mark.parametrize("kernel", ["6.12", "7.2"])
def test_newer_kernels_take_units_from_memory_and_see_no_fault(
    machine_of: Callable[..., Machine], kernel: str, unit_raw: int, limit_uw: int
) -> None:
    machine = machine_of({0: {"package": {**PACKAGE_WORDS, 0x08: unit_raw}}}, topology=(1, 1, 2, 1), kernel=kernel)
    machine.driver.unload()
    machine.tpmi.inject(0x08)
    machine.driver.load()
    asked = [access.errno for access in machine.msr.log if access.register == 0x08]
    found_uw = show(machine, f"{PACKAGE}/constraint_0_power_limit_uw")
    assert (asked, found_uw) == (([], limit_uw) if kernel == "7.2" else ([EIO], 0))


def test_what_is_told_of_a_machine_has_its_tpmi_words_and_their_units(machine_of: Callable[..., Machine]) -> None:
    document = describe(machine_of())
    assert document["tpmi"][1] == {
        "package": 0,
        "domain": "package",
        "offset": "0x08",
        "name": "TPMI_POWER_UNIT",
        "raw": "0x000000000000A383",
        "provenance": None,
        "provenance_text": None,
    }
    (kind,) = document["control_types"]
    assert [(zone["name"], zone["unit_j"]) for zone in kind["zones"][:2]] == [("package-0", "1/16384"), ("psys", "1")]
    told = render_machine(document)
    row = ["0x28", "TPMI_PL4", "0x4000000000001900", "TPMI", "of", "package", "1,", "package", "not", "said"]
    assert row in [line.split() for line in told.splitlines()]
