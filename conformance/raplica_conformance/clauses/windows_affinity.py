# SPDX-License-Identifier: Apache-2.0
"""On which processor the Scaphandre driver reads: where it is sent, where its caller runs, or where a wrong mask leads.

Since version 3 a request names a processor, but the mask that is to bring the driver there is wrong: empty at first,
later the processor's index where it should be one bit. So who asks for the second socket mostly reads the first.
"""

from collections.abc import Sequence

from raplica_conformance.clause import expect, not_applicable
from raplica_conformance.clauses._windows import (
    WORD,
    Processor,
    Windows,
    absent,
    ask,
    client,
    energy_register,
    protocol_of,
    reads,
    request,
    shown,
    told,
    windows_clause,
)
from raplica_conformance.clauses._windows_versions import DriverProtocol

__all__: list[str] = []

_SOURCE = "hubblo-org/windows-rapl-driver ScaphandreDrv/Driver.c a9adb20 to a472cf3; KeSetSystemGroupAffinityThread"
_ISSUES = (
    "https://github.com/hubblo-org/scaphandre/issues/345",
    "https://github.com/hubblo-org/scaphandre/issues/356",
)
_CORE = 0xC001029A  # AMD's, and each core has its own: it tells processors apart that share a package
_INDEXES = (0, 1, 2, 3, 5, 8, 32, 33, 40, 63, 64, 65, 79)


@windows_clause(
    "windows.affinity.index",
    level="must",
    title="A request for a processor is run where the version's affinity mask leads, which is mostly elsewhere.",
    source=_SOURCE,
    threads=_ISSUES,
)
def affinity_index(windows: Windows) -> None:
    """Index 0 stays with the caller, 1 goes to processor 0, 3 to 0 or 1, 8 to 3; a bit beyond the group moves nothing.

    A mended driver goes where it is sent.
    """
    protocol, processors = _ready(windows)
    register = _telling(windows, protocol)
    _tell_apart(windows, register)
    windows.run()
    for caller in sorted({0, len(processors) - 1}):
        process = windows.process(cpu=caller)
        for index in _INDEXES:
            if index >= len(processors):
                continue
            answers = {shown(windows, register, cpu) for cpu in _reached(protocol, processors, index, caller)}
            ending = ask(windows, register, index, process=process)
            expect(
                ending if ending not in answers else "one of its processors",
                "one of its processors",
                f"what {register:#x} shows for processor {index}, asked from {caller}",
            )


@windows_clause(
    "windows.affinity.socket",
    level="should",
    title="Asked for a processor of the second package, the driver reads the first one for some, and nobody can tell.",
    source=_SOURCE,
    threads=_ISSUES,
)
def affinity_socket(windows: Windows) -> None:
    """For some index at least; a mended driver never does that."""
    protocol, processors = _ready(windows)
    register = energy_register(windows)
    if not reads(windows, protocol, register):
        not_applicable("this version does not read the counter of this processor")
    first = processors[0]
    others = [cpu for cpu, one in enumerate(processors) if one.package != first.package and one.group == first.group]
    if not others:
        not_applicable("there is one package, or each has a group of its own, in which every mask stays")
    windows.mark(register)
    by_package = {one.package: number for number, one in reversed(list(enumerate(processors)))}
    firsts = {package: shown(windows, register, cpu) for package, cpu in by_package.items()}
    windows.run()
    process = windows.process(cpu=0)
    own = firsts[first.package]
    wrong = [cpu for cpu in others if ask(windows, register, cpu, process=process) == own]
    expect(bool(wrong), protocol.placed != "bit", "whether the first package is shown for a processor of another one")


