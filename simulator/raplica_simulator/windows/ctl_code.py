# SPDX-License-Identifier: Apache-2.0
"""Control codes: the number that DeviceIoControl carries, and the four fields in it.

Mirrors the CTL_CODE macro and the DEVICE_TYPE_FROM_CTL_CODE family of the WDK.  Functions below 0x800 and device types
below 0x8000 are Microsoft's to give away, which nothing in Windows enforces: any code reaches the driver.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag

__all__ = ["FILE_DEVICE_UNKNOWN", "Access", "CtlCode", "Method"]

FILE_DEVICE_UNKNOWN = 0x22

_VENDOR_DEVICE_TYPES = 0x8000
_VENDOR_FUNCTIONS = 0x800


class Method(IntEnum):
    """How the buffers travel between the program and the driver."""

    BUFFERED = 0
    IN_DIRECT = 1
    OUT_DIRECT = 2
    NEITHER = 3


class Access(IntFlag):
    """What the handle must have been opened for; the same bits as FILE_READ_DATA and FILE_WRITE_DATA."""

    ANY = 0
    READ = 1
    WRITE = 2


@dataclass(frozen=True, slots=True)
class CtlCode:
    """A control code by its fields.  ValueError for a field that does not fit into its bits.

    >>> code = CtlCode(FILE_DEVICE_UNKNOWN, 0x611, Method.BUFFERED, Access.READ | Access.WRITE)
    >>> f"{code.value:#010x}"
    '0x0022d844'
    >>> CtlCode.of(0x00226FB6).function == 0xBED
    True
    """

    device_type: int
    function: int
    method: Method = Method.BUFFERED
    access: Access = Access.ANY

    def __post_init__(self) -> None:
        for name, width in (("device_type", 16), ("function", 12), ("method", 2), ("access", 2)):
            value = getattr(self, name)
            if not 0 <= value < 1 << width:
                raise ValueError(
                    f"control code: {name} is {value:#x}, it has {width} bits: give 0 to {(1 << width) - 1:#x}"
                )

    @classmethod
    def of(cls, value: int) -> CtlCode:
        """Take a control code apart; ValueError for a number of more than 32 bits."""
        if not 0 <= value < 1 << 32:
            raise ValueError(f"control code {value:#x} has more than 32 bits")
        return cls(value >> 16, value >> 2 & 0xFFF, Method(value & 3), Access(value >> 14 & 3))

    @property
    def value(self) -> int:
        """The 32 bits."""
        return self.device_type << 16 | self.access << 14 | self.function << 2 | self.method

    @property
    def is_vendor_function(self) -> bool:
        """Whether the function lies in the half that vendors may use (bit 13 of the code): 2048 of 4096."""
        return self.function >= _VENDOR_FUNCTIONS

    @property
    def is_vendor_device_type(self) -> bool:
        """Whether the device type lies in the half that vendors may use (bit 31 of the code)."""
        return self.device_type >= _VENDOR_DEVICE_TYPES

    def __int__(self) -> int:
        return self.value
