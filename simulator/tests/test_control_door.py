# SPDX-License-Identifier: Apache-2.0
"""Where the control socket may be, whose it is, and what is said of a path at which it cannot be."""

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from raplica_simulator.control.client import Refused, ask
from raplica_simulator.control.door import Control
from raplica_simulator.control.server import LONGEST_PATH, ControlDoor
from raplica_simulator.live.machine import LiveMachine, start
from raplica_simulator.load.plan import ConstantLoad


@pytest.fixture
def live() -> LiveMachine:
    return start("skylake-sp-2s", load=ConstantLoad({"package": 100, "dram": 8}))


@pytest.fixture
def door(live: LiveMachine, tmp_path: Path) -> Iterator[ControlDoor]:
    with ControlDoor(Control(live), tmp_path / "door") as opened:
        yield opened


def test_the_socket_is_its_owners_alone_whatever_the_umask(live: LiveMachine, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with ControlDoor(Control(live), tmp_path / "door") as door:
            assert Path(door.path).stat().st_mode & 0o7777 == 0o600
    finally:
        os.umask(before)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else for a moment")
def test_another_user_is_refused_by_the_mode_and_where_that_was_changed_by_the_door(live: LiveMachine) -> None:
    program = (
        "import os, socket, sys\n"
        "os.setgroups([]), os.setgid(65534), os.setuid(65534)\n"
        "client = socket.socket(socket.AF_UNIX)\n"
        "client.connect(sys.argv[1])\n"
        "print(client.recv(4096))\n"
    )
    with tempfile.TemporaryDirectory() as folder, ControlDoor(Control(live), f"{folder}/door") as door:
        Path(folder).chmod(0o755)

        def nobody() -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-I", "-S", "-c", program, door.path]
            return subprocess.run(command, capture_output=True, text=True, check=False)

        assert "PermissionError" in nobody().stderr
        Path(door.path).chmod(0o666)
        assert "only user 0, who started the machine, and root may give it orders" in nobody().stdout
        assert ask(door.path, "status")["now_ns"] == 0


def test_what_a_killed_process_left_behind_is_taken_away(live: LiveMachine, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(tmp_path / "door"))
    with ControlDoor(Control(live), tmp_path / "door") as door:
        assert ask(door.path, "status")["now_ns"] == 0


def test_a_place_that_is_taken_is_refused_in_one_line_and_left_alone(
    live: LiveMachine, door: ControlDoor, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("file", "folder", "link"):
        with pytest.raises(ValueError, match=f"{name}: something else is there already") as refused:
            ControlDoor(Control(live), tmp_path / name)
        assert "\n" not in str(refused.value)
    with pytest.raises(ValueError, match="another machine takes orders there"):
        ControlDoor(Control(live), door.path)
    assert (tmp_path / "file").read_text() == "mine"
    assert ask(door.path, "status")["now_ns"] == 0


@pytest.mark.parametrize("path", ["", "\0abstract"])
def test_a_path_that_is_none_is_refused(live: LiveMachine, path: str) -> None:
    with pytest.raises(ValueError, match="needs a path"):
        ControlDoor(Control(live), path)


def test_the_longest_path_works_and_one_byte_more_is_refused_in_one_line(live: LiveMachine, tmp_path: Path) -> None:
    folder = tmp_path
    while len(str(folder)) < LONGEST_PATH - 60:
        folder = folder / "folder"
    folder.mkdir(parents=True, exist_ok=True)
    name = "d" * (LONGEST_PATH - len(str(folder)) - 1)
    with ControlDoor(Control(live), folder / name) as door:
        assert ask(door.path, "status")["now_ns"] == 0
    with pytest.raises(ValueError, match="at most 107 bytes, this one 108"):
        ControlDoor(Control(live), folder / f"{name}d")


@pytest.mark.parametrize(("name", "why"), [("none/door", "No such file"), ("file/door", "Not a directory")])
def test_a_folder_that_is_none_is_refused_in_one_line_with_the_path(
    live: LiveMachine, tmp_path: Path, name: str, why: str
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=f"^{tmp_path}/{name}: {why}.*: name a path in a folder that is there"):
        ControlDoor(Control(live), tmp_path / name)


def test_from_a_working_directory_that_has_gone_only_a_whole_path_leads_somewhere(
    live: LiveMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ValueError, match="door: the working directory has gone: name a path that begins with /"):
        ControlDoor(Control(live), "door")
    with ControlDoor(Control(live), tmp_path / "door") as door:
        assert ask(door.path, "status")["now_ns"] == 0
    monkeypatch.undo()


def test_who_is_too_busy_to_let_anybody_in_is_not_waited_for(live: LiveMachine, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waits:
        busy.bind(str(tmp_path / "door"))
        busy.listen(0)
        waits.connect(str(tmp_path / "door"))
        with pytest.raises(ValueError, match="another machine takes orders there"):
            ControlDoor(Control(live), tmp_path / "door")


def test_a_folder_that_became_none_meanwhile_keeps_no_door_from_closing(live: LiveMachine, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with ControlDoor(Control(live), folder / "door"):
        folder.rename(tmp_path / "moved")
        folder.touch()
    with pytest.raises(Refused, match="nobody answers"):
        ask(tmp_path / "moved" / "door", "status")


def test_somebody_elses_socket_at_the_path_stays_at_the_end(live: LiveMachine, tmp_path: Path) -> None:
    path = tmp_path / "door"
    with ControlDoor(Control(live), path):
        path.unlink()
        path.write_text("mine")
    assert path.read_text() == "mine"
