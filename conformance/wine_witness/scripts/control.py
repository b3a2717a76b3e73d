# SPDX-License-Identifier: Apache-2.0
"""What DeviceIoControl makes of a driver's answer: the status, the Information and the bytes, by transfer method."""

from __future__ import annotations

from wine_witness.scripts.parts import ANY, BUFFERED, IN_DIRECT, NEITHER, OUT_DIRECT, STATUS, ctl_code, install, remove
from wine_witness.step import Script, Step, call

__all__ = ["CONTROL"]

_COMPLETE, _MIRROR = 0x900, 0x901
_METHODS = (BUFFERED, IN_DIRECT, OUT_DIRECT, NEITHER)
_SUCCESS, _TIMEOUT, _NAME_EXISTS, _OVERFLOW, _INVALID_REQUEST = 0, 0x102, 0x40000000, 0x80000005, 0xC0000010
_STATUSES = (
    *(0x00000000, 0x00000102, 0x00000105, 0x40000000),
    0x80000005,
    *(0xC0000001, 0xC0000002, 0xC0000004, 0xC000000D, 0xC000000E, 0xC0000010, 0xC0000022, 0xC0000023, 0xC0000034),
    *(0xC0000035, 0xC000003A, 0xC0000056, 0xC000007B, 0xC0000096, 0xC000009A, 0xC00000A3, 0xC00000BB, 0xC0000142),
    *(0xC0000185, 0xC0000206, 0xC0000428, 0xC0DE1234),
)


def _request(status: int, information: int, written: int) -> str:
    return b"".join(part.to_bytes(4, "little") for part in (status, information, written)).hex()


def _complete(
    status: int, information: int, written: int, room: int, method: int = BUFFERED, departure: str | None = None
) -> Step:
    return call(
        "DeviceIoControl",
        departure,
        handle="h",
        code=ctl_code(_COMPLETE, method, ANY),
        input=_request(status, information, written),
        output_length=room,
    )


_OPEN = (*install("status", name="RaplicaStatus"), call("CreateFile", keep="h", path=STATUS))
_CLOSE = (call("CloseHandle", handle="h"), *remove())

_TABLE = Script(
    "control-statuses",
    "the Win32 error for each status, and what the classes of success, warning and error do with length and memory",
    (*_OPEN, *(_complete(status, 8, 8, 16) for status in _STATUSES), *_CLOSE),
)

_TRANSFER = Script(
    "control-transfer",
    "Information that is less, equal and more than what was written, for each class of status and each transfer method",
    (
        *_OPEN,
        *(
            _complete(status, information, written, 12, method)
            for method in _METHODS
            for status in (_SUCCESS, _TIMEOUT, _NAME_EXISTS, _OVERFLOW, _INVALID_REQUEST)
            for information, written in ((0, 12), (4, 8), (8, 8), (12, 12), (8, 4))
        ),
        *_CLOSE,
    ),
)

_LENGTHS = Script(
    "control-lengths",
    "what a driver is told of code and lengths, with each transfer method, and codes that it does not know",
    (
        *_OPEN,
        *(
            call(
                "DeviceIoControl",
                handle="h",
                code=ctl_code(_MIRROR, method, ANY),
                input="5a" * given,
                output_length=room,
            )
            for method in _METHODS
            for given in (0, 1, 8, 32)
            for room in (0, 11, 12, 16, 64)
        ),
        *(
            call("DeviceIoControl", handle="h", code=code, input="00" * 8, output_length=8)
            for code in (ctl_code(0), ctl_code(0xFFF), ctl_code(_MIRROR, BUFFERED, ANY, 0x8022), "0x0", "0xffffffff")
        ),
        *_CLOSE,
    ),
)

_BEYOND = Script(
    "control-beyond",
    "Information beyond the caller's buffer: the I/O manager trusts it, and Wine does not",
    (
        *_OPEN,
        *(
            _complete(status, information, 12, room, BUFFERED, "information-beyond-the-buffer")
            for status in (_SUCCESS, _OVERFLOW)
            for information, room in ((12, 4), (12, 0), (8, 7))
        ),
        *_CLOSE,
    ),
)

_NULL = Script(
    "control-null",
    "lengths without memory behind them",
    (
        *_OPEN,
        *(
            step
            for method in _METHODS
            for step in (
                call("DeviceIoControl", handle="h", code=ctl_code(_MIRROR, method, ANY)),
                call("DeviceIoControl", handle="h", code=ctl_code(_MIRROR, method, ANY), output_length=12),
                call(
                    "DeviceIoControl",
                    "null-pointers",
                    handle="h",
                    code=ctl_code(_MIRROR, method, ANY),
                    input_length=8,
                    output_length=12,
                ),
                call(
                    "DeviceIoControl",
                    "null-pointers",
                    handle="h",
                    code=ctl_code(_MIRROR, method, ANY),
                    input="00" * 8,
                    output="null",
                    output_length=12,
                ),
            )
        ),
        *_CLOSE,
    ),
)

CONTROL = (_TABLE, _TRANSFER, _LENGTHS, _BEYOND, _NULL)
