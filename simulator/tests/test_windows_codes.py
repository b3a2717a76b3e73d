# SPDX-License-Identifier: Apache-2.0
"""Windows: control codes, NTSTATUS and Win32 errors."""

from errno import EACCES, EBADF, EINVAL, ENOENT

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator.windows.ctl_code import FILE_DEVICE_UNKNOWN, Access, CtlCode, Method
from raplica_simulator.windows.nt_status import BugCheck, NtError, NtStatus, Win32, Win32Error, severity, win32_of

RW = Access.READ | Access.WRITE

# Codes that programs send, and their fields: device type, function, method, access.
SEEN = {
    0x00226FAE: (0x22, 0xBEB, Method.OUT_DIRECT, Access.READ),
    0x00226FB2: (0x22, 0xBEC, Method.OUT_DIRECT, Access.READ),
    0x00226FB6: (0x22, 0xBED, Method.OUT_DIRECT, Access.READ),
    0x0022EFAC: (0x22, 0xBEB, Method.BUFFERED, RW),
    0x0022E004: (0x22, 0x801, Method.BUFFERED, RW),
    0x0022D818: (0x22, 0x606, Method.BUFFERED, RW),
    0x0022D844: (0x22, 0x611, Method.BUFFERED, RW),
    0x00222000: (0x22, 0x800, Method.BUFFERED, Access.ANY),
    0x0022E00A: (0x22, 0x802, Method.OUT_DIRECT, RW),
    0x9C402084: (40000, 0x821, Method.BUFFERED, Access.ANY),
    0xA1B22084: (41394, 0x821, Method.BUFFERED, Access.ANY),
    0xA1B22104: (41394, 0x841, Method.BUFFERED, Access.ANY),
    0x0022400C: (0x22, 3, Method.BUFFERED, Access.READ),
}

# As the mapping tables give them; the numbers stand here a second time, on purpose.
MAPPED = {
    0x00000000: 0,
    0xC0000010: 1,
    0xC0000002: 1,
    0xC000000D: 87,
    0xC0000023: 122,
    0x80000005: 234,
    0xC0000185: 1117,
    0xC0000022: 5,
    0xC00000A3: 21,
    0xC00000BB: 50,
    0xC000009A: 1450,
    0xC0000001: 31,
    0xC0000004: 24,
    0xC0000206: 1784,
    0xC000000E: 433,
    0xC0000096: 3221225622,
    0xC0000142: 1114,
    0xC0000034: 2,
    0xC000003A: 3,
    0xC0000035: 183,
    0xC0000428: 577,
    0xC000007B: 193,
    0xC0000056: 5,
    0xC0000005: 998,
    0xC0000008: 6,
    0xC0000033: 123,
    0xC0000043: 32,
    0x00000103: 997,
    0x00000102: 258,
    0xC0DEAD00: 317,
    0xE0000001: 0xE0000001,
}


@pytest.mark.parametrize(("code", "fields"), SEEN.items(), ids=map(hex, SEEN))
def test_a_code_that_programs_send_has_the_fields_that_are_documented(code: int, fields: tuple[int, ...]) -> None:
    taken = CtlCode.of(code)
    assert (taken.device_type, taken.function, taken.method, taken.access) == fields
    assert CtlCode(*fields).value == code
    assert int(taken) == code


@given(st.integers(0, (1 << 32) - 1))
def test_every_32_bits_are_a_code_and_come_back(code: int) -> None:
    taken = CtlCode.of(code)
    assert taken.value == code
    assert taken.is_vendor_function == bool(code & 1 << 13)
    assert taken.is_vendor_device_type == bool(code & 1 << 31)


def test_the_vendors_half_has_2048_functions() -> None:
    codes = [CtlCode(FILE_DEVICE_UNKNOWN, function) for function in range(4096)]
    assert sum(code.is_vendor_function for code in codes) == 2048


@pytest.mark.parametrize(
    ("field", "value"),
    [("device_type", 0x10000), ("function", 0x1000), ("method", 4), ("access", 4), ("function", -1)],
)
def test_a_field_that_does_not_fit_is_refused(field: str, value: int) -> None:
    fields = {"device_type": FILE_DEVICE_UNKNOWN, "function": 0x800, field: value}
    with pytest.raises(ValueError, match=f"^control code: {field} is .*bits: give 0 to"):
        CtlCode(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [-1, 1 << 32])
def test_more_than_32_bits_are_no_code(value: int) -> None:
    with pytest.raises(ValueError, match="more than 32 bits"):
        CtlCode.of(value)


@pytest.mark.parametrize(("status", "error"), MAPPED.items(), ids=map(hex, MAPPED))
def test_a_status_becomes_the_error_of_the_tables(status: int, error: int) -> None:
    assert win32_of(status) == error


def test_every_status_has_a_place_in_the_table() -> None:
    assert {int(status) for status in NtStatus} < set(MAPPED)


@pytest.mark.parametrize(
    ("status", "grade"),
    [(0x103, "success"), (0x40000000, "information"), (0x80000005, "warning"), (0xC0000001, "error")],
)
def test_the_two_highest_bits_say_how_bad_it_is(status: int, grade: str) -> None:
    assert severity(status) == grade


@pytest.mark.parametrize(
    ("winerror", "errno", "kind"),
    [
        (2, ENOENT, "FILE_NOT_FOUND"),
        (5, EACCES, "ACCESS_DENIED"),
        (6, EBADF, "INVALID_HANDLE"),
        (87, EINVAL, "INVALID"),
    ],
)
def test_an_error_is_an_oserror_with_the_errno_that_python_gives_it_on_windows(
    winerror: int, errno: int, kind: str
) -> None:
    error = Win32Error(winerror, r"\\.\Name")
    assert (error.winerror, error.errno, error.filename) == (winerror, errno, r"\\.\Name")
    assert str(error).startswith(f"[WinError {winerror}] {kind}")
    assert str(error).endswith(r": \\.\Name")


def test_an_error_without_a_name_still_says_its_number() -> None:
    assert str(Win32Error(4711)) == "[WinError 4711] no error that is listed here"
    assert str(Win32Error(Win32.INVALID_HANDLE)) == "[WinError 6] INVALID_HANDLE"


def test_what_the_kernel_says_names_the_status_and_the_culprit() -> None:
    assert str(NtError(NtStatus.ACCESS_DENIED, "it")) == "ACCESS_DENIED: it"
    assert str(NtError(0xC0DEAD00, "it")) == "0xc0dead00: it"
    assert str(BugCheck(0x3B, "a driver read register 0x641")) == "bug check 0x3b: a driver read register 0x641"
