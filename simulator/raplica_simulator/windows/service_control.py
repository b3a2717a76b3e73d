# SPDX-License-Identifier: Apache-2.0
"""The service control calls of one process: OpenSCManager, CreateService, StartService and the others of winsvc.h.

Mirrors advapi32.  Handles and their access rights are here, what becomes of the services is in
:mod:`.service_database`.  Each call checks the handle (6), then what it was given, then the right (5), and only then
asks the database; in which order Windows does it is nowhere written.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from raplica_simulator.windows.nt_status import Win32, Win32Error
from raplica_simulator.windows.service_config import ServiceConfig, read_config
from raplica_simulator.windows.service_database import Service, ServiceDatabase
from raplica_simulator.windows.service_names import (
    ManagerRight,
    ServiceRight,
    ServiceStatus,
    granted_rights,
    needed_right,
)

__all__ = ["ServiceCalls"]

_ACTIVE = "servicesactive"
# Not among the values that file handles have: one given for the other is noticed.
_FIRST_HANDLE = 0x00510000
_STEP = 0x10


@dataclass(frozen=True)
class _Handle:
    rights: int
    boot: int
    service: Service | None = None  # None: the manager


class ServiceCalls:
    """What a process can ask the service control manager; any number of threads.

    Every call raises Win32Error with the code that GetLastError would give, and BugCheck while the machine lies
    crashed.  A handle of before a reboot is invalid (6), as the process would be gone.

    Attributes:
        administrator: whether the process runs elevated.
    """

    def __init__(
        self,
        database: ServiceDatabase,
        *,
        administrator: bool,
        set_last_error: Callable[[int], None] = lambda _code: None,
    ) -> None:
        """``set_last_error`` is told the code of each call that fails."""
        self.administrator = administrator
        self._database = database
        self._set_last_error = set_last_error
        self._handles: dict[int, _Handle] = {}
        self._next = _FIRST_HANDLE

    def open_manager(self, database: str | None = None, access: int = ManagerRight.ALL_ACCESS) -> int:
        """OpenSCManager on this computer: a handle.

        1065 for a database that there is not (None and ServicesActive are the one there is), 5 where the process may
        not have the access; an ordinary user may connect and look.
        """
        with self._call():
            if database is not None and database.lower() != _ACTIVE:
                raise Win32Error(Win32.DATABASE_DOES_NOT_EXIST, database)
            return self._open(self._grant(ManagerRight, access), None)

    def create_service(  # noqa: PLR0913 - CreateService's own
        self,
        manager: int,
        name: str,
        display_name: str | None,
        access: int,
        service_type: int,
        start_type: int,
        error_control: int,
        path: str,
        *,
        dependencies: Sequence[str] = (),
    ) -> int:
        """CreateService: a handle to the new service, which is stopped.

        6, 5 without the right CREATE_SERVICE or for an access that may not be had, 123 and 87 as
        :func:`.read_config`, 1072, 1073, 1078 and 1059 as :meth:`.ServiceDatabase.create`.
        """
        with self._call():
            handle = self._manager(manager)
            config = read_config(name, display_name, service_type, start_type, error_control, path, dependencies)
            self._require(handle, ManagerRight.CREATE_SERVICE)
            rights = self._grant(ServiceRight, access)
            return self._open(rights, self._database.create(config))

    def open_service(self, manager: int, name: str, access: int = ServiceRight.ALL_ACCESS) -> int:
        """OpenService: a handle.  6, 123, 1060 for a name that nobody has, 5 where the access may not be had."""
        with self._call():
            self._manager(manager)
            service = self._database.find(name)
            return self._open(self._grant(ServiceRight, access), service)

    def start_service(self, handle: int) -> None:
        """StartService: the driver runs when this returns.  6, 5, and errors as :meth:`.ServiceDatabase.start`."""
        with self._call():
            self._database.start(self._service(handle, ServiceRight.START))

    def control_service(self, handle: int, control: int) -> ServiceStatus:
        """ControlService: the status afterwards.

        6, 87 for a control that is not defined, 5, and errors as :meth:`.ServiceDatabase.control`; those with a status
        are :class:`.ControlRefused`.
        """
        with self._call():
            self._service(handle, None)
            right = needed_right(control)
            if right is None:
                raise Win32Error(Win32.INVALID_PARAMETER, f"control {control}")
            return self._database.control(self._service(handle, right), control)

    def query_service_status(self, handle: int) -> ServiceStatus:
        """QueryServiceStatus.  6, 5."""
        with self._call():
            return self._database.status(self._service(handle, ServiceRight.QUERY_STATUS))

    def query_service_config(self, handle: int) -> ServiceConfig:
        """QueryServiceConfig.  6, 5."""
        with self._call():
            return self._service(handle, ServiceRight.QUERY_CONFIG).config

    def delete_service(self, handle: int) -> None:
        """DeleteService: it is gone once it is stopped and all its handles are closed.  6, 5, 1072."""
        with self._call():
            self._database.delete(self._service(handle, ServiceRight.DELETE))

    def close(self, handle: int) -> None:
        """CloseServiceHandle, for handles of both kinds.  6."""
        with self._call():
            self._close(handle, self._known(handle))

    def close_all(self) -> None:
        """What becomes of the handles when the process ends."""
        with self._database.lock:
            for handle, known in list(self._handles.items()):
                self._close(handle, known)

    @contextmanager
    def _call(self) -> Iterator[None]:
        with self._database.lock:
            self._database.host.check()
            try:
                yield
            except Win32Error as error:
                self._set_last_error(error.winerror)
                raise

    def _grant(self, kind: type[ManagerRight] | type[ServiceRight], access: int) -> int:
        rights = granted_rights(kind, access, administrator=self.administrator)
        if rights is None:
            raise Win32Error(Win32.ACCESS_DENIED, f"access {access:#x}")
        return rights

    def _open(self, rights: int, service: Service | None) -> int:
        handle, self._next = self._next, self._next + _STEP
        self._handles[handle] = _Handle(rights, self._database.boots, service)
        if service is not None:
            self._database.hold(service)
        return handle

    def _close(self, handle: int, known: _Handle) -> None:
        del self._handles[handle]
        if known.service is not None:
            self._database.release(known.service)

    def _known(self, handle: int) -> _Handle:
        known = self._handles.get(handle)
        if known is None or known.boot != self._database.boots:
            raise Win32Error(Win32.INVALID_HANDLE, f"handle {handle:#x}")
        return known

    def _manager(self, handle: int) -> _Handle:
        known = self._known(handle)
        if known.service is not None:
            raise Win32Error(Win32.INVALID_HANDLE, f"handle {handle:#x}, which is a service's")
        return known

    def _service(self, handle: int, right: ServiceRight | None) -> Service:
        known = self._known(handle)
        if known.service is None:
            raise Win32Error(Win32.INVALID_HANDLE, f"handle {handle:#x}, which is the manager's")
        if right is not None:
            self._require(known, right)
        return known.service

    @staticmethod
    def _require(handle: _Handle, right: ManagerRight | ServiceRight) -> None:
        if right & ~handle.rights:
            raise Win32Error(Win32.ACCESS_DENIED, f"{right.name} was not asked for when the handle was opened")
