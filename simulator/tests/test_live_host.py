# SPDX-License-Identifier: Apache-2.0
"""What a live surface shows beside powercap: processors and perf's PMUs, as they lie on a real system."""

import os
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import EACCES, EINVAL, ENODEV, ENOENT, ESTALE
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raplica_simulator import Machine
from raplica_simulator.linux.cpuinfo import Cpuinfo
from raplica_simulator.linux.msr_dev import MsrModule
from raplica_simulator.live.machine import LiveMachine
from raplica_simulator.surfaces.caller import Caller
from raplica_simulator.surfaces.fuse_mounting import mount
from raplica_simulator.surfaces.fuse_serving import Serving
from raplica_simulator.surfaces.live_entry import Entry, Folder, LiveFile
from raplica_simulator.surfaces.live_joined import JoinedFolder
from raplica_simulator.surfaces.live_tree import ROOT_INO, LiveTree

Make = Callable[..., Machine]

CPU = "sys/devices/system/cpu"
CPUINFO = "proc/cpuinfo"
PMUS = "sys/bus/event_source/devices"
ROOT = Caller(os.getpid(), 0)
MOMENT_NS = 1_700_000_000_000_000_000


def tree_of(machine: Machine, *, host_files: bool = True, perf_type: int | None = None) -> LiveTree:
    return LiveTree(machine.sysfs, MsrModule(machine), MOMENT_NS, host_files=host_files, perf_type=perf_type)


def entry_at(tree: LiveTree, path: str) -> Entry | None:
    """Look a path up as the kernel does, name by name."""
    here: Entry | None = tree.root
    for name in path.split("/"):
        if not isinstance(here, Folder):
            return None
        here = here.find(name)
    return here


def found_at(tree: LiveTree, path: str) -> Entry:
    entry = entry_at(tree, path)
    assert entry is not None, path
    return entry


def file_at(tree: LiveTree, path: str) -> LiveFile:
    entry = found_at(tree, path)
    assert isinstance(entry, LiveFile)
    return entry


def read(tree: LiveTree, path: str) -> bytes:
    file = file_at(tree, path).open(os.O_RDONLY, ROOT)
    held = b""
    while part := file.pread(4096, len(held)):
        held += part
    return held


def write(tree: LiveTree, path: str, data: bytes) -> int:
    return file_at(tree, path).open(os.O_WRONLY, ROOT).pwrite(data, 0)


def names(tree: LiveTree, path: str) -> list[str]:
    folder = found_at(tree, path)
    assert isinstance(folder, Folder)
    return [name for _, _, name in folder.listing()]


def everything(folder: Folder, above: str = "") -> Iterator[tuple[str, Entry, int, int]]:
    """Every entry below a folder by its path, with the number and mode that the listing gives."""
    for ino, mode, name in folder.listing():
        entry = folder.find(name)
        assert entry is not None
        yield f"{above}{name}", entry, ino, mode
        if isinstance(entry, Folder):
            yield from everything(entry, f"{above}{name}/")


def errno_of(call: Callable[..., object], *arguments: object) -> int:
    try:
        call(*arguments)
    except OSError as error:
        return error.errno or 0
    return 0


# What is there.


def test_host_files_are_there_for_who_asks() -> None:
    machine = Machine.from_profile("kabylake")
    assert [name for _, _, name in tree_of(machine, host_files=False).root.listing()] == ["sys", "dev"]
    tree = tree_of(machine)
    assert [name for _, _, name in tree.root.listing()] == ["sys", "dev", "proc"]
    assert (names(tree, "proc"), names(tree, "sys/devices")) == (["cpuinfo"], ["virtual", "system"])
    with pytest.raises(ValueError, match="perf_type is given without host_files"):
        tree_of(machine, host_files=False, perf_type=1000)


@pytest.mark.parametrize(
    ("profile", "kernel", "pmus"),
    [
        ("kabylake", "6.12", ["power"]),
        ("zen4", "6.12", ["power"]),
        ("zen4", "7.2", ["power", "power_core"]),
        ("baytrail", "6.12", []),
    ],
)
def test_perf_has_a_folder_for_each_pmu_where_a_type_is_given(profile: str, kernel: str, pmus: list[str]) -> None:
    machine = Machine.from_profile(profile, kernel=kernel)
    assert "bus" not in names(tree_of(machine), "sys")
    tree = tree_of(machine, perf_type=1234)
    assert names(tree, PMUS) == pmus
    # Every PMU has a number of its own.
    assert [read(tree, f"{PMUS}/{pmu}/type") for pmu in pmus] == [b"1234\n", b"1235\n"][: len(pmus)]


