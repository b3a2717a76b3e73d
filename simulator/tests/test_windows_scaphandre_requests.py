# SPDX-License-Identifier: Apache-2.0
"""Windows: any request to the Scaphandre driver has its documented answer, and many at once do not meet."""

import struct
import threading
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator import Machine
from raplica_simulator.windows.nt_status import BugCheck
from raplica_simulator.windows.scaphandre_driver import ScaphandreDriver
from raplica_simulator.windows.scaphandre_versions import VERSIONS
from raplica_simulator.windows.system import WindowsSystem
from raplica_simulator.windows.win32_calls import GENERIC_READ, GENERIC_WRITE

from .scaphandre import ABSENT, CODE, DIRECT, LISTS, NEW, RW, UNGUARDED, answers, ask, opened


@pytest.fixture(scope="module")
def machine() -> Machine:
    return Machine.from_profile("kabylake")


def test_64_threads_open_read_and_close_at_once_and_each_gets_its_own_answer() -> None:
    machine = Machine.from_profile("zen2-epyc-2s")
    system = WindowsSystem.with_driver(machine, ScaphandreDriver(fixed=True))
    process = system.process()
    together = threading.Barrier(64)
    cpus = [one.cpu.number for one in system.kernel.processors.active]
    values = [machine.msr.read(cpu, 0xC001029A) for cpu in cpus]
    wrong: list[object] = []
    handles: list[int] = []

    def read(index: int) -> None:
        together.wait()
        for _ in range(5):
            handle = process.create_file(NEW, RW)
            handles.append(handle)
            done = ask(process, handle, 0xC001029A, index)
            if (done.ok, int.from_bytes(done.output, "little")) != (True, values[index]):
                wrong.append(done)
            if ask(process, handle, 0x606).error != 1 or process.get_last_error() != 1:
                wrong.append(index)
            process.close_handle(handle)
            if ask(process, handle, 0x606).error != 6:
                wrong.append(handle)

    threads = [threading.Thread(target=read, args=(index,)) for index in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(set(handles)) == 64 * 5
    assert [device.open_handles for device in system.kernel.devices] == [0]


class Answer(NamedTuple):
    """What the documentation says about a request; ``memory`` is the caller's buffer and what lies behind it."""

    error: int
    returned: int | None = None
    memory: bytes | None = None


def documented(machine: Machine, version: str, rights: int, code: int, data: bytes, size: int) -> Answer | None:
    """The answer to a request on a handle that is open; None where the machine stops."""
    if code >> 14 & 3 & ~rights:
        return Answer(5)
    if version == "v0-none":
        return Answer(0, 0, b"\xcc" * size)
    if version in DIRECT:
        return documented_into_mdl(machine, version, code, size)
    if len(data) != (4 if version == "v2-4" else 8):
        return Answer(1)
    register = int.from_bytes(data[:4], "little")
    if code & 3 == 3:
        return None
    listed = version not in LISTS or register in LISTS[version][0]
    if not listed or (version == "v3" and int.from_bytes(data[4:], "little") > 3):
        return Answer(87 if listed else 1)
    value = documented_value(machine, version, register)
    if value is None:
        return None if version in UNGUARDED else Answer(1117)
    untouched = b"\xcc" * size
    return Answer(0, 8, untouched if code & 3 or not size else value.to_bytes(8, "little") + untouched[8:])


def documented_into_mdl(machine: Machine, version: str, code: int, size: int) -> Answer | None:
    if code & 3 not in (1, 2) or not size:
        return None
    if version == "v0-ones":
        return Answer(0, size, b"\1" * size)
    register = 0x606 if version == "v0-unit" else {0xBEB: 0x606, 0xBEC: 0x610, 0xBED: 0x611}.get(code >> 2 & 0xFFF)
    if register is None:
        return Answer(1)
    return Answer(0, size, machine.msr.read(0, register).to_bytes(8, "little") + b"\xcc" * (size - 8))


def documented_value(machine: Machine, version: str, register: int) -> int | None:
    if version in ("v2-4", "v2-8") and register in (1, 2, 3):
        return {1: 0x1111111111111111, 2: 0x2222222222222222, 3: 133_485_408_000_000_000}[register]
    return machine.msr.read(0, register) if answers(machine, register) else None


registers = st.sampled_from([0x606, 0x610, 0x611, 0x64D, ABSENT, 0x63B, 0xC001029B, 1, 2, 3]) | st.integers(
    0, 0xFFFFFFFF
)
requests = st.one_of(
    st.binary(max_size=16),
    st.builds(struct.pack, st.just("<II"), registers, st.sampled_from([0, 1, 3, 4, 0xFFFFFFFF])),
    st.builds(struct.pack, st.just("<I"), registers),
)
codes = st.sampled_from([CODE, 0x00226FAE, 0x00226FB2, 0x0022EFB4, 0x00222000]) | st.integers(0, 0xFFFFFFFF)


@given(
    st.sampled_from(sorted(VERSIONS)),
    st.integers(0, 3),
    codes,
    requests,
    st.integers(0, 16),
    st.just(4) | st.sampled_from([0, 5, 8, -1]),
)
def test_every_request_has_the_documented_answer_and_nothing_else(
    machine: Machine, version: str, rights: int, code: int, data: bytes, size: int, handle: int
) -> None:
    access = (GENERIC_READ if rights & 1 else 0) | (GENERIC_WRITE if rights & 2 else 0)
    process, open_handle = opened(machine, version, access)
    assert open_handle == 4
    wanted = documented(machine, version, rights, code, data, size) if handle == 4 else Answer(6)
    if wanted is None:
        with pytest.raises(BugCheck):
            process.device_io_control(handle, code, data, size)
        return
    done = process.device_io_control(handle, code, data, size)
    assert (done.ok, done.error, done.returned) == (not wanted.error, wanted.error, wanted.returned)
    assert done.output + done.overrun == (b"\xcc" * size if wanted.memory is None else wanted.memory)
