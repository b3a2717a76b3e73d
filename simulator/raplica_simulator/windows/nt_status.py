# SPDX-License-Identifier: Apache-2.0
"""What a driver answers (NTSTATUS), what the program is told (a Win32 error), and the way from the one to the other.

Mirrors ntstatus.h, winerror.h and RtlNtStatusToDosError, as far as the simulated drivers and services use them.  The
mapping was compared with Wine's table, except where a comment says otherwise.
"""

from __future__ import annotations

from enum import IntEnum
from errno import EACCES, EBADF, EEXIST, EINVAL, ENOENT, ENOEXEC, ENOMEM
from typing import Literal

__all__ = ["BugCheck", "NtError", "NtStatus", "Severity", "Win32", "Win32Error", "severity", "win32_of"]

Severity = Literal["success", "information", "warning", "error"]

_SEVERITIES: tuple[Severity, ...] = ("success", "information", "warning", "error")


class NtStatus(IntEnum):
    """What a driver completes a request with; the two highest bits are the severity."""

    SUCCESS = 0x00000000
    TIMEOUT = 0x00000102
    PENDING = 0x00000103
    BUFFER_OVERFLOW = 0x80000005
    UNSUCCESSFUL = 0xC0000001
    NOT_IMPLEMENTED = 0xC0000002
    INFO_LENGTH_MISMATCH = 0xC0000004
    ACCESS_VIOLATION = 0xC0000005
    INVALID_HANDLE = 0xC0000008
    INVALID_PARAMETER = 0xC000000D
    NO_SUCH_DEVICE = 0xC000000E
    INVALID_DEVICE_REQUEST = 0xC0000010
    ACCESS_DENIED = 0xC0000022
    BUFFER_TOO_SMALL = 0xC0000023
    OBJECT_NAME_INVALID = 0xC0000033
    OBJECT_NAME_NOT_FOUND = 0xC0000034
    OBJECT_NAME_COLLISION = 0xC0000035
    OBJECT_PATH_NOT_FOUND = 0xC000003A
    SHARING_VIOLATION = 0xC0000043
    DELETE_PENDING = 0xC0000056
    INVALID_IMAGE_FORMAT = 0xC000007B
    PRIVILEGED_INSTRUCTION = 0xC0000096
    INSUFFICIENT_RESOURCES = 0xC000009A
    DEVICE_NOT_READY = 0xC00000A3
    NOT_SUPPORTED = 0xC00000BB
    DLL_INIT_FAILED = 0xC0000142
    IO_DEVICE_ERROR = 0xC0000185
    INVALID_BUFFER_SIZE = 0xC0000206
    INVALID_IMAGE_HASH = 0xC0000428


class Win32(IntEnum):
    """What GetLastError gives."""

    SUCCESS = 0
    INVALID_FUNCTION = 1
    FILE_NOT_FOUND = 2
    PATH_NOT_FOUND = 3
    ACCESS_DENIED = 5
    INVALID_HANDLE = 6
    NOT_READY = 21
    BAD_LENGTH = 24
    GEN_FAILURE = 31
    SHARING_VIOLATION = 32
    NOT_SUPPORTED = 50
    INVALID_PARAMETER = 87
    INSUFFICIENT_BUFFER = 122
    INVALID_NAME = 123
    ALREADY_EXISTS = 183
    BAD_EXE_FORMAT = 193
    MORE_DATA = 234
    MR_MID_NOT_FOUND = 317
    NO_SUCH_DEVICE = 433
    INVALID_IMAGE_HASH = 577
    IO_PENDING = 997
    NOACCESS = 998
    DEPENDENT_SERVICES_RUNNING = 1051
    INVALID_SERVICE_CONTROL = 1052
    SERVICE_REQUEST_TIMEOUT = 1053
    SERVICE_DATABASE_LOCKED = 1055
    SERVICE_ALREADY_RUNNING = 1056
    INVALID_SERVICE_ACCOUNT = 1057
    SERVICE_DISABLED = 1058
    CIRCULAR_DEPENDENCY = 1059
    SERVICE_DOES_NOT_EXIST = 1060
    SERVICE_CANNOT_ACCEPT_CTRL = 1061
    SERVICE_NOT_ACTIVE = 1062
    FAILED_SERVICE_CONTROLLER_CONNECT = 1063
    DATABASE_DOES_NOT_EXIST = 1065
    SERVICE_DEPENDENCY_FAIL = 1068
    SERVICE_MARKED_FOR_DELETE = 1072
    SERVICE_EXISTS = 1073
    SERVICE_DEPENDENCY_DELETED = 1075
    SERVICE_NEVER_STARTED = 1077
    DUPLICATE_SERVICE_NAME = 1078
    DLL_INIT_FAILED = 1114
    SHUTDOWN_IN_PROGRESS = 1115
    IO_DEVICE = 1117
    DRIVER_BLOCKED = 1275
    NO_SYSTEM_RESOURCES = 1450
    INVALID_USER_BUFFER = 1784


