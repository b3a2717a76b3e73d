# SPDX-License-Identifier: Apache-2.0
"""PawnIO: loading a module into a handle, and reading registers through it."""

import struct
from errno import EIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator import Machine
from raplica_simulator.hardware.registers import CpuId
from raplica_simulator.windows.ctl_code import CtlCode
from raplica_simulator.windows.nt_status import NtStatus, Win32, Win32Error, win32_of
from raplica_simulator.windows.pawnio import ALREADY_INITIALIZED, EXECUTE, LOAD, VERSION, PawnIoDriver
from raplica_simulator.windows.pawnio_modules import INVALID_SIGNATURE, MODULES, load_module, module_blob
from raplica_simulator.windows.system import WindowsSystem
from raplica_simulator.windows.win32_calls import Completion, Win32Calls

PATH = "\\\\?\\GLOBALROOT\\Device\\PawnIO"
READ_WRITE = 0xC0000000
FAULT = NtStatus.PRIVILEGED_INSTRUCTION

RAPL = {
    "IntelMSR": {0x606, 0x610, 0x611, 0x613, 0x614, 0x618, 0x619, 0x61B, 0x61C}
    | {0x638, 0x639, 0x63A, 0x63B, 0x640, 0x641, 0x642, 0x64D},
    "AMDFamily17": {0xC0010299, 0xC001029A, 0xC001029B},
}


class Client:
    """A process with one open handle, which asks as LibreHardwareMonitor does."""

    def __init__(self, process: Win32Calls, module: str | None = None) -> None:
        self.process = process
        self.handle = process.create_file(PATH, READ_WRITE)
        if module is not None:
            assert self.load(module_blob(module)).ok

    def ask(self, code: CtlCode | int, data: bytes | None, size: int) -> Completion:
        return self.process.device_io_control(self.handle, int(code), data, size)

    def load(self, blob: bytes | None) -> Completion:
        return self.ask(LOAD, blob, 0)

    def call(self, name: str, *arguments: int, size: int = 8) -> Completion:
        return self.ask(EXECUTE, struct.pack(f"<32s{len(arguments)}Q", name.encode(), *arguments), size)

    def read(self, register: int) -> int:
        done = self.call("ioctl_read_msr", register)
        assert (done.ok, done.returned) == (True, 8), done
        return int.from_bytes(done.output, "little")


def system_of(profile: str) -> WindowsSystem:
    return WindowsSystem.with_driver(Machine.from_profile(profile), PawnIoDriver())


@pytest.fixture(scope="module")
def quiet() -> Client:
    """A client with a module, for questions that change nothing."""
    return Client(system_of("kabylake").process(), "IntelMSR")


def test_the_codes_are_those_that_clients_send() -> None:
    assert [code.value for code in (LOAD, EXECUTE, VERSION)] == [0xA1B22084, 0xA1B22104, 0xA1B22184]


def test_a_module_lets_the_rapl_registers_through() -> None:
    for name, registers in RAPL.items():
        assert registers <= MODULES[name].readable
        assert MODULES[name].writable <= MODULES[name].readable
    assert 0x65C not in MODULES["IntelMSR"].readable
    assert 0x612 not in MODULES["IntelMSR"].readable


@pytest.mark.parametrize(
    ("profile", "module", "register"),
    [
        ("kabylake", "IntelMSR", 0x611),
        ("skylake-sp-2s", "IntelMSR", 0x619),
        ("zen2-epyc-2s", "AMDFamily17", 0xC001029B),
        ("zen4", "AMDFamily17", 0xC001029A),
    ],
)
def test_what_is_read_is_the_register_of_the_processor_that_the_thread_runs_on(
    profile: str, module: str, register: int
) -> None:
    system = system_of(profile)
    client = Client(system.process(), module)
    places = system.kernel.processors.active[::10]
    seen: dict[int, list[int]] = {}
    for one in places:
        system.machine.msr.poke(one.cpu.number, register, 0xFFFFFF00 + one.index)
    for _ in range(3):
        for one in places:
            client.process.set_thread_group_affinity(one.group, 1 << one.number)
            assert client.read(register) == system.machine.msr.read(one.cpu.number, register)
            seen.setdefault(one.index, []).append(client.read(register))
        system.machine.clock.advance(seconds=100)
    wide = profile == "zen4"  # whose counters have 64 bits
    assert all((values[1] > 0xFFFFFFFF) if wide else (values[1] < values[0]) for values in seen.values())
    packages = system.machine.profile.topology.packages
    assert len({tuple(values) for values in seen.values()}) >= packages


def test_the_counter_gives_the_truth_across_a_wrap_to_a_client_that_subtracts_modulo_2_to_the_32() -> None:
    system = system_of("kabylake")
    client = Client(system.process(), "IntelMSR")
    system.machine.msr.poke(0, 0x611, 0xFFFFFFF0)
    before_j, first = system.machine.truth_uj("package-0"), client.read(0x611)
    system.machine.clock.advance(seconds=60)
    last = client.read(0x611)
    assert last < first
    spent_uj = (last - first) % (1 << 32) * 10**6 / (1 << 14)
    assert abs(spent_uj - (system.machine.truth_uj("package-0") - before_j)) <= 10**6 / (1 << 14) + 1


