# SPDX-License-Identifier: Apache-2.0
"""Windows' energy meters: their layouts byte for byte, and what they count held against registers and the truth."""

import struct
from collections.abc import Callable, Sequence
from errno import EIO
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator import Machine
from raplica_simulator.windows.ctl_code import Access, CtlCode, Method
from raplica_simulator.windows.energy_meter import EnergyMeterDriver
from raplica_simulator.windows.energy_meter_counter import MeterCounter
from raplica_simulator.windows.energy_meter_layout import (
    GET_MEASUREMENT,
    GET_METADATA,
    GET_METADATA_SIZE,
    GET_VERSION,
    GUID_DEVICE_ENERGY_METER,
    pack_measurement,
    pack_metadata_v1,
    pack_metadata_v2,
)
from raplica_simulator.windows.nt_status import Win32, Win32Error
from raplica_simulator.windows.system import WindowsSystem
from raplica_simulator.windows.win32_calls import Completion, Win32Calls

Make = Callable[..., Machine]

READ = 0x80000000
J_PER_PWH = Fraction(36, 10**10)


class Meter:
    """One meter, as a program reads it that knows emi.h: every offset stands here again."""

    def __init__(self, process: Win32Calls, path: str, access: int = READ) -> None:
        self.process = process
        self.handle = process.create_file(path, access)

    def ask(self, code: CtlCode | int, size: int, data: bytes | None = None) -> Completion:
        return self.process.device_io_control(self.handle, int(code), data, size)

    def answer(self, code: CtlCode, size: int) -> bytes:
        done = self.ask(code, size)
        assert (done.ok, done.returned, done.overrun) == (True, size, b"")
        return done.output

    @property
    def version(self) -> int:
        return int.from_bytes(self.answer(GET_VERSION, 2), "little")

    def metadata(self) -> bytes:
        return self.answer(GET_METADATA, int.from_bytes(self.answer(GET_METADATA_SIZE, 4), "little"))

    def names(self) -> list[str]:
        found = self.metadata()
        return [name for _, name in channels_of(found)] if self.version == 2 else [name_of_v1(found)]

    def measure(self) -> dict[str, tuple[int, int]]:
        """Energy in pWh and time in 100 ns by the channel's name."""
        names = self.names()
        raw = self.answer(GET_MEASUREMENT, 16 * len(names))
        return dict(zip(names, struct.iter_unpack("<QQ", raw), strict=True))


def channels_of(metadata: bytes) -> list[tuple[int, str]]:
    """Where each channel of EMI_METADATA_V2 begins, and its name without the NUL."""
    (count,) = struct.unpack_from("<H", metadata, 66)
    found, at = [], 68
    for _ in range(count):
        unit, size = struct.unpack_from("<IH", metadata, at)
        name = metadata[at + 6 : at + 6 + size]
        assert unit == 0
        assert name[-2:] == b"\0\0"
        found.append((at, name[:-2].decode("utf-16-le")))
        at += 6 + size
    assert at == len(metadata)
    return found


def name_of_v1(metadata: bytes) -> str:
    unit, size = *struct.unpack_from("<I", metadata), *struct.unpack_from("<H", metadata, 70)
    assert unit == 0
    assert len(metadata) == 72 + size
    return metadata[72:-2].decode("utf-16-le")


def meters(machine: Machine, driver: EnergyMeterDriver | None = None, **rights: bool) -> list[Meter]:
    process = WindowsSystem.with_driver(machine, driver or EnergyMeterDriver()).process(**rights)
    return [Meter(process, path) for path in process.device_interfaces(GUID_DEVICE_ENERGY_METER)]


def all_names(machine: Machine, driver: EnergyMeterDriver | None = None) -> list[list[str]]:
    return [meter.names() for meter in meters(machine, driver)]


def energies(found: Sequence[Meter]) -> dict[str, int]:
    """The energy in pWh of every channel of all meters."""
    return {name: energy for meter in found for name, (energy, _) in meter.measure().items()}


def pwh(steps: int, unit_j: Fraction) -> int:
    return int(steps * unit_j / J_PER_PWH)


@pytest.fixture(scope="module")
def kabylake() -> Meter:
    """A meter for questions that change nothing."""
    (meter,) = meters(Machine.from_profile("kabylake"))
    return meter


# Layouts.


def test_the_codes_are_those_of_emi_h() -> None:
    codes = [GET_VERSION, GET_METADATA_SIZE, GET_METADATA, GET_MEASUREMENT]
    assert [code.value for code in codes] == [0x224000, 0x224004, 0x224008, 0x22400C]


