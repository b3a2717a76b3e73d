# SPDX-License-Identifier: Apache-2.0
"""Every clause judges a machine on a mount exactly as it judges the same machine in process, to the word.

Once by the subject of ``--tree --live``, which shows what it can, and once by one that shows everything through the
mount: it writes, opens as nobody, and asks for registers where ``rdmsr`` would.  RAPLICA_MOUNT_PARITY=all takes every
built-in machine.
"""

import ctypes
import os
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

import pytest

from raplica_conformance.clause import load_clauses
from raplica_conformance.clauses._reading import AUXILIARY
from raplica_conformance.judge import judge
from raplica_conformance.subject import Mode, Stat, User
from raplica_conformance.subjects.files import FileTree
from raplica_conformance.subjects.simulator import SimulatedMachine, SimulatedTree
from raplica_conformance.subjects.tree import LiveTree
from raplica_fixtures import profile_ids
from raplica_simulator import Machine, Profile
from raplica_simulator.live.machine import LiveMachine
from raplica_simulator.surfaces.fuse import FuseMount

pytestmark = pytest.mark.usefixtures("mounts")

LIBC = ctypes.CDLL(None)
FLAGS = {"r": os.O_RDONLY, "w": os.O_WRONLY}
UIDS = {"root": 0, "nobody": 65534}

# What stands behind a tree is not to be seen in it. This one calls itself intel-rapl as the kernel's page does, no
# driver made it, and where the page differs from every driver a judge who has only the tree has to say so.
NO_DRIVER = "kernel-doc-example"
UNLIKE_A_DRIVER = {
    "rapl.constraint.files",
    "rapl.range.whole-counter",
    "rapl.subzone.limits",
    "rapl.window.whole-steps",
    "rapl.zone.no-power",
}

SEVERAL = [("baytrail", "6.1")]
ALL = [pair for pair in product(profile_ids(), ("6.1", "6.12")) if pair[0] != NO_DRIVER]
CASES = ALL if os.environ.get("RAPLICA_MOUNT_PARITY") == "all" else SEVERAL

Show = Callable[[Machine], FuseMount]
Answer = TypeVar("Answer")


@pytest.fixture
def show(tmp_path: Path) -> Iterator[Show]:
    """Mount machines, one after the other, on the same folder."""
    mounts: list[FuseMount] = []

    def mount(machine: Machine) -> FuseMount:
        for before in mounts:
            before.close()
        mounts[:] = [FuseMount(LiveMachine(machine), tmp_path / "m", allow_other=True)]
        return mounts[0]

    yield mount
    for last in mounts:
        last.close()


class MountedTree(SimulatedTree):
    """The provider of one machine, through its mount."""

    def __init__(self, profile: Profile, kernel: str, name: str, show: Show) -> None:
        super().__init__(profile, kernel, name)
        self._mount = show(self.machine)
        self._files = FileTree(f"{self._mount.directory}/sys")

    def listdir(self, path: str) -> list[str]:
        # The machine's tree holds powercap alone, on a mount as in process.
        return super().listdir(path) if path == AUXILIARY else self._files.listdir(path)

    def readlink(self, path: str) -> str:
        return self._files.readlink(path)

    def stat(self, path: str) -> Stat:
        return self._files.stat(path)

    def read(self, path: str) -> bytes:
        return self._files.read(path)

    def write(self, path: str, data: bytes) -> int:
        self.touched = True
        return self._at(self._files.inside(path), os.O_WRONLY, lambda file: os.write(file, data))

    def open_errno(self, path: str, mode: Mode, user: User) -> int:
        # From the root of the mount, since nobody may look into the folders above it.
        root = os.open(self._files.root, os.O_PATH)
        # Of this thread only; with it go the capabilities that open files.
        LIBC.setfsuid(UIDS[user])
        try:
            os.close(os.open(path, FLAGS[mode], dir_fd=root))
        except OSError as error:
            return error.errno or 0
        finally:
            LIBC.setfsuid(0)
            os.close(root)
        return 0

    def msr_read(self, cpu: int, register: int) -> int:
        read = self._at(self._device(cpu), os.O_RDONLY, lambda device: os.pread(device, 8, register))
        return int.from_bytes(read, "little")

    def msr_write(self, cpu: int, register: int, value: int) -> None:
        self.touched = True
        word = value.to_bytes(8, "little")
        assert self._at(self._device(cpu), os.O_WRONLY, lambda device: os.pwrite(device, word, register)) == 8

    def cpus(self) -> list[int]:
        return sorted(int(path.name) for path in Path(self._mount.directory, "dev/cpu").iterdir())

    def advance(self, nanoseconds: int) -> None:
        with self._mount.held():
            super().advance(nanoseconds)

    def _device(self, cpu: int) -> Path:
        return Path(self._mount.directory, f"dev/cpu/{cpu}/msr")

    def _at(self, path: Path, flags: int, call: Callable[[int], Answer]) -> Answer:
        file = os.open(path, flags)
        try:
            return call(file)
        finally:
            os.close(file)


