# SPDX-License-Identifier: Apache-2.0
"""Where Wine is known to be unlike Windows: the only points at which the model may answer otherwise than Wine.

A step of a script names its departure, and only the named fields of its answer may differ. A departure that no longer
makes a difference is a mistake, too. `docs/wine.md` has the same list for people.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEPARTURES", "Departure"]

_WHOLE = ("*",)


@dataclass(frozen=True)
class Departure:
    """What Wine does, what Windows does, where that is known from, and the fields of an answer that differ by it."""

    wine: str
    windows: str
    source: str
    fields: tuple[str, ...] = _WHOLE

    def covers(self, field: str) -> bool:
        """Whether a field of an answer may differ."""
        return self.fields == _WHOLE or field in self.fields


DEPARTURES = {
    "controls-accepted": Departure(
        "a running driver accepts a stop and a shutdown (5)",
        "it accepts a stop (1)",
        "inferred",
        ("accepts",),
    ),
    "database-name": Departure(
        "a database that there is not is an invalid name (123)",
        "it does not exist (1065)",
        "OpenSCManager's documentation",
        ("error",),
    ),
    "deletion-at-a-reboot": Departure(
        "a service that was marked for deletion is there again",
        "it is gone",
        "DeleteService's documentation",
    ),
    "display-name-of-another-service": Departure(
        "a display name may be the name of another service",
        "it may not (1078)",
        "CreateService's documentation",
    ),
    "empty-name": Departure(
        "opening the empty name ends with 3",
        "unknown; the model says 123, as for every name that cannot be one",
        "not known",
        ("error",),
    ),
    "error-control": Departure(
        "an error control that is not defined is taken",
        "it is refused (87)",
        "CreateService's documentation",
    ),
    "exit-code-of-a-failed-start": Departure(
        "the exit code of a service whose driver did not start is 0",
        "it is the error of the start",
        "inferred",
        ("exit_code",),
    ),
    "image-errors": Departure(
        "an image that is missing or is none ends with 1114",
        "with 2 or 3, and with 193",
        "StartService's documentation, which names 3 for a missing one",
        ("error",),
    ),
    "image-path": Departure(
        r"the path of a driver's image is kept as it was given",
        r"`\??\` is put before it",
        "the registry of real installations",
        ("path",),
    ),
    "information-beyond-the-buffer": Departure(
        "of an answer that is longer than the caller's buffer, what fits is copied",
        "all of it is, over what lies behind the buffer",
        "the driver documentation on the sizes of buffers; the effect on a caller is inferred",
        ("output", "overrun"),
    ),
    "long-name": Departure(
        "a service's name of more than 256 characters is not found (1060), and cannot be made (31)",
        "it is an invalid name (123)",
        "CreateService's documentation",
        ("error",),
    ),
    "no-unload-routine": Departure(
        "stopping a driver without an unload routine succeeds, and it goes on",
        "it is refused (1052)",
        "inferred",
    ),
    "null-pointers": Departure(
        "a length without memory behind it never reaches the driver: success for input, 1784 for output",
        "998, and with METHOD_NEITHER it is the driver's business",
        "the driver documentation on transfer methods",
    ),
    "stale-link": Departure(
        "a link whose device is gone ends an open with 3",
        "with 2 or 3",
        "not known",
        ("error",),
    ),
    "start-of-a-marked-service": Departure(
        "a service that is marked for deletion starts",
        "it does not (1072)",
        "StartService's documentation",
    ),
    "status-of-an-open": Departure(
        "the status with which a driver ends an open is not looked at",
        "it becomes the error of CreateFile",
        "the driver documentation on IRP_MJ_CREATE",
    ),
    "stop-with-an-open-handle": Departure(
        "the driver is unloaded at once, and the handle that is left gives 5",
        "the service stops when the last handle is closed; new opens fail, the old handle works on",
        "inferred",
    ),
}