def test_metadata_of_version_2_is_laid_out_to_the_byte() -> None:
    expected = (
        "4100" + "00" * 30  # the maker, 16 letters
        + "42004300" + "00" * 28  # the model
        + "0700" + "0200"  # revision, channels
        + "00000000" + "0600" + "500051000000"  # unit, size with its NUL, name
        + "00000000" + "0400" + "52000000"
    )  # fmt: skip
    assert pack_metadata_v2("A", "BC", 7, ["PQ", "R"]).hex() == expected


def test_metadata_of_version_1_is_laid_out_to_the_byte() -> None:
    expected = "00000000" + "4100" + "00" * 30 + "42004300" + "00" * 28 + "0700" + "0600" + "500051000000"
    assert pack_metadata_v1("A", "BC", 7, "PQ").hex() == expected


def test_a_measurement_is_energy_and_time_for_each_channel() -> None:
    assert pack_measurement([(1, 2), (1 << 64, (1 << 64) - 1)]).hex() == (
        "0100000000000000" + "0200000000000000" + "00" * 8 + "ff" * 8
    )


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)


@given(oem=TEXTS, model=TEXTS, names=st.lists(TEXTS, max_size=8), revision=st.integers(0, 0xFFFF))
def test_a_reader_of_the_layout_finds_every_channel_whatever_it_is_called(
    oem: str, model: str, names: list[str], revision: int
) -> None:
    packed = pack_metadata_v2(oem, model, revision, names)
    assert [name for _, name in channels_of(packed)] == names
    assert struct.unpack_from("<H", packed, 64) == (revision,)
    for at, text in ((0, oem), (32, model)):
        shown = packed[at : at + 32].decode("utf-16-le")
        assert shown.endswith("\0")
        assert text.startswith(shown.rstrip("\0"))
    for name in names:
        assert name_of_v1(pack_metadata_v1(oem, model, revision, name)) == name


def test_names_and_channels_that_16_bits_cannot_count_are_refused() -> None:
    with pytest.raises(ValueError, match="16 bits"):
        pack_metadata_v1("", "", 1, "x" * 0x8000)
    with pytest.raises(ValueError, match="65535"):
        pack_metadata_v2("", "", 1, [""] * 0x10000)


def test_channels_lie_packed_so_that_some_are_not_aligned(kabylake: Meter) -> None:
    starts = [at for at, _ in channels_of(kabylake.metadata())]
    assert {start % 4 for start in starts} == {0, 2}


# Which meters there are.


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        ("kabylake", [["RAPL_Package0_PKG", "RAPL_Package0_PP0", "RAPL_Package0_PP1", "RAPL_Package0_DRAM"]]),
        ("baytrail", [["RAPL_Package0_PKG", "RAPL_Package0_PP0"]]),
        ("dtpm", []),
    ],
)
def test_a_package_is_a_meter_with_a_channel_for_each_register(profile: str, expected: list[list[str]]) -> None:
    assert all_names(Machine.from_profile(profile)) == expected


def test_each_die_with_registers_of_its_own_is_a_meter() -> None:
    machine = Machine.from_profile("cascadelake-ap-2s")
    found = energies(meters(machine))
    for die in range(4):
        cpu = machine.profile.topology.cpus_of_die(die)[0]
        expected = pwh(machine.msr.read(cpu, 0x611), Fraction(1, 1 << 14))
        assert found[f"RAPL_Package{die}_PKG"] == expected > 0
    assert len({found[f"RAPL_Package{die}_PKG"] for die in range(4)}) == 4


def test_each_core_of_an_amd_processor_is_a_meter_of_its_own() -> None:
    names = all_names(Machine.from_profile("zen2-epyc-2s"))
    assert names[:2] == [["RAPL_Package0_PKG"], ["RAPL_Package1_PKG"]]
    assert names[2:] == [[f"RAPL_Package{package}_Core{core}_CORE"] for package in (0, 1) for core in range(16)]


def test_amd_names_say_package_nowhere_and_the_cores_are_part_of_the_socket() -> None:
    machine = Machine.from_profile("zen2-epyc-2s")
    found = meters(machine, EnergyMeterDriver(names="amd"))
    assert [meter.names() for meter in found] == [["Current Socket Energy", "VDDCR_VDD Energy"]] * 2
    before = [meter.measure() for meter in found]
    machine.clock.advance(seconds=10)
    for package, meter in enumerate(found):
        names = {"Current Socket Energy": "", "VDDCR_VDD Energy": "/core-{}"}
        for name, part in names.items():
            domains = [f"package-{package}" + part.format(core) for core in range(16 if part else 1)]
            truth_j = sum(machine.truth_joules(domain) for domain in domains)
            spent_j = (meter.measure()[name][0] - before[package][name][0]) * J_PER_PWH
            assert abs(spent_j - truth_j) <= len(domains) * Fraction(1, 1 << 16)


