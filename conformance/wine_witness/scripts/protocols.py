# SPDX-License-Identifier: Apache-2.0
"""The driver's ways of being asked for a register: values over time, lengths, and every code that clients send."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from wine_witness.published import REGISTERS
from wine_witness.scripts.parts import ANY, BUFFERED, DRIVER, OUT_DIRECT, READ, ctl_code, install, remove
from wine_witness.step import Script, Step, call

__all__ = ["PROTOCOLS"]

#: The codes that clients in the wild send, and two that nobody does.
_CODES = (
    *(ctl_code(function, OUT_DIRECT, READ) for function in (0xBEB, 0xBEC, 0xBED)),
    *(ctl_code(function) for function in (0xBEB, 0xBEC, 0xBED, 0x801, 0x606, 0x611)),
    *(ctl_code(0x800, BUFFERED, ANY), ctl_code(0x802, OUT_DIRECT), "0x9c402084", "0xa1b22104", "0x00224000"),
    *(ctl_code(0xBEA, OUT_DIRECT, READ), ctl_code(0xBEE, OUT_DIRECT, READ)),
)
_UNLISTED = (0x0, 0x10, 0x1, 0x2, 0x601, 0x612, 0x64E, 0xC0010298, 0xC001029C, 0xFFFFFFFF)
_OPEN = call("CreateFile", keep="h", path=DRIVER)
_CLOSE = (call("CloseHandle", handle="h"), *remove())
_KNOWN = {"intel": (0x606, 0x611, 0x619), "amd": (0xC0010299, 0xC001029A, 0xC001029B)}
_FOURTH = ctl_code(0x611)


def _u32(*numbers: int) -> str:
    return b"".join(number.to_bytes(4, "little") for number in numbers).hex()


def _ask(data: str, code: str = _FOURTH, room: int = 8) -> Step:
    return call("DeviceIoControl", handle="h", code=code, input=data, output_length=room)


def _over_time(machine: str, *requests: Step) -> Iterator[Step]:
    """Yield the same requests at time 0, and later: the package counter passes its end within the first second."""
    for seconds in (0, 1, 59, 3600):
        yield call("Publish", machine=machine, seconds=seconds)
        yield from requests


def _every_code(*inputs: str) -> Iterator[Step]:
    return (_ask(data, code) for code in _CODES for data in inputs)


_SHORT = _u32(0x611)
_LONG = _u32(0x611, 0)
_SWEEP = call("Sweep", handle="h", code=_FOURTH, input=_LONG + "00" * 8, inputs=16, outputs=16)
_BEYOND = "information-beyond-the-buffer"
_V1_CODES = tuple(ctl_code(function, OUT_DIRECT, READ) for function in (0xBEB, 0xBEC, 0xBED))

_V1 = Script(
    "protocol-v1",
    "a control code for each register",
    (
        *install("v1"),
        _OPEN,
        *_over_time("intel", *(call("DeviceIoControl", handle="h", code=code, output_length=8) for code in _V1_CODES)),
        call("Sweep", handle="h", code=_V1_CODES[2], input=_LONG + "00" * 8, inputs=16, outputs=16),
        *_every_code(_LONG),
        *_CLOSE,
    ),
)

_V2_4 = Script(
    "protocol-v2-4",
    "four bytes in, the register; any control code",
    (
        *install("v2-4"),
        _OPEN,
        *_over_time("intel", *(_ask(_u32(register)) for register in _KNOWN["intel"])),
        *(_ask(_u32(register)) for register in (1, 2)),
        *_every_code(_SHORT),
        _SWEEP,
        *_CLOSE,
    ),
)

_V2_8 = Script(
    "protocol-v2-8",
    "eight bytes in, of which the low half is the register; any control code",
    (
        *install("v2-8"),
        _OPEN,
        *_over_time("intel", *(_ask(_u32(register, 0)) for register in _KNOWN["intel"])),
        *(_ask(_u32(register, high)) for register in (1, 2, 0x611) for high in (0, 1, 0xFFFFFFFF)),
        *_every_code(_LONG),
        _SWEEP,
        *_CLOSE,
    ),
)


def _v3(machine: str, processors: tuple[int, ...]) -> Script:
    return Script(
        f"protocol-v3-{machine}",
        f"a register and a processor in, on the {machine} machine; registers that are listed, absent, unlisted",
        (
            *install("v3"),
            _OPEN,
            *_over_time(machine, *(_ask(_u32(register, cpu)) for register in _KNOWN[machine] for cpu in processors)),
            *(_ask(_u32(register, processors[-1])) for register in (*REGISTERS, *_UNLISTED)),
            *(_ask(_u32(_KNOWN[machine][1], cpu)) for cpu in (4, 5, 63, 64, 0x7FFFFFFF, 0xFFFFFFFF)),
            *((*_every_code(_LONG), _SWEEP) if machine == "intel" else ()),
            *_CLOSE,
        ),
    )


_UNCHECKED_V1 = Script(
    "protocol-unchecked-v1",
    "as the driver was: the length that is told is the buffer's, whatever was written",
    (
        *install("v1-unchecked"),
        _OPEN,
        call("Publish", machine="intel", seconds=0),
        *(_ask(data, code, room) for code in _V1_CODES for data in ("", _LONG) for room in (8, 9, 16, 64)),
        *(replace(_ask("", _V1_CODES[2], room), departure=_BEYOND) for room in range(1, 8)),
        *(_ask(_LONG, code) for code in _CODES if int(code, 16) & 3),
        *_CLOSE,
    ),
)


def _unchecked(version: str, request: str) -> Script:
    return Script(
        f"protocol-unchecked-{version}",
        "as the drivers in use: another transfer method brings nothing, and eight bytes are told to be there",
        (
            *install(f"{version}-unchecked"),
            _OPEN,
            call("Publish", machine="intel", seconds=0),
            *_every_code(request),
            replace(_SWEEP, departure=_BEYOND),
            *_CLOSE,
        ),
    )


_UNCHECKED = (_UNCHECKED_V1, _unchecked("v2-4", _SHORT), _unchecked("v2-8", _LONG), _unchecked("v3", _LONG))

PROTOCOLS = (_V1, _V2_4, _V2_8, _v3("intel", (0, 1, 2, 3)), _v3("amd", (0, 1)), *_UNCHECKED)
