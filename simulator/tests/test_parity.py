# SPDX-License-Identifier: Apache-2.0
"""The simulator against unmodified kernels: every committed recording is done again, and nothing may differ."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from raplica_fixtures import recording_paths
from raplica_fixtures.recording import Calls, Crash, Read, TreeStep, Write, is_powercap, load_recording
from raplica_simulator import load_profile
from raplica_simulator.hardware import msr
from raplica_simulator.linux import rapl_units
from raplica_simulator.linux.kernel import KERNELS
from raplica_simulator.replay.player import Replay, replay

RECORDINGS = recording_paths()
# A small one with a tree whose every number comes from one unit.
AMD = next(path for path in RECORDINGS if path.name.startswith("zen5-6.12"))
# What the other Pythons play: each kernel, one and two sockets, both interfaces, the framework without a driver.
QUICK = {"baytrail-7.2", "framework-6.12", "mmio-tigerlake-6.12", "skx_2s-6.1", "skx_2s-6.12", "zen5-6.12"}

# Everything that parity does not compare: system calls that a machine without a mount has no door for, and a time,
# since its files have none.  On a mount all of them are made (conformance/tests/test_mount_parity.py).
LEFT_OUT = {
    *(f"file: {name}" for name in ("link", "open_path", "rename", "symlink", "truncate_0", "unlink", "utimes")),
    *(f"file: {name}" for name in ("dev_major", "f_type", "listxattr", "mtime_nonzero", "setxattr_user", "statfs")),
    *(f"file: {name}" for name in ("fallocate", "flock", "fsync", "ftruncate_0", "ftruncate_100", "ioctl", "mmap")),
    *(f"directory: {name}" for name in ("fsync", "mkdir", "rename", "rmdir", "symlink", "unlink")),
    # Below a file; and below a directory that was kept open, where a machine opens by path alone.
    *("directory: open_under_file", "held: openat_name", "held: openat_dotdot"),
}


def played(path: Path) -> Replay:
    return replay(load_recording(path), load_profile(path))


def name_of(path: Path) -> str:
    return path.name.removesuffix(".json.xz")


def test_there_are_recordings_of_every_witnessed_kernel_and_of_no_other() -> None:
    seen = {name_of(path).rpartition("-")[2] for path in RECORDINGS}
    assert seen == {kernel.version for kernel in KERNELS.values() if kernel.witnessed}


def test_the_recordings_that_every_python_plays_are_there() -> None:
    assert {name_of(path) for path in RECORDINGS} > QUICK


@pytest.mark.untraced  # what is played below shows it
@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=name_of(path), marks=() if name_of(path) in QUICK else pytest.mark.slow)
        for path in RECORDINGS
    ],
)
def test_a_recorded_kernel_and_the_machine_do_not_differ(
    path: Path, record_property: Callable[[str, object], None]
) -> None:
    recording = load_recording(path)
    # The file's name is trusted above, and the table says which release a version means.
    assert name_of(path).endswith(f"-{recording.kernel}")
    assert recording.kernel_full == KERNELS[recording.kernel].release
    result = replay(recording, load_profile(path))
    assert [str(difference) for difference in result.differences] == []

    powercap = [step for step in recording.steps if isinstance(step, Read | Write | Crash) and is_powercap(step.path)]
    trees = [step for step in recording.steps if isinstance(step, TreeStep)]
    odd = [step for step in recording.steps if isinstance(step, Calls)]
    assert result.steps == len(powercap)
    # A machine that shows more than the kernel did would have been told as a difference.
    assert result.entries == sum(len(tree.entries) for tree in trees)
    # What is left out is known by name, lies outside of what the kernel does with powercap, and is little.
    for name, count in result.left_out.items():
        record_property(f"left out: {name}", count)
        assert name in LEFT_OUT, f"{name} is left out and nobody says why"
    assert len(odd) <= 0.02 * (len(powercap) + len(trees) + len(odd))


def test_a_wrong_energy_unit_makes_parity_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rapl_units, "_NJ_PER_J", 1_000_100_000)
    assert played(AMD).differences


def test_a_lost_register_access_makes_parity_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = msr.RegisterFile.driver_read

    def forgetful(self: msr.RegisterFile, cpu: int, register: int, mask: int) -> int:
        try:
            return honest(self, cpu, register, mask)
        finally:
            if register == 0xC0010299:
                self.log.pop()

    monkeypatch.setattr(msr.RegisterFile, "driver_read", forgetful)
    assert played(AMD).differences