@windows_clause(
    "windows.affinity.beyond",
    level="must",
    title="A processor beyond the last one is the last one since version 3.1, and an error (87) before.",
    source=_SOURCE,
)
def affinity_beyond(windows: Windows) -> None:
    """The number of processors is that of all groups together."""
    protocol, processors = _ready(windows)
    register = _telling(windows, protocol)
    windows.mark(register)
    windows.run()
    last = len(processors) - 1
    process = windows.process(cpu=last)
    here = {shown(windows, register, cpu) for cpu in _reached(protocol, processors, last, last)}
    for index in (len(processors), len(processors) + 63, 0xFFFFFFFF):
        ending = ask(windows, register, index, process=process)
        if protocol.clamps:
            ending = "as for the last one" if ending in here else ending
        expect(ending, "as for the last one" if protocol.clamps else "error 87", f"how one for {index} ends")


@windows_clause(
    "windows.affinity.caller",
    level="must",
    title="Until version 2 a request is run where its caller runs, so a caller that pins itself chooses.",
    source="hubblo-org/windows-rapl-driver kernelland/RAPLDrv/Driver.c",
)
def affinity_caller(windows: Windows) -> None:
    """What stands in the upper half of 8 bytes of input is not looked at."""
    protocol = protocol_of(windows)
    if protocol.picks_cpu or protocol.selector not in ("function", "input"):
        not_applicable("this version does not read where its caller runs")
    processors = windows.processors()
    register = _telling(windows, protocol)
    _tell_apart(windows, register)
    process, handle = client(windows)
    for index in sorted({0, 1, len(processors) // 2, len(processors) - 1}):
        one = processors[index]
        process.set_thread_group_affinity(one.group, 1 << one.number)
        number, data = request(protocol, register, cpu=1)
        done = process.device_io_control(handle, number, data, WORD)
        expect(told(done), shown(windows, register, index), f"what {register:#x} shows from processor {index}")


@windows_clause(
    "windows.affinity.kept",
    level="should",
    title="A read that faults leaves the thread where the driver has put it, as long as the driver has its guard.",
    source=f"{_SOURCE}; inferred: what the next request of that thread shows",
)
def affinity_kept(windows: Windows) -> None:
    """The way back lies behind the read. A mended driver goes it in any case."""
    protocol, processors = _ready(windows)
    register = _telling(windows, protocol)
    faulting = absent(windows, protocol)
    if not protocol.guarded or not faulting:
        not_applicable("no read faults and comes back")
    _tell_apart(windows, register)
    windows.run()
    last = len(processors) - 1
    process = windows.process(cpu=last)
    # Index 1 is taken for the mask of processor 0; index 0, an empty mask, then stays there.
    ask(windows, faulting[0], 1, process=process)
    target = 0 if protocol.placed == "index" else last
    ending = ask(windows, register, target, process=process)
    expect(ending, shown(windows, register, target), f"what {register:#x} shows of processor {target} afterwards")


def _tell_apart(windows: Windows, register: int) -> None:
    """Let each instance of a counter show something else; it ends the clause where all processors share one."""
    windows.mark(register)
    if len({windows.register(cpu, register) for cpu in range(len(windows.processors()))}) == 1:
        not_applicable("all processors share one counter, which does not tell them apart")


def _ready(windows: Windows) -> tuple[DriverProtocol, Sequence[Processor]]:
    protocol = protocol_of(windows)
    if not protocol.picks_cpu:
        not_applicable("this version takes no processor")
    return protocol, windows.processors()


def _telling(windows: Windows, protocol: DriverProtocol) -> int:
    """The counter that tells most processors apart, of those that the version reads."""
    for register in (_CORE, energy_register(windows)):
        if reads(windows, protocol, register):
            return register
    return not_applicable("this version reads no counter of this processor")


def _reached(protocol: DriverProtocol, processors: Sequence[Processor], index: int, caller: int) -> list[int]:
    """The processors that a request for one may be run on, by the documented rule for masks."""
    if protocol.placed == "bit":
        return [index]
    mask = index if protocol.placed == "index" else 0
    here = {one.number: number for number, one in enumerate(processors) if one.group == processors[index].group}
    bits = [bit for bit in range(mask.bit_length()) if mask >> bit & 1]
    if not bits or any(bit not in here for bit in bits):
        return [caller]
    return [here[bit] for bit in bits]
