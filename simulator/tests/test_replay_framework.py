# SPDX-License-Identifier: Apache-2.0
"""The framework against unmodified kernels that were told to register everything, and some things that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from raplica_fixtures import recording_paths
from raplica_fixtures.recording import Framework, Recording, TreeStep, load_recording
from raplica_simulator import Machine, load_profile
from raplica_simulator.linux import device, powercap_attributes, powercap_sys
from raplica_simulator.replay.framework import FrameworkClient
from raplica_simulator.replay.player import Replay, read_entry, replay

TOLD = [path for path in recording_paths() if path.name.startswith(("framework", "dtpm-", "idle-", "kernel-doc-"))]


def name_of(path: Path) -> str:
    return path.name.removesuffix(".json.xz")


def played(path: Path) -> Replay:
    return replay(load_recording(path), load_profile(path))


def one(name: str) -> Path:
    return next(path for path in TOLD if name_of(path) == name)


def test_seven_clients_were_recorded_on_both_witnessed_kernels() -> None:
    clients = {name_of(path).rpartition("-")[0] for path in TOLD}
    assert {f"{client}-{kernel}" for client in clients for kernel in ("6.1", "6.12")} == {*map(name_of, TOLD)}
    assert len(clients) == 7


@pytest.mark.parametrize("path", TOLD, ids=name_of)
def test_a_client_is_answered_as_the_kernel_answered_it(path: Path) -> None:
    recording = load_recording(path)
    result = played(path)
    assert [str(difference) for difference in result.differences] == []
    commands = [step for step in recording.steps if isinstance(step, Framework)]
    assert len(commands) > 10
    assert result.causes >= len(commands)
    assert {name.partition(":")[0] for name in result.left_out} <= {"module", "file", "directory", "held"}


@pytest.mark.parametrize(
    ("place", "name", "wrong", "recording"),
    [
        (powercap_sys, "_MAX_CONSTRAINTS", 11, "framework-6.12"),
        (powercap_attributes, "_CONSTRAINT_NAME_MAX", 30, "framework-attributes-6.1"),
        (powercap_attributes, "ENODATA", 22, "framework-attributes-6.12"),
        (powercap_attributes, "ENOSYS", 95, "framework-attributes-6.1"),
        (powercap_attributes, "_SIGN", 1 << 64, "framework-attributes-6.12"),
        (device, "ENOENT", 19, "framework-removal-6.12"),
    ],
)
def test_a_wrong_number_makes_the_comparison_fail(
    place: object, name: str, wrong: int, recording: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, name, wrong)
    assert played(one(recording)).differences


def test_an_id_that_is_free_too_late_makes_the_comparison_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(powercap_sys._Ids, "release", lambda _self, _number: None)
    assert played(one("framework-removal-6.1")).differences


def test_a_release_that_is_not_told_makes_the_comparison_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(powercap_sys.Zone, "_release", lambda zone: zone._ids.release(zone.id))
    assert played(one("framework-removal-6.12")).differences


def test_a_command_that_the_witness_does_not_have_is_refused() -> None:
    client = FrameworkClient(Machine.from_profile("zen4").powercap)
    with pytest.raises(ValueError, match="no command 'explode now'"):
        client.do(Framework("explode now", 0))


def recorded_tree(recording: Recording, label: str) -> TreeStep:
    return next(step for step in recording.steps if isinstance(step, TreeStep) and step.label == label)


@pytest.mark.parametrize("kernel", ["6.1", "6.12"])
@pytest.mark.parametrize(
    ("machine", "recording", "label"),
    [
        ("kernel-doc-example", "kernel-doc-like", "the kernel's page"),
        ("idle-injection", "idle-injection-like", "idle-injection"),
        ("dtpm", "dtpm-like", "dtpm"),
    ],
)
def test_a_profile_makes_the_tree_that_the_same_callbacks_made_on_the_kernel(
    machine: str, recording: str, label: str, kernel: str
) -> None:
    tree = recorded_tree(load_recording(one(f"{recording}-{kernel}")), label)
    sysfs = Machine.from_profile(machine, kernel=kernel).sysfs
    for path, entry in tree.entries.items():
        seen = read_entry(sysfs, path)
        assert (seen.kind, seen.mode, seen.nlink, seen.size, seen.opens) == (
            *(entry.kind, entry.mode, entry.nlink, entry.size, entry.opens),
        ), path
        assert (seen.order, seen.target) == (entry.order, entry.target)
        # The numbers are each one's own; what fails, and how, is not, and neither are names.
        if entry.read is not None and seen.read is not None:
            assert (seen.read.errno, seen.read.open_errno) == (entry.read.errno, entry.read.open_errno), path
            if path.endswith("name"):
                assert seen.read == entry.read
