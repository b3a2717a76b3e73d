# SPDX-License-Identifier: Apache-2.0
"""What the tests of this component share: harness clauses, a bare subject, a small written tree, a patient machine."""

import errno
import json
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from raplica_conformance.clause import Clause, clause, expect, not_applicable, skip
from raplica_conformance.record.places import Places
from raplica_conformance.subject import CLASS, DEVICES, CannotTell, Crashed, readable
from raplica_conformance.subjects.disk import Lock
from raplica_conformance.subjects.guarded import GuardedMachine
from raplica_conformance.subjects.host import CpuFacts, Place
from raplica_conformance.subjects.putback import restore
from raplica_conformance.subjects.simulator import SimulatedMachine, SimulatedTree
from raplica_simulator.surfaces.fuse_mounting import obstacle


@dataclass
class Bare:
    """A subject that can do nothing, which is enough for clauses that look at nothing."""

    name: str = "bare"
    kernel: str | None = None
    can: frozenset[str] = frozenset()
    kind: str = "provider"
    arguments: tuple[str, ...] = field(default=("--tree", "/some where"))


@pytest.fixture(scope="session")
def mounts() -> None:
    """Skip where nothing can be mounted, saying why; RAPLICA_FUSE=required makes that a failure."""
    reason = obstacle() or ("only root can look at files as nobody" if os.geteuid() else None)
    if reason is not None and os.environ.get("RAPLICA_FUSE") == "required":
        pytest.fail(f"RAPLICA_FUSE=required, and nothing can be mounted here: {reason}")
    elif reason is not None:
        pytest.skip(f"nothing can be mounted here: {reason}")


@pytest.fixture
def bare() -> type[Bare]:
    return Bare


def _pass(_subject: object) -> None:
    expect(1, 1, "one is one")


def _fail(_subject: object) -> None:
    expect(1, 2, "one is\ntwo")


def _skip(_subject: object) -> None:
    skip("not today")


def _not_applicable(_subject: object) -> None:
    not_applicable("not here")


def _crash(_subject: object) -> None:
    raise ZeroDivisionError("division\nby zero")


def _exit(_subject: object) -> None:
    raise SystemExit(0)


def _hang(_subject: object) -> None:
    while True:
        try:
            time.sleep(3600)
        except Exception:  # noqa: BLE001, S112 - a clause that swallows everything must end as well
            continue


def _spin(_subject: object) -> None:
    while True:
        pass


def _empty(_subject: object) -> None:
    pass


def _cannot_tell(_subject: object) -> None:
    raise CannotTell(0, "an empty file")


def _oops(_subject: object) -> None:
    raise Crashed("divide error")


def _reader(_subject: object) -> None:
    expect("reader", "reader", "it is one")


HARNESS: tuple[tuple[str, Callable[[object], None], dict[str, Any]], ...] = (
    ("pass", _pass, {}),
    ("fail", _fail, {"threads": ("https://example.org/thread/1",)}),
    ("skip", _skip, {"level": "should"}),
    ("not-applicable", _not_applicable, {"level": "may"}),
    ("crash", _crash, {}),
    ("exit", _exit, {}),
    ("hang", _hang, {}),
    ("spin", _spin, {}),
    ("empty", _empty, {}),
    ("cannot-tell", _cannot_tell, {}),
    ("oops", _oops, {}),
    ("needs", _pass, {"needs": ("msr", "writable")}),
    ("reader", _reader, {"kind": "reader"}),
)


#: Harness clauses that never end; their limit is short, that of all others is one which no busy machine reaches.
HANGING = frozenset({"selftest.hang", "selftest.spin"})


def _limit_s(clause_id: str) -> float:
    return 0.05 if clause_id in HANGING else 60.0


@pytest.fixture
def limit_of() -> Callable[[str], float]:
    """The seconds that fit a harness clause, by its id."""
    return _limit_s


def _harness_clauses() -> dict[str, Clause]:
    registry: dict[str, Clause] = {}
    for name, function, options in HARNESS:
        title = f"The harness clause {name}."
        metadata = {"level": "must", "title": title, "group": "selftest", "source": "nowhere", **options}
        clause(f"selftest.{name}", registry=registry, **metadata)(function)
    return registry


