# SPDX-License-Identifier: Apache-2.0
"""What the surfaces share: a snapshot of the tree, and the places where nothing is ever written."""

import os
import stat
from collections.abc import Callable, Iterator
from errno import ENODATA
from pathlib import Path

import pytest

from raplica_simulator import Machine, VirtualClock
from raplica_simulator.linux.sysfs import Sysfs
from raplica_simulator.surfaces import Refused, write_archive, write_tree
from raplica_simulator.surfaces.snapshot import Folder, take_snapshot
from raplica_simulator.surfaces.target import find_target

ENERGY = "class/powercap/intel-rapl:0/energy_uj"
FORBIDDEN = [
    "/",
    "//",
    "/.",
    "/tmp/..",
    "/sys",
    "//sys",
    "/sys/",
    "/sys/class/powercap",
    "/sys/new/folder",
    "/proc",
    "/proc/self/root",
    "/proc/self/root/sys/x",
    "/dev",
    "/dev/shm/tree",
    "/proc/self/cwd/tree",
    "/tmp/../sys/x",
]


def entries(sysfs: Sysfs, path: str = "") -> Iterator[tuple[str, str, int, object]]:
    """Each entry of a machine's tree as path, kind, mode and content or target, asked for as a program would."""
    for name in sysfs.listdir(path or "/sys"):
        below = f"{path}/{name}" if path else name
        found = sysfs.stat(below)
        if stat.S_ISDIR(found.st_mode):
            yield below, "folder", stat.S_IMODE(found.st_mode), None
            yield from entries(sysfs, below)
        elif stat.S_ISLNK(found.st_mode):
            yield below, "link", 0o777, sysfs.readlink(below)
        else:
            try:
                content = sysfs.read(below)
            except OSError:
                content = b""
            yield below, "file", stat.S_IMODE(found.st_mode), content


def flat(folder: Folder, above: str = "") -> Iterator[tuple[str, str, int, object]]:
    """Each entry of a snapshot, in the same form."""
    for name, mode, content in folder.files:
        yield above + name, "file", mode, content
    for name, link in folder.links:
        yield above + name, "link", 0o777, link
    for below in folder.folders:
        yield above + below.name, "folder", below.mode, None
        yield from flat(below, f"{above}{below.name}/")


@pytest.mark.parametrize("name", ["skylake-sp-2s", "kabylake", "zen4"])
def test_a_snapshot_is_what_a_program_finds_entry_by_entry(name: str) -> None:
    machine = Machine.from_profile(name)
    found = sorted(flat(take_snapshot(machine.sysfs).root), key=lambda entry: entry[0])
    assert found == sorted(entries(machine.sysfs), key=lambda entry: entry[0])


def test_a_snapshot_keeps_the_kernels_order_within_each_kind() -> None:
    machine = Machine.from_profile("kabylake")
    zone = "devices/virtual/powercap/intel-rapl/intel-rapl:0"
    order = machine.sysfs.listdir(zone)
    folder = take_snapshot(machine.sysfs).root
    for name in zone.split("/"):
        folder = next(below for below in folder.folders if below.name == name)
    for names in ([file[0] for file in folder.files], [below.name for below in folder.folders]):
        assert names == [name for name in order if name in names]


def test_a_snapshot_is_of_the_moment_at_which_it_is_taken() -> None:
    clock = VirtualClock()
    machine = Machine.from_profile("skylake-sp-2s", clock=clock)
    before = take_snapshot(machine.sysfs)
    clock.advance(seconds=10)
    assert take_snapshot(machine.sysfs) != before
    assert take_snapshot(machine.sysfs) == take_snapshot(machine.sysfs)


@pytest.mark.pitfall("uevent-reads-empty")
def test_an_attribute_whose_read_fails_is_empty_and_named_with_its_errno() -> None:
    machine = Machine.from_profile("skylake-sp-2s")
    machine.sysfs.inject(ENERGY, on="read", errno=ENODATA)
    snapshot = take_snapshot(machine.sysfs)
    failed = {one.path: one.errno for one in snapshot.unreadable}
    here = "devices/virtual/powercap/intel-rapl/intel-rapl:0/"
    assert failed.pop(here + "energy_uj") == "ENODATA"
    assert set(failed.values()) == {"EIO"}
    assert {path.rpartition("/")[2] for path in failed} == {"autosuspend_delay_ms"}
    assert {entry[0]: entry[3] for entry in flat(snapshot.root)}[here + "energy_uj"] == b""
    assert snapshot.attributes == sum(entry[1] == "file" for entry in flat(snapshot.root))


