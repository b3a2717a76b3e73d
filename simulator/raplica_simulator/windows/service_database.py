# SPDX-License-Identifier: Apache-2.0
"""The service control manager's database: services, their lives, and what happens to them at boot.

Mirrors services.exe as the pages CreateService, StartService, ControlService and DeleteService of the Windows API tell
of it.  How a driver is loaded is the system's business: it is asked for, and the errors of a start are its errors.
What those pages leave open and this module decides is listed in docs/windows.md.
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from typing import Protocol

from raplica_simulator.windows.io_control import Driver
from raplica_simulator.windows.nt_status import Win32, Win32Error
from raplica_simulator.windows.service_config import ServiceConfig, image_path
from raplica_simulator.windows.service_names import (
    Accepted,
    Control,
    ServiceState,
    ServiceStatus,
    StartType,
    is_driver,
    is_name,
)

__all__ = ["ControlRefused", "DriverHost", "Service", "ServiceDatabase"]


class DriverHost(Protocol):
    """What the manager needs of the system whose services it keeps."""

    def load(self, image_path: str, /) -> Driver:
        """Load the image at a Win32 path and run its DriverEntry; Win32Error where that fails."""
        ...

    def unload(self, driver: Driver, /) -> bool:
        """Let a driver go: at once, or (False) when the last handle to its devices is closed."""
        ...

    def is_loaded(self, driver: Driver, /) -> bool:
        """Whether a driver is still there."""
        ...

    def check(self) -> None:
        """Raise BugCheck where the machine has crashed."""
        ...


class ControlRefused(Win32Error):
    """A control that a service did not take.

    Attributes:
        status: what lpServiceStatus was filled with.
    """

    def __init__(self, winerror: int, subject: str, status: ServiceStatus) -> None:
        super().__init__(winerror, subject)
        self.status = status


@dataclass(eq=False)
class Service:
    """One entry: what is configured, and how it goes.

    Attributes:
        driver: what runs; None while it is stopped.
        stopping: a stop was asked for, and handles to its devices keep the driver.
        exit_code: why it is stopped, see :class:`.ServiceStatus`.
        marked: it goes as soon as nobody holds a handle to it and it does not run.
        keyless: somebody took its key out of the registry; the manager finds out at the next boot.
        handles: how many handles to it are open.
    """

    config: ServiceConfig
    driver: Driver | None = None
    stopping: bool = False
    exit_code: int = Win32.SERVICE_NEVER_STARTED
    marked: bool = False
    keyless: bool = False
    handles: int = 0

    @property
    def state(self) -> ServiceState:
        """STOPPED, RUNNING or STOP_PENDING; starts and stops are done when the call returns."""
        if self.driver is None:
            return ServiceState.STOPPED
        return ServiceState.STOP_PENDING if self.stopping else ServiceState.RUNNING

    @property
    def status(self) -> ServiceStatus:
        """What QueryServiceStatus shows."""
        stoppable = self.driver is not None and self.driver.unload is not None
        accepted = Accepted.STOP if stoppable else Accepted.NOTHING
        code = Win32.SUCCESS if self.driver is not None else self.exit_code
        return ServiceStatus(self.config.service_type, self.state, accepted, int(code))


@dataclass
class ServiceDatabase:
    """Every service of a system, by name; for any number of threads.

    Methods raise Win32Error with the code that the call would leave.  That a driver has gone meanwhile, because its
    last handle was closed, is asked for at each look and announced by nobody.

    Attributes:
        host: the system that loads drivers.
        lock: keeps all others away; re-entrant, and the kernel's own where there is one.
        boots: how often the system has been booted; handles of an earlier boot are nobody's.
    """

    host: DriverHost
    lock: AbstractContextManager[object] = field(default_factory=threading.RLock, repr=False)
    boots: int = 1
    _services: dict[str, Service] = field(default_factory=dict, init=False, repr=False)

    def __iter__(self) -> Iterator[Service]:
        """The services as they are now, in the order in which they were created."""
        with self.lock:
            self._settle()
            return iter(list(self._services.values()))

    def find(self, name: str) -> Service:
        """The service of a name, in any case of letters; 123 for what is no name, 1060 where there is none."""
        if not is_name(name):
            raise Win32Error(Win32.INVALID_NAME, name)
        with self.lock:
            self._settle()
            service = self._services.get(name.lower())
        if service is None:
            raise Win32Error(Win32.SERVICE_DOES_NOT_EXIST, name)
        return service

    def create(self, config: ServiceConfig) -> Service:
        """Add a service that is stopped.

        1072 and 1073 where the name is taken, 1078 where the display name is, 1059 for dependencies in a circle.
        """
        with self.lock:
            self._settle()
            known = self._services.get(config.name.lower())
            if known is not None:
                taken = Win32.SERVICE_MARKED_FOR_DELETE if known.marked else Win32.SERVICE_EXISTS
                raise Win32Error(taken, config.name)
            shown = config.display_name.lower()
            for other in self._services.values():
                if shown in (other.config.name.lower(), other.config.display_name.lower()):
                    raise Win32Error(Win32.DUPLICATE_SERVICE_NAME, config.display_name)
            if self._needs(config.dependencies, config.name.lower()):
                raise Win32Error(Win32.CIRCULAR_DEPENDENCY, config.name)
            service = self._services[config.name.lower()] = Service(config)
            return service

    def start(self, service: Service) -> None:
        """Start a service, and first those that it depends on; it runs when this returns.

        Besides the errors of the driver: 1072 marked for deletion, 1058 disabled, 1056 running or about to stop, 1075
        and 1068 where a service that it needs is gone or fails.
        """
        with self.lock:
            self._settle()
            self._start(service)

    def control(self, service: Service, control: int) -> ServiceStatus:
        """Send a control; the status after it.

        ControlRefused with 1062 where the service is stopped, 1061 while it is about to stop, and 1052 for what it
        does not take: a driver without an unload routine cannot be stopped.  Win32Error(1051) where one that runs
        depends on it.
        """
        with self.lock:
            self._settle()
            driver = service.driver
            if driver is None:
                raise ControlRefused(Win32.SERVICE_NOT_ACTIVE, service.config.name, service.status)
            if service.stopping:
                raise ControlRefused(Win32.SERVICE_CANNOT_ACCEPT_CTRL, service.config.name, service.status)
            if control == Control.INTERROGATE:
                return service.status
            if control != Control.STOP or driver.unload is None:
                raise ControlRefused(Win32.INVALID_SERVICE_CONTROL, service.config.name, service.status)
            if any(self._depends(other, service) for other in self._services.values() if other.driver is not None):
                raise Win32Error(Win32.DEPENDENT_SERVICES_RUNNING, service.config.name)
            service.stopping = True
            service.exit_code = Win32.SUCCESS
            self.host.unload(driver)
            self._settle()
            return service.status

    def delete(self, service: Service) -> None:
        """Mark a service for deletion; 1072 where it is marked already."""
        with self.lock:
            if service.marked:
                raise Win32Error(Win32.SERVICE_MARKED_FOR_DELETE, service.config.name)
            service.marked = True

    def status(self, service: Service) -> ServiceStatus:
        """Where a service is now."""
        with self.lock:
            self._settle()
            return service.status

    def hold(self, service: Service) -> None:
        """Count one more open handle to a service."""
        with self.lock:
            service.handles += 1

    def release(self, service: Service) -> None:
        """Count one handle less; a marked service may go with it."""
        with self.lock:
            service.handles -= 1
            self._settle()

    def remove_key(self, name: str) -> None:
        """Take a service's key out of the registry, as a person does with an editor: it is known until the next boot.

        Win32Error(FILE_NOT_FOUND) where there is no such key.
        """
        with self.lock:
            service = self._services.get(name.lower())
            if service is None or service.keyless:
                raise Win32Error(Win32.FILE_NOT_FOUND, name)
            service.keyless = True

    def boot(self) -> None:
        """Begin anew after a reboot: what is marked is gone, and what starts by itself is started.

        BOOT and SYSTEM drivers come before the manager, which knows of dependencies, and the manager then starts AUTO
        services.  Within each, in the order of their creation: groups and tags are not simulated.  A start that fails
        leaves its error as the exit code.  No process has survived: their handles count no more.
        """
        with self.lock:
            self.boots += 1
            kept = [one.config for one in self._services.values() if not (one.marked or one.keyless)]
            self._services = {config.name.lower(): Service(config) for config in kept}
            for start_type in (StartType.BOOT, StartType.SYSTEM, StartType.AUTO):
                for service in self._services.values():
                    if service.config.start_type == start_type and service.driver is None:
                        with suppress(Win32Error):
                            (self._start if start_type == StartType.AUTO else self._load)(service)

    def _start(self, service: Service) -> None:
        # A list of those that wait for the one behind them, and no call for each: there may be very many.
        waiting = [(service, self._not_running(service))]
        try:
            self._check_start(service)
            while waiting:
                current, needs = waiting[-1]
                needed = next(needs, None)
                if needed is None:
                    self._load(current)
                    waiting.pop()
                else:
                    waiting.append((needed, self._not_running(needed)))
                    self._check_start(needed)
        except Win32Error:
            waiting.pop()
            for dependent, _ in waiting:
                dependent.exit_code = Win32.SERVICE_DEPENDENCY_FAIL
            if waiting:
                raise Win32Error(Win32.SERVICE_DEPENDENCY_FAIL, service.config.name) from None
            raise

    def _check_start(self, service: Service) -> None:
        """What is asked of a service before anything is started for it."""
        name = service.config.name
        if service.marked:
            raise Win32Error(Win32.SERVICE_MARKED_FOR_DELETE, name)
        if service.config.start_type == StartType.DISABLED:
            raise Win32Error(Win32.SERVICE_DISABLED, name)
        if service.driver is not None:
            raise Win32Error(Win32.SERVICE_ALREADY_RUNNING, name)

    def _not_running(self, service: Service) -> Iterator[Service]:
        """What a service needs and has to be started, each looked at when those before it run."""
        for name in service.config.dependencies:
            needed = self._services.get(name.lower())
            if needed is None or needed.marked:
                service.exit_code = Win32.SERVICE_DEPENDENCY_DELETED
                raise Win32Error(Win32.SERVICE_DEPENDENCY_DELETED, name)
            if needed.state != ServiceState.RUNNING:
                yield needed

    def _load(self, service: Service) -> None:
        """Let the system load the driver.  Programs are not simulated: the file of a Win32 service is never there."""
        path = image_path(service.config.image_path)
        try:
            if not is_driver(service.config.service_type):
                raise Win32Error(Win32.FILE_NOT_FOUND, path)
            service.driver = self.host.load(path)
        except Win32Error as error:
            service.exit_code = error.winerror
            raise

    def _settle(self) -> None:
        """Notice drivers that have gone, and let go what was only waiting for that."""
        for service in self._services.values():
            if service.driver is not None and not self.host.is_loaded(service.driver):
                service.driver, service.stopping = None, False
        self._services = {
            key: one
            for key, one in self._services.items()
            if not one.marked or one.handles > 0 or one.driver is not None
        }

    def _needs(self, names: Iterable[str], wanted: str) -> bool:
        """Whether starting services of these names would mean to start one, directly or further on."""
        # Each service once, and no call for each: there may be many ways to one, and long ones.
        left = [name.lower() for name in names]
        seen: set[str] = set()
        while left:
            key = left.pop()
            if key == wanted:
                return True
            known = None if key in seen else self._services.get(key)
            seen.add(key)
            if known is not None:
                left += [name.lower() for name in known.config.dependencies]
        return False

    def _depends(self, service: Service, needed: Service) -> bool:
        return self._needs(service.config.dependencies, needed.config.name.lower())
