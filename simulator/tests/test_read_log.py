# SPDX-License-Identifier: Apache-2.0
"""The log: who opened, read and wrote what when, what they were told, and the truth at that very moment."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from errno import EACCES, EIO, ENODATA
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator import Machine
from raplica_simulator.linux.msr_file import RDMSR_REGS, WRMSR_REGS
from raplica_simulator.live import read_log
from raplica_simulator.live.machine import LiveMachine, start
from raplica_simulator.live.read_log import MOST_DATA, Call, ReadLog
from raplica_simulator.load.plan import ConstantLoad
from raplica_simulator.surfaces import fuse_log
from raplica_simulator.surfaces.fuse import FuseMount

ZONE = "sys/devices/virtual/powercap/intel-rapl/intel-rapl:0"
SHORT = "sys/class/powercap/intel-rapl:0"
Mount = Callable[..., FuseMount]


# The log by itself.


def add(log: ReadLog, count: int = 1) -> None:
    for _ in range(count):
        log.add(Call(log.last + 1, 0, 0, "", "read", f"sys/{log.last}", 0, 1, 0))


@given(
    room=st.integers(1, 20),
    steps=st.lists(st.one_of(st.integers(0, 30), st.just("clear")), max_size=12),
    since=st.integers(0, 200),
    most=st.one_of(st.none(), st.integers(0, 30)),
)
def test_the_newest_are_kept_the_rest_is_counted_and_numbers_have_no_gap(
    room: int, steps: list[int | str], since: int, most: int | None
) -> None:
    log = ReadLog(room)
    numbers: list[int] = []
    dropped = last = 0
    for step in steps:
        if isinstance(step, int):
            add(log, step)
            numbers += range(last + 1, last + 1 + step)
            last += step
            dropped += max(0, len(numbers) - room)
            numbers = numbers[-room:]
        else:
            log.clear()
            numbers, dropped = [], 0
    assert (log.last, log.dropped) == (last, dropped)
    assert [call.number for call in log.since(since, most)] == [one for one in numbers if one > since][:most]


def test_a_value_is_what_a_person_would_write() -> None:
    def value(path: str, data: bytes, errno: int = 0) -> str | None:
        return Call(1, 0, 0, "", "read", path, 0, 8, errno, data).value

    assert value("sys/a", b"123\n") == "123"
    assert value("sys/a", b"\xff\x1b\n") == "\\xff\x1b"
    assert value("dev/cpu/0/msr", (0x123).to_bytes(16, "little")) == "0x123"
    assert value("sys/a", b"") is None
    assert value("sys/a", b"", EIO) is None
    assert value("sys/a", b"1", EIO) == "1"


def test_the_name_of_a_thread_is_asked_for_at_each_open_and_else_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    log = ReadLog()
    own = Path("/proc/self/comm").read_text().strip()
    assert log.command_of(os.getpid(), anew=True) == own
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as cat:
        # What it says comes after it has its new name.
        cat.stdin.write(b".")  # type: ignore[union-attr]
        cat.stdin.flush()  # type: ignore[union-attr]
        assert os.read(cat.stdout.fileno(), 1) == b"."  # type: ignore[union-attr]
        assert log.command_of(cat.pid, anew=True) == "cat"
    assert log.command_of(cat.pid, anew=False) == "cat"
    assert log.command_of(cat.pid, anew=True) == ""
    # Threads come and go for ever: the names of not so many are kept.
    monkeypatch.setattr(read_log, "_NAMES_KEPT", 3)
    for pid in range(-5, 0):
        assert log.command_of(pid, anew=False) == ""
    assert log.command_of(os.getpid(), anew=False) == own
    assert len(log._commands) <= 3


# On a mount.


@pytest.fixture
def live() -> LiveMachine:
    return start("skylake-sp-2s", load=ConstantLoad({"package": 100, "dram": 8}), at_s=10)


def calls(live: LiveMachine) -> list[Call]:
    with live.held():
        return live.log.since()


def at(mount: FuseMount, path: str) -> Path:
    return Path(mount.directory) / path


def test_nothing_is_written_down_before_it_is_switched_on_and_after(live: LiveMachine, mount: Mount) -> None:
    path = at(mount(live), f"{SHORT}/energy_uj")
    kept = os.open(path, os.O_RDONLY)
    try:
        os.pread(kept, 64, 0)
        assert calls(live) == []
        live.log.switch(on=True)
        os.pread(kept, 64, 0)
        live.log.switch(on=False)
        os.pread(kept, 64, 0)
    finally:
        os.close(kept)
    (call,) = calls(live)
    assert (call.operation, call.path, call.size) == ("read", f"{ZONE}/energy_uj", 64)


def test_a_program_is_seen_to_open_and_read_with_its_name_and_the_truth(live: LiveMachine, mount: Mount) -> None:
    shown = mount(live)
    live.log.switch(on=True)
    with subprocess.Popen(["cat", at(shown, f"{SHORT}/energy_uj")], stdout=subprocess.PIPE) as cat:
        out, _ = cat.communicate()
    opened, read, *rest = calls(live)
    assert (opened.operation, opened.path, opened.errno) == ("open", f"{ZONE}/energy_uj", 0)
    assert {(one.pid, one.command, one.at_ns) for one in (opened, read, *rest)} == {(cat.pid, "cat", 10 * 10**9)}
    assert (read.operation, read.value, read.data) == ("read", out.decode().strip(), out)
    assert (read.domain, read.truth_uj) == ("package-0", 1_000_000_000)
    # The end of the text is no energy.
    assert [(one.data, one.domain, one.offset) for one in rest] == [(b"", None, len(out))]


def test_the_truth_is_of_the_nanosecond_of_the_read_while_time_runs(live: LiveMachine, mount: Mount) -> None:
    program = (
        "import os, sys\n"
        "files = [(os.open(path, os.O_RDONLY), int(at)) for path, at in zip(sys.argv[1::2], sys.argv[2::2])]\n"
        "for _ in range(50):\n"
        "    for file, at in files: os.pread(file, 8 if at else 64, at)\n"
    )
    shown = mount(live)
    with live.held() as machine:
        first_uj = int(machine.sysfs.read("class/powercap/intel-rapl:0/energy_uj"))
        start_uj = machine.truth_uj("package-0")
        unit_uj = machine.counter_units()["dram"] * 10**6
        first_raw = machine.msr.read(20, 0x619)
        start_raw_uj = machine.truth_uj("package-1/dram")
    live.log.switch(on=True)
    live.let_time_run()
    files: list[str | Path] = [at(shown, f"{SHORT}/energy_uj"), "0", at(shown, "dev/cpu/20/msr"), str(0x619)]
    subprocess.run([sys.executable, "-c", program, *files], check=True)
    reads = [one for one in calls(live) if one.operation == "read"]
    assert len(reads) == 100
    for one in reads:
        assert one.truth_uj is not None
        if one.domain == "package-0":
            shown_uj, spent_uj = int(one.value or "") - first_uj, one.truth_uj - start_uj
            # 100 W in the millisecond between two ticks, a unit, and the driver's 2.6 ppm.
            assert -200_000 <= shown_uj - spent_uj <= 62 * 2
        else:
            assert (one.domain, one.path, one.offset) == ("package-1/dram", "dev/cpu/20/msr", 0x619)
            moved_uj = (int(one.value or "", 16) - first_raw) * unit_uj
            assert -8_100 <= moved_uj - (one.truth_uj - start_raw_uj) <= 16


def test_what_fails_is_written_down_with_its_errno(live: LiveMachine, mount: Mount) -> None:
    shown = mount(live)
    with live.held() as machine:
        machine.sysfs.inject("class/powercap/intel-rapl:0/energy_uj", "read", EIO, 0, 1)
        machine.sysfs.inject("class/powercap/intel-rapl:0/name", "open", EACCES)
        machine.sysfs.inject("class/powercap/intel-rapl:0/enabled", "write", ENODATA)
    live.log.switch(on=True)
    with pytest.raises(OSError, match="Input/output"):
        at(shown, f"{SHORT}/energy_uj").read_text()
    with pytest.raises(PermissionError):
        at(shown, f"{SHORT}/name").read_text()
    with at(shown, f"{SHORT}/enabled").open("wb", buffering=0) as file, pytest.raises(OSError, match="No data"):
        file.write(b"1")
    failed = [(one.operation, one.path.rpartition("/")[2], one.errno, one.value) for one in calls(live) if one.errno]
    assert failed == [
        ("read", "energy_uj", EIO, None),
        ("open", "name", EACCES, None),
        ("write", "enabled", ENODATA, "1"),
    ]


def test_a_write_is_written_down_with_what_was_written(live: LiveMachine, mount: Mount) -> None:
    shown = mount(live)
    live.log.switch(on=True, with_truth=False)
    at(shown, f"{SHORT}/constraint_0_power_limit_uw").write_text("90000000\n")
    with at(shown, "dev/cpu/0/msr").open("r+b", buffering=0) as msr:
        limit = os.pread(msr.fileno(), 8, 0x610)
        os.pwrite(msr.fileno(), limit, 0x610)
        os.pread(msr.fileno(), 16, 0x611)
    seen = [one for one in calls(live) if one.operation != "open"]
    assert [(one.operation, one.offset, one.size) for one in seen] == [
        ("write", 0, 9),
        ("read", 0x610, 8),
        ("write", 0x610, 8),
        ("read", 0x611, 16),
    ]
    assert seen[0].value == "90000000"
    assert seen[1].value == seen[2].value == f"{int.from_bytes(limit, 'little'):#x}"
    assert [(one.domain, one.truth_uj) for one in seen] == [(None, None)] * 3 + [("package-0", None)]


def test_the_ioctls_of_the_device_are_a_read_and_a_write_of_their_register(live: LiveMachine, mount: Mount) -> None:
    shown = mount(live)
    live.log.switch(on=True)
    with at(shown, "dev/cpu/0/msr").open("r+b", buffering=0) as msr:
        words = bytearray(32)
        words[4:8] = (0x611).to_bytes(4, "little")
        fcntl.ioctl(msr, RDMSR_REGS, words)
        with live.held() as machine:
            limit = machine.msr.read(0, 0x610)
        words[0:4], words[8:12] = (limit & 0xFFFFFFFF).to_bytes(4, "little"), (limit >> 32).to_bytes(4, "little")
        words[4:8] = (0x610).to_bytes(4, "little")
        fcntl.ioctl(msr, WRMSR_REGS, words)
        with pytest.raises(OSError, match="ioctl"):
            fcntl.ioctl(msr, 0x5401, words)
    with live.held() as machine:
        raw = machine.msr.read(0, 0x611)
    _, read, write = calls(live)
    assert (read.operation, read.offset, read.value, read.domain) == ("read", 0x611, f"{raw:#x}", "package-0")
    assert read.truth_uj == 1_000_000_000
    assert (write.operation, write.offset, write.value, write.domain) == ("write", 0x610, f"{limit:#x}", None)


def test_a_zone_without_a_truth_is_written_down_without_one(make_machine: Callable[..., Machine], mount: Mount) -> None:
    zones = (
        '[[control_type]]\nname = "a"\n'
        '[[control_type.zone]]\nname = "b"\nenergy_uj = 5\nmax_energy_range_uj = 100\n'
        '[[control_type.zone]]\nname = "c"\nenergy_uj = 6\n'
    )
    live = LiveMachine(make_machine(more=zones))
    shown = mount(live)
    live.log.switch(on=True)
    for zone in ("a:0", "a:1"):
        at(shown, f"sys/class/powercap/{zone}/energy_uj").read_text()
    reads = [one for one in calls(live) if one.operation == "read" and one.offset == 0]
    assert [(one.value, one.domain, one.truth_uj) for one in reads] == [("5", "a/b", 0), ("6", None, None)]


def test_of_very_much_only_the_beginning_is_written_down(live: LiveMachine, mount: Mount) -> None:
    shown = mount(live)
    live.log.switch(on=True)
    with at(shown, "dev/cpu/0/msr").open("r+b", buffering=0) as msr:
        read = os.pread(msr.fileno(), 100_000, 0x606)
        assert os.pwrite(msr.fileno(), os.pread(msr.fileno(), 8, 0x610) * 1000, 0x610) == 8000
    seen = [(one.operation, one.size, one.data) for one in calls(live) if one.operation != "open"]
    assert len(read) == 100_000
    assert seen[0] == ("read", 100_000, read[:MOST_DATA])
    assert seen[2] == ("write", 8000, seen[1][2] * (MOST_DATA // 8))


def test_where_a_file_lies_is_known_also_after_very_many_others(
    live: LiveMachine, mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuse_log, "_PLACES_KEPT", 2)
    shown = mount(live)
    live.log.switch(on=True)
    for _ in range(2):
        for name in ("energy_uj", "name", "enabled", "uevent"):
            at(shown, f"{SHORT}/{name}").read_bytes()
    seen = [(one.path.rpartition("/")[2], one.domain) for one in calls(live) if one.operation == "read" and one.data]
    assert seen == [("energy_uj", "package-0"), ("name", None), ("enabled", None)] * 2


@pytest.mark.usefixtures("mounts")
def test_a_write_that_crashes_the_kernel_is_written_down_too(
    make_machine: Callable[..., Machine], tmp_path: Path
) -> None:
    live = LiveMachine(make_machine("kabylake", "6.12", registers={0x606: None}))
    with FuseMount(live, tmp_path / "m") as shown:
        live.log.switch(on=True)
        limit = at(shown, f"{SHORT}/constraint_0_power_limit_uw")
        done = subprocess.run(["dd", f"of={limit}", "status=none"], input=b"1000000\n", check=False)
    assert done.returncode == -9
    last = calls(live)[-1]
    assert (last.operation, last.command, last.data, last.errno) == ("write", "dd", b"1000000\n", EIO)
