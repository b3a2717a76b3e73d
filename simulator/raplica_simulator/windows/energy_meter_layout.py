# SPDX-License-Identifier: Apache-2.0
"""What an energy meter's answers look like in memory, byte for byte.

Mirrors the structures of the Energy Metering Interface in emi.h of the Windows SDK: EMI_VERSION, EMI_METADATA_SIZE,
EMI_METADATA_V1, EMI_METADATA_V2 with its EMI_CHANNEL_V2 entries, and EMI_CHANNEL_MEASUREMENT_DATA.  Everything is
little-endian.  The channels of version 2 lie packed behind one another: each begins where the name before it ends, so
that its 32-bit unit lies on any even address.  A reader that lays an aligned structure over them reads nonsense.
"""

import struct
from collections.abc import Iterable, Sequence
from fractions import Fraction

from raplica_simulator.windows.ctl_code import Access, CtlCode, Method

__all__ = [
    "GET_MEASUREMENT",
    "GET_METADATA",
    "GET_METADATA_SIZE",
    "GET_VERSION",
    "GUID_DEVICE_ENERGY_METER",
    "MEASUREMENT_SIZE",
    "PICOWATT_HOURS",
    "PWH_PER_J",
    "pack_measurement",
    "pack_metadata_size",
    "pack_metadata_v1",
    "pack_metadata_v2",
    "pack_version",
]

_FILE_DEVICE_UNKNOWN = 0x22

GET_VERSION = CtlCode(_FILE_DEVICE_UNKNOWN, 0, Method.BUFFERED, Access.READ)
GET_METADATA_SIZE = CtlCode(_FILE_DEVICE_UNKNOWN, 1, Method.BUFFERED, Access.READ)
GET_METADATA = CtlCode(_FILE_DEVICE_UNKNOWN, 2, Method.BUFFERED, Access.READ)
GET_MEASUREMENT = CtlCode(_FILE_DEVICE_UNKNOWN, 3, Method.BUFFERED, Access.READ)

GUID_DEVICE_ENERGY_METER = "{45BD8344-7ED6-49CF-A440-C276C933B053}"

PICOWATT_HOURS = 0
"""EmiMeasurementUnitPicowattHours, the only unit there is."""

PWH_PER_J = Fraction(10**12, 3600)
"""Picowatt-hours in a joule: 1 pWh is 3.6 nJ."""

MEASUREMENT_SIZE = 16
"""Bytes of one channel's measurement: its energy and its time, 64 bits each."""

_NAME_LETTERS = 16  # EMI_NAME_MAX: of the maker's and the model's name, the last one is a NUL
_U16 = 0xFFFF
_U64 = (1 << 64) - 1


def pack_version(version: int) -> bytes:
    """EMI_VERSION: 2 bytes, 1 or 2."""
    return struct.pack("<H", version)


def pack_metadata_size(size: int) -> bytes:
    """EMI_METADATA_SIZE: 4 bytes."""
    return struct.pack("<I", size)


def pack_metadata_v1(oem: str, model: str, revision: int, name: str) -> bytes:
    """EMI_METADATA_V1, of a meter with one channel: unit, maker, model, revision, and the name with its size in bytes.

    ValueError for a name that does not fit the 16 bits of its size.
    """
    fixed = struct.pack("<I32s32sH", PICOWATT_HOURS, _fixed_name(oem), _fixed_name(model), revision)
    return fixed + _sized_name(name)


def pack_metadata_v2(oem: str, model: str, revision: int, channels: Sequence[str]) -> bytes:
    """EMI_METADATA_V2: maker, model, revision, the number of channels, and the channels, packed.

    ValueError for a name, or more channels, than 16 bits can count.
    """
    if len(channels) > _U16:
        raise ValueError(f"{len(channels)} channels: a meter has at most {_U16}")
    fixed = struct.pack("<32s32sHH", _fixed_name(oem), _fixed_name(model), revision, len(channels))
    return fixed + b"".join(struct.pack("<I", PICOWATT_HOURS) + _sized_name(name) for name in channels)


def pack_measurement(channels: Iterable[tuple[int, int]]) -> bytes:
    """EMI_CHANNEL_MEASUREMENT_DATA of each channel: absolute energy in pWh, absolute time in 100 ns.

    Both are counted modulo 2^64, which takes 66 GJ or 58,000 years.
    """
    return b"".join(struct.pack("<QQ", energy_pwh & _U64, at_100ns & _U64) for energy_pwh, at_100ns in channels)


def _fixed_name(text: str) -> bytes:
    """As many letters as fit, in UTF-16, with a NUL behind them."""
    kept = text
    while len(encoded := kept.encode("utf-16-le")) > 2 * (_NAME_LETTERS - 1):
        kept = kept[:-1]
    return encoded


def _sized_name(text: str) -> bytes:
    """The size in bytes, and the name in UTF-16 with its NUL, which the size counts."""
    encoded = text.encode("utf-16-le") + b"\0\0"
    if len(encoded) > _U16:
        raise ValueError(f"a name of {len(text)} letters: its size in bytes has 16 bits")
    return struct.pack("<H", len(encoded)) + encoded
