# SPDX-License-Identifier: Apache-2.0
"""A mounted machine is a sysfs: fresh values, whole numbers, the kernel's errnos, modes and owners."""

import fcntl
import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from errno import EACCES, EEXIST, EINVAL, EISDIR, ENODATA, ENOENT, ENOTDIR, ENOTTY, EPERM
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raplica_simulator import Machine
from raplica_simulator.live.machine import LiveMachine, start
from raplica_simulator.load.plan import ConstantLoad
from raplica_simulator.surfaces.fuse import FuseMount

from .mounted import LIMIT, POWERCAP, ZONE, Mount, at, errno_of


@pytest.fixture
def machine() -> Machine:
    return Machine.from_profile("skylake-sp-2s")


def test_every_attribute_reads_as_the_machine_says(machine: Machine, mount: Mount) -> None:
    machine.load.set(package=100, dram=8)
    machine.clock.advance(seconds=1234)
    shown = mount(machine)
    found: dict[str, bytes | int] = {}
    for folder, _, names in os.walk(at(shown, "sys")):
        for name in names:
            path = Path(folder, name)
            if not path.is_symlink():
                key = str(path.relative_to(at(shown, "sys")))
                try:
                    found[key] = path.read_bytes()
                except OSError as error:
                    found[key] = error.errno or 0
    assert len(found) > 60

    def said(path: str) -> bytes | int:
        try:
            return machine.sysfs.read(path)
        except OSError as error:
            return error.errno or 0

    assert found == {path: said(path) for path in found}


def test_a_descriptor_kept_open_reads_the_moments_value_at_offset_0(machine: Machine, mount: Mount) -> None:
    machine.load.set(package=100)
    energy = os.open(at(mount(machine), f"{ZONE}/energy_uj"), os.O_RDONLY)
    values = []
    for _ in range(5):
        machine.clock.advance(seconds=1)
        values.append(int(os.pread(energy, 100, 0)))
        assert values[-1] == int(machine.sysfs.read("class/powercap/intel-rapl:0/energy_uj"))
    # What follows comes from the text that the read at 0 made.
    first = os.pread(energy, 5, 0)
    machine.clock.advance(seconds=1)
    assert int(first + os.pread(energy, 100, 5)) == values[-1]
    os.lseek(energy, 0, os.SEEK_SET)
    assert int(os.read(energy, 100)) > values[-1]
    assert os.read(energy, 100) == b""
    os.close(energy)


def test_whoever_would_keep_what_was_read_is_refused_and_shows_no_older_value(machine: Machine, mount: Mount) -> None:
    machine.load.set(package=100)
    energy = os.open(at(mount(machine), f"{ZONE}/energy_uj"), os.O_RDONLY)
    into = os.memfd_create("into")
    assert errno_of(os.sendfile, into, energy, 0, 100) == EINVAL
    os.posix_fadvise(energy, 0, 0, os.POSIX_FADV_WILLNEED)
    # The end is where it was: the page cache does not know how long the text is.
    assert os.lseek(energy, 0, os.SEEK_END) == 4096
    # Python reads where sendfile is refused.
    shutil.copyfile(f"/proc/self/fd/{energy}", f"/proc/self/fd/{into}")
    assert os.pread(into, 100, 0) == machine.sysfs.read("class/powercap/intel-rapl:0/energy_uj")
    os.close(into)
    os.close(energy)


def test_who_reads_byte_by_byte_gets_whole_numbers(mount: Mount) -> None:
    live = start("skylake-sp-2s", load=ConstantLoad({"package": 100}), speed=10)
    shown = mount(live)
    live.let_time_run()
    path = at(shown, f"{ZONE}/energy_uj")
    for _ in range(20):
        before = int(path.read_text())
        with path.open("rb", buffering=0) as file:
            text = b"".join(iter(lambda: file.read(1), b""))
        assert text.endswith(b"\n")
        # 1 s of the host is 1 kJ here: the range is passed after some three minutes.
        assert before <= int(text) <= int(path.read_text())


