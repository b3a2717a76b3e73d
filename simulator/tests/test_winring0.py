# SPDX-License-Identifier: Apache-2.0
"""WinRing0: any register for anybody, in the original that trusts every length and in the variant that checks."""

import struct
from errno import EIO
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator import Machine
from raplica_simulator.windows.ctl_code import CtlCode
from raplica_simulator.windows.nt_status import BugCheck, Win32, Win32Error, win32_of
from raplica_simulator.windows.system import WindowsSystem
from raplica_simulator.windows.win32_calls import Completion, Win32Calls
from raplica_simulator.windows.winring0 import (
    GET_DRIVER_VERSION,
    GET_REFCOUNT,
    HALT,
    PCI_BUS_NOT_EXIST,
    READ_MEMORY,
    READ_MSR,
    READ_PCI_CONFIG,
    READ_PMC,
    WRITE_MSR,
    WinRing0Driver,
)

Variant = Literal["original", "checked"]

PATH = "\\\\.\\WinRing0_1_2_0"
READ = 0x80000000
BOTH: tuple[Variant, Variant] = ("original", "checked")


class Client:
    """A process with one open handle."""

    def __init__(self, process: Win32Calls) -> None:
        self.process = process
        self.handle = process.create_file(PATH, READ)

    def ask(self, code: CtlCode | int, data: bytes | None, size: int) -> Completion:
        return self.process.device_io_control(self.handle, int(code), data, size)

    def read(self, register: int) -> int:
        done = self.ask(READ_MSR, struct.pack("<I", register), 8)
        assert (done.ok, done.returned, done.overrun) == (True, 8, b"")
        return int.from_bytes(done.output, "little")


def system_of(profile: str, variant: Variant = "original") -> WindowsSystem:
    return WindowsSystem.with_driver(Machine.from_profile(profile), WinRing0Driver(variant))


@pytest.fixture(scope="module")
def quiet() -> dict[Variant, Client]:
    """A client of each variant, for questions that change nothing."""
    return {variant: Client(system_of("kabylake", variant).process()) for variant in BOTH}


def test_the_codes_are_those_that_clients_send() -> None:
    assert GET_DRIVER_VERSION.value == 0x9C402000
    assert GET_REFCOUNT.value == 0x9C402004
    assert (READ_MSR.value, WRITE_MSR.value, READ_PMC.value) == (0x9C402084, 0x9C402088, 0x9C40208C)
    assert (HALT.value, READ_PCI_CONFIG.value, READ_MEMORY.value) == (0x9C402090, 0x9C406144, 0x9C406104)


@pytest.mark.parametrize("variant", BOTH)
@pytest.mark.parametrize(("profile", "register"), [("skylake-sp-2s", 0x611), ("zen2-epyc-2s", 0xC001029A)])
def test_the_register_is_that_of_the_processor_that_the_thread_runs_on(
    profile: str, register: int, variant: Variant
) -> None:
    system = system_of(profile, variant)
    client = Client(system.process())
    seen: dict[int, list[int]] = {}
    for one in system.kernel.processors.active[::20]:
        system.machine.msr.poke(one.cpu.number, register, 0xFFFFFF00 + one.index)
    for _ in range(3):
        for one in system.kernel.processors.active[::20]:
            client.process.set_thread_group_affinity(one.group, 1 << one.number)
            assert client.read(register) == system.machine.msr.read(one.cpu.number, register)
            seen.setdefault(one.index, []).append(client.read(register))
        system.machine.clock.advance(seconds=100)
    assert all(values[1] < values[0] for values in seen.values())  # wrapped
    assert len({tuple(values) for values in seen.values()}) > 1


def test_a_client_that_pins_nothing_reads_one_package_only() -> None:
    system = system_of("skylake-sp-2s")
    assert Client(system.process(cpu=0)).read(0x611) == system.machine.msr.read(0, 0x611)
    assert Client(system.process(cpu=79)).read(0x611) == system.machine.msr.read(20, 0x611)


@pytest.mark.parametrize("variant", BOTH)
def test_an_absent_register_is_a_general_failure_and_gives_no_bytes(variant: Variant) -> None:
    system = system_of("skylake-sp-2s", variant)
    client = Client(system.process())
    for register in (0x10, 0xFFFFFFFF):
        done = client.ask(READ_MSR, struct.pack("<I", register), 8)
        assert (done.ok, done.error, done.returned, done.output) == (False, Win32.GEN_FAILURE, None, b"\xcc" * 8)
    system.machine.msr.inject(0, 0x611, on="read", errno=EIO, times=1)
    assert client.ask(READ_MSR, struct.pack("<I", 0x611), 8).error == Win32.GEN_FAILURE
    assert client.read(0x611) == system.machine.msr.read(0, 0x611)