def test_mirrored_meters_show_one_counter_several_times() -> None:
    machine = Machine.from_profile("zen4")
    names = all_names(machine, EnergyMeterDriver(mirrors=3))
    assert names[:3] == [[f"RAPL_Package{number}_PKG"] for number in range(3)]
    found = energies(meters(machine, EnergyMeterDriver(mirrors=3)))
    assert found["RAPL_Package0_PKG"] == found["RAPL_Package1_PKG"] == found["RAPL_Package2_PKG"] > 0


def test_a_mirror_less_than_the_meter_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="at least"):
        EnergyMeterDriver(mirrors=0)


def test_a_virtual_machine_has_no_meter_and_amd_has_none_on_intel() -> None:
    assert meters(Machine.from_profile("kabylake"), EnergyMeterDriver(virtual_machine=True)) == []
    assert meters(Machine.from_profile("kabylake"), EnergyMeterDriver(names="amd")) == []


def test_a_register_that_faults_has_no_channel_and_without_units_there_is_no_meter(make_machine: Make) -> None:
    assert all_names(make_machine("kabylake", registers={0x641: None})) == [
        ["RAPL_Package0_PKG", "RAPL_Package0_PP0", "RAPL_Package0_DRAM"]
    ]
    assert all_names(make_machine("zen3", registers={0xC001029A: None})) == [["RAPL_Package0_PKG"]]
    machine = make_machine("kabylake")
    machine.msr.inject(0, 0x606, on="read")
    assert meters(machine) == []


def test_version_1_has_one_channel_in_each_device() -> None:
    found = meters(Machine.from_profile("kabylake"), EnergyMeterDriver(version=1))
    assert [meter.version for meter in found] == [1] * 4
    assert [meter.names() for meter in found] == [
        ["RAPL_Package0_PKG"],
        ["RAPL_Package0_PP0"],
        ["RAPL_Package0_PP1"],
        ["RAPL_Package0_DRAM"],
    ]


def test_who_expects_version_2_of_a_version_1_meter_gets_one_channel_and_is_told_so() -> None:
    meter = meters(Machine.from_profile("kabylake"), EnergyMeterDriver(version=1))[0]
    done = meter.ask(GET_MEASUREMENT, 64)
    assert (done.ok, done.returned, done.output[16:]) == (True, 16, b"\xcc" * 48)


# What they count.

DOMAINS = {"PKG": ("", 0x611), "PP0": ("/core", 0x639), "PP1": ("/uncore", 0x641), "DRAM": ("/dram", 0x619)}


@pytest.mark.parametrize("profile", ["kabylake", "skylake-sp-2s", "alderlake-p", "haswell-ep-2s"])
def test_an_intel_meter_counts_its_registers_in_their_exact_unit_across_wraps(profile: str) -> None:
    machine = Machine.from_profile(profile)
    units = machine.counter_units()
    found = meters(machine)
    first = energies(found)
    for seconds in (1, 3600, 86400):
        machine.clock.advance(seconds=seconds)
        for name, energy in energies(found).items():
            package, (part, register) = int(name[12]), DOMAINS[name.split("_")[2]]
            unit_j = units[part[1:] or "package"]
            cpu = machine.profile.topology.cpus_of_die(package)[0]
            truth_j = machine.truth_joules(f"package-{package}{part}")
            assert abs((energy - first[name]) * J_PER_PWH - truth_j) <= unit_j + J_PER_PWH
            wraps = (energy * J_PER_PWH / unit_j + Fraction(1, 2)) // (1 << 32)
            assert energy == pwh(machine.msr.read(cpu, register) + (wraps << 32), unit_j)
    assert any(energy * J_PER_PWH > 2 * units["package"] * (1 << 32) for energy in energies(found).values())


@pytest.mark.parametrize("profile", ["zen2-epyc-2s", "zen4"])
def test_an_amd_meter_counts_packages_and_cores_across_wraps(profile: str) -> None:
    machine = Machine.from_profile(profile)
    found = meters(machine)
    before = energies(found)
    machine.clock.advance(seconds=86400)
    for name, energy in energies(found).items():
        parts = name.removeprefix("RAPL_Package").split("_")
        domain = f"package-{parts[0]}" + ("" if parts[1] == "PKG" else f"/core-{parts[1].removeprefix('Core')}")
        spent_j = (energy - before[name]) * J_PER_PWH
        assert abs(spent_j - machine.truth_joules(domain)) <= Fraction(1, 1 << 16) + J_PER_PWH, name


