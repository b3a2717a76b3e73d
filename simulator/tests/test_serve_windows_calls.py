# SPDX-License-Identifier: Apache-2.0
"""`raplica serve-windows`: Windows' calls as lines of JSON, from Python and from C, and from many at once."""

import json
import re
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from raplica_simulator.live.line_door import MOST_CLIENTS
from raplica_simulator.live.machine import LiveMachine, start
from raplica_simulator.load.plan import ConstantLoad
from raplica_simulator.serve.windows_door import WindowsDoor
from raplica_simulator.serve.windows_drivers import DEFAULT_DRIVERS, install
from raplica_simulator.windows.system import WindowsSystem

from .windows_client import CODE, EMI, READ_WRITE, SCAPHANDRE, Client

PAGE = Path(__file__).resolve().parents[2] / "docs" / "windows.md"


@pytest.fixture
def live() -> LiveMachine:
    return start("skylake-sp-2s", load=ConstantLoad({"package": 100, "dram": 8}))


@pytest.fixture
def system(live: LiveMachine) -> WindowsSystem:
    system = WindowsSystem(live.machine, lock=live.held())
    install(system, DEFAULT_DRIVERS)
    return system


def test_a_register_is_read_as_by_scaphandre_and_is_the_machines_own(door: WindowsDoor, live: LiveMachine) -> None:
    with Client(door.path) as client:
        handle = client.ask("CreateFile", path=SCAPHANDRE, access=READ_WRITE, flags=0x40000000)["handle"]
        assert client.register(handle, 0x606) == 0xA0E03
        before = client.register(handle, 0x611)
        live.advance(10)
        after = client.register(handle, 0x611)
        assert after - before == pytest.approx(1000 * 2**14, abs=2)
        with live.held() as machine:
            assert after == machine.msr.read(cpu=0, register=0x611)
        assert client.ask("CloseHandle", handle=handle) == {"ok": True}
        assert client.ask("CloseHandle", handle=handle) == {"ok": False, "error": 6}


def test_what_windows_refuses_has_its_error_and_leaves_the_returned_length_alone(door: WindowsDoor) -> None:
    with Client(door.path) as client:
        assert client.ask("CreateFile", path="\\\\.\\Nobody", access=0) == {"ok": False, "error": 2}
        assert client.ask("GetLastError") == {"ok": True, "last_error": 2}
        handle = client.ask("CreateFile", path=SCAPHANDRE, access=READ_WRITE)["handle"]
        short = {"handle": handle, "code": CODE, "in": "06060000", "size": 8}
        assert client.ask("DeviceIoControl", **short) == {"ok": False, "error": 1, "returned": None}
        weak = client.ask("CreateFile", path=SCAPHANDRE, access=0)["handle"]
        assert client.ask("DeviceIoControl", handle=weak, code=CODE)["error"] == 5
        nothing = {"handle": 999, "code": CODE, "in": None, "overlapped": True}
        assert client.ask("DeviceIoControl", **nothing)["error"] == 6
        assert client.ask("OpenSCManager", database="Other") == {"ok": False, "error": 1065}


def test_what_a_driver_writes_behind_the_buffer_is_told_apart(door: WindowsDoor) -> None:
    with Client(door.path) as client:
        handle = client.ask("CreateFile", path=SCAPHANDRE, access=READ_WRITE)["handle"]
        told = client.ask("DeviceIoControl", handle=handle, code=CODE, size=2, **{"in": "0606000000000000"})
        assert told == {"ok": True, "returned": 8, "out": "030e", "overrun": "0a0000000000"}


def test_the_processors_and_the_cpu_are_told_and_a_thread_can_be_placed(door: WindowsDoor) -> None:
    with Client(door.path) as client:
        assert client.ask("Cpu") == {"ok": True, "vendor": "GenuineIntel", "family": 6, "model": 85, "stepping": 4}
        processors = client.ask("LogicalProcessors")["processors"]
        assert len(processors) == 80
        assert processors[0] == {"group": 0, "number": 0, "package": 0, "die": 0, "core": 0}
        whole = {"group": 0, "mask": (1 << 40) - 1}
        assert client.ask("SetThreadGroupAffinity", group=1, mask=2) == {"ok": True, "previous": whole}
        # The connection is one thread: it stays where it was put.
        assert client.ask("SetThreadGroupAffinity", group=0, mask=1)["previous"] == {"group": 1, "mask": 2}
        assert client.ask("SetThreadGroupAffinity", group=0, mask=0) == {"ok": False, "error": 87}


def test_the_energy_meters_are_found_by_their_interface(door: WindowsDoor) -> None:
    with Client(door.path) as client:
        paths = client.ask("DeviceInterfaces", guid=EMI)["paths"]
        handle = client.ask("CreateFile", path=paths[0], access=0x80000000)["handle"]
        told = client.ask("DeviceIoControl", handle=handle, code=0x224000, size=2)
        assert (told["ok"], told["out"]) == (True, "0200")
        assert client.ask("DeviceInterfaces", guid="{00000000-0000-0000-0000-000000000000}")["paths"] == []