@pytest.mark.parametrize("size", range(8))
def test_a_short_output_is_overrun_by_the_original_and_refused_by_the_checked_variant(
    quiet: dict[Variant, Client], size: int
) -> None:
    value = struct.pack("<Q", quiet["original"].read(0x606))
    done = quiet["original"].ask(READ_MSR, struct.pack("<I", 0x606), size)
    assert (done.ok, done.returned) == (True, 8)
    if size:
        assert done.output + done.overrun == value
    refused = quiet["checked"].ask(READ_MSR, struct.pack("<I", 0x606), size)
    assert (refused.ok, refused.error, refused.returned) == (False, Win32.INSUFFICIENT_BUFFER, None)
    assert refused.overrun == b""


@pytest.mark.parametrize("variant", BOTH)
def test_the_length_of_the_input_is_not_looked_at(quiet: dict[Variant, Client], variant: Variant) -> None:
    client = quiet[variant]
    assert client.ask(READ_MSR, struct.pack("<I", 0x606) + b"\xff" * 9, 8).output == struct.pack("<Q", 0xA0E03)
    assert client.ask(READ_MSR, b"\x06\x06", 8).output == struct.pack("<Q", 0xA0E03)
    assert client.ask(READ_MSR, None, 8).error == Win32.GEN_FAILURE  # register 0, which is not there


def test_without_any_buffer_the_original_faults_within_its_guard_and_outside_of_it() -> None:
    system = system_of("kabylake")
    client = Client(system.process())
    assert client.ask(READ_MSR, None, 0).error == Win32.GEN_FAILURE
    assert client.ask(WRITE_MSR, None, 0).error == Win32.GEN_FAILURE
    with pytest.raises(BugCheck, match="NULL"):
        client.ask(GET_DRIVER_VERSION, None, 0)
    with pytest.raises(BugCheck):
        client.ask(READ_MSR, b"\0" * 4, 8)
    system.reboot()
    assert system.crashed is None


@pytest.mark.parametrize("variant", BOTH)
def test_version_and_number_of_handles_are_told(variant: Variant) -> None:
    process = system_of("kabylake", variant).process()
    clients = [Client(process) for _ in range(3)]
    assert clients[0].ask(GET_DRIVER_VERSION, None, 4).output == b"\5\0\2\1"  # 1.2.0.5
    assert clients[0].ask(GET_REFCOUNT, None, 4).output == b"\3\0\0\0"
    process.close_handle(clients[1].handle)
    assert clients[0].ask(GET_REFCOUNT, None, 4).output == b"\2\0\0\0"
    assert clients[1].ask(GET_REFCOUNT, None, 4).error == Win32.INVALID_HANDLE


@pytest.mark.parametrize("code", [GET_DRIVER_VERSION, GET_REFCOUNT])
def test_numbers_of_four_bytes_overrun_what_is_shorter_unless_it_is_checked(
    quiet: dict[Variant, Client], code: CtlCode
) -> None:
    done = quiet["original"].ask(code, None, 2)
    assert (done.ok, done.returned, len(done.overrun)) == (True, 4, 2)
    assert quiet["checked"].ask(code, None, 2).error == Win32.INSUFFICIENT_BUFFER


@pytest.mark.parametrize("variant", BOTH)
def test_a_power_limit_can_be_written_packed_into_twelve_bytes(variant: Variant) -> None:
    system = system_of("skylake-sp-2s", variant)
    client = Client(system.process(cpu=40))
    raw = client.read(0x610)
    changed = (raw & ~0x7FFF) | 70 * 8 | 1 << 15
    done = client.ask(WRITE_MSR, struct.pack("<IQ", 0x610, changed), 0)
    assert (done.ok, done.returned) == (True, 0)
    assert system.machine.msr.read(20, 0x610) == changed
    assert system.machine.msr.read(0, 0x610) == raw
    assert client.ask(WRITE_MSR, struct.pack("<IQ", 0x611, 0), 0).error == Win32.GEN_FAILURE
    assert client.ask(WRITE_MSR, struct.pack("<IQ", 0x10, 0), 0).error == Win32.GEN_FAILURE