def test_a_write_reaches_the_register_and_is_one_complete_value(machine: Machine, mount: Mount) -> None:
    limit = os.open(at(mount(machine), f"{ZONE}/{LIMIT}"), os.O_RDWR)
    assert os.write(limit, b"90000000\n") == 9
    assert machine.msr.read(0, 0x610) & 0x7FFF == 90 * 8
    assert os.pread(limit, 100, 0) == b"90000000\n"
    assert os.write(limit, b"80000000\n") == 9
    assert machine.msr.read(0, 0x610) & 0x7FFF == 80 * 8
    assert errno_of(os.write, limit, b"0x10") == EINVAL
    assert os.write(limit, b"70000000\n" + b"\0" * 8000) == 4096
    assert machine.msr.read(0, 0x610) & 0x7FFF == 70 * 8
    assert os.write(limit, b"") == 0
    os.close(limit)


def test_errors_come_at_the_call_at_which_the_kernel_raises_them(machine: Machine, mount: Mount) -> None:
    shown = mount(machine)
    machine.sysfs.inject("class/powercap/intel-rapl:0/energy_uj", on="read", errno=ENODATA)
    machine.sysfs.inject("class/powercap/intel-rapl:1/energy_uj", on="open", errno=EACCES)
    energy = os.open(at(shown, f"{ZONE}/energy_uj"), os.O_RDONLY)
    assert errno_of(os.read, energy, 100) == ENODATA
    os.close(energy)
    assert errno_of(os.open, at(shown, f"{POWERCAP}/intel-rapl:1/energy_uj"), os.O_RDONLY) == EACCES
    # Root may do everything but what the file has no function for.
    assert errno_of(os.open, at(shown, f"{ZONE}/energy_uj"), os.O_RDWR) == EACCES
    assert errno_of(os.open, at(shown, f"{ZONE}/name"), os.O_WRONLY) == EACCES
    assert os.access(at(shown, f"{ZONE}/name"), os.W_OK)
    assert errno_of(os.open, at(shown, f"{ZONE}/enabled"), os.O_RDONLY | os.O_DIRECT) == EINVAL


@pytest.mark.parametrize(
    ("what", "errno"),
    [
        (lambda zone: (zone / "new").mkdir(), EPERM),
        (lambda zone: (zone / "power").rmdir(), EPERM),
        (lambda zone: (zone / "power").unlink(), EISDIR),
        (lambda zone: (zone / "name").unlink(), EPERM),
        (lambda zone: (zone / "name").rename(zone / "other"), EPERM),
        (lambda zone: (zone / "other").hardlink_to(zone / "name"), EPERM),
        (lambda zone: (zone / "other").symlink_to("name"), EPERM),
        (lambda zone: os.mknod(zone / "other"), EACCES),
        (lambda zone: os.mkfifo(zone / "other"), EPERM),
        (lambda zone: os.open(zone / "other", os.O_CREAT | os.O_WRONLY), EACCES),
        (lambda zone: os.open(zone / "name", os.O_CREAT | os.O_EXCL | os.O_WRONLY), EEXIST),
        (lambda zone: os.open(zone / "name", os.O_DIRECTORY), ENOTDIR),
        (lambda zone: os.open(zone, os.O_WRONLY), EISDIR),
        (lambda zone: os.open(zone / "nothing", os.O_RDONLY), ENOENT),
        (lambda zone: os.open(zone / "name/below", os.O_RDONLY), ENOTDIR),
        (lambda zone: os.truncate(zone / LIMIT, 0), 0),
        (lambda zone: os.truncate(zone / "name", 100), 0),
    ],
)
def test_nothing_can_be_made_moved_or_removed(
    machine: Machine, mount: Mount, what: Callable[[Path], object], errno: int
) -> None:
    shown = mount(machine)
    before = sorted(os.listdir(at(shown, ZONE)))  # noqa: PTH208 - names
    assert errno_of(what, at(shown, ZONE)) == errno
    assert sorted(os.listdir(at(shown, ZONE))) == before  # noqa: PTH208
    assert at(shown, f"{ZONE}/{LIMIT}").stat().st_size == 4096


def test_modes_and_owners_can_be_changed_and_last(machine: Machine, mount: Mount) -> None:
    shown = mount(machine)
    energy = at(shown, f"{ZONE}/energy_uj")
    energy.chmod(0o440)
    os.chown(energy, 12, 34)
    os.utime(energy, ns=(1_000_000_005, 2_000_000_007))
    found = energy.stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o440, 12, 34)
    assert (found.st_atime_ns, found.st_mtime_ns) == (1_000_000_005, 2_000_000_007)
    assert machine.sysfs.stat("class/powercap/intel-rapl:0/energy_uj").st_uid == 12
    cpu = at(shown, "dev/cpu/0/msr")
    cpu.chmod(0o660)
    os.chown(cpu, -1, 5)
    assert (stat.S_IMODE(cpu.stat().st_mode), cpu.stat().st_gid) == (0o660, 5)
    assert cpu.stat().st_mtime_ns > 10**18


