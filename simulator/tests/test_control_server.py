# SPDX-License-Identifier: Apache-2.0
"""The control socket: what is said through it, and that nothing a client does hurts the machine or others."""

import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from errno import EMFILE, ENOENT
from pathlib import Path
from typing import Any, Self

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raplica_simulator.control.client import Connection, Refused, ask
from raplica_simulator.control.door import Control
from raplica_simulator.control.requests import REQUESTS, answer
from raplica_simulator.control.server import MOST_CLIENTS, MOST_IN_LINE, ControlDoor
from raplica_simulator.faults.verbs import VERBS
from raplica_simulator.linux.kernel import KernelCrash
from raplica_simulator.live.machine import LiveMachine, start
from raplica_simulator.load.plan import ConstantLoad
from raplica_simulator.surfaces.fuse import FuseMount

ENERGY = "class/powercap/intel-rapl:0/energy_uj"


@pytest.fixture
def live() -> LiveMachine:
    return start("skylake-sp-2s", load=ConstantLoad({"package": 100, "dram": 8}))


@pytest.fixture
def door(live: LiveMachine, tmp_path: Path) -> Iterator[ControlDoor]:
    with ControlDoor(Control(live), tmp_path / "door") as opened:
        yield opened


class Raw:
    """A client that sends bytes."""

    def __init__(self, door: ControlDoor) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(30)
        self.socket.connect(door.path)
        self.lines = self.socket.makefile("rb")
        self.hello = json.loads(self.lines.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.lines.close()
        self.socket.close()

    def ask_and_never_read(self) -> None:
        """Until nothing more goes in: the machine waits for us to read."""
        self.socket.settimeout(0.05)
        with suppress(TimeoutError):
            while True:
                self.socket.sendall(b'{"do": "zones"}\n' * 100)

    def say(self, data: bytes) -> Any:
        self.socket.sendall(data)
        return json.loads(self.lines.readline())


# What is said.


def test_it_says_hello_with_its_version_and_its_verbs(door: ControlDoor) -> None:
    with Raw(door) as client:
        assert client.hello == {
            "raplica": "control",
            "version": 1,
            "machine": "skylake-sp-2s",
            "kernel": "6.12",
            "verbs": [*REQUESTS, *VERBS],
        }


def test_requests_are_answered_in_order_with_exact_numbers(door: ControlDoor) -> None:
    with Raw(door) as client:
        assert client.say(b'{"do": "advance", "seconds": 0.1}\n')["result"]["now_ns"] == 100_000_000
        assert client.say(b'{"do": "advance", "seconds": "0.000000001"}\n')["result"]["now_ns"] == 100_000_001
        assert client.say(b'{"do": "speed", "factor": 2.5}\n')["result"]["speed"] == "2.5"
        assert client.say(b'{"do": "advance", "seconds": 100000000}\n')["result"]["now_ns"] == 10**17 + 100_000_001
        both = client.say(b'{"do": "truth", "domain": "package-0"}\n')
        assert both["result"][0]["truth_uj"] == 10**16 + 10_000_000
        assert both["result"][0]["counters"][0]["register"] == "0x611"
        client.socket.sendall(b'{"do": "pause"}\n{"do": "wrap", "domain": "package-0", "in_s": "1"}\n{"do": "zones"}\n')
        answers = [json.loads(client.lines.readline()) for _ in range(3)]
        assert [one["ok"] for one in answers] == [True] * 3
        assert [zone["path"] for zone in answers[2]["result"]][:2] == ["package-0", "package-0/dram"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"nonsense", "this is no JSON"),
        (b"", "this is no JSON"),
        (b"\xff\xfe\x00", "this is no JSON"),
        (b"[" * 60_000, "this is no JSON"),
        (b'{"do": "advance", "seconds": NaN}', "this is no JSON"),
        (b'{"do": "advance", "seconds": ' + b"9" * 5000 + b"}", "this is no JSON"),
        (b'{"do": "advance", "seconds": 1e9999999999999999999}', "this is no JSON"),
        (b'{"do": "load", "package": 1e-9999999999999999999}', "this is no JSON"),
        (b'{"do": "status", "do": "end"}', "'do' is given twice"),
        (b'{"do": "advance", "seconds": 1, "seconds": 2}', "'seconds' is given twice"),
        (b'{"do": "advance", "seconds": "1_0"}', "a number of seconds"),
        (b'{"do": "advance", "seconds": "\\u0663"}', "a number of seconds"),
        (b"[]", "no JSON object"),
        (b"{}", "do is missing"),
        (b'{"do": 5}', "5 is not one of"),
        (b'{"do": "advanse"}', "did you mean advance?"),
        (b'{"do": "advance"}', "seconds is missing"),
        (b'{"do": "advance", "seconds": 1, "second": 1}', "unknown key"),
        (b'{"do": "advance", "seconds": -1}', "out of range"),
        (b'{"do": "advance", "seconds": true}', "a number of seconds"),
        (b'{"do": "advance", "seconds": 1e999999}', "out of range"),
        (b'{"do": "speed", "factor": 0}', "it must be above 0"),
        (b'{"do": "speed", "factor": 1e-999999}', "is no number"),
        (b'{"do": "speed", "factor": "fast"}', "fast is no number"),
        (b'{"do": "speed", "factor": true}', "must be a number"),
        (b'{"do": "log", "most": 1001}', "most"),
        (b'{"do": "log-on", "truth": 1}', "true or false"),
        (b'{"do": "truth", "domain": "a\\nb"}', "text on one line"),
        (b'{"do": "wrap", "domain": "package-0"}', "in_s is missing"),
        (b'{"do": "fault", "path": "../../etc/passwd"}', "path below /sys"),
        (b'{"do": "end"}', "end the program that shows it"),
    ],
)
def test_a_request_that_is_none_is_refused_in_one_line_and_the_next_is_answered(
    door: ControlDoor, line: bytes, said: str
) -> None:
    with Raw(door) as client:
        refused = client.say(line + b"\n")
        assert refused["ok"] is False
        assert refused["errno"] is None
        assert said in refused["error"]
        assert "\n" not in refused["error"]
        assert client.say(b'{"do": "status"}\n')["ok"]


