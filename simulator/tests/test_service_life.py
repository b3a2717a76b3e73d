# SPDX-License-Identifier: Apache-2.0
"""The service control manager: drivers that start, stop, fail to start, or need other drivers."""

from functools import partial

import pytest

from raplica_simulator.windows.nt_status import NtStatus, Win32, Win32Error
from raplica_simulator.windows.service_control import ServiceCalls
from raplica_simulator.windows.service_database import ControlRefused
from raplica_simulator.windows.service_names import (
    Accepted,
    Control,
    ServiceState,
    ServiceStatus,
    ServiceType,
    StartType,
    needed_right,
)
from raplica_simulator.windows.system import WindowsSystem

from .plain_driver import DRIVER, FOLDER, create, image, refused, state


def test_a_service_goes_from_never_started_to_running_and_back_and_its_device_with_it(
    system: WindowsSystem, services: ServiceCalls
) -> None:
    process = system.process()
    handle = create(services, image(system, "probe"))
    assert services.query_service_status(handle) == ServiceStatus(
        DRIVER, ServiceState.STOPPED, Accepted.NOTHING, Win32.SERVICE_NEVER_STARTED
    )
    assert refused(lambda: process.create_file("\\\\.\\probe", 0)) == Win32.FILE_NOT_FOUND
    for _ in range(2):
        services.start_service(handle)
        running = ServiceStatus(DRIVER, ServiceState.RUNNING, Accepted.STOP, 0)
        assert services.query_service_status(handle) == running
        assert services.control_service(handle, Control.INTERROGATE) == running
        process.close_handle(process.create_file("\\\\.\\probe", 0))
        assert refused(lambda: services.start_service(handle)) == Win32.SERVICE_ALREADY_RUNNING
        stopped = services.control_service(handle, Control.STOP)
        assert stopped == services.query_service_status(handle)
        assert stopped == ServiceStatus(DRIVER, ServiceState.STOPPED, Accepted.NOTHING, 0)
        assert refused(lambda: process.create_file("\\\\.\\probe", 0)) == Win32.FILE_NOT_FOUND


def test_controls_of_a_stopped_service_and_those_that_a_driver_does_not_take_come_with_its_status(
    system: WindowsSystem, services: ServiceCalls
) -> None:
    handle = create(services, image(system, "probe"))
    for control in (*Control, 128, 255):
        with pytest.raises(ControlRefused) as error:
            services.control_service(handle, control)
        assert error.value.winerror == Win32.SERVICE_NOT_ACTIVE
        assert error.value.status.state == ServiceState.STOPPED
    services.start_service(handle)
    for control in {*Control, 128, 255} - {Control.STOP, Control.INTERROGATE}:
        with pytest.raises(ControlRefused) as error:
            services.control_service(handle, control)
        assert error.value.winerror == Win32.INVALID_SERVICE_CONTROL
        assert error.value.status.state == ServiceState.RUNNING
    for control in (0, 5, 11, 127, 256):
        assert needed_right(control) is None
        assert refused(partial(services.control_service, handle, control)) == Win32.INVALID_PARAMETER


def test_a_driver_without_an_unload_routine_cannot_be_stopped(system: WindowsSystem, services: ServiceCalls) -> None:
    handle = create(services, image(system, "probe", unloads=False))
    services.start_service(handle)
    assert services.query_service_status(handle).controls_accepted == Accepted.NOTHING
    with pytest.raises(ControlRefused) as error:
        services.control_service(handle, Control.STOP)
    assert error.value.winerror == Win32.INVALID_SERVICE_CONTROL
    assert error.value.status.state == ServiceState.RUNNING


def test_open_handles_put_a_stop_off_until_the_last_of_them_is_closed(
    system: WindowsSystem, services: ServiceCalls
) -> None:
    process = system.process()
    handle = create(services, image(system, "probe"))
    services.start_service(handle)
    files = [process.create_file("\\\\.\\probe", 0xC0000000) for _ in range(2)]
    assert services.control_service(handle, Control.STOP).state == ServiceState.STOP_PENDING
    for control in (Control.STOP, Control.INTERROGATE):
        with pytest.raises(ControlRefused) as error:
            services.control_service(handle, control)
        assert error.value.winerror == Win32.SERVICE_CANNOT_ACCEPT_CTRL
        assert error.value.status.state == ServiceState.STOP_PENDING
    assert refused(lambda: services.start_service(handle)) == Win32.SERVICE_ALREADY_RUNNING
    with pytest.raises(Win32Error):
        process.create_file("\\\\.\\probe", 0)
    assert process.device_io_control(files[0], 0x222000).ok  # what is open goes on
    process.close_handle(files[0])
    assert state(services, handle)[0] == ServiceState.STOP_PENDING
    process.exit()
    assert state(services, handle) == (ServiceState.STOPPED, 0)
    services.start_service(handle)
    assert state(services, handle) == (ServiceState.RUNNING, 0)


