# SPDX-License-Identifier: Apache-2.0
"""Trees on disk and this machine's own: what they show, what they cannot tell, and that they only read."""

import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from raplica_conformance.subject import CannotTell, Provider
from raplica_conformance.subjects.files import FileTree
from raplica_conformance.subjects.real import RealMachine
from raplica_conformance.subjects.tree import LiveTree, WrittenTree

TOP = "devices/virtual/powercap/intel-rapl"
EMPTY = f"{TOP}/intel-rapl:0/intel-rapl:0:0/energy_uj"

KINDS: list[Callable[[Path], FileTree]] = [WrittenTree, LiveTree, lambda root: RealMachine(str(root))]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, unlike those that pytest makes."""
    folder = Path(tempfile.mkdtemp(prefix="raplica-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_every_tree_on_disk_lists_reads_and_follows_links(kind: Any, written_tree: Path) -> None:
    tree = kind(written_tree)
    assert isinstance(tree, Provider)
    assert sorted(tree.listdir("class/powercap")) == ["intel-rapl", "intel-rapl:0", "intel-rapl:0:0"]
    assert tree.readlink("class/powercap/intel-rapl") == "../../devices/virtual/powercap/intel-rapl"
    assert tree.read("class/powercap/intel-rapl:0/name") == b"package-0\n"
    assert tree.stat("class/powercap/intel-rapl").kind == "link"
    assert tree.stat("class/powercap/intel-rapl/").kind == "link"
    assert tree.stat("class/powercap").kind == "dir"
    attribute = tree.stat("class/powercap/intel-rapl:0/energy_uj")
    assert (attribute.kind, attribute.mode, attribute.size) == ("file", 0o400, 5)
    for call, number in (
        (lambda: tree.read("class/powercap/none"), errno.ENOENT),
        (lambda: tree.read("class/powercap"), errno.EISDIR),
        (lambda: tree.listdir(f"{TOP}/enabled"), errno.ENOTDIR),
        (lambda: tree.readlink("class/powercap"), errno.EINVAL),
    ):
        with pytest.raises(OSError, match=rf"\[Errno {number}\]"):
            call()


@pytest.mark.parametrize("kind", KINDS)
def test_what_no_tree_on_disk_can_do_cannot_be_told(kind: Any, written_tree: Path) -> None:
    tree: FileTree = kind(written_tree)
    calls: tuple[Callable[[], object], ...] = (
        lambda: tree.write(f"{TOP}/enabled", b"0\n"),
        lambda: tree.open_errno(f"{TOP}/enabled", "w", "root"),
        lambda: tree.msr_read(0, 0x606),
        lambda: tree.msr_write(0, 0x610, 0),
        tree.cpus,
        lambda: tree.advance(1),
    )
    for call in calls:
        with pytest.raises(CannotTell):
            call()
    assert not tree.can & {"writable", "msr", "steps"}
    assert (written_tree / TOP / "enabled").read_text() == "1\n"


@pytest.mark.parametrize("target", ["../../../outside", "/etc/passwd"])
def test_a_link_that_leads_out_of_the_tree_leads_nowhere(target: str, written_tree: Path) -> None:
    (written_tree.parent / "outside").write_text("secret\n")
    (written_tree / "class/powercap/away").symlink_to(target)
    tree = WrittenTree(written_tree)
    with pytest.raises(FileNotFoundError, match="leads out of the tree"):
        tree.read("class/powercap/away")
    assert tree.readlink("class/powercap/away") == target


def test_a_loop_of_links_and_a_fifo_are_errors_and_not_the_end_of_the_run(written_tree: Path) -> None:
    (written_tree / "class/powercap/loop").symlink_to("loop")
    os.mkfifo(written_tree / TOP / "name")
    tree = WrittenTree(written_tree)
    with pytest.raises(OSError, match=rf"\[Errno {errno.ELOOP}\]"):
        tree.read("class/powercap/loop")
    assert tree.read(f"{TOP}/name") == b""


def test_a_snapshot_promises_content_modes_and_links_and_nothing_of_the_file_system_below(
    written_tree: Path,
) -> None:
    assert WrittenTree(written_tree).can == {"content", "modes", "links"}


def test_an_empty_file_of_a_snapshot_is_a_read_that_failed_except_where_no_read_can_fail(
    written_tree: Path,
) -> None:
    tree = WrittenTree(written_tree)
    with pytest.raises(CannotTell, match="its read failed when the tree was written"):
        tree.read(EMPTY)
    assert tree.read(f"{TOP}/uevent") == b""
    for name in ("name", "max_energy_range_uj", "constraint_3_name"):
        (written_tree / TOP / name).write_text("")
        assert tree.read(f"{TOP}/{name}") == b""
    assert LiveTree(written_tree).read(EMPTY) == b""


def test_a_tree_is_named_after_its_folder_and_brings_itself_again(written_tree: Path) -> None:
    tree, live = WrittenTree(written_tree, "6.12"), LiveTree(written_tree)
    assert tree.name == live.name == f"tree:{written_tree}"
    assert (tree.kernel, live.kernel) == ("6.12", None)
    assert tree.arguments == ("--tree", str(written_tree), "--kernel", "6.12")
    assert live.arguments == ("--tree", str(written_tree), "--live")


def test_a_folder_whose_name_is_no_text_still_has_a_name_that_prints(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/\xff"
    os.mkdir(folder)  # noqa: PTH102 - a Path cannot be made of these bytes directly
    assert WrittenTree(os.fsdecode(folder)).name == f"tree:{tmp_path}/\\xff"


def test_a_real_machine_knows_its_kernel_and_what_its_user_can_know(written_tree: Path) -> None:
    real = RealMachine(str(written_tree))
    assert (real.name, real.kernel) == ("real", os.uname().release)
    assert real.arguments == ("--real",)
    assert ("root" in real.can) == (os.geteuid() == 0)
    assert {"live", "errno", "size", "order", "nobody"} <= real.can


def test_nobody_may_open_what_everybody_may_and_nothing_else(open_folder: Path) -> None:
    (open_folder / "all").write_text("x\n")
    (open_folder / "none").write_text("x\n")
    (open_folder / "all").chmod(0o444)
    (open_folder / "none").chmod(0o000)
    real = RealMachine(str(open_folder))
    try:
        for _ in range(3):
            assert real.open_errno("all", "r", "nobody") == 0
            assert real.open_errno("none", "r", "nobody") == errno.EACCES
        assert real.open_errno("missing", "r", "nobody") == errno.ENOENT
        if "root" in real.can:
            assert real.open_errno("none", "r", "root") == 0
    finally:
        real.close()
        real.close()


def test_an_answer_that_was_not_waited_for_answers_no_later_question(open_folder: Path) -> None:
    for name, mode in (("all", 0o444), ("none", 0o000)):
        (open_folder / name).write_text("x\n")
        (open_folder / name).chmod(mode)
    found = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(open_folder)], capture_output=True, text=True, check=True
    )
    assert json.loads(found.stdout) == [0, errno.EACCES, 0]


#: Interrupts one question to the child that is nobody; without root there is no child, and nothing to interrupt.
INTERRUPTED = """
import json, os, sys
from raplica_conformance.subjects.real import RealMachine
real = RealMachine(sys.argv[1])
answers = [real.open_errno("all", "r", "nobody")]
if real._nobody is not None:
    read = os.read
    def interrupt(*_):
        raise TimeoutError
    os.read = interrupt
    try:
        real.open_errno("none", "r", "nobody")
        sys.exit("the interrupt got lost")
    except TimeoutError:
        os.read = read
