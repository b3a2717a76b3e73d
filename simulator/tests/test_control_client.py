# SPDX-License-Identifier: Apache-2.0
"""What `raplica ctl` is made of: words become requests, answers become lines."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator.control.client import Connection, Refused, ask, carry_out
from raplica_simulator.control.door import Control
from raplica_simulator.control.requests import REQUESTS, read_request
from raplica_simulator.control.server import ControlDoor
from raplica_simulator.control.words import USAGE, read_order
from raplica_simulator.live.machine import LiveMachine, start
from raplica_simulator.live.read_log import Call, ReadLog
from raplica_simulator.load.plan import ConstantLoad

ENERGY = "class/powercap/intel-rapl:0/energy_uj"


@pytest.fixture
def live() -> LiveMachine:
    return start("skylake-sp-2s", load=ConstantLoad({"package": 100, "dram": 8}))


@pytest.fixture
def door(live: LiveMachine, tmp_path: Path) -> Iterator[ControlDoor]:
    with ControlDoor(Control(live), tmp_path / "door") as opened:
        yield opened


# Words.


@pytest.mark.parametrize(
    ("words", "request_"),
    [
        ("status", {"do": "status"}),
        ("advance 5", {"do": "advance", "seconds": "5"}),
        ("advance 0.000000001", {"do": "advance", "seconds": "0.000000001"}),
        ("pause", {"do": "pause"}),
        ("run", {"do": "run"}),
        ("speed 2.5", {"do": "speed", "factor": "2.5"}),
        ("truth", {"do": "truth"}),
        ("truth package-0/dram", {"do": "truth", "domain": "package-0/dram"}),
        ("energies package-0 psys", {"do": "energies", "domains": ["package-0", "psys"]}),
        ("zones", {"do": "zones"}),
        ("log", {"do": "log"}),
        ("log on", {"do": "log-on"}),
        ("log off", {"do": "log-off"}),
        ("log clear", {"do": "log-clear"}),
        ("log since=5 most=2", {"do": "log", "since": 5, "most": 2}),
        ("log-on truth=false", {"do": "log-on", "truth": False}),
        ("wrap package-0", {"do": "wrap", "domain": "package-0", "in_s": "1"}),
        ("wrap package-0 0.5", {"do": "wrap", "domain": "package-0", "in_s": "0.5"}),
        ("wrap domain=package-0 in_s=2", {"do": "wrap", "domain": "package-0", "in_s": 2}),
        (f"inject {ENERGY}", {"do": "fault", "path": ENERGY, "on": "read", "errno": "EIO"}),
        (f"inject {ENERGY} open EACCES", {"do": "fault", "path": ENERGY, "on": "open", "errno": "EACCES"}),
        (
            f"inject {ENERGY} read EIO --after 2 --times=1",
            {"do": "fault", "path": ENERGY, "on": "read", "errno": "EIO", "after": 2, "times": 1},
        ),
        (f"heal {ENERGY}", {"do": "heal", "path": ENERGY}),
        ("load package=100", {"do": "load", "package": 100}),
        ("load package=100,dram=7.5 on_package=1", {"do": "load", "package": 100, "dram": 7.5, "on_package": 1}),
        ("speed factor=1.00000000000000001", {"do": "speed", "factor": "1.00000000000000001"}),
        ("cpu 3 offline", {"do": "offline", "cpu": 3}),
        ("cpu 3 online", {"do": "online", "cpu": 3}),
        ("end", {"do": "end"}),
        ("offline package=1", {"do": "offline", "package": 1}),
        ("set-counter domain=package-0 raw=0xFF", {"do": "set-counter", "domain": "package-0", "raw": "0xFF"}),
        ("fault register=0x611 errno=EIO", {"do": "fault", "register": "0x611", "errno": "EIO"}),
        ("unload-driver", {"do": "unload-driver"}),
    ],
)
def test_words_become_a_request_that_the_machine_understands(words: str, request_: dict[str, Any]) -> None:
    order = read_order(words.split())
    assert (order.request, order.follow) == (request_, False)
    read_request(json.loads(json.dumps(order.request), parse_float=Decimal))


def test_every_verb_of_the_protocol_can_be_said_and_every_line_of_the_usage_is_one() -> None:
    said = {"advance": "1", "speed": "1", "wrap": "package-0", "heal": "x", "load": "package=1", "cpu": "0 online"}
    said |= {"inject": "x", "energies": "package-0 package-0/dram", "EVENT": ""}
    for usage in USAGE:
        verb = usage.split()[0]
        if verb != "EVENT":
            read_request(json.loads(json.dumps(read_order([verb, *said.get(verb, "").split()]).request)))
    assert {usage.split()[0] for usage in USAGE} >= {verb for verb in REQUESTS if not verb.startswith("log-")}
    assert read_order(["log", "--follow"]).follow


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "say what to do: one of status, advance"),
        ("advance", "`advance SECONDS`"),
        ("advance 1 2", "`advance SECONDS`"),
        ("status now", "`status`"),
        ("truth a b", "`truth [DOMAIN]`"),
        ("energies", "`energies DOMAIN...`"),
        ("log forever", "`log [--follow]`"),
        ("wrap", "`wrap DOMAIN [SECONDS]`"),
        ("inject", "`inject PATH"),
        ("inject a read EIO more", "`inject PATH"),
        ("inject a --before 1", "`inject PATH"),
        ("inject a --after", "--after wants a whole number of calls"),
        ("inject a --times=x", "--times wants a whole number of calls"),
        ("load", "`load DOMAIN=WATTS...`"),
        ("load 100", "'100' is no KEY=VALUE of its own"),
        ("load package=1 package=2", "'package=2' is no KEY=VALUE of its own"),
        ("cpu 3", "`cpu N online|offline`"),
        ("cpu three offline", "such as cpu 3 offline"),
        ("cpu \u0663 offline", "such as cpu 3 offline"),
        (f"cpu {'9' * 5000} offline", "such as cpu 3 offline"),
        ("offline 1", "'1' is no KEY=VALUE of its own"),
        ("offline do=reset", "'do=reset' is no KEY=VALUE of its own"),
        ("offline =1", "'=1' is no KEY=VALUE of its own"),
    ],
)
def test_words_that_are_no_order_are_refused_in_one_line_before_anything_is_sent(words: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as refused:
        next(carry_out("/nowhere", words.split()))
    assert "\n" not in str(refused.value)


@given(
    words=st.lists(
        st.one_of(
            st.sampled_from([*(word for usage in USAGE for word in usage.split()), "a=1e999", "b=NaN", "c=[]"]),
            st.text(max_size=12),
        ),
        max_size=4,
    )
)
def test_any_words_are_a_request_in_json_or_refused(words: list[str]) -> None:
    try:
        order = read_order(words)
    except ValueError:
        return
    assert json.loads(json.dumps(order.request, allow_nan=False)) == order.request


# Answers.


def test_answers_are_lines_for_a_person(door: ControlDoor) -> None:
    def lines(words: str) -> list[str]:
        ((_, lines),) = carry_out(door.path, words.split())
        return lines

    stands = "skylake-sp-2s on Linux 6.12: {} s, time stands, log off"
    assert lines("status") == [stands.format("0.000000000")]
    assert lines("advance 2.5") == [stands.format("2.500000000")]
    assert lines("load package=50") == []
    assert lines("truth package-0/dram") == ["package-0/dram  20000000 uJ  msr 0 0x619 = 0x2013f9ac"]
    assert lines("energies package-0/dram package-1") == [
        "2.500000000 s",
        "package-0/dram  20000000 uJ",
        "package-1  250000000 uJ",
    ]
    zones = lines("zones")
    assert re.fullmatch(r"intel-rapl:0  package-0  [0-9]+ uJ  truth 250000000 uJ", zones[0])
    assert len(zones) == 4
    lines("speed 10")
    assert lines("run")[0].endswith("time runs at 10 s/s, log off")
    lines("pause")
    assert lines("log on") == []
    assert lines("status")[0].endswith("log on")
    assert lines("log off") == []
    assert lines("status")[0].endswith("log off")
    lines("unload-driver")
    assert lines("zones") == []


def test_the_log_comes_in_pages_and_odd_letters_stay_in_their_line(door: ControlDoor, live: LiveMachine) -> None:
    with live.held():
        for number in range(1, 2501):
            live.log.add(Call(number, 1_500_000_000, 7, "cat", "read", ENERGY, 0, 64, 0, b"5\n", "package-0", 4))
        live.log.add(Call(2501, 2, 8, "", "write", "sys/\x1b", 0, 2, 0, b"\x1b[2J\n"))
        live.log.add(Call(2502, 3, 8, "a", "read", "dev/cpu/0/msr", 0x611, 8, 5))
    pages = list(carry_out(door.path, ["log"]))
    assert [len(lines) for _, lines in pages] == [1000, 1000, 502]
    lines = [line for _, page in pages for line in page]
    assert lines[0] == f"1.500000000 cat[7] read {ENERGY} 5  truth 4 uJ"
    assert lines[-2] == r"0.000000002 ?[8] write sys/\x1b \x1b[2J"
    assert lines[-1] == "0.000000003 a[8] read dev/cpu/0/msr@0x611 EIO"
    assert pages[2][0]["calls"][-1] == {
        "number": 2502,
        "at_ns": 3,
        "pid": 8,
        "command": "a",
        "operation": "read",
        "path": "dev/cpu/0/msr",
        "offset": 0x611,
        "size": 8,
        "errno": "EIO",
        "domain": None,
        "truth_uj": None,
        "value": None,
    }
    ask(door.path, "log-clear")
    assert [page["calls"] for page, _ in carry_out(door.path, ["log"])] == [[]]


def test_calls_that_were_let_go_are_counted_and_a_page_can_be_asked_for(tmp_path: Path) -> None:
    live = LiveMachine(start("kabylake").machine)
    live.log = ReadLog(3)
    for number in range(1, 8):
        live.log.add(Call(number, 0, 7, "cat", "open", ENERGY, 0, 0, 0))
    with ControlDoor(Control(live), tmp_path / "door") as door:
        ((page, lines),) = carry_out(door.path, ["log"])
        assert (page["dropped"], len(page["calls"])) == (4, 3)
        assert lines == ["4 calls before these are kept no more"] + [f"0.000000000 cat[7] open {ENERGY}"] * 3
        ((page, _),) = carry_out(door.path, ["log", "since=5", "most=1"])
        assert [call["number"] for call in page["calls"]] == [6]


def test_a_log_that_grows_while_it_is_read_has_an_end(door: ControlDoor, live: LiveMachine) -> None:
    def grow(count: int) -> None:
        with live.held():
            for _ in range(count):
                live.log.add(Call(live.log.last + 1, 0, 7, "cat", "open", ENERGY, 0, 0, 0))

    grow(1500)
    seen = 0
    for page, _ in carry_out(door.path, ["log"]):
        grow(1000)
        seen += len(page["calls"])
    assert seen == 2000


def test_a_log_that_is_followed_goes_on_with_what_comes(door: ControlDoor, live: LiveMachine) -> None:
    followed = carry_out(door.path, ["log", "--follow"])

    def work() -> None:
        while not live.log.on:
            pass
        with live.held():
            live.log.add(Call(1, 0, 7, "cat", "open", ENERGY, 0, 0, 0))

    thread = threading.Thread(target=work)
    thread.start()
    assert next(followed)[1] == [f"0.000000000 cat[7] open {ENERGY}"]
    thread.join()
    with live.held():
        live.log.add(Call(2, 0, 7, "cat", "read", ENERGY, 0, 0, 0))
    assert [call["number"] for call in next(followed)[0]["calls"]] == [2]


def test_what_the_machine_refuses_is_an_error_with_its_line_and_errno(door: ControlDoor) -> None:
    with pytest.raises(Refused, match="no domain 'x' here") as refused:
        ask(door.path, "truth", {"domain": "x"})
    assert refused.value.errno is None
    with Connection(door.path) as connection:
        connection.ask("offline", {"package": 1})
        connection.ask("fault", {"register": "0x611", "package": 1})
        with pytest.raises(Refused) as refused:
            connection.ask("online", {"cpu": 20})
        assert refused.value.errno == "ENODEV"
        assert connection.ask("status")["now_ns"] == 0


def test_a_place_where_nobody_answers_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(tmp_path / "dead"))
    (tmp_path / "file").touch()
    for name, said in (
        ("none", "No such file or directory: start mount or exec with --control"),
        ("dead", "Connection refused: nobody answers there any more"),
        ("file", "Connection refused: name the socket of --control"),
        ("x" * 200, "AF_UNIX path too long: name the socket of --control"),
    ):
        with pytest.raises(Refused, match=said) as refused:
            ask(tmp_path / name, "status")
        assert "\n" not in str(refused.value)


def test_a_word_that_is_no_order_is_wrong_usage_and_moves_nothing(door: ControlDoor) -> None:
    with pytest.raises(ValueError, match=r"'frobnicate' is no order: say one of status, advance SECONDS"):
        list(carry_out(door.path, ["frobnicate"]))
    assert [result for result, _ in carry_out(door.path, ["mask"])] == [None]


@pytest.mark.parametrize(
    ("hello", "said"),
    [
        (b"", "has ended, or hung up"),
        (b"SSH-2.0-x\n", "no control socket of raplica"),
        (b"[]\n", "no control socket of raplica"),
        (b'{"raplica": "control", "version": 2}\n', "does not speak version 1"),
        (b'{"ok": false, "error": "64 clients"}\n', "64 clients"),
    ],
)
def test_a_socket_of_something_else_is_told_from_a_machine(tmp_path: Path, hello: bytes, said: str) -> None:
    path = tmp_path / "other"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()

        def greet() -> None:
            client, _ = listener.accept()
            with client:
                client.sendall(hello)

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(Refused, match=said):
            ask(path, "status")
        thread.join()


def test_a_socket_that_waits_to_be_spoken_to_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raplica_simulator.control.client._PATIENCE_S", 0.01)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "other"))
        listener.listen()
        with pytest.raises(Refused, match="timed out: name the socket of --control"):
            ask(tmp_path / "other", "status")


def test_a_machine_that_is_busy_says_hello_all_the_same(door: ControlDoor, live: LiveMachine) -> None:
    with live.held(), Connection(door.path) as connection:
        assert connection.hello["machine"] == live.machine.profile.id


def test_a_machine_that_ends_meanwhile_is_one_line(live: LiveMachine, tmp_path: Path) -> None:
    with ControlDoor(Control(live), tmp_path / "door") as door, Connection(door.path) as connection:
        door.close()
        for _ in range(2):
            with pytest.raises(Refused, match="has ended, or hung up"):
                connection.ask("status")


def test_a_request_that_is_too_long_is_refused_and_what_follows_too(door: ControlDoor) -> None:
    with Connection(door.path) as connection:
        with pytest.raises(Refused, match="longer than 65536 bytes"):
            connection.ask("status", {"x": "y" * 300_000})
        for _ in range(2):
            with pytest.raises(Refused, match="has ended, or hung up"):
                connection.ask("status")


def test_the_client_loads_nothing_of_the_simulator() -> None:
    program = (
        "import sys, raplica_simulator.control.client\n"
        "print(*(name for name in sys.modules if name.startswith('raplica_simulator.')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ)
    assert set(done.stdout.split()) == {f"raplica_simulator.control{name}" for name in ("", ".words", ".client")}
