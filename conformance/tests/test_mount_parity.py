# SPDX-License-Identifier: Apache-2.0
"""What unmodified kernels were seen to do, done again by real system calls on a mounted machine.

Every tree entry, read and write of some recordings, and every odd system call: the witness's own code makes them, as it
did in the virtual machine, and gets what it got there.  RAPLICA_MOUNT_PARITY=all takes every recording.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import select
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kernel_witness.guest import calls
from raplica_fixtures import recording_paths
from raplica_fixtures.recording import (
    Calls,
    Crash,
    Framework,
    Read,
    Recording,
    Step,
    TreeStep,
    Write,
    is_powercap,
    load_recording,
)
from raplica_simulator import Machine, load_profile
from raplica_simulator.live.machine import LiveMachine
from raplica_simulator.replay.player import _Player
from raplica_simulator.surfaces.fuse import FuseMount

pytestmark = pytest.mark.usefixtures("mounts")

LIBC = ctypes.CDLL(None)

# What FUSE cannot give, by the name of the call or fact.
NOT_POSSIBLE = {
    "f_type": "a mount says that it is FUSE",
    "lseek": "from the start of a file it never reaches the server: on what has gone it succeeds, on 6.12 it is ENODEV",
}


# What a mount adds to a machine is the same for all recordings, and the large ones take half a minute each: of every
# kind the smallest, or all of them with RAPLICA_MOUNT_PARITY=all.
KINDS: list[str] = [f"{driven} on {kernel}" for driven in ("driver", "framework") for kernel in ("6.1", "6.12")]
KINDS.append("odd calls on a driver")
CASES = recording_paths() if os.environ.get("RAPLICA_MOUNT_PARITY") == "all" else KINDS


@functools.cache
def kinds(path: Path) -> set[str]:
    """What a recording has to offer."""
    recording = load_recording(path)
    steps = {type(step) for step in recording.steps}
    driven = "framework" if Framework in steps else "driver"
    return {f"{driven} on {recording.kernel}"} | ({f"odd calls on a {driven}"} if Calls in steps else set())


def smallest(kind: str) -> Path:
    """The smallest recording of a kind."""
    paths = sorted(recording_paths(), key=lambda path: (path.stat().st_size, path.name))
    return next(path for path in paths if kind in kinds(path))


class Descriptor:
    """What is open on the mount, as the replay uses a handle of the simulator."""

    def __init__(self, number: int) -> None:
        self.number = number

    def close(self) -> None:
        os.close(self.number)


class MountedSysfs:
    """The calls that a replay makes on a machine's sysfs, as system calls on its mount."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, path: str) -> bytes:
        with opened(self.root / path, os.O_RDONLY) as descriptor:
            return os.read(descriptor, 8192)

    def write(self, path: str, data: bytes) -> int:
        with opened(self.root / path, os.O_WRONLY) as descriptor:
            return os.write(descriptor, data)

    def open(self, path: str, flags: int, uid: int = 0) -> Descriptor:
        # From the root of the mount, since nobody may look into the folders above it.
        with opened(self.root, os.O_PATH) as root:
            # Of this thread only; with it go the capabilities that open files.
            LIBC.setfsuid(uid)
            try:
                return Descriptor(os.open(path, flags, dir_fd=root))
            finally:
                LIBC.setfsuid(0)

    def stat(self, path: str) -> os.stat_result:
        return os.lstat(self.root / path)

    def listdir(self, path: str) -> list[str]:
        return os.listdir(self.root / path)  # noqa: PTH208 - in the kernel's order

    def readlink(self, path: str) -> str:
        return os.readlink(self.root / path)  # noqa: PTH115 - as it is written


class MountedMachine:
    """A machine whose sysfs is its mount."""

    def __init__(self, machine: Machine, sysfs: MountedSysfs) -> None:
        self._machine = machine
        self.sysfs = sysfs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._machine, name)


