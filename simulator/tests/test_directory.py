# SPDX-License-Identifier: Apache-2.0
"""A machine's tree in a folder: what is written, how it gets there, and what is left when it does not."""

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raplica_fixtures import profile_ids
from raplica_simulator import Machine, VirtualClock
from raplica_simulator.surfaces import Refused, write_tree

from .written_tree import listed, wanted

# A whole suite or tree each time: the quick set of the other Pythons leaves them out.
pytestmark = pytest.mark.slow

ZONE = "class/powercap/intel-rapl:0"

#: Gives up root where it has it, writes a tree with a umask that takes everything, and tells what stands there.
AS_NOBODY = """
import json, os, sys
import shutil, encodings.idna, raplica_fixtures.recording
from raplica_simulator import Machine
from raplica_simulator.surfaces import write_tree
machine = Machine.from_profile("skylake-sp-2s")
if os.geteuid() == 0:
    os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
assert os.geteuid() != 0
os.umask(int(sys.argv[2], 8))
written = write_tree(machine, sys.argv[1])
modes = {}
for folder, _, files in os.walk(sys.argv[1]):
    modes[os.path.relpath(folder, sys.argv[1])] = oct(os.stat(folder).st_mode & 0o7777)
    for name in files:
        found = os.lstat(os.path.join(folder, name))
        assert found.st_uid == os.geteuid()
        modes[os.path.relpath(os.path.join(folder, name), sys.argv[1])] = oct(found.st_mode & 0o7777)
print(json.dumps(modes))
"""


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def machine(clock: VirtualClock) -> Machine:
    return Machine.from_profile("skylake-sp-2s", clock=clock)


@pytest.fixture
def umask() -> Iterator[Callable[[int], object]]:
    """Set the umask for one test."""
    before = os.umask(0o022)
    os.umask(before)
    yield os.umask
    os.umask(before)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter and write to: pytest's own are closed to others."""
    place = Path(tempfile.mkdtemp(prefix="raplica-directory-"))
    place.chmod(0o777)
    yield place
    shutil.rmtree(place)


@pytest.mark.parametrize("name", profile_ids())
def test_the_tree_has_every_entry_of_the_machine_with_its_content_mode_and_target(tmp_path: Path, name: str) -> None:
    clock = VirtualClock()
    machine = Machine.from_profile(name, clock=clock)
    clock.advance(seconds=3600)
    written = write_tree(machine, tmp_path / "sys")
    assert listed(tmp_path / "sys") == wanted(machine)
    assert written.attributes == sum(kind == "file" for kind, _, _ in wanted(machine).values())
    assert [path.name for path in tmp_path.iterdir()] == ["sys"]


@pytest.mark.pitfall("flat-class-of-links")
def test_the_class_is_one_folder_of_relative_links_that_lead_to_real_folders(tmp_path: Path, machine: Machine) -> None:
    write_tree(machine, tmp_path / "sys")
    powercap = tmp_path / "sys" / "class" / "powercap"
    assert sorted(path.name for path in powercap.iterdir()) == sorted(machine.sysfs.listdir("class/powercap"))
    for path in powercap.iterdir():
        assert path.is_symlink()
        assert str(path.readlink()).startswith("../../devices/virtual/powercap/")
        assert path.resolve().is_relative_to(tmp_path / "sys" / "devices")
        assert (path / "uevent").read_bytes() == b""


@pytest.mark.pitfall("energy-root-only")
@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o777])
@pytest.mark.parametrize("existing", [True, False])
def test_modes_do_not_depend_on_the_umask(
    tmp_path: Path, machine: Machine, umask: Callable[[int], object], mask: int, *, existing: bool
) -> None:
    out = tmp_path / "sys"
    if existing:
        out.mkdir()
    umask(mask)
    write_tree(machine, out)
    assert listed(out) == wanted(machine)
    assert stat.S_IMODE((out / ZONE / "energy_uj").stat().st_mode) == 0o400
    if not existing:
        assert stat.S_IMODE(out.stat().st_mode) == 0o755


