# SPDX-License-Identifier: Apache-2.0
"""A driver that does nothing, for tests of services: its image on the disk, and a service of it."""

from collections.abc import Callable

import pytest

from raplica_simulator.windows.io_control import FileObject, Irp
from raplica_simulator.windows.kernel import Kernel
from raplica_simulator.windows.nt_status import NtStatus, Win32Error
from raplica_simulator.windows.service_control import ServiceCalls
from raplica_simulator.windows.service_names import ErrorControl, ServiceRight, ServiceState, ServiceType, StartType
from raplica_simulator.windows.system import DriverImage, WindowsSystem

DRIVER = ServiceType.KERNEL_DRIVER
FOLDER = "C:\\drivers"


class PlainDriver:
    r"""A driver with one device, ``\\.\NAME``; it may lack an unload routine, or fail to start."""

    def __init__(self, name: str, *, unloads: bool = True, status: int = NtStatus.SUCCESS) -> None:
        self.name = name
        self.status = status
        self.unload: Callable[[Kernel], None] | None = self._unload if unloads else None

    def entry(self, kernel: Kernel) -> int:
        kernel.create_device(f"\\Device\\{self.name}")
        kernel.create_symbolic_link(f"\\DosDevices\\{self.name}", f"\\Device\\{self.name}")
        return self.status

    def _unload(self, kernel: Kernel) -> None:
        kernel.delete_symbolic_link(f"\\DosDevices\\{self.name}")

    def create(self, _file: FileObject) -> int:
        return NtStatus.SUCCESS

    def close(self, _file: FileObject) -> None:
        """Nothing is kept."""

    def device_control(self, irp: Irp) -> None:
        irp.answer(b"")


def image(system: WindowsSystem, name: str, **traits: object) -> str:
    """Put a driver's image on the disk; its path.  Traits are those of PlainDriver, and of DriverImage."""
    unloads, status = bool(traits.pop("unloads", True)), int(str(traits.pop("status", NtStatus.SUCCESS)))
    path = f"{FOLDER}\\{name}.sys"
    system.images[path] = DriverImage(lambda: PlainDriver(name, unloads=unloads, status=status), **traits)  # type: ignore[arg-type]
    return path


def refused(call: Callable[[], object]) -> int:
    """The Win32 error with which a call fails."""
    with pytest.raises(Win32Error) as error:
        call()
    return error.value.winerror


def create(
    services: ServiceCalls,
    path: str,
    name: str = "probe",
    *,
    start: int = StartType.DEMAND,
    display: str | None = None,
    dependencies: tuple[str, ...] = (),
    kind: int = DRIVER,
) -> int:
    manager = services.open_manager()
    return services.create_service(
        manager,
        name,
        display,
        ServiceRight.ALL_ACCESS,
        kind,
        start,
        ErrorControl.NORMAL,
        path,
        dependencies=dependencies,
    )


def state(services: ServiceCalls, handle: int) -> tuple[ServiceState, int]:
    status = services.query_service_status(handle)
    return status.state, status.win32_exit_code
