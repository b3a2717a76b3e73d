# SPDX-License-Identifier: Apache-2.0
"""What the reader asks Windows for: eight calls, so that something else can stand in for it.

The calls are CreateFile, DeviceIoControl and CloseHandle of kernel32, CM_Get_Device_Interface_List of cfgmgr32, and
what says which processor there is, where its CPUs sit, and on which of them this thread runs. `windows_api` makes them
on Windows, `windows_socket` sends them to a program that answers them. Nothing in the sources above knows the
difference, so what is tested with the one is what runs with the other.

A call that fails is an OSError here, with an errno that says what it means for a reader and Windows' own number in the
text. DeviceIoControl alone gives its failure back, because a driver's refusal is an answer too.
"""

import errno
from collections.abc import Sequence
from typing import NamedTuple, Protocol

__all__ = [
    "GENERIC_READ",
    "GENERIC_WRITE",
    "INVALID_FUNCTION",
    "INVALID_PARAMETER",
    "IO_DEVICE",
    "SHARE",
    "Answer",
    "Calls",
    "Completion",
    "LogicalProcessor",
    "ProcessorInfo",
    "answered",
    "failure",
    "told",
]

GENERIC_READ, GENERIC_WRITE = 0x8000_0000, 0x4000_0000
SHARE = 3
"""FILE_SHARE_READ and FILE_SHARE_WRITE: others may read the same device."""

INVALID_FUNCTION, INVALID_PARAMETER, IO_DEVICE = 1, 87, 1117

ERRORS = {
    1: ("INVALID_FUNCTION", errno.ENOSYS),
    2: ("FILE_NOT_FOUND", errno.ENOENT),
    3: ("PATH_NOT_FOUND", errno.ENOENT),
    5: ("ACCESS_DENIED", errno.EACCES),
    6: ("INVALID_HANDLE", errno.EBADF),
    21: ("NOT_READY", errno.EIO),
    31: ("GEN_FAILURE", errno.EIO),
    32: ("SHARING_VIOLATION", errno.EBUSY),
    50: ("NOT_SUPPORTED", errno.ENOSYS),
    55: ("DEV_NOT_EXIST", errno.ENODEV),
    87: ("INVALID_PARAMETER", errno.EINVAL),
    122: ("INSUFFICIENT_BUFFER", errno.EBADMSG),
    234: ("MORE_DATA", errno.EBADMSG),
    433: ("NO_SUCH_DEVICE", errno.ENODEV),
    1117: ("IO_DEVICE", errno.EIO),
    1167: ("DEVICE_NOT_CONNECTED", errno.ENODEV),
    1450: ("NO_SYSTEM_RESOURCES", errno.ENOMEM),
}
"""winerror.h: the name without ERROR_, and the errno that says the same. What is not here is EINVAL, as in CPython."""


class Completion(Protocol):
    """How a DeviceIoControl ended.

    `error` is GetLastError after a FALSE. `returned` is lpBytesReturned, None where the call left it alone. `output` is
    the caller's buffer, as long as it was asked for, whatever was written into it.
    """

    @property
    def ok(self) -> bool:
        """Whether it returned TRUE."""
        ...

    @property
    def error(self) -> int:
        """The Win32 error of a FALSE."""
        ...

    @property
    def returned(self) -> int | None:
        """Bytes that the driver says it wrote."""
        ...

    @property
    def output(self) -> bytes:
        """The output buffer."""
        ...


class Answer(NamedTuple):
    """A `Completion`."""

    ok: bool
    error: int
    returned: int | None
    output: bytes


class ProcessorInfo(Protocol):
    """A logical processor: its group, its number in the group, and the package, the die and the core it belongs to."""

    @property
    def group(self) -> int:
        """The processor group; more than one where there are more than 64 processors."""
        ...

    @property
    def number(self) -> int:
        """The bit in the group's affinity masks."""
        ...

    @property
    def package(self) -> int:
        """The physical package."""
        ...

    @property
    def die(self) -> int:
        """The die."""
        ...

    @property
    def core(self) -> int:
        """The core."""
        ...


class LogicalProcessor(NamedTuple):
    """A `ProcessorInfo`."""

    group: int
    number: int
    package: int
    die: int
    core: int


class Calls(Protocol):
    """The calls. Every one but `device_io_control` raises OSError where Windows' own fails."""

    def create_file(self, path: str, access: int, share: int = SHARE, flags: int = 0) -> int:
        r"""Open what is there, such as `\\.\ScaphandreDriver`; a handle."""
        ...

    def device_io_control(self, handle: int, code: int, data: bytes | None, size: int) -> Completion:
        """Send a control code with its input, and give `size` bytes of room for the output."""
        ...

    def close_handle(self, handle: int) -> None:
        """Give a handle back."""
        ...

    def device_interfaces(self, guid: str) -> Sequence[str]:
        """The paths of the devices that are there of an interface class, `{…}`."""
        ...

    def logical_processors(self) -> Sequence[ProcessorInfo]:
        """Every active logical processor."""
        ...

    def cpu_vendor(self) -> str:
        """As CPUID spells it: "GenuineIntel", "AuthenticAMD"."""
        ...

    def cpu_signature(self) -> tuple[int, int, int]:
        """Family, model (extended ones added) and stepping."""
        ...

    def set_thread_group_affinity(self, group: int, mask: int) -> object:
        """Let this thread run on these processors of a group only; gives what it was allowed before, if that is known.

        That is a pair (group, mask). None: nobody says, so nobody can put it back.
        """
        ...


def told(error: int) -> str:
    """Windows' own name and number of an error, for a person."""
    name = ERRORS.get(error, ("", 0))[0]
    return f"Windows error {error} {name}".rstrip()


def failure(error: int, what: str) -> OSError:
    """Make the OSError of a Win32 error; `what` says what was tried."""
    return OSError(ERRORS.get(error, ("", errno.EINVAL))[1], f"{what}: {told(error)}")


def answered(completion: Completion, what: str) -> bytes:
    """Give what a driver wrote.

    Errors: OSError of the Win32 error; EBADMSG where the driver says that it wrote nothing it can have written.
    """
    if not completion.ok:
        raise failure(completion.error, what)
    returned = completion.returned
    if returned is None or not 0 <= returned <= len(completion.output):
        raise OSError(errno.EBADMSG, f"{what}: {returned} bytes are said to be written into {len(completion.output)}")
    return completion.output[:returned]
