# SPDX-License-Identifier: Apache-2.0
"""Putting a machine into place: what a system must allow, what is said where it does not, and what comes and goes."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from errno import EACCES, EINVAL, EIO, ENOENT, ENOSPC, ENOSYS, EPERM
from pathlib import Path

import pytest

from raplica_simulator.live.machine import LiveMachine
from raplica_simulator.machine import Machine
from raplica_simulator.surfaces import fuse_mounting, fuse_watch, namespace_calls, obstacles
from raplica_simulator.surfaces.fuse_mounting import CannotMount
from raplica_simulator.surfaces.fuse_serving import Serving
from raplica_simulator.surfaces.live_placed import PlacedTree
from raplica_simulator.surfaces.namespace import guests

RAPLICA = [sys.executable, "-m", "raplica_simulator"]
ROOM = Path(__file__).with_name("room.py")


needs_root = pytest.mark.usefixtures("rooms")


def in_room(traits: str, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(ROOM), traits, str(folder), *RAPLICA, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


# What is said where it is not allowed, on systems that really do not.


@needs_root
@pytest.mark.parametrize(
    ("traits", "says", "fix"),
    [
        ("no-device", "there is no /dev/fuse", "--device /dev/fuse"),
        ("nobody,no-device", "there is no /dev/fuse", "modprobe fuse"),
        ("nobody,closed-device", "/dev/fuse is closed to you", "chmod 666 /dev/fuse"),
        ("no-namespaces", "namespaces are not allowed here", "--cap-add SYS_ADMIN"),
        ("nobody,open-device,no-namespaces", "namespaces are not allowed here", "privileged: true"),
        ("nobody,open-device,limit", "user.max_user_namespaces is 0", "sysctl user.max_user_namespaces="),
    ],
)
def test_a_system_that_does_not_allow_it_is_told_in_one_line_what_would(
    tmp_path: Path, traits: str, says: str, fix: str
) -> None:
    done = in_room(traits, tmp_path, "exec", "kabylake", "--", "true")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (125, "", 1), done.stderr
    assert done.stderr.startswith(f"raplica: {says}")
    assert fix in done.stderr


@needs_root
def test_a_root_who_may_not_mount_uses_a_user_namespace(tmp_path: Path) -> None:
    done = in_room("no-admin", tmp_path, "exec", "kabylake", "--", "ls", "/dev/cpu")
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["0", "1", "2", "3"], "")


# Settings that cannot be made here: what is said depends on what the kernel says of them.


def error(errno: int, path: str = "/sys/class") -> OSError:
    return OSError(errno, os.strerror(errno), path)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the kernel be set otherwise: ``settings(**{"user.max_user_namespaces": 0})``."""
    monkeypatch.setattr(obstacles, "_SETTINGS", tmp_path)

    def put(**values: int) -> None:
        for name, value in values.items():
            path = tmp_path / name.replace(".", "/")
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"{value}\n")

    return put


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("user.max_mnt_namespaces", 0, "sysctl user.max_mnt_namespaces=10000"),
        ("kernel.unprivileged_userns_clone", 0, "sysctl kernel.unprivileged_userns_clone=1"),
        ("kernel.apparmor_restrict_unprivileged_userns", 1, "sysctl kernel.apparmor_restrict_unprivileged_userns=0"),
        ("kernel.unprivileged_userns_clone", 1, "--cap-add SYS_ADMIN"),
    ],
)
def test_the_setting_that_forbids_namespaces_is_named(
    settings: Callable[..., None], name: str, value: int, said: str
) -> None:
    settings(**{name: value})
    assert said in obstacles.namespace_refused(error(EPERM))


@pytest.mark.parametrize(
    ("errno", "said"),
    [(ENOSPC, "too many namespaces"), (EINVAL, "no user namespaces"), (ENOSYS, "no user namespaces")],
)
@pytest.mark.usefixtures("settings")
def test_what_the_kernel_says_of_namespaces_is_understood(errno: int, said: str) -> None:
    assert said in obstacles.namespace_refused(error(errno))