def test_every_file_has_a_number_of_its_own_which_listings_agree_with() -> None:
    tree = tree_of(Machine.from_profile("zen2-epyc-2s", kernel="7.2"), perf_type=1000)
    numbers = {ROOT_INO}
    for path, entry, ino, mode in everything(tree.root):
        assert entry.ino == ino, path
        assert stat.S_IFMT(entry.status().mode) == stat.S_IFMT(mode), path
        assert ino not in numbers, path
        numbers.add(ino)
        assert entry.times_ns == (MOMENT_NS,) * 3
        if isinstance(entry, LiveFile) and path.startswith(("proc/", CPU, PMUS)):
            assert entry.path == path
    assert len(numbers) > 64 * 17


def test_every_file_knows_its_folder_and_its_name_there() -> None:
    tree = tree_of(Machine.from_profile("kabylake"), perf_type=1000)
    for folder_path in (CPU, f"{CPU}/cpu1", f"{CPU}/cpu1/topology", f"{PMUS}/power/events"):
        folder = found_at(tree, folder_path)
        assert isinstance(folder, Folder)
        for name in names(tree, folder_path):
            assert found_at(tree, f"{folder_path}/{name}").place() == (folder.ino, name)


def test_modes_sizes_and_links_are_those_of_procfs_and_sysfs() -> None:
    tree = tree_of(Machine.from_profile("kabylake"), perf_type=1000)
    shown = {path: tuple(found_at(tree, path).status()) for path in (CPUINFO, f"{CPU}/online", CPU)}
    assert shown == {
        CPUINFO: (stat.S_IFREG | 0o444, 1, 0, 0, 0),
        f"{CPU}/online": (stat.S_IFREG | 0o444, 1, 0, 0, 4096),
        # Four processors.
        CPU: (stat.S_IFDIR | 0o755, 6, 0, 0, 0),
    }
    assert found_at(tree, f"{CPU}/cpu1/online").status().mode == stat.S_IFREG | 0o644
    # sys, dev and proc below the root; class, devices and bus below sys.
    assert (tree.root.status().nlink, found_at(tree, "sys").status().nlink) == (5, 5)
    assert found_at(tree, PMUS).status().nlink == 3


def test_changed_modes_last() -> None:
    tree = tree_of(Machine.from_profile("kabylake"))
    for path in (CPUINFO, f"{CPU}/online", CPU):
        found_at(tree, path).change(0o700, 65534, 65533)
        assert found_at(tree, path).status()[2:4] == (65534, 65533)
        assert found_at(tree, path).status().mode & 0o7777 == 0o700


# What it says.


def test_all_faces_agree_about_the_processors() -> None:
    machine = Machine.from_profile("skylake-sp-2s")
    tree = tree_of(machine, perf_type=1000)
    for cpu in (0, 7, 25, 79):
        if cpu:
            write(tree, f"{CPU}/cpu{cpu}/online", b"0")
    blocks = read(tree, CPUINFO).split(b"processor\t: ")[1:]
    up = {int(block.split(b"\n")[0]) for block in blocks}
    assert up == set(range(80)) - {7, 25, 79}
    assert {int(name) for name in names(tree, "dev/cpu")} == up
    assert read(tree, f"{CPU}/online") == b"0-6,8-24,26-78\n"
    assert read(tree, f"{CPU}/offline") == b"7,25,79\n"
    for block in blocks:
        lines = dict(line.split(b":") for line in block.splitlines()[1:] if line)
        cpu = int(block.split(b"\n")[0])
        assert lines[b"physical id\t"].strip() == read(tree, f"{CPU}/cpu{cpu}/topology/physical_package_id").strip()
        assert lines[b"core id\t\t"].strip() == read(tree, f"{CPU}/cpu{cpu}/topology/core_id").strip()


