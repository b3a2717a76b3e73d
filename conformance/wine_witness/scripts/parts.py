# SPDX-License-Identifier: Apache-2.0
"""What nearly every script begins and ends with, and the numbers that they share."""

from __future__ import annotations

from wine_witness.images import image_path
from wine_witness.step import Step, call

__all__ = [
    "ANY",
    "BUFFERED",
    "DEMAND",
    "DRIVER",
    "IN_DIRECT",
    "NEITHER",
    "OUT_DIRECT",
    "READ",
    "READ_WRITE",
    "STATUS",
    "WRITE",
    "ctl_code",
    "device",
    "install",
    "manager",
    "remove",
]

DRIVER = r"\\.\RaplicaDriver"
STATUS = r"\\.\RaplicaStatus"
DEMAND = 3
#: What a control code wants of the handle.
ANY, READ, WRITE, READ_WRITE = range(4)
#: How a control code's buffers go.
BUFFERED, IN_DIRECT, OUT_DIRECT, NEITHER = range(4)
_STOP = 1


def ctl_code(function: int, method: int = BUFFERED, access: int = READ_WRITE, device_type: int = 0x22) -> str:
    """Return a control code: the type of the device, the access, the function, the method."""
    return f"{device_type << 16 | access << 14 | function << 2 | method:#010x}"


def device(name: str) -> str:
    r"""Return \\.\NAME."""
    return rf"\\.\{name}"


def manager() -> Step:
    """Open the service manager with every right, as `m`."""
    return call("OpenSCManager", keep="m", access="0xF003F")


def install(image: str, name: str = "RaplicaDriver", start: int = DEMAND) -> tuple[Step, ...]:
    """Create a service for an image, kept as `s`, and start it."""
    return (
        manager(),
        call(
            "CreateService", keep="s", manager="m", name=name, display=name, type=1, start=start, path=image_path(image)
        ),
        call("StartService", service="s"),
    )


def remove(service: str = "s") -> tuple[Step, ...]:
    """Stop the service, delete it, and close its handle and the manager's."""
    return (
        call("ControlService", service=service, control=_STOP),
        call("DeleteService", service=service),
        call("CloseServiceHandle", handle=service),
        call("CloseServiceHandle", handle="m"),
    )
