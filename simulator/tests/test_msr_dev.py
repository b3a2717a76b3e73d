# SPDX-License-Identifier: Apache-2.0
"""/dev/cpu/N/msr: the device as an object, and the same on a mount, by one table."""

import fcntl
import os
import select
import stat
import struct
import subprocess
import sys
from collections.abc import Callable
from errno import EACCES, EBADF, EINVAL, EIO, ENOTDIR, ENOTTY, ENXIO, EPERM
from pathlib import Path

import pytest

from raplica_simulator import Machine
from raplica_simulator.linux.msr_dev import MsrDevice, MsrModule
from raplica_simulator.linux.msr_file import RDMSR_REGS, WRMSR_REGS
from raplica_simulator.live.machine import LiveMachine
from raplica_simulator.surfaces.fuse import FuseMount

LIMIT = 0x610
ENERGY = 0x611
ABSENT = 0x999
WORDS = struct.Struct("<8I")
DROP_RAWIO = "import ctypes, os, sys; ctypes.CDLL(None).prctl(24, 17, 0, 0, 0); os.execvp(sys.argv[1], sys.argv[1:])"


class Door:
    """One open device, by its object or by a descriptor on a mount."""

    def __init__(self, live: LiveMachine, mount: FuseMount | None, flags: int = os.O_RDWR, cpu: int = 0) -> None:
        self.mounted = mount is not None
        if mount is None:
            file = live.msr_module.device(cpu).open(flags)
            self.pread, self.pwrite, self.lseek = file.pread, file.pwrite, file.lseek
            self.read, self.write, self.close = file.read, file.write, file.close
            self.ioctl, self.poll = file.ioctl, file.poll
            return
        number = os.open(f"{mount.directory}/dev/cpu/{cpu}/msr", flags)
        self.pread = lambda size, offset: os.pread(number, size, offset)
        self.pwrite = lambda data, offset: os.pwrite(number, data, offset)
        self.lseek = lambda offset, whence=os.SEEK_SET: os.lseek(number, offset, whence)
        self.read = lambda size=8: os.read(number, size)
        self.write = lambda data: os.write(number, data)
        self.close = lambda: os.close(number)
        self.ioctl = lambda command, data: fcntl.ioctl(number, command, data)
        self.poll = lambda: poll(number)


def poll(descriptor: int) -> int:
    asked = select.poll()
    asked.register(descriptor, select.POLLIN | select.POLLOUT | select.POLLPRI)
    return asked.poll(0)[0][1]


@pytest.fixture
def live(make_machine: Callable[..., Machine]) -> LiveMachine:
    """Two packages of two cores, with rules of silicon and nothing that moves."""
    where = {"package.1": {ENERGY: 0x111}}
    return LiveMachine(make_machine("skylake-sp", rules="silicon", topology=(2, 1, 2, 1), where=where))


@pytest.fixture(params=["object", "mount"])
def door(request: pytest.FixtureRequest, live: LiveMachine) -> Callable[..., Door]:
    """Open the device of a processor, by each of the two ways."""
    shown = request.getfixturevalue("mount")(live) if request.param == "mount" else None
    return lambda flags=os.O_RDWR, cpu=0: Door(live, shown, flags, cpu)


def errno_of(call: Callable[..., object], *arguments: object) -> int:
    try:
        call(*arguments)
    except OSError as error:
        return error.errno or 0
    return 0


def word(value: int) -> bytes:
    return value.to_bytes(8, "little")


def test_a_register_is_read_at_its_own_offset(door: Callable[..., Door], live: LiveMachine) -> None:
    file = door()
    assert file.pread(8, ENERGY) == word(live.machine.msr.read(0, ENERGY))
    assert file.pread(8, 0x606) == word(0xA0E03)
    file.lseek(ENERGY)
    assert file.read(8) == word(live.machine.msr.read(0, ENERGY))


@pytest.mark.pitfall("msr-device-reads-one-register")
def test_a_longer_read_gives_the_same_register_again(door: Callable[..., Door]) -> None:
    file = door()
    assert file.pread(16, 0x606) == 2 * word(0xA0E03)
    assert len(file.pread(4096, 0x606)) == 4096
    assert file.pread(0, ABSENT) == b""


