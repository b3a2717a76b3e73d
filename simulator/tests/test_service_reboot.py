# SPDX-License-Identifier: Apache-2.0
"""The service control manager: what a reboot, a crash and many threads at once leave of the services."""

import threading
from collections.abc import Callable
from functools import partial

import pytest

from raplica_simulator.windows.nt_status import BugCheck, Win32
from raplica_simulator.windows.service_control import ServiceCalls
from raplica_simulator.windows.service_names import Control, ServiceState, StartType
from raplica_simulator.windows.system import DriverImage, WindowsSystem

from .plain_driver import create, image, refused, state


def test_a_reboot_starts_boot_and_system_drivers_before_the_managers_own_and_forgets_what_was_marked(
    system: WindowsSystem, services: ServiceCalls
) -> None:
    loaded: list[str] = []
    kinds = (StartType.AUTO, StartType.DEMAND, StartType.SYSTEM, StartType.BOOT, StartType.DISABLED)
    for start in kinds:
        create(services, image(system, start.name), start.name, start=start)
    # The manager starts what an AUTO service needs; the kernel knows of no such thing.
    create(services, image(system, "needs"), "needs", start=StartType.AUTO, dependencies=("demand",))
    create(services, image(system, "early"), "early", start=StartType.SYSTEM, dependencies=("nobody",))
    create(services, image(system, "bad", signature="none"), "bad", start=StartType.SYSTEM)
    for path, known in list(system.images.items()):
        make = known.make

        def noted(make: Callable[[], object] = make) -> object:
            driver = make()
            loaded.append(getattr(driver, "name", ""))
            return driver

        system.images[path] = DriverImage(noted, known.signature)  # type: ignore[arg-type]
    marked = create(services, image(system, "marked"), "marked", start=StartType.AUTO)
    services.delete_service(marked)
    system.reboot()
    assert loaded == ["BOOT", "SYSTEM", "early", "AUTO", "DEMAND", "needs"]
    after = system.process().services
    manager = after.open_manager()
    states = {
        one.config.name: after.query_service_status(after.open_service(manager, one.config.name))
        for one in system.services
    }
    assert {
        name: status.win32_exit_code for name, status in states.items() if status.state == ServiceState.STOPPED
    } == {
        "DISABLED": Win32.SERVICE_NEVER_STARTED,
        "bad": Win32.INVALID_IMAGE_HASH,
    }
    assert "marked" not in states
    for call in (services.query_service_status, services.close):
        assert refused(partial(call, marked)) == Win32.INVALID_HANDLE
    system.reboot()
    assert loaded[6:] == loaded[:6]


def test_test_signing_counts_from_the_next_boot(system: WindowsSystem, services: ServiceCalls) -> None:
    handle = create(services, image(system, "probe", signature="test"), start=StartType.SYSTEM)
    system.boot_test_signing = True
    assert refused(lambda: services.start_service(handle)) == Win32.INVALID_IMAGE_HASH
    system.reboot()
    services = system.process().services
    handle = services.open_service(services.open_manager(), "probe")
    assert state(services, handle) == (ServiceState.RUNNING, 0)
    system.boot_test_signing = False
    assert state(services, handle) == (ServiceState.RUNNING, 0)
    system.reboot()
    services = system.process().services
    handle = services.open_service(services.open_manager(), "probe")
    assert state(services, handle) == (ServiceState.STOPPED, Win32.INVALID_IMAGE_HASH)


def test_where_the_machine_has_crashed_every_call_says_so_until_it_is_rebooted(
    system: WindowsSystem, services: ServiceCalls
) -> None:
    handle = create(services, image(system, "probe"), start=StartType.SYSTEM)
    with pytest.raises(BugCheck):
        system.kernel.bug_check(0x3B, "probe: a fault that nobody caught")
    for call in (services.start_service, services.query_service_status, services.delete_service, services.close):
        with pytest.raises(BugCheck, match="nobody caught"):
            call(handle)
    with pytest.raises(BugCheck):
        services.open_manager()
    services.close_all()
    system.reboot()
    services = system.process().services
    assert state(services, services.open_service(services.open_manager(), "probe")) == (ServiceState.RUNNING, 0)


def test_many_threads_create_start_stop_and_delete_at_once_and_nothing_is_lost(system: WindowsSystem) -> None:
    paths = {f"probe-{number}": image(system, f"probe-{number}") for number in range(16)}
    errors: list[BaseException] = []

    def live(name: str, path: str) -> None:
        try:
            services = system.process().services
            for _ in range(3):
                handle = create(services, path, name)
                services.start_service(handle)
                assert services.control_service(handle, Control.STOP).state == ServiceState.STOPPED
                services.delete_service(handle)
                services.close(handle)
        except BaseException as error:  # noqa: BLE001 - told to the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=live, args=pair) for pair in paths.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert list(system.services) == []
    assert system.kernel.drivers == ()
