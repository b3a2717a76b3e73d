# SPDX-License-Identifier: Apache-2.0
"""The life of a service: made, started, stopped, marked, gone, and every error on the way."""

from __future__ import annotations

from dataclasses import replace

from wine_witness.images import image_path
from wine_witness.scripts.parts import DEMAND, DRIVER, ctl_code, install, manager, remove
from wine_witness.step import Script, Step, call

__all__ = ["SERVICES"]

_STOP, _PAUSE, _CONTINUE, _INTERROGATE, _SHUTDOWN = 1, 2, 3, 4, 5
_BOOT, _SYSTEM, _AUTO, _DISABLED = 0, 1, 2, 4
_BY_THEMSELVES = (_BOOT, _SYSTEM, _AUTO)
_OWN_PROCESS = 0x10
_PATH = image_path("v3")


def _create(keep: str, name: str, departure: str | None = None, /, **more: str | int) -> Step:
    settings: dict[str, str | int] = {"type": 1, "start": DEMAND, "path": _PATH, "display": name}
    return call("CreateService", departure, keep=keep, manager="m", name=name, **(settings | more))


def _query(departure: str | None = None) -> Step:
    return call("QueryServiceStatus", departure, service="s")


def _config() -> Step:
    return call("QueryServiceConfig", "image-path", service="s")


def _control(control: int, departure: str | None = None) -> Step:
    return call("ControlService", departure, service="s", control=control)


def _open(departure: str | None = None, /, keep: str = "h") -> Step:
    return call("CreateFile", departure, keep=keep, path=DRIVER)


_START = call("StartService", service="s")
_DELETE = call("DeleteService", service="s")
_CLOSE = call("CloseServiceHandle", handle="s")
_ASK = call("DeviceIoControl", handle="h", code=ctl_code(0x611), input="1106000001000000", output_length=8)
_FIND = call("OpenService", keep="s", manager="m", name="RaplicaDriver")

_LIFE = Script(
    "service-life",
    "a driver's service is made, started, stopped, started again, deleted; what the other calls say at each point",
    (
        manager(),
        _FIND,
        _open(),
        _create("s", "RaplicaDriver", display="Raplica Driver"),
        _config(),
        _query(),
        _create("t", "RaplicaDriver"),
        _create("t", "RAPLICADRIVER", display="Another"),
        _create("t", "Another", display="Raplica Driver"),
        _create("t", "Another", display="raplica driver"),
        _create("t", "Another", "display-name-of-another-service", display="RaplicaDriver"),
        call("DeleteService", "display-name-of-another-service", service="t"),
        call("CloseServiceHandle", "display-name-of-another-service", handle="t"),
        _control(_STOP),
        _control(_INTERROGATE),
        _open(),
        _START,
        _query("controls-accepted"),
        _START,
        _control(_PAUSE),
        _control(_CONTINUE),
        _control(_SHUTDOWN),
        _control(0),
        _control(77),
        _control(_INTERROGATE, "controls-accepted"),
        _open(),
        call("CloseHandle", handle="h"),
        _control(_STOP),
        _query(),
        _open(),
        _control(_STOP),
        _START,
        _query("controls-accepted"),
        _open(),
        call("CloseHandle", handle="h"),
        _control(_STOP),
        _DELETE,
        _query(),
        _CLOSE,
        _query(),
        _CLOSE,
        _FIND,
        call("CloseServiceHandle", handle="m"),
        call("OpenService", keep="s", manager="m", name="RaplicaDriver"),
    ),
)

_ARGUMENTS = Script(
    "service-arguments",
    "names, types and start types that a service may have, and those that it may not",
    (
        call("OpenSCManager", keep="m", access="0xF003F", database="ServicesActive"),
        call("OpenSCManager", "database-name", keep="n", access="0xF003F", database="ServicesElsewhere"),
        manager(),
        *(call("OpenService", keep="s", manager="m", name=name) for name in ("", "a/b", r"a\b")),
        *(_create("s", name, display="D") for name in ("", "a/b", r"a\b")),
        call("OpenService", "long-name", keep="s", manager="m", name="N" * 257),
        _create("s", "N" * 257, "long-name", display="D"),
        _create("s", "N" * 256),
        call("OpenService", keep="t", manager="m", name="n" * 256),
        call("CloseServiceHandle", handle="t"),
        _DELETE,
        _CLOSE,
        *(_create("s", "RaplicaDriver", type=kind) for kind in (0, 3, 0x40)),
        *(_create("s", "RaplicaDriver", type=_OWN_PROCESS, start=start) for start in (_BOOT, _SYSTEM)),
        _create("s", "RaplicaDriver", start=5),
        _create("s", "RaplicaDriver", "error-control", severity=4),
        *(call(name, "error-control", service="s") for name in ("QueryServiceConfig", "DeleteService")),
        call("CloseServiceHandle", "error-control", handle="s"),
        _create("s", "RaplicaDriver", path=""),
        *(
            step
            for start in (_BOOT, _SYSTEM, _AUTO, DEMAND, _DISABLED)
            for step in (
                _create("s", "RaplicaDriver", start=start),
                _config(),
                _DELETE,
                _CLOSE,
            )
        ),
        _create("s", "RaplicaDriver", type=_OWN_PROCESS, path=r"C:\raplica\client.exe"),
        _query(),
        _DELETE,
        _CLOSE,
    ),
)

