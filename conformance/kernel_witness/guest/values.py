# SPDX-License-Identifier: Apache-2.0
"""What is written to the attributes: numbers at every edge, and texts that a parser may take or leave.

`FULL` goes to the first zone, `SHORT` to every other one.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["CONTROL_TYPE", "FULL", "ODD_UEVENTS", "POWER_FILES", "SHORT", "UEVENTS", "WINDOW_EDGES"]

_READ_ONLY = {"name": ("0",), "max_power_uw": ("1",), "max_energy_range_uj": ("0",)}
_ENERGY = ("0", "0\n", "1", "", "abc")

SHORT: Mapping[str, tuple[str, ...]] = {
    "power_limit_uw": ("0", "1", "1000000", "15000000", "-1", "abc", "4096000000", "15000000"),
    "time_window_us": ("0", "976", "1000000", "28000000", "x"),
    "enabled": ("0", "1", "2", "Y", "1"),
    "energy_uj": _ENERGY,
    **_READ_ONLY,
}

# Sizes around the power unit (125000 uW where the unit field is 3), the field (15 bits) and the types on the way.
_LIMIT_SIZES = (
    0,
    1,
    31999,
    32000,
    62500,
    63999,
    64000,
    124999,
    125000,
    125001,
    187499,
    249999,
    250000,
    1000000,
    15000000,
    20000000,
    500000000,
    1023875000,
    1024000000,
    1048544000,
    1048576000,
    2047875000,
    2048000000,
    4095874999,
    4095875000,
    4095999999,
    4096000000,
    4096125000,
    4294967295,
    4294967296,
    8191875000,
    8192000000,
    16383875000,
    16384000000,
    32767875000,
    32768000000,
    9223372036854775807,
    9223372036854775808,
    18446744073709551615,
    18446744073709551616,
    99999999999999999999999,
)
_WINDOW_SIZES = (
    0,
    1,
    975,
    976,
    977,
    1000,
    1219,
    1220,
    1221,
    1463,
    1464,
    1707,
    1708,
    1951,
    1952,
    1953,
    2439,
    2440,
    10000,
    999424,
    1000000,
    1500000,
    1999999,
    2000000,
    2097152,
    3670015,
    27983871,
    27983872,
    28000000,
    32000000,
    40000000,
    63000000,
    64000000,
    127000000,
    128000000,
    2047999999,
    2095933127,
    2096000000,
    2147483647,
    2147483648,
    4294967295,
    4294967296,
    274877906944,
    3668000000000,
    9223372036854775807,
    9223372036854775808,
    18446744073709551615,
    18446744073709551616,
)
_ODD_NUMBERS = (
    "00000000000000000000000000015000000",
    "15000000\n",
    " 15000000",
    "15000000 ",
    "15000000\n\n",
    "\n15000000",
    "+15000000",
    "++1",
    "-1",
    "-0",
    "0x10",
    "010",
    "15e6",
    "15.5",
    "",
    "\n",
    " ",
    "abc",
    "12abc",
    "1 2",
    "15000000\x00",
    "\x00",
    "15000000\x00junk",
    "1,000",
    "\xb515",
    "15000000\r\n",
    "15000000\t",
    "1_000",
    "nan",
    "inf",
    "max",
    "15000000",
)
_SWITCHES = (
    "0",
    "1",
    "2",
    "-1",
    "y",
    "Y",
    "n",
    "N",
    "yes",
    "no",
    "on",
    "off",
    "ON",
    "OFF",
    "o",
    "of",
    "true",
    "t",
    "T",
    "false",
    "f",
    "F",
    "10",
    "01",
    "1abc",
    "0abc",
    "enable",
    "oN",
    "0x1",
)

FULL: Mapping[str, tuple[str, ...]] = {
    "power_limit_uw": (*map(str, _LIMIT_SIZES), *_ODD_NUMBERS),
    "time_window_us": (*map(str, _WINDOW_SIZES), "-1", "x", "", "+976", "0x3d0", " 976", "976 ", "28000000"),
    "enabled": ("0\n", "1\n", *_SWITCHES, "", "\n", " 1", "\x00", "1\x00", "1"),
    "energy_uj": _ENERGY,
    **_READ_ONLY,
}

CONTROL_TYPE = ("0", "1", "2", "Y", "", "abc")
UEVENTS = ("add", "add\n", "change", "garbage", "", "add 00000000-0000-0000-0000-000000000000 A=b")

# The grammar of a written event: a verb, perhaps a UUID, perhaps KEY=VALUE of letters and digits.
_UUID = "01234567-89ab-CDEF-0123-456789abcdef"
ODD_UEVENTS = (
    *("remove", "move", "online", "offline", "bind", "unbind", "Add", "ADD", "ad", "addx", "add ", " add", "add\n\n"),
    *("add\x00", "add\x00junk", "add\tx", f"add {_UUID}", f"add {_UUID}\n", f"change {_UUID} A=b C=d E=f"),
    *(
        f"add {_UUID} ",
        f"add {_UUID} A",
        f"add {_UUID} A=",
        f"add {_UUID} =b",
        f"add {_UUID} A=b_",
        f"add {_UUID} a1=Z9",
    ),
    *(
        f"add {_UUID[:-1]}",
        f"add {_UUID}0",
        "add x",
        "add A=b",
        f"add  {_UUID}",
        f"add {_UUID}  A=b",
        f"garbage {_UUID}",
    ),
    *(
        f"add {_UUID} A=b A=c",
        f"add {_UUID} A=b\n",
        f"add {_UUID.replace('-', '_')}",
        f"add g{_UUID[1:]}",
        "\n",
        "\x00",
    ),
)

# The files of the driver core that can be written, below each power/.
POWER_FILES = {
    "control": ("on", "auto\n", "auto", "on\n", "x", "", "ON", "on ", "auto\x00"),
    "async": ("disabled", "enabled\n", "enabled", "disabled\n", "x", "", "1", "enabled"),
    "autosuspend_delay_ms": ("0", "100", "-1", "x", ""),
    "runtime_status": ("active",),
    "runtime_usage": ("1",),
}


def _edges() -> tuple[str, ...]:
    """Around each power of two of 976 us, and around the quarters between two of them."""
    numbers: list[int] = []
    for exponent in range(33):
        for quarters in (4, 5, 6, 7):
            middle = (1 << exponent) * quarters * 976 // 4
            numbers += [middle - 1, middle, middle + 1]
    return tuple(str(number) for number in numbers)


WINDOW_EDGES = _edges()
