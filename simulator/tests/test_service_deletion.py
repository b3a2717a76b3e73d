# SPDX-License-Identifier: Apache-2.0
"""The service control manager: when a deleted service is gone."""

from raplica_simulator.windows.nt_status import Win32
from raplica_simulator.windows.service_control import ServiceCalls
from raplica_simulator.windows.service_names import Control, ServiceState
from raplica_simulator.windows.system import WindowsSystem

from .plain_driver import create, image, refused, state


def test_a_deleted_service_is_marked_until_its_handles_are_closed(
    system: WindowsSystem, services: ServiceCalls
) -> None:
    path = image(system, "probe")
    first = create(services, path)
    manager = services.open_manager()
    second = services.open_service(manager, "probe")
    services.delete_service(first)
    assert refused(lambda: services.delete_service(second)) == Win32.SERVICE_MARKED_FOR_DELETE
    assert refused(lambda: create(services, path, "Probe")) == Win32.SERVICE_MARKED_FOR_DELETE
    assert refused(lambda: create(services, path, "new", display="probe")) == Win32.DUPLICATE_SERVICE_NAME
    assert refused(lambda: services.start_service(second)) == Win32.SERVICE_MARKED_FOR_DELETE
    third = services.open_service(manager, "probe")
    for handle in (first, second, third):
        assert services.open_service(manager, "probe")
        services.close(handle)
    services.close_all()
    assert refused(lambda: services.open_service(services.open_manager(), "probe")) == Win32.SERVICE_DOES_NOT_EXIST
    assert create(services, path)


def test_a_process_that_ends_closes_its_handles_to_services_too(system: WindowsSystem, services: ServiceCalls) -> None:
    handle = create(services, image(system, "probe"))
    other = system.process()
    other.services.delete_service(other.services.open_service(other.services.open_manager(), "probe"))
    services.close(handle)
    assert [one.marked for one in system.services] == [True]
    other.exit()
    assert list(system.services) == []


def test_a_deleted_service_that_runs_stays_until_it_is_stopped(system: WindowsSystem, services: ServiceCalls) -> None:
    handle = create(services, image(system, "probe"))
    services.start_service(handle)
    services.delete_service(handle)
    services.close(handle)
    handle = services.open_service(services.open_manager(), "probe")
    assert state(services, handle) == (ServiceState.RUNNING, 0)
    assert refused(lambda: services.start_service(handle)) == Win32.SERVICE_MARKED_FOR_DELETE
    assert services.control_service(handle, Control.STOP).state == ServiceState.STOPPED
    services.close(handle)
    assert list(system.services) == []


def test_a_key_that_somebody_takes_out_of_the_registry_counts_from_the_next_boot(
    system: WindowsSystem, services: ServiceCalls
) -> None:
    path = image(system, "probe")
    create(services, path, display="The Probe")
    system.services.remove_key("PROBE")
    assert refused(lambda: system.services.remove_key("probe")) == Win32.FILE_NOT_FOUND
    assert refused(lambda: system.services.remove_key("none")) == Win32.FILE_NOT_FOUND
    assert refused(lambda: create(services, path, "new", display="The Probe")) == Win32.DUPLICATE_SERVICE_NAME
    system.reboot()
    assert create(system.process().services, path, "new", display="The Probe")