@pytest.mark.parametrize("mask", ["000", "022", "077", "777"])
def test_an_ordinary_user_writes_the_same_tree(open_folder: Path, machine: Machine, mask: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(open_folder / "sys"), mask], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    modes = {path: oct(mode) for path, (kind, mode, _) in wanted(machine).items() if kind != "link"}
    links = {path: oct(0o777) for path, (kind, _, _) in wanted(machine).items() if kind == "link"}
    found = json.loads(done.stdout)
    assert found.pop(".") == oct(0o755)
    # os.walk lists a link to a folder among the folders.
    assert found == modes | {path: mode for path, mode in links.items() if path in found}
    assert [path.name for path in open_folder.iterdir()] == ["sys"]


def test_an_ordinary_user_is_told_where_writing_is_not_allowed_and_leaves_nothing(open_folder: Path) -> None:
    closed = open_folder / "closed"
    closed.mkdir(mode=0o755)
    if os.geteuid() != 0:
        closed.chmod(0o555)
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(closed / "sys"), "022"], capture_output=True, text=True, check=False
    )
    assert "PermissionError" in done.stderr
    assert list(closed.iterdir()) == []


def test_missing_folders_above_are_made(tmp_path: Path, machine: Machine) -> None:
    write_tree(machine, tmp_path / "a" / "b" / "sys")
    assert listed(tmp_path / "a" / "b" / "sys") == wanted(machine)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


