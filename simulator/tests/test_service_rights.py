# SPDX-License-Identifier: Apache-2.0
"""The service control manager: handles, and the right that each call needs."""

import threading
from collections.abc import Callable
from functools import partial

import pytest

from raplica_simulator.windows.nt_status import Win32
from raplica_simulator.windows.service_control import ServiceCalls
from raplica_simulator.windows.service_names import (
    Control,
    ErrorControl,
    ManagerRight,
    ServiceRight,
    ServiceState,
    StartType,
)
from raplica_simulator.windows.system import WindowsSystem

from .plain_driver import DRIVER, create, image, refused, state

READ_CONTROL = 0x20000
GENERIC_READ, GENERIC_WRITE, GENERIC_EXECUTE, GENERIC_ALL = 0x80000000, 0x40000000, 0x20000000, 0x10000000
MAXIMUM_ALLOWED = 0x02000000


def test_everybody_may_connect_and_look_and_only_administrators_may_create(system: WindowsSystem) -> None:
    user, administrator = system.process(administrator=False).services, system.process().services
    looks = ManagerRight.CONNECT | ManagerRight.ENUMERATE_SERVICE | ManagerRight.QUERY_LOCK_STATUS
    for access in (0, looks, GENERIC_READ, MAXIMUM_ALLOWED, READ_CONTROL):
        assert user.open_manager(None, access)
    for access in (ManagerRight.CREATE_SERVICE, ManagerRight.ALL_ACCESS, GENERIC_WRITE, GENERIC_EXECUTE, GENERIC_ALL):
        assert refused(partial(user.open_manager, None, access)) == Win32.ACCESS_DENIED
        assert administrator.open_manager("ServicesActive", access)
    assert refused(lambda: administrator.open_manager(None, 0x01000000)) == Win32.ACCESS_DENIED


def test_there_is_one_database(services: ServiceCalls) -> None:
    assert services.open_manager("SERVICESACTIVE")
    assert refused(lambda: services.open_manager("ServicesFailed")) == Win32.DATABASE_DOES_NOT_EXIST


def test_everybody_may_ask_a_service_and_only_administrators_may_start_stop_and_delete_it(
    system: WindowsSystem, services: ServiceCalls
) -> None:
    create(services, image(system, "probe"))
    user = system.process(administrator=False).services
    manager = user.open_manager(None, ManagerRight.CONNECT)
    handle = user.open_service(manager, "probe", GENERIC_READ | ServiceRight.USER_DEFINED_CONTROL)
    assert state(user, handle) == (ServiceState.STOPPED, Win32.SERVICE_NEVER_STARTED)
    for access in (
        ServiceRight.START,
        ServiceRight.STOP,
        ServiceRight.DELETE,
        ServiceRight.ALL_ACCESS,
        GENERIC_EXECUTE,
    ):
        assert refused(partial(user.open_service, manager, "probe", access)) == Win32.ACCESS_DENIED
    highest = user.open_service(manager, "probe", MAXIMUM_ALLOWED)
    assert refused(lambda: user.start_service(highest)) == Win32.ACCESS_DENIED
    assert user.query_service_config(highest).name == "probe"


@pytest.mark.parametrize(
    ("right", "call", "error"),
    [
        (ServiceRight.START, lambda services, handle: services.start_service(handle), None),
        (
            ServiceRight.STOP,
            lambda services, handle: services.control_service(handle, Control.STOP),
            Win32.SERVICE_NOT_ACTIVE,
        ),
        (
            ServiceRight.INTERROGATE,
            lambda services, handle: services.control_service(handle, Control.INTERROGATE),
            Win32.SERVICE_NOT_ACTIVE,
        ),
        (
            ServiceRight.PAUSE_CONTINUE,
            lambda services, handle: services.control_service(handle, Control.PAUSE),
            Win32.SERVICE_NOT_ACTIVE,
        ),
        (
            ServiceRight.USER_DEFINED_CONTROL,
            lambda services, handle: services.control_service(handle, 128),
            Win32.SERVICE_NOT_ACTIVE,
        ),
        (ServiceRight.DELETE, lambda services, handle: services.delete_service(handle), None),
        (ServiceRight.QUERY_STATUS, lambda services, handle: services.query_service_status(handle), None),
        (ServiceRight.QUERY_CONFIG, lambda services, handle: services.query_service_config(handle), None),
    ],
)
def test_each_call_needs_the_right_that_the_handle_was_opened_with(
    system: WindowsSystem,
    services: ServiceCalls,
    right: ServiceRight,
    call: Callable[[ServiceCalls, int], object],
    error: int | None,
) -> None:
    create(services, image(system, "probe"))
    manager = services.open_manager()
    without = services.open_service(manager, "probe", ServiceRight.ALL_ACCESS & ~right)
    assert refused(lambda: call(services, without)) == Win32.ACCESS_DENIED
    allowed = services.open_service(manager, "probe", right)
    if error is None:
        call(services, allowed)
    else:
        assert refused(lambda: call(services, allowed)) == error


def test_a_handle_that_is_none_closed_or_of_the_other_kind_is_invalid(
    system: WindowsSystem, services: ServiceCalls
) -> None:
    service = create(services, image(system, "probe"))
    manager = services.open_manager()
    closed = services.open_service(manager, "probe")
    services.close(closed)
    for handle in (0, 4, closed, manager):
        for call in (
            services.start_service,
            services.delete_service,
            services.query_service_status,
            services.query_service_config,
        ):
            assert refused(partial(call, handle)) == Win32.INVALID_HANDLE
        # Before the control is looked at.
        assert refused(partial(services.control_service, handle, 0)) == Win32.INVALID_HANDLE
    for handle in (0, closed, service):
        assert refused(partial(services.open_service, handle, "probe")) == Win32.INVALID_HANDLE
    assert refused(lambda: services.close(closed)) == Win32.INVALID_HANDLE
    assert refused(lambda: system.process().services.query_service_status(service)) == Win32.INVALID_HANDLE


def test_create_needs_the_right_to_create(system: WindowsSystem, services: ServiceCalls) -> None:
    path = image(system, "probe")
    manager = services.open_manager(None, ManagerRight.CONNECT)
    arguments = (None, ServiceRight.ALL_ACCESS, DRIVER, StartType.DEMAND, ErrorControl.NORMAL, path)
    assert refused(lambda: services.create_service(manager, "probe", *arguments)) == Win32.ACCESS_DENIED
    assert refused(lambda: services.create_service(0, "probe", *arguments)) == Win32.INVALID_HANDLE
    assert list(system.services) == []


def test_a_call_that_fails_leaves_its_error_to_the_thread_that_made_it(system: WindowsSystem) -> None:
    process = system.process()
    refused(lambda: process.services.open_service(process.services.open_manager(), "none"))
    assert process.get_last_error() == Win32.SERVICE_DOES_NOT_EXIST
    other: list[int] = []
    thread = threading.Thread(target=lambda: other.append(process.get_last_error()))
    thread.start()
    thread.join()
    assert other == [0]
