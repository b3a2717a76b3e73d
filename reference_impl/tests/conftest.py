# SPDX-License-Identifier: Apache-2.0
"""Build powercap trees for the reader's tests, and show it simulated machines without a system call.

Trees are on disk as the kernel lays them out, and in memory for what a disk cannot show: errors on demand, hundreds of
thousands of zones. A machine's registers, perf events and processor files are handed to the reader in process.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from raplica_reader import Handle
from raplica_simulator import Machine
from raplica_simulator.linux.cpu_topology import CpuTopology
from raplica_simulator.linux.cpuinfo import Cpuinfo
from raplica_simulator.linux.perf_devices import PmuDevice
from raplica_simulator.linux.perf_power import power_pmus
from raplica_simulator.surfaces.fuse_mounting import obstacle

NOBODY = 65534
CPU = "devices/system/cpu/cpu"
PMUS = "bus/event_source/devices/"
FIRST_TYPE = 1000


class Tree:
    """A /sys root on disk: links in class/powercap, real directories below devices/virtual/powercap."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.links = root / "class/powercap"
        self.devices = root / "devices/virtual/powercap"
        self.links.mkdir(parents=True)

    def path(self, zone_id: str) -> Path:
        """Where the kernel puts a control type or a zone."""
        head, *numbers = zone_id.split(":")
        steps = [":".join([head, *numbers[:depth]]) for depth in range(len(numbers) + 1)]
        return self.devices.joinpath(*steps)

    def control_type(self, name: str) -> None:
        """Add a control type, if it is not there."""
        if not self.path(name).is_dir():
            self._directory(name)

    def zone(
        self,
        zone_id: str,
        name: str | bytes,
        energy_uj: int | None = 1_000_000,
        range_uj: int | None = 262_143_328_850,
        *,
        newline: bool = True,
    ) -> Path:
        """Add a zone; None leaves a file out."""
        self.control_type(zone_id.partition(":")[0])
        directory = self._directory(zone_id)
        (directory / "device").symlink_to(f"../../{directory.parent.name}")
        text = name if isinstance(name, bytes) else name.encode()
        self._attribute(directory, "name", text + b"\n" * newline, 0o444)
        if range_uj is not None:
            self._attribute(directory, "max_energy_range_uj", b"%d\n" % range_uj, 0o444)
        if energy_uj is not None:
            self._attribute(directory, "energy_uj", b"%d\n" % energy_uj, 0o400)
        self._attribute(directory, "constraint_0_name", b"long_term\n", 0o444)
        return directory

    def show(self, zone_id: str, energy_uj: int) -> None:
        """Let a counter show another value, in the file that is there."""
        self.write(zone_id, b"%d\n" % energy_uj)

    def write(self, zone_id: str, content: bytes) -> None:
        """Put anything into the file of a counter; its mode stays."""
        file = self.path(zone_id) / "energy_uj"
        mode = file.stat().st_mode
        file.chmod(0o600)
        file.write_bytes(content)
        file.chmod(mode)

    def _directory(self, name: str) -> Path:
        directory = self.path(name)
        (directory / "power").mkdir(parents=True)
        (directory / "subsystem").symlink_to("../" * (name.count(":") + 4) + "class/powercap")
        self._attribute(directory, "uevent", b"", 0o644)
        self._attribute(directory, "enabled", b"1\n", 0o644)
        self._attribute(directory, "power/control", b"auto\n", 0o644)
        (self.links / name).symlink_to(f"../../{directory.relative_to(self.root)}")
        return directory

    def _attribute(self, directory: Path, name: str, content: bytes, mode: int) -> None:
        file = directory / name
        file.write_bytes(content)
        file.chmod(mode)


class Memory:
    """A tree in memory. Values: bytes are a file, text is a link's target, an OSError is raised by whoever asks."""

    def __init__(self, entries: Mapping[str, bytes | str | OSError]) -> None:
        self.entries = dict(entries)
        self.directories: dict[str, dict[str, None]] = {"": {}}
        for path in self.entries:
            below = path
            while below:
                above, _, name = below.rpartition("/")
                self.directories.setdefault(above, {})[name] = None
                below = above

    def listdir(self, path: str) -> list[str]:
        entry = self.entries.get(path)
        if isinstance(entry, OSError):
            raise entry
        if entry is not None:
            raise NotADirectoryError(errno.ENOTDIR, path)
        if path not in self.directories:
            raise FileNotFoundError(errno.ENOENT, path)
        return list(self.directories[path])

    def readlink(self, path: str) -> str:
        entry = self.entries.get(path)
        if isinstance(entry, str):
            return entry
        raise OSError(errno.EINVAL, path)

    def read(self, path: str) -> bytes:
        entry = self.entries.get(path)
        if isinstance(entry, OSError):
            raise entry
        if not isinstance(entry, bytes):
            raise FileNotFoundError(errno.ENOENT, path)
        return entry