def test_without_polling_of_its_own_a_driver_loses_whole_wraps_between_two_requests() -> None:
    machine = Machine.from_profile("kabylake")
    machine.load.set(package=100)
    both = {polls: meters(machine, EnergyMeterDriver(polls=polls)) for polls in (True, False)}
    before = {polls: energies(found)["RAPL_Package0_PKG"] for polls, found in both.items()}
    machine.clock.advance(seconds=86400)
    truth_j, wrap_j = machine.truth_joules("package-0"), Fraction(1 << 32, 1 << 14)
    spent_j = {
        polls: (energies(found)["RAPL_Package0_PKG"] - before[polls]) * J_PER_PWH for polls, found in both.items()
    }
    assert truth_j > 2 * wrap_j
    assert abs(spent_j[True] - truth_j) < Fraction(1, 1 << 13)
    assert abs(spent_j[False] - truth_j % wrap_j) < Fraction(1, 1 << 13)


def test_a_meter_counts_from_the_moment_at_which_its_driver_was_loaded_whoever_asks_when() -> None:
    machine = Machine.from_profile("kabylake")
    (meter,) = meters(machine)
    held = machine.msr.read(0, 0x611)
    machine.load.set(package=100)
    machine.clock.advance(seconds=86400)
    spent_j = energies([meter])["RAPL_Package0_PKG"] * J_PER_PWH - held * Fraction(1, 1 << 14)
    assert abs(spent_j - machine.truth_joules("package-0")) <= Fraction(1, 1 << 14) + J_PER_PWH


def test_a_counter_that_somebody_sets_back_looks_like_a_wrap() -> None:
    machine = Machine.from_profile("kabylake")
    (meter,) = meters(machine)
    before = energies([meter])["RAPL_Package0_PKG"]
    held = machine.msr.read(0, 0x611)
    machine.msr.poke(0, 0x611, held - 10)
    after = energies([meter])["RAPL_Package0_PKG"]
    assert after == pwh(held + (1 << 32) - 10, Fraction(1, 1 << 14)) > before
    # Where it was set and wrapped, nobody can tell how often it wrapped.
    machine.load.set(package=100)
    machine.clock.advance(seconds=86400)
    machine.msr.poke(0, 0x611, held)
    assert energies([meter])["RAPL_Package0_PKG"] == pwh(held + (1 << 32), Fraction(1, 1 << 14))


def test_a_counter_that_stands_still_is_counted_so() -> None:
    machine = Machine.from_profile("kabylake")
    (meter,) = meters(machine)
    machine.msr.stop(0, 0x611)
    before = energies([meter])
    machine.clock.advance(seconds=100_000)
    after = energies([meter])
    assert after["RAPL_Package0_PKG"] == before["RAPL_Package0_PKG"]
    assert after["RAPL_Package0_PP0"] > before["RAPL_Package0_PP0"]


def test_all_channels_are_measured_at_one_moment_of_the_machine() -> None:
    machine = Machine.from_profile("kabylake")
    (meter,) = meters(machine)
    machine.clock.advance(nanoseconds=1_234_567_899)
    assert {at for _, at in meter.measure().values()} == {12_345_678}


@given(steps=st.lists(st.integers(0, 1 << 34), min_size=1, max_size=30), polls=st.booleans())
def test_a_counter_never_goes_back_and_misses_only_what_nobody_looked_at(steps: list[int], polls: bool) -> None:  # noqa: FBT001
    now = 0
    counter = MeterCounter(lambda: now % (1 << 32), lambda: now, Fraction(1, 1 << 14), polls=polls)
    assert counter.steps() == 0
    expected = 0
    for step in steps:
        now += step
        expected += step if polls else step % (1 << 32)
        assert counter.steps() == expected
        assert counter.energy_pwh() == pwh(expected, Fraction(1, 1 << 14))


# What goes wrong.


@pytest.mark.parametrize(("access", "error"), [(READ, 0), (0xC0000000, 0), (0x40000000, 5), (0, 5)])
def test_every_request_needs_read_access_and_nothing_more(access: int, error: int) -> None:
    process = WindowsSystem.with_driver(Machine.from_profile("kabylake"), EnergyMeterDriver()).process(
        administrator=False
    )
    (path,) = process.device_interfaces(GUID_DEVICE_ENERGY_METER)
    meter = Meter(process, path, access)
    for code in (GET_VERSION, GET_METADATA_SIZE, GET_METADATA, GET_MEASUREMENT):
        assert meter.ask(code, 500).error == error