def test_a_machine_without_a_tree_has_an_empty_class_directory_and_nothing_else() -> None:
    machine = Machine.from_profile("skylake-sp-2s")
    machine.driver.unload()
    snapshot = take_snapshot(machine.sysfs)
    found = [entry[0] for entry in flat(snapshot.root)]
    assert "class/powercap" in found
    assert [path for path in found if path.startswith(("class/powercap/", "devices/virtual/"))] == []
    assert snapshot.unreadable == ()


@pytest.mark.parametrize("name", [".", ".."])
def test_a_name_that_leads_out_of_its_folder_is_refused(
    make_machine: Callable[..., Machine], tmp_path: Path, name: str
) -> None:
    machine = make_machine(more=f'[[control_type]]\nname = "{name}"')
    with pytest.raises(ValueError, match="no file can have this name"):
        write_tree(machine, tmp_path / "out")
    with pytest.raises(ValueError, match="no file can have this name"):
        write_archive(machine, tmp_path / "out.tar")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("out", FORBIDDEN)
@pytest.mark.parametrize("write", [write_tree, write_archive])
def test_nothing_is_ever_written_to_the_hosts_own_places(write: Callable[..., object], out: str) -> None:
    with pytest.raises(Refused, match="nothing is ever written"):
        write(Machine.from_profile("skylake-sp-2s"), out, force=True)


@pytest.mark.parametrize("goal", ["/sys", "/sys/class", "/proc", "/dev/shm", "/"])
@pytest.mark.parametrize("below", ["", "/new", "/new/deeper"])
def test_a_link_to_a_forbidden_place_is_forbidden_too(tmp_path: Path, goal: str, below: str) -> None:
    if goal == "/" and below:
        below += "/../.."  # what is below / is everywhere
    (tmp_path / "link").symlink_to(goal)
    (tmp_path / "again").symlink_to("link")
    with pytest.raises(Refused, match="nothing is ever written"):
        write_tree(Machine.from_profile("skylake-sp-2s"), f"{tmp_path}/again{below}", force=True)


def test_a_link_to_a_forbidden_place_that_is_not_there_is_forbidden_too(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/sys/nothing/here")
    with pytest.raises(Refused, match="nothing is ever written"):
        write_tree(Machine.from_profile("skylake-sp-2s"), tmp_path / "link")


@pytest.mark.parametrize("goal", ["/sys", "/sys/class", "/proc/self", "/dev", "/"])
def test_a_place_that_turns_out_to_be_another_when_it_is_open_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, goal: str
) -> None:
    # What a path means may change while it is looked at, and a bind mount gives a place a second name.
    (tmp_path / "link").symlink_to(goal)
    monkeypatch.setattr(os.path, "realpath", lambda path: f"{path}/.")
    with pytest.raises(Refused, match="nothing is ever written"), find_target(str(tmp_path / "link")):
        pytest.fail("it was opened")


@pytest.mark.parametrize("out", ["", "a\0b"])
def test_what_is_no_path_is_refused(out: str) -> None:
    with pytest.raises(Refused, match="no path"):
        write_tree(Machine.from_profile("skylake-sp-2s"), out)


def test_a_path_below_a_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(Refused, match="file is not a directory"):
        write_tree(Machine.from_profile("skylake-sp-2s"), tmp_path / "file" / "out")
    with pytest.raises(Refused, match="file is not a directory"):
        write_tree(Machine.from_profile("skylake-sp-2s"), tmp_path / "file", force=True)
    assert (tmp_path / "file").read_text() == "mine"


def test_the_place_is_closed_again(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names of descriptors, no paths
    machine = Machine.from_profile("skylake-sp-2s")
    write_tree(machine, tmp_path / "a" / "b" / "tree")
    write_tree(machine, tmp_path / "a" / "b" / "tree", force=True)
    write_archive(machine, tmp_path / "c" / "d" / "machine.tar")
    with pytest.raises(Refused):
        write_tree(machine, "/sys")
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
