# SPDX-License-Identifier: Apache-2.0
"""A descriptor held open on sysfs: short reads, offsets, seeks, polls, and what is left when the device has gone."""

import os
import select
from collections.abc import Callable
from errno import EBADF, EINVAL, EIO, EISDIR, ENODATA, ENODEV, ENXIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator import Machine

MakeMachine = Callable[..., Machine]
PACKAGE = "class/powercap/intel-rapl:0"
LIMIT = f"{PACKAGE}/constraint_0_power_limit_uw"
ENABLED = f"{PACKAGE}/enabled"


def errno_of(call: Callable[..., object], *arguments: object) -> int | None:
    """The errno that a call fails with, 0 where it does not."""
    try:
        call(*arguments)
    except OSError as error:
        return error.errno
    return 0


@pytest.fixture
def machine(make_machine: MakeMachine) -> Machine:
    return make_machine("kabylake", "6.12")


def test_short_reads_go_through_one_text_to_its_end(machine: Machine) -> None:
    with machine.sysfs.open(LIMIT) as file:
        assert [file.read(3), file.read(), file.read(), file.offset] == [b"125", b"000000\n", b"", 10]
        assert [file.pread(4096, 1), file.pread(4096, 100), file.pread(4096, 5000)] == [b"25000000\n", b"", b""]
        assert file.offset == 10


@given(st.lists(st.integers(1, 12), min_size=1, max_size=14))
def test_reads_of_any_sizes_add_up_to_the_text(make_machine: MakeMachine, sizes: list[int]) -> None:
    machine = make_machine("zen3")
    machine.driver.unload()
    machine.driver.load()
    with machine.sysfs.open(f"{PACKAGE}/max_energy_range_uj") as file:
        assert b"".join(file.read(size) for size in sizes) == b"65532610987\n"[: sum(sizes)]


def test_a_reader_of_single_bytes_sees_one_number_while_the_value_changes(machine: Machine) -> None:
    with machine.sysfs.open(LIMIT) as file:
        first = file.read(1)
        machine.msr.poke(0, 0x610, 0)
        assert first + file.read() == b"125000000\n"
        file.lseek(0)
        assert file.read() == b"0\n"


