# SPDX-License-Identifier: Apache-2.0
"""Windows over a socket: the simulator's own answers, and answers that are none."""

from __future__ import annotations

import errno
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from raplica_reader import Host, Meter, choose
from raplica_reader.windows_socket import SocketCalls
from raplica_simulator import Machine
from raplica_simulator.serve.windows_door import WindowsDoor
from raplica_simulator.serve.windows_drivers import install
from raplica_simulator.windows.system import WindowsSystem


@pytest.fixture
def system(tmp_path: Path) -> Iterator[WindowsSystem]:
    """A Windows that answers at `door` in tmp_path, with the driver and the meters of today."""
    system = WindowsSystem(Machine.from_profile("skylake-sp-2s"))
    install(system, ["v3.2", "emi"])
    with WindowsDoor(system, tmp_path / "door", administrator=False):
        yield system


@pytest.mark.parametrize("source", ["windows", "emi", "scaphandre"])
def test_the_truth_comes_through_the_socket(system: WindowsSystem, tmp_path: Path, source: str) -> None:
    machine = system.machine
    choice = choose(Host(windows=str(tmp_path / "door")), source, clock=lambda: machine.clock.now_ns)
    assert choice.source.name == ("scaphandre" if source == "scaphandre" else "emi")
    assert choice.trouble is None
    with choice.sampler as sampler:
        meter = Meter()
        meter.add(sampler.sample())
        before_uj = {zone.path: machine.truth_uj(zone.path) for zone in sampler.zones}
        for _ in range(3):
            machine.clock.advance(seconds=60)
            meter.add(sampler.sample())
    total = meter.total()
    assert [spent.zone.path for spent in total] == ["package-0", "package-0/dram", "package-1", "package-1/dram"]
    for spent in total:
        truth_uj = machine.truth_uj(spent.zone.path) - before_uj[spent.zone.path]
        assert spent.energy_uj is not None
        assert abs(spent.energy_uj - truth_uj) <= 64


def test_a_counter_that_is_read_once_is_read_on_its_own_package(tmp_path: Path) -> None:
    system = WindowsSystem(Machine.from_profile("zen2-epyc-2s"))
    install(system, ["v3.2"])
    with WindowsDoor(system, tmp_path / "door"):
        choice = choose(Host(windows=str(tmp_path / "door")), "scaphandre")
        choice.sampler.close()
        packages = [zone for zone in choice.sampler.zones if zone.parent is None]
        counts = [zone.gauge.decode(zone.gauge.once()) for zone in packages]
    assert counts == [0x5D3FA816, 0x493C7E0D]


def test_every_call_is_answered_as_in_process(system: WindowsSystem, tmp_path: Path) -> None:
    process = system.process(administrator=False)
    calls = SocketCalls(str(tmp_path / "door"))
    assert calls.cpu_vendor() == process.cpu_vendor()
    assert calls.cpu_signature() == process.cpu_signature()
    assert [[*one] for one in calls.logical_processors()] == [[*one] for one in process.logical_processors()]
    guid = "{45BD8344-7ED6-49CF-A440-C276C933B053}"
    assert calls.device_interfaces(guid) == process.device_interfaces(guid)
    handle = calls.create_file(r"\\.\ScaphandreDriver", 0xC0000000)
    assert calls.set_thread_group_affinity(1, 1) == tuple(process.thread.affinity)
    assert calls.set_thread_group_affinity(0, 1) == (1, 1)
    answer = calls.device_io_control(handle, 0x22D844, (0x606).to_bytes(8, "little"), 8)
    assert answer == (True, 0, 8, (0xA0E03).to_bytes(8, "little"))
    refused = calls.device_io_control(handle, 0x22D844, bytes(7), 8)
    assert (refused.ok, refused.error, refused.returned) == (False, 1, None)
    with pytest.raises(FileNotFoundError, match="Windows error 2 FILE_NOT_FOUND"):
        calls.create_file(r"\\.\Missing", 0)
    with pytest.raises(OSError, match="Windows error 87"):
        calls.set_thread_group_affinity(9, 1)
    calls.close_handle(handle)
    with pytest.raises(OSError, match="Windows error 6"):
        calls.close_handle(handle)


def test_a_connection_lasts_as_long_as_a_handle_is_open(system: WindowsSystem, tmp_path: Path) -> None:
    calls = SocketCalls(str(tmp_path / "door"))

    def is_connected() -> bool:
        return calls._socket is not None

    calls.cpu_vendor()
    assert not is_connected()
    handle = calls.create_file(r"\\.\ScaphandreDriver", 0xC0000000)
    calls.cpu_vendor()
    assert is_connected()
    calls.close_handle(handle)
    assert not is_connected()
    assert all(device.open_handles == 0 for device in system.kernel.devices)
    assert repr(calls) == f"SocketCalls({str(tmp_path / 'door')!r})"


def test_a_machine_that_has_crashed_is_an_error_in_words(system: WindowsSystem, tmp_path: Path) -> None:
    calls = SocketCalls(str(tmp_path / "door"))
    with pytest.raises(Exception, match="the disk is on fire"):
        system.kernel.bug_check(0x3B, "the disk is on fire")
    with pytest.raises(OSError, match=r"has crashed.*the disk is on fire") as crashed:
        calls.create_file(r"\\.\ScaphandreDriver", 0)
    assert crashed.value.errno == errno.ECONNABORTED


