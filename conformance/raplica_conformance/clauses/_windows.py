# SPDX-License-Identifier: Apache-2.0
"""What clauses about drivers of Windows read with: a Windows, its processes, requests to the Scaphandre driver.

A call that fails raises OSError with `winerror`, as CPython's own do; a bug check is `subject.Crashed`.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any, NamedTuple, Protocol, TypeVar

from raplica_conformance.clause import clause, expect, not_applicable
from raplica_conformance.clauses._windows_versions import FUNCTIONS, PROTOCOLS, DriverProtocol
from raplica_conformance.subject import Crashed

__all__ = [
    "FAULTED",
    "KIND",
    "LOADER_KIND",
    "METER_KIND",
    "READ_WRITE",
    "REFUSED",
    "STOPS",
    "WORD",
    "Completion",
    "Process",
    "Processor",
    "Windows",
    "absent",
    "ask",
    "client",
    "code",
    "energy_register",
    "error_of",
    "opened",
    "protocol_of",
    "reads",
    "request",
    "shown",
    "told",
    "unit_register",
    "windows_clause",
    "work",
]

#: The kinds of subject that these clauses are about.
KIND, METER_KIND, LOADER_KIND = "Windows driver", "energy meter", "driver loader"

GENERIC_READ, GENERIC_WRITE = 0x8000_0000, 0x4000_0000
READ_WRITE = GENERIC_READ | GENERIC_WRITE
#: What is told of a machine that a bug check stopped.
STOPS = "the machine stops"
#: What is told of a request that is refused, and of one for a register that faults where somebody catches that.
REFUSED, FAULTED = "error 1", "error 1117"
WORD = 8
_UNKNOWN_DEVICE = 0x22

Subject = TypeVar("Subject", bound="Windows")


def windows_clause(
    id: str,  # noqa: A002 - the word that every report and the command line use
    *,
    level: str,
    title: str,
    source: str,
    kind: str = KIND,
    threads: Iterable[str] = (),
) -> Callable[[Callable[[Subject], None]], Callable[[Subject], None]]:
    """As `clause`; a call of Windows that fails where the clause needs it to succeed is a failure."""

    def enter(function: Callable[[Subject], None]) -> Callable[[Subject], None]:
        @wraps(function)
        def judged(windows: Subject) -> None:
            try:
                function(windows)
            except OSError as error:
                if getattr(error, "winerror", None) is None:
                    raise
                expect(str(error), "no error", "a call of Windows on the way")

        return clause(id, kind=kind, level=level, title=title, group="windows", source=source, threads=threads)(judged)

    return enter


class Completion(Protocol):
    """How a DeviceIoControl ended; `returned` None is a byte count that was left as it was."""

    @property
    def ok(self) -> bool:
        """What it returned."""

    @property
    def error(self) -> int:
        """What GetLastError says of it."""

    @property
    def returned(self) -> int | None:
        """The byte count."""

    @property
    def output(self) -> bytes:
        """The caller's buffer afterwards, 0xCC where nobody wrote."""

    @property
    def overrun(self) -> bytes:
        """What was written behind that buffer."""


class Processor(NamedTuple):
    """A logical processor by its group, its number there, and the package that it is in."""

    group: int
    number: int
    package: int


class Process(Protocol):
    """One process of that Windows, with one thread."""

    @property
    def services(self) -> Any:
        """Its calls of the service control manager, named as in winsvc.h."""

    def create_file(self, path: str, access: int) -> int:
        """CreateFile of something that is there; a handle."""

    def device_io_control(self, handle: int, code: int, data: bytes | None, size: int) -> Completion:
        """DeviceIoControl with room for `size` bytes; a failure is an answer."""

    def close_handle(self, handle: int) -> None:
        """CloseHandle."""

    def set_thread_group_affinity(self, group: int, mask: int) -> object:
        """SetThreadGroupAffinity."""

    def device_interfaces(self, guid: str) -> Sequence[str]:
        """CM_Get_Device_Interface_List."""


