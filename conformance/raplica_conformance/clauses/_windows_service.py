# SPDX-License-Identifier: Apache-2.0
"""A driver's service, as clauses about its life make, start, stop and ask it."""

from typing import Any, NamedTuple

from raplica_conformance.clauses._windows import Process, Windows

__all__ = [
    "DEMAND",
    "DISABLED",
    "NAME",
    "RUNNING",
    "STOPPED",
    "STOP_PENDING",
    "SYSTEM",
    "Service",
    "State",
    "create",
    "manager",
    "reopen",
]

NAME = "RaplicaDriver"
STOPPED, STOP_PENDING, RUNNING = 1, 3, 4
SYSTEM, DEMAND, DISABLED = 1, 3, 4
_ALL_MANAGER, _ALL_SERVICE = 0xF003F, 0xF01FF
_KERNEL_DRIVER, _NORMAL, _STOP = 1, 1, 1


class State(NamedTuple):
    """What QueryServiceStatus shows: the state, the controls that are taken, the Win32 exit code."""

    state: int
    accepted: int
    exit_code: int


class Service:
    """An open handle to a service. Its calls raise as those of the process do."""

    def __init__(self, process: Process, handle: int) -> None:
        self.process = process
        self.handle = handle

    def start(self) -> None:
        """StartService."""
        self.process.services.start_service(self.handle)

    def stop(self) -> None:
        """ControlService with STOP."""
        self.process.services.control_service(self.handle, _STOP)

    def control(self, number: int) -> None:
        """ControlService."""
        self.process.services.control_service(self.handle, number)

    def delete(self) -> None:
        """DeleteService."""
        self.process.services.delete_service(self.handle)

    def close(self) -> None:
        """CloseServiceHandle."""
        self.process.services.close(self.handle)

    def state(self) -> State:
        """QueryServiceStatus."""
        status: Any = self.process.services.query_service_status(self.handle)
        return State(int(status.state), int(status.controls_accepted), int(status.win32_exit_code))


def manager(process: Process) -> int:
    """A handle of the manager with every right."""
    handle: int = process.services.open_manager(None, _ALL_MANAGER)
    return handle


def create(
    windows: Windows,
    process: Process | None = None,
    *,
    name: str = NAME,
    display: str | None = None,
    start: int = DEMAND,
    image: str | None = None,
) -> Service:
    """CreateService for the driver's image, by an administrator."""
    process = windows.process() if process is None else process
    path = windows.image if image is None else image
    shown = name if display is None else display
    handle = process.services.create_service(
        manager(process), name, shown, _ALL_SERVICE, _KERNEL_DRIVER, start, _NORMAL, path
    )
    return Service(process, handle)


def reopen(process: Process, name: str = NAME) -> Service:
    """OpenService with every right."""
    return Service(process, process.services.open_service(manager(process), name, _ALL_SERVICE))
