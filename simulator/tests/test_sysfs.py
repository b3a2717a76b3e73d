# SPDX-License-Identifier: Apache-2.0
"""The virtual sysfs by path: what stat, listdir, readlink, read, write, chmod and injected faults give."""

import os
import stat
from collections.abc import Callable, Iterator
from errno import (
    EACCES,
    EEXIST,
    EINVAL,
    EISDIR,
    ELOOP,
    ENOENT,
    ENOTDIR,
)

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator import Machine

MakeMachine = Callable[..., Machine]
NOBODY = 65534
CLASS = "class/powercap"
PACKAGE = "class/powercap/intel-rapl:0"
LIMIT = f"{PACKAGE}/constraint_0_power_limit_uw"
DEVICES = "devices/virtual/powercap"


def errno_of(call: Callable[..., object], *arguments: object) -> int | None:
    """The errno that a call fails with, 0 where it does not."""
    try:
        call(*arguments)
    except OSError as error:
        return error.errno
    return 0


def walk(machine: Machine, path: str) -> Iterator[str]:
    """Every path below a directory, links not followed."""
    for name in machine.sysfs.listdir(path):
        below = f"{path}/{name}"
        yield below
        if stat.S_ISDIR(machine.sysfs.stat(below).st_mode):
            yield from walk(machine, below)


@pytest.fixture
def machine(make_machine: MakeMachine) -> Machine:
    return make_machine("kabylake", "6.12")


@pytest.mark.pitfall("flat-class-of-links")
def test_the_class_directory_is_flat_and_holds_relative_links_only(machine: Machine) -> None:
    zones = ["intel-rapl", "intel-rapl:0", "intel-rapl:0:0", "intel-rapl:0:1", "intel-rapl:0:2", "intel-rapl:1"]
    assert sorted(machine.sysfs.listdir(CLASS)) == zones
    for name in zones:
        assert stat.S_ISLNK(machine.sysfs.stat(f"{CLASS}/{name}").st_mode)
    assert machine.sysfs.readlink(f"{CLASS}/intel-rapl") == "../../devices/virtual/powercap/intel-rapl"
    assert (
        machine.sysfs.readlink(f"{CLASS}/intel-rapl:0:0")
        == "../../devices/virtual/powercap/intel-rapl/intel-rapl:0/intel-rapl:0:0"
    )


def test_links_of_a_zone_lead_to_its_parent_and_its_class(machine: Machine) -> None:
    child = f"{DEVICES}/intel-rapl/intel-rapl:0/intel-rapl:0:0"
    assert machine.sysfs.readlink(f"{child}/device") == "../../intel-rapl:0"
    assert machine.sysfs.readlink(f"{child}/subsystem") == "../../../../../../class/powercap"
    assert machine.sysfs.readlink(f"{DEVICES}/intel-rapl/intel-rapl:0/device") == "../../intel-rapl"
    assert machine.sysfs.readlink(f"{DEVICES}/intel-rapl/subsystem") == "../../../../class/powercap"
    assert errno_of(machine.sysfs.readlink, f"{DEVICES}/intel-rapl/device") == ENOENT


def test_every_link_of_the_tree_leads_to_a_directory(machine: Machine) -> None:
    paths = [*walk(machine, CLASS), *walk(machine, DEVICES)]
    links = [path for path in paths if stat.S_ISLNK(machine.sysfs.stat(path).st_mode)]
    assert len(links) == 6 + 6 + 5  # the class, a subsystem each, a device for all but the control type
    for path in links:
        assert machine.sysfs.listdir(path)


def test_sizes_blocks_and_owners_are_those_of_sysfs(machine: Machine) -> None:
    for path in walk(machine, DEVICES):
        found = machine.sysfs.stat(path)
        is_file = stat.S_ISREG(found.st_mode)
        assert (found.st_size, found.st_blocks, found.st_blksize) == (4096 if is_file else 0, 0, 4096)
        assert (found.st_uid, found.st_gid) == (0, 0)