def test_a_relative_place_and_the_current_folder_will_do(
    tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_tree(machine, "sys")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    write_tree(machine, ".")
    assert listed(tmp_path / "sys") == listed(tmp_path / "here") == wanted(machine)
    assert (tmp_path / "here").samefile(".")


def test_an_empty_folder_is_filled_and_stays_the_same_folder(tmp_path: Path, machine: Machine) -> None:
    out = tmp_path / "sys"
    out.mkdir(mode=0o700)
    before = out.stat()
    write_tree(machine, out)
    assert (out.stat().st_ino, out.stat().st_mode) == (before.st_ino, before.st_mode)
    assert listed(out) == wanted(machine)


def test_a_link_to_a_folder_is_followed_where_it_is_out_itself(tmp_path: Path, machine: Machine) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    write_tree(machine, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert listed(tmp_path / "real") == wanted(machine)


def test_a_folder_that_is_not_empty_is_refused_and_left_as_it_was(tmp_path: Path, machine: Machine) -> None:
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(Refused, match=r"not empty: .*--force"):
        write_tree(machine, tmp_path)
    assert listed(tmp_path) == {"mine": ("file", stat.S_IMODE((tmp_path / "mine").stat().st_mode), b"precious")}


def test_force_replaces_files_and_deletes_nothing(tmp_path: Path, machine: Machine, clock: VirtualClock) -> None:
    out = tmp_path / "sys"
    write_tree(Machine.from_profile("kabylake"), out)
    old = listed(out)
    (out / "mine").mkdir()
    (out / "mine" / "precious").write_text("precious")
    (out / ZONE / "name").chmod(0o600)
    (out / ZONE / "name").write_text("something else, and longer than what comes")
    clock.advance(seconds=1)
    written = write_tree(machine, out, force=True)
    now = listed(out)
    new = wanted(machine)
    assert {path: now[path] for path in new} == new
    mine = {path: entry for path, entry in now.items() if path.startswith("mine")}
    assert mine == {"mine": ("folder", 0o755, None), "mine/precious": ("file", 0o644, b"precious")}
    left = {path: entry for path, entry in now.items() if path not in new and path not in mine}
    assert left == {path: entry for path, entry in old.items() if path not in new}
    assert str(out / "mine") in written.strangers
    assert f"{out}/devices/virtual/powercap/intel-rapl/intel-rapl:0/intel-rapl:0:1" in written.strangers
    assert [path.name for path in tmp_path.iterdir()] == ["sys"]


def test_force_on_a_tree_of_the_same_machine_finds_no_strangers(tmp_path: Path, machine: Machine) -> None:
    write_tree(machine, tmp_path / "sys")
    assert write_tree(machine, tmp_path / "sys", force=True).strangers == ()
    assert listed(tmp_path / "sys") == wanted(machine)


def test_a_folder_that_exists_keeps_its_own_mode(tmp_path: Path, machine: Machine) -> None:
    (tmp_path / "sys" / "class").mkdir(parents=True)
    (tmp_path / "sys" / "class").chmod(0o711)
    write_tree(machine, tmp_path / "sys", force=True)
    assert stat.S_IMODE((tmp_path / "sys" / "class").stat().st_mode) == 0o711


@pytest.mark.parametrize("place", ["class", "class/powercap", "devices/virtual/powercap/intel-rapl/power"])
@pytest.mark.parametrize("kind", ["link", "file"])
def test_writing_goes_through_no_link_inside_out(tmp_path: Path, machine: Machine, place: str, kind: str) -> None:
    out, elsewhere = tmp_path / "sys", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (out / place).parent.mkdir(parents=True)
    if kind == "link":
        (out / place).symlink_to(elsewhere)
    else:
        (out / place).write_text("mine")
    before = listed(tmp_path)
    with pytest.raises(Refused, match="a file or a link where a directory belongs: move it away"):
        write_tree(machine, out, force=True)
    assert listed(tmp_path) == before


def test_a_link_where_a_file_belongs_is_replaced_and_not_followed(tmp_path: Path, machine: Machine) -> None:
    out, outside = tmp_path / "sys", tmp_path / "outside"
    outside.write_text("precious")
    write_tree(machine, out)
    name = out / ZONE / "name"
    name.unlink()
    name.symlink_to(outside)
    write_tree(machine, out, force=True)
    assert outside.read_text() == "precious"
    assert listed(out) == wanted(machine)


def test_a_folder_where_a_file_belongs_is_refused_before_anything_changes(
    tmp_path: Path, machine: Machine, clock: VirtualClock
) -> None:
    out = tmp_path / "sys"
    write_tree(machine, out)
    (out / ZONE / "name").unlink()
    (out / ZONE / "name").mkdir()
    before = listed(out)
    clock.advance(seconds=1)
    with pytest.raises(Refused, match="name is a directory where a file belongs"):
        write_tree(machine, out, force=True)
    assert listed(out) == before


def test_what_does_not_fit_into_one_write_is_written_on(
    tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, bytes(data)[:1]))
    write_tree(machine, tmp_path / "sys")
    monkeypatch.undo()
    assert listed(tmp_path / "sys") == wanted(machine)


@settings(max_examples=20, deadline=None)
@given(name=st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=90))
def test_a_control_type_of_any_name_is_written_whole_or_refused(
    make_machine: Callable[..., Machine], name: str
) -> None:
    quoted = json.dumps(name, ensure_ascii=False).replace("\x7f", "\\u007f")
    machine = make_machine(more=f"[[control_type]]\nname = {quoted}\n[[control_type.zone]]\nname = 'z'\nenergy_uj = 1")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "sys"
        try:
            write_tree(machine, out)
        except (OSError, ValueError) as error:
            assert name in (".", "..") or len(name.encode()) > 250, error  # noqa: PT017 - only these may
            assert list(Path(folder).iterdir()) == []
        else:
            assert listed(out) == wanted(machine)


@pytest.mark.pitfall("hexadecimal-zone-ids")
def test_forty_packages_get_forty_folders_of_their_own(make_machine: Callable[..., Machine], tmp_path: Path) -> None:
    machine = make_machine("skylake-sp", topology=(40, 1, 1, 1))
    write_tree(machine, tmp_path / "sys")
    assert listed(tmp_path / "sys") == wanted(machine)
    assert (tmp_path / "sys/class/powercap/intel-rapl:27/name").read_text() == "package-39\n"
