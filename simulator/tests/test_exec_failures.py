# SPDX-License-Identifier: Apache-2.0
"""What can go wrong in `raplica exec` between its start and that of the command: one line or a status says it."""

import os
import signal
import socket
import threading
from errno import EAGAIN, EMFILE, EPERM
from pathlib import Path

import pytest

from raplica_simulator.cli import main
from raplica_simulator.exec import command as exec_module
from raplica_simulator.exec.child import GO
from raplica_simulator.exec.command import CannotMount
from raplica_simulator.exec.command import run as execute
from raplica_simulator.live.machine import start
from raplica_simulator.surfaces import namespace, namespace_calls

pytestmark = [
    pytest.mark.usefixtures("places"),
    # What runs tests may have threads of its own; the child becomes another program at once.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


def refuse(*_: object) -> None:
    raise PermissionError(EPERM, os.strerror(EPERM), "/sys")


def test_a_child_that_is_killed_on_the_way_is_told_by_the_status(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("enter", "put"):
        with monkeypatch.context() as broken:
            broken.setattr(namespace, name, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
            assert execute(start("kabylake"), ["true"], tell=print) == 128 + signal.SIGKILL


def test_a_mistake_on_the_way_is_told_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    before = children.read_text()
    monkeypatch.setattr(namespace, "put", lambda _guests: 1 // 0)
    with pytest.raises(RuntimeError, match=r"MISTAKE: ZeroDivisionError.*this is a mistake in raplica"):
        execute(start("kabylake"), ["true"], tell=print)
    assert children.read_text() == before


def test_a_mistake_after_all_is_in_place_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "execvpe", lambda *_: 1 // 0)
    with pytest.raises(RuntimeError, match=r"MISTAKE: ZeroDivisionError.*this is a mistake in raplica"):
        execute(start("kabylake"), ["true"], tell=print)


def test_a_mistake_is_told_from_what_the_command_says_by_the_status(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(namespace, "put", lambda _guests: 1 // 0)
    with pytest.raises(SystemExit) as ended:
        main(["exec", "kabylake", "--", "true"])
    assert ended.value.code == 125
    assert "this is a mistake in raplica" in capfd.readouterr().err


@pytest.mark.parametrize("reads_first", [False, True])
def test_a_child_that_is_killed_just_before_it_begins_is_told_by_the_status(
    monkeypatch: pytest.MonkeyPatch, *, reads_first: bool
) -> None:
    """Whether it ends before the last word to it is sent, or with that word unread."""
    sent = socket.socket.send

    def end(_errand: object, report: socket.socket) -> None:
        namespace.enter(unprivileged=False)
        socket.send_fds(report, [b"m"], [namespace.stage()])
        report.send(b"p")
        if reads_first:
            report.recv(1, socket.MSG_PEEK)
        os.kill(os.getpid(), signal.SIGKILL)

    def send_late(self: socket.socket, data: bytes) -> int:
        if not reads_first and data == GO:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        return sent(self, data)

    monkeypatch.setattr(exec_module, "become", end)
    monkeypatch.setattr(socket.socket, "send", send_late)
    assert execute(start("kabylake"), ["true"], tell=print) == 128 + signal.SIGKILL


def test_where_nothing_more_can_be_started_the_limit_is_named_and_not_the_command(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for errno, limit in ((EAGAIN, "ulimit -u"), (EMFILE, "ulimit -n")):

        def fail(number: int = errno) -> int:
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as full:
            full.setattr(os, "fork", fail)
            with pytest.raises(SystemExit) as ended:
                main(["exec", "kabylake", "--", "true"])
        told = capfd.readouterr()
        assert (ended.value.code, told.out, told.err.count("\n")) == (125, "", 1)
        assert told.err.startswith(f"raplica: nothing can be started here: `{limit}` allows no more")


def test_what_is_refused_on_the_way_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespace_calls, "umount", refuse)
    with pytest.raises(CannotMount, match="--cap-add SYS_ADMIN") as refused:
        execute(start("kabylake"), ["true"], tell=print)
    assert namespace.obstacle() == str(refused.value)
    with pytest.raises(ValueError, match="there is no command"):
        execute(start("kabylake"), [], tell=print)
    with pytest.raises(ValueError, match="has a NUL in it"):
        execute(start("kabylake"), ["true", "a\0b"], tell=print)


def test_a_limit_that_the_child_meets_is_named_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> int:
        raise OSError(EMFILE, os.strerror(EMFILE), "/dev/fuse")

    monkeypatch.setattr(namespace, "stage", fail)
    with pytest.raises(CannotMount, match="`ulimit -n` allows no more open files"):
        execute(start("kabylake"), ["true"], tell=print)


@pytest.mark.parametrize("name", ["raplica-fuse", "raplica-control", "raplica-punctual"])
@pytest.mark.parametrize(("verb", "status"), [("exec", 125), ("mount", 1)])
def test_where_no_thread_can_be_started_one_line_says_so_and_nothing_is_left(
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    verb: str,
    status: int,
    name: str,
) -> None:
    begin = threading.Thread.start

    def refuse_one(self: threading.Thread) -> None:
        if self.name == name:
            raise RuntimeError("can't start new thread")
        begin(self)

    monkeypatch.setattr(threading.Thread, "start", refuse_one)
    place = tmp_path / "m"
    words = [verb, "-", *([str(place)] if verb == "mount" else []), "--scenario", "zone-vanishes", "--control"]
    with pytest.raises(SystemExit) as ended:
        main([*words, str(tmp_path / "door"), *(["--", "true"] if verb == "exec" else [])])
    told = capfd.readouterr()
    assert (ended.value.code, told.out, told.err.count("\n")) == (status, "", 1)
    assert told.err.startswith("raplica: nothing can be started here: `ulimit -u` allows no more processes")
    assert not (tmp_path / "door").exists()
    assert not os.path.ismount(place)
