# SPDX-License-Identifier: Apache-2.0
"""`raplica serve-windows`: the command, what it says, and how it ends."""

import os
import signal
import threading
import time
from collections.abc import Callable
from errno import EAGAIN
from pathlib import Path
from typing import Any

import pytest

from raplica_simulator.cli import main
from raplica_simulator.live.machine import start
from raplica_simulator.live.signals import stopped_by_signals
from raplica_simulator.machine import Machine
from raplica_simulator.serve import windows as serving
from raplica_simulator.serve.windows_drivers import DRIVERS

from .windows_client import CODE, READ_WRITE, SCAPHANDRE, Client


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
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopped_by_signals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.is_set()
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.is_set()
            stop.wait()
            assert not stop.is_set()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        assert signal.set_wakeup_fd(-1) == -1
        stop.set()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_stops_whichever_thread_it_is_handed_to_and_one_of_somebody_elses_does_not() -> None:
    taken: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _frame: taken.append(number))
    try:
        with stopped_by_signals() as stop:

            def take() -> None:
                me = threading.get_ident()
                signal.pthread_kill(me, signal.SIGUSR1)
                time.sleep(0.05)  # until it is waited for
                for number in (signal.SIGINT, signal.SIGTERM):
                    signal.pthread_kill(me, number)

            thread = threading.Thread(target=take)
            thread.start()
            stop.wait()
            thread.join()
        assert taken == [signal.SIGUSR1]
    finally:
        signal.signal(signal.SIGUSR1, before)
