# SPDX-License-Identifier: Apache-2.0
"""Random system calls on a mount give what the machine in process gives, and what recordings say of all other calls.

The calls are made by another process (odd_calls.py): one that does not come back is ended, and is a failure.
"""

import os
from collections.abc import Callable
from contextlib import ExitStack, closing
from errno import EACCES, EFBIG, EINVAL, EISDIR, ENODEV, ENOTTY, EPERM
from functools import partial
from typing import Any, NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from raplica_simulator import Machine
from raplica_simulator.linux.msr_dev import MsrModule
from raplica_simulator.linux.msr_file import MsrFile
from raplica_simulator.linux.sysfs_file import Handle

from .odd_caller import (
    ACCESS,
    ATTRIBUTES,
    CLASS,
    FOLDERS,
    MACHINE,
    MORE_FLAGS,
    ON_ATTRIBUTE,
    PLACES,
    TEXTS,
    ZONE,
    Caller,
    shown,
)

pytestmark = [
    pytest.mark.usefixtures("mounts"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root is refused nothing but what the file itself refuses"),
]

WRITABLE = [path for path in ATTRIBUTES if path.endswith(("enabled", "limit_uw", "window_us", "uevent", "control"))]
ON_FOLDER = ON_ATTRIBUTE | {"rmdir": {"errno": EPERM}, "unlink": {"errno": EISDIR}}
MADE_BESIDE = ("mkdir", "mknod", "create", "symlink")
REAL_FOLDERS = ["class", CLASS, f"{ZONE}/power", "devices/virtual/powercap", "devices/virtual/powercap/intel-rapl"]

# Where a file of sysfs ends for good; lseek goes further on a mount, so no seek here comes near.
MOST_OFFSET = (1 << 31) - 1
LENGTHS = st.one_of(st.integers(-1, 5000), st.sampled_from([MOST_OFFSET, MOST_OFFSET + 1, 1 << 62]))
REGISTERS = [0x10, 0x606, 0x610, 0x611, 0x613, 0x614, 0x619, 0x639, 0xC0010299, 0x611 + (1 << 32)]
SIZES = st.one_of(st.integers(0, 20), st.integers(0, 10_000))
OFFSETS = st.one_of(st.integers(0, 20), st.integers(-1, 10_000), st.just(MOST_OFFSET))


def answer(call: Callable[[], object]) -> object:
    """What a call in process gives, as the other process says it."""
    try:
        found = call()
    except OSError as error:
        return {"errno": error.errno}
    if isinstance(found, bytes):
        return found.hex()
    if isinstance(found, os.stat_result):
        return [found.st_mode, found.st_nlink, found.st_uid, found.st_gid, found.st_size, found.st_blocks]
    return found


class Opened(NamedTuple):
    """A descriptor of the other process, what it is in the model, and how it was opened."""

    number: int
    handle: Handle
    flags: int

    @property
    def is_folder(self) -> bool:
        return bool(self.handle.fstat().st_mode & 0o040000)

    @property
    def is_dead(self) -> bool:
        return answer(lambda: self.handle.lseek(0, os.SEEK_CUR)) == {"errno": ENODEV}

    @property
    def access(self) -> int:
        return self.flags & os.O_ACCMODE


class MountBesideModel(RuleBasedStateMachine):
    """Two machines that are told the same: one is read through a mount, the other in process."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Machine.from_profile(MACHINE)
        self.mounted = Machine.from_profile(MACHINE)
        self.opened: list[Opened] = []
        self.devices: list[tuple[int, MsrFile]] = []
        self.is_loaded = True
        self.stack = ExitStack()

    @initialize()
    def begin(self) -> None:
        self.mount, self.troubles = self.stack.enter_context(shown(self.mounted))
        self.caller = self.stack.enter_context(closing(Caller(f"{self.mount.directory}/sys")))
        self.module = MsrModule(self.model)

    def teardown(self) -> None:
        with self.stack:
            if hasattr(self, "caller"):
                self.same("list", CLASS, model=lambda: self.model.sysfs.listdir(CLASS))
                assert self.troubles == []

    def same(self, name: str, where: str | int, *arguments: object, model: Callable[[], object]) -> Any:
        """Make a call on both; they are to say the same."""
        got, wanted = self.caller.call(name, where, *arguments), answer(model)
        assert got == wanted, (name, where, arguments)
        return got

    def one(self, which: int) -> Opened:
        return self.opened[which % len(self.opened)]

    # By path.

    @rule(path=st.sampled_from(PLACES), flags=st.sampled_from(ACCESS), more=st.sampled_from(MORE_FLAGS))
    def open_in_some_way(self, path: str, flags: int, more: int) -> None:
        self.open(path, flags | more)

    @rule(path=st.sampled_from(ATTRIBUTES), flags=st.sampled_from(ACCESS))
    def open_attribute(self, path: str, flags: int) -> None:
        self.open(path, flags)

    @rule(path=st.sampled_from(WRITABLE))
    def open_for_writing(self, path: str) -> None:
        self.open(path, os.O_RDWR)

    @rule(path=st.sampled_from(FOLDERS))
    def open_folder(self, path: str) -> None:
        self.open(path, os.O_RDONLY | os.O_DIRECTORY)

    def open(self, path: str, flags: int) -> None:
        got = self.caller.call("open", path, flags)
        handle: list[Handle] = []
        wanted = answer(lambda: handle.append(self.model.sysfs.open(path, flags)))
        assert (None if isinstance(got, int) else got) == wanted, (path, flags, got)
        if handle:
            self.opened.append(Opened(got, handle[0], flags))

    @rule(path=st.sampled_from(PLACES))
    def look(self, path: str) -> None:
        self.same("lstat", path, model=lambda: self.model.sysfs.stat(path))
        self.same("readlink", path, model=lambda: self.model.sysfs.readlink(path))
        self.same("list", path, model=lambda: self.model.sysfs.listdir(path))

    @rule(path=st.sampled_from(ATTRIBUTES), mode=st.sampled_from([0o400, 0o444, 0o600, 0o644, 0o666, 0]))
    def chmod(self, path: str, mode: int) -> None:
        self.same("chmod", path, mode, model=lambda: self.model.sysfs.chmod(path, mode))

    @rule(
        path=st.sampled_from(ATTRIBUTES + FOLDERS), owner=st.sampled_from([0, 1000, -1]), group=st.sampled_from([5, -1])
    )
    def chown(self, path: str, owner: int, group: int) -> None:
        self.same("chown", path, owner, group, model=lambda: self.model.sysfs.chown(path, owner, group))

    @rule(path=st.sampled_from(ATTRIBUTES + REAL_FOLDERS), name=st.sampled_from(sorted(ON_ATTRIBUTE)))
    def odd_call(self, path: str, name: str) -> None:
        # What is made lies beside it: whether it is there itself does not count then.
        where = path.rpartition("/")[0] or "." if name in MADE_BESIDE else path
        there = answer(lambda: self.model.sysfs.stat(where))
        wanted = there if isinstance(there, dict) else (ON_ATTRIBUTE if path in ATTRIBUTES else ON_FOLDER)[name]
        assert self.caller.call(name, path) == wanted, (name, path)

    @rule(path=st.sampled_from(ATTRIBUTES), length=LENGTHS)
    def truncate(self, path: str, length: int) -> None:
        there = answer(lambda: self.model.sysfs.stat(path))
        wanted = {"errno": EINVAL} if length < 0 else there if isinstance(there, dict) else too_long(length)
        assert self.caller.call("truncate", path, length) == wanted, (path, length)

    # On a descriptor.

    @precondition(lambda self: self.opened)
    @rule(which=st.integers(0), size=SIZES, offset=OFFSETS)
    def pread(self, which: int, size: int, offset: int) -> None:
        file = self.one(which)
        self.same("pread", file.number, size, offset, model=lambda: file.handle.pread(size, offset))

    @precondition(lambda self: self.opened)
    @rule(which=st.integers(0), sizes=st.lists(SIZES, min_size=1, max_size=3))
    def read(self, which: int, sizes: list[int]) -> None:
        file = self.one(which)
        for size in sizes:
            self.same("read", file.number, size, model=partial(file.handle.read, size))

    @precondition(lambda self: self.opened)
    @rule(which=st.integers(0), data=st.sampled_from(TEXTS), offset=OFFSETS)
    def pwrite(self, which: int, data: bytes, offset: int) -> None:
        file = self.one(which)
        # No bytes for what has gone is ENODEV in sysfs, and nothing that a mount is asked about.
        if data or not file.is_dead:
            self.same("pwrite", file.number, data.hex(), offset, model=lambda: file.handle.pwrite(data, offset))

    @precondition(lambda self: self.opened)
    @rule(which=st.integers(0), data=st.sampled_from(TEXTS))
    def write(self, which: int, data: bytes) -> None:
        file = self.one(which)
        if data or not file.is_dead:
            self.same("write", file.number, data.hex(), model=lambda: file.handle.write(data))

    @precondition(lambda self: self.opened)
    @rule(which=st.integers(0), offset=st.integers(-5000, 10_000), whence=st.integers(0, 5))
    def lseek(self, which: int, offset: int, whence: int) -> None:
        file = self.one(which)
        # In a folder the position is a place in the listing; what has gone cannot say so to every lseek.
        if not file.is_folder and not file.is_dead:
            self.same("lseek", file.number, offset, whence, model=lambda: file.handle.lseek(offset, whence))

    @precondition(lambda self: self.opened)
    @rule(which=st.integers(0))
    def ask(self, which: int) -> None:
        file = self.one(which)
        self.same("fstat", file.number, model=file.handle.fstat)
        if file.is_folder:
            self.same("listdir", file.number, model=file.handle.listdir)
        else:
            self.same("poll", file.number, model=file.handle.poll)
            readable = file.access in (os.O_RDONLY, os.O_RDWR)
            assert self.caller.call("mmap", file.number) == {"errno": ENODEV if readable else EACCES}
        assert self.caller.call("ioctl", file.number, 0x5401) == {"errno": ENOTTY}

    @precondition(lambda self: self.opened)
    @rule(which=st.integers(0), length=LENGTHS)
    def ftruncate(self, which: int, length: int) -> None:
        file = self.one(which)
        writable = file.access in (os.O_WRONLY, os.O_RDWR)
        wanted = too_long(length) if writable and length >= 0 else {"errno": EINVAL}
        assert self.caller.call("ftruncate", file.number, length) == wanted, (file, length)

    @precondition(lambda self: self.opened)
    @rule(which=st.integers(0))
    def close(self, which: int) -> None:
        file = self.opened.pop(which % len(self.opened))
        self.same("close", file.number, model=file.handle.close)

    # A device.

    @rule(cpu=st.integers(0, 2), access=st.sampled_from(ACCESS))
    def open_device(self, cpu: int, access: int) -> None:
        got = self.caller.call("open", f"../dev/cpu/{cpu}/msr", access)
        assert isinstance(got, int)
        self.devices.append((got, self.module.device(cpu).open(access)))

    @precondition(lambda self: self.devices)
    @rule(which=st.integers(0), size=SIZES, register=st.sampled_from(REGISTERS))
    def read_register(self, which: int, size: int, register: int) -> None:
        number, device = self.devices[which % len(self.devices)]
        self.same("pread", number, size, register, model=lambda: device.pread(size, register))

    @precondition(lambda self: self.devices)
    @rule(which=st.integers(0), data=st.binary(min_size=1, max_size=24), register=st.sampled_from(REGISTERS))
    def write_register(self, which: int, data: bytes, register: int) -> None:
        number, device = self.devices[which % len(self.devices)]
        self.same("pwrite", number, data.hex(), register, model=lambda: device.pwrite(data, register))

    # What happens to the machine.

    @rule(milliseconds=st.integers(1, 100_000))
    def time_goes_by(self, milliseconds: int) -> None:
        self.both(lambda machine: machine.clock.advance(nanoseconds=milliseconds * 10**6))

    @precondition(lambda self: self.is_loaded)
    @rule(comes_back=st.sampled_from([True, True, False]))
    def the_driver_goes(self, *, comes_back: bool) -> None:
        self.both(lambda machine: machine.driver.unload())
        self.is_loaded = False
        if comes_back:
            self.the_driver_comes()

    @precondition(lambda self: not self.is_loaded)
    @rule()
    def the_driver_comes(self) -> None:
        self.both(lambda machine: machine.driver.load())
        self.is_loaded = True

    @precondition(lambda self: self.is_loaded)
    @rule(path=st.sampled_from(ATTRIBUTES), on=st.sampled_from(["open", "read", "write"]), after=st.integers(0, 2))
    def something_breaks(self, path: str, on: str, after: int) -> None:
        self.both(lambda machine: machine.sysfs.inject(path, on=on, errno=EINVAL, after=after, times=2))

    def both(self, change: Callable[[Machine], object]) -> None:
        change(self.model)
        with self.mount.held() as machine:
            change(machine)


def too_long(length: int) -> object:
    """What truncating to a length gives: nothing changes, and no file of sysfs is longer than 2 GiB."""
    return {"errno": EFBIG} if length > MOST_OFFSET else None


@pytest.mark.slow
def test_calls_in_any_order_give_what_the_model_gives() -> None:
    few = settings(settings.get_profile("raplica"), max_examples=12, stateful_step_count=60)
    run_state_machine_as_test(MountBesideModel, settings=few)
