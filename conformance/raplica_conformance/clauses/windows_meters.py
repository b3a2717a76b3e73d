# SPDX-License-Identifier: Apache-2.0
"""The energy meters that Windows itself shows: the Energy Metering Interface of emi.h, as its readers rely on it."""

import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple, Protocol

from raplica_conformance.clause import expect, not_applicable
from raplica_conformance.clauses._windows import (
    GENERIC_READ,
    METER_KIND,
    Process,
    Windows,
    error_of,
    told,
    windows_clause,
)

__all__: list[str] = []

_GUID = "{45BD8344-7ED6-49CF-A440-C276C933B053}"
_VERSION, _SIZE, _METADATA, _MEASUREMENT = 0x224000, 0x224004, 0x224008, 0x22400C
_EMI = "Windows SDK, emi.h"
_READERS = "mlco2/codecarbon codecarbon/core/windows_emi.py; joular/joularcore src/windows"
_PWH_PER_J = Fraction(10**12, 3600)
_LARGEST_STEP_J = Fraction(1)  # a counter of the platform counts whole joules
_SECOND_NS = 10**9
_ROOM = 4096
_V1, _V2 = 1, 2


class MeterWindows(Windows, Protocol):
    """A Windows whose meters count what is known."""

    def truth_j(self, domain: str) -> Fraction:
        """The joules that a domain of the machine has spent."""


class _Channel(NamedTuple):
    name: str
    unit: int
    offset: int


class _Meter:
    """One meter that is open."""

    def __init__(self, process: Process, path: str) -> None:
        self.process = process
        self.path = path
        self.handle = process.create_file(path, GENERIC_READ)

    def ask(self, number: int, size: int = _ROOM) -> bytes:
        """What a request brings; one that fails ends the clause as a failure."""
        done = self.process.device_io_control(self.handle, number, None, size)
        if not done.ok:
            expect(told(done), "an answer", f"how request {number:#x} to {self.path} ends")
        return done.output[: done.returned]

    def version(self) -> int:
        return int.from_bytes(self.ask(_VERSION), "little")

    def channels(self) -> list[_Channel]:
        content = self.ask(_METADATA)
        if self.version() == _V1:
            unit, size = struct.unpack_from("<I", content)[0], struct.unpack_from("<H", content, 70)[0]
            return [_Channel(_text(content[72 : 72 + size]), unit, 0)]
        found, offset = [], 68
        for _ in range(struct.unpack_from("<H", content, 66)[0]):
            unit, size = struct.unpack_from("<IH", content, offset)
            found.append(_Channel(_text(content[offset + 6 : offset + 6 + size]), unit, offset))
            offset += 6 + size
        return found

    def measure(self) -> list[tuple[int, int]]:
        content = self.ask(_MEASUREMENT)
        whole = len(content) // 16 * 16
        return [struct.unpack_from("<QQ", content, offset) for offset in range(0, whole, 16)]


def _text(content: bytes) -> str:
    return content.decode("utf-16-le", "replace").partition("\0")[0]


def _meters(windows: Windows) -> list[_Meter]:
    windows.run()
    process = windows.process(administrator=False)
    found = [_Meter(process, path) for path in process.device_interfaces(_GUID)]
    return found or not_applicable("this Windows shows no meter")


@windows_clause(
    "windows.meter.everybody",
    kind=METER_KIND,
    level="must",
    title="Who is no administrator finds the meters by their interface class and opens them for reading.",
    source=_READERS,
)
def meter_everybody(windows: Windows) -> None:
    """That is why readers prefer them to any driver that has to be installed."""
    windows.run()
    process = windows.process(administrator=False)
    for path in process.device_interfaces(_GUID) or not_applicable("this Windows shows no meter"):
        expect(error_of(process.create_file, path, GENERIC_READ), 0, f"the error of opening {path}")


@windows_clause(
    "windows.meter.version",
    kind=METER_KIND,
    level="must",
    title="The version is 1 or 2, in 2 bytes.",
    source=_EMI,
)
def meter_version(windows: Windows) -> None:
    """A meter of version 1 has one channel."""
    for meter in _meters(windows):
        content = meter.ask(_VERSION)
        expect(len(content), 2, f"bytes of the version of {meter.path}")
        version = int.from_bytes(content, "little")
        expect(version in (_V1, _V2), True, f"whether version {version} is one that there is")
        if version == _V1:
            expect(len(meter.channels()), 1, f"channels of {meter.path}")


