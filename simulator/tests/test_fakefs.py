# SPDX-License-Identifier: Apache-2.0
# Programs ask in every way there is, and pyfakefs fakes each by itself:
# ruff: noqa: PTH102, PTH104, PTH108, PTH110, PTH115, PTH116, PTH121, PTH123, PTH207, PTH208, PTH211
"""A machine in pyfakefs: what a program finds there is what it would find in a real /sys, at the same call."""

import errno
import glob
import io
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyfakefs.fake_filesystem import FakeFilesystem
from pyfakefs.fake_filesystem_unittest import Patcher
from pyfakefs.helpers import set_gid, set_uid

from raplica_simulator.fake_machine import FakeMachine
from raplica_simulator.testing import fake_machine, powercap_fakefs

POWERCAP = "/sys/class/powercap"
ENERGY = f"{POWERCAP}/intel-rapl:0/energy_uj"
LIMIT = f"{POWERCAP}/intel-rapl:0/constraint_0_power_limit_uw"
WATT = 1_000_000


@pytest.fixture
def machine() -> FakeMachine:
    return fake_machine("skylake-sp-2s", load={"package": 100})


@pytest.fixture
def fs(machine: FakeMachine) -> Iterator[FakeFilesystem]:
    with powercap_fakefs(machine) as filesystem:
        yield filesystem


def read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


@pytest.mark.usefixtures("fs")
def test_every_open_reads_a_fresh_value_and_so_does_going_back_to_the_start(machine: FakeMachine) -> None:
    with open(ENERGY, encoding="utf-8") as file:
        first = int(file.read())
        machine.step(1)
        file.seek(0)
        second = int(file.read())
    machine.step(1)
    assert second - first == pytest.approx(100 * WATT, abs=1000)
    assert int(read(ENERGY)) - second == pytest.approx(100 * WATT, abs=1000)


@pytest.mark.usefixtures("fs")
def test_who_reads_byte_by_byte_gets_one_number(machine: FakeMachine) -> None:
    whole = machine.sysfs.read(ENERGY)
    with open(ENERGY, "rb", buffering=0) as file:
        letters = []
        while letter := file.read(1):
            letters.append(letter)
            machine.step(1)
    assert b"".join(letters) == whole


@pytest.mark.usefixtures("fs")
def test_links_modes_sizes_and_owners_are_those_of_the_kernel() -> None:
    assert (
        os.readlink(f"{POWERCAP}/intel-rapl:0:0")
        == "../../devices/virtual/powercap/intel-rapl/intel-rapl:0/intel-rapl:0:0"
    )
    assert os.path.realpath(ENERGY) == "/sys/devices/virtual/powercap/intel-rapl/intel-rapl:0/energy_uj"
    status = os.stat(ENERGY)
    assert (status.st_mode, status.st_size, status.st_uid) == (0o100400, 4096, os.getuid())
    assert len({os.stat(path).st_ino for path in glob.glob(f"{POWERCAP}/*/name")}) == 4
    assert os.path.samefile(f"{POWERCAP}/intel-rapl/intel-rapl:0", f"{POWERCAP}/intel-rapl:0")


def test_directories_list_in_the_order_of_the_kernel(machine: FakeMachine, fs: FakeFilesystem) -> None:
    fs.shuffle_listdir_results = False
    assert os.listdir(POWERCAP) == machine.sysfs.listdir(POWERCAP)
    zone = f"{POWERCAP}/intel-rapl:0"
    assert [entry.name for entry in os.scandir(zone)] == machine.sysfs.listdir(zone)
    assert [path.name for path in Path(zone).iterdir()] == machine.sysfs.listdir(zone)
    assert sum(len(files) for _, _, files in os.walk("/sys/devices/virtual")) > 50


@pytest.mark.usefixtures("fs")
@pytest.mark.parametrize(
    "write",
    [
        lambda: Path(LIMIT).write_text("90000000", encoding="ascii"),
        lambda: Path(LIMIT).write_bytes(b"90000000\n"),
        lambda: print(90000000, file=open(LIMIT, "w", encoding="ascii", buffering=1)),  # noqa: SIM115
        lambda: print(90000000, file=open(LIMIT, "a", encoding="ascii", buffering=1)),  # noqa: SIM115
        lambda: os.write(os.open(LIMIT, os.O_WRONLY), b"90000000"),
        lambda: open(LIMIT, "r+b", buffering=0).write(b"90000000"),  # noqa: SIM115
    ],
)
def test_a_write_ends_in_the_register(machine: FakeMachine, write: Callable[[], object]) -> None:
    write()
    assert machine.msr.read(0, 0x610) & 0x7FFF == 90 * 8
    assert read(LIMIT) == "90000000\n"


@pytest.mark.usefixtures("fs")
def test_several_writes_to_a_buffered_file_are_one_value(machine: FakeMachine) -> None:
    with open(LIMIT, "w", encoding="ascii") as file:
        print(80, end="", file=file)
        print("000000", file=file)
        assert machine.msr.read(0, 0x610) & 0x7FFF != 80 * 8
        file.flush()
        assert machine.msr.read(0, 0x610) & 0x7FFF == 80 * 8
    assert read(LIMIT) == "80000000\n"


