# SPDX-License-Identifier: Apache-2.0
"""Who may open what in the virtual sysfs, what chmod and chown change, and faults injected by path."""

import os
import stat
from collections.abc import Callable
from errno import EACCES, EBADF, EIO, EISDIR, ENODATA, EPERM

import pytest

from raplica_simulator import Machine

MakeMachine = Callable[..., Machine]
NOBODY = 65534
CLASS = "class/powercap"
PACKAGE = "class/powercap/intel-rapl:0"
LIMIT = f"{PACKAGE}/constraint_0_power_limit_uw"


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


@pytest.mark.pitfall("energy-root-only")
def test_energy_is_for_root_to_read_and_for_nobody_to_write(machine: Machine) -> None:
    path = f"{PACKAGE}/energy_uj"
    assert machine.sysfs.read(path, uid=0)
    assert errno_of(lambda: machine.sysfs.read(path, uid=NOBODY)) == EACCES
    for uid in (0, NOBODY):
        assert errno_of(machine.sysfs.write, path, b"0", uid) == EACCES
        assert errno_of(machine.sysfs.open, path, os.O_RDWR, uid) == EACCES


@pytest.mark.pitfall("name-newline-read-only")
def test_a_file_without_a_store_cannot_be_opened_for_writing_by_root_either(machine: Machine) -> None:
    path = f"{PACKAGE}/name"
    assert machine.sysfs.read(path) == b"package-0\n"
    assert errno_of(machine.sysfs.write, path, b"x") == EACCES
    assert errno_of(machine.sysfs.write, path, b"") == EACCES
    # access(2) knows permission bits only.
    assert machine.sysfs.access(path, os.W_OK, uid=0)
    assert not machine.sysfs.access(path, os.W_OK, uid=NOBODY)
    assert not machine.sysfs.access(path, os.X_OK, uid=0)


def test_nobody_may_read_what_is_0444_and_write_nothing(machine: Machine) -> None:
    assert machine.sysfs.read(LIMIT, uid=NOBODY) == b"125000000\n"
    assert errno_of(lambda: machine.sysfs.write(LIMIT, b"1", uid=NOBODY)) == EACCES
    assert errno_of(lambda: machine.sysfs.write(LIMIT, b"", uid=NOBODY)) == EACCES


def test_chmod_and_chown_work_and_last_until_the_file_goes(machine: Machine) -> None:
    energy = f"{PACKAGE}/energy_uj"
    machine.sysfs.chmod(energy, 0o444)
    assert machine.sysfs.read(energy, uid=NOBODY) == machine.sysfs.read(energy)
    machine.sysfs.chown(LIMIT, 1000, -1)
    assert machine.sysfs.write(LIMIT, b"1000000", uid=1000) == 7
    assert errno_of(lambda: machine.sysfs.write(LIMIT, b"1000000", uid=1001)) == EACCES
    found = machine.sysfs.stat(LIMIT)
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (1000, 0, 0o644)
    machine.sysfs.chmod(LIMIT, 0o600, uid=1000)
    machine.driver.unload()
    machine.driver.load()
    assert errno_of(lambda: machine.sysfs.read(energy, uid=NOBODY)) == EACCES
    assert (machine.sysfs.stat(LIMIT).st_uid, stat.S_IMODE(machine.sysfs.stat(LIMIT).st_mode)) == (0, 0o644)


def test_only_the_owner_changes_modes_and_only_root_owners(machine: Machine) -> None:
    assert errno_of(lambda: machine.sysfs.chmod(LIMIT, 0o666, uid=NOBODY)) == EPERM
    assert errno_of(lambda: machine.sysfs.chown(LIMIT, NOBODY, NOBODY, uid=NOBODY)) == EPERM


def test_a_file_whose_mode_lost_its_read_bits_is_closed_to_root_as_well(machine: Machine) -> None:
    machine.sysfs.chmod(LIMIT, 0o200)
    assert errno_of(machine.sysfs.read, LIMIT) == EACCES
    assert machine.sysfs.write(LIMIT, b"1000000") == 7
    machine.sysfs.chmod(f"{PACKAGE}/name", 0o666)
    assert errno_of(machine.sysfs.write, f"{PACKAGE}/name", b"x") == EACCES


def test_a_write_of_nothing_makes_the_checks_and_does_not_reach_the_driver(machine: Machine) -> None:
    machine.msr.inject(0, 0x610, "both")
    assert machine.sysfs.write(LIMIT, b"") == 0
    assert machine.msr.log == []


def test_an_injected_fault_lets_some_calls_pass_then_fails_so_many_times(machine: Machine) -> None:
    machine.sysfs.inject(LIMIT, on="read", errno=ENODATA, after=2, times=3)
    assert [errno_of(machine.sysfs.read, LIMIT) for _ in range(7)] == [0, 0, ENODATA, ENODATA, ENODATA, 0, 0]
    assert errno_of(machine.sysfs.write, LIMIT, b"1") == 0


