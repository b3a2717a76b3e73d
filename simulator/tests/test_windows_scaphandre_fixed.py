# SPDX-License-Identifier: Apache-2.0
"""Windows: the Scaphandre driver with its defects mended, all of them or a choice."""

import struct

import pytest

from raplica_simulator import Machine
from raplica_simulator.windows.ctl_code import Method
from raplica_simulator.windows.nt_status import BugCheck, NtStatus, Win32Error
from raplica_simulator.windows.scaphandre_driver import ScaphandreDriver
from raplica_simulator.windows.scaphandre_versions import Defect
from raplica_simulator.windows.system import WindowsSystem
from raplica_simulator.windows.win32_calls import Completion

from .scaphandre import ABSENT, AMD, BUFFERED, CODE, DIRECT, LISTS, NEW, RW, STALE, UNGUARDED, ask, opened, word


@pytest.fixture(scope="module")
def machine() -> Machine:
    return Machine.from_profile("kabylake")


@pytest.mark.parametrize("version", sorted(DIRECT | BUFFERED))
def test_a_fixed_driver_refuses_what_the_real_one_mishandles(machine: Machine, version: str) -> None:
    direct = version in DIRECT
    code = 0x00226FAE if direct else CODE
    request = None if direct else (0x606).to_bytes(4 if version == "v2-4" else 8, "little")
    process, handle = opened(machine, version, fixed=True)
    for size in range(8):
        assert process.device_io_control(handle, code, request, size) == Completion(False, 122, None, b"\xcc" * size)
    for method in Method:
        fits = method in (Method.IN_DIRECT, Method.OUT_DIRECT) if direct else method is Method.BUFFERED
        done = process.device_io_control(handle, code & ~3 | method, request, 8)
        assert (done.ok, done.error) == (fits, 0 if fits else 1)
    done = process.device_io_control(handle, code, request, 20)
    assert done.returned == (20 if version == "v0-ones" else 8)
    assert not process.system.kernel.findings


@pytest.mark.parametrize("version", sorted(UNGUARDED))
def test_a_fixed_driver_has_a_guard(version: str) -> None:
    process, handle = opened(Machine.from_profile("zen4"), version, fixed=True)
    code, request = (0x00226FAE, None) if version in DIRECT else (CODE, struct.pack("<Q", 0x606))
    if version == "v2-4":
        request = struct.pack("<I", 0x606)
    done = process.device_io_control(handle, code, request, 8)
    assert done == Completion(False, 1 if version in LISTS else 1117, None, b"\xcc" * 8)


@pytest.mark.parametrize("version", sorted(STALE))
def test_a_fixed_driver_takes_its_link_along(machine: Machine, version: str) -> None:
    system = WindowsSystem(machine, stale_link=NtStatus.OBJECT_PATH_NOT_FOUND)
    driver = ScaphandreDriver(version, fixed=True)
    system.kernel.load(driver)
    system.unload(driver)
    with pytest.raises(Win32Error, match=r"^\[WinError 2\]"):
        system.process().create_file(NEW, RW)


@pytest.mark.parametrize("version", sorted(LISTS))
def test_a_fixed_driver_knows_amds_registers(version: str) -> None:
    machine = Machine.from_profile("zen4")
    process, handle = opened(machine, version, fixed=True)
    for register in AMD:
        assert word(ask(process, handle, register)) == machine.msr.read(0, register)
    assert ask(process, handle, 0x606).error == 1


def test_a_driver_may_have_any_choice_of_defects(machine: Machine) -> None:
    driver = ScaphandreDriver("v3.2", defects=["stale-link", Defect.NO_GUARD])
    assert driver.defects == {Defect.STALE_LINK, Defect.NO_GUARD}
    assert repr(driver) == "<ScaphandreDriver v3.2, 2 defects>"
    process = WindowsSystem.with_driver(machine, driver).process()
    handle = process.create_file(NEW, RW)
    assert ask(process, handle, 0x606, size=7).error == 122
    with pytest.raises(BugCheck):
        ask(process, handle, ABSENT)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"version": "v9"}, r"no version 'v9' .* take v0-none, .*v3\.2$"),
        ({"defects": ["slow"]}, "'slow' is not a valid Defect"),
        ({"fixed": True, "defects": ["no-guard"]}, "one or the other"),
    ],
)
def test_what_does_not_exist_is_refused_in_a_line(options: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        ScaphandreDriver(**options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("profile", ["skylake-sp-2s", "zen2-epyc-2s"])
def test_a_fixed_driver_reads_each_cpu_of_both_packages(profile: str) -> None:
    machine = Machine.from_profile(profile)
    machine.load.set(package=100, on_package=1)
    machine.clock.advance(seconds=10)
    process, handle = opened(machine, "v3.2", fixed=True)
    register = 0xC001029B if profile.startswith("zen") else 0x611
    home = process.thread.cpu
    for processor in process.system.kernel.processors.active:
        value = word(ask(process, handle, register, processor.index))
        assert value == machine.msr.read(processor.cpu.number, register)
        assert process.thread.cpu == home