@windows_clause(
    "windows.meter.size",
    kind=METER_KIND,
    level="must",
    title="The size of the metadata is told in 4 bytes, and is that of the metadata.",
    source=_EMI,
)
def meter_size(windows: Windows) -> None:
    """It is at least that of the part with a fixed length, and the channels fill it to the end."""
    for meter in _meters(windows):
        content = meter.ask(_SIZE)
        expect(len(content), 4, f"bytes of the size of {meter.path}")
        metadata = meter.ask(_METADATA)
        expect(int.from_bytes(content, "little"), len(metadata), "the size that is told, against the metadata's")
        last = meter.channels()[-1]
        end = 72 if meter.version() == _V1 else last.offset + 6
        expect(end + 2 * len(last.name) + 2, len(metadata), "where the last channel ends, with its NUL")


@windows_clause(
    "windows.meter.channels",
    kind=METER_KIND,
    level="must",
    title="Channels lie packed behind one another, each with picowatt-hours and a name that ends with a NUL.",
    source=_EMI,
)
def meter_channels(windows: Windows) -> None:
    """A structure that a compiler aligns reads nonsense: a name's size is no multiple of 4 as a rule."""
    for meter in _meters(windows):
        metadata = meter.ask(_METADATA)
        for channel in meter.channels():
            expect(channel.unit, 0, f"the unit of {channel.name}")
            expect(channel.name.isprintable() and bool(channel.name), True, f"whether {channel.name!r} is a name")
            at = 70 if meter.version() == _V1 else channel.offset + 4
            size = struct.unpack_from("<H", metadata, at)[0]
            expect(size, 2 * len(channel.name) + 2, f"bytes of the name {channel.name}, its NUL with it")


@windows_clause(
    "windows.meter.names",
    kind=METER_KIND,
    level="should",
    title="A package's channels say which package, and what of it, they count; each core has a meter of its own.",
    source=_READERS,
)
def meter_names(windows: Windows) -> None:
    """Cores, graphics and each core again are in the package: who adds up all channels counts them twice.

    AMD's names that are known from readers say nothing of packages; this clause is not about them. A channel for the
    sum of all others is one of the performance counters, and none of a meter's.
    """
    ends = {"PKG", "PP0", "PP1", "DRAM"}
    for meter in _meters(windows):
        names = [channel.name for channel in meter.channels()]
        expect("_Total" in names, False, f"whether {meter.path} has a channel _Total")
        of_package = [name for name in names if name.startswith("RAPL_Package")]
        for name in of_package:
            kind = name.split("_", 2)[2]
            if kind not in ends:
                is_core = kind.startswith("Core") and kind.endswith("_CORE")
                expect((is_core, len(names)), (True, 1), f"whether {name} is a core's, and channels beside it")


@windows_clause(
    "windows.meter.measurement",
    kind=METER_KIND,
    level="must",
    title="A measurement has 16 bytes for each channel: energy, and a time in 100 ns that is the same for all.",
    source=_EMI,
)
def meter_measurement(windows: Windows) -> None:
    """The time goes on as the machine's does."""
    meters = _meters(windows)
    before = [meter.measure() for meter in meters]
    windows.advance(_SECOND_NS)
    for meter, earlier in zip(meters, before, strict=True):
        content = meter.ask(_MEASUREMENT)
        expect(len(content), 16 * len(meter.channels()), f"bytes of a measurement of {meter.path}")
        later = meter.measure()
        expect(len({at for _, at in later}), 1, "different times in one measurement")
        expect(later[0][1] - earlier[0][1], 10**7, "by how much the time goes on in a second")