def test_a_directory_has_two_links_and_one_for_each_subdirectory(machine: Machine) -> None:
    for path in (CLASS, DEVICES, *walk(machine, DEVICES)):
        found = machine.sysfs.stat(path)
        if stat.S_ISDIR(found.st_mode):
            below = (machine.sysfs.stat(f"{path}/{name}").st_mode for name in machine.sysfs.listdir(path))
            assert found.st_nlink == 2 + sum(stat.S_ISDIR(mode) for mode in below)
        else:
            assert found.st_nlink == 1
    # intel-rapl: power/, package-0, psys.
    assert machine.sysfs.stat(f"{DEVICES}/intel-rapl").st_nlink == 5


def test_modes_are_the_kernels(machine: Machine) -> None:
    writable = {"enabled", "uevent", "async", "autosuspend_delay_ms", "control"}
    for path in walk(machine, DEVICES):
        mode = machine.sysfs.stat(path).st_mode
        name = path.rpartition("/")[2]
        if stat.S_ISDIR(mode):
            wanted = 0o755
        elif stat.S_ISLNK(mode):
            wanted = 0o777
        elif name == "energy_uj":
            wanted = 0o400
        else:
            wanted = 0o644 if name in writable or name.endswith(("limit_uw", "window_us")) else 0o444
        assert (path, stat.S_IMODE(mode)) == (path, wanted)


def name_hash(name: str) -> int:
    """The kernel's directory order, as the observed formula has it."""
    value = 0
    for byte in name.encode():
        value = (value + (byte << 4) + (byte >> 4)) * 11 % 2**64
    return (value * 0x61C8864680B583EB % 2**64 >> 32) & 0x7FFFFFFF


def test_a_directory_is_listed_in_the_order_of_the_names_hashes(machine: Machine) -> None:
    for path in (CLASS, DEVICES, f"{DEVICES}/intel-rapl/intel-rapl:0", f"{PACKAGE}/power"):
        names = machine.sysfs.listdir(path)
        assert names == sorted(names, key=name_hash)
        assert names != sorted(names) or len(names) < 3


@given(st.lists(st.text(alphabet="abcdefgh:0123456789_", min_size=1, max_size=8), unique=True, min_size=2, max_size=12))
def test_any_names_are_listed_by_hash_whatever_the_order_they_came_in(
    make_machine: MakeMachine, names: list[str]
) -> None:
    machine = make_machine("zen3")
    machine.driver.unload()
    for name in names:
        machine.powercap.register_control_type(name)
    assert machine.sysfs.listdir(CLASS) == machine.sysfs.listdir(DEVICES) == sorted(names, key=name_hash)


def test_paths_are_understood_with_and_without_sys_and_through_links(machine: Machine) -> None:
    name = b"package-0\n"
    for path in (
        f"{PACKAGE}/name",
        f"/sys/{PACKAGE}/name",
        f"{CLASS}/intel-rapl/intel-rapl:0/name",
        f"{CLASS}//./intel-rapl:0/../intel-rapl:0/name",
        f"{CLASS}/intel-rapl:0:0/device/name",
        f"{PACKAGE}/subsystem/intel-rapl:0/name",
        "../../class/powercap/intel-rapl:0/name",
    ):
        assert machine.sysfs.read(path) == name


@pytest.mark.parametrize(
    ("path", "errno"),
    [
        (f"{CLASS}/intel-rapl:7/name", ENOENT),
        (f"{PACKAGE}/nothing", ENOENT),
        (f"{PACKAGE}/name/deeper", ENOTDIR),
        (f"{PACKAGE}/name/", ENOTDIR),
        (f"{PACKAGE}/name/.", ENOTDIR),
        (f"{PACKAGE}/name/..", ENOTDIR),
        ("/etc/passwd", ENOENT),
        ("/", ENOENT),
        (PACKAGE, EISDIR),
        (CLASS, EISDIR),
    ],
)
def test_a_path_that_cannot_be_read_fails_as_the_walk_or_the_read_does(machine: Machine, path: str, errno: int) -> None:
    assert errno_of(machine.sysfs.read, path) == errno


