# SPDX-License-Identifier: Apache-2.0
"""The stand-in of powermetrics as a program: whose machine it shows, when it waits, and when it refuses."""

import io
import os
import plistlib
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raplica_simulator import Profile
from raplica_simulator.control.client import Connection, Refused
from raplica_simulator.control.door import Control
from raplica_simulator.control.server import ControlDoor
from raplica_simulator.live.machine import LiveMachine, start
from raplica_simulator.macos import powermetrics
from raplica_simulator.macos.mac import Mac
from raplica_simulator.macos.mac_files import read_mac
from raplica_simulator.macos.meters import SAMPLE_NOW, DoorMeters

Tool = Callable[..., tuple[int, bytes]]


@pytest.fixture
def live() -> LiveMachine:
    """A machine whose time stands."""
    return start(m2_pro()[0])


def m2_pro() -> tuple[Profile, Mac]:
    found = read_mac("mac-m2pro")
    assert found is not None
    return found


@pytest.fixture
def door(live: LiveMachine, tmp_path: Path) -> Iterator[ControlDoor]:
    with ControlDoor(Control(live), tmp_path / "door") as opened:
        yield opened


@pytest.fixture
def tool(door: ControlDoor) -> Tool:
    """Run it as root of that machine: its exit status, and what it printed."""

    def run(*words: str, uid: int = 0, **environment: str) -> tuple[int, bytes]:
        about = {"RAPLICA_CONTROL": door.path, "RAPLICA_MAC": m2_pro()[1].to_json(), "RAPLICA_MAC_BOOT_NS": "0"}
        out = io.BytesIO()
        status = powermetrics.main(words, {**about, **environment}, out, uid=uid)
        return status, out.getvalue()

    return run


def test_it_is_for_root_alone_and_says_so_on_standard_output(tool: Tool, capsys: pytest.CaptureFixture[str]) -> None:
    assert tool("-n", "1", uid=1000) == (1, b"powermetrics must be invoked as the superuser\n")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("name", "value"), [("RAPLICA_MAC", "{"), ("RAPLICA_MAC", "{}"), ("RAPLICA_MAC_BOOT_NS", "x")])
def test_an_environment_that_was_changed_is_no_machine(
    tool: Tool, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    assert tool("-n", "1", **{name: value}) == (1, b"")
    assert capsys.readouterr().err == (
        "powermetrics: there is no machine: run it by raplica exec MACHINE --as macos -- powermetrics\n"
    )


def test_it_says_what_the_truth_is_at_the_moments_of_its_samples(tool: Tool, live: LiveMachine) -> None:
    live.let_time_run()
    status, out = tool("-f", "plist", "-i", "20", "-n", "3")
    assert status == 0
    contents = [plistlib.loads(document) for document in out.split(b"\0")]
    assert len(contents) == 3
    for content in contents:
        # 9 W, 3 W and a fifth of the 2 W beside, in whole millijoules.
        elapsed_s, processor = content["elapsed_ns"] / 1e9, content["processor"]
        assert elapsed_s > 0.02
        assert processor["gpu_energy"] == pytest.approx(3000 * elapsed_s, abs=1)
        assert processor["ane_energy"] == pytest.approx(400 * elapsed_s, abs=1)
        assert processor["cpu_energy"] == pytest.approx(9000 * elapsed_s, abs=3)


def test_where_time_stands_it_waits_until_somebody_moves_it(tool: Tool, door: ControlDoor) -> None:
    ends: list[tuple[int, bytes]] = []
    thread = threading.Thread(target=lambda: ends.append(tool("-f", "plist", "-i", "1000", "-n", "1")))
    # Held back, as the program itself does.
    signal.pthread_sigmask(signal.SIG_BLOCK, {SAMPLE_NOW})
    try:
        thread.start()
        with Connection(door.path) as connection:
            while not ends:
                connection.ask("advance", {"seconds": "0.25"})
                thread.join(0.02)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {SAMPLE_NOW})
    ((status, out),) = ends
    content = plistlib.loads(out)
    assert status == 0
    assert content["elapsed_ns"] % 250_000_000 == 0
    assert content["elapsed_ns"] > 1_000_000_000
    assert content["processor"]["gpu_energy"] == 3 * content["elapsed_ns"] // 10**6


