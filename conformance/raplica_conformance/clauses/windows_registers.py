# SPDX-License-Identifier: Apache-2.0
"""Which registers the Scaphandre driver hands out, by version and by the processor's vendor."""

from raplica_conformance.clause import expect, not_applicable
from raplica_conformance.clauses._windows import (
    REFUSED,
    STOPS,
    WORD,
    Windows,
    absent,
    ask,
    client,
    code,
    energy_register,
    opened,
    protocol_of,
    request,
    shown,
    told,
    windows_clause,
    work,
)
from raplica_conformance.clauses._windows_versions import FUNCTIONS, TEST_REGISTERS

__all__: list[str] = []

_LIST = "hubblo-org/windows-rapl-driver ScaphandreDrv/msr.c"
_DRIVER = "hubblo-org/windows-rapl-driver ScaphandreDrv/Driver.c"
_EVERY_LIST = (
    *(0x606, 0x610, 0x611, 0x613, 0x614, 0x618, 0x619, 0x61B, 0x61C, 0x638, 0x639, 0x63A, 0x63B),
    *(0x640, 0x641, 0x642, 0x64D, 0x65C, 0xC0010299, 0xC001029A, 0xC001029B),
)
#: On no list of any version: the time stamp, temperatures, and neighbours of those that are.
_NEVER = (0, 0x10, 0x19C, 0x1A2, 0x1B1, 0x605, 0x607, 0x612, 0x615, 0x64E, 0x65B, 0xC0010298, 0xC001029C, 0xFFFFFFFF)
_SECOND_NS = 10**9


@windows_clause(
    "windows.register.listed",
    level="must",
    title="A register that the version lets through comes back as the processor has it, all 64 bits.",
    source=_LIST,
)
def register_listed(windows: Windows) -> None:
    """The unit register, and what packages, memory, cores and graphics count and are limited to."""
    _, registers = work(windows)
    windows.run()
    for register in registers:
        expect(ask(windows, register), shown(windows, register), f"what {register:#x} is said to hold")


@windows_clause(
    "windows.register.unlisted",
    level="must",
    title="A register that is not on the version's list for this vendor is refused with 1, as a wrong length is.",
    source=_LIST,
)
def register_unlisted(windows: Windows) -> None:
    """Who asks cannot tell the two causes apart. Until version 3.2 the list is Intel's on every processor."""
    protocol = protocol_of(windows)
    if not protocol.has_list:
        not_applicable("this version has no list")
    windows.run()
    own = protocol.registers(windows.vendor)
    for register in (*_NEVER, *_EVERY_LIST):
        if register not in own:
            expect(ask(windows, register), REFUSED, f"how a request for {register:#x} ends")


@windows_clause(
    "windows.register.unguarded",
    level="must",
    title="A version without a list reads any register that the processor has.",
    source=f"{_DRIVER} 528d297 to b3d39d4",
)
def register_unguarded(windows: Windows) -> None:
    """Also those that have nothing to do with energy."""
    protocol = protocol_of(windows)
    if protocol.selector != "input" or protocol.has_list:
        not_applicable("this version reads some registers only")
    there = [one for one in (*_NEVER, *_EVERY_LIST) if windows.register(0, one) is not None]
    windows.run()
    for register in there:
        expect(ask(windows, register), shown(windows, register), f"what {register:#x} is said to hold")


@windows_clause(
    "windows.register.absent",
    level="must",
    title="A listed register that this processor lacks is 1117 since October 2023, and before that the machine's end.",
    source=f"{_DRIVER} e630b9e",
)
def register_absent(windows: Windows) -> None:
    """The case that was reported is 0x641 on a Xeon without graphics."""
    protocol = protocol_of(windows)
    faulting = absent(windows, protocol)
    if not faulting:
        not_applicable("the processor has every register that this version lets through")
    windows.run()
    for register in faulting:
        expect(ask(windows, register), shown(windows, register), f"how a request for {register:#x} ends")
        if not protocol.guarded:
            break
    if protocol.guarded:
        process = windows.process()
        number, data = request(protocol, faulting[0])
        done = process.device_io_control(opened(windows, process), number, data, WORD)
        expect((done.returned, done.output), (None, b"\xcc" * WORD), "byte count and buffer of a read that failed")


