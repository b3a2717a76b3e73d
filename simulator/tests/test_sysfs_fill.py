# SPDX-License-Identifier: Apache-2.0
"""Directories whose files are made when somebody first looks: nobody can tell, and nobody pays for what is not read."""

from errno import ENOENT

import pytest

from raplica_simulator.linux.kernel import find_kernel
from raplica_simulator.linux.sysfs import Sysfs
from raplica_simulator.linux.sysfs_nodes import Directory


class Filled:
    """A tree with a directory ``late``, which counts how often it was filled."""

    def __init__(self) -> None:
        self.times = 0
        self.sysfs = Sysfs(lambda: None, find_kernel("6.12"))
        self.directory = self.sysfs.make_directory(self.sysfs.root, "late", self._fill)

    def _fill(self, directory: Directory) -> None:
        self.times += 1
        self.sysfs.make_attribute(directory, "file", 0o444, lambda: b"content\n")
        self.sysfs.make_directory(directory, "below")


def test_a_late_directory_is_filled_by_the_first_look_and_once() -> None:
    tree = Filled()
    assert tree.sysfs.listdir(".") == ["late"]
    assert tree.times == 0
    assert tree.sysfs.read("late/file") == b"content\n"
    assert sorted(tree.sysfs.listdir("late")) == ["below", "file"]
    assert tree.times == 1


@pytest.mark.parametrize("look", ["stat", "listdir"])
def test_every_way_to_look_sees_what_lies_in_it(look: str) -> None:
    tree = Filled()
    if look == "stat":
        assert tree.sysfs.stat("late").st_nlink == 3
    else:
        assert sorted(tree.sysfs.listdir("late")) == ["below", "file"]
    assert tree.times == 1


def test_a_late_directory_that_goes_before_anybody_looked_is_never_filled() -> None:
    tree = Filled()
    tree.sysfs.remove(tree.directory)
    assert tree.directory.children == {}
    assert tree.times == 0
    with pytest.raises(OSError, match="late") as raised:
        tree.sysfs.read("late/file")
    assert raised.value.errno == ENOENT


def test_what_is_put_into_a_late_directory_lies_beside_what_it_is_filled_with() -> None:
    tree = Filled()
    tree.sysfs.make_attribute(tree.directory, "more", 0o444, lambda: b"more\n")
    assert sorted(tree.sysfs.listdir("late")) == ["below", "file", "more"]
    inodes = [tree.sysfs.stat(f"late/{name}").st_ino for name in ("file", "more", "below", "")]
    assert len(set(inodes)) == len(inodes)