def test_each_read_at_offset_0_asks_the_driver_again(machine: Machine) -> None:
    with machine.sysfs.open(f"{PACKAGE}/energy_uj") as file:
        for raw in (1, 2, 3, 1000):
            machine.msr.poke(0, 0x611, raw)
            assert file.pread(4096, 0) == b"%d\n" % (raw * 61035 // 1000)


def test_a_jump_into_the_middle_asks_the_driver_again(machine: Machine) -> None:
    with machine.sysfs.open(LIMIT) as file:
        assert file.read(3) == b"125"
        machine.msr.poke(0, 0x610, 0x7FFF)
        # Where the last read ended the old text goes on, anywhere else it is a new one.
        assert file.pread(3, 3) == b"000"
        assert file.pread(4096, 4) == b"875000\n"


def test_a_read_of_no_bytes_does_not_ask_the_driver(machine: Machine) -> None:
    machine.sysfs.inject(LIMIT, errno=EIO, times=1)
    with machine.sysfs.open(LIMIT) as file:
        assert (file.read(0), file.pread(0, 7)) == (b"", b"")
        assert errno_of(file.read) == EIO
        assert file.read() == b"125000000\n"


def test_a_failed_read_leaves_the_offset_where_it_was(machine: Machine) -> None:
    path = "class/powercap/intel-rapl:0:0/constraint_0_max_power_uw"
    with machine.sysfs.open(path) as file:
        assert [errno_of(file.read), errno_of(file.pread, 10, 3), file.offset] == [ENODATA, ENODATA, 0]


def test_a_write_ignores_the_offset_and_moves_it_by_what_it_took(machine: Machine) -> None:
    with machine.sysfs.open(LIMIT, os.O_RDWR) as file:
        assert file.lseek(7) == 7
        assert (file.write(b"250000"), file.offset) == (6, 13)
        assert (file.pwrite(b"500000\n", 3), file.offset) == (7, 13)
        assert (file.write(b""), file.offset) == (0, 13)
        assert file.pread(4096, 0) == b"500000\n"
        assert (file.write(b"1000000".rjust(5000, b"0")), file.offset) == (4096, 13 + 4096)


def test_a_text_half_read_is_not_changed_by_a_write_in_between(machine: Machine) -> None:
    with machine.sysfs.open(LIMIT, os.O_RDWR) as file:
        assert file.read(3) == b"125"
        assert file.pwrite(b"0", 0) == 1
        assert file.read() == b"000000\n"
        assert file.pread(9, 0) == b"0\n"


def test_a_refused_write_leaves_offset_and_value_alone(machine: Machine) -> None:
    with machine.sysfs.open(LIMIT, os.O_RDWR) as file:
        assert errno_of(file.write, b"x") == EINVAL
        assert (file.offset, file.read()) == (0, b"125000000\n")


@pytest.mark.parametrize(
    ("offset", "whence", "position"),
    [
        (0, os.SEEK_END, 4096),
        (-4096, os.SEEK_END, 0),
        (5, os.SEEK_CUR, 8),
        (-3, os.SEEK_CUR, 0),
        (9999, os.SEEK_SET, 9999),
        ((1 << 31) - 1, os.SEEK_SET, (1 << 31) - 1),
        (0, os.SEEK_HOLE, 4096),
        (17, os.SEEK_DATA, 17),
    ],
)
def test_a_seek_counts_the_file_as_a_page_long(machine: Machine, offset: int, whence: int, position: int) -> None:
    with machine.sysfs.open(LIMIT) as file:
        file.read(3)
        assert file.lseek(offset, whence) == file.offset == position


@pytest.mark.parametrize(
    ("offset", "whence", "errno"),
    [
        (-1, os.SEEK_SET, EINVAL),
        (-4097, os.SEEK_END, EINVAL),
        (1 << 31, os.SEEK_SET, EINVAL),
        ((1 << 31) - 4096, os.SEEK_END, EINVAL),
        (4096, os.SEEK_DATA, ENXIO),
        (-1, os.SEEK_HOLE, ENXIO),
        (0, 9, EINVAL),
    ],
)
def test_a_seek_out_of_the_file_is_refused(machine: Machine, offset: int, whence: int, errno: int) -> None:
    with machine.sysfs.open(LIMIT) as file:
        assert errno_of(file.lseek, offset, whence) == errno
        assert file.offset == 0


def test_a_negative_offset_is_refused(machine: Machine) -> None:
    with machine.sysfs.open(LIMIT, os.O_RDWR) as file:
        assert errno_of(file.pread, 1, -1) == EINVAL
        assert errno_of(file.pwrite, b"1", -1) == EINVAL


@pytest.mark.parametrize("size", [-1, -5])
def test_a_negative_size_is_refused(machine: Machine, size: int) -> None:
    with machine.sysfs.open(LIMIT) as file:
        assert (errno_of(file.pread, size, 0), errno_of(file.read, size), file.offset) == (EINVAL, EINVAL, 0)


def test_a_descriptor_only_does_what_it_was_opened_for(machine: Machine) -> None:
    with machine.sysfs.open(LIMIT, os.O_RDONLY) as file:
        assert errno_of(file.write, b"1") == EBADF
    with machine.sysfs.open(LIMIT, os.O_WRONLY) as file:
        assert errno_of(file.read) == EBADF


def test_a_closed_descriptor_is_good_for_nothing(machine: Machine) -> None:
    file = machine.sysfs.open(LIMIT, os.O_RDWR)
    file.close()
    file.close()
    calls = (file.read, lambda: file.write(b"1"), lambda: file.lseek(0), file.poll, file.fstat, file.listdir)
    assert [errno_of(call) for call in calls] == [EBADF] * 6


def test_a_poll_says_that_it_can_be_read_and_written(machine: Machine) -> None:
    with machine.sysfs.open(LIMIT) as file:
        # What it has not seen yet is new to it.
        assert file.poll() == select.POLLIN | select.POLLOUT | select.POLLPRI | select.POLLERR
        file.pread(0, 0)
        assert file.poll() & select.POLLPRI
        file.read()
        assert file.poll() == select.POLLIN | select.POLLOUT


def test_a_directory_held_open_can_be_listed_and_not_read(machine: Machine) -> None:
    with machine.sysfs.open(PACKAGE) as file:
        assert file.listdir() == machine.sysfs.listdir(PACKAGE)
        assert errno_of(file.read) == EISDIR
        assert errno_of(file.write, b"1") == EBADF
        assert file.lseek(0, os.SEEK_END) == 0
    with machine.sysfs.open(LIMIT) as file:
        assert errno_of(file.listdir) == EINVAL


@pytest.mark.parametrize(("kernel", "lseek"), [("6.1", 0), ("6.12", ENODEV)])
def test_a_descriptor_outlives_its_device_and_says_so(make_machine: MakeMachine, kernel: str, lseek: int) -> None:
    machine = make_machine("kabylake", kernel)
    file = machine.sysfs.open(LIMIT, os.O_RDWR)
    read = machine.sysfs.open(ENABLED)
    assert read.read(1) == b"1"
    directory = machine.sysfs.open(PACKAGE)
    machine.driver.unload()
    for call in (file.read, lambda: file.pread(5, 2), lambda: file.write(b"1"), lambda: file.pwrite(b"", 0)):
        assert errno_of(call) == ENODEV
    assert errno_of(file.lseek, 0) == lseek
    assert file.poll() == select.POLLIN | select.POLLOUT | select.POLLPRI | select.POLLERR
    assert (file.fstat().st_nlink, file.fstat().st_size) == (1, 4096)
    # What was read ahead is handed out, then the device is missed.
    assert (read.read(5), errno_of(read.read)) == (b"\n", ENODEV)
    assert (directory.listdir(), directory.fstat().st_nlink) == ([], 2)
    # The same zone comes back as a new device.
    machine.driver.load()
    assert errno_of(file.read) == ENODEV
    assert machine.sysfs.read(LIMIT) == b"125000000\n"


def test_an_open_that_fails_and_a_read_that_fails_are_told_apart(machine: Machine) -> None:
    machine.sysfs.inject(LIMIT, on="open", errno=ENXIO, times=1)
    assert errno_of(machine.sysfs.open, LIMIT) == ENXIO
    machine.sysfs.inject(LIMIT, on="read", errno=EIO)
    with machine.sysfs.open(LIMIT) as file:
        assert errno_of(file.read) == EIO
        machine.sysfs.inject(LIMIT, on="read", errno=None)
        assert file.read() == b"125000000\n"
