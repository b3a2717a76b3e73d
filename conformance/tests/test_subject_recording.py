# SPDX-License-Identifier: Apache-2.0
"""A recording as a subject: everything that was seen, nothing that was not."""

import errno
import json
from pathlib import Path

import pytest

from raplica_conformance.subject import CannotTell, Provider, control_types, zones
from raplica_conformance.subjects.recording import RecordedTree

RECORDINGS = Path(__file__).resolve().parents[2] / "fixtures" / "recordings"
ZONE = "class/powercap/intel-rapl:0"


@pytest.fixture(scope="module")
def tree() -> RecordedTree:
    return RecordedTree(RECORDINGS / "skx_2s-6.12.json.xz")


def test_a_recording_is_a_provider_with_its_own_kernel_and_never_writable(tree: RecordedTree) -> None:
    assert isinstance(tree, Provider)
    assert tree.kernel == "6.12.117"
    assert not tree.can & {"writable", "live", "steps", "msr"}
    with pytest.raises(CannotTell):
        tree.write(f"{ZONE}/enabled", b"1\n")
    assert tree.name == f"recording:{RECORDINGS / 'skx_2s-6.12.json.xz'}"
    assert tree.arguments == ("--recording", str(RECORDINGS / "skx_2s-6.12.json.xz"))


def test_its_zones_are_those_of_two_packages_with_dram(tree: RecordedTree) -> None:
    assert control_types(tree) == ["intel-rapl"]
    names = {zone.id: tree.read(f"{zone.path}/name") for zone in zones(tree)}
    assert names == {
        "intel-rapl:0": b"package-0\n",
        "intel-rapl:0:0": b"dram\n",
        "intel-rapl:1": b"package-1\n",
        "intel-rapl:1:0": b"dram\n",
    }


def test_links_are_followed_in_the_middle_and_at_the_end_of_a_path(tree: RecordedTree) -> None:
    assert tree.readlink(ZONE) == "../../devices/virtual/powercap/intel-rapl/intel-rapl:0"
    assert tree.stat(ZONE).kind == "link"
    assert tree.stat(f"{ZONE}/energy_uj").mode == 0o400
    assert tree.stat(f"{ZONE}/energy_uj").size == 4096
    assert tree.listdir(ZONE) == tree.listdir("devices/virtual/powercap/intel-rapl/intel-rapl:0")
    assert tree.read(f"{ZONE}/subsystem/intel-rapl:1/name") == b"package-1\n"
    assert tree.read(f"{ZONE}/./device/intel-rapl:1/name") == b"package-1\n"


@pytest.mark.parametrize(
    ("path", "number"),
    [
        (f"{ZONE}/no_such_file", errno.ENOENT),
        (f"{ZONE}/no_such_directory/name", errno.ENOENT),
        (f"{ZONE}/name/name", errno.ENOTDIR),
        (ZONE, errno.EISDIR),
        (f"{ZONE}/power/autosuspend_delay_ms", errno.EIO),
    ],
)
def test_errors_of_reading_are_those_of_the_kernel(path: str, number: int, tree: RecordedTree) -> None:
    with pytest.raises(OSError, match=rf"\[Errno {number}\]"):
        tree.read(path)


def test_errors_of_other_calls_are_those_of_the_kernel(tree: RecordedTree) -> None:
    with pytest.raises(NotADirectoryError):
        tree.listdir(f"{ZONE}/name")
    with pytest.raises(OSError, match=rf"\[Errno {errno.EINVAL}\]"):
        tree.readlink("class/powercap")
    with pytest.raises(FileNotFoundError):
        tree.stat("class/powercap/nothing")


def test_who_may_open_is_what_was_tried(tree: RecordedTree) -> None:
    assert tree.open_errno(f"{ZONE}/energy_uj", "r", "root") == 0
    assert tree.open_errno(f"{ZONE}/energy_uj", "r", "nobody") == errno.EACCES
    assert tree.open_errno(f"{ZONE}/energy_uj", "w", "root") == errno.EACCES
    assert tree.open_errno(f"{ZONE}/nothing", "r", "root") == errno.ENOENT
    with pytest.raises(CannotTell, match="was not tried"):
        tree.open_errno("class/powercap", "r", "root")


def test_what_lies_outside_the_recorded_part_cannot_be_told(tree: RecordedTree) -> None:
    for call in (
        lambda: tree.read("kernel/debug/nothing"),
        lambda: tree.listdir("block"),
        lambda: tree.stat("devices/system"),
        lambda: tree.open_errno("block", "r", "root"),
    ):
        with pytest.raises(CannotTell):
            call()


@pytest.mark.parametrize("content", ["", "no json", "[]", "{}", json.dumps({"format": 99})])
def test_a_file_that_is_no_recording_is_refused_in_one_line(content: str, tmp_path: Path) -> None:
    path = tmp_path / "machine.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"machine\.json") as refused:
        RecordedTree(path)
    assert "\n" not in str(refused.value)