def test_injected_faults_on_open_read_and_write_are_apart_and_heal_apart(machine: Machine) -> None:
    for on in ("open", "read", "write"):
        machine.sysfs.inject(LIMIT, on=on, errno={"open": EPERM, "read": EIO, "write": ENODATA}[on])
    reads, writes = (lambda: machine.sysfs.read(LIMIT)), (lambda: machine.sysfs.write(LIMIT, b"1"))
    assert (errno_of(reads), errno_of(writes)) == (EPERM, EPERM)
    machine.sysfs.inject(LIMIT, on="open", errno=None)
    assert (errno_of(reads), errno_of(writes)) == (EIO, ENODATA)
    assert errno_of(machine.sysfs.write, LIMIT, b"") == 0
    machine.sysfs.inject(LIMIT, on="read", errno=None)
    machine.sysfs.inject(LIMIT, on="write", errno=None)
    assert (errno_of(reads), errno_of(writes)) == (0, 0)


def test_an_injected_fault_belongs_to_the_file_and_not_to_a_path(machine: Machine) -> None:
    machine.sysfs.inject(f"{CLASS}/intel-rapl/intel-rapl:0/name", errno=EIO)
    assert errno_of(machine.sysfs.read, f"{PACKAGE}/name") == EIO
    with pytest.raises(ValueError, match="'open', 'read' or 'write'"):
        machine.sysfs.inject(LIMIT, on="stat")
    assert errno_of(machine.sysfs.inject, PACKAGE) == EISDIR


@pytest.mark.parametrize("on", ["open", "read", "write"])
def test_an_injected_fault_names_the_path_that_the_program_gave(machine: Machine, on: str) -> None:
    machine.sysfs.inject(LIMIT, on=on, errno=EIO)
    calls: list[Callable[[], object]] = []
    if on != "write":
        calls.append(lambda: machine.sysfs.read(LIMIT))
    if on != "read":
        calls.append(lambda: machine.sysfs.write(LIMIT, b"1"))
    if on == "open":
        calls.append(lambda: machine.sysfs.open(LIMIT))
    for call in calls:
        with pytest.raises(OSError, match="Input/output error") as failed:
            call()
        assert (failed.value.errno, failed.value.filename) == (EIO, LIMIT)


def test_below_a_directory_that_one_may_not_search_everything_is_closed_but_not_to_root(machine: Machine) -> None:
    name = f"{PACKAGE}/name"
    assert machine.sysfs.read(name, uid=1000) == b"package-0\n"
    machine.sysfs.chown(LIMIT, 1000, -1)
    machine.sysfs.chmod(PACKAGE, 0o700)
    assert machine.sysfs.read(name) == b"package-0\n"
    for path in (name, f"{PACKAGE}/./name", f"{PACKAGE}/nothing", f"{PACKAGE}/.."):
        assert errno_of(lambda path=path: machine.sysfs.read(path, uid=1000)) == EACCES
        assert errno_of(machine.sysfs.open, path, os.O_RDONLY, 1000) == EACCES
        assert not machine.sysfs.access(path, os.R_OK, uid=1000)
    assert errno_of(machine.sysfs.write, LIMIT, b"1", 1000) == EACCES
    assert errno_of(machine.sysfs.chmod, LIMIT, 0o600, 1000) == EACCES
    # The directory itself can be named, not opened; its subzones lie below it, wherever a link starts.
    assert not machine.sysfs.access(PACKAGE, os.R_OK, uid=1000)
    assert errno_of(machine.sysfs.open, PACKAGE, os.O_RDONLY, 1000) == EACCES
    assert errno_of(lambda: machine.sysfs.read(f"{CLASS}/intel-rapl:0:0/name", uid=1000)) == EACCES
    machine.sysfs.chown(PACKAGE, 1000, -1)
    assert machine.sysfs.read(name, uid=1000) == b"package-0\n"


@pytest.mark.parametrize("uid", [0, NOBODY])
def test_what_one_user_looked_up_opens_nothing_to_another(machine: Machine, uid: int) -> None:
    machine.sysfs.chmod(CLASS, 0o711)
    assert machine.sysfs.read(LIMIT, uid=uid)
    machine.sysfs.chmod(CLASS, 0o700)
    assert machine.sysfs.read(LIMIT)
    assert errno_of(lambda: machine.sysfs.read(LIMIT, uid=NOBODY)) == EACCES


def test_truncating_takes_the_permission_to_write(machine: Machine) -> None:
    truncate = os.O_RDONLY | os.O_TRUNC
    assert errno_of(machine.sysfs.open, LIMIT, os.O_RDONLY, NOBODY) == 0
    assert errno_of(machine.sysfs.open, LIMIT, truncate, NOBODY) == EACCES
    assert errno_of(machine.sysfs.open, f"{PACKAGE}/name", truncate, NOBODY) == EACCES
    assert errno_of(machine.sysfs.open, LIMIT, truncate) == 0


def test_access_mode_3_takes_both_permissions_and_gives_neither(machine: Machine) -> None:
    assert errno_of(machine.sysfs.open, LIMIT, os.O_ACCMODE, NOBODY) == EACCES
    machine.sysfs.chmod(LIMIT, 0o646)
    with machine.sysfs.open(LIMIT, os.O_ACCMODE, NOBODY) as file:
        assert (errno_of(file.read), errno_of(file.write, b"1")) == (EBADF, EBADF)
        assert file.fstat().st_size == 4096
    assert errno_of(machine.sysfs.open, PACKAGE, os.O_ACCMODE) == EISDIR
