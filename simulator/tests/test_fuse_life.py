# SPDX-License-Identifier: Apache-2.0
"""What becomes of a mount: zones and processors that go and come, a kernel that crashes, many readers, the end."""

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from errno import ECONNABORTED, EIO, ENODEV, ENOENT, ENOTCONN, EPERM, ESRCH
from pathlib import Path

import pytest

from raplica_simulator import Machine
from raplica_simulator.live.machine import LiveMachine, start
from raplica_simulator.load.plan import ConstantLoad
from raplica_simulator.surfaces import fuse
from raplica_simulator.surfaces.caller import Caller
from raplica_simulator.surfaces.fuse import FuseMount, Refused
from raplica_simulator.surfaces.fuse_server import FuseServer
from raplica_simulator.surfaces.fuse_wire import Op
from raplica_simulator.surfaces.live_tree import LiveTree

from .mounted import LIMIT, POWERCAP, ZONE, Mount, at, errno_of, wait_until

REAL_ZONE = "sys/devices/virtual/powercap/intel-rapl/intel-rapl:0"

pytestmark = pytest.mark.usefixtures("mounts")


@pytest.fixture
def machine() -> Machine:
    return Machine.from_profile("skylake-sp-2s")


# What goes and comes.


def test_zones_vanish_by_path_and_from_under_those_who_hold_them(machine: Machine, mount: Mount) -> None:
    shown = mount(machine)
    limit = os.open(at(shown, f"{ZONE}/{LIMIT}"), os.O_RDWR)
    folder = os.open(at(shown, ZONE), os.O_RDONLY | os.O_DIRECTORY)
    at(shown, f"{REAL_ZONE}/name").read_text()
    with shown.held():
        machine.driver.unload()
    assert os.listdir(at(shown, POWERCAP)) == []  # noqa: PTH208
    for path in (ZONE, f"{ZONE}/name", f"{REAL_ZONE}/name", REAL_ZONE, "sys/devices/virtual/powercap"):
        assert errno_of(os.stat, at(shown, path)) == ENOENT
        assert errno_of(os.open, at(shown, path), os.O_RDONLY) == ENOENT
    assert errno_of(os.read, limit, 10) == ENODEV
    assert errno_of(os.write, limit, b"1") == ENODEV
    assert errno_of(os.lseek, limit, 0, os.SEEK_END) == ENODEV
    assert os.fstat(limit).st_nlink == 1
    assert os.fstat(folder).st_nlink == 2
    assert os.listdir(folder) == []  # noqa: PTH208 - of a descriptor
    for call in (os.stat, lambda name, dir_fd: os.open(name, os.O_RDONLY, dir_fd=dir_fd)):
        assert errno_of(call, "name", dir_fd=folder) == ENOENT
    poll = select.poll()
    poll.register(limit, select.POLLIN | select.POLLPRI)
    assert poll.poll(0) == [(limit, select.POLLIN | select.POLLPRI | select.POLLERR)]
    with shown.held():
        machine.driver.load()
    # What came back is something else: who held the old one still does.
    assert at(shown, f"{ZONE}/name").read_text() == "package-0\n"
    assert errno_of(os.read, limit, 10) == ENODEV
    assert os.listdir(folder) == []  # noqa: PTH208 - of a descriptor
    for descriptor in (limit, folder):
        os.close(descriptor)


def test_a_tree_that_changes_behind_the_mounts_back_is_still_found_by_path(machine: Machine, mount: Mount) -> None:
    shown = mount(machine)
    path = at(shown, f"{ZONE}/name")
    assert path.read_text() == "package-0\n"
    machine.driver.unload()
    assert errno_of(os.open, path, os.O_RDONLY) == ENOENT
    machine.driver.load()
    assert path.read_text() == "package-0\n"