def test_only_administrators_may_open_it() -> None:
    system = system_of("kabylake")
    for path in (PATH, "\\\\.\\PawnIO"):
        with pytest.raises(Win32Error) as refused:
            system.process(administrator=False).create_file(path, READ_WRITE)
        assert refused.value.winerror == Win32.ACCESS_DENIED
        assert system.process().create_file(path, READ_WRITE)


@pytest.mark.parametrize(("profile", "module"), [("kabylake", "AMDFamily17"), ("zen4", "IntelMSR")])
def test_a_module_for_another_vendor_is_not_supported_and_leaves_the_handle_free(profile: str, module: str) -> None:
    client = Client(system_of(profile).process())
    done = client.load(module_blob(module))
    assert (done.ok, done.error, done.returned) == (False, Win32.NOT_SUPPORTED, None)
    assert client.call("ioctl_read_msr", 0x606).error == Win32.INVALID_PARAMETER
    (other,) = set(MODULES) - {module}
    assert client.load(module_blob(other)).ok


@pytest.mark.parametrize(
    ("vendor", "family", "accepted"),
    [
        ("AuthenticAMD", 0x16, False),
        ("AuthenticAMD", 0x17, True),
        ("AuthenticAMD", 0x1A, True),
        ("AuthenticAMD", 0x1B, False),
        ("HygonGenuine", 0x18, False),
    ],
)
def test_the_module_for_amd_accepts_zen_and_nothing_else(vendor: str, family: int, accepted: bool) -> None:  # noqa: FBT001
    found = load_module(module_blob("AMDFamily17"), CpuId(vendor, family, 1, 0))
    assert found == (MODULES["AMDFamily17"] if accepted else NtStatus.NOT_SUPPORTED)


def test_a_handle_takes_one_module_and_forgets_it_when_it_is_closed() -> None:
    process = system_of("kabylake").process()
    client = Client(process, "IntelMSR")
    assert client.load(module_blob("IntelMSR")).error == win32_of(ALREADY_INITIALIZED)
    other = Client(process)
    assert other.call("ioctl_read_msr", 0x606).error == Win32.INVALID_PARAMETER
    process.close_handle(client.handle)
    assert client.call("ioctl_read_msr", 0x606).error == Win32.INVALID_HANDLE
    assert Client(process).call("ioctl_read_msr", 0x606).error == Win32.INVALID_PARAMETER


@given(blob=st.binary(max_size=80))
def test_what_is_no_signed_module_is_refused(blob: bytes) -> None:
    found = load_module(blob, CpuId("GenuineIntel", 6, 85, 4))
    framed = len(blob) >= 4 and int.from_bytes(blob[:4], "little") <= len(blob) - 4
    assert found == (INVALID_SIGNATURE if framed else NtStatus.INVALID_PARAMETER)


@given(data=st.data())
def test_a_module_that_was_changed_anywhere_is_refused(data: st.DataObject) -> None:
    blob = bytearray(module_blob("IntelMSR"))
    at = data.draw(st.integers(0, len(blob) - 1))
    blob[at] ^= data.draw(st.integers(1, 255))
    found = load_module(bytes(blob), CpuId("GenuineIntel", 6, 85, 4))
    assert found in (INVALID_SIGNATURE, NtStatus.INVALID_PARAMETER)


def test_a_driver_that_refuses_a_module_says_so_to_the_client() -> None:
    client = Client(system_of("kabylake").process())
    assert client.load(None).error == Win32.INVALID_PARAMETER
    assert client.load(b"\0\0\0\0IntelMSR").error == win32_of(INVALID_SIGNATURE)


@pytest.mark.parametrize("count", [0, 2, 3])
@pytest.mark.parametrize("cells", [0, 1, 2])
def test_reading_takes_one_cell_and_gives_one(quiet: Client, count: int, cells: int) -> None:
    done = quiet.call("ioctl_read_msr", *[0x606] * count, size=8 * cells)
    assert (done.ok, done.error, done.returned) == (False, Win32.INVALID_PARAMETER, None)
    assert done.output == b"\xcc" * 8 * cells


@pytest.mark.parametrize("cells", [0, 2])
def test_an_output_of_another_size_is_refused(quiet: Client, cells: int) -> None:
    assert quiet.call("ioctl_read_msr", 0x606, size=8 * cells).error == Win32.INVALID_PARAMETER


def test_bytes_behind_the_last_cell_do_not_count_and_come_back_as_they_went_in(quiet: Client) -> None:
    request = struct.pack("<32sQ", b"ioctl_read_msr", 0x606) + b"\1\2\3"
    done = quiet.ask(EXECUTE, request, 15)
    assert (done.ok, done.returned) == (True, 15)
    assert done.output == struct.pack("<Q", quiet.read(0x606)) + b"ioctl_read_msr"[8:].ljust(7, b"\0")