class MountPlayer(_Player):
    """A replay on a mount, with the odd system calls made by the witness's code."""

    def __init__(self, machine: Machine, recording: Recording, mount: FuseMount) -> None:
        self._root = Path(mount.directory) / "sys"
        super().__init__(MountedMachine(machine, MountedSysfs(self._root)), recording)  # type: ignore[arg-type]
        self._mount = mount
        self._held: calls.Held | None = None

    def _do(self, step: Step) -> None:
        # Whatever the step before has changed, and not through the mount, is known to the kernel before anybody looks.
        with self._mount.held():
            pass
        if isinstance(step, Calls):
            self._call(step)
        else:
            super()._do(step)

    def _crash(self, step: Crash) -> None:
        if not is_powercap(step.path):
            super()._crash(step)
            return
        self._out.steps += 1
        writer = subprocess.run(
            ["dd", f"of={self._root / step.path}"], input=step.data, capture_output=True, check=False
        )
        if writer.returncode != -signal.SIGKILL:
            self._differ(f"write {step.data!r} to {step.path}", "ended who wrote", writer)

    def _call(self, step: Calls) -> None:
        path = f"{self._root}/{step.path}"
        match step.on:
            case "file":
                said = calls.calls_on_file(path) | more_on_file(path)
            case "directory":
                said = calls.calls_on_directory(path)
            case "hold":
                self._held = calls.Held(path)
                said = self._held.opened()
            case _:
                assert self._held is not None
                said = self._held.try_again()
        for name, wanted in {**step.calls, **step.facts}.items():
            if name in NOT_POSSIBLE and (name != "lseek" or wanted == -errno.ENODEV):
                self._out.left_out[name] += 1
                continue
            self._out.calls += 1
            got = plain(said.get(name))
            if name == "open_under_file" and got != wanted:
                # An older witness looked below energy_uj, which a control type does not have.
                got = plain(under(f"{path}/energy_uj/under"))
            if not agree(step.on, name, wanted, got):
                self._differ(f"{name} on {step.path or 'what was held open'}", wanted, got)


def agree(on: str, name: str, wanted: int | str, got: object) -> bool:
    """Whether an answer is the recorded one, less what is the witness's business."""
    if not isinstance(wanted, int):
        return got == wanted
    if not isinstance(got, int):
        return str(got) == str(wanted)
    if on == "hold" or (wanted >= 0 and name.startswith("open")):
        return got >= 0  # the number of a descriptor
    if on == "held" and name == "poll_revents":
        return got | select.POLLOUT == wanted | select.POLLOUT  # whether it asked for writing, too
    return got == (-abs(wanted) if name == "fallocate" else wanted)  # posix_fallocate returns an errno in C


def more_on_file(path: str) -> dict[str, object]:
    """What the witness asked besides."""
    found = os.statvfs(path)
    return {"statfs": {"ret": 0 * found.f_bsize}, "dev_major": os.major(Path(path).stat().st_dev)}


def under(path: str) -> dict[str, object]:
    """What opening gives where something lies below a file, or below nothing."""
    try:
        with opened(Path(path), os.O_RDONLY) as descriptor:
            return {"ret": descriptor}
    except OSError as error:
        return {"ret": -1, "errno": errno.errorcode[error.errno or 0]}


def plain(said: Any) -> object:
    """An answer as a recording has it: a count, minus an errno, or a fact."""
    if isinstance(said, dict):
        return said["ret"] if said["ret"] >= 0 else -getattr(errno, said["errno"])
    return said


@contextmanager
def opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def name_of(case: str | Path) -> str:
    return Path(case).name.removesuffix(".json.xz")


@pytest.mark.untraced  # test_fuse_random.py shows it
@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_a_mounted_machine_does_what_the_recorded_kernel_did(
    case: str | Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    path = case if isinstance(case, Path) else smallest(case)
    recording = load_recording(path)
    machine = Machine.from_profile(load_profile(path))
    machine.driver.unload()
    troubles: list[str] = []
    with FuseMount(LiveMachine(machine), tmp_path / "m", allow_other=True, troubles=troubles.append) as mount:
        result = MountPlayer(machine, recording, mount).play()
    assert [str(difference) for difference in result.differences] == []
    # Where the recorded kernel crashed, and nowhere else, whoever caused it is killed, and that is told.
    crashes = sum(isinstance(step, Crash) and is_powercap(step.path) for step in recording.steps)
    assert [line.partition(": ")[0] for line in troubles] == ["kernel crash"] * crashes

    steps = (step for step in recording.steps if isinstance(step, Read | Write | Crash))
    assert result.steps == sum(is_powercap(step.path) for step in steps)
    assert result.entries == sum(len(step.entries) for step in recording.steps if isinstance(step, TreeStep))
    odd = [step for step in recording.steps if isinstance(step, Calls)]
    asked: Counter[str] = Counter()
    for step in odd:
        asked.update([*step.calls, *step.facts])
    left_out = sum(result.left_out[name] for name in NOT_POSSIBLE)
    assert result.calls == sum(asked.values()) - left_out
    # Of thousands of answers these, and no others, are not compared.
    assert left_out <= asked["f_type"] + asked["lseek"]
    for name in ("entries", "steps", "calls"):
        record_property(name, getattr(result, name))
