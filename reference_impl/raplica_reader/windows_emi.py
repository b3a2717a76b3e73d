# SPDX-License-Identifier: Apache-2.0
"""Find zones in the energy meters that Windows itself shows: the Energy Metering Interface (emi.h of the Windows SDK).

From Windows 11 on the processor's own driver shows the counters of RAPL there, added up to 64 bits of picowatt-hours,
to everybody and without another driver. So it is asked first. Windows in a virtual machine shows none.

A meter is a device with one or more channels, and channels overlap: `RAPL_Package0_PP0`, `_PP1` and the devices of
single cores (`RAPL_Package0_Core3_CORE`) are parts of `RAPL_Package0_PKG`, while `_DRAM` is not. To add up every one
counts most of it twice. Their names say what they are and become the names that zones have everywhere; a channel that
has another name is shown and not counted. Some AMD machines call the package "Current Socket Energy" [inferred from
what clients of this interface look for].

An AMD processor of several dies can have a meter for each die that all show the one counter of the socket. Where there
are more packages in the meters than in the machine, those that show the same are counted once. Dies of Intel's have a
counter each.
"""

import errno
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from raplica_reader.counter import RawCounter
from raplica_reader.possible import possible_w
from raplica_reader.processor import AMD_VENDORS
from raplica_reader.windows_calls import GENERIC_READ, Calls, answered
from raplica_reader.windows_device import Device
from raplica_reader.windows_emi_layout import (
    GET_MEASUREMENT,
    GET_METADATA,
    GET_METADATA_SIZE,
    GET_VERSION,
    GUID_DEVICE_ENERGY_METER,
    MEASUREMENT,
    MOST,
    PICOWATT_HOURS,
    Channel,
    channels,
    number,
)
from raplica_reader.zone import Handle, Zone

__all__ = ["Emi", "EmiChannel", "EnergyMeter"]

RAPL = re.compile(r"RAPL_Package([0-9]+)_(PKG|PP0|PP1|DRAM|Core([0-9]+)_CORE)")
NAMES = {"PP0": "core", "PP1": "uncore", "DRAM": "dram"}
SOCKET = "Current Socket Energy"
PICOWATT_HOUR_NJ = 18, 5
BITS = 64
COUNT = 8
ALIKE = 10**6
"""Counters of one register that differ by less than one part in so many are the same, looked at one after the other."""


class EnergyMeter:
    """One meter: a device, and the channels that it says it has."""

    def __init__(self, calls: Calls, path: str) -> None:
        self.path = path
        self.device = Device(calls, (path,), GENERIC_READ)

    def channels(self) -> tuple[Channel, ...]:
        """Ask for the channels. Errors: OSError of the calls, EBADMSG for answers that are none."""
        with self.device:
            version = number(self._ask(GET_VERSION, 2), 2)
            size = number(self._ask(GET_METADATA_SIZE, 4), 4)
            if size > MOST:
                raise OSError(errno.EBADMSG, f"metadata of {size} bytes")
            return channels(version, self._ask(GET_METADATA, size))

    def measure(self, count: int) -> bytes:
        """The measurements of all channels, of which there are `count`; EBADMSG where there are more or fewer."""
        content = self._ask(GET_MEASUREMENT, MEASUREMENT * count)
        if len(content) != MEASUREMENT * count:
            raise OSError(errno.EBADMSG, f"{len(content)} bytes for {count} channels")
        return content

    def _ask(self, code: int, size: int) -> bytes:
        return answered(self.device.control(code, None, size), f"control code {code:#x}")


@dataclass(frozen=True, slots=True)
class EmiChannel:
    """One channel of a meter, as a gauge. `all_channels` are what the meter had when it was found."""

    path: str
    position: int
    all_channels: tuple[Channel, ...]
    meter: EnergyMeter = field(repr=False, compare=False)

    counts_on = True

    def open(self) -> Handle:
        """Hold the meter open."""
        self.meter.device.hold()
        return Handle(self.once, None, self.meter.device.release)

    def once(self) -> bytes:
        """The energy of this channel."""
        at = MEASUREMENT * self.position
        return self.meter.measure(len(self.all_channels))[at : at + COUNT]

    def check(self) -> None:
        """Look whether the meter still has these channels; ENODEV where it has others."""
        if self.meter.channels() != self.all_channels:
            raise OSError(errno.ENODEV, "the meter has other channels now", self.path)

    def decode(self, content: bytes) -> int:
        """Picowatt-hours."""
        return int.from_bytes(content, "little")