def test_a_service_is_stopped_deleted_and_created_anew(door: WindowsDoor) -> None:
    with Client(door.path) as client:
        manager = client.ask("OpenSCManager")["handle"]
        handle = client.ask("OpenService", manager=manager, name="scaphandredrv")["handle"]
        running = client.ask("QueryServiceStatus", handle=handle)["status"]
        assert running == {
            "type": 1,
            "state": 4,
            "controls_accepted": 1,
            "win32_exit_code": 0,
            "service_specific_exit_code": 0,
            "check_point": 0,
            "wait_hint_ms": 0,
        }
        config = client.ask("QueryServiceConfig", handle=handle)["config"]
        assert (config["name"], config["type"], config["start"]) == ("ScaphandreDrv", 1, 1)
        assert client.ask("ControlService", handle=handle, control=1)["status"] == {
            **running,
            "state": 1,
            "controls_accepted": 0,
        }
        refused = client.ask("ControlService", handle=handle, control=1)
        assert (refused["ok"], refused["error"], refused["status"]["state"]) == (False, 1062, 1)
        assert client.ask("DeleteService", handle=handle) == {"ok": True}
        assert client.ask("StartService", handle=handle) == {"ok": False, "error": 1072}
        assert client.ask("CloseServiceHandle", handle=handle) == {"ok": True}
        again = {"manager": manager, "name": "Mine", "path": config["path"], "dependencies": ["intelppm"]}
        handle = client.ask("CreateService", **again)["handle"]
        assert client.ask("CreateService", **again) == {"ok": False, "error": 1073}
        assert client.ask("StartService", handle=handle) == {"ok": True}
        assert client.ask("CreateFile", path=SCAPHANDRE, access=READ_WRITE)["ok"]


def test_a_connection_that_ends_closes_what_it_held(door: WindowsDoor, system: WindowsSystem) -> None:
    with Client(door.path) as client:
        manager = client.ask("OpenSCManager")["handle"]
        handle = client.ask("OpenService", manager=manager, name="ScaphandreDrv")["handle"]
        with Client(door.path) as holder:
            assert holder.ask("CreateFile", path=SCAPHANDRE, access=0)["ok"]
            assert client.ask("ControlService", handle=handle, control=1)["status"]["state"] == 3
        for _ in range(1000):
            if client.ask("QueryServiceStatus", handle=handle)["status"]["state"] == 1:
                break
        else:
            pytest.fail("the driver is still there")
    assert "ScaphandreDrv" not in [driver.name for driver in system.kernel.drivers]


def test_a_crash_is_told_at_each_call_until_the_machine_is_rebooted(live: LiveMachine, tmp_path: Path) -> None:
    system = WindowsSystem(live.machine, lock=live.held())
    install(system, ["v2-8-open"])  # which catches no fault
    with WindowsDoor(system, tmp_path / "door") as door, Client(door.path) as client:
        handle = client.ask("CreateFile", path=SCAPHANDRE, access=READ_WRITE)["handle"]
        absent = {"handle": handle, "code": CODE, "in": "adde000000000000", "size": 8}
        crash = client.ask("DeviceIoControl", **absent)
        assert (crash["ok"], crash["error"]) == (False, None)
        assert crash["bug_check"] > 0
        assert crash["message"].endswith(": ask for Reboot")
        for call in ("OpenSCManager", "GetLastError", "LogicalProcessors", "Cpu"):
            assert client.ask(call) == crash
        with Client(door.path) as other:
            assert other.ask("CreateFile", path=SCAPHANDRE, access=0) == crash
        assert client.ask("Reboot") == {"ok": True}
        assert client.ask("CloseHandle", handle=handle) == {"ok": False, "error": 6}
        assert client.ask("CreateFile", path=SCAPHANDRE, access=READ_WRITE)["ok"]


# Many at once.


def test_sixty_four_clients_open_and_read_at_once_and_one_more_is_told(door: WindowsDoor) -> None:
    clients = [Client(door.path) for _ in range(MOST_CLIENTS)]
    read: list[int] = []

    def work(client: Client) -> None:
        handle = client.ask("CreateFile", path=SCAPHANDRE, access=READ_WRITE)["handle"]
        read.extend(client.register(handle, 0x606) for _ in range(3))

    try:
        for client in clients:
            assert client.ask("Cpu")["ok"]
        with Client(door.path) as late:
            refused = json.loads(late.lines.readline())
            assert (refused["ok"], refused["error"]) == (False, 87)
            assert "clients are connected already" in refused["message"]
        threads = [threading.Thread(target=work, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        for client in clients:
            client.__exit__()
    assert read == [0xA0E03] * 3 * MOST_CLIENTS


def test_the_socket_is_its_owners_alone_and_gone_at_the_end(system: WindowsSystem, tmp_path: Path) -> None:
    with WindowsDoor(system, tmp_path / "door") as door:
        assert Path(door.path).stat().st_mode & 0o777 == 0o600
        with pytest.raises(ValueError, match="another machine answers there"):
            WindowsDoor(system, door.path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="the windows socket needs a path"):
        WindowsDoor(system, "")


# Another language.


def test_the_client_in_c_of_the_manual_reads_a_register(door: WindowsDoor, tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler here")
    source = re.search(r"```c\n(#include.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert source is not None, f"{PAGE} has no client in C"
    (tmp_path / "client.c").write_text(source[1])
    program = str(tmp_path / "client")
    subprocess.run([compiler, "-Wall", "-Werror", "-o", program, str(tmp_path / "client.c")], check=True)
    requests = [
        {"call": "CreateFile", "path": SCAPHANDRE, "access": READ_WRITE},
        {"call": "DeviceIoControl", "handle": 4, "code": CODE, "in": "0606000000000000", "size": 8},
        {"call": "CloseHandle", "handle": 4},
    ]
    done = subprocess.run(
        [program, door.path, *map(json.dumps, requests)], capture_output=True, text=True, check=True, timeout=60
    )
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"ok": True, "handle": 4},
        {"ok": True, "returned": 8, "out": "030e0a0000000000"},
        {"ok": True},
    ]