def test_a_write_that_is_too_short_is_refused_by_the_checked_variant_and_filled_up_by_the_original() -> None:
    checked = Client(system_of("kabylake", "checked").process())
    assert checked.ask(WRITE_MSR, struct.pack("<IQ", 0x610, 0)[:11], 0).error == Win32.INVALID_PARAMETER
    system = system_of("kabylake")
    assert Client(system.process()).ask(WRITE_MSR, struct.pack("<I", 0x610), 0).ok
    assert system.machine.msr.read(0, 0x610) == 0


def test_everybody_may_open_the_original_and_administrators_the_checked_variant() -> None:
    assert Client(system_of("kabylake").process(administrator=False)).read(0x606) == 0xA0E03
    system = system_of("kabylake", "checked")
    with pytest.raises(Win32Error) as refused:
        system.process(administrator=False).create_file(PATH, READ)
    assert refused.value.winerror == Win32.ACCESS_DENIED


def test_what_the_simulated_machine_does_not_have_is_an_error_as_on_one_without_it(
    quiet: dict[Variant, Client],
) -> None:
    for client in quiet.values():
        assert client.ask(READ_PMC, b"\0" * 4, 8).error == Win32.GEN_FAILURE
        assert client.ask(READ_MEMORY, b"\0" * 16, 8).error == Win32.INVALID_PARAMETER
        assert client.ask(READ_PCI_CONFIG, b"\0" * 8, 4).error == win32_of(PCI_BUS_NOT_EXIST)
        assert client.ask(READ_PCI_CONFIG, b"\0" * 7, 4).error == Win32.INVALID_PARAMETER
    assert quiet["checked"].ask(READ_PMC, b"\0" * 4, 7).error == Win32.INSUFFICIENT_BUFFER
    assert quiet["original"].ask(HALT, None, 0).ok
    assert quiet["checked"].ask(HALT, None, 0).error == Win32.NOT_SUPPORTED


KNOWN = {
    code.value
    for code in (GET_DRIVER_VERSION, GET_REFCOUNT, READ_MSR, WRITE_MSR, READ_PMC, HALT, READ_MEMORY, READ_PCI_CONFIG)
}
ANSWERS = {Win32.SUCCESS, Win32.GEN_FAILURE, Win32.INVALID_PARAMETER, Win32.INSUFFICIENT_BUFFER, Win32.NOT_SUPPORTED}


@given(
    code=st.sampled_from(sorted(KNOWN)) | st.integers(0, 0xFFFFFFFF),
    data=st.binary(max_size=16).filter(lambda data: data[:2] not in (b"\x10\x06", b"\1\6")),
    size=st.integers(0, 16),
)
def test_whatever_is_sent_the_checked_variant_has_one_of_the_known_answers(
    quiet: dict[Variant, Client], code: int, data: bytes, size: int
) -> None:
    done = quiet["checked"].ask(code, data, size)
    if code in KNOWN:
        assert done.error in {*ANSWERS, win32_of(PCI_BUS_NOT_EXIST)}
    elif CtlCode.of(code).access & 2:
        assert done.error == Win32.ACCESS_DENIED
    else:
        assert done.error == Win32.INVALID_FUNCTION
    assert done.overrun == b""


@given(code=st.integers(0, 0xFFFFFFFF).filter(lambda code: code not in KNOWN))
def test_a_code_that_the_original_does_not_know_is_not_implemented(quiet: dict[Variant, Client], code: int) -> None:
    denied = bool(CtlCode.of(code).access & 2)
    done = quiet["original"].ask(code, b"\6\6\0\0", 8)
    assert (done.ok, done.returned) == (False, None)
    assert done.error == (Win32.ACCESS_DENIED if denied else Win32.INVALID_FUNCTION)


@pytest.mark.parametrize("variant", BOTH)
def test_unloading_takes_the_name_along_and_loading_brings_it_back(variant: Variant) -> None:
    system = system_of("kabylake", variant)
    (driver,) = system.kernel.drivers
    assert system.unload(driver)
    with pytest.raises(Win32Error) as gone:
        system.process().create_file(PATH, READ)
    assert gone.value.winerror == Win32.FILE_NOT_FOUND
    system.kernel.load(driver)
    assert Client(system.process()).ask(GET_REFCOUNT, None, 4).output == b"\1\0\0\0"