def test_zones_go_with_the_processors_that_are_switched_off_here() -> None:
    tree = tree_of(Machine.from_profile("haswell-ep-2s"))
    zones = names(tree, "sys/class/powercap")
    second = [cpu for cpu in range(56) if read(tree, f"{CPU}/cpu{cpu}/topology/physical_package_id") == b"1\n"]
    for cpu in second:
        write(tree, f"{CPU}/cpu{cpu}/online", b"0")
    assert len(names(tree, "sys/class/powercap")) < len(zones)
    write(tree, f"{CPU}/cpu{second[0]}/online", b"1")
    assert sorted(names(tree, "sys/class/powercap")) == sorted(zones)


def test_refusals_are_the_kernels() -> None:
    tree = tree_of(Machine.from_profile("kabylake"), perf_type=1000)
    assert errno_of(write, tree, f"{CPU}/cpu1/online", b"2") == EINVAL
    assert errno_of(write, tree, f"{CPU}/online", b"0") == EACCES
    assert errno_of(write, tree, f"{PMUS}/power/type", b"0") == EACCES
    assert entry_at(tree, f"{CPU}/cpu0/online") is None
    assert entry_at(tree, f"{CPU}/cpu4") is None
    assert entry_at(tree, f"{CPU}/cpu01") is None


# What comes and goes.


def test_what_is_held_of_a_processor_that_goes_is_told_to_be_gone() -> None:
    machine = Machine.from_profile("kabylake")
    tree = tree_of(machine)
    topology, core_id = (found_at(tree, f"{CPU}/cpu1/topology{name}") for name in ("", "/core_id"))
    assert isinstance(topology, Folder)
    assert isinstance(core_id, LiveFile)
    tree.hand_out(topology)
    tree.hand_out(core_id)
    file = core_id.open(os.O_RDONLY, ROOT)
    machine.cpu(1).offline()
    assert errno_of(core_id.open, os.O_RDONLY, ROOT) == ESTALE
    # Whoever calls in what has changed asks for all that was handed out.
    alive = {entry.ino: entry.alive for entry in tree.handed_out()}
    assert [ino for ino, is_alive in alive.items() if not is_alive] == [topology.ino, core_id.ino]
    assert list(topology.listing()) == []
    assert topology.find("core_id") is None
    assert errno_of(file.pread, 10, 0) == ENODEV
    machine.cpu(1).online()
    assert found_at(tree, f"{CPU}/cpu1/topology").ino != topology.ino
    assert found_at(tree, CPU).alive


def test_a_switch_that_did_something_is_told_at_once() -> None:
    tree = tree_of(Machine.from_profile("kabylake"))
    told: list[bytes] = []
    tree.when_switched = lambda: told.append(read(tree, f"{CPU}/online"))
    for data in (b"1", b"0", b"of", b"x", b"1"):
        errno_of(write, tree, f"{CPU}/cpu2/online", data)
    assert told == [b"0-1,3\n", b"0-3\n"]


def test_an_entry_is_the_same_as_long_as_somebody_knows_of_it() -> None:
    tree = tree_of(Machine.from_profile("kabylake"), perf_type=1000)
    for path in (f"{CPU}/cpu1/topology", f"{PMUS}/power/cpumask"):
        entry = found_at(tree, path)
        tree.hand_out(entry)
        assert found_at(tree, path) is entry
        assert tree.entry(entry.ino) is entry
        tree.take_back(entry.ino, 1)
        assert found_at(tree, path) is not entry
        assert errno_of(tree.entry, entry.ino) == ESTALE


def test_a_descriptor_kept_open_reads_anew_at_its_beginning() -> None:
    machine = Machine.from_profile("kabylake")
    tree = tree_of(machine, perf_type=1000)
    files = [
        file_at(tree, path).open(os.O_RDONLY, ROOT) for path in (CPUINFO, f"{CPU}/online", f"{PMUS}/power/cpumask")
    ]
    before = [file.pread(4096, 0) for file in files]
    machine.cpu(0).offline()
    after = [file.pread(4096, 0) for file in files]
    assert after[0].startswith(b"processor\t: 1\n")
    assert (before[1:], after[1:]) == ([b"0-3\n", b"0\n"], [b"1-3\n", b"1\n"])


