# SPDX-License-Identifier: Apache-2.0
r"""The programs that are known to ask the Scaphandre driver, each as what it sends and what it takes for an answer.

Seven programs send seven control codes.  They are data for a protocol matrix: which client gets on with which version
of the driver, and how it fails where it does not.  Facts as read in each program's sources, at the commit that stands
in its row; none of them was run on Windows for this.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from raplica_simulator.windows.ctl_code import FILE_DEVICE_UNKNOWN, Access, CtlCode, Method
from raplica_simulator.windows.nt_status import Win32Error
from raplica_simulator.windows.win32_calls import (
    FILE_FLAG_OVERLAPPED,
    FILE_SHARE_READ,
    FILE_SHARE_WRITE,
    GENERIC_READ,
    GENERIC_WRITE,
    Win32Calls,
)

__all__ = ["CLIENTS", "DriverClient", "Outcome"]

_READ_WRITE = GENERIC_READ | GENERIC_WRITE
_FILE_GENERIC_READ_WRITE = 0x120089 | 0x120116
_SHARED = FILE_SHARE_READ | FILE_SHARE_WRITE
_RW = Access.READ | Access.WRITE
_OLD = r"\\.\RAPLDriver"
_NEW = r"\\.\ScaphandreDriver"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one read of a register went.

    Attributes:
        stage: what failed: the open, the request, the length that came back, or the value; None where nothing did.
        error: the Win32 error of what failed; 0 where the program itself turned the answer down.
        value: the 64 bits that came back; None without.
        taken: the number that the program goes on with: some take 0 for a read that failed; None where it stops.
    """

    stage: Literal["open", "request", "length", "value"] | None
    error: int
    value: int | None
    taken: int | None

    @property
    def ok(self) -> bool:
        """Whether the program has what the register holds."""
        return self.stage is None


@dataclass(frozen=True, slots=True)
class DriverClient:
    """One program.

    Attributes:
        name: what it is called here.
        source: where this was read.
        path: the device that it opens.
        access, share, flags: what it opens it with.
        code: the control code for a register; None for a register that it cannot ask for.
        request: the input for a register and a CPU.
        wanted: the byte counts that it takes.
        failed_is_zero: whether a read that failed counts as the value 0.
        zero_is_failed: whether the value 0 counts as a read that failed.
    """

    name: str
    source: str
    path: str
    access: int
    share: int
    flags: int
    code: Callable[[int], CtlCode | None]
    request: Callable[[int, int], bytes]
    wanted: Callable[[int], bool]
    failed_is_zero: bool = False
    zero_is_failed: bool = False

    def read_energy(self, process: Win32Calls, register: int, cpu: int = 0, *, path: str | None = None) -> Outcome:
        """Open the device, read a register as the program does, close it.

        ``path`` lets it look elsewhere.  ValueError for a register that the program has no code for; BugCheck passes.
        """
        code = self.code(register)
        if code is None:
            raise ValueError(f"{self.name} has no control code for register {register:#x}")
        try:
            handle = process.create_file(path or self.path, self.access, self.share, self.flags)
        except Win32Error as error:
            return self._failed("open", error.winerror)
        done = process.device_io_control(handle, code.value, self.request(register, cpu), 8, buffer=bytes(8))
        process.close_handle(handle)
        if not done.ok:
            return self._failed("request", done.error)
        value = int.from_bytes(done.output, "little")
        if not self.wanted(done.returned or 0):
            return Outcome("length", 0, value, None)
        if self.zero_is_failed and not value:
            return Outcome("value", 0, value, None)
        return Outcome(None, 0, value, value)

    def _failed(self, stage: Literal["open", "request"], error: int) -> Outcome:
        return Outcome(stage, error, None, 0 if self.failed_is_zero else None)


def _code(function: int, method: Method = Method.BUFFERED, access: Access = _RW) -> CtlCode:
    return CtlCode(FILE_DEVICE_UNKNOWN, function, method, access)


