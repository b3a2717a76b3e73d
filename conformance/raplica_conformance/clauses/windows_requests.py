# SPDX-License-Identifier: Apache-2.0
"""What of a request to the Scaphandre driver is looked at before any register: rights, handle, lengths, method."""

from itertools import product

from raplica_conformance.clause import expect, not_applicable
from raplica_conformance.clauses._windows import (
    GENERIC_READ,
    GENERIC_WRITE,
    REFUSED,
    STOPS,
    WORD,
    Windows,
    absent,
    ask,
    client,
    code,
    error_of,
    opened,
    protocol_of,
    request,
    shown,
    told,
    unit_register,
    windows_clause,
    work,
)
from raplica_conformance.subject import Crashed

__all__: list[str] = []

_IO_MANAGER = "Windows Driver Kit, Defining I/O Control Codes, RequiredAccess"
_DRIVER = "hubblo-org/windows-rapl-driver ScaphandreDrv/Driver.c"
_DENIED, _INVALID_HANDLE = 5, 6
_TOO_SMALL = "error 122"
_BUFFERED, _IN_DIRECT, _OUT_DIRECT = 0, 1, 2


@windows_clause(
    "windows.access.sixteen",
    level="must",
    title="A code's access bits are held against the handle's rights before the driver sees the request: 5.",
    source=_IO_MANAGER,
)
def access_sixteen(windows: Windows) -> None:
    """Four kinds of handle, four kinds of code; the codes for reading and writing fail on a handle for reading."""
    protocol = protocol_of(windows)
    if protocol.selector in ("unit", "function") and windows.register(0, 0x606) is None:
        not_applicable("this version reads nothing that this processor has")
    windows.run()
    process = windows.process()
    _, data = request(protocol, unit_register(windows))
    for rights, wanted in product(range(4), range(4)):
        handle = opened(windows, process, (rights & 1 and GENERIC_READ) | (rights & 2 and GENERIC_WRITE))
        done = process.device_io_control(handle, code(0xBEB, _OUT_DIRECT, wanted), data, WORD)
        denied = not done.ok and done.error == _DENIED
        expect(denied, bool(wanted & ~rights), f"whether a code for {wanted} is denied to a handle for {rights}")
        if denied:
            expect((done.returned, done.output), (None, b"\xcc" * WORD), "byte count and buffer of what is denied")
        process.close_handle(handle)


@windows_clause(
    "windows.access.everybody",
    level="must",
    title="Who is no administrator may open the device as well, for reading and writing.",
    source="Windows Driver Kit, Controlling Device Access; the driver gives its device no security of its own",
)
def access_everybody(windows: Windows) -> None:
    """Any number of programs at once."""
    windows.run()
    process = windows.process(administrator=False)
    for _ in range(3):
        expect(error_of(opened, windows, process), 0, "the error of an open by an ordinary user")


@windows_clause(
    "windows.access.closed",
    level="must",
    title="A handle that was closed, or never was one, is invalid (6), whatever else is wrong.",
    source="Windows documentation, DeviceIoControl and CloseHandle",
)
def access_closed(windows: Windows) -> None:
    """The byte count stays as it was."""
    process, handle = client(windows)
    process.close_handle(handle)
    number, data = request(protocol_of(windows), unit_register(windows))
    for one in (handle, 0, handle + 4096):
        done = process.device_io_control(one, number, data, WORD)
        expect((done.ok, done.error, done.returned), (False, _INVALID_HANDLE, None), f"a request with handle {one}")
        expect(error_of(process.close_handle, one), _INVALID_HANDLE, f"the error of closing {one} again")


@windows_clause(
    "windows.length.input",
    level="must",
    title="Of all lengths of input from 0 to 16 the version takes its own, and refuses the others (1).",
    source=_DRIVER,
)
def length_input(windows: Windows) -> None:
    """Version 1 and before take any, and look at none of it."""
    protocol, registers = work(windows)
    register = registers[0]
    process, handle = client(windows)
    number, _ = request(protocol, register)
    for length in range(17):
        data = register.to_bytes(16, "little")[:length]
        takes = protocol.selector != "input" or length == protocol.input_length
        done = process.device_io_control(handle, number, data or None, WORD)
        expect(told(done), shown(windows, register) if takes else REFUSED, f"the ending with {length} bytes of input")


