# SPDX-License-Identifier: Apache-2.0
"""The command `raplica mount` where it cannot: what it says, and what it leaves to fusermount3."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from errno import EACCES, EAGAIN, EMFILE, EPERM
from pathlib import Path

import pytest

from raplica_simulator.cli import main
from raplica_simulator.surfaces import fuse_mounting, fuse_watch, obstacles
from raplica_simulator.surfaces.fuse_mounting import CannotMount

from .mounted import is_mounted, wait_until

NAME = "sys/class/powercap/intel-rapl:0/name"
RAPLICA = [sys.executable, "-m", "raplica_simulator", "mount"]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command in this process: status, stdout, stderr."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([*map(str, arguments)])
        told = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, told.out, told.err

    return call


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--speed", "0"], "--speed 0 is not above 0"),
        (["--speed", "fast"], "--speed 'fast' is no number: write it like 12"),
        (["--at", "-1"], "--at '-1' is no number of seconds"),
        (["--at", "10000000000000"], "too late"),
        (["--start-near-wrap", "0"], "--start-near-wrap 0"),
        (["--load", "watts"], "--load: 'watts' is none of"),
        (["--load", "none.csv"], "--load none.csv: No such file"),
        (["--load", "package=1,core=2"], "exceed package"),
        (["--kernel", ""], "--kernel is empty"),
        (["--kernel", "2.4"], "2.4"),
    ],
)
def test_a_wrong_option_is_one_line_and_mounts_nothing(
    tmp_path: Path, run: Callable[..., tuple[int, str, str]], arguments: list[str], said: str
) -> None:
    status, out, err = run("mount", "kabylake", tmp_path / "m", *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert said in err
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("place", ["/sys/class", "/proc/self", "/", "/dev/shm/m"])
def test_the_hosts_own_places_are_refused(run: Callable[..., tuple[int, str, str]], place: str) -> None:
    status, _, err = run("mount", "kabylake", place)
    assert status == 2
    assert "belong to the host" in err


def test_a_folder_that_cannot_be_made_is_one_line(
    tmp_path: Path, run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def mkdir(*_: object, **__: object) -> None:
        raise OSError(EACCES, os.strerror(EACCES))

    monkeypatch.setattr(os, "mkdir", mkdir)
    status, _, err = run("mount", "kabylake", tmp_path / "m")
    assert (status, err) == (1, f"raplica: {tmp_path}/m: Permission denied; name another place\n")


def test_a_machine_without_the_device_is_told_how_to_get_it(
    tmp_path: Path, run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuse_mounting, "_DEVICE", str(tmp_path / "none"))
    for user in (0, 1000):
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        status, out, err = run("mount", "kabylake", tmp_path / "m")
        assert (status, out, err.count("\n")) == (1, "", 1)
        assert "modprobe fuse" in err
        assert "--device /dev/fuse --cap-add SYS_ADMIN" in err
        assert (fuse_mounting.obstacle() or "none") in err


def test_a_device_that_is_closed_to_us_is_told_with_what_opens_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(EPERM, os.strerror(EPERM))

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(fuse_mounting, "_DEVICE", str(tmp_path))
    with pytest.raises(CannotMount, match="chmod 666 /dev/fuse"):
        fuse_mounting.mount(str(tmp_path), allow_other=False)
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(CannotMount, match="chmod 666 /dev/fuse"):
        fuse_mounting.open_device()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(CannotMount, match="--cap-add SYS_ADMIN"):
        fuse_mounting.open_device()


def test_without_the_helper_others_than_root_are_told_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "access", lambda *_: True)
    monkeypatch.setattr(fuse_mounting, "_DEVICE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotMount, match="apt-get install fuse3"):
        fuse_mounting.mount(str(tmp_path), allow_other=False)


def test_a_container_that_forbids_mounting_is_told_what_would_allow_it(tmp_path: Path) -> None:
    # Whatever user: what is refused here is refused for the lack of a right, or of the device.
    program = (
        "import ctypes, sys\n"
        "ctypes.CDLL(None).prctl(24, 21, 0, 0, 0)\n"  # PR_CAPBSET_DROP, CAP_SYS_ADMIN: gone after the next exec
        "ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)\n"  # PR_SET_NO_NEW_PRIVS: no helper has it either
        "import os; os.execv(sys.executable, [sys.executable, *sys.argv[1:]])\n"
    )
    command = [sys.executable, "-c", program, *RAPLICA[1:], "kabylake", str(tmp_path / "m")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert any(word in done.stderr for word in ("SYS_ADMIN", "no_new_privs", "fuse3", "chmod 666"))


@pytest.mark.usefixtures("mounts")
def test_a_mount_that_nobody_answers_for_is_named_with_the_command_that_ends_it(
    tmp_path: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    place = tmp_path / "m"
    place.mkdir()
    descriptor = fuse_mounting.open_device()
    fuse_mounting.mount_connection(descriptor, str(place), allow_other=False)
    os.close(descriptor)
    try:
        status, out, err = run("mount", "kabylake", place)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert f"`umount -l {place}`" in err
    finally:
        fuse_watch.unmount(str(place), fuse_watch.device_of(str(place)))
    assert not is_mounted(place)


# Who is not root asks fusermount3: here root asks it too, in a process that takes itself for somebody else.

HELPED = """
import os, sys
os.geteuid = lambda: 1000
os.access = lambda *_: True
from raplica_simulator import cli
cli.main(["mount", "kabylake", sys.argv[1]])
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.usefixtures("mounts", "helper")
def test_the_helper_mounts_and_unmounts(tmp_path: Path, number: int) -> None:
    place = tmp_path / "m"
    command = [sys.executable, "-c", HELPED, str(place)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert is_mounted(place)
        assert (place / NAME).read_bytes() == b"package-0\n"
        process.send_signal(number)
        process.communicate()  # it may still have a line to say
    wait_until(lambda: not is_mounted(place))
    assert process.returncode == (0 if number == signal.SIGTERM else -number)


@pytest.mark.usefixtures("helper")
def test_what_the_helper_says_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "access", lambda *_: True)
    with pytest.raises(CannotMount, match=r"fusermount3 could not mount: .*none.*; name a folder of your own"):
        fuse_mounting.mount(str(tmp_path / "none"), allow_other=False)