@windows_clause(
    "windows.meter.truth",
    kind=METER_KIND,
    level="must",
    title="Between two measurements a package's channel counts the picowatt-hours that were spent, also across wraps.",
    source=_EMI,
)
def meter_truth(windows: MeterWindows) -> None:
    """One is 3.6 nJ. The register behind it has 32 bits and wraps; the channel has 64 and does not."""
    channels = list(_packages(_meters(windows)))
    if not channels or len(channels) > _count_packages(windows):
        not_applicable("no channel says which package it counts")
    for seconds in (10, 3600, 6 * 3600):
        before = [(meter.measure()[number][0], windows.truth_j(domain)) for meter, number, domain in channels]
        windows.advance(seconds * _SECOND_NS)
        for (meter, number, domain), (earlier, spent) in zip(channels, before, strict=True):
            counted = meter.measure()[number][0] - earlier
            wanted = (windows.truth_j(domain) - spent) * _PWH_PER_J
            off = abs(counted - wanted) <= _LARGEST_STEP_J / 1000 * _PWH_PER_J
            expect(off, True, f"whether {counted} pWh of {domain} in {seconds} s are {round(wanted)}")


@windows_clause(
    "windows.meter.mirrors",
    kind=METER_KIND,
    level="should",
    title="Where more channels count packages than there are packages, the others show what one of them shows.",
    source=_READERS,
)
def meter_mirrors(windows: Windows) -> None:
    """Several dies show the one counter of their socket. A reader has to count it once."""
    channels = list(_packages(_meters(windows)))
    spare = len(channels) - _count_packages(windows)
    if spare <= 0:
        not_applicable("each package has one channel")
    windows.advance(10 * _SECOND_NS)
    counts = [meter.measure()[number][0] for meter, number, _ in channels]
    expect(len(counts) - len(set(counts)), spare, f"channels that show what another one shows, of {counts}")


@windows_clause(
    "windows.meter.short",
    kind=METER_KIND,
    level="should",
    title="A buffer that is too short gets an error and no part of an answer; one that is too long is no matter.",
    source=f"{_EMI}; the number, 122, is inferred",
)
def meter_short(windows: Windows) -> None:
    """A reader asks for the size first."""
    for meter in _meters(windows):
        for number in (_VERSION, _SIZE, _METADATA, _MEASUREMENT):
            size = len(meter.ask(number))
            for room in sorted({1, size // 2, size - 1}):
                done = meter.process.device_io_control(meter.handle, number, None, room)
                expect((done.ok, done.output), (False, b"\xcc" * room), f"{room} bytes of room for {size}")
            expect(len(meter.ask(number, size + 1)), size, f"bytes in a buffer of {size + 1}")


@windows_clause(
    "windows.meter.rights",
    kind=METER_KIND,
    level="must",
    title="Each request needs a handle for reading: one without rights gets 5.",
    source=_EMI,
)
def meter_rights(windows: Windows) -> None:
    """The rights are in the code, so Windows looks at them itself."""
    for meter in _meters(windows):
        handle = meter.process.create_file(meter.path, 0)
        for number in (_VERSION, _SIZE, _METADATA, _MEASUREMENT):
            done = meter.process.device_io_control(handle, number, None, _ROOM)
            expect(told(done), "error 5", f"how request {number:#x} ends without rights")


@windows_clause(
    "windows.meter.unknown",
    kind=METER_KIND,
    level="should",
    title="A code that is none of the four is refused (1).",
    source=f"{_EMI}; inferred",
)
def meter_unknown(windows: Windows) -> None:
    """So a reader can tell a meter from the Scaphandre driver, which looks at no code."""
    for meter in _meters(windows):
        for number in (0x224010, 0x220000, 0x22D844):
            done = meter.process.device_io_control(meter.handle, number & ~0x8000, None, _ROOM)
            expect(told(done), "error 1", f"how request {number:#x} ends")


def _packages(meters: list[_Meter]) -> Iterator[tuple[_Meter, int, str]]:
    """The channels that count a package, and which one by their names."""
    for meter in meters:
        for number, channel in enumerate(meter.channels()):
            if channel.name.startswith("RAPL_Package") and channel.name.endswith("_PKG"):
                yield meter, number, f"package-{channel.name.removeprefix('RAPL_Package').removesuffix('_PKG')}"


def _count_packages(windows: Windows) -> int:
    return len({one.package for one in windows.processors()})
