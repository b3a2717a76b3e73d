# SPDX-License-Identifier: Apache-2.0
"""DriverLoader: the small program that installs Scaphandre's driver as a service, starts, stops and removes it.

Mirrors DriverLoader.exe of hubblo-org/windows-rapl-driver, as it was at seven moments of its life: what it asks of the
service control manager, in which order, and how it ends.  Its words are our own, but what they claim is what it
claims, wrong as it may be: a stop that succeeds says "started", and every start that fails blames the signature.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Protocol

from raplica_simulator.windows.nt_status import Win32Error
from raplica_simulator.windows.service_control import ServiceCalls
from raplica_simulator.windows.service_names import (
    Control,
    ErrorControl,
    ManagerRight,
    ServiceRight,
    ServiceType,
    StartType,
)

__all__ = ["LOADERS", "NEWEST_LOADER", "DriverLoader", "LoaderExit", "LoaderResult", "LoaderVersion"]

_GENERIC_ALL = 0x10000000


class LoaderExit(IntEnum):
    """How it ends."""

    OK = 0
    FAILED_TO_OPEN_MANAGER = 1
    CREATE_FAILED = 2
    START_FAILED = 3
    STOP_FAILED = 4
    REMOVE_FAILED = 5
    UNAVAILABLE = 6
    ALREADY_EXISTS = 7
    RESTRICTED_PRIVILEGES = 8
    FILE_NOT_FOUND = 9


@dataclass(frozen=True)
class LoaderVersion:
    """What differs between the versions.

    Attributes:
        commit: where the version begins, in the driver's repository.
        scaphandre: the driver has Scaphandre's name, install is what it does without a word, the program looks whether
            it is elevated and whether the file is there, and mistakes come in a message box.
        manager_access, service_access: what handles are asked for.
        stop_control: what it sends to stop the driver.
        folder: where the driver is; None for the current directory.
        existing: how install ends where the service is there already.
        test_signing: install switches on test signing, from the next boot.
        boxes_success: install tells of its success in a box, and that the machine has to be restarted.
    """

    commit: str
    scaphandre: bool = True
    manager_access: int = ManagerRight.ALL_ACCESS
    service_access: int = ServiceRight.ALL_ACCESS
    service_type: ServiceType = ServiceType.KERNEL_DRIVER
    stop_control: int = Control.STOP
    folder: str | None = None
    existing: LoaderExit = LoaderExit.OK
    test_signing: bool = False
    boxes_success: bool = False

    @property
    def service(self) -> str:
        """The name of the service."""
        return "ScaphandreDrv" if self.scaphandre else "RAPLDrvService"

    @property
    def display_name(self) -> str:
        """The name that people see."""
        return "Scaphandre Driver Service" if self.scaphandre else "RAPL Driver Service"

    @property
    def image(self) -> str:
        """The file of the driver."""
        return "ScaphandreDrv.sys" if self.scaphandre else "RAPLDrv.sys"

    @property
    def start_type(self) -> StartType:
        """Who starts the driver."""
        return StartType.SYSTEM if self.scaphandre else StartType.DEMAND


#: The versions by the day from which they were there; the folder of the first ones was on their author's own disk.
LOADERS: Mapping[str, LoaderVersion] = MappingProxyType(
    {
        "2021-11-11": LoaderVersion(
            "d4ea1ef",
            scaphandre=False,
            manager_access=ManagerRight.CREATE_SERVICE,
            service_access=_GENERIC_ALL,
            service_type=ServiceType.FILE_SYSTEM_DRIVER,
            stop_control=0,
            folder="C:\\RAPLDrv",
            existing=LoaderExit.ALREADY_EXISTS,
        ),
        "2021-11-27": LoaderVersion(
            "ba551da", scaphandre=False, folder="C:\\RAPLDrv", existing=LoaderExit.ALREADY_EXISTS
        ),
        "2021-11-28": LoaderVersion("e733e8e", scaphandre=False, existing=LoaderExit.ALREADY_EXISTS),
        "2022-01-01": LoaderVersion(
            "71c0ce5", existing=LoaderExit.ALREADY_EXISTS, test_signing=True, boxes_success=True
        ),
        "2023-02-24": LoaderVersion("e92f8ce", test_signing=True, boxes_success=True),
        "2023-07-14": LoaderVersion("fd9b04a", boxes_success=True),
        "2023-12-19": LoaderVersion("84dba77"),
    }
)
NEWEST_LOADER = "2023-12-19"


@dataclass(frozen=True)
class LoaderResult:
    """How a run ended, what it printed, and the text of the message box that a person had to close, if any."""

    exit_code: LoaderExit
    stdout: str = ""
    box: str | None = None


_USAGE = LoaderResult(LoaderExit.OK, "Usage: DriverLoader [install|start|stop|remove]\n")


class _System(Protocol):
    boot_test_signing: bool

    def has_image(self, path: str, /) -> bool: ...


class _Process(Protocol):
    @property
    def services(self) -> ServiceCalls: ...

    @property
    def system(self) -> _System: ...


class DriverLoader:
    """The program, in a process and a current directory.  ValueError for a version that there was not."""

    def __init__(self, process: _Process, cwd: str, version: str = NEWEST_LOADER) -> None:
        if version not in LOADERS:
            raise ValueError(f"DriverLoader {version!r} is not known: name one of {', '.join(LOADERS)}")
        self._process = process
        self._cwd = cwd
        self._version = LOADERS[version]

    def run(self, argv: Sequence[str]) -> LoaderResult:
        """Run it with the words that stand behind its name; all but the first go unread."""
        opened: list[int] = []
        try:
            return self._run(argv[0] if argv else None, opened)
        finally:
            # It closes nothing itself: its handles go with it.
            for handle in opened:
                self._process.services.close(handle)

    def _run(self, command: str | None, opened: list[int]) -> LoaderResult:
        version, services = self._version, self._process.services
        if version.scaphandre and not services.administrator:
            return LoaderResult(LoaderExit.RESTRICTED_PRIVILEGES, box="Run this program as administrator.")
        if not version.scaphandre and command is None:
            return _USAGE
        try:
            opened.append(manager := services.open_manager(None, version.manager_access))
        except Win32Error:
            return LoaderResult(
                LoaderExit.FAILED_TO_OPEN_MANAGER, "The service manager cannot be opened. Administrator?\n"
            )
        if command == "install" or command is None:
            return self._install(manager, opened)
        if command not in ("start", "stop", "remove"):
            return _USAGE
        try:
            opened.append(service := services.open_service(manager, version.service, version.service_access))
        except Win32Error:
            return self._complaint(LoaderExit.UNAVAILABLE, "The service is not there.")
        return {"start": self._start, "stop": self._stop, "remove": self._remove}[command](service)

    def _install(self, manager: int, opened: list[int]) -> LoaderResult:
        version, services, system = self._version, self._process.services, self._process.system
        if version.test_signing:
            system.boot_test_signing = True
        try:
            opened.append(services.open_service(manager, version.service, version.service_access))
        except Win32Error:
            pass
        else:
            if version.existing is LoaderExit.OK:
                return LoaderResult(LoaderExit.OK)
            return self._complaint(version.existing, "The service is there already.")
        path = f"{version.folder or self._cwd}\\{version.image}"
        if version.scaphandre and not system.has_image(path):
            return self._complaint(
                LoaderExit.FILE_NOT_FOUND, f"There is no {version.image} here: put it into the folder of the installer."
            )
        try:
            handle = services.create_service(
                manager,
                version.service,
                version.display_name,
                ServiceRight.ALL_ACCESS,
                version.service_type,
                version.start_type,
                ErrorControl.NORMAL,
                path,
            )
        except Win32Error as error:
            text = f"{version.display_name} cannot be created. Error code: {error.winerror}"
            return self._complaint(LoaderExit.CREATE_FAILED, text)
        opened.append(handle)
        box = (
            f"{version.display_name} is installed; restart the computer to start it." if version.boxes_success else None
        )
        return LoaderResult(LoaderExit.OK, box=box)

    def _start(self, service: int) -> LoaderResult:
        shown = self._version.display_name
        try:
            self._process.services.start_service(service)
        except Win32Error:
            return LoaderResult(
                LoaderExit.START_FAILED,
                f"{shown} cannot be started. The driver is not signed: switch signature enforcement off and restart.\n",
            )
        return LoaderResult(LoaderExit.OK, f"{shown} started.\n")

    def _stop(self, service: int) -> LoaderResult:
        shown = self._version.display_name
        try:
            self._process.services.control_service(service, self._version.stop_control)
        except Win32Error:
            return LoaderResult(LoaderExit.STOP_FAILED, f"{shown} cannot be stopped.\n")
        return LoaderResult(LoaderExit.OK, f"{shown} started.\n")

    def _remove(self, service: int) -> LoaderResult:
        shown = self._version.display_name
        try:
            self._process.services.delete_service(service)
        except Win32Error:
            return LoaderResult(LoaderExit.REMOVE_FAILED, f"{shown} cannot be removed.\n")
        return LoaderResult(LoaderExit.OK, f"{shown} removed.\n")

    def _complaint(self, code: LoaderExit, text: str) -> LoaderResult:
        """A mistake, told in a box or, by the first versions, on stdout."""
        return LoaderResult(code, box=text) if self._version.scaphandre else LoaderResult(code, f"{text}\n")
