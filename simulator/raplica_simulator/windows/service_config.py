# SPDX-License-Identifier: Apache-2.0
r"""What the registry keeps of a service, what CreateService lets in there, and where its image path leads.

Mirrors the keys below ``HKLM\System\CurrentControlSet\Services`` and the parameters of CreateService.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from raplica_simulator.windows.nt_status import Win32, Win32Error
from raplica_simulator.windows.service_names import (
    LONGEST_NAME,
    ErrorControl,
    ServiceType,
    StartType,
    is_driver,
    is_name,
)

__all__ = ["ServiceConfig", "image_path", "read_config"]

_DRIVER_STARTS = (StartType.BOOT, StartType.SYSTEM)


@dataclass(frozen=True)
class ServiceConfig:
    r"""A service's key: Type, Start, ErrorControl, ImagePath, DisplayName and DependOnService.

    Attributes:
        name: as it was written when it was created; names are compared without regard to case.
        image_path: as it stands in the registry, for a driver with ``\??\`` in front of a drive.
        dependencies: the services that the manager starts before this one.
    """

    name: str
    display_name: str
    service_type: ServiceType
    start_type: StartType
    error_control: ErrorControl
    image_path: str
    dependencies: tuple[str, ...] = ()


def read_config(
    name: str,
    display_name: str | None,
    service_type: int,
    start_type: int,
    error_control: int,
    path: str,
    dependencies: Sequence[str] = (),
) -> ServiceConfig:
    """Check what CreateService was given.

    Win32Error 123 for a name that is none, 87 for any other value that makes no sense, such as SYSTEM start for what
    is no driver.  Without a display name the name is shown.
    """
    shown = display_name or name
    if not is_name(name) or len(shown) > LONGEST_NAME or not all(map(is_name, dependencies)):
        raise Win32Error(Win32.INVALID_NAME, name)
    try:
        kind, start, severity = ServiceType(service_type), StartType(start_type), ErrorControl(error_control)
    except ValueError:
        raise Win32Error(Win32.INVALID_PARAMETER, name) from None
    if not path or (start in _DRIVER_STARTS and not is_driver(kind)):
        raise Win32Error(Win32.INVALID_PARAMETER, name)
    written = f"\\??\\{path}" if is_driver(kind) and path[1:2] == ":" else path
    return ServiceConfig(name, shown, kind, start, severity, written, tuple(dependencies))


def image_path(written: str, system_root: str = "C:\\Windows") -> str:
    r"""Resolve a driver's ImagePath to a plain Win32 path.

    ``\??\C:\x.sys`` and ``C:\x.sys`` are C:\x.sys; ``\SystemRoot\x.sys`` and ``System32\drivers\x.sys`` lie in the
    system root.
    """
    if written.startswith("\\??\\"):
        return written[4:]
    if written.lower().startswith("\\systemroot\\"):
        return f"{system_root}\\{written[12:]}"
    absolute = written[1:2] == ":" or written.startswith("\\")
    return written if absolute else f"{system_root}\\{written}"