@pytest.mark.pitfall("msr-device-errnos")
@pytest.mark.parametrize(
    ("size", "offset", "errno"),
    [
        (4, ENERGY, EINVAL),
        (12, ENERGY, EINVAL),
        (7, ABSENT, EINVAL),
        (8, ABSENT, EIO),
        (16, ABSENT, EIO),
        (8, -1, EINVAL),
        (8, 0x1_0000_0611, 0),
        (8, 0xC0010299, EIO),
        (8, 0xFFFF_FFFF, EIO),
        (8, (1 << 62) + ENERGY, 0),
    ],
)
def test_reads_fail_as_the_devices_do(door: Callable[..., Door], size: int, offset: int, errno: int) -> None:
    assert errno_of(door().pread, size, offset) == errno


@pytest.mark.parametrize(
    ("data", "offset", "errno"),
    [
        (b"\0" * 4, LIMIT, EINVAL),
        (b"\0" * 12, LIMIT, EINVAL),
        (b"\0" * 8, ABSENT, EIO),
        (word(0), 0x606, EIO),  # read-only
        (word(0), ENERGY, EIO),
        (word(1 << 62), LIMIT, EIO),  # a reserved bit
        (word(0x00428440001B83E8), LIMIT, 0),
        (word(0x00428440001B83E8), 0x1_0000_0000 + LIMIT, 0),
        (word(0), -8, EINVAL),
    ],
)
def test_writes_fail_as_the_devices_do(door: Callable[..., Door], data: bytes, offset: int, errno: int) -> None:
    assert errno_of(door().pwrite, data, offset) == errno


def test_a_write_reaches_the_register_and_every_face_of_it(door: Callable[..., Door], live: LiveMachine) -> None:
    file = door()
    assert file.pwrite(word(0x00428440001B8320), LIMIT) == 8
    assert live.machine.msr.read(0, LIMIT) == 0x00428440001B8320
    assert live.machine.msr.read(1, LIMIT) == 0x00428440001B8320
    assert live.machine.msr.read(2, LIMIT) != 0x00428440001B8320
    path = "class/powercap/intel-rapl:0/constraint_0_power_limit_uw"
    assert live.machine.sysfs.read(path) == b"100000000\n"
    # The words of one write go to the same register, and the last one stays.
    assert file.pwrite(word(0x00428440001B8321) + word(0x00428440001B8322), LIMIT) == 16
    assert file.pread(8, LIMIT) == word(0x00428440001B8322)


def test_what_was_done_before_a_fault_counts(door: Callable[..., Door], live: LiveMachine) -> None:
    good, reserved = word(0x00428440001B8320), word(1 << 62)
    file = door()
    assert file.pwrite(good + reserved + good, LIMIT) == 8
    assert live.machine.msr.read(0, LIMIT) == 0x00428440001B8320
    assert errno_of(file.pwrite, reserved + good, LIMIT) == EIO


@pytest.mark.parametrize(("cpu", "package"), [(0, 0), (1, 0), (2, 1), (3, 1)])
def test_each_device_reads_the_registers_of_its_own_processor(
    door: Callable[..., Door], live: LiveMachine, cpu: int, package: int
) -> None:
    assert door(cpu=cpu).pread(8, ENERGY) == word(live.machine.msr.read(2 * package, ENERGY))


@pytest.mark.parametrize("whence", [os.SEEK_END, os.SEEK_DATA, os.SEEK_HOLE])
def test_there_is_no_end_to_seek_from(door: Callable[..., Door], whence: int) -> None:
    assert errno_of(door().lseek, 0, whence) == EINVAL


def test_the_position_can_be_set_and_moved_but_not_below_0(door: Callable[..., Door]) -> None:
    file = door()
    assert file.lseek(LIMIT) == LIMIT
    assert file.lseek(1, os.SEEK_CUR) == ENERGY
    assert errno_of(file.lseek, -1) == EINVAL
    assert errno_of(file.lseek, -ENERGY - 1, os.SEEK_CUR) == EINVAL


