# SPDX-License-Identifier: Apache-2.0
"""The command `raplica mount`: ready, signals, what is left when it is killed, and what it says where it cannot."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from errno import EACCES, EPERM
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from raplica_simulator.cli import main
from raplica_simulator.live.machine import LiveMachine, start
from raplica_simulator.machine import Machine
from raplica_simulator.mount import show
from raplica_simulator.surfaces import fuse_mounting, fuse_watch
from raplica_simulator.surfaces.fuse import FuseMount
from raplica_simulator.surfaces.fuse_mounting import CannotMount

ENERGY = "sys/class/powercap/intel-rapl:0/energy_uj"
RAPLICA = [sys.executable, "-m", "raplica_simulator", "mount"]


@contextmanager
def running(*arguments: str | Path, stdout: int = subprocess.PIPE) -> Iterator[subprocess.Popen[str]]:
    """The command, once it is ready; whatever is left of it at the end is ended."""
    command = [*RAPLICA, *map(str, arguments)]
    with subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, text=True) as process:
        try:
            if process.stdout is not None:
                assert process.stdout.readline() == "ready\n", process.stderr and process.stderr.read()
            yield process
        finally:
            process.kill()


def is_mounted(place: Path) -> bool:
    return bool(fuse_watch.device_of(str(place)))


def wait_until(what: Callable[[], bool]) -> None:
    for _ in range(3000):
        if what():
            return
        time.sleep(0.01)
    pytest.fail("it did not come about in half a minute")


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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.usefixtures("mounts")
def test_a_signal_unmounts_it_and_leaves_the_folder(tmp_path: Path, number: int) -> None:
    place = tmp_path / "new" / "m"
    with running("skylake-sp-2s", place) as process:
        assert is_mounted(place)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, is_mounted(place)) == (0, "", False)
    assert err == f"raplica: skylake-sp-2s is live in {place}/sys and {place}/dev/cpu until Ctrl-C or SIGTERM\n"
    assert list(place.iterdir()) == []


@pytest.mark.usefixtures("mounts")
def test_a_program_can_do_what_the_command_does(make_machine: Callable[..., Machine], tmp_path: Path) -> None:
    odd = make_machine(more='[[faults.sysfs]]\npath = "class/powercap/none"\non = "read"\nerrno = "EIO"')
    place, told = tmp_path / "m", list[str]()
    before = signal.getsignal(signal.SIGTERM)
    live = start(odd.profile)

    def ready() -> None:
        assert is_mounted(place)
        os.kill(os.getpid(), signal.SIGTERM)

    show(live, str(place), allow_other=False, ready=ready, tell=told.append)
    assert not is_mounted(place)
    assert live.machine.clock.now_ns > 0
    assert told[0].startswith("warning: faults.sysfs: class/powercap/none")
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.usefixtures("mounts")
def test_time_runs_and_the_options_count(tmp_path: Path) -> None:
    trace = tmp_path / "load.csv"
    trace.write_text("time_s,package\n0,40\n50,60\n")
    options = ("--load", trace, "--at", "100", "--kernel", "6.1")
    with running("skylake-sp-2s", tmp_path / "m", *options, "--speed", "1000") as process:
        before = int((tmp_path / "m" / ENERGY).read_text())
        time.sleep(0.1)
        after = int((tmp_path / "m" / ENERGY).read_text())
        process.terminate()
    start_uj = int(Machine.from_profile("skylake-sp-2s", kernel="6.1").sysfs.read(ENERGY.removeprefix("sys/")))
    # 40 W for 50 s and 60 W for 50 s had gone by, then 60 W of 1000 s in one.
    assert before - start_uj >= 5_000_000_000 * (1 - 1e-5)
    assert after - before >= 60 * 1000 * 100_000
    began = time.monotonic()
    with running("skylake-sp-2s", tmp_path / "m", *options, "--start-near-wrap", "100"):
        # 6 kJ below where it wraps, and 60 W since it began.
        shown_uj = int((tmp_path / "m" / ENERGY).read_text())
        most_uj = 256_144_000_000 + 60_000_000 * (time.monotonic() - began)
        assert 256_100_000_000 < shown_uj < most_uj


@pytest.mark.usefixtures("mounts")
def test_it_shows_the_msr_devices_and_lets_a_limit_be_written(tmp_path: Path) -> None:
    place = tmp_path / "m"
    with running("skylake-sp-2s", place):
        (place / "sys/class/powercap/intel-rapl:0/constraint_0_power_limit_uw").write_text("90000000")
        with (place / "dev/cpu/0/msr").open("rb", buffering=0) as msr:
            msr.seek(0x610)
            assert int.from_bytes(msr.read(8), "little") & 0x7FFF == 90 * 8


@pytest.mark.usefixtures("mounts")
def test_nothing_stays_mounted_when_it_is_killed(tmp_path: Path) -> None:
    place = tmp_path / "m"
    with running("skylake-sp-2s", place) as process:
        process.kill()
        process.wait()
        wait_until(lambda: not is_mounted(place))
    assert list(place.iterdir()) == []


@pytest.mark.usefixtures("mounts")
def test_nothing_stays_mounted_when_its_whole_group_is_killed(tmp_path: Path) -> None:
    place = tmp_path / "m"
    command = [*RAPLICA, "skylake-sp-2s", str(place)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        os.killpg(process.pid, signal.SIGKILL)
    wait_until(lambda: not is_mounted(place))


@pytest.mark.usefixtures("mounts")
def test_it_ends_when_somebody_else_unmounts_it(tmp_path: Path) -> None:
    place = tmp_path / "m"
    with running("skylake-sp-2s", place) as process:
        if os.geteuid() == 0:
            subprocess.run(["umount", place], check=True)
        else:
            subprocess.run(["fusermount3", "-u", place], check=True)
        assert process.wait(timeout=60) == 0


@pytest.mark.usefixtures("mounts")
def test_it_unmounts_what_somebody_still_uses(tmp_path: Path) -> None:
    place = tmp_path / "m"
    with running("skylake-sp-2s", place) as process:
        descriptor = os.open(place / "dev/cpu/0/msr", os.O_RDONLY)
        process.terminate()
        assert process.wait(timeout=60) == 0
        assert not is_mounted(place)
    with suppress(OSError):  # nobody answers any more, closed it is all the same
        os.close(descriptor)


@pytest.mark.usefixtures("mounts")
def test_who_does_not_wait_for_ready_leaves_no_mount_either(tmp_path: Path) -> None:
    place = tmp_path / "m"
    read, write = os.pipe()
    os.close(read)
    with running("skylake-sp-2s", place, stdout=write) as process:
        os.close(write)
        assert process.wait(timeout=60) == 141
    assert not is_mounted(place)


@pytest.mark.usefixtures("mounts")
def test_no_library_of_the_system_is_needed(tmp_path: Path) -> None:
    with running("skylake-sp-2s", tmp_path / "m") as process:
        assert "libfuse" not in Path(f"/proc/{process.pid}/maps").read_text()


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


@pytest.mark.usefixtures("mounts")
def test_a_path_with_blanks_and_odd_letters_is_mounted_and_unmounted(tmp_path: Path) -> None:
    place = tmp_path / "two words \\ ä"
    with FuseMount(LiveMachine(Machine.from_profile("kabylake")), place):
        assert is_mounted(place)
        assert (place / "sys").is_dir()
    assert not is_mounted(place)


# What it says where it cannot.


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
        "import os; os.execv(sys.executable, [sys.executable, *sys.argv[1:]])\n"
    )
    command = [sys.executable, "-c", program, *RAPLICA[1:], "kabylake", str(tmp_path / "m")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "SYS_ADMIN" in done.stderr or "fuse3" in done.stderr or "chmod 666" in done.stderr


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
        assert (place / ENERGY).read_bytes()
        process.send_signal(number)
    wait_until(lambda: not is_mounted(place))
    assert process.returncode == (0 if number == signal.SIGTERM else -number)


@pytest.mark.usefixtures("helper")
def test_what_the_helper_says_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "access", lambda *_: True)
    with pytest.raises(CannotMount, match=r"fusermount3 could not mount: .*none.*; name a folder of your own"):
        fuse_mounting.mount(str(tmp_path / "none"), allow_other=False)


@pytest.fixture
def helper() -> None:
    """Skip where there is no fusermount3; RAPLICA_FUSE=required makes that a failure."""
    import shutil

    if shutil.which("fusermount3") is None:
        reason = "fusermount3 is not installed: apt-get install fuse3"
        pytest.fail(reason) if os.environ.get("RAPLICA_FUSE") == "required" else pytest.skip(reason)


def watches(directory: str) -> list[list[str]]:
    """The two that can watch: a shell that starts a Python when there is something to do, and that Python alone."""
    command = [sys.executable, "-I", "-S", fuse_watch.__file__, directory, ""]
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
    monkeypatch.setattr(fuse_mounting, "subprocess", SimpleNamespace(Popen=start, PIPE=subprocess.PIPE))
    FuseMount(LiveMachine(Machine.from_profile("kabylake")), tmp_path / "m").close()
    assert [words[0] for words in started] == [sys.executable]
    assert not is_mounted(tmp_path / "m")