_RIGHTS = Script(
    "service-rights",
    "calls on handles that were opened without the right for them",
    (
        call("OpenSCManager", keep="n", access="0x1"),
        call(
            "CreateService", keep="s", manager="n", name="RaplicaDriver", display="R", type=1, start=DEMAND, path=_PATH
        ),
        manager(),
        _create("all", "RaplicaDriver"),
        *(
            step
            for access in ("0x1", "0x4", "0x10", "0x20", "0x80", "0x10000")
            for step in (
                call("OpenService", keep="s", manager="n", name="RaplicaDriver", access=access),
                _config() if access == "0x1" else call("QueryServiceConfig", service="s"),
                _query(),
                _START,
                _query(),
                _control(_INTERROGATE),
                _control(_STOP),
                *((_DELETE,) if access != "0x10000" else ()),
                _CLOSE,
            )
        ),
        call("OpenService", keep="s", manager="n", name="RaplicaDriver", access="0x10000"),
        _DELETE,
        _CLOSE,
        call("ControlService", service="all", control=_STOP),
        call("CloseServiceHandle", handle="all"),
        call("OpenService", keep="s", manager="n", name="RaplicaDriver"),
    ),
)

_DELETION = Script(
    "service-deletion",
    "a service that is deleted while it runs, or while it is open elsewhere, is only marked",
    (
        *install("v3"),
        _DELETE,
        _DELETE,
        _query("controls-accepted"),
        _create("t", "RaplicaDriver"),
        call("OpenService", keep="t", manager="m", name="RaplicaDriver"),
        call("QueryServiceStatus", "controls-accepted", service="t"),
        _open(),
        call("CloseHandle", handle="h"),
        _CLOSE,
        call("ControlService", service="t", control=_STOP),
        call("QueryServiceStatus", service="t"),
        _create("s", "RaplicaDriver"),
        call("StartService", "start-of-a-marked-service", service="t"),
        call("ControlService", "start-of-a-marked-service", service="t", control=_STOP),
        call("CloseServiceHandle", handle="t"),
        _FIND,
        _create("s", "RaplicaDriver"),
        _query(),
        _DELETE,
        _CLOSE,
    ),
)

_FAILURES = Script(
    "service-start-failures",
    "services that cannot be started: switched off, without an image, with a wrong one, refused by the driver itself",
    (
        manager(),
        *(
            step
            for image, start, error, exit_code in (
                ("v3", _DISABLED, None, None),
                ("absent", DEMAND, "image-errors", "exit-code-of-a-failed-start"),
                ("corrupt", DEMAND, "image-errors", "exit-code-of-a-failed-start"),
                ("refuses", DEMAND, None, "exit-code-of-a-failed-start"),
            )
            for step in (
                _create("s", "RaplicaDriver", start=start, path=image_path(image)),
                call("StartService", error, service="s"),
                _query(exit_code),
                _open(),
                _control(_STOP, exit_code),
                _DELETE,
                _CLOSE,
            )
        ),
        _FIND,
    ),
)

_REBOOT = Script(
    "service-reboot",
    "which start types load a driver by themselves, and a deletion that a reboot ends",
    (
        call("Publish", machine="intel", seconds=0),
        *(
            step
            for start in (_BOOT, _SYSTEM, _AUTO, DEMAND, _DISABLED)
            for step in (
                manager(),
                _create("s", "RaplicaDriver", start=start),
                _open(),
                call("Reboot"),
                manager(),
                _FIND,
                _query("controls-accepted" if start in _BY_THEMSELVES else None),
                _open(),
                *((_ASK, call("CloseHandle", handle="h")) if start in _BY_THEMSELVES else ()),
                _control(_STOP),
                _DELETE,
                _CLOSE,
                _FIND,
            )
        ),
        _create("s", "RaplicaDriver"),
        _START,
        _DELETE,
        call("Reboot"),
        _open(),
        manager(),
        call("OpenService", "deletion-at-a-reboot", keep="s", manager="m", name="RaplicaDriver"),
    ),
)

_NO_UNLOAD = Script(
    "service-no-unload",
    "a driver without an unload routine cannot be stopped",
    (
        *install("no-unload"),
        _query("controls-accepted"),
        _control(_STOP, "no-unload-routine"),
        _query("no-unload-routine"),
        _DELETE,
        call("Reboot"),
        _open(),
    ),
)

_STALE = Script(
    "service-stale-link",
    "a driver that leaves its link behind: after a stop the name leads nowhere, after a start it is good again",
    (
        *install("stale-link"),
        _open(),
        call("CloseHandle", handle="h"),
        _control(_STOP),
        _open("stale-link"),
        _START,
        _open(),
        call("CloseHandle", handle="h"),
        *remove(),
        _open("stale-link"),
        call("Reboot"),
        _open(),
    ),
)

_HELD = Script(
    "service-open-handles",
    "a driver is stopped while its device is open",
    (
        call("Publish", machine="intel", seconds=0),
        *install("v3"),
        _open(),
        _control(_STOP, "stop-with-an-open-handle"),
        _query("stop-with-an-open-handle"),
        _open("stop-with-an-open-handle", keep="g"),
        replace(_ASK, departure="stop-with-an-open-handle"),
        call("CloseHandle", handle="h"),
        _query(),
        _START,
        _open(),
        call("CloseHandle", handle="h"),
        *remove(),
    ),
)

SERVICES = (_LIFE, _ARGUMENTS, _RIGHTS, _DELETION, _FAILURES, _REBOOT, _NO_UNLOAD, _STALE, _HELD)