@pytest.mark.usefixtures("system")
def test_who_is_turned_away_hears_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raplica_simulator.live.line_door.MOST_CLIENTS", 0)
    calls = SocketCalls(str(tmp_path / "door"))
    for _ in range(5):  # told before or after it has asked
        with pytest.raises(OSError, match="0 clients are connected already: end one of them") as refused:
            calls.cpu_vendor()
        assert refused.value.errno == errno.EINVAL


class Answering:
    """A socket on which every line of every connection is answered by the next of some lines, then by silence."""

    def __init__(self, path: Path, *answers: bytes) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, object]] = []
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listening.bind(str(path))
        self._listening.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        self._listening.close()

    def _serve(self) -> None:
        while self.answers:
            connection, _ = self._listening.accept()
            with connection, connection.makefile("rb") as lines:
                for line in lines:
                    self.asked.append(json.loads(line))
                    connection.sendall(self.answers.pop(0))
                    if not self.answers:
                        break


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (b"nonsense\n", errno.EBADMSG, "no JSON"),
        (b"\xff\xfe\n", errno.EBADMSG, "no JSON"),
        (b"[1]\n", errno.EBADMSG, "no ok"),
        (b'{"ok": 1}\n', errno.EBADMSG, "no ok"),
        (b'{"ok": true}\n', errno.EBADMSG, "handle is no number"),
        (b'{"ok": true, "handle": true}\n', errno.EBADMSG, "handle is no number"),
        (b'{"ok": false, "error": "two"}\n', errno.EBADMSG, "error is no number"),
        (b"", errno.ECONNRESET, "closed the connection"),
        (b'{"ok": true', errno.ECONNRESET, "closed the connection"),
    ],
)
def test_an_answer_that_is_none_is_an_error(tmp_path: Path, answer: bytes, code: int, words: str) -> None:
    with Answering(tmp_path / "door", answer):
        calls = SocketCalls(str(tmp_path / "door"))
        with pytest.raises(OSError, match=words) as wrong:
            calls.create_file("x", 0)
        assert wrong.value.errno == code
        assert calls._socket is None


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        ("device_interfaces", b'{"ok": true, "paths": 7}\n'),
        ("logical_processors", b'{"ok": true}\n'),
        ("logical_processors", b'{"ok": true, "processors": [{"group": 0}]}\n'),
        ("set_thread_group_affinity", b'{"ok": true, "previous": [0, 1]}\n'),
        ("device_io_control", b'{"ok": true, "returned": 8, "out": "xyz"}\n'),
        ("device_io_control", b'{"ok": true, "returned": 8, "out": 8}\n'),
        ("device_io_control", b'{"ok": true, "returned": "8", "out": ""}\n'),
    ],
)
def test_an_answer_of_another_shape_is_an_error(tmp_path: Path, call: str, answer: bytes) -> None:
    arguments = {"device_interfaces": ("{}",), "set_thread_group_affinity": (0, 1), "logical_processors": ()}
    with Answering(tmp_path / "door", answer):
        with pytest.raises(OSError, match="not understood") as wrong:
            getattr(SocketCalls(str(tmp_path / "door")), call)(*arguments.get(call, (4, 0, None, 8)))
        assert wrong.value.errno == errno.EBADMSG


def test_a_previous_affinity_need_not_be_told_and_a_short_output_is_filled_up(tmp_path: Path) -> None:
    with Answering(tmp_path / "door", b'{"ok": true}\n', b'{"ok": true, "returned": 2, "out": "0102"}\n') as door:
        calls = SocketCalls(str(tmp_path / "door"))
        assert calls.set_thread_group_affinity(0, 1) is None
        assert calls.device_io_control(4, 0x224000, b"\x01\xff", 4).output == b"\x01\x02\0\0"
    assert door.asked[1] == {"call": "DeviceIoControl", "handle": 4, "code": 0x224000, "in": "01ff", "size": 4}


def test_no_answer_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raplica_reader.windows_socket.TIMEOUT_S", 0.01)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(tmp_path / "door"))
        listening.listen()
        with pytest.raises(TimeoutError, match="no answer"):
            SocketCalls(str(tmp_path / "door")).cpu_vendor()


def test_an_answer_without_end_is_not_read_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raplica_reader.windows_socket.LONGEST", 1000)
    with Answering(tmp_path / "door", b"x" * 2000), pytest.raises(OSError, match="does not end"):
        SocketCalls(str(tmp_path / "door")).cpu_vendor()


def test_no_socket_is_no_answer_of_windows_and_a_python_without_local_sockets_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = SocketCalls(str(tmp_path / "nobody"))
    with pytest.raises(ConnectionRefusedError, match="nobody answers for Windows: No such file"):
        calls.cpu_vendor()
    monkeypatch.delattr(socket, "AF_UNIX")
    with pytest.raises(OSError, match="no local sockets"):
        calls.cpu_vendor()