@pytest.mark.parametrize(
    ("traits", "code"),
    [
        ({"corrupt": True}, Win32.BAD_EXE_FORMAT),
        ({"signature": "none"}, Win32.INVALID_IMAGE_HASH),
        ({"signature": "test"}, Win32.INVALID_IMAGE_HASH),
        ({"signature": "blocked"}, Win32.DRIVER_BLOCKED),
        ({"status": NtStatus.INSUFFICIENT_RESOURCES}, Win32.NO_SYSTEM_RESOURCES),
        ({"status": NtStatus.UNSUCCESSFUL}, Win32.GEN_FAILURE),
        ({"status": NtStatus.NO_SUCH_DEVICE}, Win32.NO_SUCH_DEVICE),
    ],
)
def test_a_start_that_fails_gives_the_error_of_the_image_or_of_its_entry_and_keeps_it_as_exit_code(
    system: WindowsSystem, services: ServiceCalls, traits: dict[str, object], code: Win32
) -> None:
    handle = create(services, image(system, "probe", **traits))
    for _ in range(2):
        assert refused(lambda: services.start_service(handle)) == code
        assert state(services, handle) == (ServiceState.STOPPED, code)
    image(system, "probe")
    services.start_service(handle)
    assert state(services, handle) == (ServiceState.RUNNING, 0)


def test_an_image_or_a_program_that_is_not_there_is_not_found(services: ServiceCalls) -> None:
    for kind in ServiceType:
        handle = create(services, f"{FOLDER}\\none.sys", kind.name, kind=kind)
        assert refused(partial(services.start_service, handle)) == Win32.FILE_NOT_FOUND


def test_a_disabled_service_does_not_start(system: WindowsSystem, services: ServiceCalls) -> None:
    handle = create(services, image(system, "probe"), start=StartType.DISABLED)
    assert refused(lambda: services.start_service(handle)) == Win32.SERVICE_DISABLED
    assert state(services, handle) == (ServiceState.STOPPED, Win32.SERVICE_NEVER_STARTED)


# Dependencies.


def test_what_a_service_needs_is_started_first_and_cannot_be_stopped_before_it(
    system: WindowsSystem, services: ServiceCalls
) -> None:
    base = create(services, image(system, "base"), "base")
    middle = create(services, image(system, "middle"), "middle", dependencies=("BASE",))
    top = create(services, image(system, "top"), "top", dependencies=("middle", "base"))
    services.start_service(top)
    for handle in (base, middle, top):
        assert state(services, handle) == (ServiceState.RUNNING, 0)
    for handle in (base, middle):
        assert refused(partial(services.control_service, handle, Control.STOP)) == 1051
    for handle in (top, middle, base):
        assert services.control_service(handle, Control.STOP).state == ServiceState.STOPPED
    assert services.query_service_config(top).dependencies == ("middle", "base")


def test_a_dependency_that_is_gone_marked_or_fails_lets_the_start_fail(
    system: WindowsSystem, services: ServiceCalls
) -> None:
    handle = create(services, image(system, "top"), "top", dependencies=("base",))
    assert refused(lambda: services.start_service(handle)) == Win32.SERVICE_DEPENDENCY_DELETED
    base = create(services, image(system, "base", signature="none"), "base")
    assert refused(lambda: services.start_service(handle)) == Win32.SERVICE_DEPENDENCY_FAIL
    assert state(services, handle) == (ServiceState.STOPPED, Win32.SERVICE_DEPENDENCY_FAIL)
    assert state(services, base) == (ServiceState.STOPPED, Win32.INVALID_IMAGE_HASH)
    services.delete_service(base)
    assert refused(lambda: services.start_service(handle)) == Win32.SERVICE_DEPENDENCY_DELETED


def test_services_cannot_need_each_other_in_a_circle(services: ServiceCalls) -> None:
    assert refused(lambda: create(services, "C:\\x.sys", "a", dependencies=("A",))) == Win32.CIRCULAR_DEPENDENCY
    create(services, "C:\\x.sys", "a", dependencies=("b",))
    create(services, "C:\\x.sys", "b", dependencies=("c",))
    assert refused(lambda: create(services, "C:\\x.sys", "c", dependencies=("a",))) == Win32.CIRCULAR_DEPENDENCY
    assert refused(lambda: create(services, "C:\\x.sys", "c", dependencies=("a/b",))) == Win32.INVALID_NAME


def test_however_many_ways_lead_from_one_service_to_another_nobody_waits(services: ServiceCalls) -> None:
    for number in range(60):  # 2^60 ways from the first to the last
        create(services, "C:\\x.sys", f"s{number}", dependencies=(f"s{number + 1}",) * 2)
    assert refused(lambda: create(services, "C:\\x.sys", "s60", dependencies=("s0",))) == Win32.CIRCULAR_DEPENDENCY
    assert create(services, "C:\\x.sys", "s60")


def test_a_long_chain_of_services_that_need_each_other_starts_as_a_short_one_does(
    system: WindowsSystem, services: ServiceCalls
) -> None:
    top = create(services, image(system, "s0"), "s0")
    for number in range(1, 600):
        top = create(services, image(system, f"s{number}"), f"s{number}", dependencies=(f"s{number - 1}",))
    services.start_service(top)
    assert services.query_service_status(top).state == ServiceState.RUNNING
