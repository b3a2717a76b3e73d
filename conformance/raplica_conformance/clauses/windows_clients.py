# SPDX-License-Identifier: Apache-2.0
"""What known programs send to the Scaphandre driver for Windows, and how each version of it answers them.

Seven programs, of which some send codes of their own: from version 2 on the driver does not look at the code, so what
decides is the length of the input alone.
"""

from collections.abc import Callable
from dataclasses import dataclass

from raplica_conformance.clause import expect, not_applicable
from raplica_conformance.clauses._windows import (
    READ_WRITE,
    REFUSED,
    STOPS,
    WORD,
    Windows,
    code,
    energy_register,
    error_of,
    protocol_of,
    shown,
    told,
    unit_register,
    windows_clause,
)
from raplica_conformance.clauses._windows_versions import FUNCTIONS, DriverProtocol
from raplica_conformance.subject import Crashed

__all__: list[str] = []

_BUFFERED, _OUT_DIRECT = 0, 2
_DRIVER = "hubblo-org/windows-rapl-driver"
_PACKAGE_FUNCTION = 0xBED


@dataclass(frozen=True, slots=True)
class _Client:
    """What a program sends for the energy of a package: `function` None is the register's own number, cut to 12 bits.

    `length` is that of its input, which begins with the register; `is_old` says under which name it looks.
    """

    name: str
    source: str
    length: int
    function: int | None
    about: str
    method: int = _BUFFERED
    access: int = 3
    is_old: bool = False

    def request(self, register: int) -> tuple[int, bytes]:
        function = register & 0xFFF if self.function is None else self.function
        return code(function, self.method, self.access), register.to_bytes(WORD, "little")[: self.length]


_AGENT = "userland/Agent/RAPLAgent.cpp"
_CLIENTS = (
    _Client(
        "agent-2021-11",
        f"{_DRIVER} {_AGENT} at 0cc7714",
        0,
        _PACKAGE_FUNCTION,
        "A control code for each register, and no input: version 1.",
        _OUT_DIRECT,
        1,
        is_old=True,
    ),
    _Client(
        "agent-2021-12",
        f"{_DRIVER} {_AGENT} at 528d297",
        4,
        _PACKAGE_FUNCTION,
        "The register in 4 bytes of input: version 2 of its first days.",
        is_old=True,
    ),
    _Client("agent-2022", f"{_DRIVER} {_AGENT} at 80939ad", 8, _PACKAGE_FUNCTION, "The register in 8 bytes of input."),
    _Client(
        "scaphandre",
        "hubblo-org/scaphandre src/sensors/msr_rapl.rs at 04cc6ec",
        8,
        0x611,
        "Register and CPU; it takes whatever comes back, and 0 where nothing does.",
    ),
    _Client(
        "joularjx",
        "joular/joularjx PowerMonitor/hubbloRAPL.cpp at 5a244ca",
        8,
        0x606,
        "One code, that of Scaphandre's units, for every register.",
    ),
    _Client(
        "joularcore",
        "joular/joularcore src/windows/joular_core-msr_hubblo.adb",
        8,
        None,
        "The low 12 bits of the register as the function of the code.",
    ),
    _Client(
        "green-metrics-tool",
        "green-coding-solutions/green-metrics-tool metric_providers/cpu/energy/rapl/scaphandre",
        8,
        0x800,
        "A code that needs no rights.",
        access=0,
    ),
)


def _about(client: _Client) -> Callable[[Windows], None]:
    def meets(windows: Windows) -> None:
        windows.run()
        process = windows.process()
        register = energy_register(windows)
        wanted = _wanted(windows, protocol_of(windows), client, register)
        handle = process.create_file(f"\\\\.\\{windows.device}", READ_WRITE)
        try:
            ending = told(process.device_io_control(handle, *client.request(register), WORD))
        except Crashed:
            ending = STOPS
        expect(ending, wanted, f"how version {windows.version} answers what {client.name} sends")

    meets.__doc__ = client.about
    return meets


def _wanted(windows: Windows, protocol: DriverProtocol, client: _Client, register: int) -> str:
    """How the request ends by what is known of that version."""
    if protocol.selector == "nothing":
        return f"0 bytes: {'cc' * WORD}"
    if protocol.selector == "input":
        if client.length != protocol.input_length or register not in protocol.registers(windows.vendor):
            return REFUSED
        return shown(windows, register)
    if client.method != _OUT_DIRECT:
        return REFUSED if protocol.careful else STOPS
    if protocol.selector == "ones":
        return f"8 bytes: {'01' * WORD}"
    by_function = {function: register for register, function in FUNCTIONS.items()}
    return shown(windows, 0x606 if protocol.selector == "unit" else by_function[client.function or 0])


for _one in _CLIENTS:
    windows_clause(
        f"windows.client.{_one.name}",
        level="must",
        title=f"What {_one.name} sends for a package's energy ends as the driver's version has it.",
        source=_one.source,
    )(_about(_one))


@windows_clause(
    "windows.client.name",
    level="must",
    title="The device has one name: who looks for it under the other one is told that there is no such file (2).",
    source=f"{_DRIVER} ffe9bf3, 80939ad, c08daf4",
)
def client_name(windows: Windows) -> None:
    """RAPLDriver until the end of 2021, ScaphandreDriver since: a client of the one does not find the other."""
    old, new = r"\\.\RAPLDriver", r"\\.\ScaphandreDriver"
    own, other = (old, new) if protocol_of(windows).old_name else (new, old)
    windows.run()
    process = windows.process()
    expect(error_of(process.create_file, own, READ_WRITE), 0, f"the error of opening {own}")
    expect(error_of(process.create_file, other, READ_WRITE), 2, f"the error of opening {other}")


@windows_clause(
    "windows.client.unit",
    level="must",
    title="The units can be read by the code of Scaphandre's constructor, or by that of version 1.",
    source="hubblo-org/scaphandre src/sensors/msr_rapl.rs at 04cc6ec",
)
def client_unit(windows: Windows) -> None:
    """A client that cannot read them goes on with 1 J for a step, which is wrong by 2^14."""
    protocol = protocol_of(windows)
    register = unit_register(windows)
    if register not in protocol.registers(windows.vendor) or windows.register(0, register) is None:
        not_applicable(f"version {windows.version} does not read the units of this processor")
    windows.run()
    process = windows.process()
    handle = process.create_file(f"\\\\.\\{windows.device}", READ_WRITE)
    is_input = protocol.selector == "input"
    number = code(0x606) if is_input else code(0xBEB, _OUT_DIRECT, 1)
    data = register.to_bytes(WORD, "little")[: protocol.input_length]
    done = process.device_io_control(handle, number, data, WORD)
    expect(told(done), shown(windows, register), "what the unit register is said to hold")
