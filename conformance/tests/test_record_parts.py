# SPDX-License-Identifier: Apache-2.0
"""What `conformance record` is made of: processors, registers, surroundings, redaction, counters, words."""

import errno
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import raplica_conformance
import raplica_fixtures
from raplica_conformance.record import Wishes, record, surroundings
from raplica_conformance.record import tree as tree_module
from raplica_conformance.record.counters import UNITS_NJ, facts_of, sample, unit_of
from raplica_conformance.record.places import Places, one_line, places_below, read_text
from raplica_conformance.record.processors import Processors, read_processors
from raplica_conformance.record.redaction import LEFT_OUT, MARK, redacted
from raplica_conformance.record.registers import REGISTERS, read_registers, settle
from raplica_conformance.record.telling import told
from raplica_conformance.record.tree import read_file, walk
from raplica_conformance.subjects.real import RealMachine
from raplica_fixtures.recording import (
    Capture,
    CounterFacts,
    Cpu,
    Entry,
    Hint,
    Opens,
    ReadResult,
    Recording,
    RecordingError,
    Topology,
    dump_recording,
    from_json,
    load_recording,
    to_json,
)
from raplica_fixtures.schema_check import load_schema
from raplica_simulator.hardware.registers import AMD_REGISTERS, INTEL_REGISTERS

POWERCAP = "devices/virtual/powercap"


def files(root: Path, contents: dict[str, str]) -> None:
    for name, text in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    for name in ("sys", "dev", "proc"):
        (tmp_path / name).mkdir()
    return Places(tmp_path / "sys", tmp_path / "dev", tmp_path / "proc", own=True)


def cpus(places: Places, seats: dict[int, tuple[int, int | None, int]], online: str) -> None:
    """Package, die and core of each processor; None where the kernel knows no dies."""
    root = places.sys / "devices/system/cpu"
    files(root, {"online": f"{online}\n"})
    for cpu, (package, die, core) in seats.items():
        files(root / f"cpu{cpu}/topology", {"physical_package_id": f"{package}\n", "core_id": f"{core}\n"})
        if die is not None:
            files(root / f"cpu{cpu}/topology", {"die_id": f"{die}\n"})


def test_all_of_it_runs_with_the_standard_library_alone() -> None:
    ours = [str(Path(module.__file__ or "").parents[1]) for module in (raplica_conformance, raplica_fixtures)]
    script = f"import sys; sys.path[:0] = {ours}; import raplica_conformance.record; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in ran.stdout.split()} - sys.stdlib_module_names - {"__main__"}
    assert loaded == {"raplica_conformance", "raplica_fixtures"}


# Places.


def test_this_machines_places_are_its_own_and_a_trees_are_those_beside_it(tmp_path: Path) -> None:
    assert places_below() == Places(Path("/sys"), Path("/dev"), Path("/proc"), own=True)
    assert places_below("/sys", proc="/elsewhere").proc == Path("/elsewhere")
    (tmp_path / "sys").mkdir()
    assert places_below(str(tmp_path / "sys")) == Places(tmp_path / "sys", None, None, own=False)
    (tmp_path / "dev").mkdir()
    assert places_below(str(tmp_path / "sys")).dev == tmp_path / "dev"
    assert places_below(str(tmp_path / "sys"), str(tmp_path)).dev == tmp_path
    # Beside a folder of the root directory lie the host's own devices.
    assert places_below("/etc").dev is None


@given(st.text())
def test_a_line_has_no_control_characters_and_single_spaces(text: str) -> None:
    line = one_line(text)
    assert not any(ord(letter) < 0x20 or ord(letter) == 0x7F for letter in line)
    assert "  " not in line
    assert one_line(line) == line


# Processors.


