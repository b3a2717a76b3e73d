# SPDX-License-Identifier: Apache-2.0
"""The energy meters of Windows: their layouts byte for byte, and what the reader makes of their channels."""

from __future__ import annotations

import errno
import struct
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raplica_reader import Follower, Meter, Sampler, shares
from raplica_reader.windows_calls import Answer, LogicalProcessor
from raplica_reader.windows_emi import Emi, EmiChannel
from raplica_reader.windows_emi_layout import (
    GET_MEASUREMENT,
    GET_METADATA,
    GET_METADATA_SIZE,
    GET_VERSION,
    Channel,
    channels,
    number,
)
from raplica_simulator import Machine
from raplica_simulator.windows.energy_meter import EnergyMeterDriver
from raplica_simulator.windows.system import WindowsSystem

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
LARGEST_STEP_UJ = 61.04


def sized(name: str) -> bytes:
    """A name with its size in bytes before it and its NUL behind it, as emi.h has them."""
    encoded = name.encode("utf-16-le") + b"\0\0"
    return struct.pack("<H", len(encoded)) + encoded


def metadata_of_version_1(name: str, unit: int = 0) -> bytes:
    return struct.pack("<I32s32sH", unit, b"", b"", 1) + sized(name)


def metadata_of_version_2(names: list[str], unit: int = 0) -> bytes:
    return struct.pack("<32s32sHH", b"", b"", 1, len(names)) + b"".join(
        struct.pack("<I", unit) + sized(name) for name in names
    )


class Meters:
    """Windows with meters, each of which has a version, metadata and a measurement: bytes, or the error of Windows."""

    def __init__(self, *meters: tuple[int, bytes, Any], packages: int = 1, vendor: str = "AuthenticAMD") -> None:
        self.meters = {f"\\\\?\\meter{index}": meter for index, meter in enumerate(meters)}
        self.packages = packages
        self.cpu_vendor = lambda: vendor
        self.open: list[str] = []

    def device_interfaces(self, guid: str) -> list[str]:
        assert guid == "{45BD8344-7ED6-49CF-A440-C276C933B053}"
        return list(self.meters)

    def create_file(self, path: str, access: int, share: int, flags: int) -> int:
        assert (access, share, flags) == (0x80000000, 3, 0)
        self.open.append(path)
        return len(self.open)

    def close_handle(self, handle: int) -> None:
        assert 0 < handle <= len(self.open)

    def device_io_control(self, handle: int, code: int, data: bytes | None, size: int) -> Answer:
        assert data is None
        version, metadata, measurement = self.meters[self.open[handle - 1]]
        answer = {
            GET_VERSION: struct.pack("<H", version),
            GET_METADATA_SIZE: struct.pack("<I", len(metadata)),
            GET_METADATA: metadata,
            GET_MEASUREMENT: measurement,
        }[code]
        if isinstance(answer, int):
            return Answer(False, answer, None, bytes(size))
        return Answer(True, 0, len(answer), answer[:size].ljust(size, b"\0"))

    def logical_processors(self) -> list[LogicalProcessor]:
        return [LogicalProcessor(0, package, package, package, package) for package in range(self.packages)]


def measured(*energies_pwh: int) -> bytes:
    return b"".join(struct.pack("<QQ", energy_pwh, 1234) for energy_pwh in energies_pwh)


def rapl(*names: str, energies_pwh: tuple[int, ...] | None = None) -> tuple[int, bytes, bytes]:
    """A meter of version 2 whose channels stand at something."""
    return 2, metadata_of_version_2(list(names)), measured(*(energies_pwh or range(1000, 1000 + len(names))))


def emi(*meters: tuple[int, bytes, Any], packages: int = 1, vendor: str = "AuthenticAMD") -> Emi:
    return Emi(Meters(*meters, packages=packages, vendor=vendor))  # type: ignore[arg-type]


@settings(max_examples=40)
@given(names=st.lists(NAMES, max_size=6), unit=st.integers(0, 2**32 - 1))
def test_packed_channels_are_found_at_any_place(names: list[str], unit: int) -> None:
    assert channels(2, metadata_of_version_2(names, unit)) == tuple(Channel(name, unit) for name in names)


@given(name=NAMES, unit=st.integers(0, 2**32 - 1))
def test_version_1_has_one_channel(name: str, unit: int) -> None:
    assert channels(1, metadata_of_version_1(name, unit)) == (Channel(name, unit),)


