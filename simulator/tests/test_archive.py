# SPDX-License-Identifier: Apache-2.0
"""A machine's tree as a tar archive: the same bytes every time, the same tree when it is unpacked."""

import io
import os
import stat
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raplica_simulator import Machine, VirtualClock
from raplica_simulator.surfaces import Refused, stream_archive, write_archive, write_tree


def listed(root: Path) -> dict[str, tuple[int, object]]:
    """Everything below a folder: type and mode, and content or target, by relative path."""
    found: dict[str, tuple[int, object]] = {}
    for path in sorted(root.rglob("*")):
        content: object = str(path.readlink()) if path.is_symlink() else None
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
        found[str(path.relative_to(root))] = (path.lstat().st_mode, content)
    return found


def archived(machine: Machine) -> bytes:
    stream = io.BytesIO()
    stream_archive(machine, stream)
    return stream.getvalue()


@pytest.fixture
def machine() -> Machine:
    return Machine.from_profile("skylake-sp-2s")


@pytest.fixture
def umask() -> Iterator[Callable[[int], object]]:
    """Set the umask for one test."""
    before = os.umask(0o022)
    os.umask(before)
    yield os.umask
    os.umask(before)


@pytest.mark.parametrize("name", ["skylake-sp-2s", "alderlake-p", "zen4"])
def test_unpacked_it_is_the_tree_that_a_folder_gets(tmp_path: Path, name: str) -> None:
    clock = VirtualClock()
    machine = Machine.from_profile(name, clock=clock)
    clock.advance(seconds=60)
    told = write_archive(machine, tmp_path / "machine.tar")
    assert told == write_tree(machine, tmp_path / "tree")
    (tmp_path / "unpacked").mkdir()
    subprocess.run(["tar", "-x", "-p", "-f", "../machine.tar"], cwd=tmp_path / "unpacked", check=True)
    assert listed(tmp_path / "unpacked") == listed(tmp_path / "tree")


def test_the_same_machine_at_the_same_moment_gives_the_same_bytes(
    tmp_path: Path, umask: Callable[[int], object]
) -> None:
    first = archived(Machine.from_profile("kabylake"))
    umask(0o077)
    write_archive(Machine.from_profile("kabylake"), tmp_path / "machine.tar")
    assert (tmp_path / "machine.tar").read_bytes() == first == archived(Machine.from_profile("kabylake"))


def test_another_moment_gives_other_bytes() -> None:
    clock = VirtualClock()
    machine = Machine.from_profile("kabylake", clock=clock)
    first = archived(machine)
    clock.advance(seconds=1)
    assert archived(machine) != first


def test_members_say_nothing_of_who_made_them_and_when(machine: Machine) -> None:
    with tarfile.open(fileobj=io.BytesIO(archived(machine))) as archive:
        members = archive.getmembers()
    assert {(one.mtime, one.uid, one.gid, one.uname, one.gname) for one in members} == {(0, 0, 0, "root", "root")}


def test_members_are_relative_and_each_folder_comes_before_what_is_in_it(machine: Machine) -> None:
    with tarfile.open(fileobj=io.BytesIO(archived(machine))) as archive:
        members = archive.getmembers()
    seen = {""}
    for member in members:
        assert not member.name.startswith(("/", "."))
        assert member.name.rpartition("/")[0] in seen
        seen.add(member.name)
    modes = {member.name.rpartition("/")[2]: member.mode for member in members}
    assert (modes["energy_uj"], modes["constraint_0_power_limit_uw"], modes["intel-rapl"]) == (0o400, 0o644, 0o755)


def test_a_machine_without_a_tree_gives_an_archive_with_the_empty_class(machine: Machine) -> None:
    machine.driver.unload()
    with tarfile.open(fileobj=io.BytesIO(archived(machine))) as archive:
        names = archive.getnames()
    assert "class/powercap" in names
    assert [name for name in names if name.startswith(("class/powercap/", "devices/virtual/"))] == []


def test_the_file_has_the_mode_that_the_umask_gives_and_missing_folders_are_made(
    tmp_path: Path, machine: Machine, umask: Callable[[int], object]
) -> None:
    umask(0o027)
    write_archive(machine, tmp_path / "a" / "b" / "machine.tar")
    assert stat.S_IMODE((tmp_path / "a" / "b" / "machine.tar").stat().st_mode) == 0o640
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_file_that_holds_something_is_replaced_by_force_only(tmp_path: Path, machine: Machine) -> None:
    out = tmp_path / "machine.tar"
    out.write_text("precious")
    with pytest.raises(Refused, match=r"exists: .*--force"):
        write_archive(machine, out)
    assert out.read_text() == "precious"
    write_archive(machine, out, force=True)
    assert out.read_bytes() == archived(machine)
    out.write_bytes(b"")
    write_archive(machine, out)
    assert out.read_bytes() == archived(machine)
    assert [path.name for path in tmp_path.iterdir()] == ["machine.tar"]


def test_a_file_behind_a_link_is_replaced_and_the_link_stays(tmp_path: Path, machine: Machine) -> None:
    (tmp_path / "link.tar").symlink_to("real.tar")
    write_archive(machine, tmp_path / "link.tar")
    assert (tmp_path / "link.tar").is_symlink()
    assert (tmp_path / "real.tar").read_bytes() == archived(machine)


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_is_never_replaced(tmp_path: Path, machine: Machine, kind: str) -> None:
    out = tmp_path / "machine.tar"
    if kind == "folder":
        out.mkdir()
    else:
        os.mkfifo(out)
    before = out.lstat()
    with pytest.raises(Refused, match="is not a file"):
        write_archive(machine, out, force=True)
    assert out.lstat() == before


@pytest.mark.parametrize("error", [OSError(28, "No space left"), KeyboardInterrupt()], ids=["error", "Ctrl-C"])
@pytest.mark.parametrize("before", [None, b"precious"])
def test_an_error_leaves_what_was_there_and_nothing_else(
    tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch, error: BaseException, before: bytes | None
) -> None:
    out = tmp_path / "here" / "machine.tar"
    out.parent.mkdir()
    if before is not None:
        out.write_bytes(before)
    calls = []

    def addfile(*_arguments: object) -> None:
        calls.append(1)
        if len(calls) == 20:
            raise error

    monkeypatch.setattr(tarfile.TarFile, "addfile", addfile)
    with pytest.raises(type(error)):
        write_archive(machine, out, force=True)
    assert {path.name: path.read_bytes() for path in out.parent.iterdir()} == (
        {} if before is None else {"machine.tar": before}
    )