@pytest.mark.parametrize(
    ("code", "size"), [(GET_VERSION, 2), (GET_METADATA_SIZE, 4), (GET_METADATA, 238), (GET_MEASUREMENT, 64)]
)
def test_a_buffer_may_be_longer_than_the_answer_and_not_shorter(kabylake: Meter, code: CtlCode, size: int) -> None:
    for short in {0, 1, size // 2, size - 1}:
        done = kabylake.ask(code, short)
        assert (done.ok, done.error, done.returned) == (False, Win32.INSUFFICIENT_BUFFER, None)
        assert done.output + done.overrun == b"\xcc" * short
    for longer in (0, 1, 100):
        done = kabylake.ask(code, size + longer)
        assert (done.ok, done.returned, done.output[size:]) == (True, size, b"\xcc" * longer)


def test_the_input_is_not_looked_at(kabylake: Meter) -> None:
    assert kabylake.ask(GET_VERSION, 2, b"\xff" * 300).output == b"\2\0"


KNOWN = {code.value for code in (GET_VERSION, GET_METADATA_SIZE, GET_METADATA, GET_MEASUREMENT)}


@given(code=st.integers(0, 0xFFFFFFFF), data=st.none() | st.binary(max_size=64), size=st.integers(0, 300))
def test_whatever_is_asked_there_is_one_of_the_known_answers(
    kabylake: Meter, code: int, data: bytes | None, size: int
) -> None:
    done = kabylake.ask(code, size, data)
    if code not in KNOWN:
        denied = bool(CtlCode.of(code).access & Access.WRITE)
        assert done.error == (Win32.ACCESS_DENIED if denied else Win32.INVALID_FUNCTION)
    assert done.overrun == b""


@given(function=st.integers(4, 0xFFF), method=st.sampled_from(Method), size=st.integers(0, 80))
def test_a_function_that_emi_does_not_have_is_refused(
    kabylake: Meter, function: int, method: Method, size: int
) -> None:
    done = kabylake.ask(CtlCode(0x22, function, method, Access.READ), size)
    assert (done.ok, done.error, done.returned) == (False, Win32.INVALID_FUNCTION, None)
    assert done.output == b"\xcc" * size


def test_a_register_that_fails_later_is_an_error_and_nothing_is_lost() -> None:
    machine = Machine.from_profile("kabylake")
    (meter,) = meters(machine)
    before = energies([meter])["RAPL_Package0_PKG"]
    machine.msr.inject(0, 0x619, on="read", errno=EIO)
    machine.clock.advance(seconds=86400)
    done = meter.ask(GET_MEASUREMENT, 64)
    assert (done.ok, done.error, done.returned) == (False, Win32.IO_DEVICE, None)
    assert done.output == b"\xcc" * 64
    assert meter.version == 2
    machine.msr.inject(0, 0x619, on="read", errno=None)
    spent_j = (energies([meter])["RAPL_Package0_PKG"] - before) * J_PER_PWH
    assert abs(spent_j - machine.truth_joules("package-0")) <= Fraction(1, 1 << 14)


def test_the_processors_driver_cannot_be_unloaded_and_is_there_again_after_a_reboot() -> None:
    driver = EnergyMeterDriver()
    system = WindowsSystem.with_driver(Machine.from_profile("skylake-sp-2s"), driver)
    system.boot_steps.append(lambda system: system.kernel.load(driver))
    with pytest.raises(Win32Error, match="1052"):
        system.unload(driver)
    process = system.process()
    paths = process.device_interfaces(GUID_DEVICE_ENERGY_METER)
    old = Meter(process, paths[0])
    first = energies([old])
    system.machine.clock.advance(seconds=100_000)
    assert energies([old])["RAPL_Package0_PKG"] > first["RAPL_Package0_PKG"]
    system.reboot()
    assert old.ask(GET_VERSION, 2).error == Win32.INVALID_HANDLE
    assert process.device_interfaces(GUID_DEVICE_ENERGY_METER) == paths
    assert energies([Meter(process, paths[0])]) == first


def test_a_closed_meter_answers_nothing(kabylake: Meter) -> None:
    (path,) = kabylake.process.device_interfaces(GUID_DEVICE_ENERGY_METER.lower())
    other = Meter(kabylake.process, path)
    kabylake.process.close_handle(other.handle)
    assert other.ask(GET_VERSION, 2).error == Win32.INVALID_HANDLE
    assert kabylake.version == 2