@windows_clause(
    "windows.length.output",
    level="should",
    title="No length of the output buffer is looked at: what does not fit is written behind it.",
    source=f"{_DRIVER}; Windows Driver Kit, Failure to Check the Size of Buffers; inferred",
)
def length_output(windows: Windows) -> None:
    """From version 2 on 8 bytes are said to be returned; before it as many as the buffer has.

    A driver that is mended refuses a buffer of less than 8 bytes with 122.
    """
    protocol, registers = work(windows)
    process, handle = client(windows)
    number, data = request(protocol, registers[0])
    word = (windows.register(0, registers[0]) or 0).to_bytes(WORD, "little")
    for size in range(0 if protocol.careful else 1, 17):
        done = process.device_io_control(handle, number, data, size)
        if protocol.careful and size < WORD:
            expect(told(done), _TOO_SMALL, f"the ending with {size} bytes of room")
            continue
        returned = WORD if protocol.selector == "input" or protocol.careful else size
        expect(done.returned, returned, f"the bytes that are said to be in {size} bytes of room")
        expect(done.output, word.ljust(size, b"\xcc")[:size], f"{size} bytes of room afterwards")
        expect(done.overrun, word[size:], f"what lies behind {size} bytes of room")


@windows_clause(
    "windows.length.untouched",
    level="must",
    title="A request that fails leaves the byte count and the buffer as they were.",
    source="ReactOS kernel32 and Wine agree with what clients see; the documentation says nothing of it",
)
def length_untouched(windows: Windows) -> None:
    """A client that looks at its buffer alone goes on with what it had put there, mostly 0."""
    protocol = protocol_of(windows)
    if protocol.selector not in ("function", "input"):
        not_applicable("this version refuses no request")
    process, handle = client(windows)
    # A function that nobody has, and an input that no version takes.
    done = process.device_io_control(handle, code(0xFFF, _OUT_DIRECT), b"\0" * 5, WORD)
    expect((done.ok, done.error), (False, 1), "the ending of a request that is refused")
    expect((done.returned, done.output), (None, b"\xcc" * WORD), "byte count and buffer afterwards")


@windows_clause(
    "windows.method.any",
    level="should",
    title="The transfer method of the code is not looked at, which with some methods is the machine's end.",
    source=f"{_DRIVER}; inferred",
)
def method_any(windows: Windows) -> None:
    """Version 2 asked with a direct method writes its answer to where the caller does not see it.

    Version 1 and before stop the machine where no buffer of the caller's is mapped. A mended driver refuses (1).
    """
    protocol, registers = work(windows)
    process, handle = client(windows)
    number, data = request(protocol, registers[0])
    method = _OUT_DIRECT if protocol.selector == "input" else _BUFFERED
    try:
        ending = told(process.device_io_control(handle, number & ~3 | method, data, WORD))
    except Crashed:
        ending = STOPS
    wanted = STOPS if protocol.selector != "input" else f"{WORD} bytes: {'cc' * WORD}"
    expect(ending, REFUSED if protocol.careful else wanted, "how a request by another method ends")
    if protocol.selector != "input":
        return
    done = process.device_io_control(handle, number & ~3 | _IN_DIRECT, data, WORD)
    expect(told(done), REFUSED if protocol.careful else wanted, "how a request by IN_DIRECT ends")


@windows_clause(
    "windows.access.after-crash",
    level="must",
    title="Once the machine has stopped nothing answers until it is started again, and then nothing is loaded.",
    source="Windows documentation, bug checks; hubblo-org/windows-rapl-driver e630b9e mends the reason",
)
def access_after_crash(windows: Windows) -> None:
    """Versions without an exception guard stop it by a register that the processor does not have."""
    protocol = protocol_of(windows)
    faulting = absent(windows, protocol)
    if protocol.guarded or protocol.selector != "input" or not faulting:
        not_applicable("no request that is let through stops the machine")
    windows.run()
    expect(ask(windows, faulting[0]), STOPS, f"how a request for {faulting[0]:#x} ends, which faults here")
    process = windows.process()
    for call in (lambda: opened(windows, process), lambda: process.services.open_manager(None)):
        try:
            call()
        except Crashed:
            ending = STOPS
        else:
            ending = "it answers"
        expect(ending, STOPS, "what another call gives then")
    windows.reboot()
    expect(error_of(opened, windows, windows.process()), 2, "the error of an open after the next start")
