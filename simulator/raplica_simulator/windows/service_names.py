# SPDX-License-Identifier: Apache-2.0
"""The words of the service control manager: types, states, controls, access rights, and which names are allowed.

Mirrors ``winsvc.h`` and the pages "Service Security and Access Rights" and "CreateService" of the Windows API.  The
members keep Microsoft's names without their prefix, and their numbers.
"""

from dataclasses import dataclass
from enum import IntEnum, IntFlag

__all__ = [
    "Accepted",
    "Control",
    "ErrorControl",
    "LONGEST_NAME",
    "ManagerRight",
    "ServiceRight",
    "ServiceState",
    "ServiceStatus",
    "ServiceType",
    "StartType",
    "granted_rights",
    "is_driver",
    "is_name",
    "needed_right",
]

#: Characters of a service's name and of its display name (nf-winsvc-createservicew).
LONGEST_NAME = 256


class ServiceType(IntEnum):
    """What kind of program a service is."""

    KERNEL_DRIVER = 0x1
    FILE_SYSTEM_DRIVER = 0x2
    WIN32_OWN_PROCESS = 0x10
    WIN32_SHARE_PROCESS = 0x20


class StartType(IntEnum):
    """Who starts a service: the loader, the kernel, the manager, somebody who asks, or nobody."""

    BOOT = 0
    SYSTEM = 1
    AUTO = 2
    DEMAND = 3
    DISABLED = 4


class ErrorControl(IntEnum):
    """What a failed start at boot leads to; here it is kept and shown, and no boot is given up for it."""

    IGNORE = 0
    NORMAL = 1
    SEVERE = 2
    CRITICAL = 3


class ServiceState(IntEnum):
    """Where a service is in its life.  Drivers are only ever STOPPED, RUNNING and STOP_PENDING."""

    STOPPED = 1
    START_PENDING = 2
    STOP_PENDING = 3
    RUNNING = 4
    CONTINUE_PENDING = 5
    PAUSE_PENDING = 6
    PAUSED = 7


class Control(IntEnum):
    """What a service is told by ControlService; 128 to 255 are each service's own."""

    STOP = 1
    PAUSE = 2
    CONTINUE = 3
    INTERROGATE = 4
    PARAMCHANGE = 6
    NETBINDADD = 7
    NETBINDREMOVE = 8
    NETBINDENABLE = 9
    NETBINDDISABLE = 10


class Accepted(IntFlag):
    """Controls that a service takes, besides INTERROGATE, which every running one does."""

    NOTHING = 0
    STOP = 1


class ManagerRight(IntFlag):
    """What a handle to the manager allows."""

    CONNECT = 0x1
    CREATE_SERVICE = 0x2
    ENUMERATE_SERVICE = 0x4
    LOCK = 0x8
    QUERY_LOCK_STATUS = 0x10
    MODIFY_BOOT_CONFIG = 0x20
    ALL_ACCESS = 0xF003F


class ServiceRight(IntFlag):
    """What a handle to a service allows."""

    QUERY_CONFIG = 0x1
    CHANGE_CONFIG = 0x2
    QUERY_STATUS = 0x4
    ENUMERATE_DEPENDENTS = 0x8
    START = 0x10
    STOP = 0x20
    PAUSE_CONTINUE = 0x40
    INTERROGATE = 0x80
    USER_DEFINED_CONTROL = 0x100
    DELETE = 0x10000
    ALL_ACCESS = 0xF01FF


@dataclass(frozen=True)
class ServiceStatus:
    """SERVICE_STATUS: where a service is, what it takes, and how its last run or start ended.

    ``win32_exit_code`` of a stopped one is 0 after a run, the error of a start that failed, or 1077 where nobody has
    tried to start it since the last boot.
    """

    service_type: ServiceType
    state: ServiceState
    controls_accepted: Accepted
    win32_exit_code: int
    service_specific_exit_code: int = 0
    check_point: int = 0
    wait_hint_ms: int = 0