def test_the_position_stays_where_it_is(live: LiveMachine) -> None:
    with live.msr_module.device(0).open(os.O_RDWR) as file:
        file.lseek(0x606)
        assert file.read(8) == file.read(16)[:8] == word(0xA0E03)
        file.lseek(LIMIT)
        file.write(word(0x00428440001B8320))
        assert file.offset == LIMIT
        assert file.read() == word(0x00428440001B8320)


def test_a_descriptor_does_only_what_it_was_opened_for(door: Callable[..., Door]) -> None:
    assert errno_of(door(os.O_RDONLY).pwrite, word(0), LIMIT) == EBADF
    assert errno_of(door(os.O_WRONLY).pread, 8, LIMIT) == EBADF


def test_the_ioctls_read_and_write_one_register(door: Callable[..., Door], live: LiveMachine) -> None:
    file = door()
    asked = WORDS.pack(1, LIMIT, 2, 3, 4, 5, 6, 7)
    value = live.machine.msr.read(0, LIMIT)
    said = WORDS.unpack(file.ioctl(RDMSR_REGS, asked))
    assert said == (value & 0xFFFFFFFF, LIMIT, value >> 32, 3, 4, 5, 6, 7)
    file.ioctl(WRMSR_REGS, WORDS.pack(0x001B8320, LIMIT, 0x00428440, 0, 0, 0, 0, 0))
    assert live.machine.msr.read(0, LIMIT) == 0x00428440001B8320
    assert errno_of(file.ioctl, RDMSR_REGS, WORDS.pack(0, ABSENT, 0, 0, 0, 0, 0, 0)) == EIO
    assert errno_of(file.ioctl, 0x5401, bytes(64)) == ENOTTY
    assert errno_of(door(os.O_WRONLY).ioctl, RDMSR_REGS, asked) == EBADF
    assert errno_of(door(os.O_RDONLY).ioctl, WRMSR_REGS, asked) == EBADF
    live.msr_module.allow_writes = "off"
    assert errno_of(file.ioctl, WRMSR_REGS, asked) == EPERM


def test_it_can_always_be_read_and_written_says_poll(door: Callable[..., Door]) -> None:
    assert door().poll() == select.POLLIN | select.POLLOUT


def test_writing_switched_off_beats_everything_else(door: Callable[..., Door], live: LiveMachine) -> None:
    live.msr_module.allow_writes = "off\n"
    file = door()
    before = live.machine.msr.read(0, LIMIT)
    assert errno_of(file.pwrite, word(0), LIMIT) == EPERM
    assert errno_of(file.pwrite, b"123", LIMIT) == EPERM
    assert errno_of(file.pwrite, word(0), ABSENT) == EPERM
    if not file.mounted:
        assert errno_of(file.pwrite, b"", LIMIT) == EPERM
    assert live.machine.msr.read(0, LIMIT) == before
    assert not live.msr_module.tainted


def test_a_locked_down_kernel_lets_read_and_not_write(door: Callable[..., Door], live: LiveMachine) -> None:
    live.msr_module.lockdown = True
    file = door()
    assert file.pread(8, 0x606) == word(0xA0E03)
    assert errno_of(file.pwrite, word(0), LIMIT) == EPERM


@pytest.mark.parametrize(
    ("said", "reads"), [("on", "on"), (" off\n", "off"), ("default", "default"), ("ON", "default"), ("", "default")]
)
def test_the_parameter_knows_three_words(live: LiveMachine, said: str, reads: str) -> None:
    live.msr_module.allow_writes = said
    assert live.msr_module.allow_writes == reads


@pytest.mark.pitfall("msr-writes-taint")
def test_a_write_taints_and_is_logged_once_in_half_a_minute(live: LiveMachine) -> None:
    module, clock = live.msr_module, live.machine.clock
    limit = word(live.machine.msr.read(0, LIMIT))
    with module.device(0).open(os.O_RDWR, pid=7) as file, module.device(1).open(os.O_RDWR) as other:
        file.pread(8, LIMIT)
        assert (module.tainted, module.log) == (False, [])
        file.pwrite(limit, LIMIT)
        other.pwrite(limit, LIMIT)
        clock.advance(seconds=29)
        file.pwrite(limit, LIMIT)
        assert [tuple(line) for line in module.log] == [(0, LIMIT, 7)]
        clock.advance(seconds=1)
        file.pwrite(limit, LIMIT)
        assert len(module.log) == 2
        module.allow_writes = "on"
        clock.advance(seconds=60)
        file.pwrite(limit, LIMIT)
    assert len(module.log) == 2
    assert module.tainted


