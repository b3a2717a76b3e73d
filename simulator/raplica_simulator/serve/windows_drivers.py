# SPDX-License-Identifier: Apache-2.0
r"""The drivers that `raplica serve-windows` can install, by the names that its --driver takes.

Each has its image in System32\drivers and a service that the kernel starts at boot, so that a client finds it running
and may stop it, start it, delete it or install it anew.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Literal

from raplica_simulator.windows.energy_meter import EnergyMeterDriver
from raplica_simulator.windows.io_control import Driver
from raplica_simulator.windows.nt_status import BugCheck, Win32Error
from raplica_simulator.windows.pawnio import PawnIoDriver
from raplica_simulator.windows.power_gadget import PowerGadgetDriver
from raplica_simulator.windows.scaphandre_driver import ScaphandreDriver
from raplica_simulator.windows.scaphandre_versions import VERSIONS
from raplica_simulator.windows.service_names import ErrorControl, ServiceRight, ServiceType, StartType
from raplica_simulator.windows.system import DriverImage, WindowsSystem
from raplica_simulator.windows.winring0 import WinRing0Driver

__all__ = ["DEFAULT_DRIVERS", "DRIVERS", "InstallableDriver", "install"]

_FOLDER = "C:\\Windows\\System32\\drivers"


@dataclass(frozen=True)
class InstallableDriver:
    """A driver, the file that it comes in, and the service that runs it."""

    make: Callable[[], Driver]
    file: str
    service: str
    display_name: str

    @property
    def path(self) -> str:
        """Where its image lies."""
        return f"{_FOLDER}\\{self.file}"


def _scaphandre(version: str, *, fixed: bool = False) -> InstallableDriver:
    make = partial(ScaphandreDriver, version, fixed=fixed)
    if VERSIONS[version].device == "ScaphandreDriver":
        return InstallableDriver(make, "ScaphandreDrv.sys", "ScaphandreDrv", "Scaphandre Driver Service")
    return InstallableDriver(make, "RAPLDrv.sys", "RAPLDrvService", "RAPL Driver Service")


def _meter(**kind: Any) -> InstallableDriver:
    make = partial(EnergyMeterDriver, **kind)
    return InstallableDriver(make, "intelppm.sys", "intelppm", "Intel Processor Driver")


def _winring0(variant: Literal["original", "checked"]) -> InstallableDriver:
    make = partial(WinRing0Driver, variant)
    return InstallableDriver(make, "WinRing0x64.sys", "WinRing0_1_2_0", "WinRing0_1_2_0")


#: Scaphandre's versions, with all their defects, the newest without them, and the other doors.
DRIVERS: Mapping[str, InstallableDriver] = MappingProxyType(
    {
        **{version: _scaphandre(version) for version in VERSIONS},
        "fixed": _scaphandre("v3.2", fixed=True),
        "emi": _meter(),
        "emi-v1": _meter(version=1),
        "emi-amd": _meter(names="amd"),
        "emi-mirrored": _meter(mirrors=4),
        "pawnio": InstallableDriver(PawnIoDriver, "PawnIO.sys", "PawnIO", "PawnIO"),
        "power-gadget": InstallableDriver(PowerGadgetDriver, "EnergyDriver.sys", "EnergyDriver", "EnergyDriver"),
        "winring0": _winring0("original"),
        "winring0-checked": _winring0("checked"),
    }
)
DEFAULT_DRIVERS = ("v3.2", "emi")


def install(system: WindowsSystem, names: Sequence[str]) -> None:
    """Put drivers on a system, as services, and start them.

    ValueError in one line for a name that is none, and for a driver that does not start here, such as a second one
    with the same device.
    """
    unknown = [name for name in names if name not in DRIVERS]
    if unknown:
        raise ValueError(f"there is no driver {unknown[0]!r}: name one of {', '.join(DRIVERS)}")
    process = system.process()
    services = process.services
    manager = services.open_manager()
    for name in dict.fromkeys(names):
        driver = DRIVERS[name]
        try:
            service = services.create_service(
                manager,
                driver.service,
                driver.display_name,
                ServiceRight.ALL_ACCESS,
                ServiceType.KERNEL_DRIVER,
                StartType.SYSTEM,
                ErrorControl.NORMAL,
                driver.path,
            )
            system.images[driver.path] = DriverImage(driver.make)
            services.start_service(service)
        except (Win32Error, BugCheck) as error:
            raise ValueError(f"the driver {name} cannot run here: {error}: leave it out") from None
    process.exit()
