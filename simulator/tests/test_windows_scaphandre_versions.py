# SPDX-License-Identifier: Apache-2.0
"""Windows: the Scaphandre driver, version by version, against what its sources say."""

from collections.abc import Callable
from pathlib import Path

import pytest

from raplica_simulator import Machine
from raplica_simulator.windows.ctl_code import Access, CtlCode, Method
from raplica_simulator.windows.driver_clients import CLIENTS
from raplica_simulator.windows.nt_status import BugCheck
from raplica_simulator.windows.scaphandre_versions import VERSIONS, Defect
from raplica_simulator.windows.win32_calls import Completion

from .scaphandre import BUFFERED, CODE, DIRECT, ask, opened, word


@pytest.fixture(scope="module")
def machine() -> Machine:
    return Machine.from_profile("kabylake")


def test_the_first_driver_succeeds_and_says_nothing(machine: Machine) -> None:
    process, handle = opened(machine, "v0-none")
    assert process.device_io_control(handle, CODE, b"anything", 8) == Completion(True, 0, 0, b"\xcc" * 8)


@pytest.mark.parametrize("size", [1, 8, 20])
@pytest.mark.parametrize("method", [Method.IN_DIRECT, Method.OUT_DIRECT])
def test_the_plumbing_test_fills_the_buffer_with_ones(machine: Machine, size: int, method: Method) -> None:
    process, handle = opened(machine, "v0-ones")
    done = process.device_io_control(handle, CtlCode(0x22, 5, method).value, None, size)
    assert done == Completion(True, 0, size, b"\1" * size)


@pytest.mark.parametrize("function", [0, 0xBED, 0xFFF])
def test_the_next_one_gives_the_unit_whatever_the_code(machine: Machine, function: int) -> None:
    process, handle = opened(machine, "v0-unit")
    done = process.device_io_control(handle, CtlCode(0x22, function, Method.OUT_DIRECT).value, b"x", 8)
    assert word(done) == machine.msr.read(0, 0x606)


@pytest.mark.parametrize(("function", "register"), [(0xBEB, 0x606), (0xBEC, 0x610), (0xBED, 0x611)])
def test_version_1_has_a_function_code_for_each_register(machine: Machine, function: int, register: int) -> None:
    process, handle = opened(machine, "v1")
    code = CtlCode(0x22, function, Method.OUT_DIRECT, Access.READ).value
    assert word(process.device_io_control(handle, code, None, 8)) == machine.msr.read(0, register)


@pytest.mark.parametrize("function", [0, 0x606, 0x611, 0xBEA, 0xBEE, 0xFFF])
def test_version_1_refuses_any_other_function_code(machine: Machine, function: int) -> None:
    process, handle = opened(machine, "v1")
    done = process.device_io_control(handle, CtlCode(0x22, function, Method.OUT_DIRECT).value, None, 8)
    assert done == Completion(False, 1, None, b"\xcc" * 8)


@pytest.mark.parametrize("size", [1, 7, 9, 100])
def test_version_1_counts_the_whole_buffer_and_writes_eight_bytes(machine: Machine, size: int) -> None:
    process, handle = opened(machine, "v1")
    done = process.device_io_control(handle, 0x00226FAE, None, size)
    value = machine.msr.read(0, 0x606).to_bytes(8, "little")
    assert (done.ok, done.returned) == (True, size)
    assert done.output + done.overrun == value.ljust(size, b"\xcc")


@pytest.mark.parametrize("version", sorted(DIRECT))
@pytest.mark.parametrize(
    ("code", "size"), [(CODE, 8), (0x0022EFAC, 8), (0x00226FAE, 0), (0x00226FAF, 8)], ids=["rw", "agent", "none", "raw"]
)
def test_before_version_2_a_request_without_a_mapped_buffer_stops_the_machine(
    machine: Machine, version: str, code: int, size: int
) -> None:
    process, handle = opened(machine, version)
    with pytest.raises(BugCheck, match="bug check 0x3b: RAPLDrvService mapped the output buffer"):
        process.device_io_control(handle, code, None, size)