def _agent(method: Method, access: Access) -> Callable[[int], CtlCode | None]:
    """The Windows agent's own number for a register: unit, package limit, package energy."""
    functions = {0x606: 0xBEB, 0x610: 0xBEC, 0x611: 0xBED, 0xC0010299: 0xBEB, 0xC001029A: 0xBEC, 0xC001029B: 0xBED}

    def code(register: int) -> CtlCode | None:
        function = functions.get(register)
        return None if function is None else _code(function, method, access)

    return code


def _word(register: int, cpu: int) -> bytes:
    """The register as 64 bits, which names CPU 0 where the driver takes a CPU."""
    del cpu
    return register.to_bytes(8, "little")


def _pair(register: int, cpu: int) -> bytes:
    return register.to_bytes(4, "little") + cpu.to_bytes(4, "little")


def _exactly_eight(returned: int) -> bool:
    return returned == 8


def _anything(returned: int) -> bool:
    del returned
    return True


_DRIVER_REPOSITORY = "hubblo-org/windows-rapl-driver"

_ROWS = (
    DriverClient(
        "agent-2021-11",
        f"{_DRIVER_REPOSITORY}: userland/Agent/RAPLAgent.cpp at 0cc7714; for v1",
        _OLD,
        _READ_WRITE,
        _SHARED,
        0,
        _agent(Method.OUT_DIRECT, Access.READ),
        lambda _register, _cpu: b"",
        _exactly_eight,
    ),
    DriverClient(
        "agent-2021-12",
        f"{_DRIVER_REPOSITORY}: userland/Agent/RAPLAgent.cpp at 528d297",
        _OLD,
        _READ_WRITE,
        _SHARED,
        0,
        _agent(Method.BUFFERED, _RW),
        lambda register, _cpu: register.to_bytes(4, "little"),
        _exactly_eight,
    ),
    DriverClient(
        "agent-2022",
        f"{_DRIVER_REPOSITORY}: userland/Agent/RAPLAgent.cpp at 80939ad; for v2-8 and later",
        _NEW,
        _READ_WRITE,
        _SHARED,
        0,
        _agent(Method.BUFFERED, _RW),
        _word,
        _exactly_eight,
    ),
    DriverClient(
        "scaphandre",
        "hubblo-org/scaphandre: src/sensors/msr_rapl.rs at 04cc6ec; opens the device for every read",
        _NEW,
        _FILE_GENERIC_READ_WRITE,
        _SHARED,
        FILE_FLAG_OVERLAPPED,
        lambda register: _code(0x606 if register == 0x606 else 0x611),
        _pair,
        _anything,
        failed_is_zero=True,
    ),
    DriverClient(
        "joularjx",
        "joular/joularjx: PowerMonitor/hubbloRAPL.cpp at 5a244ca",
        _NEW,
        _READ_WRITE,
        _SHARED,
        FILE_FLAG_OVERLAPPED,
        lambda _register: _code(0x606),
        _word,
        _anything,
        failed_is_zero=True,
    ),
    DriverClient(
        "joularcore",
        "joular/joularcore: src/windows/joular_core-msr_hubblo.adb",
        _NEW,
        _READ_WRITE,
        _SHARED,
        0,
        lambda register: _code(register & 0xFFF),
        _word,
        _exactly_eight,
        zero_is_failed=True,
    ),
    DriverClient(
        "green-metrics-tool",
        "green-coding-solutions/green-metrics-tool: metric_providers/cpu/energy/rapl/scaphandre, rapl_reader_cli.c",
        _NEW,
        _READ_WRITE,
        0,
        0,
        lambda _register: _code(0x800, access=Access.ANY),
        lambda register, _cpu: _pair(register, 0),
        lambda returned: returned >= 8,
    ),
)

#: The programs by name.
CLIENTS = MappingProxyType({row.name: row for row in _ROWS})