@pytest.mark.parametrize(
    "name", [b"", b"ioctl_read_ms\xff"[:9], b"read_msr", b"main", b"IOCTL_read_msr", b"ioctl_" + b"x" * 26]
)
def test_a_name_that_is_none_is_refused(quiet: Client, name: bytes) -> None:
    error = Win32.FILE_NOT_FOUND if name.startswith(b"ioctl_") and len(name) < 32 else Win32.INVALID_PARAMETER
    assert quiet.ask(EXECUTE, struct.pack("<32sQ", name, 0x606), 8).error == error


def test_a_function_that_the_module_does_not_have_is_not_found(quiet: Client) -> None:
    assert quiet.call("ioctl_read_smn", 0).error == Win32.FILE_NOT_FOUND


def test_a_register_that_is_not_on_the_list_is_denied_whether_it_exists_or_not(quiet: Client) -> None:
    assert quiet.call("ioctl_read_msr", 0x65C).error == Win32.ACCESS_DENIED
    assert quiet.call("ioctl_read_msr", 0x10).error == Win32.ACCESS_DENIED
    assert quiet.call("ioctl_read_msr", 0xFFFFFFFF_00000606).ok  # a cell has 64 bits, a register's number 32


def test_an_absent_register_on_the_list_faults_and_gives_no_bytes() -> None:
    system = system_of("skylake-sp-2s")
    client = Client(system.process(), "IntelMSR")
    done = client.call("ioctl_read_msr", 0x198)
    assert (done.ok, done.error, done.returned, done.output) == (False, FAULT, None, b"\xcc" * 8)
    system.machine.msr.inject(0, 0x611, on="read", errno=EIO, times=1)
    assert client.call("ioctl_read_msr", 0x611).error == FAULT
    assert client.read(0x611) == system.machine.msr.read(0, 0x611)


def test_a_power_limit_can_be_written_and_binds() -> None:
    system = system_of("skylake-sp-2s")
    client = Client(system.process(cpu=40), "IntelMSR")
    raw = client.read(0x610)
    changed = (raw & ~0x7FFF) | 60 * 8 | 1 << 15
    done = client.call("ioctl_write_msr", 0x610, changed, size=0)
    assert (done.ok, done.returned) == (True, 0)
    assert system.machine.msr.read(20, 0x610) == changed
    assert system.machine.msr.read(0, 0x610) == raw


def test_writing_is_for_the_listed_registers_and_for_what_they_take() -> None:
    system = system_of("kabylake")
    client = Client(system.process(), "IntelMSR")
    assert client.call("ioctl_write_msr", 0x611, 0, size=0).error == Win32.ACCESS_DENIED
    assert client.call("ioctl_write_msr", 0x610, size=0).error == Win32.INVALID_PARAMETER
    system.machine.msr.inject(0, 0x610, on="write", errno=EIO)
    assert client.call("ioctl_write_msr", 0x610, 0, size=0).error == FAULT


def test_the_version_fits_four_bytes_exactly(quiet: Client) -> None:
    assert quiet.ask(VERSION, None, 4).output == b"\0\1\2\0"
    assert [quiet.ask(VERSION, None, size).error for size in (0, 3, 5)] == [Win32.INVALID_PARAMETER] * 3


@given(
    code=st.sampled_from([LOAD.value, EXECUTE.value, VERSION.value]) | st.integers(0, 0xFFFFFFFF),
    data=st.none() | st.binary(max_size=80),
    size=st.integers(0, 80),
)
def test_whatever_is_sent_there_is_one_of_the_known_answers(
    quiet: Client, code: int, data: bytes | None, size: int
) -> None:
    done = quiet.ask(code, data, size)
    if done.ok:
        assert code == VERSION.value
        assert (size, done.returned) == (4, 4)
    else:
        assert done.returned is None
        assert done.output == b"\xcc" * size
        assert done.error in (Win32.INVALID_PARAMETER, Win32.INVALID_FUNCTION, win32_of(ALREADY_INITIALIZED))
        assert (done.error == Win32.INVALID_FUNCTION) == (code not in (LOAD.value, EXECUTE.value, VERSION.value))
    assert done.overrun == b""


@given(name=st.binary(max_size=40), arguments=st.lists(st.integers(0, (1 << 64) - 1), max_size=4))
def test_calls_of_any_name_and_length_never_fail_otherwise(quiet: Client, name: bytes, arguments: list[int]) -> None:
    done = quiet.ask(EXECUTE, name + struct.pack(f"<{len(arguments)}Q", *arguments), 8)
    assert done.error in (Win32.INVALID_PARAMETER, Win32.FILE_NOT_FOUND)


def test_unloading_takes_device_and_link_along() -> None:
    system = system_of("kabylake")
    (driver,) = system.kernel.drivers
    assert system.unload(driver)
    for path in (PATH, "\\\\.\\PawnIO"):
        with pytest.raises(Win32Error) as gone:
            system.process().create_file(path, READ_WRITE)
        assert gone.value.winerror == Win32.FILE_NOT_FOUND
    system.kernel.load(driver)
    assert Client(system.process(), "IntelMSR").read(0x606) == 0xA0E03
