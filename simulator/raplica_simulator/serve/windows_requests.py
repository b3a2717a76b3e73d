# SPDX-License-Identifier: Apache-2.0
"""Windows' calls as lines of JSON: what a request may hold, which call it makes, and what is answered.

Names and parameters are those of the Windows API, bytes are written in hexadecimal.  A call that fails on Windows is
answered with its error, and nothing here is an exception to the client.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from decimal import Decimal
from typing import Any, NamedTuple

from raplica_simulator.windows.nt_status import BugCheck, Win32, Win32Error
from raplica_simulator.windows.service_database import ControlRefused
from raplica_simulator.windows.service_names import ManagerRight, ServiceRight, ServiceStatus, ServiceType, StartType
from raplica_simulator.windows.win32_calls import Win32Calls

__all__ = ["CALLS", "LARGEST_OUTPUT", "answer", "failure"]

#: Bytes of an output buffer.  Windows allows more, which is of no use here.
LARGEST_OUTPUT = 1 << 20

_DWORD = 1 << 32
_REQUIRED = object()


class _Field(NamedTuple):
    """A parameter: how it is read, and what it is where it is left out."""

    read: Callable[[str, Any], Any]
    default: Any = _REQUIRED

    @property
    def is_required(self) -> bool:
        return self.default is _REQUIRED


def answer(process: Win32Calls, table: Mapping[str, Any]) -> dict[str, Any]:
    """Make the call that a request says, and answer it.

    ``{"ok": true, ...}``, or ``{"ok": false, "error": N}`` with the Win32 error; 87 and a ``message`` for a request
    that is none.  Where a driver has crashed the machine the error is null and ``bug_check`` says how.
    """
    try:
        call, arguments = _read(table)
    except ValueError as error:
        return failure(str(error))
    try:
        return {"ok": True} | call(process, arguments)
    except ControlRefused as error:
        return {"ok": False, "error": error.winerror, "status": _status(error.status)}
    except Win32Error as error:
        return {"ok": False, "error": error.winerror}
    except BugCheck as crash:
        return {"ok": False, "error": None, "bug_check": crash.code, "message": f"{crash.why}: ask for Reboot"}


def failure(why: str) -> dict[str, Any]:
    """The answer to what is no request."""
    return {"ok": False, "error": int(Win32.INVALID_PARAMETER), "message": why}


def _read(table: Mapping[str, Any]) -> "tuple[_Call, dict[str, Any]]":
    """The call and its arguments; ValueError in one line for a table that is no request."""
    name = table.get("call")
    if not isinstance(name, str) or name not in CALLS:
        raise ValueError(f"call: {_short(name)} is not one of {', '.join(CALLS)}")
    fields, call = CALLS[name]
    unknown = [key for key in table if key != "call" and key not in fields]
    if unknown:
        known = ", ".join(fields) or "nothing else"
        raise ValueError(f"{name}: unknown key {_short(unknown[0])}: it takes {known}")
    arguments: dict[str, Any] = {}
    for key, field in fields.items():
        if key in table:
            arguments[key] = field.read(f"{name}: {key}", table[key])
        elif field.is_required:
            raise ValueError(f"{name}: {key} is missing")
        else:
            arguments[key] = field.default
    return call, arguments


def _short(value: object) -> str:
    text = str(value) if isinstance(value, Decimal) else ascii(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


# How parameters are read.


def _wrong(where: str, value: object, wanted: str) -> ValueError:
    return ValueError(f"{where} is {_short(value)}: give {wanted}")


def _number(most: int) -> Callable[[str, Any], int]:
    def read(where: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise _wrong(where, value, f"a whole number from 0 to {most}")
        return value

    return read


def _text(where: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong(where, value, "text")
    return value


def _text_or_null(where: str, value: Any) -> str | None:
    return None if value is None else _text(where, value)


def _texts(where: str, value: Any) -> list[str]:
    if not isinstance(value, list):
        raise _wrong(where, value, "a list of names")
    return [_text(where, one) for one in value]


def _bytes_or_null(where: str, value: Any) -> bytes | None:
    if value is None:
        return None
    try:
        # Blanks, which fromhex lets pass, are no digits.
        if not isinstance(value, str) or (value and not value.isalnum()):
            raise ValueError
        return bytes.fromhex(value)
    except ValueError:
        raise _wrong(where, value, 'bytes in hexadecimal, such as "1106000000000000"') from None


def _flag(where: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _wrong(where, value, "true or false")
    return value


_dword = _number(_DWORD - 1)
_handle = _number((1 << 64) - 1)
_mask = _number((1 << 64) - 1)
_group = _number((1 << 16) - 1)


# The calls.

_Call = Callable[[Win32Calls, dict[str, Any]], dict[str, Any]]


def _device_io_control(process: Win32Calls, given: dict[str, Any]) -> dict[str, Any]:
    done = process.device_io_control(
        given["handle"], given["code"], given["in"], given["size"], overlapped=given["overlapped"]
    )
    said: dict[str, Any] = {"ok": done.ok, "returned": done.returned}
    if not done.ok:
        said["error"] = int(done.error)
    # A warning, such as MORE_DATA, brings data as well.
    if done.returned is not None:
        said["out"] = done.output.hex()
    if done.overrun:
        said["overrun"] = done.overrun.hex()
    return said


def _create_service(process: Win32Calls, given: dict[str, Any]) -> dict[str, Any]:
    handle = process.services.create_service(
        given["manager"],
        given["name"],
        given["display_name"],
        given["access"],
        given["type"],
        given["start"],
        given["error_control"],
        given["path"],
        dependencies=given["dependencies"],
    )
    return {"handle": handle}


def _set_affinity(process: Win32Calls, given: dict[str, Any]) -> dict[str, Any]:
    return {"previous": process.set_thread_group_affinity(given["group"], given["mask"])._asdict()}


def _cpu(process: Win32Calls, _given: dict[str, Any]) -> dict[str, Any]:
    family, model, stepping = process.cpu_signature()
    return {"vendor": process.cpu_vendor(), "family": family, "model": model, "stepping": stepping}


def _processors(process: Win32Calls, _given: dict[str, Any]) -> dict[str, Any]:
    return {"processors": [one._asdict() for one in process.logical_processors()]}


def _config(process: Win32Calls, given: dict[str, Any]) -> dict[str, Any]:
    found = asdict(process.services.query_service_config(given["handle"]))
    kept = {"name": found["name"], "type": found["service_type"], "start": found["start_type"]}
    return {
        "config": kept
        | {key: found[key] for key in ("error_control", "display_name", "dependencies")}
        | {"path": found["image_path"]}
    }


def _status(status: ServiceStatus) -> dict[str, int]:
    fields = asdict(status)
    return {"type": fields.pop("service_type")} | fields


def _nothing(call: Callable[[Win32Calls, dict[str, Any]], None]) -> _Call:
    def answered(process: Win32Calls, given: dict[str, Any]) -> dict[str, Any]:
        call(process, given)
        return {}

    return answered


_HANDLE = {"handle": _Field(_handle)}

#: Every call that there is: its parameters, and what makes it.
CALLS: Mapping[str, tuple[Mapping[str, _Field], _Call]] = {
    "CreateFile": (
        {
            "path": _Field(_text),
            "access": _Field(_dword),
            "share": _Field(_dword, 3),
            "flags": _Field(_dword, 0),
        },
        lambda process, given: {"handle": process.create_file(**given)},
    ),
    "DeviceIoControl": (
        _HANDLE
        | {
            "code": _Field(_dword),
            "in": _Field(_bytes_or_null, None),
            "size": _Field(_number(LARGEST_OUTPUT), 0),
            "overlapped": _Field(_flag, False),
        },
        _device_io_control,
    ),
    "CloseHandle": (_HANDLE, _nothing(lambda process, given: process.close_handle(**given))),
    "GetLastError": ({}, lambda process, _given: {"last_error": process.get_last_error()}),
    "DeviceInterfaces": (
        {"guid": _Field(_text)},
        lambda process, given: {"paths": process.device_interfaces(**given)},
    ),
    "LogicalProcessors": ({}, _processors),
    "SetThreadGroupAffinity": ({"group": _Field(_group), "mask": _Field(_mask)}, _set_affinity),
    "Cpu": ({}, _cpu),
    "OpenSCManager": (
        {"database": _Field(_text_or_null, None), "access": _Field(_dword, int(ManagerRight.ALL_ACCESS))},
        lambda process, given: {"handle": process.services.open_manager(**given)},
    ),
    "CreateService": (
        {
            "manager": _Field(_handle),
            "name": _Field(_text),
            "path": _Field(_text),
            "display_name": _Field(_text_or_null, None),
            "access": _Field(_dword, int(ServiceRight.ALL_ACCESS)),
            "type": _Field(_dword, int(ServiceType.KERNEL_DRIVER)),
            "start": _Field(_dword, int(StartType.DEMAND)),
            "error_control": _Field(_dword, 1),
            "dependencies": _Field(_texts, ()),
        },
        _create_service,
    ),
    "OpenService": (
        {
            "manager": _Field(_handle),
            "name": _Field(_text),
            "access": _Field(_dword, int(ServiceRight.ALL_ACCESS)),
        },
        lambda process, given: {"handle": process.services.open_service(**given)},
    ),
    "StartService": (_HANDLE, _nothing(lambda process, given: process.services.start_service(**given))),
    "ControlService": (
        _HANDLE | {"control": _Field(_dword)},
        lambda process, given: {"status": _status(process.services.control_service(**given))},
    ),
    "QueryServiceStatus": (
        _HANDLE,
        lambda process, given: {"status": _status(process.services.query_service_status(**given))},
    ),
    "QueryServiceConfig": (_HANDLE, _config),
    "DeleteService": (_HANDLE, _nothing(lambda process, given: process.services.delete_service(**given))),
    "CloseServiceHandle": (_HANDLE, _nothing(lambda process, given: process.services.close(**given))),
    "Reboot": ({}, _nothing(lambda process, _given: process.system.reboot())),
}