def test_what_is_changed_from_inside_is_seen_at_once(machine: Machine, mount: Mount) -> None:
    shown = mount(machine)
    energy = at(shown, f"{ZONE}/energy_uj")
    assert stat.S_IMODE(energy.stat().st_mode) == 0o400
    with shown.held():
        machine.sysfs.chmod("class/powercap/intel-rapl:0/energy_uj", 0o444)
    assert stat.S_IMODE(energy.stat().st_mode) == 0o444


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can look as somebody else")
@pytest.mark.parametrize("shown_to_others", [False, True])
def test_others_see_it_only_when_asked_and_then_as_the_modes_say(
    machine: Machine, mount: Mount, *, shown_to_others: bool
) -> None:
    shown = mount(machine, allow_other=shown_to_others)

    def as_nobody(*command: str) -> subprocess.CompletedProcess[str]:
        # From inside: the folder of the test is root's own.
        return subprocess.run(
            command, cwd=at(shown, ZONE), user=65534, group=65534, extra_groups=[], capture_output=True, text=True,
            check=False,
        )  # fmt: skip

    name, energy = as_nobody("cat", "name"), as_nobody("cat", "energy_uj")
    if shown_to_others:
        assert (name.returncode, name.stdout) == (0, "package-0\n")
        assert "Permission denied" in energy.stderr
    else:
        assert name.returncode != 0
    assert energy.returncode != 0


# Whatever is done to it, it answers.

OPERATIONS = st.one_of(
    st.tuples(st.just("read"), st.integers(0, 10_000), st.integers(0, 10_000)),
    st.tuples(st.just("write"), st.binary(max_size=5000), st.integers(0, 10_000)),
    st.tuples(st.just("seek"), st.integers(-5000, 1 << 62), st.integers(0, 5)),
    st.tuples(st.just("truncate"), st.integers(-1, 1 << 40), st.just(0)),
    st.tuples(st.just("ioctl"), st.integers(0, 0xFFFF), st.just(0)),
    st.tuples(st.just("getdents"), st.just(0), st.just(0)),
)


@pytest.fixture(scope="module")
def endless(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FuseMount]:
    """A mount that all examples share."""
    request.getfixturevalue("mounts")
    troubles: list[str] = []
    live = LiveMachine(Machine.from_profile("skylake-sp-2s"))
    with FuseMount(live, tmp_path_factory.mktemp("endless") / "m", troubles=troubles.append) as shown:
        yield shown
        assert troubles == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(["energy_uj", LIMIT, "enabled", "uevent", "power", "device", "../../../dev/cpu/0/msr", "."]),
    flags=st.sampled_from([os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR | os.O_TRUNC, os.O_RDONLY | os.O_APPEND]),
    operations=st.lists(OPERATIONS, max_size=10),
)
def test_odd_calls_in_any_order_neither_hang_nor_hurt(
    endless: FuseMount, path: str, flags: int, operations: list[tuple[str, object, int]]
) -> None:
    try:
        descriptor = os.open(at(endless, f"{ZONE}/{path}"), flags)
    except OSError:
        return
    calls: dict[str, Callable[..., object]] = {
        "read": lambda size, offset: os.pread(descriptor, size, offset),
        "write": lambda data, offset: os.pwrite(descriptor, data, offset),
        "seek": lambda offset, whence: os.lseek(descriptor, offset, whence),
        "truncate": lambda length, _: os.ftruncate(descriptor, length),
        "ioctl": lambda command, _: fcntl.ioctl(descriptor, command, bytes(64)),
        "getdents": lambda _, __: os.listdir(descriptor),  # noqa: PTH208 - of a descriptor
    }
    for name, first, second in operations:
        errno_of(calls[name], first, second)
    os.close(descriptor)
    assert at(endless, f"{ZONE}/name").read_bytes() == b"package-0\n"


def test_an_ioctl_on_an_attribute_is_enotty(machine: Machine, mount: Mount) -> None:
    with at(mount(machine), f"{ZONE}/name").open("rb") as file:
        assert errno_of(fcntl.ioctl, file, 0x5401, bytes(64)) == ENOTTY