@pytest.mark.usefixtures("fs")
@pytest.mark.parametrize(
    ("number", "call"),
    [
        (errno.EACCES, lambda: open(ENERGY, "w", encoding="ascii")),  # noqa: SIM115
        (errno.EACCES, lambda: open(f"{POWERCAP}/new", "w", encoding="ascii")),  # noqa: SIM115
        (errno.EISDIR, lambda: open(f"{POWERCAP}/intel-rapl:0", "rb")),  # noqa: SIM115
        (errno.ENOENT, lambda: os.stat(f"{POWERCAP}/intel-rapl:7")),
        (errno.ENOTDIR, lambda: os.listdir(ENERGY)),
        (errno.EPERM, lambda: os.mkdir(f"{POWERCAP}/new")),
        (errno.EPERM, lambda: os.symlink("a", f"{POWERCAP}/new")),
        (errno.EPERM, lambda: os.unlink(ENERGY)),
        (errno.EPERM, lambda: os.unlink(f"{POWERCAP}/intel-rapl:0")),
        (errno.EPERM, lambda: shutil.rmtree(POWERCAP)),
        (errno.EINVAL, lambda: Path(LIMIT).write_text("much", encoding="ascii")),
        (errno.EINVAL, lambda: os.lseek(os.open(ENERGY, os.O_RDONLY), -1, os.SEEK_SET)),
        (errno.EINVAL, lambda: os.lseek(os.open("/proc/cpuinfo", os.O_RDONLY), 0, os.SEEK_END)),
    ],
)
def test_what_is_refused_is_refused_with_the_errno_of_sysfs(number: int, call: Callable[[], object]) -> None:
    with pytest.raises(OSError) as refused:  # noqa: PT011
        call()
    assert errno.errorcode[refused.value.errno or 0] == errno.errorcode[number]


@pytest.mark.usefixtures("fs")
def test_an_error_comes_at_the_call_at_which_the_kernel_raises_it(machine: FakeMachine) -> None:
    machine.fault(ENERGY, errno="ENODATA", times=1)
    with open(ENERGY, encoding="utf-8") as file:
        with pytest.raises(OSError, match=r"^\[Errno 61\] No data available$"):
            file.read()
        assert int(file.read()) > 0
    machine.fault(ENERGY, "open", errno.EIO)
    with pytest.raises(OSError, match=rf"^\[Errno 5\] Input/output error: '{ENERGY}'$"):
        read(ENERGY)
    machine.heal(ENERGY)
    machine.fault(LIMIT, "write", "EIO", after=1)
    with pytest.raises(OSError, match=r"^\[Errno 5\]"), open(LIMIT, "w", encoding="ascii") as file:  # noqa: PT012
        file.write("90000000")
        file.flush()
        file.write("80000000")
    assert file.closed
    machine.heal(LIMIT)
    assert read(LIMIT) == "90000000\n"


@pytest.mark.usefixtures("fs")
def test_what_goes_is_gone_by_path_and_nodev_for_who_holds_it(machine: FakeMachine) -> None:
    zone = f"{POWERCAP}/intel-rapl:1"
    with open(f"{zone}/energy_uj", "rb", buffering=0) as file:
        machine.do("offline", package=1)
        assert not os.path.exists(zone)
        with pytest.raises(OSError, match="No such device"):
            file.read()
    assert not os.path.exists("/dev/cpu/20")
    machine.driver.unload()
    assert not os.path.exists("/sys/devices/virtual/powercap")
    assert os.listdir(POWERCAP) == []


@pytest.mark.usefixtures("fs")
def test_registers_are_read_and_written_through_the_device(machine: FakeMachine) -> None:
    descriptor = os.open("/dev/cpu/0/msr", os.O_RDWR)
    os.lseek(descriptor, 0x606, os.SEEK_SET)
    assert [os.read(descriptor, 8), os.read(descriptor, 8)] == [machine.msr.read(0, 0x606).to_bytes(8, "little")] * 2
    os.lseek(descriptor, 4, os.SEEK_CUR)
    with pytest.raises(OSError, match="Input/output error"):
        os.read(descriptor, 8)
    os.lseek(descriptor, 0x610, os.SEEK_SET)
    os.write(descriptor, (0x8000 | 60 * 8).to_bytes(8, "little"))
    os.close(descriptor)
    assert read(LIMIT) == "60000000\n"


@pytest.mark.usefixtures("fs")
def test_processors_are_counted_in_cpuinfo_and_switched_in_sys() -> None:
    def processors() -> int:
        return read("/proc/cpuinfo").count("processor\t:")

    before = processors()
    Path("/sys/devices/system/cpu/cpu3/online").write_text("0", encoding="ascii")
    assert processors() == before - 1
    assert not os.path.exists("/dev/cpu/3/msr")


@pytest.mark.usefixtures("fs")
def test_others_than_the_owner_are_refused_what_the_kernel_gives_to_root() -> None:
    set_uid(4711)
    set_gid(4711)
    assert read(f"{POWERCAP}/intel-rapl:0/name") == "package-0\n"
    for path in (ENERGY, "/dev/cpu/0/msr"):
        with pytest.raises(PermissionError):
            open(path, "rb").close()


