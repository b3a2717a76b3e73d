# SPDX-License-Identifier: Apache-2.0
"""`raplica mount --control --step` and `raplica exec --control`, and `raplica ctl` beside them, as commands."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from raplica_simulator.control.client import ask
from raplica_simulator.surfaces.namespace import obstacle

RAPLICA = [sys.executable, "-m", "raplica_simulator"]
ENERGY = "sys/class/powercap/intel-rapl:0/energy_uj"


@contextmanager
def mounted(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """The command `raplica mount`, once it is ready."""
    command = [*RAPLICA, "mount", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n", process.stderr and process.stderr.read()
            yield process
        finally:
            process.kill()


def ctl(door: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*RAPLICA, "ctl", str(door), *words], capture_output=True, text=True, check=False)


@pytest.mark.usefixtures("mounts")
def test_a_mount_is_stepped_from_a_shell_until_it_is_told_to_end(tmp_path: Path) -> None:
    door, place = tmp_path / "door", tmp_path / "m"
    with mounted("skylake-sp-2s", place, "--step", "--control", door, "--load", "package=100") as process:
        assert door.stat().st_mode & 0o7777 == 0o600
        before = int((place / ENERGY).read_text())
        assert int((place / ENERGY).read_text()) == before
        moved = ctl(door, "advance", "5")
        assert (moved.returncode, moved.stderr) == (0, "")
        assert moved.stdout == "skylake-sp-2s on Linux 6.12: 5.000000000 s, time stands, log off\n"
        assert 499_998_600 <= int((place / ENERGY).read_text()) - before <= 500_000_000
        (spent,) = json.loads(ctl(door, "truth", "package-0", "--json").stdout)
        assert spent["truth_uj"] == 500_000_000
        refused = ctl(door, "truth", "package-9")
        assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (1, "", 1)
        assert "no domain 'package-9' here" in refused.stderr
        wrong = ctl(door, "advance")
        assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
        assert ctl(door, "end").returncode == 0
        assert process.wait(timeout=60) == 0
    assert not os.path.ismount(place)
    assert not door.exists()
    gone = ctl(door, "status")
    assert (gone.returncode, gone.stderr.count("\n")) == (1, 1)


@pytest.mark.usefixtures("mounts")
def test_a_killed_mount_leaves_a_socket_that_the_next_one_replaces(tmp_path: Path) -> None:
    door = tmp_path / "door"
    with mounted("kabylake", tmp_path / "m", "--control", door) as process:
        process.kill()
        process.wait()
    assert door.is_socket()
    with mounted("kabylake", tmp_path / "n", "--control", door):
        status = ask(door, "status")
        assert (status["machine"], status["running"]) == ("kabylake", True)


@pytest.mark.usefixtures("mounts")
def test_a_place_where_no_door_can_be_is_one_line_and_leaves_no_mount(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    command = [*RAPLICA, "mount", "kabylake", str(tmp_path / "m"), "--control", str(tmp_path / "file")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "something else is there already" in done.stderr
    assert not os.path.ismount(tmp_path / "m")


def test_a_command_in_exec_steps_its_own_machine_and_is_in_the_log(tmp_path: Path) -> None:
    door = tmp_path / "door"
    told = " ".join(f"'{word}'" for word in (*RAPLICA, "ctl", str(door)))
    script = (
        f"{told} log on\n"
        "cat /sys/class/powercap/intel-rapl:0/energy_uj\n"
        f"{told} advance 3\n"
        "cat /sys/class/powercap/intel-rapl:0/energy_uj /sys/devices/system/cpu/online\n"
        "head -n 1 /proc/cpuinfo\n"
        f"{told} log --json\n"
    )
    options = ["--step", "--load", "package=100", "--control", str(door)]
    command = [*RAPLICA, "exec", "skylake-sp-2s", *options, "--", "sh", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if reason := None if done.returncode == 0 else obstacle():
        assert os.environ.get("RAPLICA_FUSE") != "required", reason
        pytest.skip(f"no machine can be put into place here: {reason}")
    assert done.returncode == 0, done.stderr
    before, _, after, online, _, page = done.stdout.splitlines()
    assert 299_998_000 <= int(after) - int(before) <= 300_000_000
    assert online == "0-79"
    seen = [one for one in json.loads(page)["calls"] if one["operation"] == "read" and one["value"]]
    zone = "sys/devices/virtual/powercap/intel-rapl/intel-rapl:0/energy_uj"
    assert [(one["command"], one["path"], one["truth_uj"]) for one in seen] == [
        ("cat", zone, 0),
        ("cat", zone, 300_000_000),
        ("cat", "sys/devices/system/cpu/online", None),
        ("head", "proc/cpuinfo", None),
    ]
    assert list(tmp_path.iterdir()) == []


def test_an_order_to_end_ends_the_command_of_exec(tmp_path: Path) -> None:
    door = tmp_path / "door"
    told = " ".join(f"'{word}'" for word in (*RAPLICA, "ctl", str(door)))
    command = [*RAPLICA, "exec", "kabylake", "--control", str(door), "--", "sh", "-c", f"{told} end; sleep 60"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)
    if reason := None if done.returncode == 128 + 15 else obstacle():
        assert os.environ.get("RAPLICA_FUSE") != "required", reason
        pytest.skip(f"no machine can be put into place here: {reason}")
    assert done.returncode == 128 + 15, done.stderr
    assert not door.exists()
