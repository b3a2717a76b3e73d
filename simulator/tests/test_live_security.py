# SPDX-License-Identifier: Apache-2.0
"""What SECURITY.md says of what is shown: who sees a machine, and who may write to what is ours on a disk."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import raplica_fixtures
import raplica_simulator
from raplica_simulator import Machine
from raplica_simulator.live.machine import LiveMachine
from raplica_simulator.surfaces import target
from raplica_simulator.surfaces.archive import write_archive
from raplica_simulator.surfaces.directory import write_tree
from raplica_simulator.surfaces.fuse import FuseMount
from soak import remains

NOBODY = 65534
ONLY_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can look as somebody else")

Mount = Callable[..., FuseMount]


def as_nobody(*command: str, within: str, group: int = NOBODY) -> subprocess.CompletedProcess[str]:
    """A command of a user without rights, begun in a folder to which the way may be closed to that user."""
    return subprocess.run(
        command, cwd=within, user=NOBODY, group=group, extra_groups=[group], capture_output=True, text=True, check=False
    )


@contextmanager
def umask(bits: int) -> Iterator[None]:
    before = os.umask(bits)
    try:
        yield
    finally:
        os.umask(before)


# What is ours on a disk.


def test_no_file_of_ours_gives_rights_to_who_runs_it_or_lets_others_write() -> None:
    packages = [Path(one.__file__ or "").parent for one in (raplica_simulator, raplica_fixtures)]
    found = [path for package in packages for path in package.rglob("*") if "__pycache__" not in path.parts]
    assert len(found) > 100
    bad = stat.S_ISUID | stat.S_ISGID | stat.S_IWOTH
    assert [path for path in found if path.lstat().st_mode & bad and not path.is_dir()] == []
    assert [path for path in found if path.lstat().st_mode & (bad ^ stat.S_ISGID) and path.is_dir()] == []


@pytest.mark.parametrize("bits", [0, 0o022])
def test_a_tree_that_is_written_lets_nobody_else_write(tmp_path: Path, bits: int) -> None:
    with umask(bits):
        write_tree(Machine.from_profile("kabylake"), tmp_path / "tree")
    below = [path for path in (tmp_path / "tree").rglob("*") if not path.is_symlink()]
    assert len(below) > 50
    assert [path for path in below if path.stat().st_mode & (stat.S_IWOTH | stat.S_ISUID | stat.S_ISGID)] == []


@pytest.mark.parametrize("bits", [0, 0o022])
@pytest.mark.parametrize("write", [write_tree, write_archive])
def test_what_is_made_on_the_way_lets_nobody_else_write(
    tmp_path: Path, write: Callable[[Machine, Path], object], bits: int
) -> None:
    with umask(bits):
        write(Machine.from_profile("kabylake"), tmp_path / "a" / "b" / "out")
    made = [path for path in tmp_path.rglob("*") if not path.is_symlink()]
    assert len(made) >= 3
    assert [path for path in made if path.stat().st_mode & stat.S_IWOTH] == []


def test_what_is_not_finished_lies_where_nobody_else_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    rename = os.rename

    def look(*arguments: object, **named: int) -> None:
        staged = named["src_dir_fd"]
        seen.append(stat.S_IMODE(os.fstat(staged).st_mode))
        rename(*arguments, **named)  # type: ignore[arg-type]

    with umask(0):
        monkeypatch.setattr(os, "rename", look)
        write_tree(Machine.from_profile("kabylake"), tmp_path / "tree")
    assert seen == [0o700]
    assert target.__all__ == sorted(target.__all__)


# Who sees a machine.


@ONLY_ROOT
@pytest.mark.parametrize("shown_to_others", [False, True])
@pytest.mark.parametrize("folder", [".", "sys", "sys/class/powercap/intel-rapl:0", "dev/cpu/0"])
def test_nobody_else_can_list_a_mount_unless_asked(mount: Mount, folder: str, *, shown_to_others: bool) -> None:
    shown = mount(Machine.from_profile("kabylake"), allow_other=shown_to_others)
    listed = as_nobody("ls", "-d", folder, within=shown.directory), as_nobody("ls", folder, within=shown.directory)
    if shown_to_others:
        assert [done.returncode for done in listed] == [0, 0]
        assert as_nobody("cat", "dev/cpu/0/msr", within=shown.directory).returncode != 0
    else:
        assert [(done.returncode != 0, done.stdout) for done in listed] == [(True, ""), (True, "")]
        assert "Permission denied" in listed[0].stderr


@ONLY_ROOT
def test_a_group_that_is_shared_with_who_mounts_opens_nothing(mount: Mount) -> None:
    shown = mount(Machine.from_profile("kabylake"))
    listed = as_nobody("ls", "sys", within=shown.directory, group=os.getegid())
    assert (listed.returncode != 0, listed.stdout) == (True, "")


@pytest.mark.usefixtures("places")
def test_what_exec_shows_is_in_no_other_namespace() -> None:
    program = "cat /sys/class/powercap/intel-rapl:0/name && readlink /proc/self/ns/mnt && read -r line"
    command = [sys.executable, "-m", "raplica_simulator", "exec", "kabylake", "--", "sh", "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "package-0\n"
        inside = process.stdout.readline().strip()
        found = remains.mounts()
        process.stdin.write("\n")
        process.stdin.close()
        assert process.wait() == 0
    here = os.readlink("/proc/self/ns/mnt")  # noqa: PTH115 - no path
    places = ("/sys/", "/dev/", "/proc/")
    # By their devices: others may run an exec of their own meanwhile.
    ours = {one.device for one in found if one.namespace == inside and one.place.startswith(places)}
    assert inside not in ("", here)
    assert ours
    assert {one.namespace for one in found if one.device in ours} == {inside}


@ONLY_ROOT
@pytest.mark.usefixtures("places")
def test_the_ways_into_what_exec_shows_are_closed_to_others() -> None:
    program = "echo $$ $PPID && read -r line"
    command = [sys.executable, "-m", "raplica_simulator", "exec", "kabylake", "--", "sh", "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child, parent = process.stdout.readline().split()
        assert "intel-rapl:0" in os.listdir(f"/proc/{child}/root/sys/class/powercap")  # noqa: PTH208 - as others do
        ways = [f"/proc/{child}/root/sys/class/powercap", f"/proc/{child}/cwd/", f"/proc/{parent}/fd"]
        seen = [as_nobody("ls", way, within="/", group=group) for way in ways for group in (NOBODY, os.getegid())]
        process.communicate("\n")
        assert process.returncode == 0
    assert [(done.returncode != 0, done.stdout) for done in seen] == [(True, "")] * 6


@pytest.mark.usefixtures("mounts")
def test_a_folder_that_is_made_for_a_mount_lets_nobody_else_write(tmp_path: Path) -> None:
    with umask(0), FuseMount(LiveMachine(Machine.from_profile("kabylake")), tmp_path / "a" / "m"):
        pass
    assert [path.stat().st_mode & stat.S_IWOTH for path in (tmp_path / "a", tmp_path / "a" / "m")] == [0, 0]


@pytest.mark.usefixtures("mounts")
def test_a_mount_is_where_a_link_leads_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with FuseMount(LiveMachine(Machine.from_profile("kabylake")), tmp_path / "link") as shown:
        assert shown.directory == str(tmp_path / "real")
        options = next(
            line for line in Path("/proc/self/mountinfo").read_text().splitlines() if shown.directory in line
        )
        assert {"nosuid", "nodev", "noexec"} <= set(options.split()[5].split(","))
    assert (tmp_path / "link").is_symlink()