def test_it_cannot_be_read_past_the_kernels_memory(door: Callable[..., Door]) -> None:
    assert errno_of(door, os.O_RDONLY | os.O_DIRECT) == EINVAL


def test_only_root_with_the_capability_opens_it(live: LiveMachine) -> None:
    device = live.msr_module.device(0)
    assert errno_of(device.open, os.O_RDONLY, 1000) == EACCES
    with pytest.raises(OSError, match="permitted") as refused:
        device.open(rawio=False)
    assert (refused.value.errno, refused.value.filename) == (EPERM, "dev/cpu/0/msr")
    assert errno_of(device.open, os.O_RDONLY | os.O_DIRECTORY) == ENOTDIR


def test_without_the_capability_the_mount_refuses_to_open_too(
    live: LiveMachine, mount: Callable[..., FuseMount]
) -> None:
    path = f"{mount(live).directory}/dev/cpu/0/msr"
    command = [sys.executable, "-I", "-S", "-c", DROP_RAWIO, "dd", f"if={path}", "bs=8", "count=1", "status=none"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})
    assert done.returncode == 1
    assert "Operation not permitted" in done.stderr


def test_a_processor_that_goes_down_takes_its_device_along(live: LiveMachine) -> None:
    machine, module = live.machine, live.msr_module
    device = module.device(3)
    with device.open() as file:
        machine.cpu(3).offline()
        assert module.online() == [0, 1, 2]
        assert errno_of(file.pread, 8, 0x606) == ENXIO
        assert errno_of(device.open) == ENXIO
        machine.cpu(3).online()
        assert file.pread(8, 0x606) == word(0xA0E03)


def test_a_processor_that_goes_down_goes_from_the_mount(live: LiveMachine, mount: Callable[..., FuseMount]) -> None:
    shown = mount(live)
    cpus = Path(shown.directory) / "dev/cpu"
    held = os.open(cpus / "3/msr", os.O_RDONLY)
    with shown.held() as machine:
        machine.cpu(3).offline()
    assert sorted(path.name for path in cpus.iterdir()) == ["0", "1", "2"]
    assert not (cpus / "3").exists()
    assert errno_of(os.open, f"{cpus}/3/msr", os.O_RDONLY) == 2
    assert errno_of(os.pread, held, 8, 0x606) == ENXIO
    with shown.held() as machine:
        machine.cpu(3).online()
    assert os.pread(held, 8, 0x606) == word(0xA0E03)
    os.close(held)
    descriptor = os.open(cpus / "3/msr", os.O_RDONLY)
    assert os.pread(descriptor, 8, 0x606) == word(0xA0E03)
    os.close(descriptor)


def test_on_a_mount_it_is_a_file_of_root_and_nobody_else(live: LiveMachine, mount: Callable[..., FuseMount]) -> None:
    shown = mount(live, allow_other=os.geteuid() == 0)
    found = Path(f"{shown.directory}/dev/cpu/0/msr").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_size) == (0o600, 0, 0)
    assert stat.S_ISREG(found.st_mode)


def test_an_object_says_what_the_node_would_show(live: LiveMachine) -> None:
    found = live.msr_module.device(2).stat()
    assert (found.st_mode, found.st_rdev) == (stat.S_IFCHR | 0o600, os.makedev(202, 2))
    with live.msr_module.device(2).open() as file:
        assert file.fstat() == found
    assert errno_of(file.fstat) == EBADF
    assert errno_of(file.read) == EBADF


def test_a_device_can_be_had_without_a_module_of_ones_own(live: LiveMachine) -> None:
    with MsrDevice(live.machine, 1).open() as file:
        assert file.pread(8, 0x606) == word(0xA0E03)
    with pytest.raises(ValueError, match="there is no CPU 4"):
        MsrDevice(live.machine, 4)
    assert MsrModule(live.machine).is_online(4) is False
