# SPDX-License-Identifier: Apache-2.0
"""`raplica serve-windows`: Windows' calls as lines of JSON, the command around them, and a client in C."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from errno import EAGAIN
from pathlib import Path
from typing import Any, Self

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raplica_simulator.cli import main
from raplica_simulator.live.line_door import MOST_CLIENTS
from raplica_simulator.live.machine import LiveMachine, start
from raplica_simulator.live.signals import stopped_by_signals
from raplica_simulator.load.plan import ConstantLoad
from raplica_simulator.machine import Machine
from raplica_simulator.serve import windows as serving
from raplica_simulator.serve.windows_door import WindowsDoor
from raplica_simulator.serve.windows_drivers import DEFAULT_DRIVERS, DRIVERS, install
from raplica_simulator.serve.windows_requests import CALLS, LARGEST_OUTPUT, answer
from raplica_simulator.windows.system import WindowsSystem

PAGE = Path(__file__).resolve().parents[2] / "docs" / "windows.md"
SCAPHANDRE = "\\\\.\\ScaphandreDriver"
READ_WRITE = 0xC0000000
CODE = 0x22D844  # what Scaphandre asks with
EMI = "{45BD8344-7ED6-49CF-A440-C276C933B053}"


@pytest.fixture
def live() -> LiveMachine:
    return start("skylake-sp-2s", load=ConstantLoad({"package": 100, "dram": 8}))


@pytest.fixture
def system(live: LiveMachine) -> WindowsSystem:
    system = WindowsSystem(live.machine, lock=live.held())
    install(system, DEFAULT_DRIVERS)
    return system


@pytest.fixture
def door(system: WindowsSystem, tmp_path: Path) -> Iterator[WindowsDoor]:
    with WindowsDoor(system, tmp_path / "door") as opened:
        yield opened


class Client:
    """A client that knows nothing but JSON."""

    def __init__(self, path: str | Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(60)
        self.socket.connect(str(path))
        self.lines = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.lines.close()
        self.socket.close()

    def send(self, data: bytes) -> Any:
        self.socket.sendall(data)
        return json.loads(self.lines.readline())

    def ask(self, call: str, **parameters: object) -> Any:
        return self.send(json.dumps({"call": call, **parameters}).encode() + b"\n")

    def register(self, handle: int, register: int, cpu: int = 0) -> int:
        request = (cpu << 32 | register).to_bytes(8, "little").hex()
        told = self.ask("DeviceIoControl", handle=handle, code=CODE, size=8, **{"in": request})
        assert (told["ok"], told["returned"]) == (True, 8)
        return int.from_bytes(bytes.fromhex(told["out"]), "little")


# What is said.


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
        assert client.ask("OpenSCManager") == crash
        with Client(door.path) as other:
            assert other.ask("CreateFile", path=SCAPHANDRE, access=0) == crash
        assert client.ask("Reboot") == {"ok": True}
        assert client.ask("CloseHandle", handle=handle) == {"ok": False, "error": 6}
        assert client.ask("CreateFile", path=SCAPHANDRE, access=READ_WRITE)["ok"]


# What is no request.


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"nonsense", "this is no JSON"),
        (b'{"call": "Cpu", "x": NaN}', "this is no JSON"),
        (b"[]", "no JSON object"),
        (b"{}", "call: None is not one of CreateFile"),
        (b'{"call": ["Cpu"]}', "is not one of"),
        (b'{"call": "Cpu", "path": ""}', "Cpu: unknown key 'path': it takes nothing else"),
        (b'{"call": "CreateFile"}', "CreateFile: path is missing"),
        (b'{"call": "CreateFile", "path": 5, "access": 0}', "path is 5: give text"),
        (b'{"call": "CreateFile", "path": "x", "access": -1}', "access is -1: give a whole number from 0"),
        (b'{"call": "CreateFile", "path": "x", "access": 4294967296}', "from 0 to 4294967295"),
        (b'{"call": "CreateFile", "path": "x", "access": true}', "access is True"),
        (b'{"call": "CreateFile", "path": "x", "access": 1.5}', "access is 1.5: give a whole number"),
        (b'{"call": "CreateFile", "path": "x", "access": 0, "acess": 0}', "unknown key 'acess': it takes path, access"),
        (b'{"call": "DeviceIoControl", "handle": 4, "code": 0, "in": "0"}', "bytes in hexadecimal"),
        (b'{"call": "DeviceIoControl", "handle": 4, "code": 0, "in": "00 11"}', "bytes in hexadecimal"),
        (b'{"call": "DeviceIoControl", "handle": 4, "code": 0, "in": 7}', "bytes in hexadecimal"),
        (b'{"call": "DeviceIoControl", "handle": 4, "code": 0, "size": 1048577}', f"from 0 to {LARGEST_OUTPUT}"),
        (b'{"call": "DeviceIoControl", "handle": 4, "code": 0, "overlapped": 1}', "give true or false"),
        (b'{"call": "CreateService", "manager": 1, "name": "a", "path": "b", "dependencies": "c"}', "a list of names"),
        (b'{"call": "CreateService", "manager": 1, "name": "a", "path": "b", "dependencies": [1]}', "give text"),
        (b'{"call": "OpenSCManager", "database": 1}', "OpenSCManager: database is 1: give text"),
        (b'{"call": "%s"}' % (b"x" * 500), "xxx... is not one of"),
    ],
)
def test_a_line_that_is_no_request_is_a_wrong_parameter_in_one_line_and_the_next_is_answered(
    door: WindowsDoor, line: bytes, said: str
) -> None:
    with Client(door.path) as client:
        refused = client.send(line + b"\n")
        assert (refused["ok"], refused["error"]) == (False, 87)
        assert said in refused["message"]
        assert "\n" not in refused["message"]
        assert client.ask("Cpu")["ok"]


_values: st.SearchStrategy[object] = st.one_of(
    st.integers(min_value=-1, max_value=2**65),
    st.sampled_from(
        [4, 0x510000, CODE, 0x224008, SCAPHANDRE, "ScaphandreDrv", EMI, "00" * 8, "zz", "", None, True, []]
    ),
    st.text(max_size=6),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    requests=st.lists(
        st.tuples(
            st.sampled_from(list(CALLS)),
            st.dictionaries(st.sampled_from(sorted({key for fields, _ in CALLS.values() for key in fields})), _values),
            st.booleans(),
        ),
        max_size=6,
    )
)
def test_whatever_is_asked_the_answer_is_a_result_or_an_error_of_windows(
    system: WindowsSystem, requests: list[tuple[str, dict[str, Any], bool]]
) -> None:
    process = system.process()
    for call, parameters, trimmed in requests:
        fields, _ = CALLS[call]
        kept = {key: value for key, value in parameters.items() if key in fields} if trimmed else parameters
        told = answer(process, {"call": call, **kept})
        assert json.loads(json.dumps(told)) == told
        assert told["ok"] is True or isinstance(told["error"], int)
    process.exit()


def test_every_call_can_be_made_with_what_it_cannot_do_without(door: WindowsDoor) -> None:
    samples: dict[str, object] = {"path": "x", "guid": EMI, "name": "x"}
    with Client(door.path) as client:
        for call, (fields, _) in CALLS.items():
            needed = {key: samples.get(key, 1) for key, field in fields.items() if field.is_required}
            assert "message" not in client.ask(call, **needed)
            for key in needed:
                without = client.ask(call, **{other: needed[other] for other in needed if other != key})
                assert without["message"] == f"{call}: {key} is missing"


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


# Drivers.


@pytest.mark.parametrize("name", DRIVERS)
def test_every_driver_can_be_installed_runs_and_comes_back_at_boot(live: LiveMachine, name: str) -> None:
    system = WindowsSystem(live.machine, lock=live.held())
    install(system, [name, name])
    for _ in range(2):
        assert [(one.config.name, one.state) for one in system.services] == [(DRIVERS[name].service, 4)]
        assert len(system.kernel.drivers) == 1
        system.reboot()


def test_drivers_that_cannot_run_side_by_side_and_those_that_are_none_are_refused(live: LiveMachine) -> None:
    for names, said in (
        (["v3.2", "v2-8-open"], "the driver v2-8-open cannot run here: .*SERVICE_EXISTS.*: leave it out"),
        (["v3.2", "none"], "there is no driver 'none': name one of v0-none, "),
    ):
        system = WindowsSystem(live.machine, lock=live.held())
        with pytest.raises(ValueError, match=said) as refused:
            install(system, names)
        assert "\n" not in str(refused.value)


# The command.


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command in this process: status, stdout, stderr."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["serve-windows", *map(str, arguments)])
        told = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, told.out, told.err

    return call


@pytest.fixture
def in_between(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], list[BaseException]]:
    """Do something, as another program would, once the command is ready, and then end it by SIGTERM."""
    errors: list[BaseException] = []

    def arrange(work: Callable[[], None]) -> list[BaseException]:
        def attend() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - told to the test's own thread
                errors.append(error)
            os.kill(os.getpid(), signal.SIGTERM)

        def serve(*arguments: Any, ready: Callable[[], None], **options: Any) -> None:
            def both() -> None:
                ready()
                threading.Thread(target=attend).start()

            serve_really(*arguments, ready=both, **options)

        serve_really = serving.serve_windows
        monkeypatch.setattr(serving, "serve_windows", serve)
        return errors

    return arrange


def test_the_command_answers_until_a_signal_and_leaves_no_socket(
    run: Callable[..., tuple[int, str, str]],
    in_between: Callable[[Callable[[], None]], list[BaseException]],
    tmp_path: Path,
) -> None:
    path, orders = tmp_path / "door", tmp_path / "orders"
    found: list[int] = []

    def work() -> None:
        with Client(path) as client:
            handle = client.ask("CreateFile", path=SCAPHANDRE, access=READ_WRITE)["handle"]
            found.append(client.register(handle, 0x611))
            with Client(orders) as control:
                control.lines.readline()
                assert control.send(b'{"do": "advance", "seconds": 5}\n')["ok"]
            found.append(client.register(handle, 0x611))
            assert client.ask("OpenSCManager")["error"] == 5  # for everything: nobody is administrator
            assert client.ask("OpenSCManager", access=1)["ok"]

    errors = in_between(work)
    options = ("--load", "package=10", "--step", "--control", orders, "--standard-user", "--at", "1")
    status, out, err = run("kabylake", path, *options)
    assert errors == []
    assert (status, out) == (0, "ready\n")
    assert err == f"raplica: Windows on kabylake answers at {path} until Ctrl-C or SIGTERM\n"
    assert found[1] - found[0] == pytest.approx(50 * 2**14, abs=2)
    assert list(tmp_path.iterdir()) == []


def test_time_runs_and_other_drivers_can_be_named(
    run: Callable[..., tuple[int, str, str]],
    in_between: Callable[[Callable[[], None]], list[BaseException]],
    tmp_path: Path,
) -> None:
    path = tmp_path / "door"

    def work() -> None:
        with Client(path) as client:
            assert client.ask("CreateFile", path=SCAPHANDRE, access=0)["error"] == 2
            handle = client.ask("CreateFile", path="\\\\.\\RAPLDriver", access=READ_WRITE)["handle"]
            asked = {"handle": handle, "code": CODE, "size": 8, "in": "1106000000000000"}
            first = client.ask("DeviceIoControl", **asked)["out"]
            while client.ask("DeviceIoControl", **asked)["out"] == first:
                pass

    errors = in_between(work)
    status, out, _ = run("kabylake", path, "--driver", "v2-8", "--driver", "winring0")
    assert errors == []
    assert (status, out) == (0, "ready\n")


def test_an_order_ends_it_as_a_signal_does(
    run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    serve_really = serving.serve_windows

    def serve(*arguments: Any, ready: Callable[[], None], **options: Any) -> None:
        def both() -> None:
            ready()
            with Client(tmp_path / "orders") as control:
                control.lines.readline()
                assert control.send(b'{"do": "end"}\n')["ok"]

        serve_really(*arguments, ready=both, **options)

    monkeypatch.setattr(serving, "serve_windows", serve)
    assert run("kabylake", tmp_path / "door", "--control", tmp_path / "orders")[:2] == (0, "ready\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["none", "door"], 2, "none"),
        (["kabylake", "folder/none/door"], 2, "name a path in a folder that is there"),
        (["kabylake", "file"], 2, "something else is there already"),
        (["kabylake", "door", "--driver", "v9"], 2, "there is no driver 'v9'"),
        (["kabylake", "door", "--driver", "v3", "--driver", "v3.1"], 2, "cannot run here"),
        (["kabylake", "door", "--load", "package=much"], 2, "--load"),
        (["kabylake", "door", "--control", "file"], 2, "something else is there already"),
        (["kabylake"], 2, "SOCKET"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_socket(
    run: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    status: int,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    code, out, err = run(*arguments)
    assert (code, out) == (status, "")
    assert err.count("\n") == 1
    assert said in err
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_where_nothing_can_be_started_it_says_so(
    run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError

    monkeypatch.setattr(threading.Thread, "start", refuse)
    status, _, err = run("kabylake", tmp_path / "door")
    assert status == 1
    assert os.strerror(EAGAIN) in err or "limit" in err
    assert list(tmp_path.iterdir()) == []


def test_who_reads_no_more_ends_it(
    run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def serve(*_: object, **__: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(serving, "serve_windows", serve)
    assert run("kabylake", tmp_path / "door") == (141, "", "")


def test_a_program_can_do_what_the_command_does(make_machine: Callable[..., Machine], tmp_path: Path) -> None:
    odd = make_machine(more='[[faults.sysfs]]\npath = "class/powercap/none"\non = "read"\nerrno = "EIO"')
    live, told = start(odd.profile), list[str]()

    def ready() -> None:
        with Client(tmp_path / "door") as client:
            assert client.ask("Cpu")["ok"]
        os.kill(os.getpid(), signal.SIGTERM)

    serving.serve_windows(live, str(tmp_path / "door"), ready=ready, tell=told.append)
    assert told[0].startswith("warning: faults.sysfs: class/powercap/none")
    assert live.machine.clock.now_ns > 0


def test_its_help_names_the_drivers_and_the_machines(run: Callable[..., tuple[int, str, str]]) -> None:
    status, out, _ = run("--help")
    assert status == 0
    for word in (*DRIVERS, "skylake-sp-2s", "--standard-user", "--control"):
        assert word in out


def test_signals_that_were_ignored_stay_so_and_all_are_as_before_afterwards() -> None:
    stop = threading.Event()
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopped_by_signals(stop):
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.is_set()
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.is_set()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


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