def test_a_helper_that_has_no_rights_is_told_with_what_takes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "/usr/bin/fusermount3: mount failed: Operation not permitted"
    for taken, line in ((True, "no_new_privs is set"), (False, "--cap-add SYS_ADMIN")):
        monkeypatch.setattr(obstacles, "_gets_no_rights", lambda taken=taken: taken)
        assert line in obstacles.helper_refused("fusermount3", said)
    assert "it does not say why; name a folder" in obstacles.helper_refused("fusermount3", "")


@pytest.mark.parametrize(("errno", "limit"), [(EAGAIN, "ulimit -u"), (EMFILE, "ulimit -n")])
def test_a_limit_is_named_and_not_the_folder(
    tmp_path: Path,
    run: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
    errno: int,
    limit: str,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno, os.strerror(errno))

    monkeypatch.setattr(fuse_mounting, "_find_way", fail)
    status, out, err = run("mount", "kabylake", tmp_path / "m")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"raplica: nothing can be started here: `{limit}` allows no more")
    assert err == f"raplica: {fuse_mounting.obstacle()}\n"


@pytest.fixture
def helper() -> None:
    """Skip where there is no fusermount3; RAPLICA_FUSE=required makes that a failure."""
    if shutil.which("fusermount3") is None:
        reason = "fusermount3 is not installed: apt-get install fuse3"
        pytest.fail(reason) if os.environ.get("RAPLICA_FUSE") == "required" else pytest.skip(reason)
