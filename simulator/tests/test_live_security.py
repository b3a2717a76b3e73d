# SPDX-License-Identifier: Apache-2.0
"""What SECURITY.md says of what is shown and of files from strangers: who sees a machine, what no path leads to."""

import io
import json
import os
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import raplica_fixtures
import raplica_simulator
from raplica_simulator import Machine
from raplica_simulator.live.machine import LiveMachine
from raplica_simulator.profile.profile import ProfileError, load_profile
from raplica_simulator.scenario.scenario import Scenario
from raplica_simulator.surfaces import target
from raplica_simulator.surfaces.archive import stream_archive
from raplica_simulator.surfaces.directory import write_tree
from raplica_simulator.surfaces.fuse import FuseMount
from soak import remains

NOBODY = 65534
PROFILE = """
[cpu]
vendor = "GenuineIntel"
family = 6
model = 158
[topology]
packages = 1
[registers]
0x606 = 0xA0E03
0x611 = 0x12345678
"""
ONLY_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can look as somebody else")

Mount = Callable[..., FuseMount]


def as_nobody(*command: str, within: str) -> subprocess.CompletedProcess[str]:
    """A command of a user without rights, begun in a folder to which the way may be closed to that user."""
    return subprocess.run(
        command, cwd=within, user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True, text=True, check=False
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


@pytest.mark.usefixtures("places")
def test_what_exec_shows_is_in_no_other_namespace() -> None:
    before = remains.mounts()
    program = "cat /sys/class/powercap/intel-rapl:0/name && readlink /proc/self/ns/mnt && read -r line"
    command = [sys.executable, "-m", "raplica_simulator", "exec", "kabylake", "--", "sh", "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "package-0\n"
        inside = process.stdout.readline().strip()
        new = remains.mounts() - before
        process.stdin.write("\n")
        process.stdin.close()
        assert process.wait() == 0
    here = os.readlink("/proc/self/ns/mnt")  # noqa: PTH115 - no path
    places = ("/sys/", "/dev/", "/proc/")
    assert inside not in ("", here)
    assert {space for space, _, where in new if where.startswith(places)} == {inside}


# Paths from strangers.

OUTSIDE = ["../etc/passwd", "/etc/passwd", "class/../../etc/passwd", "..", "class/powercap/../../../../etc/passwd"]


@pytest.mark.parametrize("name", [*OUTSIDE, "../kabylake", "./kabylake", "kabylake/../kabylake", "kabylake\0", ""])
def test_a_machines_id_is_no_path(name: str) -> None:
    with pytest.raises(ProfileError):
        load_profile(name)


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_fault_in_a_profile_lies_in_the_tree(tmp_path: Path, path: str) -> None:
    profile = tmp_path / "odd.toml"
    profile.write_text(f'{PROFILE}[[faults.sysfs]]\npath = "{path}"\non = "read"\nerrno = "EIO"\n')
    with pytest.raises(ProfileError, match=r"odd\.toml: faults"):
        load_profile(profile)


@pytest.mark.parametrize("path", OUTSIDE)
def test_an_event_of_a_scenario_lies_in_the_tree(tmp_path: Path, path: str) -> None:
    scenario = tmp_path / "odd.toml"
    scenario.write_text(
        f'machine = "kabylake"\n[[event]]\nat_s = 1\ndo = "fault"\npath = "{path}"\non = "read"\nerrno = "EIO"\n'
    )
    with pytest.raises(ProfileError, match=r"odd\.toml: event"):
        Scenario.load(str(scenario)).rehearse()


@pytest.mark.parametrize("key", ["machine", "load"])
@pytest.mark.parametrize("path", ["/etc/other{}", "../other{}", "below/../../other{}"])
def test_a_scenario_reads_nothing_outside_its_own_folder(tmp_path: Path, key: str, path: str) -> None:
    ending = ".toml" if key == "machine" else ".csv"
    (tmp_path / f"other{ending}").write_text(PROFILE if key == "machine" else "time_s,package\n1,10\n")
    folder = tmp_path / "scenarios"
    (folder / "below").mkdir(parents=True)
    words = {"machine": "kabylake", key: path.format(ending)}
    (folder / "odd.toml").write_text("".join(f'{name} = "{value}"\n' for name, value in words.items()))
    with pytest.raises(ProfileError, match="beside the scenario or below it"):
        Scenario.load(str(folder / "odd.toml"))


ODD_NAMES = st.one_of(
    st.sampled_from(
        ["..", ".", "/", "../x", "/x", "a/b", "a/../../x", "\\..\\x", "C:x", "~", "$HOME", "-x", "x\0y", "\n", ""]
    ),
    st.text(st.sampled_from("./\\a:\n\0é"), max_size=8),
)


@given(name=ODD_NAMES)
@example("plain")
def test_an_archive_holds_nothing_that_would_be_unpacked_elsewhere(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    profile = tmp_path_factory.getbasetemp() / "names.toml"
    quoted = json.dumps(name)
    profile.write_text(
        f"{PROFILE}[[control_type]]\nname = {quoted}\n[[control_type.zone]]\nname = {quoted}\nenergy_uj = 5\n"
    )
    stream = io.BytesIO()
    try:
        stream_archive(Machine.from_profile(profile), stream)
    except ValueError:
        assert name != "plain"
        assert stream.getvalue() == b""
        return
    stream.seek(0)
    root = PurePosixPath("/root")
    with tarfile.open(fileobj=stream) as archive:
        for member in archive:
            assert member.type in (tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE)
            assert member.mode & (stat.S_IWOTH | stat.S_ISUID | stat.S_ISGID) == 0 or member.issym()
            for place in [member.name] + [f"{PurePosixPath(member.name).parent}/{member.linkname}"] * member.issym():
                assert not place.startswith("/")
                assert PurePosixPath(os.path.normpath(root / place)).is_relative_to(root)


@pytest.mark.usefixtures("mounts")
def test_a_mount_is_where_a_link_leads_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with FuseMount(LiveMachine(Machine.from_profile("kabylake")), tmp_path / "link") as shown:
        assert shown.directory == str(tmp_path / "real")
        options = next(
            line for line in Path("/proc/self/mountinfo").read_text().splitlines() if shown.directory in line
        )
        assert {"nosuid", "nodev"} <= set(options.split()[5].split(","))
    assert (tmp_path / "link").is_symlink()