def test_the_signal_asks_for_a_sample_at_once_and_none_is_lost(tool: Tool, live: LiveMachine) -> None:
    live.advance(1)
    signal.pthread_sigmask(signal.SIG_BLOCK, {SAMPLE_NOW})
    try:
        signal.pthread_kill(threading.get_ident(), SAMPLE_NOW)
        status, out = tool("-f", "plist", "-i", "0", "-n", "1")
        assert (status, plistlib.loads(out)["elapsed_ns"]) == (0, 0)
        signal.pthread_kill(threading.get_ident(), SAMPLE_NOW)
        assert tool("-i", "60000", "-n", "1")[0] == 0
    finally:
        while signal.sigtimedwait({SAMPLE_NOW}, 0) is not None:
            pass
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {SAMPLE_NOW})
    assert SAMPLE_NOW == 29  # as SIGINFO on macOS


def test_it_waits_as_long_as_the_machines_time_takes(live: LiveMachine, door: ControlDoor) -> None:
    waited: list[float] = []

    def wait(longest_s: float) -> bool:
        waited.append(longest_s)
        return len(waited) == 3

    with Connection(door.path) as connection:
        meters = DoorMeters(connection, wait)
        meters.wait(None)
        assert waited == [0.5] * 3
        connection.ask("speed", {"factor": "1000"})
        waited.clear()
        live.let_time_run()
        meters.wait(10**15)
        assert waited == [0.5] * 3  # looked at again, since somebody may change the speed
        waited.clear()
        meters.wait(live.machine.clock.now_ns + 10 * 10**9)
        assert all(longest_s <= 0.01 for longest_s in waited)


def test_a_file_gets_it_all_and_standard_output_nothing(tool: Tool, live: LiveMachine, tmp_path: Path) -> None:
    live.let_time_run()
    file = tmp_path / "log"
    file.write_bytes(b"something longer than what comes " * 100)
    assert tool("-i", "1", "-n", "2", "-o", str(file)) == (0, b"")
    text = file.read_text(encoding="utf-8")
    assert text.startswith("Machine model: Mac14,12\n")
    assert text.count("*** Sampled system activity") == 2


def test_a_file_that_cannot_be_written_is_told(tool: Tool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "no folder" / "log"
    assert tool("-n", "1", "-o", str(file)) == (1, b"")
    assert capsys.readouterr().err == f"powermetrics: {file}: No such file or directory\n"


def test_a_machine_that_has_ended_ends_it(tool: Tool, door: ControlDoor, capsys: pytest.CaptureFixture[str]) -> None:
    with Connection(door.path) as connection:
        door.close()
        with pytest.raises(Refused, match="the machine has ended"):
            DoorMeters(connection, lambda _: False).wait(None)
    assert tool("-n", "1")[0] == 1
    assert capsys.readouterr().err.startswith(f"powermetrics: {door.path}: No such file or directory")


def test_without_a_machine_it_says_how_to_get_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert powermetrics.main(["-n", "1"], {}, io.BytesIO(), uid=0) == 1
    told = capsys.readouterr().err
    assert "run it by raplica exec MACHINE --as macos" in told
    assert told.count("\n") == 1


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_the_program_has_its_name_and_is_ended_by_what_ends_others(
    monkeypatch: pytest.MonkeyPatch, door: ControlDoor, live: LiveMachine, tmp_path: Path
) -> None:
    live.let_time_run()
    monkeypatch.setenv("RAPLICA_CONTROL", door.path)
    monkeypatch.setenv("RAPLICA_MAC", m2_pro()[1].to_json())
    monkeypatch.setenv("RAPLICA_MAC_BOOT_NS", "0")
    monkeypatch.setattr("sys.argv", ["powermetrics", "-i", "1", "-n", "1", "-o", str(tmp_path / "log")])
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    child = os.fork()
    if child == 0:
        status = 99
        try:
            powermetrics.run()
        except SystemExit as ended:
            named = Path("/proc/self/comm").read_bytes() == b"powermetrics\n"
            plain = all(signal.getsignal(one) is signal.SIG_DFL for one in (signal.SIGINT, signal.SIGPIPE))
            status = 7 if ended.code == 0 and named and plain else 98
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert (tmp_path / "log").read_text(encoding="utf-8").startswith("Machine model")