class MountedMachine(SimulatedMachine):
    """A machine that every clause meets on a mount."""

    def __init__(self, machine: str, kernel: str, show: Show) -> None:
        super().__init__(machine, kernel)
        self._show = show

    def anew(self) -> SimulatedTree:
        return MountedTree(self.profile, self._version, self.name, self._show)


def judged(subject: Any) -> dict[str, tuple[str, str]]:
    """Verdict and reason by clause; a reason names the places in a tree, wherever that is."""
    clauses = (clause for clause in load_clauses().values() if clause.kind == "provider")
    return {clause.id: (verdict.verdict, verdict.reason) for clause in clauses for verdict in [judge(clause, subject)]}


def seen_from_outside(machine: str, kernel: str, show: Show) -> tuple[dict[str, Any], dict[str, Any]]:
    """The verdicts of ``--tree --live``, and those in process of a subject that promises no more."""
    inside = SimulatedMachine(machine, kernel)
    mount = show(Machine.from_profile(inside.profile, kernel=kernel))
    outside = LiveTree(f"{mount.directory}/sys", inside.kernel)
    inside.can = outside.can
    return judged(outside), judged(inside)


@pytest.mark.untraced  # test_clauses_machines.py shows it
@pytest.mark.parametrize(("machine", "kernel"), CASES)
def test_a_mount_is_judged_exactly_as_the_machine_in_process(machine: str, kernel: str, show: Show) -> None:
    outside, inside = seen_from_outside(machine, kernel, show)
    assert outside == inside
    assert {verdict for verdict, _ in outside.values()} == {"pass", "not-applicable"}


@pytest.mark.untraced  # test_clauses_machines.py shows it
def test_a_tree_that_no_driver_made_is_judged_by_what_it_calls_itself(show: Show) -> None:
    outside, inside = seen_from_outside(NO_DRIVER, "6.12", show)
    assert {name for name, (verdict, _) in outside.items() if verdict == "fail"} == UNLIKE_A_DRIVER
    # In process the profile says that no driver made it, and whatever else it is judged by it meets there and here.
    untold = "intel-rapl of this subject is composed: no driver of that name made it"
    apart = {name for name, said in outside.items() if said != inside[name]}
    assert apart == {name for name, said in inside.items() if said == ("not-applicable", untold)}


@pytest.mark.untraced  # test_clauses_machines.py shows it
@pytest.mark.parametrize(("machine", "kernel"), ALL if CASES is ALL else [("baytrail", "6.12")])
def test_what_is_written_and_who_may_open_is_judged_through_a_mount_too(machine: str, kernel: str, show: Show) -> None:
    through, inside = judged(MountedMachine(machine, kernel, show)), judged(SimulatedMachine(machine, kernel))
    assert through == inside
    assert {verdict for verdict, _ in through.values()} == {"pass", "not-applicable"}
