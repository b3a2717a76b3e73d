# SPDX-License-Identifier: Apache-2.0
"""The probes of the powercap framework: what they tell their module, and that the recordings are those of today's."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kernel_witness.guest import framework as guest
from kernel_witness.guest.catalogue import PROBES
from kernel_witness.machines import load_description, machine_names
from raplica_fixtures import recordings_dir
from raplica_fixtures.recording import Framework, load_recording

# Those that need no tree to go on; the others look for zones and open their files.
BLIND = ("framework", "framework-removal")


class Listener:
    """In place of a recorder: keeps what was done."""

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []

    def label(self, _: str) -> None:
        pass

    def tree(self, _: str) -> None:
        pass

    def calls(self, op: str, _: str | None, doing: Callable[[], dict[str, Any]]) -> None:
        self.said.append({"op": op, **doing()})


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in place of the module's."""
    path = tmp_path / "framework"
    path.touch()
    monkeypatch.setattr(guest, "_COMMANDS", str(path))
    return path


@pytest.mark.parametrize("name", BLIND)
def test_the_recordings_hold_the_commands_that_the_probes_give(
    name: str, module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert module.exists()
    monkeypatch.setattr(guest.Framework, "_called", lambda _: {})
    listener = Listener()
    for probe in load_description(name).probes:
        PROBES[probe](listener, None)  # type: ignore[arg-type]  # all that these probes use of them
    given = [said["command"] for said in listener.said]
    for kernel in ("6.1", "6.12"):
        recording = load_recording(recordings_dir() / f"{name}-{kernel}.json.xz")
        assert [step.command for step in recording.steps if isinstance(step, Framework)] == given


def test_every_probe_of_the_framework_belongs_to_a_machine() -> None:
    used = {probe for name in machine_names() for probe in load_description(name).probes}
    assert {name for name in PROBES if name.startswith("framework-")} <= used


@pytest.mark.usefixtures("module")
def test_an_error_of_the_framework_is_written_down_and_one_of_the_module_stops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listener = Listener()
    framework = guest.Framework(listener)  # type: ignore[arg-type]
    write = os.write

    def failing(number: int) -> Callable[[int, bytes], int]:
        def fail(_: int, data: bytes) -> int:
            raise OSError(number, data.decode())

        return fail

    monkeypatch.setattr(os, "write", failing(errno.EEXIST))
    framework.do("type t name=t")
    assert listener.said == [{"op": "framework", "command": "type t name=t", "ret": -1, "errno": "EEXIST"}]
    monkeypatch.setattr(os, "write", failing(errno.EBADMSG))
    with pytest.raises(ValueError, match="the module does not understand: nonsense"):
        framework.do("nonsense")
    monkeypatch.setattr(os, "write", write)
    framework.close()


def test_callbacks_are_those_since_the_step_before(module: Path) -> None:
    listener = Listener()
    framework = guest.Framework(listener)  # type: ignore[arg-type]
    module.write_text("a release: ok\n")
    framework.called()
    with module.open("a") as log:
        log.write("z get_power_uw: ok\nz set_enable 1: EIO\n")
    framework.called()
    framework.called()
    assert [said.get("calls") for said in listener.said] == [
        *(["a release: ok"], ["z get_power_uw: ok", "z set_enable 1: EIO"], None),
    ]
    framework.close()