@pytest.mark.parametrize("version", sorted(DIRECT))
def test_before_version_2_a_buffer_that_cannot_be_mapped_is_an_error(machine: Machine, version: str) -> None:
    process, handle = opened(machine, version)
    process.system.kernel.can_map = False
    assert process.device_io_control(handle, 0x00226FAE, None, 8) == Completion(False, 1450, None, b"\xcc" * 8)


@pytest.mark.parametrize("version", sorted(BUFFERED))
@pytest.mark.parametrize("length", range(17))
def test_from_version_2_on_one_input_length_is_right(machine: Machine, version: str, length: int) -> None:
    process, handle = opened(machine, version)
    done = process.device_io_control(handle, CODE, (0x606).to_bytes(2, "little").ljust(length, b"\0")[:length], 8)
    if length == (4 if version == "v2-4" else 8):
        assert word(done) == machine.msr.read(0, 0x606)
    else:
        assert done == Completion(False, 1, None, b"\xcc" * 8)


@pytest.mark.parametrize("version", sorted(BUFFERED))
def test_from_version_2_on_no_input_is_a_wrong_length(machine: Machine, version: str) -> None:
    process, handle = opened(machine, version)
    for code in (CODE, CODE | Method.OUT_DIRECT, CODE | Method.NEITHER):
        assert process.device_io_control(handle, code, None, 8).error == 1


@pytest.mark.parametrize("version", ["v2-4", "v2-8"])
def test_the_first_two_of_version_2_have_three_registers_for_tests(
    make_machine: Callable[..., Machine], version: str
) -> None:
    machine = make_machine()
    process, handle = opened(machine, version)
    size = 4 if version == "v2-4" else 8

    def read(register: int) -> int:
        return word(process.device_io_control(handle, CODE, register.to_bytes(size, "little"), 8))

    assert (read(1), read(2)) == (0x1111111111111111, 0x2222222222222222)
    before = read(3)
    machine.clock.advance(seconds=2)
    assert read(3) - before == 20_000_000
    year_1601_to_2024_s = before // 10_000_000
    assert year_1601_to_2024_s == 154_497 * 24 * 3600


def test_they_are_gone_in_the_version_after(machine: Machine) -> None:
    process, handle = opened(machine, "v2-8-open")
    with pytest.raises(BugCheck, match="register 0x1, which faults here"):
        process.device_io_control(handle, CODE, (1).to_bytes(8, "little"), 8)


@pytest.mark.parametrize("version", ["v2-4", "v2-8", "v2-8-open"])
def test_before_there_was_a_list_any_register_is_read(machine: Machine, version: str) -> None:
    process, handle = opened(machine, version)
    request = (0x1B2).to_bytes(4 if version == "v2-4" else 8, "little")
    assert word(process.device_io_control(handle, CODE, request, 8)) == machine.msr.read(0, 0x1B2)


@pytest.mark.parametrize("high", [0, 1, 0xFFFFFFFF])
@pytest.mark.parametrize("version", ["v2-8", "v2-8-open", "v2-8-allow"])
def test_version_2_takes_the_low_half_of_eight_bytes(machine: Machine, version: str, high: int) -> None:
    process, handle = opened(machine, version)
    assert word(ask(process, handle, 0x610, high)) == machine.msr.read(0, 0x610)
    assert process.system.kernel.findings["ScaphandreDrv: wrote 4 bytes behind a variable on the stack"] == (
        1 if version != "v2-8" else 0
    )


def test_the_manual_has_a_row_for_each_version_and_each_defect() -> None:
    lines = (Path(__file__).resolve().parents[2] / "docs" / "windows.md").read_text(encoding="utf-8").splitlines()
    rows = {line.split("`")[1]: [cell.strip() for cell in line.split("|")[2:]] for line in lines if line[:3] == "| `"}
    for version in VERSIONS.values():
        transfer = "none" if version.tag == "v0-none" else "direct" if version.tag in DIRECT else "buffered"
        assert rows[version.tag][:3] == [version.commits, version.device, transfer]
    for defect in Defect:
        assert rows[defect][0] == " ".join(f"`{row.tag}`" for row in VERSIONS.values() if defect in row.defects)
    for name, client in CLIENTS.items():
        code = client.code(0x611)
        assert code is not None
        assert rows[name][0] == f"0x{code.value:08X}"