@windows_clause(
    "windows.register.functions",
    level="must",
    title="Version 1 has a function code for each of three registers, and refuses all others (1).",
    source="hubblo-org/windows-rapl-driver kernelland/RAPLDrv/Driver.c at 351a239",
)
def register_functions(windows: Windows) -> None:
    """0xBEB the units, 0xBEC the package's limit, 0xBED its energy; whatever the input is."""
    protocol = protocol_of(windows)
    if protocol.selector != "function":
        not_applicable("this version does not go by function codes")
    there = {number: register for register, number in FUNCTIONS.items()}
    if any(windows.register(0, register) is None for register in there.values()):
        not_applicable("the processor has none of the three registers")
    process, handle = client(windows)
    for function in (*range(0xBE9, 0xBF0), 0, 0x606, 0x611, 0x800, 0xFFF):
        done = process.device_io_control(handle, code(function, 2, 1), b"\x11\x06\0\0\0\0\0\0", WORD)
        wanted = shown(windows, there[function]) if function in there else REFUSED
        expect(told(done), wanted, f"how a request with function {function:#x} ends")


@windows_clause(
    "windows.register.any-code",
    level="must",
    title="From version 2 on no control code is looked at: the input says which register.",
    source=f"{_DRIVER} 528d297 and later; four clients send four codes",
)
def register_any_code(windows: Windows) -> None:
    """Device type, function and access may be anything; the method has to be buffered."""
    protocol, registers = work(windows)
    if protocol.selector != "input":
        not_applicable("this version goes by the code")
    process, handle = client(windows)
    _, data = request(protocol, registers[0])
    for number in (0x0022D818, 0x0022D844, 0x0022E004, 0x0022EFAC, 0x00222000, 0x9C402084, 0, 0xFFFFFFFC):
        done = process.device_io_control(handle, number, data, WORD)
        expect(told(done), shown(windows, registers[0]), f"how the request {number:#010x} ends")


@windows_clause(
    "windows.register.tests",
    level="must",
    title="Registers 1 and 2 answer patterns and 3 the time in the two versions that have them for tests.",
    source="hubblo-org/windows-rapl-driver kernelland/RAPLDrv/Driver.c at 528d297 and 373c883",
)
def register_tests(windows: Windows) -> None:
    """The time is in steps of 100 ns since 1601."""
    protocol = protocol_of(windows)
    if not protocol.has_tests:
        not_applicable("this version has no registers for tests")
    windows.run()
    for register, value in TEST_REGISTERS.items():
        expect(ask(windows, register), f"8 bytes: {value.to_bytes(WORD, 'little').hex()}", f"register {register}")
    before = _number(ask(windows, 3))
    windows.advance(_SECOND_NS)
    expect(_number(ask(windows, 3)) - before, 10**7, "by how much register 3 goes on in a second")


@windows_clause(
    "windows.register.live",
    level="must",
    title="A counter is read at the moment of the request.",
    source=_DRIVER,
)
def register_live(windows: Windows) -> None:
    """Nothing is kept between two requests, nor for a handle."""
    work(windows)
    register = energy_register(windows)
    windows.run()
    process = windows.process()
    endings = []
    for _ in range(3):
        endings.append(ask(windows, register, process=process))
        expect(endings[-1], shown(windows, register), "what the counter is said to show")
        windows.advance(_SECOND_NS)
    expect(len(set(endings)), 3, "different counts, a second after another")


@windows_clause(
    "windows.register.nothing",
    level="must",
    title="The versions before version 1 answer nothing, ones, or always the unit register.",
    source="hubblo-org/windows-rapl-driver kernelland/RAPLDrv/Driver.c at 28d4db1, 059dea4 and 1dd6937",
)
def register_nothing(windows: Windows) -> None:
    """So a client must not take an answer of theirs for a counter."""
    protocol = protocol_of(windows)
    if protocol.selector in ("function", "input"):
        not_applicable("this version reads what it is asked for")
    endings = {"nothing": f"0 bytes: {'cc' * WORD}", "ones": f"8 bytes: {'01' * WORD}"}
    wanted = endings.get(protocol.selector) or shown(windows, 0x606)
    windows.run()
    ending = ask(windows, 0x611)
    expect(ending, wanted, "how a request for the package's energy ends")
    if ending != STOPS:
        expect(ask(windows, 0x606), wanted, "how one for the units ends")


def _number(ending: str) -> int:
    return int.from_bytes(bytes.fromhex(ending.rpartition(" ")[2]), "little")