@pytest.fixture
def harness() -> dict[str, Clause]:
    """Clauses that pass, fail, skip, crash and hang: what the harness itself is tested with."""
    return _harness_clauses()


ZONES = {
    "intel-rapl:0": {"name": "package-0\n", "max_energy_range_uj": "262143328850\n", "energy_uj": "1000\n"},
    "intel-rapl:0:0": {"name": "core\n", "max_energy_range_uj": "262143328850\n", "energy_uj": ""},
}


def _write_tree(root: Path) -> Path:
    top = root / "devices/virtual/powercap/intel-rapl"
    listed = root / "class/powercap"
    listed.mkdir(parents=True)
    for directory in (top, top / "power"):
        directory.mkdir(parents=True)
    (top / "enabled").write_text("1\n")
    (top / "uevent").write_text("")
    (listed / "intel-rapl").symlink_to("../../devices/virtual/powercap/intel-rapl")
    for name, files in ZONES.items():
        below = "intel-rapl:0/" if name.count(":") > 1 else ""
        zone = top / f"{below}{name}"
        (zone / "power").mkdir(parents=True)
        for file, text in files.items():
            (zone / file).write_text(text)
            (zone / file).chmod(0o400 if file == "energy_uj" else 0o444)
        (zone / "constraint_0_name").write_text("long_term\n")
        (zone / "constraint_1_power_limit_uw").write_text("1\n")
        (listed / name).symlink_to(f"../../devices/virtual/powercap/intel-rapl/{below}{name}")
    return root


@pytest.fixture
def written_tree(tmp_path: Path) -> Path:
    """A /sys root with one package and its core, whose energy could not be read."""
    return _write_tree(tmp_path / "sys")


def _copy(tree: SimulatedTree, root: Path, directory: str) -> None:
    (root / directory).mkdir(parents=True)
    for name in tree.listdir(directory):
        path = f"{directory}/{name}"
        entry = tree.stat(path)
        if entry.kind == "dir":
            _copy(tree, root, path)
        elif entry.kind == "link":
            (root / path).symlink_to(tree.readlink(path))
        else:
            (root / path).write_bytes(readable(tree, path) or b"")
            (root / path).chmod(entry.mode)


@pytest.fixture
def right_tree(tmp_path: Path) -> Path:
    """Kaby Lake on Linux 6.12 as a directory, with nothing wrong."""
    tree = SimulatedMachine("kabylake", "6.12").fresh()
    for top in (CLASS, DEVICES):
        _copy(tree, tmp_path / "right", top)
    return tmp_path / "right"


class Killed(BaseException):
    """What a dead process meets at every change that it would have made."""


