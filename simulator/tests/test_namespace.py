# SPDX-License-Identifier: Apache-2.0
"""Putting a machine into place: what a system must allow, what is said where it does not, and what comes and goes."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from errno import EACCES, EAGAIN, EINVAL, EIO, ENOENT, ENOSPC, ENOSYS, EPERM
from pathlib import Path

import pytest

from raplica_simulator.live.machine import LiveMachine
from raplica_simulator.machine import Machine
from raplica_simulator.surfaces import fuse_mounting, fuse_watch, namespace, namespace_calls, obstacles
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
    settings: Callable[..., None], monkeypatch: pytest.MonkeyPatch, name: str, value: int, said: str
) -> None:
    settings(**{name: value})
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert said in obstacles.namespace_refused(error(EPERM))
    # Root is told what a container needs: it is not what is set for users that stops it.
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert "--cap-add SYS_ADMIN" in obstacles.namespace_refused(error(EPERM))


@pytest.mark.parametrize(
    ("errno", "said"),
    [(ENOSPC, "too many namespaces"), (EINVAL, "no user namespaces"), (ENOSYS, "no user namespaces")],
)
@pytest.mark.usefixtures("settings")
def test_what_the_kernel_says_of_namespaces_is_understood(errno: int, said: str) -> None:
    assert said in obstacles.namespace_refused(error(errno))


def test_what_the_kernel_says_of_a_mount_is_understood(
    settings: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "/sys/class cannot be covered here: Input/output error" in obstacles.mount_refused(error(EIO))
    assert "there is no /sys/class" in obstacles.mount_refused(error(ENOENT))
    assert "--security-opt apparmor=unconfined" in obstacles.mount_refused(error(EACCES))
    settings(**{"kernel.apparmor_restrict_unprivileged_userns": 1})
    monkeypatch.setattr(obstacles, "_UID_MAP", tmp_path / "uid_map")
    # The machine's own user namespace, that of a root without CAP_SYS_ADMIN, that of a user.
    for numbers, of_a_user in (("0 0 4294967295", False), ("0 0 1", False), ("0 1000 1", True)):
        (tmp_path / "uid_map").write_text(numbers)
        assert ("restrict_unprivileged" in obstacles.mount_refused(error(EACCES))) is of_a_user


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


def test_where_nothing_can_be_tried_the_limit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> int:
        raise OSError(EAGAIN, os.strerror(EAGAIN))

    monkeypatch.setattr(os, "fork", fail)
    assert (namespace.obstacle() or "").startswith("nothing can be started here: `ulimit -u` allows no more processes")


@needs_root
def test_what_the_host_mounts_and_unmounts_later_appears_and_nothing_of_ours_there(tmp_path: Path) -> None:
    program = (
        "import os, sys\n"
        "from raplica_simulator.surfaces import namespace, namespace_calls as calls\n"
        "def meet(say, hear):\n"
        "    os.write(say, b'.')\n"
        "    assert os.read(hear, 1) == b'.'\n"
        "place = sys.argv[1]\n"
        "calls.unshare(calls.NEWNS)\n"
        "calls.mount('', '/', flags=calls.MS_REC | 1 << 20)\n"  # MS_SHARED, as on most systems
        "(hear, theirs), (their_hear, say) = os.pipe(), os.pipe()\n"
        "if os.fork() == 0:\n"
        "    os.close(hear), os.close(say)\n"
        "    namespace.enter(unprivileged=False)\n"
        "    for _ in range(2):\n"
        "        meet(theirs, their_hear)\n"
        "        print(os.listdir(place), flush=True)\n"
        "    calls.mount('ours', place, 'tmpfs')\n"
        "    os.mkdir(f'{place}/of-ours')\n"
        "    meet(theirs, their_hear)\n"
        "    os._exit(0)\n"
        "os.close(theirs), os.close(their_hear)\n"
        "assert os.read(hear, 1) == b'.'\n"
        "calls.mount('host', place, 'tmpfs')\n"
        "os.mkdir(f'{place}/of-the-host')\n"
        "meet(say, hear)\n"
        "calls.umount(place)\n"
        "meet(say, hear)\n"
        "print(os.listdir(place), flush=True)\n"
        "os.write(say, b'.')\n"
        "os.wait()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stdout, done.stderr) == ("['of-the-host']\n[]\n[]\n", "")


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
