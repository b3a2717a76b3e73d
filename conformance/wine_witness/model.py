# SPDX-License-Identifier: Apache-2.0
"""The simulator's Windows, asked in the words of the scripts.

A script's images stand for the simulator's drivers: the versions of the Scaphandre driver, fixed where the C driver
looks at a request first and as they are where it does not, and drivers that misbehave in one way each.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import PureWindowsPath

from raplica_simulator.windows.io_control import BadPointer, Driver
from raplica_simulator.windows.nt_status import NtStatus, Win32Error
from raplica_simulator.windows.scaphandre_driver import ScaphandreDriver
from raplica_simulator.windows.service_database import ControlRefused
from raplica_simulator.windows.service_names import ServiceStatus
from raplica_simulator.windows.system import DriverImage, WindowsSystem
from wine_witness.images import image_path
from wine_witness.model_drivers import RefusingDriver, StatusDriver, WithoutUnload
from wine_witness.published import make_machine, shown
from wine_witness.step import Answer, Script, Step

__all__ = ["Model"]

_UNTOUCHED = 0xEE
_DRIVERS: dict[str, Callable[[], Driver]] = {
    "v1": lambda: ScaphandreDriver("v1", fixed=True),
    "v2-4": lambda: ScaphandreDriver("v2-4", fixed=True),
    "v2-8": lambda: ScaphandreDriver("v2-8", fixed=True),
    "v3": lambda: ScaphandreDriver("v3.2", fixed=True),
    "v1-unchecked": lambda: ScaphandreDriver("v1"),
    "v2-4-unchecked": lambda: ScaphandreDriver("v2-4"),
    "v2-8-unchecked": lambda: ScaphandreDriver("v2-8"),
    "v3-unchecked": lambda: ScaphandreDriver("v3.2"),
    "stale-link": lambda: ScaphandreDriver("v3.2"),
    "no-unload": lambda: WithoutUnload(ScaphandreDriver("v3.2", fixed=True)),
    "refuses": lambda: RefusingDriver(NtStatus.DEVICE_NOT_READY),
    "status": StatusDriver,
}
#: The first versions' device had another name.
_OLD_NAME, _NEW_NAME = "RAPLDriver", "ScaphandreDriver"
_OLD = {name + more for name in ("v1", "v2-4", "v2-8") for more in ("", "-unchecked")}


class Model:
    """The simulated Windows on the machine that a script publishes."""

    def __init__(self, script: Script) -> None:
        machines = [str(step.arguments["machine"]) for step in script.steps if step.call == "Publish"]
        images = {PureWindowsPath(str(step.arguments.get("path", ""))).stem for step in script.steps}
        self._machine = make_machine(machines[0] if machines else "intel")
        self._device = _OLD_NAME if images & _OLD else _NEW_NAME
        self._system = WindowsSystem(self._machine)
        self._system.images.update({image_path(name): DriverImage(make) for name, make in _DRIVERS.items()})
        self._system.images[image_path("corrupt")] = DriverImage(StatusDriver, corrupt=True)
        self._published = False
        self._calls: dict[str, Callable[[Step], Answer]] = {
            "OpenSCManager": self._open_manager,
            "CreateService": self._create_service,
            "OpenService": self._open_service,
            "StartService": self._start_service,
            "ControlService": self._control_service,
            "QueryServiceStatus": self._query_status,
            "QueryServiceConfig": self._query_config,
            "DeleteService": self._delete_service,
            "CloseServiceHandle": self._close_service_handle,
            "CreateFile": self._create_file,
            "CloseHandle": self._close_handle,
            "DeviceIoControl": self._device_io_control,
            "Crowd": self._crowd,
        }
        self._begin()

    def _begin(self) -> None:
        self._process = self._system.process()
        self._services = self._process.services
        self._handles: dict[str, int] = {}

    def publish(self, machine: str, seconds: int) -> Answer:
        """Let time pass; the simulated driver reads the machine itself."""
        del machine
        self._published = True
        self._machine.clock.advance(seconds=seconds)
        return shown(self._machine)

    def reboot(self) -> Answer:
        """Start the system anew, with a new process."""
        self._system.reboot()
        self._begin()
        return shown(self._machine) if self._published else {}

    def do(self, step: Step) -> Answer:
        """Make one call, and tell it as the client does."""
        try:
            return self._calls[step.call](step)
        except ControlRefused as error:
            # The client tells the status for these alone: see its source.
            told = _status(error.status) if error.winerror in (1061, 1062) else {}
            return {"ok": False, "error": error.winerror} | told
        except Win32Error as error:
            return {"ok": False, "error": error.winerror}

    def _handle(self, step: Step, argument: str) -> int:
        return self._handles.get(str(step.arguments[argument]), 0)

    def _keep(self, step: Step, opened: Callable[[], int]) -> Answer:
        name = str(step.arguments["keep"])
        self._handles[name] = 0
        self._handles[name] = opened()
        return {"ok": True}

    def _open_manager(self, step: Step) -> Answer:
        database = step.arguments.get("database")
        return self._keep(
            step,
            lambda: self._services.open_manager(None if database is None else str(database), _number(step, "access")),
        )

    def _create_service(self, step: Step) -> Answer:
        return self._keep(
            step,
            lambda: self._services.create_service(
                self._handle(step, "manager"),
                str(step.arguments["name"]),
                str(step.arguments["display"]),
                _number(step, "access", 0xF01FF),
                _number(step, "type"),
                _number(step, "start"),
                _number(step, "severity", 1),
                str(step.arguments["path"]),
            ),
        )

    def _open_service(self, step: Step) -> Answer:
        return self._keep(
            step,
            lambda: self._services.open_service(
                self._handle(step, "manager"), str(step.arguments["name"]), _number(step, "access", 0xF01FF)
            ),
        )

    def _start_service(self, step: Step) -> Answer:
        self._services.start_service(self._handle(step, "service"))
        return {"ok": True}

    def _control_service(self, step: Step) -> Answer:
        status = self._services.control_service(self._handle(step, "service"), _number(step, "control"))
        return {"ok": True} | _status(status)

    def _query_status(self, step: Step) -> Answer:
        return {"ok": True} | _status(self._services.query_service_status(self._handle(step, "service")))

    def _query_config(self, step: Step) -> Answer:
        config = self._services.query_service_config(self._handle(step, "service"))
        return {
            "ok": True,
            "type": int(config.service_type),
            "start": int(config.start_type),
            "severity": int(config.error_control),
            "display": config.display_name,
            "path": config.image_path,
        }

    def _delete_service(self, step: Step) -> Answer:
        self._services.delete_service(self._handle(step, "service"))
        return {"ok": True}

    def _close_service_handle(self, step: Step) -> Answer:
        self._services.close(self._handle(step, "handle"))
        return {"ok": True}

    def _open_device(self, step: Step) -> int:
        return self._process.create_file(
            self._path(str(step.arguments["path"])),
            _number(step, "access", 0xC0000000),
            _number(step, "share", 3),
            _number(step, "flags", 0),
        )

    def _create_file(self, step: Step) -> Answer:
        return self._keep(step, lambda: self._open_device(step))

    def _close_handle(self, step: Step) -> Answer:
        self._process.close_handle(self._handle(step, "handle"))
        return {"ok": True}

    def _device_io_control(self, step: Step) -> Answer:
        return self._control(step, self._handle(step, "handle"))

    def _control(self, step: Step, handle: int) -> Answer:
        arguments = step.arguments
        size = _number(step, "output_length", 0)
        data: bytes | BadPointer | None = bytes.fromhex(str(arguments["input"])) if "input" in arguments else None
        if data is None and "input_length" in arguments:
            data = BadPointer(_number(step, "input_length"))
        null = arguments.get("output") == "null"
        buffer = BadPointer() if null else bytes([_UNTOUCHED]) * size
        done = self._process.device_io_control(handle, _number(step, "code"), data, size, buffer=buffer)
        said: Answer = {"ok": True} if done.ok else {"ok": False, "error": int(done.error)}
        if done.returned is not None:
            said["returned"] = done.returned
        seen = (done.output + done.overrun).rstrip(bytes([_UNTOUCHED]))
        if seen:
            said["output"] = seen.hex()
        if len(seen) > size:
            said["overrun"] = len(seen) - size
        return said

    def _crowd(self, step: Step) -> Answer:
        times = _number(step, "times")
        counts: Counter[tuple[tuple[str, object], ...]] = Counter()
        lock = threading.Lock()
        begin = threading.Barrier(_number(step, "threads"))

        def member() -> None:
            begin.wait()
            for _ in range(times):
                try:
                    handle = self._open_device(step)
                except Win32Error as error:
                    said: Answer = {"ok": False, "open_error": error.winerror}
                else:
                    said = self._control(step, handle)
                    self._process.close_handle(handle)
                with lock:
                    counts[tuple(said.items())] += 1

        threads = [threading.Thread(target=member) for _ in range(begin.parties)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return {"answers": [{"times": count, **dict(said)} for said, count in sorted(counts.items(), key=str)]}

    def _path(self, path: str) -> str:
        return re.sub("RaplicaDriver", self._device, path, flags=re.IGNORECASE)


def _number(step: Step, argument: str, otherwise: int | None = None) -> int:
    value = step.arguments.get(argument, otherwise)
    if value is None:
        raise KeyError(f"{step.call} needs {argument}")
    return int(value, 0) if isinstance(value, str) else value


def _status(status: ServiceStatus) -> Answer:
    return {
        "type": int(status.service_type),
        "state": int(status.state),
        "accepts": int(status.controls_accepted),
        "exit_code": status.win32_exit_code,
        "specific_code": status.service_specific_exit_code,
    }
