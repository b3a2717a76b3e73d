# SPDX-License-Identifier: Apache-2.0
"""Read what an energy meter of Windows answers, byte for byte (emi.h of the Windows SDK; everything is little-endian).

The channels of metadata version 2 lie packed one behind the other, so most of them lie at odd places: they are read by
their own sizes and never through a structure that a compiler would align.
"""

import errno
import struct
from typing import NamedTuple, Never

__all__ = [
    "GET_MEASUREMENT",
    "GET_METADATA",
    "GET_METADATA_SIZE",
    "GET_VERSION",
    "GUID_DEVICE_ENERGY_METER",
    "MEASUREMENT",
    "MOST",
    "PICOWATT_HOURS",
    "Channel",
    "channels",
    "number",
]

GUID_DEVICE_ENERGY_METER = "{45BD8344-7ED6-49CF-A440-C276C933B053}"

GET_VERSION, GET_METADATA_SIZE, GET_METADATA, GET_MEASUREMENT = 0x0022_4000, 0x0022_4004, 0x0022_4008, 0x0022_400C
"""CTL_CODE(FILE_DEVICE_UNKNOWN, 0 to 3, METHOD_BUFFERED, FILE_READ_ACCESS)."""

MOST = 1 << 16
"""Bytes of metadata that are believed."""
MEASUREMENT = 16
"""Bytes of a channel's measurement: energy in its unit, then time in 100 ns, 64 bits each."""
PICOWATT_HOURS = 0
"""The one unit there is: 3.6 nJ."""

V1, V2 = 1, 2
V1_UNIT, V1_NAME = 0, 70
V2_COUNT, V2_CHANNELS = 66, 68
CHANNEL_HEAD = struct.Struct("<IH")


class Channel(NamedTuple):
    """One channel of a meter: its name, and its unit as the metadata has it."""

    name: str
    unit: int


def number(content: bytes, size: int) -> int:
    """A whole answer of so many bytes as a number; OSError EBADMSG for an answer of another length."""
    if len(content) != size:
        _refuse(f"{len(content)} bytes and not {size}")
    return int.from_bytes(content, "little")


def channels(version: int, metadata: bytes) -> tuple[Channel, ...]:
    """The channels in a meter's metadata: one in version 1, any number in version 2.

    Errors: OSError EBADMSG for another version and for metadata that ends before they do.
    """
    if version == V1:
        if len(metadata) < V1_NAME + 2:
            _refuse(f"metadata of {len(metadata)} bytes")
        (unit,) = struct.unpack_from("<I", metadata, V1_UNIT)
        (size,) = struct.unpack_from("<H", metadata, V1_NAME)
        return (Channel(_name(metadata, V1_NAME + 2, size), unit),)
    if version != V2:
        _refuse(f"version {version} of the interface, which is not known")
    if len(metadata) < V2_CHANNELS:
        _refuse(f"metadata of {len(metadata)} bytes")
    (count,) = struct.unpack_from("<H", metadata, V2_COUNT)
    found: list[Channel] = []
    at = V2_CHANNELS
    for _ in range(count):
        if at + CHANNEL_HEAD.size > len(metadata):
            _refuse(f"metadata ends in channel {len(found)} of {count}")
        unit, size = CHANNEL_HEAD.unpack_from(metadata, at)
        found.append(Channel(_name(metadata, at + CHANNEL_HEAD.size, size), unit))
        at += CHANNEL_HEAD.size + size
    return tuple(found)


def _name(metadata: bytes, at: int, size: int) -> str:
    """A name in UTF-16 up to its NUL."""
    if size % 2 or at + size > len(metadata):
        _refuse(f"a name of {size} bytes where {len(metadata) - at} are left")
    return metadata[at : at + size].decode("utf-16-le", "replace").partition("\0")[0]


def _refuse(what: str) -> Never:
    raise OSError(errno.EBADMSG, what)