def test_an_errno_of_the_machine_has_its_name(door: ControlDoor) -> None:
    with Raw(door) as client:
        client.say(b'{"do": "offline", "package": 1}\n')
        client.say(b'{"do": "fault", "register": "0x611", "package": 1}\n')
        refused = client.say(b'{"do": "online", "cpu": 20}\n')
        assert (refused["ok"], refused["errno"]) == (False, "ENODEV")


def test_a_crash_and_a_mistake_of_ours_are_one_line_each(live: LiveMachine) -> None:
    class Broken(Control):
        def pause(self) -> None:
            raise KernelCrash("divide error")

        def run(self) -> None:
            raise FileNotFoundError(ENOENT, "No such file or directory", "class/x")

    control = Broken(live)
    assert answer(control, {"do": "pause"}) == {"ok": False, "error": "divide error", "errno": None}
    missing = {"ok": False, "error": "class/x: No such file or directory", "errno": "ENOENT"}
    assert answer(control, {"do": "run"}) == missing


def test_a_mistake_of_ours_is_answered_and_ends_nothing(live: LiveMachine, tmp_path: Path) -> None:
    class Broken(Control):
        def pause(self) -> None:
            raise ZeroDivisionError

    with ControlDoor(Broken(live), tmp_path / "door") as door, Raw(door) as client:
        assert client.say(b'{"do": "pause"}\n')["error"] == "ZeroDivisionError(): this is a mistake in raplica"
        assert client.say(b'{"do": "status"}\n')["ok"]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    table=st.dictionaries(
        st.sampled_from(["do", "seconds", "factor", "domain", "path", "cpu", "package", "raw", "in_s", "x"]),
        st.one_of(
            st.sampled_from([*REQUESTS, *VERBS, "package-0", "0x611", ENERGY]),
            st.integers(),
            st.booleans(),
            st.none(),
            st.text(max_size=5),
            st.lists(st.integers(), max_size=2),
        ),
    )
)
def test_whatever_a_table_says_the_answer_is_one_line_of_json(door: ControlDoor, table: dict[str, Any]) -> None:
    with Raw(door) as client:
        said = client.say(json.dumps(table).encode() + b"\n")
        assert said["ok"] in (True, False)
        assert said["ok"] or "mistake in raplica" not in said["error"]


# What clients do.


def test_a_line_without_end_is_refused_and_the_connection_ended(door: ControlDoor) -> None:
    with Raw(door) as client:
        client.socket.sendall(b"x" * (MOST_IN_LINE + 1))
        assert f"longer than {MOST_IN_LINE} bytes" in json.loads(client.lines.readline())["error"]
        assert client.lines.read() == b""
    with Raw(door) as client:
        whole = b'{"do": "status"}'
        assert client.say(whole.ljust(MOST_IN_LINE - 1) + b"\n")["ok"]