class Windows(Protocol):
    """A Windows on which nothing was done yet, with an image of the driver on its disk.

    `version` is the tag of its protocol and `mended` whether its known defects are; `name` is the service's, `device`
    the device's. `vendor` is the processor's.
    """

    version: str
    mended: bool
    vendor: str
    device: str
    image: str

    def run(self) -> None:
        """Load the driver, without any service."""

    def process(self, *, administrator: bool = True, cpu: int = 0) -> Process:
        """A process whose thread prefers that processor."""

    def processors(self) -> Sequence[Processor]:
        """The processors, by their index."""

    def register(self, cpu: int, register: int) -> int | None:
        """What RDMSR gives on the processor of that index; None where it faults."""

    def mark(self, register: int) -> None:
        """Let each instance of a counter show another number."""

    def advance(self, nanoseconds: int) -> None:
        """Let time go by."""

    def place(self, path: str, *, signature: str = "valid", corrupt: bool = False) -> None:
        """Put an image of the driver on the disk: signature valid, test, none or blocked."""

    def set_test_signing(self, *, on: bool) -> None:
        """Switch it, from the next boot on."""

    def reboot(self) -> None:
        """Switch off and on."""


def protocol_of(windows: Windows) -> DriverProtocol:
    """What is known of the driver's version; it ends a clause about a version that is not known."""
    known = PROTOCOLS.get(windows.version)
    if known is None:
        not_applicable(f"nothing is known of version {windows.version}")
    return known.mended() if windows.mended else known


def error_of(call: Callable[..., object], *arguments: Any, **named: Any) -> int:
    """The Win32 error that a call fails with; 0 where it does not."""
    try:
        call(*arguments, **named)
    except OSError as error:
        return getattr(error, "winerror", None) or 0
    return 0


def code(function: int, method: int = 0, access: int = 3) -> int:
    """A control code of FILE_DEVICE_UNKNOWN; buffered and for reading and writing where nothing else is said."""
    return _UNKNOWN_DEVICE << 16 | access << 14 | function << 2 | method


def unit_register(windows: Windows) -> int:
    """The register that has the units, by vendor."""
    return 0x606 if windows.vendor == "GenuineIntel" else 0xC0010299


def energy_register(windows: Windows) -> int:
    """The register that counts a package's energy, by vendor."""
    return 0x611 if windows.vendor == "GenuineIntel" else 0xC001029B


def request(protocol: DriverProtocol, register: int, cpu: int = 0) -> tuple[int, bytes]:
    """The control code and the input by which a version is asked for a register."""
    if protocol.selector != "input":
        return code(FUNCTIONS.get(register, 0xBEB), method=2, access=1), b""
    return code(0x611), (register | cpu << 32).to_bytes(WORD, "little")[: protocol.input_length]


def opened(windows: Windows, process: Process, access: int = READ_WRITE) -> int:
    """A handle of the driver's device."""
    return process.create_file(f"\\\\.\\{windows.device}", access)


def client(windows: Windows) -> tuple[Process, int]:
    """Load the driver; a process that has opened its device, and the handle."""
    windows.run()
    process = windows.process()
    return process, opened(windows, process)


def reads(windows: Windows, protocol: DriverProtocol, register: int) -> bool:
    """Whether a version lets a register through, and this processor has it."""
    return register in protocol.registers(windows.vendor) and windows.register(0, register) is not None


def absent(windows: Windows, protocol: DriverProtocol) -> list[int]:
    """What a version lets through, and this processor does not have: a read of it faults."""
    return [one for one in protocol.registers(windows.vendor) if windows.register(0, one) is None]


def work(windows: Windows) -> tuple[DriverProtocol, list[int]]:
    """The protocol, and what this version reads on this processor without a fault; it ends the clause where nothing."""
    protocol = protocol_of(windows)
    found = [one for one in protocol.registers(windows.vendor) if windows.register(0, one) is not None]
    if not found:
        not_applicable(f"version {windows.version} reads no register of this processor")
    return protocol, found


def ask(windows: Windows, register: int, cpu: int = 0, *, process: Process | None = None) -> str:
    """Ask the driver for a register: the ending, as `told` tells it."""
    process = windows.process() if process is None else process
    number, data = request(protocol_of(windows), register, cpu)
    try:
        done = process.device_io_control(opened(windows, process), number, data, WORD)
    except Crashed:
        return STOPS
    return told(done)


def shown(windows: Windows, register: int, cpu: int = 0) -> str:
    """How a request for a register that is let through ends, asked on the processor of that index."""
    value = windows.register(cpu, register)
    if value is not None:
        return f"{WORD} bytes: {value.to_bytes(WORD, 'little').hex()}"
    return FAULTED if protocol_of(windows).guarded else STOPS


def told(done: Completion) -> str:
    """How a request ended, in words that two endings can be compared by."""
    if not done.ok:
        count = "" if done.returned is None else f" and {done.returned} bytes"
        return f"error {done.error}{count}"
    behind = f" and {done.overrun.hex()} behind the buffer" if done.overrun else ""
    return f"{done.returned} bytes: {done.output.hex()}{behind}"