class Emi:
    """The energy meters of a Windows machine, as a source. `notes` are lines about what is left out."""

    name = "emi"
    about = "Windows' own meters: no other driver, no administrator"

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.notes: tuple[str, ...] = ()

    def signature(self) -> object:
        """The meters that there are."""
        try:
            return tuple(self.calls.device_interfaces(GUID_DEVICE_ENERGY_METER))
        except OSError as error:
            return error.errno

    def discover(self) -> tuple[Zone, ...]:
        """Find every channel that has counted; (): Windows shows no meter.

        Errors: OSError where Windows cannot list them, or none of them answers: that of the first.
        """
        notes: list[str] = []
        zones: list[Zone] = []
        failures: list[OSError] = []
        paths = self.calls.device_interfaces(GUID_DEVICE_ENERGY_METER)
        for path in paths:
            try:
                zones.extend(self._of_meter(EnergyMeter(self.calls, path), zones, notes))
            except OSError as error:
                failures.append(error)
                notes.append(f"the energy meter {path} is left out: {error.strerror or error}")
        if failures and len(failures) == len(paths):
            raise failures[0]
        self.notes = tuple(notes)
        return self._each_once(zones)

    def _of_meter(self, meter: EnergyMeter, others: Sequence[Zone], notes: list[str]) -> list[Zone]:
        """The channels of one meter that have counted, or that cannot be read, which is told when they are sampled."""
        found = meter.channels()
        if not found:
            return []
        counts = self._first_counts(meter, len(found))
        zones: list[Zone] = []
        for position, channel in enumerate(found):
            if channel.unit != PICOWATT_HOURS:
                notes.append(f"the channel {channel.name} is left out: its unit {channel.unit} is not known")
            elif counts[position] != 0:
                taken = {zone.path for zone in (*others, *zones)}
                zones.append(_zone(channel.name, EmiChannel(meter.path, position, found, meter), taken))
        return zones

    @staticmethod
    def _first_counts(meter: EnergyMeter, count: int) -> list[int | None]:
        """What each channel shows; None for all where the meter knows its channels and cannot measure."""
        try:
            content = meter.measure(count)
        except OSError as error:
            if error.errno == errno.EBADMSG:
                raise
            return [None] * count
        starts = range(0, MEASUREMENT * count, MEASUREMENT)
        return [int.from_bytes(content[at : at + COUNT], "little") for at in starts]

    def _each_once(self, zones: Sequence[Zone]) -> tuple[Zone, ...]:
        """Mark packages that show the counter of another one: as many as there are too many, and no more."""
        packages = [zone for zone in zones if _is_package(zone)]
        spare = len(packages) - len({one.package for one in self.calls.logical_processors()})
        if spare > 0 and self.calls.cpu_vendor() not in AMD_VENDORS:
            spare = 0  # dies of Intel's have a counter each
        own: list[Zone] = []
        marked: dict[str, Zone] = {}
        for zone in packages:
            twin = next((one for one in own if _show_the_same(one, zone)), None) if len(marked) < spare else None
            if twin is None:
                own.append(zone)
            else:
                marked[zone.path] = replace(zone, mirror_of=twin.id)
        return tuple(marked.get(zone.path, zone) for zone in zones)


def _zone(channel: str, gauge: EmiChannel, taken: set[str]) -> Zone:
    """Make the zone of a channel; `taken` are the paths of those before."""
    name, above = _place(channel, taken)
    path = name if above is None else f"{above}/{name}"
    if path in taken:
        path = next(f"{path} ({count})" for count in range(2, len(taken) + 3) if f"{path} ({count})" not in taken)
    return Zone(
        id=f"emi:{path}",
        path=path,
        name=name,
        control_type="emi",
        parent=None if above is None else f"emi:{above}",
        max_energy_range_uj=None,
        has_energy=True,
        error=None,
        counter=RawCounter(PICOWATT_HOUR_NJ, BITS),
        possible_w=possible_w(name, ()),
        mirror_of=None,
        gauge=gauge,
    )


def _place(channel: str, taken: set[str]) -> tuple[str, str | None]:
    """What a channel's zone is called, and what it lies in; one that says nothing gets no name of a domain."""
    if found := RAPL.fullmatch(channel):
        socket, kind, core = found.groups()
        package = f"package-{int(socket)}"
        if core is not None:
            return f"core-{int(core)}", package
        return (package, None) if kind == "PKG" else (NAMES[kind], package)
    if channel == SOCKET:
        return next(name for socket in range(len(taken) + 1) if (name := f"package-{socket}") not in taken), None
    return f"channel {channel.replace('/', '-')}", None


def _is_package(zone: Zone) -> bool:
    return zone.parent is None and (zone.name or "").startswith("package-")


def _show_the_same(one: Zone, other: Zone) -> bool:
    """Whether a reading of the other channel lies between two of the one, or a millionth beside."""
    try:
        before, between, after = (zone.gauge.decode(zone.gauge.once()) for zone in (one, other, one))
    except OSError:
        return False
    return before - before // ALIKE <= between <= after + after // ALIKE