@settings(max_examples=40)
@given(names=st.lists(NAMES, min_size=1, max_size=3), cut=st.integers(1, 200))
def test_metadata_that_is_cut_off_is_an_error(names: list[str], cut: int) -> None:
    for version, metadata in ((1, metadata_of_version_1(names[0])), (2, metadata_of_version_2(names))):
        with pytest.raises(OSError, match=r"bytes|ends") as wrong:
            channels(version, metadata[: max(0, len(metadata) - cut)])
        assert wrong.value.errno == errno.EBADMSG


@given(version=st.integers(0, 3), metadata=st.binary(max_size=120))
def test_any_bytes_are_channels_or_an_error(version: int, metadata: bytes) -> None:
    found: tuple[Channel, ...] = ()
    failure = None
    try:
        found = channels(version, metadata)
    except OSError as error:
        failure = error.errno
    assert failure == errno.EBADMSG if version not in {1, 2} else failure in {None, errno.EBADMSG}
    assert all("\0" not in channel.name for channel in found)


@pytest.mark.parametrize(("version", "size"), [(1, 71), (2, 67), (2, 0)])
def test_metadata_without_its_fixed_part_is_an_error(version: int, size: int) -> None:
    with pytest.raises(OSError, match=f"metadata of {size} bytes"):
        channels(version, bytes(size))


def test_a_number_of_another_length_is_an_error() -> None:
    assert number(b"\2\0", 2) == 2
    with pytest.raises(OSError, match="4 bytes and not 2"):
        number(b"\2\0\0\0", 2)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("machine_id", "counted"),
    [
        ("kabylake", {"package-0", "package-0/dram"}),
        ("skylake-sp-2s", {"package-0", "package-0/dram", "package-1", "package-1/dram"}),
        ("zen2-epyc-2s", {"package-0", "package-1"}),
        ("zen4", {"package-0"}),
    ],
)
def test_every_channel_gives_the_truth_to_the_unit_across_wraps(
    machine_id: str, counted: set[str], version: Literal[1, 2]
) -> None:
    machine = Machine.from_profile(machine_id)
    for cpu in machine.profile.topology.cpus:
        for register in (0x611, 0x619, 0xC001029B) if cpu.core == 0 and cpu.thread == 0 else ():
            try:
                machine.msr.poke(cpu.number, register, machine.msr.read(cpu.number, register) | 0xFFFFF000)
            except OSError:
                continue
    system = WindowsSystem.with_driver(machine, EnergyMeterDriver(version=version))
    source = Emi(system.process(administrator=False))
    zones = source.discover()
    assert source.notes == ()
    assert {zone.path for zone, share in zip(zones, shares(zones), strict=True) if share.counted} == counted
    with Sampler(zones, clock=lambda: machine.clock.now_ns) as sampler:
        meter = Meter()
        meter.add(sampler.sample())
        before_uj = {zone.path: machine.truth_uj(zone.path) for zone in zones}
        for _ in range(3):
            machine.clock.advance(seconds=60)
            meter.add(sampler.sample())
    for spent in meter.total():
        truth_uj = machine.truth_uj(spent.zone.path) - before_uj[spent.zone.path]
        assert spent.energy_uj is not None
        assert abs(spent.energy_uj - truth_uj) <= LARGEST_STEP_UJ + 2, spent.zone.path
    assert all(device.open_handles == 0 for device in system.kernel.devices)


def test_picowatt_hours_are_turned_into_joules_exactly() -> None:
    zone = emi(rapl("RAPL_Package0_PKG")).discover()[0]
    assert zone.counter.energy_nj(5 * 10**18) == 18 * 10**18
    assert zone.counter.shown_uj(10**12) == 3_600_000_000  # a watt-hour


def test_the_names_of_channels_become_the_names_of_zones() -> None:
    zones = emi(
        rapl("RAPL_Package0_PKG", "RAPL_Package0_PP0", "RAPL_Package0_PP1", "RAPL_Package0_DRAM"),
        rapl("RAPL_Package0_Core3_CORE"),
        rapl("_Total", "VDDCR_VDD Energy", "GPU/3D"),
    ).discover()
    answers = {zone.path: share.counted for zone, share in zip(zones, shares(zones), strict=True)}
    assert answers == {
        "package-0": True,
        "package-0/core": False,
        "package-0/uncore": False,
        "package-0/dram": True,
        "package-0/core-3": False,
        "channel _Total": False,
        "channel VDDCR_VDD Energy": False,
        "channel GPU-3D": False,
    }
    assert zones[4].parent == "emi:package-0"