def test_a_test_puts_files_of_its_own_beside_the_machines(fs: FakeFilesystem) -> None:
    fs.create_file("/sys/class/thermal/thermal_zone0/temp", contents="41000\n")
    fs.create_file("/dev/null2")
    assert read("/sys/class/thermal/thermal_zone0/temp") == "41000\n"
    assert sorted(os.listdir("/sys/class")) == ["powercap", "thermal"]
    shutil.rmtree("/sys/class/thermal")
    assert os.listdir("/sys/class") == ["powercap"]
    with pytest.raises(PermissionError):
        os.rename(POWERCAP, "/sys/class/other")


def test_what_was_in_the_fake_file_system_before_is_there_again_afterwards(machine: FakeMachine) -> None:
    with powercap_fakefs("zen4"):
        assert os.path.exists("/sys/class/powercap/intel-rapl:0")
        assert not os.path.exists(__file__)
    assert os.path.exists(__file__)
    with Patcher() as patcher:
        assert patcher.fs is not None
        patcher.fs.create_file("/sys/class/thermal/x", contents="1")
        with powercap_fakefs(machine, patcher.fs):
            assert sorted(os.listdir("/sys/class")) == ["powercap", "thermal"]
        assert os.listdir("/sys/class") == ["thermal"]
        assert not os.path.exists("/proc/cpuinfo")


@pytest.mark.usefixtures("fs")
def test_python_files_behave_as_over_a_real_descriptor() -> None:
    with open(LIMIT, "r+", encoding="ascii") as file:
        assert (file.readable(), file.writable(), file.seekable(), file.mode) == (True, True, True, "r+")
        assert list(file) == ["150000000\n"]
        assert file.tell() == 10
        file.seek(0)
        assert next(file) == "150000000\n"
        assert file.fileno() > 2
        file.truncate(0)
        file.truncate()
    assert file.closed
    file.close()
    with pytest.raises(ValueError, match="closed file"):
        file.read()
    with open(LIMIT, "rb") as only_read, pytest.raises(io.UnsupportedOperation):
        only_read.write(b"1")
    with pytest.raises(ValueError, match="unbuffered"):
        open(LIMIT, buffering=0, encoding="ascii").close()
    descriptor = os.open(LIMIT, os.O_RDONLY)
    with os.fdopen(descriptor, closefd=False) as borrowed:
        assert borrowed.read() == "150000000\n"
    os.lseek(descriptor, 0, os.SEEK_SET)
    assert os.read(descriptor, 3) == b"150"
    assert os.fstat(descriptor).st_size == 4096
    os.close(descriptor)


def test_pyfakefs_own_look_at_a_file_is_a_read(machine: FakeMachine, fs: FakeFilesystem) -> None:
    assert fs.resolve(ENERGY).contents == machine.sysfs.read(ENERGY).decode()
    assert len(fs.get_object("/sys").entries) == len(os.listdir("/sys"))
    shutil.copy(f"{POWERCAP}/intel-rapl:0/name", "/tmp/name")
    assert read("/tmp/name") == "package-0\n"


def test_without_pyfakefs_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch, machine: FakeMachine) -> None:
    monkeypatch.delitem(sys.modules, "raplica_simulator.surfaces.fakefs", raising=False)
    monkeypatch.setitem(sys.modules, "pyfakefs", None)
    with pytest.raises(ImportError, match=r"^pyfakefs is not installed: pip install 'raplica\[pytest\]'$"):
        powercap_fakefs(machine).__enter__()


def answer(call: Callable[..., object], *arguments: object) -> object:
    """What a call gives, or its errno."""
    try:
        return call(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno or 0]


CALLS = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(0, 12)),
        st.tuples(st.just("seek"), st.integers(-1, 12)),
        st.tuples(st.just("write"), st.sampled_from([b"90000000", b"150000000\n", b"x", b"-1", b""])),
    ),
    max_size=8,
)


@pytest.fixture(scope="module")
def shared() -> Iterator[FakeMachine]:
    with fake_machine("kabylake") as machine, powercap_fakefs(machine):
        yield machine


@given(CALLS, st.sampled_from([os.O_RDONLY, os.O_WRONLY, os.O_RDWR]))
def test_whatever_is_called_the_answers_are_those_of_a_descriptor_on_sysfs(
    shared: FakeMachine, calls: list[tuple[str, int | bytes]], flags: int
) -> None:
    fake, real = os.open(LIMIT, flags), shared.sysfs.open(LIMIT, flags)
    for name, value in calls:
        if isinstance(value, bytes):
            assert answer(os.write, fake, value) == answer(real.write, value)
        elif name == "read":
            assert answer(os.read, fake, value) == answer(real.read, value)
        else:
            moved, wanted = answer(os.lseek, fake, value, os.SEEK_SET), answer(real.lseek, value)
            assert moved == wanted or (moved is None and value >= 0), "pyfakefs' lseek gives no position"
    os.close(fake)
