# SPDX-License-Identifier: Apache-2.0
"""Random system calls on a mount give what the machine in process gives, and what recordings say of all other calls.

The calls are made by another process (odd_calls.py): one that does not come back is ended, and is a failure.
"""

import json
import os
import random
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from errno import EACCES, ECONNABORTED, EFBIG, EINVAL, EISDIR, ENODEV, ENOTCONN, ENOTDIR, ENOTTY, EOPNOTSUPP, EPERM
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from raplica_simulator import Machine
from raplica_simulator.linux.msr_dev import MsrModule
from raplica_simulator.linux.msr_file import MsrFile
from raplica_simulator.linux.sysfs_file import Handle
from raplica_simulator.live.machine import LiveMachine
from raplica_simulator.surfaces.fuse import FuseMount

pytestmark = [
    pytest.mark.usefixtures("mounts"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root is refused nothing but what the file itself refuses"),
]

PROGRAM = Path(__file__).with_name("odd_calls.py")
NOT_BACK_S = 60
MACHINE = "kabylake"

CLASS = "class/powercap"
ZONE = f"{CLASS}/intel-rapl:0"
ATTRIBUTES = [
    f"{ZONE}/{name}"
    for name in ("energy_uj", "max_energy_range_uj", "name", "enabled", "uevent", "power/control", "constraint_0_name")
] + [f"{ZONE}/constraint_{n}_{name}" for n in (0, 1) for name in ("power_limit_uw", "time_window_us", "max_power_uw")]
ATTRIBUTES += [f"{ZONE}:0/energy_uj", f"{ZONE}/intel-rapl:0:1/name", f"{CLASS}/intel-rapl/enabled"]
FOLDERS = [".", "class", CLASS, ZONE, f"{ZONE}/power", "devices/virtual/powercap/intel-rapl", f"{CLASS}/intel-rapl"]
MISSING = [f"{ZONE}/nothing", f"{ZONE}/name/below", f"{CLASS}/intel-rapl:9/name", f"{CLASS}/dtpm"]
WRITABLE = [path for path in ATTRIBUTES if path.endswith(("enabled", "limit_uw", "window_us", "uevent", "control"))]
PLACES = ATTRIBUTES + FOLDERS + MISSING

ACCESS = [os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_ACCMODE]
MORE_FLAGS = [
    0,
    os.O_TRUNC,
    os.O_CREAT,
    os.O_CREAT | os.O_EXCL,
    os.O_DIRECTORY,
    os.O_NOFOLLOW,
    os.O_DIRECT,
    os.O_NONBLOCK,
]
TEXTS = [
    b"",
    b"1\n",
    b"0",
    b"90000000\n",
    b"0x10",
    b"-1",
    b"28000000\n",
    b"auto\n",
    b"on",
    b"1" * 30,
    bytes(5000),
    b" 7",
]
# What recordings say of calls that the model has no door for, on an attribute and on a directory.
ON_ATTRIBUTE: dict[str, object] = {
    **{name: {"errno": EPERM} for name in ("unlink", "mkdir", "mknod", "rename", "link", "symlink")},
    **{name: {"errno": EOPNOTSUPP} for name in ("setxattr", "removexattr")},
    "rmdir": {"errno": ENOTDIR},
    "create": {"errno": EACCES},
    "listxattr": [],
    "statvfs": 255,
    "utime": None,
}
ON_FOLDER = ON_ATTRIBUTE | {"rmdir": {"errno": EPERM}, "unlink": {"errno": EISDIR}}
MADE_BESIDE = ("mkdir", "mknod", "create", "symlink")
REAL_FOLDERS = ["class", CLASS, f"{ZONE}/power", "devices/virtual/powercap", "devices/virtual/powercap/intel-rapl"]
# Where a file of sysfs ends for good; lseek goes further on a mount, so no seek here comes near.
MOST_OFFSET = (1 << 31) - 1
LENGTHS = st.one_of(st.integers(-1, 5000), st.sampled_from([MOST_OFFSET, MOST_OFFSET + 1, 1 << 62]))
REGISTERS = [0x10, 0x606, 0x610, 0x611, 0x613, 0x614, 0x619, 0x639, 0xC0010299, 0x611 + (1 << 32)]
SIZES = st.one_of(st.integers(0, 20), st.integers(0, 10_000))
OFFSETS = st.one_of(st.integers(0, 20), st.integers(-1, 10_000), st.just(MOST_OFFSET))


class Caller:
    """The other process."""

    def __init__(self, root: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", PROGRAM, root],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def call(self, name: str, where: str | int, *arguments: object) -> Any:
        """Make one call: what it gave, `{"errno": N}` for an error; it fails when the call does not come back."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([name, where, *arguments]) + "\n")
        self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], NOT_BACK_S)[0]:
            self._process.kill()
            pytest.fail(f"{name} on {where} {arguments} has not come back in {NOT_BACK_S} s")
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


@contextmanager
def shown(machine: Machine) -> Iterator[tuple[FuseMount, list[str]]]:
    """A mount of a machine, and what it could tell nobody."""
    troubles: list[str] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        FuseMount(LiveMachine(machine), f"{folder}/m", troubles=troubles.append) as mount,
    ):
        yield mount, troubles


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
        return bool(self.handle.poll() & select.POLLERR)

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


def any_call(chance: random.Random, opened: list[int]) -> list[object]:
    """One call of any kind, on a path or on something opened before, with whatever arguments."""
    path = chance.choice([*PLACES, "../dev/cpu/0/msr", "../dev/cpu", "../.."])
    size, offset = chance.choice([0, 1, 8, 4096, 1 << 20]), chance.choice([0, 1, 0x611, 4096, 1 << 40])
    on_path: list[list[object]] = [
        ["open", path, chance.choice(ACCESS) | chance.choice(MORE_FLAGS)],
        ["truncate", path, offset],
        ["chmod", path, chance.choice([0o400, 0o644])],
    ]
    on_path += [[name, path] for name in (*ON_ATTRIBUTE, "list", "lstat", "readlink")]
    if path.endswith(("/..", "../dev/cpu")) or not opened or chance.random() < 0.4:
        # Not above the mount: that is the host's.
        return chance.choice(on_path) if not path.endswith("/..") else ["lstat", path]
    file = chance.choice(opened)
    on_file: list[list[object]] = [
        ["pread", file, size, offset],
        ["read", file, size],
        ["readv", file, 1, size],
        ["pwrite", file, chance.choice(TEXTS).hex(), offset],
        ["lseek", file, offset, chance.randrange(6)],
        ["ftruncate", file, offset],
        ["ioctl", file, chance.choice([0x5401, 0x541B, 0x80086601])],
    ]
    on_file += [[name, file] for name in ("fstat", "poll", "fsync", "listdir", "mmap", "close")]
    return chance.choice(on_file)


def test_many_who_call_at_random_while_the_driver_goes_and_comes_hang_nobody() -> None:
    machine = Machine.from_profile(MACHINE)

    def call_much(seed: int, root: str) -> int:
        chance, opened = random.Random(seed), list[int]()  # noqa: S311 - the same calls at each run
        with closing(Caller(root)) as caller:
            for _ in range(150):
                name, where, *more = any_call(chance, opened)
                assert isinstance(where, str | int)
                got = caller.call(str(name), where, *more)
                if name == "open" and isinstance(got, int):
                    opened.append(got)
                elif name == "close":
                    opened.remove(int(where))
        return seed

    with shown(machine) as (mount, troubles), ThreadPoolExecutor(4) as callers:
        running = [callers.submit(call_much, seed, f"{mount.directory}/sys") for seed in range(4)]
        while not all(one.done() for one in running):
            for change in (machine.driver.unload, machine.driver.load):
                with mount.held():
                    change()
                time.sleep(0.005)
        assert [one.result() for one in running] == [0, 1, 2, 3]
        with closing(Caller(f"{mount.directory}/sys")) as caller:
            assert caller.call("list", CLASS) == machine.sysfs.listdir(CLASS)
            text = Machine.from_profile(MACHINE).sysfs.read(f"{ZONE}/name")
            assert caller.call("read", caller.call("open", f"{ZONE}/name", os.O_RDONLY), 100) == text.hex()
        assert troubles == []


def test_a_mount_that_many_keep_reading_ends_all_the_same(tmp_path: Path) -> None:
    program = (
        "import os, sys\n"
        "file = os.open(sys.argv[1], os.O_RDONLY)\n"
        "print(flush=True)\n"
        "try:\n"
        "    while os.pread(file, 100, 0): pass\n"
        "except OSError as error:\n"
        "    print(error.errno, flush=True)\n"
        "os._exit(0)\n"  # what is open there can no longer be closed in peace
    )
    with ExitStack() as stack:
        mount = FuseMount(LiveMachine(Machine.from_profile(MACHINE)), tmp_path / "m")
        stack.callback(mount.close)
        command = [sys.executable, "-I", "-S", "-c", program, f"{mount.directory}/sys/{ZONE}/energy_uj"]
        readers = [stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True)) for _ in range(4)]
        for reader in readers:
            assert reader.stdout is not None
            reader.stdout.readline()
        ending = Thread(target=mount.close, daemon=True)
        ending.start()
        ending.join(NOT_BACK_S)
        ended = not ending.is_alive()
        if not ended:
            for reader in readers:
                reader.kill()
        assert ended
        said = {int(reader.communicate(timeout=NOT_BACK_S)[0]) for reader in readers}
        assert said <= {ENOTCONN, ECONNABORTED}