_WIN32_OF: dict[int, int] = {
    NtStatus.SUCCESS: Win32.SUCCESS,
    NtStatus.TIMEOUT: 258,  # WAIT_TIMEOUT
    NtStatus.PENDING: Win32.IO_PENDING,
    NtStatus.BUFFER_OVERFLOW: Win32.MORE_DATA,
    NtStatus.UNSUCCESSFUL: Win32.GEN_FAILURE,
    NtStatus.NOT_IMPLEMENTED: Win32.INVALID_FUNCTION,
    NtStatus.INFO_LENGTH_MISMATCH: Win32.BAD_LENGTH,
    NtStatus.ACCESS_VIOLATION: Win32.NOACCESS,
    NtStatus.INVALID_HANDLE: Win32.INVALID_HANDLE,
    NtStatus.INVALID_PARAMETER: Win32.INVALID_PARAMETER,
    NtStatus.NO_SUCH_DEVICE: Win32.NO_SUCH_DEVICE,  # FILE_NOT_FOUND in older tables
    NtStatus.INVALID_DEVICE_REQUEST: Win32.INVALID_FUNCTION,
    NtStatus.ACCESS_DENIED: Win32.ACCESS_DENIED,
    NtStatus.BUFFER_TOO_SMALL: Win32.INSUFFICIENT_BUFFER,
    NtStatus.SHARING_VIOLATION: Win32.SHARING_VIOLATION,
    NtStatus.PRIVILEGED_INSTRUCTION: NtStatus.PRIVILEGED_INSTRUCTION,  # one of a few that stand for themselves
    NtStatus.INSUFFICIENT_RESOURCES: Win32.NO_SYSTEM_RESOURCES,
    NtStatus.DEVICE_NOT_READY: Win32.NOT_READY,
    NtStatus.NOT_SUPPORTED: Win32.NOT_SUPPORTED,
    NtStatus.DLL_INIT_FAILED: Win32.DLL_INIT_FAILED,
    NtStatus.IO_DEVICE_ERROR: Win32.IO_DEVICE,
    NtStatus.INVALID_BUFFER_SIZE: Win32.INVALID_USER_BUFFER,
    # From the published mapping tables alone.
    NtStatus.OBJECT_NAME_INVALID: Win32.INVALID_NAME,
    NtStatus.OBJECT_NAME_NOT_FOUND: Win32.FILE_NOT_FOUND,
    NtStatus.OBJECT_NAME_COLLISION: Win32.ALREADY_EXISTS,
    NtStatus.OBJECT_PATH_NOT_FOUND: Win32.PATH_NOT_FOUND,
    NtStatus.DELETE_PENDING: Win32.ACCESS_DENIED,
    NtStatus.INVALID_IMAGE_FORMAT: Win32.BAD_EXE_FORMAT,
    NtStatus.INVALID_IMAGE_HASH: Win32.INVALID_IMAGE_HASH,
}

# As CPython sets OSError.errno from a Windows error (PC/errmap.h); what is not here is EINVAL there, too.
_ERRNO_OF: dict[int, int] = {
    Win32.FILE_NOT_FOUND: ENOENT,
    Win32.PATH_NOT_FOUND: ENOENT,
    Win32.ACCESS_DENIED: EACCES,
    Win32.INVALID_HANDLE: EBADF,
    8: ENOMEM,  # NOT_ENOUGH_MEMORY
    Win32.NOT_READY: EACCES,
    Win32.BAD_LENGTH: EACCES,
    Win32.GEN_FAILURE: EACCES,
    Win32.SHARING_VIOLATION: EACCES,
    Win32.ALREADY_EXISTS: EEXIST,
    Win32.BAD_EXE_FORMAT: ENOEXEC,
}

_NAMES = {int(error): error.name for error in Win32}
_STATUS_NAMES = {int(status): status.name for status in NtStatus}


def severity(status: int) -> Severity:
    """How bad an NTSTATUS is.  ``success`` and ``information`` are what NT_SUCCESS lets pass."""
    return _SEVERITIES[status >> 30 & 3]


_CUSTOMER = 0x2000_0000


def win32_of(status: int) -> int:
    """The Win32 error that a program sees for an NTSTATUS; 317 (MR_MID_NOT_FOUND) for one that has none.

    A status with the customer bit is an application's own and stays what it is, as in RtlNtStatusToDosError.
    """
    if status & _CUSTOMER:
        return status
    return _WIN32_OF.get(status, Win32.MR_MID_NOT_FOUND)


class Win32Error(OSError):
    """A Win32 call returned FALSE, NULL or INVALID_HANDLE_VALUE.

    Attributes:
        winerror: what GetLastError gives.
        errno: what CPython on Windows makes of it.
    """

    winerror: int

    def __init__(self, winerror: int, subject: str | None = None) -> None:
        """``subject`` is what the call was about: a path, the name of a service."""
        name = _NAMES.get(winerror, "no error that is listed here")
        super().__init__(_ERRNO_OF.get(winerror, EINVAL), name, subject)
        self.winerror = int(winerror)

    def __str__(self) -> str:
        subject = "" if self.filename is None else f": {self.filename}"
        return f"[WinError {self.winerror}] {self.strerror}{subject}"


class NtError(Exception):
    """A call inside the kernel failed; a driver's routine that lets it pass ends with its status.

    Attributes:
        status: the NTSTATUS.
    """

    def __init__(self, status: int, subject: str) -> None:
        super().__init__(f"{_STATUS_NAMES.get(status, hex(status))}: {subject}")
        self.status = status


class BugCheck(Exception):
    """The simulated machine crashed (a blue screen); every call raises it until the machine is rebooted.

    Attributes:
        code: the bug check's number.
        why: what the driver did, one line.
    """

    def __init__(self, code: int, why: str) -> None:
        super().__init__(f"bug check {code:#x}: {why}")
        self.code = code
        self.why = why