def test_two_packages_of_two_dies_are_counted_and_each_die_has_a_leader(places: Places) -> None:
    seats = {cpu: (cpu // 4 % 2, cpu // 2 % 2, cpu % 2) for cpu in range(16)}
    cpus(places, {cpu: (package, die, core) for cpu, (package, die, core) in seats.items()}, "0-7,8-15")
    files(
        places.sys.parent / "proc",
        {
            "cpuinfo": "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 85\n"
            "model name\t: A CPU\nstepping\t: 7\nflags\t\t: fpu pts pln sse\n\nvendor_id : second\n"
        },
    )
    found = read_processors(places, [])
    assert found.cpu == Cpu("GenuineIntel", 6, 85, 7)
    assert (found.name, found.flags, found.online) == ("A CPU", ("pln", "pts"), 16)
    assert found.topology == Topology(2, 2, 2, 2)
    assert found.places == ((0, 0), (0, 1), (1, 0), (1, 1))
    assert found.leaders == {0: 0, 1: 2, 2: 4, 3: 6}
    assert found.notes == ()


def test_cores_of_two_kinds_and_processors_that_are_down_give_the_fullest_shape_and_a_note(places: Places) -> None:
    cpus(places, {0: (0, None, 0), 1: (0, None, 0), 2: (0, None, 1)}, "0-2,7")
    files(places.sys.parent / "proc", {"cpuinfo": "vendor_id : GenuineIntel\nno such line\nmodel : 99999\n"})
    found = read_processors(places, [])
    assert found.topology == Topology(1, 1, 2, 2)
    assert found.cpu == Cpu("GenuineIntel", 0, 255, 0)
    assert found.notes == ("the exact shape: 3 processors are up, and packages, dies or cores are not all alike",)


def test_where_nothing_tells_of_processors_the_zones_count_the_packages(places: Places) -> None:
    names = [b"package-0\n", b"core\n", b"package-2-die-1\n", b"psys\n"]
    found = read_processors(replace(places, proc=None), names)
    assert found.topology == Topology(3, 1, 1, 1)
    assert (found.cpu, found.online, found.leaders) == (Cpu("unknown", 0, 0, 0), 0, {})
    assert len(found.notes) == 2
    assert read_processors(places, []).topology.packages == 1


# Registers.


def test_only_registers_of_rapl_are_ever_asked_for_and_each_that_its_driver_uses() -> None:
    known = {register.address for register in (*INTEL_REGISTERS, *AMD_REGISTERS)}
    for vendor, addresses in REGISTERS.items():
        assert set(addresses) <= known, vendor
    assert {0x606, 0x610, 0x611, 0x614, 0x618, 0x619, 0x61C, 0x638, 0x639, 0x640, 0x641, 0x64D, 0x65C, 0x601} <= set(
        REGISTERS["GenuineIntel"]
    )
    assert set(REGISTERS["AuthenticAMD"]) == {register.address for register in AMD_REGISTERS}


def processors(places: tuple[tuple[int, int], ...] = ((0, 0),), vendor: str = "GenuineIntel") -> Processors:
    return Processors(
        Cpu(vendor, 6, 85, 4),
        "A CPU",
        (),
        Topology(len(places), 1, 1, 1),
        len(places),
        places,
        {number: number for number in range(len(places))},
    )


def device(dev: Path, cpu: int, words: dict[int, int]) -> Path:
    """A file that answers as the device does, up to its end."""
    path = dev / f"cpu/{cpu}/msr"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        for address, word in words.items():
            file.seek(address)
            file.write(word.to_bytes(8, "little"))
    return path


def test_registers_are_read_little_endian_and_what_does_not_answer_is_left_out(tmp_path: Path) -> None:
    device(tmp_path, 0, {0x606: 0xA0E03})
    table, refusal = read_registers(tmp_path, processors())
    assert refusal == 0
    assert table[0][0x606] == 0xA0E03
    # The file ends there; what a processor does not have faults as well.
    assert max(table[0]) == 0x606


@pytest.mark.parametrize(
    ("dev", "vendor", "refusal"),
    [(None, "GenuineIntel", errno.ENOENT), ("", "GenuineIntel", errno.ENOENT), ("", "unknown", errno.ENODEV)],
)
def test_without_devices_or_on_an_unknown_processor_there_are_none(
    dev: str | None, vendor: str, refusal: int, tmp_path: Path
) -> None:
    place = None if dev is None else tmp_path
    assert read_registers(place, processors(vendor=vendor)) == ({}, refusal)


def test_a_refusal_that_no_recording_can_hold_is_an_input_output_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EUCLEAN, "clean me")

    monkeypatch.setattr(os, "open", refuse)
    assert read_registers(tmp_path, processors()) == ({}, errno.EIO)


def entry(text: str) -> Entry:
    return Entry(kind="file", mode=0o444, nlink=1, read=ReadResult(content=text.encode()))


def zones(*names: str) -> dict[str, Entry]:
    """Zones of intel-rapl with counters; a name with a slash is a zone in the last one without."""
    tree: dict[str, Entry] = {}
    number = -1
    for name in names:
        number += "/" not in name
        folder = f"{POWERCAP}/intel-rapl/intel-rapl:{number}" + (f"/intel-rapl:{number}:0" if "/" in name else "")
        tree[f"{folder}/name"] = entry(f"{name.removeprefix('/')}\n")
        tree[f"{folder}/energy_uj"] = entry("1\n")
    return tree


def test_counters_are_read_again_until_their_register_stands_still_around_them(tmp_path: Path) -> None:
    known = processors(((0, 0), (0, 1), (1, 0)))
    tree = zones("package-0-die-1", "/dram", "package-1", "psys", "odd", "package-9", "/core", "psys")
    for path in tree:
        files(tmp_path, {path: "77\n"})
    for cpu in known.leaders:
        device(tmp_path / "dev", cpu, {0x64D: 9, 0x611: 5, 0x619: 6})
    table = {die: {0x611: 1, 0x619: 1, 0x64D: 1} for die in known.leaders}
    settled, words = settle(tree, table, tmp_path, tmp_path / "dev", known)
    assert words[1] == {0x611: 5, 0x619: 6, 0x64D: 9}  # package-0-die-1, its dram, and the second psys
    assert words[2][0x611] == 5  # package-1 has one die, whatever its number
    assert words[0] == {0x611: 1, 0x619: 1, 0x64D: 9}  # no zone of its own but the first psys
    again = {path for path in tree if settled[path] != tree[path]}
    stayed = {path for path in tree if path.endswith("energy_uj")} - again
    assert {path.split("/")[4] for path in stayed} == {"intel-rapl:3", "intel-rapl:4"}
    assert all(settled[path].read == ReadResult(content=b"77\n") for path in again)
    assert table[1][0x611] == 1


def test_a_counter_that_never_stands_still_or_whose_processor_went_down_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = zones("package-0")
    files(tmp_path, dict.fromkeys(tree, "77\n"))
    ticks = iter(range(1000))
    monkeypatch.setattr(os, "pread", lambda *_: next(ticks).to_bytes(8, "little"))
    assert settle(tree, {0: {0x611: 1}}, tmp_path, tmp_path, processors()) == (tree, {0: {0x611: 1}})
    device(tmp_path, 0, {0x611: 5})
    assert settle(tree, {0: {0x611: 1}}, tmp_path, tmp_path, processors()) == (tree, {0: {0x611: 1}})
    assert next(ticks) > 20
    assert settle(tree, {}, tmp_path, tmp_path, processors()) == (tree, {})


def test_numbers_of_thousands_of_digits_and_endless_lists_are_no_processors(places: Places) -> None:
    long = "9" * 5000
    cpus(places, {0: (0, 0, 0)}, "0-8000," * 2_000 + f"{long}-{long}")
    files(places.sys / "devices/system/cpu/cpu0/topology", {"core_id": long})
    assert places.proc is not None
    files(places.proc, {"cpuinfo": f"vendor_id : GenuineIntel\nmodel : {long}\n"})
    found = read_processors(places, [f"package-{long}\n".encode()])
    assert (found.online, found.cpu.model, found.topology) == (1, 0, Topology(1, 1, 1, 1))
    files(places.sys / "devices/system/cpu/cpu0/topology", {"physical_package_id": long})
    assert read_processors(places, [f"package-{long}\n".encode()]).topology.packages == 1


# The tree.


def test_what_is_no_file_of_sysfs_is_walked_without_waiting_or_falling_over(tmp_path: Path) -> None:
    files(tmp_path, {f"{POWERCAP}/a/name": "x\n"})
    os.mkfifo(tmp_path / POWERCAP / "fifo")
    os.mkfifo(tmp_path / POWERCAP / "a/energy_uj")
    (tmp_path / POWERCAP / "loop").symlink_to("loop")
    seen: list[str] = []
    found = walk(tmp_path, lambda _path: None, seen.append)
    assert found["class/powercap"] == Entry(kind="missing", errno=errno.ENOENT)
    assert found[f"{POWERCAP}/loop"].target == "loop"
    fifo = found[f"{POWERCAP}/fifo"]
    assert (fifo.kind, fifo.read, fifo.opens) == ("file", None, None)
    assert seen == list(found)
    assert sample(tmp_path, found, 0.001, seen.append) == ()  # type: ignore[arg-type]


def test_what_lies_in_a_folder_follows_it_in_its_order_as_deep_as_that_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / POWERCAP / "d/b").mkdir(parents=True)
    (tmp_path / POWERCAP / "d/a").mkdir()
    (tmp_path / POWERCAP / "e").mkdir()
    orders = {POWERCAP: ["d", "e"], "d": ["b", "a"]}
    monkeypatch.setattr(os, "listdir", lambda path: orders.get(path.name, orders.get("/".join(path.parts[-3:]), [])))
    paths = list(walk(tmp_path, lambda _path: None, lambda _path: None))
    assert [path.removeprefix(POWERCAP) for path in paths[1:]] == ["", "/d", "/d/b", "/d/a", "/e"]