def test_half_a_line_moves_nothing(door: ControlDoor) -> None:
    with Raw(door) as client:
        client.socket.sendall(b'{"do": "advance", "seconds": 1}')
        client.socket.shutdown(socket.SHUT_WR)
        assert client.lines.read() == b""
    assert ask(door.path, "status")["now_ns"] == 0


def test_who_hangs_up_before_the_answer_hurts_nobody(door: ControlDoor) -> None:
    for _ in range(20):
        with Raw(door) as client:
            client.socket.sendall(b'{"do": "zones"}\n' * 20)
    assert ask(door.path, "status")["machine"] == "skylake-sp-2s"


def test_who_does_not_read_its_answers_holds_up_nobody_else(
    live: LiveMachine, tmp_path: Path, mount: Callable[..., FuseMount]
) -> None:
    shown = mount(live)
    with ControlDoor(Control(live), tmp_path / "door") as door, Raw(door) as slow:
        slow.ask_and_never_read()
        for _ in range(3):
            assert ask(door.path, "advance", {"seconds": 1})["machine"] == "skylake-sp-2s"
            out = subprocess.run(["cat", f"{shown.directory}/sys/{ENERGY}"], capture_output=True, check=True).stdout
            assert int(out) > 0


def test_many_clients_are_served_at_once_and_one_too_many_is_told(door: ControlDoor) -> None:
    clients = [Raw(door) for _ in range(MOST_CLIENTS)]
    try:
        with pytest.raises(Refused, match=f"{MOST_CLIENTS} clients are connected already"):
            Connection(door.path)
        threads = [threading.Thread(target=one.say, args=(b'{"do": "advance", "seconds": 1}\n',)) for one in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert clients[0].say(b'{"do": "status"}\n')["result"]["now_ns"] == MOST_CLIENTS * 10**9
    finally:
        for one in clients:
            one.close()
    for _ in range(3000):
        try:
            assert ask(door.path, "status")["now_ns"] == MOST_CLIENTS * 10**9
        except Refused:
            # Their threads have yet to see it.
            time.sleep(0.01)
            continue
        return
    pytest.fail("nobody is let in any more")


def test_where_no_thread_can_be_started_the_client_is_told(door: ControlDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    def start_none(_: threading.Thread) -> None:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start_none)
        with pytest.raises(Refused, match="no more threads can be started"):
            Connection(door.path)
    assert ask(door.path, "status")["now_ns"] == 0


def test_a_process_out_of_descriptors_lets_clients_in_when_it_has_some_again(
    door: ControlDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept = socket.socket.accept
    failed: list[int] = []

    def fail_twice(listener: socket.socket) -> tuple[socket.socket, Any]:
        if len(failed) < 2:
            failed.append(EMFILE)
            raise OSError(EMFILE, os.strerror(EMFILE))
        return accept(listener)

    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "accept", fail_twice)
        # The thread waits in the old one.
        for _ in range(2):
            assert ask(door.path, "status")["now_ns"] == 0
    assert failed == [EMFILE] * 2


def test_at_the_end_clients_are_hung_up_on_and_the_path_and_threads_are_gone(live: LiveMachine, tmp_path: Path) -> None:
    before = threading.active_count()
    door = ControlDoor(Control(live), tmp_path / "door")
    with Raw(door) as client, Raw(door) as slow:
        slow.ask_and_never_read()
        door.close()
        door.close()
        assert client.lines.read() == b""
    assert list(tmp_path.iterdir()) == []
    assert threading.active_count() == before


def test_an_order_to_end_is_answered_and_asks_the_owner(live: LiveMachine, tmp_path: Path) -> None:
    stop = threading.Event()
    with ControlDoor(Control(live, end=stop.set), tmp_path / "door") as door:
        assert ask(door.path, "end") is None
        assert stop.wait(60)


def test_the_door_can_be_closed_by_the_order_itself(live: LiveMachine, tmp_path: Path) -> None:
    opened: list[ControlDoor] = []

    def close() -> None:
        opened[0].close()

    opened.append(ControlDoor(Control(live, end=close), tmp_path / "door"))
    with pytest.raises(Refused, match="has ended"):
        ask(opened[0].path, "end")
    assert list(tmp_path.iterdir()) == []