def test_a_link_with_a_slash_behind_it_is_its_directory(machine: Machine) -> None:
    assert stat.S_ISLNK(machine.sysfs.stat(PACKAGE).st_mode)
    assert stat.S_ISDIR(machine.sysfs.stat(f"{PACKAGE}/").st_mode)


def test_readlink_and_listdir_refuse_what_is_of_another_kind(machine: Machine) -> None:
    assert errno_of(machine.sysfs.readlink, DEVICES) == EINVAL
    assert errno_of(machine.sysfs.readlink, f"{PACKAGE}/name") == EINVAL
    assert errno_of(machine.sysfs.listdir, f"{PACKAGE}/name") == ENOTDIR
    assert errno_of(machine.sysfs.write, DEVICES, b"1") == EISDIR


@pytest.mark.parametrize("length", [4095, 4096, 4097, 10_000])
def test_a_write_longer_than_a_page_takes_the_first_page(machine: Machine, length: int) -> None:
    # Zeros in front: 250000 stands at the end of the first page, what is behind it would be no number.
    text = b"250000".rjust(min(length, 4096), b"0") + b"x" * max(0, length - 4096)
    assert machine.sysfs.write(LIMIT, text) == min(length, 4096)
    assert machine.sysfs.read(LIMIT) == b"250000\n"


@pytest.mark.parametrize(
    ("path", "flags", "errno"),
    [
        (LIMIT, os.O_RDWR | os.O_CREAT, 0),
        (LIMIT, os.O_RDWR | os.O_TRUNC, 0),
        (LIMIT, os.O_WRONLY | os.O_APPEND, 0),
        (LIMIT, os.O_RDWR | os.O_CREAT | os.O_EXCL, EEXIST),
        (LIMIT, os.O_RDONLY | os.O_DIRECTORY, ENOTDIR),
        (LIMIT, os.O_RDWR | os.O_DIRECT, EINVAL),
        (f"{PACKAGE}/new", os.O_WRONLY | os.O_CREAT, EACCES),
        (f"{PACKAGE}/new", os.O_WRONLY, ENOENT),
        (f"{PACKAGE}/new/newer", os.O_WRONLY | os.O_CREAT, ENOENT),
        (f"{PACKAGE}/name/new", os.O_WRONLY | os.O_CREAT, ENOTDIR),
        (PACKAGE, os.O_RDONLY, 0),
        (PACKAGE, os.O_RDONLY | os.O_DIRECTORY, 0),
        (PACKAGE, os.O_RDONLY | os.O_DIRECT, EINVAL),
        (PACKAGE, os.O_RDONLY | os.O_NOFOLLOW, ELOOP),
        (PACKAGE, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY, ENOTDIR),
        (PACKAGE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, EEXIST),
        (PACKAGE, os.O_WRONLY, EISDIR),
        (PACKAGE, os.O_RDONLY | os.O_TRUNC, EISDIR),
        (PACKAGE, os.O_RDONLY | os.O_CREAT, EISDIR),
        (f"{PACKAGE}/energy_uj", os.O_WRONLY | os.O_CREAT, EACCES),
    ],
)
def test_open_says_what_the_kernel_says_for_every_kind_of_flag(
    machine: Machine, path: str, flags: int, errno: int
) -> None:
    assert errno_of(machine.sysfs.open, path, flags) == errno


def test_an_empty_path_names_nothing(machine: Machine) -> None:
    for call in (machine.sysfs.stat, machine.sysfs.listdir, machine.sysfs.read, machine.sysfs.open):
        assert errno_of(call, "") == ENOENT
    assert errno_of(machine.sysfs.open, "", os.O_WRONLY | os.O_CREAT) == ENOENT
    assert errno_of(machine.sysfs.open, "new", os.O_WRONLY | os.O_CREAT) == EACCES