def test_a_tree_that_does_not_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_module, "_entry", lambda *_: Entry("dir", order=("d",)))
    monkeypatch.setattr(tree_module, "_MOST_ENTRIES", 3000)  # deeper than Python calls itself
    monkeypatch.setattr(os, "lstat", lambda _path: None)
    with pytest.raises(RecordingError, match=r"^tree: has more than 3000 entries, which no powercap tree has$"):
        walk(tmp_path, lambda _path: None, lambda _path: None)


def test_a_pipe_in_the_place_of_a_device_or_a_file_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "cpu/0").mkdir(parents=True)
    os.mkfifo(tmp_path / "cpu/0/msr")
    table, _ = read_registers(tmp_path, processors())
    assert not any(table.values())
    held = os.open(tmp_path / "cpu/0/msr", os.O_RDWR)
    try:
        assert read_text(tmp_path / "cpu/0/msr") == ""
    finally:
        os.close(held)


def test_an_error_that_no_attribute_gives_is_kept_as_an_input_output_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files(tmp_path, {"name": "x"})

    def refuse(*_: object) -> bytes:
        raise OSError(errno.EUCLEAN, "clean me")

    monkeypatch.setattr(os, "read", refuse)
    assert read_file(tmp_path / "name") == ReadResult(errno=errno.EIO)


