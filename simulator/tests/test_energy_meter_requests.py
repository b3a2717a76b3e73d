# SPDX-License-Identifier: Apache-2.0
"""Windows' energy meters: requests that are refused, fail, or come after a reboot."""

from errno import EIO
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator import Machine
from raplica_simulator.windows.ctl_code import Access, CtlCode, Method
from raplica_simulator.windows.energy_meter import EnergyMeterDriver
from raplica_simulator.windows.energy_meter_layout import (
    GET_MEASUREMENT,
    GET_METADATA,
    GET_METADATA_SIZE,
    GET_VERSION,
    GUID_DEVICE_ENERGY_METER,
)
from raplica_simulator.windows.nt_status import Win32, Win32Error
from raplica_simulator.windows.system import WindowsSystem

from .emi_program import J_PER_PWH, READ, Meter, energies, meters


@pytest.fixture(scope="module")
def kabylake() -> Meter:
    """A meter for questions that change nothing."""
    (meter,) = meters(Machine.from_profile("kabylake"))
    return meter


@pytest.mark.parametrize(("access", "error"), [(READ, 0), (0xC0000000, 0), (0x40000000, 5), (0, 5)])
def test_every_request_needs_read_access_and_nothing_more(access: int, error: int) -> None:
    process = WindowsSystem.with_driver(Machine.from_profile("kabylake"), EnergyMeterDriver()).process(
        administrator=False
    )
    (path,) = process.device_interfaces(GUID_DEVICE_ENERGY_METER)
    meter = Meter(process, path, access)
    for code in (GET_VERSION, GET_METADATA_SIZE, GET_METADATA, GET_MEASUREMENT):
        assert meter.ask(code, 500).error == error


@pytest.mark.parametrize(
    ("code", "size"), [(GET_VERSION, 2), (GET_METADATA_SIZE, 4), (GET_METADATA, 238), (GET_MEASUREMENT, 64)]
)
def test_a_buffer_may_be_longer_than_the_answer_and_not_shorter(kabylake: Meter, code: CtlCode, size: int) -> None:
    for short in {0, 1, size // 2, size - 1}:
        done = kabylake.ask(code, short)
        assert (done.ok, done.error, done.returned) == (False, Win32.INSUFFICIENT_BUFFER, None)
        assert done.output + done.overrun == b"\xcc" * short
    for longer in (0, 1, 100):
        done = kabylake.ask(code, size + longer)
        assert (done.ok, done.returned, done.output[size:]) == (True, size, b"\xcc" * longer)


def test_the_input_is_not_looked_at(kabylake: Meter) -> None:
    assert kabylake.ask(GET_VERSION, 2, b"\xff" * 300).output == b"\2\0"


KNOWN = {code.value for code in (GET_VERSION, GET_METADATA_SIZE, GET_METADATA, GET_MEASUREMENT)}


@given(code=st.integers(0, 0xFFFFFFFF), data=st.none() | st.binary(max_size=64), size=st.integers(0, 300))
def test_whatever_is_asked_there_is_one_of_the_known_answers(
    kabylake: Meter, code: int, data: bytes | None, size: int
) -> None:
    done = kabylake.ask(code, size, data)
    if code not in KNOWN:
        denied = bool(CtlCode.of(code).access & Access.WRITE)
        assert done.error == (Win32.ACCESS_DENIED if denied else Win32.INVALID_FUNCTION)
    assert done.overrun == b""


@given(function=st.integers(4, 0xFFF), method=st.sampled_from(Method), size=st.integers(0, 80))
def test_a_function_that_emi_does_not_have_is_refused(
    kabylake: Meter, function: int, method: Method, size: int
) -> None:
    done = kabylake.ask(CtlCode(0x22, function, method, Access.READ), size)
    assert (done.ok, done.error, done.returned) == (False, Win32.INVALID_FUNCTION, None)
    assert done.output == b"\xcc" * size


def test_a_register_that_fails_later_is_an_error_and_nothing_is_lost() -> None:
    machine = Machine.from_profile("kabylake")
    (meter,) = meters(machine)
    before = energies([meter])["RAPL_Package0_PKG"]
    machine.msr.inject(0, 0x619, on="read", errno=EIO)
    machine.clock.advance(seconds=86400)
    done = meter.ask(GET_MEASUREMENT, 64)
    assert (done.ok, done.error, done.returned) == (False, Win32.IO_DEVICE, None)
    assert done.output == b"\xcc" * 64
    assert meter.version == 2
    machine.msr.inject(0, 0x619, on="read", errno=None)
    spent_j = (energies([meter])["RAPL_Package0_PKG"] - before) * J_PER_PWH
    assert abs(spent_j - machine.truth_joules("package-0")) <= Fraction(1, 1 << 14)


def test_the_processors_driver_cannot_be_unloaded_and_is_there_again_after_a_reboot() -> None:
    driver = EnergyMeterDriver()
    system = WindowsSystem.with_driver(Machine.from_profile("skylake-sp-2s"), driver)
    system.boot_steps.append(lambda system: system.kernel.load(driver))
    with pytest.raises(Win32Error, match="1052"):
        system.unload(driver)
    process = system.process()
    paths = process.device_interfaces(GUID_DEVICE_ENERGY_METER)
    old = Meter(process, paths[0])
    first = energies([old])
    system.machine.clock.advance(seconds=100_000)
    assert energies([old])["RAPL_Package0_PKG"] > first["RAPL_Package0_PKG"]
    system.reboot()
    assert old.ask(GET_VERSION, 2).error == Win32.INVALID_HANDLE
    assert process.device_interfaces(GUID_DEVICE_ENERGY_METER) == paths
    assert energies([Meter(process, paths[0])]) == first


def test_a_closed_meter_answers_nothing(kabylake: Meter) -> None:
    (path,) = kabylake.process.device_interfaces(GUID_DEVICE_ENERGY_METER.lower())
    other = Meter(kabylake.process, path)
    kabylake.process.close_handle(other.handle)
    assert other.ask(GET_VERSION, 2).error == Win32.INVALID_HANDLE
    assert kabylake.version == 2