_READ_CONTROL = 0x20000  # STANDARD_RIGHTS_READ, _WRITE and _EXECUTE alike
_MAXIMUM_ALLOWED = 0x02000000
_GENERIC_READ, _GENERIC_WRITE, _GENERIC_EXECUTE, _GENERIC_ALL = 0x80000000, 0x40000000, 0x20000000, 0x10000000
_GENERIC = _GENERIC_READ | _GENERIC_WRITE | _GENERIC_EXECUTE | _GENERIC_ALL

# What the generic rights stand for, and what somebody without administrator rights is given.
_MANAGER_GENERIC = {
    _GENERIC_READ: _READ_CONTROL | ManagerRight.ENUMERATE_SERVICE | ManagerRight.QUERY_LOCK_STATUS,
    _GENERIC_WRITE: _READ_CONTROL | ManagerRight.CREATE_SERVICE | ManagerRight.MODIFY_BOOT_CONFIG,
    _GENERIC_EXECUTE: _READ_CONTROL | ManagerRight.CONNECT | ManagerRight.LOCK,
    _GENERIC_ALL: int(ManagerRight.ALL_ACCESS),
}
_MANAGER_EVERYBODY = (
    _READ_CONTROL | ManagerRight.CONNECT | ManagerRight.ENUMERATE_SERVICE | ManagerRight.QUERY_LOCK_STATUS
)
_SERVICE_EVERYBODY = (
    _READ_CONTROL
    | ServiceRight.QUERY_CONFIG
    | ServiceRight.QUERY_STATUS
    | ServiceRight.ENUMERATE_DEPENDENTS
    | ServiceRight.INTERROGATE
    | ServiceRight.USER_DEFINED_CONTROL
)
_SERVICE_GENERIC = {
    _GENERIC_READ: _SERVICE_EVERYBODY & ~ServiceRight.USER_DEFINED_CONTROL,
    _GENERIC_WRITE: _READ_CONTROL | ServiceRight.CHANGE_CONFIG,
    _GENERIC_EXECUTE: _READ_CONTROL
    | ServiceRight.START
    | ServiceRight.STOP
    | ServiceRight.PAUSE_CONTINUE
    | ServiceRight.USER_DEFINED_CONTROL,
    _GENERIC_ALL: int(ServiceRight.ALL_ACCESS),
}


def granted_rights(kind: type[ManagerRight] | type[ServiceRight], wanted: int, *, administrator: bool) -> int | None:
    """The rights of a handle that somebody asks for; None where one of them is refused.

    Generic rights become what they stand for, MAXIMUM_ALLOWED everything that the caller may have.  The security
    descriptors are the default ones: administrators may do everything, everybody else may look.
    """
    manager = kind is ManagerRight
    generic = _MANAGER_GENERIC if manager else _SERVICE_GENERIC
    everybody = int(_MANAGER_EVERYBODY if manager else _SERVICE_EVERYBODY)
    allowed = int(kind.ALL_ACCESS) if administrator else everybody
    rights = wanted & ~(_GENERIC | _MAXIMUM_ALLOWED)
    for bit, meaning in generic.items():
        if wanted & bit:
            rights |= int(meaning)
    if wanted & _MAXIMUM_ALLOWED:
        rights |= allowed
    return None if rights & ~allowed else rights


def needed_right(control: int) -> ServiceRight | None:
    """The right that a handle needs to send a control; None for a control that is not defined."""
    if control == Control.STOP:
        return ServiceRight.STOP
    if control == Control.INTERROGATE:
        return ServiceRight.INTERROGATE
    if control in Control.__members__.values():
        return ServiceRight.PAUSE_CONTINUE
    return ServiceRight.USER_DEFINED_CONTROL if 128 <= control <= 255 else None


def is_driver(service_type: int) -> bool:
    """Whether services of a type live in the kernel."""
    return service_type in (ServiceType.KERNEL_DRIVER, ServiceType.FILE_SYSTEM_DRIVER)


def is_name(name: str) -> bool:
    """Whether a service can have a name: 1 to 256 characters, no slash of either kind."""
    return 0 < len(name) <= LONGEST_NAME and not set(name) & set("/\\\0")