@pytest.mark.parametrize("name", ["package-7", "dram", "psys", "RAPL_Package0_PKG2", "rapl_package0_pkg"])
def test_a_channel_with_another_name_is_never_counted(name: str) -> None:
    zones = emi(rapl(name)).discover()
    assert [share.counted for share in shares(zones)] == [False]


def test_sockets_that_amd_calls_by_its_own_names_are_packages() -> None:
    machine = Machine.from_profile("zen2-epyc-2s")
    system = WindowsSystem.with_driver(machine, EnergyMeterDriver(names="amd"))
    zones = Emi(system.process()).discover()
    assert {zone.path for zone, share in zip(zones, shares(zones), strict=True) if share.counted} == {
        "package-0",
        "package-1",
    }
    assert sum("VDDCR_VDD" in zone.path for zone in zones) == 2


def test_dies_that_show_the_counter_of_their_socket_are_counted_once() -> None:
    machine = Machine.from_profile("zen2-epyc-2s")
    machine.clock.advance(seconds=30)
    system = WindowsSystem.with_driver(machine, EnergyMeterDriver(mirrors=2))
    zones = Emi(system.process()).discover()
    packages = {zone.path: zone.mirror_of for zone in zones if zone.parent is None}
    assert packages == {
        "package-0": None,
        "package-1": "emi:package-0",
        "package-2": None,
        "package-3": "emi:package-2",
    }
    assert sum(share.counted for share in shares(zones)) == 2


def test_sockets_that_stand_alike_by_chance_are_counted_each() -> None:
    alike = [rapl(f"RAPL_Package{number}_PKG", energies_pwh=(10**9,)) for number in range(2)]
    assert [zone.mirror_of for zone in emi(*alike, packages=2).discover()] == [None, None]
    assert [zone.mirror_of for zone in emi(*alike, packages=1).discover()] == [None, "emi:package-0"]


def test_dies_with_counters_of_their_own_are_counted_each() -> None:
    dies = [rapl(f"RAPL_Package{number}_PKG", energies_pwh=(10**9 * (number + 1),)) for number in range(4)]
    assert [zone.mirror_of for zone in emi(*dies, packages=2).discover()] == [None] * 4
    nearly = [rapl(f"RAPL_Package{number}_PKG", energies_pwh=(10**9 + number,)) for number in range(4)]
    assert [zone.mirror_of for zone in emi(*nearly, packages=2, vendor="GenuineIntel").discover()] == [None] * 4
    assert sum(zone.mirror_of is None for zone in emi(*nearly, packages=2).discover()) == 2


def test_a_package_that_two_meters_show_under_one_name_is_counted_once() -> None:
    zones = emi(*(rapl("RAPL_Package0_PKG", energies_pwh=(1000 * n,)) for n in (1, 2, 3)), packages=3).discover()
    assert [zone.path for zone in zones] == ["package-0", "package-0 (2)", "package-0 (3)"]
    assert [share.counted for share in shares(zones)] == [True, False, False]


def test_a_channel_that_stands_at_0_counts_nothing() -> None:
    zones = emi(rapl("RAPL_Package0_PKG", "RAPL_Package0_DRAM", energies_pwh=(7, 0))).discover()
    assert [zone.path for zone in zones] == ["package-0"]


def test_windows_in_a_virtual_machine_has_no_zones() -> None:
    machine = Machine.from_profile("kabylake")
    system = WindowsSystem.with_driver(machine, EnergyMeterDriver(virtual_machine=True))
    assert Emi(system.process()).discover() == ()


def test_what_cannot_be_understood_is_left_out_and_said() -> None:
    source = emi(
        rapl("RAPL_Package0_PKG"),
        (3, b"", b""),
        (2, metadata_of_version_2(["RAPL_Package0_DRAM"], unit=1), measured(5)),
        (2, metadata_of_version_2(["RAPL_Package1_PKG"]), measured(5) + b"\0"),
        (2, metadata_of_version_2([]), b""),
    )
    assert [zone.path for zone in source.discover()] == ["package-0"]
    assert source.notes == (
        "the energy meter \\\\?\\meter1 is left out: version 3 of the interface, which is not known",
        "the channel RAPL_Package0_DRAM is left out: its unit 1 is not known",
        "the energy meter \\\\?\\meter3 is left out: control code 0x22400c: 17 bytes are said to be written into 16",
    )


@pytest.mark.parametrize(("error", "code"), [(1, errno.ENOSYS), (5, errno.EACCES), (1117, errno.EIO)])
def test_where_no_meter_answers_the_error_of_the_first_is_told(error: int, code: int) -> None:
    class Refusing(Meters):
        def device_io_control(self, *request: Any) -> Answer:
            return Answer(False, error, None, bytes(request[-1]))

    with pytest.raises(OSError, match=f"Windows error {error} ") as refused:
        Emi(Refusing(rapl("RAPL_Package0_PKG"))).discover()  # type: ignore[arg-type]
    assert refused.value.errno == code


