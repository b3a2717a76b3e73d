# SPDX-License-Identifier: Apache-2.0
"""The process that waits beside a mount and takes it away when who answered for it was killed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from raplica_simulator.live.machine import LiveMachine
from raplica_simulator.machine import Machine
from raplica_simulator.surfaces import fuse_mounting, fuse_watch
from raplica_simulator.surfaces.fuse import FuseMount

from .mounted import is_mounted


def watches(directory: str) -> list[list[str]]:
    """The two that can watch: a shell that starts a Python when there is something to do, and that Python alone."""
    helper = "" if os.geteuid() == 0 else shutil.which("fusermount3") or ""
    command = [sys.executable, "-I", "-S", fuse_watch.__file__, directory, helper]
    return [["/bin/sh", "-c", fuse_watch.WAIT, "sh", *command], command]


@pytest.mark.parametrize("watch", [0, 1])
@pytest.mark.parametrize("told", ["", "0:0\n", "0:0\n.\n", ".\n"])
def test_the_watch_ends_in_peace_where_nothing_is_mounted(tmp_path: Path, told: str, watch: int) -> None:
    command = watches(str(tmp_path))[watch]
    done = subprocess.run(command, input=told, capture_output=True, check=False, timeout=60, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.usefixtures("mounts")
@pytest.mark.parametrize("watch", [0, 1])
@pytest.mark.parametrize(("told", "stays"), [("", False), ("{}\n", False), ("0:0\n", True), ("{}\n.\n", True)])
def test_the_watch_takes_away_what_it_was_told_and_nothing_else(
    tmp_path: Path, told: str, watch: int, *, stays: bool
) -> None:
    place = tmp_path / "a folder's $(name) \\ of \n two lines"
    with FuseMount(LiveMachine(Machine.from_profile("kabylake")), place) as shown:
        device = fuse_watch.device_of(shown.directory)
        subprocess.run(watches(shown.directory)[watch], input=told.format(device), check=True, timeout=60, text=True)
        assert is_mounted(place) is stays


@pytest.mark.usefixtures("mounts")
def test_a_mount_is_watched_without_a_shell_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []

    def start(words: list[str], **keys: Any) -> "subprocess.Popen[str]":
        started.append(words)
        return subprocess.Popen(words, **keys)

    monkeypatch.setattr(fuse_mounting, "_SHELL", str(tmp_path / "none"))
    monkeypatch.setattr(fuse_mounting, "subprocess", SimpleNamespace(**{**vars(subprocess), "Popen": start}))
    FuseMount(LiveMachine(Machine.from_profile("kabylake")), tmp_path / "m").close()
    assert [words[0] for words in started] == [sys.executable]
    assert not is_mounted(tmp_path / "m")
