# SPDX-License-Identifier: Apache-2.0
"""The device of Intel Power Gadget: one code for every question."""

import struct
from collections.abc import Callable
from errno import EIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator import Machine
from raplica_simulator.windows.ctl_code import CtlCode
from raplica_simulator.windows.nt_status import Win32, Win32Error
from raplica_simulator.windows.power_gadget import REQUEST, PowerGadgetDriver
from raplica_simulator.windows.system import WindowsSystem
from raplica_simulator.windows.win32_calls import Completion, Win32Calls

Make = Callable[..., Machine]

PATH = "\\\\.\\EnergyDriver"
READ_WRITE = 0xC0000000


class Client:
    """A process with one open handle."""

    def __init__(self, process: Win32Calls, access: int = READ_WRITE) -> None:
        self.process = process
        self.handle = process.create_file(PATH, access)

    def ask(self, data: bytes | None, size: int, code: CtlCode | int = REQUEST) -> Completion:
        return self.process.device_io_control(self.handle, int(code), data, size)

    def read(self, register: int) -> int:
        done = self.ask(struct.pack("<II", 0, register), 8)
        assert (done.ok, done.returned, done.overrun) == (True, 8, b""), done
        return int.from_bytes(done.output, "little")


def system_of(machine: Machine) -> WindowsSystem:
    return WindowsSystem.with_driver(machine, PowerGadgetDriver())


@pytest.fixture(scope="module")
def quiet() -> Client:
    """A client for questions that change nothing."""
    return Client(system_of(Machine.from_profile("kabylake")).process())


def test_the_code_is_the_one_that_was_seen() -> None:
    assert REQUEST.value == 0x22E00A


def test_a_request_names_a_register_and_is_answered_with_it_on_the_threads_processor() -> None:
    system = system_of(Machine.from_profile("skylake-sp-2s"))
    clients = {index: Client(system.process(administrator=False, cpu=index)) for index in (0, 41)}
    seen: dict[int, list[int]] = {0: [], 41: []}
    for cpu in (0, 20):
        system.machine.msr.poke(cpu, 0x611, 0xFFFFFF00 + cpu)
    for _ in range(3):
        for index, client in clients.items():
            cpu = system.kernel.processors.active[index].cpu.number
            for register in (0x606, 0x610, 0x611):
                assert client.read(register) == system.machine.msr.read(cpu, register)
            seen[index].append(client.read(0x611))
        system.machine.clock.advance(seconds=100)
    assert all(values[1] < values[0] for values in seen.values())  # wrapped
    assert seen[0] != seen[41]


def test_a_longer_buffer_keeps_what_lies_behind_the_answer(quiet: Client) -> None:
    done = quiet.ask(struct.pack("<II", 0, 0x606), 11)
    assert (done.ok, done.returned, done.output) == (True, 8, struct.pack("<Q", 0xA0E03) + b"\xcc" * 3)


def test_what_stands_behind_a_request_for_a_register_is_not_looked_at(quiet: Client) -> None:
    assert quiet.ask(struct.pack("<IIQ", 0, 0x606, 7), 8).output == struct.pack("<Q", 0xA0E03)


def test_cycles_are_told_of_each_processor_that_is_counted(make_machine: Make) -> None:
    machine = make_machine("kabylake", registers={0xE7: 1000}, topology=(1, 1, 2, 2))
    client = Client(system_of(machine).process())
    for count in (1, 4):
        done = client.ask(struct.pack("<III", 0, 0xE7, count), 8 * count)
        assert (done.ok, done.returned) == (True, 8 * count)
        assert struct.unpack(f"<{count}Q", done.output) == (1000,) * count
    for count in (0, 5, 0xFFFFFFFF):
        assert client.ask(struct.pack("<III", 0, 0xE7, count), 64).error == Win32.INVALID_PARAMETER
    assert client.ask(struct.pack("<III", 0, 0xE7, 4), 31).error == Win32.INSUFFICIENT_BUFFER
    assert client.ask(struct.pack("<II", 0, 0xE7), 8).error == Win32.INVALID_PARAMETER


@pytest.mark.parametrize("length", range(8))
def test_a_request_that_is_too_short_is_refused(quiet: Client, length: int) -> None:
    done = quiet.ask(struct.pack("<II", 0, 0x606)[:length], 8)
    assert (done.ok, done.error, done.returned, done.output) == (False, Win32.INVALID_PARAMETER, None, b"\xcc" * 8)


def test_a_request_that_does_not_begin_with_zero_is_refused(quiet: Client) -> None:
    assert quiet.ask(struct.pack("<II", 1, 0x606), 8).error == Win32.INVALID_PARAMETER
    assert quiet.ask(None, 8).error == Win32.INVALID_PARAMETER


@pytest.mark.parametrize("size", range(8))
def test_an_answer_that_does_not_fit_is_refused(quiet: Client, size: int) -> None:
    done = quiet.ask(struct.pack("<II", 0, 0x606), size)
    assert (done.ok, done.error, done.output + done.overrun) == (False, Win32.INSUFFICIENT_BUFFER, b"\xcc" * size)


def test_a_register_that_faults_is_an_io_error() -> None:
    machine = Machine.from_profile("kabylake")
    client = Client(system_of(machine).process())
    assert client.ask(struct.pack("<II", 0, 0x10), 8).error == Win32.IO_DEVICE
    machine.msr.inject(0, 0x611, on="read", errno=EIO, times=1)
    assert client.ask(struct.pack("<II", 0, 0x611), 8).error == Win32.IO_DEVICE
    assert client.read(0x611) == machine.msr.read(0, 0x611)


@pytest.mark.parametrize("access", [0, 0x80000000, 0x40000000])
def test_the_code_needs_both_rights(access: int) -> None:
    client = Client(system_of(Machine.from_profile("kabylake")).process(), access)
    assert client.ask(struct.pack("<II", 0, 0x606), 8).error == Win32.ACCESS_DENIED


@given(
    code=st.just(REQUEST.value) | st.integers(0, 0xFFFFFFFF),
    data=st.none() | st.binary(max_size=20),
    size=st.integers(0, 20),
)
def test_whatever_is_sent_there_is_one_of_the_known_answers(
    quiet: Client, code: int, data: bytes | None, size: int
) -> None:
    done = quiet.ask(data, size, code)
    known = {Win32.INVALID_PARAMETER, Win32.INSUFFICIENT_BUFFER, Win32.IO_DEVICE, Win32.SUCCESS}
    assert done.error in (known if code == REQUEST.value else {Win32.INVALID_FUNCTION})
    assert done.overrun == b""


def test_unloading_takes_the_name_along_and_loading_brings_it_back() -> None:
    system = system_of(Machine.from_profile("kabylake"))
    (driver,) = system.kernel.drivers
    assert system.unload(driver)
    with pytest.raises(Win32Error) as gone:
        system.process().create_file(PATH, READ_WRITE)
    assert gone.value.winerror == Win32.FILE_NOT_FOUND
    system.kernel.load(driver)
    assert Client(system.process()).read(0x606) == 0xA0E03