def test_the_package_that_goes_offline_takes_its_zones_along(machine: Machine, mount: Mount) -> None:
    shown = mount(machine)
    zones = at(shown, POWERCAP)
    before = os.listdir(zones)  # noqa: PTH208 - in the kernel's order
    assert before == machine.sysfs.listdir("class/powercap")
    folders = at(shown, "sys/devices/virtual/powercap/intel-rapl").stat().st_nlink
    second = [place.number for place in machine.profile.topology.cpus if place.package == 1]
    with shown.held():
        for number in second:
            machine.cpu(number).offline()
    assert [name for name in before if name.startswith("intel-rapl:1")] != []
    assert [name for name in os.listdir(zones) if name.startswith("intel-rapl:1")] == []  # noqa: PTH208
    assert at(shown, "sys/devices/virtual/powercap/intel-rapl").stat().st_nlink == folders - 1
    with shown.held():
        machine.cpu(second[0]).online()
    assert os.listdir(zones) == before  # noqa: PTH208


def test_nothing_is_remembered_of_what_nobody_knows_any_more(machine: Machine, mount: Mount) -> None:
    shown = mount(machine)
    tree: LiveTree = shown._server._tree
    for _ in range(3):
        for folder, _, names in os.walk(at(shown, "sys")):
            for name in names:
                Path(folder, name).lstat()
        with shown.held():
            machine.driver.unload()
            machine.driver.load()
    # The kernel says what it has forgotten in its own time; it holds nothing of what has gone.
    gone: list[tuple[int, str]] = []
    for _ in range(3000):
        gone = [entry.place() for entry in tree.handed_out() if not entry.alive]
        if not gone and not shown._server.answers.handles:
            return
        time.sleep(0.01)
    pytest.fail(f"still known: {gone}")


# A kernel that crashes.


@pytest.fixture
def crashing(make_machine: Callable[..., Machine]) -> Machine:
    """A machine without a unit register: on 6.12 writing a limit divides by zero."""
    return make_machine("kabylake", "6.12", registers={0x606: None})


def test_who_makes_the_kernel_crash_is_ended_and_nobody_else(crashing: Machine, tmp_path: Path) -> None:
    troubles: list[str] = []
    with FuseMount(LiveMachine(crashing), tmp_path / "m", troubles=troubles.append) as shown:
        limit = at(shown, f"{ZONE}/{LIMIT}")
        done = subprocess.run(["dd", f"of={limit}", "status=none"], input=b"1000000\n", check=False)
        assert done.returncode == -9
        assert at(shown, f"{ZONE}/name").read_text() == "package-0\n"
        assert len(troubles) == 1
        assert "was killed" in troubles[0]
        # Our own process shows the machine, and is not ended: it is told, with what the writer got instead.
        assert errno_of(limit.write_bytes, b"1000000\n") == 5
        assert "could not be killed" in troubles[1]


def test_a_caller_that_cannot_be_seen_is_judged_by_its_user_and_not_ended() -> None:
    assert Caller(0, 0).has_rawio()
    assert not Caller(0, 1000).has_rawio()
    assert errno_of(Caller(0, 1000).kill) == ESRCH
    assert errno_of(Caller(os.getpid(), 0).kill) == EPERM


# The end.


def test_who_holds_a_file_of_what_was_unmounted_is_told(machine: Machine, tmp_path: Path) -> None:
    with FuseMount(LiveMachine(machine), tmp_path / "m") as shown:
        energy = os.open(at(shown, f"{ZONE}/energy_uj"), os.O_RDONLY)
    shown.close()
    assert shown.wait(0)
    assert errno_of(os.read, energy, 10) == ENOTCONN
    errno_of(os.close, energy)
    assert list((tmp_path / "m").iterdir()) == []