class Patient:
    """A simulated machine in the place of a real one: the tree, the host and the disk of a run that writes.

    Every change to it counts in `changes`; from number `stop` on nothing is done any more, as after SIGKILL. `watch`
    is called before each change. `msr` is 0 where the msr device can be written, else the errno that meets a write.
    """

    journal = Path("/journal/writes.journal")

    def __init__(self, machine: str, kernel: str = "6.12", *, msr: int = 0, stop: int | None = None) -> None:
        self.tree = SimulatedMachine(machine, kernel).anew()
        # What a real machine can show.
        self.tree.can = frozenset({"content", "errno", "modes", "links", "order", "size", "live", "root", "nobody"})
        self.machine = self.tree.machine
        self.files: dict[Path, bytes] = {}
        self.boot = "3d0c9a4e-0000-4000-8000-000000000001"
        self.msr = msr
        self.stop = stop
        self.changes = 0
        self.watch: Callable[[str, Any], None] = lambda _what, _detail: None
        self.said: list[str] = []
        profile = self.machine.profile
        self.facts = CpuFacts(profile.cpu.id.vendor, profile.cpu.id.family, profile.cpu.id.model, profile.cpu.flags)

    def guarded(self, *, wild: bool = False) -> GuardedMachine:
        """The subject of a run."""
        return GuardedMachine(self.tree, self, self, self.journal, wild=wild, say=self.said.append)

    def restore(self) -> tuple[int, list[str]]:
        """`conformance restore`, in a process of its own: it is not dead."""
        self.stop = None
        return restore(self.journal, self.tree, self, self)

    def registers(self) -> dict[tuple[int, int], int]:
        """Every register of the first CPU of each core, counters as well: no time passes.

        Those of the host bridge and of TPMI stand where no CPU is: at -1, -2 and so on for each package.
        """
        first = {cpu.core_index: cpu.number for cpu in reversed(self.machine.profile.topology.cpus)}
        return {
            (cpu, address): self.machine.msr.read(cpu, address)
            for cpu in sorted(first.values())
            for address in self.machine.msr.addresses(cpu)
        } | {
            (-1 - package, address): words.read(address, package)
            for words in (self.machine.mmio, self.machine.tpmi)
            for package in words.packages()
            for address in words.addresses(package)
        }

    def poke(self, place: tuple[int, int], raw: int) -> None:
        """Let a register of `registers` hold this."""
        owner, address = place
        if owner >= 0:
            self.machine.msr.poke(owner, address, raw)
        else:
            words = self.machine.tpmi if self.machine.tpmi.packages() else self.machine.mmio
            words.poke(address, raw, -1 - owner)

    def _change(self, what: str, detail: Any) -> None:
        self.changes += 1
        if self.stop is not None and self.changes > self.stop:
            raise Killed
        self.watch(what, detail)

    # The machine.

    def write(self, path: str, data: bytes) -> int:
        self._change("write", (path, data))
        return self.tree.write(path, data)

    def write_refusal(self, path: str) -> int:
        return self.tree.open_errno(path, "w", "root")

    def msr_read(self, cpu: int, register: int) -> int:
        if self.msr == errno.ENOENT:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), f"/dev/cpu/{cpu}/msr")
        return self.machine.msr.read(cpu, register)

    def msr_write(self, cpu: int, register: int, value: int) -> None:
        if self.msr:
            raise OSError(self.msr, os.strerror(self.msr), f"/dev/cpu/{cpu}/msr")
        self._change("wrmsr", (cpu, register, value))
        self.machine.msr.write(cpu, register, value)

    def msr_refusal(self, cpu: int, register: int) -> int:
        del cpu, register
        return self.msr

    def boot_id(self) -> str:
        return self.boot

    def cpu_facts(self) -> CpuFacts:
        return self.facts

    def places(self) -> dict[int, Place]:
        """As the kernel numbers them: Linux 6.1 counts the dies of each package from 0, 6.12 through."""
        topology = self.machine.profile.topology
        through = self.machine.kernel.version != "6.1"
        return {
            cpu.number: Place(cpu.package, topology.die_number(cpu.package, cpu.die) if through else cpu.die)
            for cpu in topology.cpus
            if self.machine.cpu(cpu.number).is_online
        }

    # The disk.

    def make_folder(self, folder: Path) -> None:
        assert folder == self.journal.parent

    def load(self, path: Path) -> bytes | None:
        return self.files.get(path)

    def replace(self, path: Path, data: bytes) -> None:
        self._change("replace", data)
        self.files[path] = data

    def extend(self, path: Path, offset: int, data: bytes) -> None:
        self._change("extend", data)
        self.files[path] = self.files[path][:offset] + data

    def remove(self, path: Path) -> None:
        self._change("remove", path)
        self.files.pop(path, None)

    def lock(self, folders: Iterable[Path]) -> Lock:
        assert list(folders) == [self.journal.parent]
        return Lock([])


@pytest.fixture
def signal_handlers() -> Iterator[None]:
    """A run that is killed in a test takes none of the signal handlers along."""
    taken = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in taken]
    yield
    for number, handler in zip(taken, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def patient() -> type[Patient]:
    """A machine that is written to and gets well again."""
    return Patient


@pytest.fixture(scope="session")
def killed() -> type[Killed]:
    return Killed


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, and programs before all others; the drivers go home, and the test comes back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let a driver hear lines on its stdin, like `asked("start", "sample")`."""

    def ask(*what: str) -> None:
        monkeypatch.setattr("sys.stdin", StringIO("".join(json.dumps({"do": one}) + "\n" for one in what)))

    return ask


@pytest.fixture
def places(tmp_path: Path) -> Places:
    for name in ("sys", "dev", "proc"):
        (tmp_path / name).mkdir()
    return Places(tmp_path / "sys", tmp_path / "dev", tmp_path / "proc", own=True)
