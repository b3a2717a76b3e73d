# SPDX-License-Identifier: Apache-2.0
"""Opening a device: the names, the rights, the share modes, the statuses that an open may end with."""

from __future__ import annotations

from itertools import product

from wine_witness.scripts.parts import (
    ANY,
    BUFFERED,
    DRIVER,
    READ,
    READ_WRITE,
    STATUS,
    WRITE,
    ctl_code,
    device,
    install,
    remove,
)
from wine_witness.step import Script, Step, call

__all__ = ["OPENING"]

_GENERIC = ("0x0", "0x80000000", "0x40000000", "0xC0000000")
_SPECIFIC = ("0x1", "0x2", "0x3", "0x120089", "0x120116", "0x12019F", "0x10000000", "0x20000000")
_OVERLAPPED = "0x40000000"
_REQUEST = "1106000000000000"
_OPEN_WITH = ctl_code(0x902)
_ACCESS_DENIED = 0xC0000022


def _open(path: str, keep: str = "h", **more: str | int) -> Step:
    return call("CreateFile", keep=keep, path=path, **more)


def _ask(handle: str, code: str = ctl_code(0x611)) -> Step:
    return call("DeviceIoControl", handle=handle, code=code, input=_REQUEST, output_length=8)


_NAMES = Script(
    "open-names",
    "names that lead to the device and names that do not; share modes, and handles that are closed",
    (
        call("Publish", machine="intel", seconds=0),
        *(_open(name) for name in (DRIVER, device("Nothing"), device(""))),
        call("CreateFile", "empty-name", keep="h", path=""),
        *install("v3"),
        *(
            step
            for name in (DRIVER, device("RAPLICADRIVER"), device("raplicadriver"), r"\\?\RaplicaDriver")
            for step in (_open(name), _ask("h"), call("CloseHandle", handle="h"))
        ),
        *(_open(name) for name in (device("RaplicaDrive"), device("RaplicaDriver2"))),
        *(_open(DRIVER, keep=f"h{share}", share=share) for share in (0, 1, 2, 3, 7)),
        _open(DRIVER, keep="again", share=0),
        call("CloseHandle", handle="again"),
        *(_ask(f"h{share}") for share in (0, 1, 2, 3, 7)),
        *(call("CloseHandle", handle=f"h{share}") for share in (0, 1, 2, 3, 7)),
        *(_ask(f"h{share}") for share in (0, 1)),
        call("CloseHandle", handle="h0"),
        _open(DRIVER, flags=_OVERLAPPED),
        _ask("h"),
        call("CloseHandle", handle="h"),
        *remove(),
        _open(DRIVER),
    ),
)

_ACCESS = Script(
    "open-access",
    "each right of a handle against each that a control code asks for: the check comes before the driver",
    (
        call("Publish", machine="intel", seconds=0),
        *install("v3"),
        *(
            step
            for access in (*_GENERIC, *_SPECIFIC)
            for step in (
                _open(DRIVER, access=access),
                *(_ask("h", ctl_code(0x611, BUFFERED, wanted)) for wanted in (ANY, READ, WRITE, READ_WRITE)),
                call("CloseHandle", handle="h"),
            )
        ),
        # Even where the driver would refuse the request.
        _open(DRIVER, access="0x80000000"),
        *(
            call("DeviceIoControl", handle="h", code=ctl_code(0x611, method, access), input="00", output_length=8)
            for method, access in product(range(4), (READ, WRITE))
        ),
        call("CloseHandle", handle="h"),
        *remove(),
    ),
)

_REFUSED = Script(
    "open-refused",
    "a driver that ends an open with a status of its own: Wine does not look at it",
    (
        *install("status", name="RaplicaStatus"),
        _open(STATUS),
        call("DeviceIoControl", handle="h", code=_OPEN_WITH, input=_ACCESS_DENIED.to_bytes(4, "little").hex()),
        call("CreateFile", "status-of-an-open", keep="g", path=STATUS),
        call("DeviceIoControl", handle="h", code=_OPEN_WITH, input="00000000"),
        _open(STATUS, keep="g"),
        call("CloseHandle", handle="g"),
        call("CloseHandle", handle="h"),
        *remove(),
    ),
)

_CROWD = Script(
    "open-crowd",
    "64 threads open, ask and close at the same time, none in the way of another",
    (
        call("Publish", machine="intel", seconds=0),
        *(
            step
            for request in (_REQUEST, "1906000003000000", "0100000000000000", "4106000000000000", "11")
            for step in (
                *install("v3"),
                call(
                    "Crowd",
                    threads=64,
                    times=10,
                    path=DRIVER,
                    code=ctl_code(0x611),
                    input=request,
                    output_length=8,
                ),
                *remove(),
            )
        ),
        call("Crowd", threads=64, times=10, path=DRIVER, code=ctl_code(0x611), input=_REQUEST, output_length=8),
    ),
)

OPENING = (_NAMES, _ACCESS, _REFUSED, _CROWD)