def test_a_mistake_of_ours_ends_the_mount_and_lets_nobody_wait(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    troubles: list[str] = []
    with FuseMount(LiveMachine(machine), tmp_path / "m", troubles=troubles.append) as shown:
        energy = os.open(at(shown, f"{ZONE}/energy_uj"), os.O_RDONLY)
        # A mistake in one answer is told, and the next one is right again.
        monkeypatch.setitem(shown._server.answers.handlers, Op.READ, lambda *_: 1 // 0)
        assert errno_of(os.read, energy, 10) == EIO
        assert "READ: ZeroDivisionError" in troubles[0]
        # A mistake that cannot be answered ends it all.
        monkeypatch.setattr(FuseServer, "_answer", lambda *_: 1 // 0)
        assert errno_of(os.read, energy, 10) in (ECONNABORTED, ENOTCONN)
        assert shown.wait(60)
        assert "has ended: ZeroDivisionError" in troubles[1]
        assert list((tmp_path / "m").iterdir()) == []
    with shown.held():
        machine.driver.unload()
    errno_of(os.close, energy)


def test_a_place_that_is_not_empty_or_not_ours_is_refused(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    for place, said in ((tmp_path / "full", "not empty"), (Path("/sys/class"), "nothing is ever written to")):
        with pytest.raises(Refused, match=said):
            FuseMount(LiveMachine(machine), place)


def test_a_mount_leaves_no_descriptor_thread_or_process_behind(machine: Machine, tmp_path: Path) -> None:
    def held() -> tuple[int, str]:
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
        return len(os.listdir("/proc/self/fd")), children  # noqa: PTH208

    def threads() -> int:
        return len(os.listdir("/proc/self/task"))  # noqa: PTH208

    before, threads_before = held(), threads()
    for _ in range(3):
        with FuseMount(LiveMachine(machine), tmp_path / "m") as shown:
            at(shown, f"{ZONE}/name").read_text()
    assert held() == before
    # A thread that was joined is still the kernel's for a moment.
    wait_until(lambda: threads() <= threads_before)


def test_many_readers_at_once_see_counters_that_never_go_back(mount: Mount) -> None:
    program = (
        "import os, sys\n"
        "f = os.open(sys.argv[1], os.O_RDONLY)\n"
        "last = 0\n"
        "for _ in range(700):\n"
        "    with open(sys.argv[1]) as file: text = file.read()\n"
        "    for now in (int(text), int(os.pread(f, 99, 0))):\n"
        "        assert now >= last, (now, last)\n"
        "        last = now\n"
    )
    # Fast enough to move between two looks, and minutes away from the wrap.
    live = start("skylake-sp-2s", load=ConstantLoad({"package": 100}), speed=10)
    shown = mount(live)
    live.let_time_run()
    path = str(at(shown, f"{ZONE}/energy_uj"))
    readers = [subprocess.Popen([sys.executable, "-I", "-S", "-c", program, path]) for _ in range(3)]
    # Meanwhile others change what is drawn, and look.
    for watts in range(30):
        with shown.held() as machine:
            machine.load.set(package=50 + watts)
        at(shown, f"{ZONE}/{LIMIT}").write_text(f"{100 + watts}000000\n")
    assert [reader.wait() for reader in readers] == [0, 0, 0]


# Programs that are started by the process that serves.


def test_a_program_starts_in_the_mount_while_a_file_of_it_is_held(machine: Machine, mount: Mount) -> None:
    shown = mount(machine)
    held = os.open(at(shown, f"{ZONE}/name"), os.O_RDONLY)
    done = subprocess.run(["ls"], cwd=at(shown, POWERCAP), capture_output=True, text=True, check=True)
    assert "intel-rapl:0" in done.stdout.split()
    os.close(held)


@pytest.mark.parametrize(("version", "shares"), [((3, 11, 3), False), ((3, 11, 4), True)])
def test_a_python_that_keeps_the_interpreter_while_a_program_starts_is_told_not_to(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, ...], *, shares: bool
) -> None:
    monkeypatch.setattr(subprocess, "_USE_VFORK", True)
    fuse._let_programs_start(version)
    assert vars(subprocess)["_USE_VFORK"] is shares