class MachineRegisters:
    """The registers of a machine as the reader asks for them; `log` has what was asked."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.log: list[tuple[int, int]] = []

    def cpus(self) -> list[int]:
        return list(self.machine.driver.online)

    def read(self, cpu: int, register: int) -> int:
        self.log.append((cpu, register))
        if cpu not in self.machine.driver.online:
            raise OSError(errno.ENXIO, "offline")
        return self.machine.msr.read(cpu, register)


class MachineFiles:
    """A machine's sysfs, with the files about its processors and its perf PMUs beside powercap's."""

    def __init__(self, machine: Machine, *, topology: bool = True) -> None:
        self.machine = machine
        self.topology = CpuTopology(machine) if topology else None
        self.pmus = {
            pmu.name: PmuDevice(pmu, machine.kernel, FIRST_TYPE + number)
            for number, pmu in enumerate(power_pmus(machine))
        }

    def listdir(self, path: str) -> list[str]:
        name, _, rest = path.removeprefix(PMUS).partition("/")
        if path.startswith(PMUS) and name in self.pmus:
            return list(self.pmus[name].sysfs.listdir(rest))
        return list(self.machine.sysfs.listdir(path))

    def readlink(self, path: str) -> str:
        return self.machine.sysfs.readlink(path)

    def read(self, path: str) -> bytes:
        if path.startswith(CPU) and self.topology is not None:
            number, _, name = path.removeprefix(CPU).partition("/topology/")
            if name in self.topology.files and int(number) in self.topology.online:
                return self.topology.read(int(number), name)
        name, _, rest = path.removeprefix(PMUS).partition("/")
        if path.startswith(PMUS) and name in self.pmus:
            return self.pmus[name].sysfs.read(rest)
        return self.machine.sysfs.read(path)


class MachineEvents:
    """perf_event_open on a machine's own PMUs."""

    def __init__(self, machine: Machine) -> None:
        self.pmus = power_pmus(machine)

    def open(self, pmu_type: int, config: int, cpu: int) -> Handle:
        if not 0 <= pmu_type - FIRST_TYPE < len(self.pmus):
            raise OSError(errno.ENOENT, "no such PMU")
        counter = self.pmus[pmu_type - FIRST_TYPE].open(config, cpu)
        return Handle(lambda: counter.read().to_bytes(8, "little"), None)


class Faces:
    """What a machine shows besides powercap, for the reader's sources."""

    def __init__(self, machine: Machine, *, topology: bool = True) -> None:
        self.machine = machine
        self.registers = MachineRegisters(machine)
        self.files = MachineFiles(machine, topology=topology)
        self.events = MachineEvents(machine)

    @property
    def cpuinfo(self) -> bytes:
        return Cpuinfo(self.machine).text()

    def now_ns(self) -> int:
        return int(self.machine.clock.now_ns)


@pytest.fixture
def faces() -> type[Faces]:
    """The class that shows a machine to the reader."""
    return Faces


@pytest.fixture(scope="session")
def mounts() -> None:
    """Skip where nothing can be mounted, saying why; RAPLICA_FUSE=required makes that a failure."""
    reason = obstacle()
    if reason is not None and os.environ.get("RAPLICA_FUSE") == "required":
        pytest.fail(f"RAPLICA_FUSE=required, and nothing can be mounted here: {reason}")
    elif reason is not None:
        pytest.skip(f"nothing can be mounted here: {reason}")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """An empty tree."""
    return Tree(tmp_path / "sys")


@pytest.fixture
def open_tree() -> Iterator[Tree]:
    """An empty tree in a place that other users reach, which tmp_path is not."""
    place = Path(tempfile.mkdtemp(prefix="raplica-reader-"))
    place.chmod(0o755)
    try:
        yield Tree(place / "sys")
    finally:
        shutil.rmtree(place)


@pytest.fixture
def memory() -> type[Memory]:
    """The class of trees in memory."""
    return Memory


@pytest.fixture
def clock() -> SimpleNamespace:
    """A clock that stands still: `.now_ns`, `.read()`, and `.sleep(seconds)`, which moves it."""
    time = SimpleNamespace(now_ns=1_000)
    time.read = lambda: time.now_ns

    def sleep(seconds: float) -> None:
        time.now_ns += round(seconds * 1e9)

    time.sleep = sleep
    return time


@pytest.fixture
def client(open_tree: Tree) -> Tree:
    """A laptop: package-0 with core, uncore and dram, psys, and the MMIO twin of the package."""
    open_tree.zone("intel-rapl:0", "package-0", 5_000_000)
    open_tree.zone("intel-rapl:0:0", "core", 2_000_000)
    open_tree.zone("intel-rapl:0:1", "uncore", 1_000_000)
    open_tree.zone("intel-rapl:0:2", "dram", 500_000)
    open_tree.zone("intel-rapl:1", "psys", 9_000_000)
    open_tree.zone("intel-rapl-mmio:0", "package-0", 5_000_000)
    return open_tree


@pytest.fixture
def powerless(client: Tree) -> str:
    """Python code that gives up root, after which nobody reads `client`'s counters; for a subprocess's start."""
    if os.geteuid() == 0:
        return f"import os; os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})"
    for file in client.devices.rglob("energy_uj"):
        file.chmod(0)  # an owner reads 0400; without root the mode is all there is to take away
    return "pass"