@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_readers_of_single_bytes_get_what_was_there_when_they_began(make_machine: Make, data: st.DataObject) -> None:
    machine = make_machine("skylake-sp", topology=(1, 1, 8, 2))
    tree = tree_of(machine)
    file = file_at(tree, f"{CPU}/online").open(os.O_RDONLY, ROOT)
    for cpu in data.draw(st.sets(st.integers(1, 15))):
        machine.cpu(cpu).offline()
    wanted = read(tree, f"{CPU}/online")
    held = b""
    while part := file.pread(1, len(held)):
        held += part
        switch = machine.cpu(data.draw(st.integers(1, 15)))
        (switch.offline if switch.is_online else switch.online)()
    assert held == wanted


def test_nothing_is_handed_out_before_somebody_looks(make_machine: Make) -> None:
    machine = make_machine("skylake-sp", topology=(4, 1, 64, 2))
    tree = tree_of(machine, perf_type=1000)
    # Only the machine's folders in which more is to be seen than its own: they are handed out for good.
    assert all(isinstance(entry, JoinedFolder) for entry in tree.handed_out())
    assert read(tree, f"{CPU}/possible") == b"0-511\n"
    assert read(tree, f"{CPU}/cpu511/topology/package_cpus_list") == b"192-255,448-511\n"
    assert len(read(tree, f"{CPU}/cpu511/topology/package_cpus")) == 16 * 9
    assert read(tree, CPUINFO) == Cpuinfo(machine).text()
    # Only the machine's folders in which more is to be seen than its own: they are handed out for good.
    assert all(isinstance(entry, JoinedFolder) for entry in tree.handed_out())


# Through the kernel.


@contextmanager
def shown(machine: Machine, place: Path) -> Iterator[Path]:
    """Mount a machine with its host files, and call in what a switch has changed."""
    place.mkdir()
    live = LiveMachine(machine)
    tree = LiveTree(machine.sysfs, live.msr_module, MOMENT_NS, host_files=True, perf_type=1000)
    troubles: list[str] = []
    mounted = mount(str(place), allow_other=False)
    serving = Serving(live, tree, mounted.descriptor, troubles.append, place=str(place))
    tree.when_switched = lambda: threading.Thread(target=serving.server.call_in).start()
    try:
        yield place
    finally:
        mounted.unmount()
        serving.close()
    assert troubles == []


def output(*command: str | Path) -> bytes:
    return subprocess.run(command, capture_output=True, check=True, timeout=60).stdout


@pytest.mark.usefixtures("mounts")
def test_programs_read_whole_files_however_they_read(tmp_path: Path) -> None:
    machine = Machine.from_profile("haswell-ep-2s")
    with shown(machine, tmp_path / "m") as root:
        text = Cpuinfo(machine).text()
        assert output("cat", root / CPUINFO) == text
        assert output("dd", f"if={root}/{CPUINFO}", "bs=1", "count=3000", "status=none") == text[:3000]
        assert output("grep", "-c", "^processor", root / CPUINFO) == b"56\n"
        assert output("head", "-c", "3", root / CPU / "online") == b"0-5"
        assert output("tail", "-n", "2", root / CPUINFO) == b"power management:\n\n"
        assert (root / CPUINFO).stat().st_size == 0
        assert sorted(path.name for path in root.iterdir()) == ["dev", "proc", "sys"]
        assert (root / PMUS / "power/events/energy-pkg").read_bytes() == b"event=0x02\n"
        with (root / CPUINFO).open("rb", buffering=0) as file:
            assert errno_of(file.seek, 0, os.SEEK_END) == EINVAL
            assert file.seek(10) == 10


@pytest.mark.usefixtures("mounts")
def test_programs_see_at_once_what_a_switch_took_away(tmp_path: Path) -> None:
    machine = Machine.from_profile("kabylake")
    with shown(machine, tmp_path / "m") as root:
        topology = root / CPU / "cpu1/topology"
        zone = root / "sys/class/powercap/intel-rapl:0/name"
        assert (topology.exists(), zone.read_bytes()) == (True, b"package-0\n")
        with (topology / "core_id").open("rb", buffering=0) as held:
            output("sh", "-c", f"echo 0 > {root}/{CPU}/cpu1/online")
            assert errno_of(held.read, 10) == ENODEV
        assert errno_of((topology / "core_id").open) == ENOENT
        deadline = time.monotonic() + 60
        while topology.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not topology.exists()
        assert output("cat", root / CPU / "online") == b"0,2-3\n"
        (root / CPU / "cpu1/online").write_text("1\n")
        assert (topology / "core_id").read_bytes() == b"1\n"