answers += [real.open_errno(name, "r", "nobody") for name in ("none", "all")]
real.close()
print(json.dumps(answers))
"""


#: Gives up root where it has it, then looks at a tree through every kind of subject.
AS_NOBODY = """
import json, os, sys
from raplica_conformance.subject import CannotTell
from raplica_conformance.subjects.real import RealMachine
from raplica_conformance.subjects.tree import LiveTree, WrittenTree
if os.geteuid() == 0:
    os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
root = sys.argv[1]
said = {}
for kind in (RealMachine, LiveTree, WrittenTree):
    try:
        said[kind.__name__] = kind(root).read("closed").decode()
    except CannotTell as error:
        said[kind.__name__] = "cannot tell"
real = RealMachine(root)
said["open"] = [real.open_errno("closed", "r", "nobody"), real.open_errno("open", "r", "nobody")]
try:
    real.open_errno("open", "r", "root")
except CannotTell:
    said["root"] = "cannot tell"
said["can"] = sorted(real.can & {"root", "nobody"})
print(json.dumps(said))
"""


def test_without_root_what_is_roots_alone_cannot_be_told_and_does_not_fail(open_folder: Path) -> None:
    (open_folder / "closed").write_text("1\n")
    (open_folder / "open").write_text("1\n")
    (open_folder / "closed").chmod(0o000)
    (open_folder / "open").chmod(0o444)
    found = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(open_folder)], capture_output=True, text=True, check=True
    )
    assert json.loads(found.stdout) == {
        "RealMachine": "cannot tell",
        "LiveTree": "cannot tell",
        "WrittenTree": "cannot tell",
        "open": [errno.EACCES, 0],
        "root": "cannot tell",
        "can": ["nobody"],
    }