def test_metadata_without_end_is_not_asked_for() -> None:
    class Endless(Meters):
        def device_io_control(self, handle: int, code: int, data: bytes | None, size: int) -> Answer:
            answer = super().device_io_control(handle, code, data, size)
            return answer._replace(output=b"\xff" * 4) if code == GET_METADATA_SIZE else answer

    with pytest.raises(OSError, match="metadata of 4294967295 bytes"):
        Emi(Endless(rapl("RAPL_Package0_PKG"))).discover()  # type: ignore[arg-type]


def test_a_measurement_that_fails_is_an_error_and_is_made_up_for() -> None:
    machine = Machine.from_profile("kabylake")
    source = Emi(WindowsSystem.with_driver(machine, EnergyMeterDriver()).process())
    follower = Follower(source, Sampler(source.discover(), clock=lambda: machine.clock.now_ns))
    follower.sample()
    machine.clock.advance(seconds=5)
    for cpu in machine.profile.topology.cpus:
        machine.msr.inject(cpu.number, 0x611, on="read", errno=errno.EIO)
    assert {spent.error for spent in follower.sample()} == {"EIO"}
    assert {spent.error for spent in follower.sample()} == {"EIO"}  # and looking anew gives the same zones
    for cpu in machine.profile.topology.cpus:
        machine.msr.inject(cpu.number, 0x611, on="read", errno=None)
    machine.clock.advance(seconds=5)
    healed = {spent.zone.path: spent for spent in follower.sample()}
    assert healed["package-0"].energy_uj == pytest.approx(60_000_000, abs=200)  # 6 W
    follower.sampler.close()


def test_a_meter_that_has_other_channels_than_before_is_not_read_on() -> None:
    meters = Meters(rapl("RAPL_Package0_PKG"))
    with Sampler(Emi(meters).discover()) as sampler:  # type: ignore[arg-type]
        assert sampler.sample().errors == (None,)
        meters.meters["\\\\?\\meter0"] = rapl("RAPL_Package0_DRAM", "RAPL_Package0_PKG")
        assert sampler.sample().errors == ("EBADMSG",)
        assert sampler.sample().errors == ("ENODEV",)


def test_meters_that_come_or_go_are_noticed() -> None:
    meters = Meters(rapl("RAPL_Package0_PKG"))
    source = Emi(meters)  # type: ignore[arg-type]
    before = source.signature()
    assert source.signature() == before
    meters.meters["\\\\?\\meter1"] = rapl("RAPL_Package0_DRAM")
    assert source.signature() != before


def test_a_list_of_meters_that_cannot_be_had_is_no_change_twice() -> None:
    class Unlisted(Meters):
        def device_interfaces(self, guid: str) -> list[str]:
            raise OSError(errno.EIO, guid)

    source = Emi(Unlisted())  # type: ignore[arg-type]
    assert source.signature() == source.signature() == errno.EIO


def test_packages_whose_counters_cannot_be_read_yet_are_not_taken_for_one() -> None:
    silent = [(2, metadata_of_version_2([f"RAPL_Package{number}_PKG"]), 1117) for number in range(2)]
    zones = emi(*silent).discover()
    assert [zone.mirror_of for zone in zones] == [None, None]
    assert Sampler(zones).sample().errors == ("EIO", "EIO")


@pytest.mark.parametrize("short", [8, 48])
def test_a_measurement_of_fewer_or_more_channels_is_an_error(short: int) -> None:
    meters = Meters(rapl("RAPL_Package0_PKG", "RAPL_Package0_DRAM"))
    (package, _) = Emi(meters).discover()  # type: ignore[arg-type]
    meters.meters["\\\\?\\meter0"] = (*meters.meters["\\\\?\\meter0"][:2], bytes(short))
    with pytest.raises(OSError, match="bytes") as wrong:
        package.gauge.once()
    assert wrong.value.errno == errno.EBADMSG


def test_channels_of_one_meter_are_equal_and_of_others_not() -> None:
    (zone,) = emi(rapl("RAPL_Package0_PKG")).discover()
    (again,) = emi(rapl("RAPL_Package0_PKG")).discover()
    (other,) = emi(rapl("RAPL_Package0_DRAM")).discover()
    assert isinstance(zone.gauge, EmiChannel)
    assert zone.gauge == again.gauge != other.gauge