def test_what_the_kernel_says_of_a_mount_is_understood(
    settings: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "/sys/class cannot be covered here: Input/output error" in obstacles.mount_refused(error(EIO))
    assert "there is no /sys/class" in obstacles.mount_refused(error(ENOENT))
    assert "--security-opt apparmor=unconfined" in obstacles.mount_refused(error(EACCES))
    settings(**{"kernel.apparmor_restrict_unprivileged_userns": 1})
    for whole in (True, False):
        monkeypatch.setattr(obstacles, "_in_user_namespace", lambda whole=whole: not whole)
        assert ("restrict_unprivileged" in obstacles.mount_refused(error(EACCES))) is not whole


# What comes and goes.


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@needs_root
@pytest.mark.usefixtures("mounts")
def test_the_folder_of_virtual_devices_has_guests_and_a_powercap_that_comes_and_goes(tmp_path: Path) -> None:
    live = LiveMachine(Machine.from_profile("kabylake"))
    names = guests()
    assert names
    assert "powercap" not in names
    tree = PlacedTree(live, 0, names, perf_type=None)
    descriptor = fuse_mounting.open_device()
    fuse_mounting.mount_connection(descriptor, str(tmp_path), allow_other=False)
    troubles: list[str] = []
    serving = Serving(live, tree, descriptor, troubles.append, place="the test")
    try:
        virtual = tmp_path / "sys/devices/virtual"
        here = sorted(["powercap", *names])
        assert names_in(virtual) == here
        assert virtual.stat().st_nlink == 2 + len(here)
        assert list((virtual / names[0]).iterdir()) == []
        name = tmp_path / "sys/class/powercap/intel-rapl:0/name"
        assert name.read_text() == "package-0\n"
        with serving.held() as machine:
            machine.driver.unload()
        assert names_in(virtual) == names
        assert not (virtual / "powercap").exists()
        with serving.held() as machine:
            machine.driver.load()
        assert names_in(virtual) == here
        assert name.read_text() == "package-0\n"
        virtual.chmod(0o700)
        assert live.machine.sysfs.stat("devices/virtual").st_mode & 0o777 == 0o700
    finally:
        fuse_watch.unmount(str(tmp_path), fuse_watch.device_of(str(tmp_path)))
        serving.close()
    assert troubles == []


def test_who_tells_of_what_has_changed_is_waited_for_before_the_connection_ends() -> None:
    live = LiveMachine(Machine.from_profile("kabylake"))
    tree = PlacedTree(live, 0, [], perf_type=None)
    serving = Serving(live, tree, os.open(os.devnull, os.O_RDWR), lambda _line: None, place="the test")
    begun, may_end = threading.Event(), threading.Event()
    found: list[int] = []

    def tell() -> None:
        begun.set()
        may_end.wait(20)
        found.append(serving.server.descriptor)

    serving.server.call_in = tell  # type: ignore[method-assign]
    tree.when_switched()
    assert begun.wait(20)
    threading.Timer(0.1, may_end.set).start()
    serving.close()
    assert [number >= 0 for number in found] == [True]
    tree.when_switched()
    assert len(found) == 1


@pytest.mark.usefixtures("rooms")
@pytest.mark.parametrize(("missing", "name"), [("/sys", "/sys/devices/virtual"), ("/proc", "/proc/self/mountinfo")])
def test_a_system_without_sysfs_or_proc_is_told_what_is_missing_and_waits_for_nothing(missing: str, name: str) -> None:
    program = (
        "import sys\n"
        "from raplica_simulator.doctor import examine\n"
        "from raplica_simulator.surfaces import namespace_calls as calls\n"
        "calls.unshare(calls.NEWNS)\n"
        "calls.mount('', '/', flags=calls.MS_REC | calls.MS_PRIVATE)\n"
        "calls.umount(sys.argv[1])\n"
        "found = {one.name: one for one in examine()}\n"
        "print(found['exec' if sys.argv[1] == '/sys' else 'mount'].says)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, missing], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stdout, done.stderr) == (f"there is no {name}\n", "")


def test_what_fails_by_a_mistake_of_ours_does_not_pass_for_what_can_be_done() -> None:
    program = (
        "from raplica_simulator.surfaces.namespace import attempt\n"
        "print(attempt(lambda: 1 // 0), attempt(lambda: None))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "ZeroDivisionError('integer division or modulo by zero'): this is a mistake in raplica None\n"


def test_a_connection_that_cannot_be_mounted_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise error(EPERM)

    monkeypatch.setattr(namespace_calls, "mount", refuse)
    with pytest.raises(CannotMount, match="--cap-add SYS_ADMIN"):
        fuse_mounting.mount_connection(0, str(tmp_path), allow_other=False)
