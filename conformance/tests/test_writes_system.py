# SPDX-License-Identifier: Apache-2.0
"""Real processes, real files and real signals: what Linux does under a run that writes."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from raplica_conformance.subjects.host import CpuFacts, OperatingSystem, Place

# Each test starts processes that judge a machine.
pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("machine_of_files.py")


def call(*arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def said(*arguments: object) -> Any:
    """What the script prints at its end."""
    with call(*arguments) as process:
        _, told = process.communicate(timeout=120)
    assert process.returncode == 0, told.decode()
    return json.loads(told)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    assert said("build", tmp_path) == "built"
    return tmp_path


def registers(root: Path) -> bytes:
    return (root / "dev/cpu/0/msr").read_bytes()


def test_a_run_that_is_killed_by_the_kernel_at_random_changes_is_put_back_each_time(root: Path) -> None:
    before = registers(root)
    found = said("kill", root, 20, 8)
    assert found["wrong"] == []
    assert found["killed"] == 8
    assert found["dirty"] >= 1
    assert registers(root) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_as_ever_and_everything_is_put_back_before(number: signal.Signals, root: Path) -> None:
    before = registers(root)
    with call("run", root, 1000) as process:
        assert process.stdout is not None
        process.stdout.read(80)
        process.send_signal(number)
        # A second one does not stop what is being put back.
        process.send_signal(number)
        _, told = process.communicate(timeout=60)
    if number == signal.SIGINT:
        assert process.returncode in (1, -signal.SIGINT)
        assert b"KeyboardInterrupt" in told
    else:
        assert process.returncode == -number
    assert registers(root) == before
    assert not (root / "state/writes.journal").exists()


def test_while_a_run_goes_on_another_is_refused_and_restore_too_and_nothing_is_lost(root: Path) -> None:
    before = registers(root)
    with call("run", root, 1000) as process:
        assert process.stdout is not None
        process.stdout.read(20)
        with call("run", root, 1) as second:
            _, told = second.communicate(timeout=60)
        assert second.returncode == 1
        assert b"another run that writes to this machine is going on" in told
        status, lines = said("restore", root)
        assert status == 2
        assert "is going on, and puts everything back itself" in lines[0]
        process.kill()
        process.communicate()
    assert said("restore", root)[0] == 0
    assert registers(root) == before


def test_after_another_boot_nothing_is_written(root: Path) -> None:
    with call("run", root, 1000) as process:
        assert process.stdout is not None
        process.stdout.read(80)
        process.kill()
        process.communicate()
    left = registers(root)
    (root / "proc/sys/kernel/random/boot_id").write_text("3d0c9a4e-0000-4000-8000-000000000002\n")
    status, lines = said("restore", root)
    assert status == 0
    assert lines[0].endswith("nothing is written")
    assert registers(root) == left


# --- the operating system itself, on files


@pytest.fixture
def system(tmp_path: Path) -> OperatingSystem:
    for folder in ("sys/devices/system/cpu", "dev/cpu/0", "proc/sys/kernel/random"):
        (tmp_path / folder).mkdir(parents=True)
    return OperatingSystem(str(tmp_path / "sys"), str(tmp_path / "dev"), str(tmp_path / "proc"))


def test_a_write_cuts_nothing_off_and_follows_no_link_out_of_sysfs(system: OperatingSystem, tmp_path: Path) -> None:
    file = tmp_path / "sys/attribute"
    file.write_text("1234567\n")
    assert system.write("attribute", b"99") == 2
    assert file.read_text() == "9934567\n"
    assert system.write_refusal("attribute") == 0
    assert system.write_refusal("none") == errno.ENOENT
    (tmp_path / "sys/away").symlink_to("/etc/hostname")
    with pytest.raises(FileNotFoundError):
        system.write("away", b"1")


def test_a_register_is_eight_bytes_at_its_number(system: OperatingSystem, tmp_path: Path) -> None:
    for attempt in (lambda: system.msr_read(0, 0x610), lambda: system.msr_write(0, 0x610, 1)):
        with pytest.raises(FileNotFoundError):
            attempt()
    assert system.msr_refusal(0, 0x610) == errno.ENOENT
    device = tmp_path / "dev/cpu/0/msr"
    device.write_bytes(b"")
    assert system.msr_refusal(0, 0x610) == 0
    # Nothing was written by that.
    assert device.stat().st_size == 0
    with pytest.raises(OSError, match=rf"\[Errno {errno.EIO}\]"):
        system.msr_read(0, 0x610)
    system.msr_write(0, 0x610, 0x00428440001B83E8)
    assert system.msr_read(0, 0x610) == 0x00428440001B83E8
    assert device.read_bytes()[0x610:] == bytes.fromhex("e8831b0040844200")


def test_lockdown_refuses_a_write_of_nothing_too(
    system: OperatingSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dev/cpu/0/msr").write_bytes(b"")
    asked: list[tuple[bytes, int]] = []

    def refuse(_handle: int, data: bytes, offset: int) -> int:
        asked.append((data, offset))
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "pwrite", refuse)
    assert system.msr_refusal(0, 0x610) == errno.EPERM
    assert asked == [(b"", 0x610)]


def test_what_the_kernel_says_of_its_cpus_and_its_boot(system: OperatingSystem, tmp_path: Path) -> None:
    assert (system.cpu_facts(), system.places()) == (CpuFacts(), {})
    (tmp_path / "proc/cpuinfo").write_text(
        "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 143\nmodel name\t: Some CPU : 1\n"
        "flags\t\t: fpu pts pln\n\nprocessor\t: 1\nmodel\t\t: 7\n"
    )
    assert system.cpu_facts() == CpuFacts("GenuineIntel", 6, 143, frozenset({"fpu", "pts", "pln"}))
    (tmp_path / "proc/sys/kernel/random/boot_id").write_text("3d0c9a4e-0000-4000-8000-000000000001\n")
    assert system.boot_id() == "3d0c9a4e-0000-4000-8000-000000000001"
    cpus = tmp_path / "sys/devices/system/cpu"
    (cpus / "online").write_text("0-1,3,x\n")
    for cpu, package, die in ((0, "0", "0"), (1, "1", "1"), (2, "0", "0"), (3, "1", None)):
        (cpus / f"cpu{cpu}/topology").mkdir(parents=True)
        (cpus / f"cpu{cpu}/topology/physical_package_id").write_text(f"{package}\n")
        if die is not None:
            (cpus / f"cpu{cpu}/topology/die_id").write_text(f"{die}\n")
    assert system.places() == {0: Place(0, 0), 1: Place(1, 1), 3: Place(1, 0)}