# Surroundings.


def test_each_sign_of_a_container_and_of_a_virtual_machine_is_told_with_its_file(
    places: Places, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    files(root, {".dockerenv": "", "run/systemd/container": "podman\n"})
    ident = "0123456789abcdef" * 4
    files(
        tmp_path / "proc",
        {
            "self/cgroup": f"0::/kubepods.slice/cri-containerd-{ident}.scope\n",
            "self/uid_map": "         0       1000          1\n",
            "self/mountinfo": "22 1 0:21 / /sys rw - sysfs sysfs rw\n"
            "99 22 0:55 / /sys/devices/virtual/powercap ro shared:1 - tmpfs tmpfs ro\nshort line\n",
            "sys/kernel/osrelease": "5.15.153.1-microsoft-standard-WSL2\n",
            "cpuinfo": "vendor_id : x\nflags\t\t: fpu hypervisor sse\n",
        },
    )
    files(places.sys, {"hypervisor/type": "xen\n", "kernel/security/lockdown": "none [integrity] confidentiality\n"})
    found = surroundings.hints(places, {"container": "oci", "KUBERNETES_SERVICE_HOST": "10.0.0.1"}, root)
    assert [(hint.source, hint.text) for hint in found] == [
        ("/.dockerenv", "is there"),
        ("/run/systemd/container", "podman"),
        ("environment", "container=oci"),
        ("environment", "KUBERNETES_SERVICE_HOST is set"),
        ("/proc/self/cgroup", "containerd, kubepods"),
        ("/proc/self/uid_map", "a user namespace: owners and capabilities are those in it"),
        ("/proc/self/mountinfo", "tmpfs is mounted on /sys/devices/virtual/powercap"),
        ("/proc/sys/kernel/osrelease", "Microsoft: the Windows Subsystem for Linux"),
        ("/sys/hypervisor/type", "xen"),
        ("/sys/kernel/security/lockdown", "integrity"),
        ("/proc/cpuinfo", "the flag hypervisor: a virtual machine"),
    ]
    assert ident not in repr(found)


def test_a_machine_of_its_own_gives_no_hint(places: Places, tmp_path: Path) -> None:
    files(tmp_path / "proc", {"self/uid_map": "0 0 4294967295\n", "self/cgroup": "0::/user.slice\n"})
    assert surroundings.hints(places, {}, tmp_path) == ()


def test_capabilities_modules_and_board_are_named(places: Places, tmp_path: Path) -> None:
    proc = tmp_path / "proc"
    files(proc, {"self/status": "Name:\tx\nCapEff:\t0000000000020002\n"})
    assert surroundings.capabilities(proc) == ("CAP_DAC_OVERRIDE", "CAP_SYS_RAWIO")
    assert surroundings.capabilities(None) == ()
    (places.sys / "module/intel_rapl_msr").mkdir(parents=True)
    assert surroundings.modules(places) == ("intel_rapl_msr",)
    files(places.sys, {"class/dmi/id/product_name": " A  board\n", "class/dmi/id/product_serial": "S1\n"})
    assert surroundings.firmware(places) == {"product_name": "A board"}


def test_the_file_system_of_a_tree_is_that_of_its_device(tmp_path: Path) -> None:
    device = tmp_path.stat().st_dev
    mounts = (
        "9 1 999:1 / /other rw - xfs /dev/x rw\n"
        f"8 1 {os.major(device)}:{os.minor(device)} / / rw shared:1 - ext4 /dev/y rw\nno line of this kind\n"
    )
    assert surroundings.filesystem(tmp_path / "not/there", mounts) == "ext4"
    assert surroundings.filesystem(tmp_path, "") == ""
    assert [Capture("x", 0, filesystem=kind).is_of_a_copy for kind in ("sysfs", "fuse.raplica", "ext4", "")] == [
        False,
        False,
        True,
        True,
    ]


def test_nobody_is_named_where_the_environment_names_nobody(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SUDO_USER", "LOGNAME", "USER", "HOME"):
        monkeypatch.delenv(name, raising=False)
    assert not {"user", "home"} & surroundings.identity(places).keys()


@contextmanager
def silent(_what: str) -> Iterator[Callable[[float], None]]:
    yield lambda _part: None


def test_this_machines_recording_has_its_running_kernel_and_what_surrounds_it(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    files(places.sys, {f"{POWERCAP}/intel-rapl/intel-rapl:0/name": "package-0\n"})
    monkeypatch.setattr(platform, "release", lambda: "6.1.0-35-amd64")
    monkeypatch.setattr(platform, "version", lambda: "#1 SMP  Debian")
    monkeypatch.setenv("container", "oci")

    def unknown(_name: str) -> str:
        raise importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(importlib.metadata, "version", unknown)
    found = record(places, Wishes(), silent)
    assert (found.kernel, found.kernel_full, found.kernel_release) == ("6.1", "6.1.0", "6.1.0-35-amd64")
    assert found.kernel_build == "#1 SMP Debian"
    assert found.capture is not None
    assert Hint("environment", "container=oci") in found.capture.hints
    assert found.capture.program == "conformance record"


def test_where_nobody_can_become_nobody_it_is_not_known_what_nobody_may_open(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    files(places.sys, {f"{POWERCAP}/intel-rapl/name": "x\n"})

    def refuse(*_: object) -> int:
        raise OSError(errno.EPIPE, "the child ended")

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(RealMachine, "open_errno", refuse)
    opens = record(places, Wishes(kernel="6.12"), silent).tree[f"{POWERCAP}/intel-rapl/name"].opens
    assert opens == Opens(root_read=0)


# Redaction.

PLAIN = Recording(
    *("machine", "what", "6.12", "6.12.1", "6.12.1", "#1", "2026-01-02"),
    cpu=Cpu("GenuineIntel", 6, 85, 4),
    topology=Topology(1, 1, 1, 1),
    registers={},
    tree={"class/powercap": Entry(kind="dir", order=())},
    steps=(),
)
# No common name begins like this: those are left alone, and are the next test's.
NAMES = st.text("abcdefghijklmnop0123456789", min_size=3, max_size=9).map("x{}".format)


@given(host=NAMES, user=NAMES)
@settings(max_examples=40)
def test_no_name_that_is_known_survives_in_any_text(host: str, user: str) -> None:
    ident = "2b1c7a52-0d2c-4fd5-9d7c-0f6a1b2c3d4e"
    text = f"of {host}.example.org, {host} {user} {host.upper()} {ident} me@{host} /home/{user}/x"
    capture = Capture("x", 0, hints=(Hint("f", text),), firmware={"board_name": text}, left_out=("more",))
    capture = replace(capture, cpu_name=text)
    recording = replace(PLAIN, what=text, kernel_release=text, kernel_build=text)
    clean, told_of = redacted(recording, capture, {"host_name": f"{host}.example.org", "user": user})
    expected = f"of {MARK}, {MARK} {MARK} {MARK} {MARK} {MARK} /home/{MARK}/x"
    of_recording = {clean.what, clean.kernel_release, clean.kernel_build}
    assert of_recording | {told_of.cpu_name, told_of.hints[0].text, told_of.firmware["board_name"]} == {expected}
    assert told_of.left_out == (*LEFT_OUT, "more")
    assert told_of.identity == {}


def test_a_link_through_somebodys_folders_is_no_link_of_the_kernel() -> None:
    tree = {name: Entry("link", target=target) for name, target in (("a", "/home/x/sys"), ("b", "../../devices/b"))}
    clean, _ = redacted(replace(PLAIN, tree=tree), Capture("x", 0), {})
    assert [entry.target for entry in clean.tree.values()] == [MARK, "../../devices/b"]


def test_a_name_inside_another_word_and_a_common_name_are_no_names() -> None:
    release = replace(PLAIN, kernel_release="6.12.1-amd64-generic", kernel_build="#1 root linux")
    clean, _ = redacted(release, Capture("x", 0), {"host_name": "gen", "user": "root"})
    assert (clean.kernel_release, clean.kernel_build) == ("6.12.1-amd64-generic", "#1 root linux")


# Counters.


@given(
    st.sampled_from([unit for unit in UNITS_NJ if unit > 2000]),
    st.integers(0, 2**20),
    st.lists(st.integers(1, 2000), min_size=1, max_size=30),
)
def test_a_unit_that_a_counter_counts_in_is_explained_by_itself_or_a_multiple(
    unit_nj: int, start: int, counts: list[int]
) -> None:
    raw = [start]
    for count in counts:
        raw.append(raw[-1] + count)
    shown = [value * unit_nj // 1000 for value in raw]
    steps = [after - before for before, after in pairwise(shown)]
    found = unit_of([step for step in steps if step])
    assert found is not None
    assert found >= unit_nj


def test_the_units_of_real_machines_are_told_apart() -> None:
    for unit_nj in (61_035, 15_258, 15_300, 976_562, 3_814):
        raw = [7, 8, 20, 33, 47, 62, 1000, 1001, 4003]
        shown = [value * unit_nj // 1000 for value in raw]
        assert unit_of([after - before for before, after in pairwise(shown)]) == unit_nj
    assert unit_of([]) is None
    assert unit_of([1, 2, 3]) is None


def test_a_wrap_counts_as_energy_and_without_a_range_as_nothing() -> None:
    facts = facts_of("p", [0, 10, 20, 31], [90, 95, 5, 15], 8, 40, 100)
    assert facts == CounterFacts("p", 8, 3, 40, 25, 5, 10, 10, 11, 5, None)
    assert facts_of("p", [0, 10, 20, 31], [90, 95, 5, 15], 8, 40, None).drawn_uj == 15
    assert facts_of("p", [], [], 0, 40, None) == CounterFacts("p", 0, 0, 40, 0, 0)


def test_counters_are_read_in_turn_until_the_time_is_over_and_one_that_fails_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = zones("package-0", "package-1", "package-2")
    tree[f"{POWERCAP}/intel-rapl/intel-rapl:0/max_energy_range_uj"] = entry("1000000\n")
    gone = f"{POWERCAP}/intel-rapl/intel-rapl:2/energy_uj"
    files(tmp_path, {path: "1\n" for path in tree if path != gone})
    now_ns = 0
    values: dict[int, int] = {}

    def clock() -> int:
        nonlocal now_ns
        now_ns += 1_000_000
        return now_ns

    def pread(handle: int, *_: int) -> bytes:
        values[handle] = values.get(handle, 0) + 61_035
        if len(values) == 2 and handle == max(values) and values[handle] > 300_000:
            raise OSError(errno.ENODEV, "gone")
        return b"%d\n" % (values[handle] // 1)

    monkeypatch.setattr(os, "pread", pread)
    parts: list[float] = []
    found = sample(tmp_path, tree, 0.5, parts.append, clock)
    assert [facts.path.split("/")[4] for facts in found] == ["intel-rapl:0"]
    assert found[0].smallest_step_uj == 61_035
    assert found[0].changes == found[0].reads - 1
    assert found[0].span_ns >= 500_000_000
    assert parts == sorted(parts)
    assert 0 < len(parts) <= 7


@pytest.mark.parametrize("text", ["-1", str(1 << 64), "9" * 60, "x"])
def test_what_is_no_count_of_the_kernel_is_no_counter(text: str, tmp_path: Path) -> None:
    tree = zones("package-0")
    counter = f"{POWERCAP}/intel-rapl/intel-rapl:0/energy_uj"
    tree[f"{POWERCAP}/intel-rapl/intel-rapl:0/max_energy_range_uj"] = entry("9" * 5000)
    files(tmp_path, {counter: text})
    assert sample(tmp_path, tree, 0.001, lambda _part: None) == ()


# Words.


def recording_with(capture: Capture, **more: object) -> Recording:
    return replace(PLAIN, capture=capture, **more)  # type: ignore[arg-type]


def test_the_words_say_what_was_read_refused_and_left_out() -> None:
    zone = f"{POWERCAP}/intel-rapl/intel-rapl:0"
    tree = {
        f"{zone}/energy_uj": replace(entry(""), read=ReadResult(open_errno=errno.EACCES)),
        f"{zone}/name": entry("package-0\n"),
        **{f"{zone}/f{n}": replace(entry(""), read=ReadResult(errno=errno.EIO)) for n in range(4)},
        f"{zone}/gone": Entry(kind="missing", errno=errno.ENOENT),
    }
    facts = CounterFacts(f"{zone}/energy_uj", 10, 5, 10_000_000, 9, 100_000, 1_000_000, 1, 2, 61, 61_035)
    capture = Capture("x", 0, hints=(Hint("/f", "a sign"),), left_out=("a", "b"), counters=(facts,))
    lines = told(recording_with(capture, tree=tree, registers={0: {0x606: 1}}))
    measured = (
        "intel-rapl:0: a change every 1.000 ms (median of 5, read every 0.100 ms), the least 61 uJ; "
        "a unit of 61035 nJ explains all"
    )
    assert lines == (
        "what, Linux 6.12.1",
        "tree: 7 entries, of which 6 did not read (1 energy_uj EACCES, 1 f0 EIO, 1 f1 EIO, 1 f2 EIO and others)",
        "registers: 1 on 1 die",
        measured,
        "/f: a sign",
        "left out: a; b",
    )
    unknown = told(recording_with(replace(capture, counters=(replace(facts, unit_nj=None),))))
    assert unknown[3].endswith("; no known unit explains all")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "each one faults"),
        (errno.EPERM, "the msr device wants CAP_SYS_RAWIO, and no lockdown"),
        (errno.ENXIO, "ENXIO"),
    ],
)
def test_why_there_are_no_registers_is_said(number: int, words: str) -> None:
    assert told(recording_with(Capture("x", 0, msr_errno=number)))[2] == f"registers: none ({words})"


def test_a_witnesss_recording_has_no_circumstances_to_tell_of() -> None:
    with pytest.raises(TypeError, match="only a recording of a running machine"):
        told(PLAIN)


def test_the_circumstances_survive_a_file(tmp_path: Path) -> None:
    capture = Capture(
        "x",
        1000,
        ("CAP_SYS_RAWIO",),
        errno.EPERM,
        "A CPU",
        ("pts",),
        4,
        "sysfs",
        ("msr",),
        (Hint("/f", "a sign"),),
        {"board_name": "b"},
        ("names",),
        {"user": "u"},
        (CounterFacts("a/energy_uj", 1, 0, 2, 0, 2), CounterFacts("b/energy_uj", 9, 3, 2, 7, 2, 1, 1, 1, 2, 61_035)),
    )
    recording = recording_with(capture)
    dump_recording(recording, tmp_path / "machine.json")
    assert load_recording(tmp_path / "machine.json") == recording
    document = to_json(recording)
    Draft202012Validator(load_schema("recording-1.json")).validate(document)
    with pytest.raises(RecordingError, match=r"^capture\.uid: -1 is out of range: 0 to 4294967295$"):
        from_json({**document, "capture": {**document["capture"], "uid": -1}})
