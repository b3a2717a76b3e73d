# SPDX-License-Identifier: Apache-2.0
"""The whole program on a live machine: a FUSE mount whose time moves when the test says so."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import raplica_reader
from raplica_simulator.live.machine import LiveMachine, start
from raplica_simulator.load.plan import read_load
from raplica_simulator.surfaces.fuse import FuseMount

PROGRAM = [sys.executable, "-I", "-S", str(Path(raplica_reader.__file__).parent)]
SECOND = 10**9


class Talk:
    """A running `raplica-reader stepped`, on a mount of a machine whose clock it is told."""

    def __init__(self, live: LiveMachine, mount: FuseMount, *arguments: str) -> None:
        self.live = live
        self.mount = mount
        self.root = Path(mount.directory)
        self.process = subprocess.Popen(
            [*PROGRAM, "stepped", "--sysfs", str(self.root / "sys"), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, do: str) -> dict[str, dict[str, Any]]:
        """Say one command with the machine's time; gives zones by path."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"do": do, "at_ns": int(self.live.machine.clock.now_ns)}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert answer["ok"], answer
        return {zone["path"]: zone for zone in answer["zones"]}

    def advance(self, seconds: int) -> None:
        with self.mount.held() as machine:
            machine.clock.advance(seconds=seconds)

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(30) == 0
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def talk(mounts: None, tmp_path: Path) -> Iterator[Callable[..., Talk]]:  # noqa: ARG001 - it skips where there is no FUSE
    """Mount a machine and begin to talk about it."""
    if os.geteuid() != 0:
        pytest.skip("only root reads the counters of a mount, as on a machine")
    troubles: list[str] = []
    with ExitStack() as stack:

        def begin(machine_id: str, *arguments: str, load: str | None = None) -> Talk:
            live = start(machine_id, load=None if load is None else read_load(load))
            mount = stack.enter_context(FuseMount(live, tmp_path / machine_id, troubles=troubles.append))
            words = [word.replace("MOUNT", mount.directory) for word in arguments]
            talking = Talk(live, mount, *words)
            stack.callback(talking.close)
            return talking

        yield begin
    assert troubles == []


def test_an_hour_of_a_server_is_counted_through_its_wraps(talk: Callable[..., Talk]) -> None:
    talking = talk("skylake-sp-2s", load="package=140,dram=20")
    before = {path: talking.live.machine.truth_uj(path) for path in talking.ask("start")}
    told: dict[str, dict[str, Any]] = {}
    for _ in range(36):
        talking.advance(100)
        told = talking.ask("sample")
    assert set(told) == {"package-0", "package-0/dram", "package-1", "package-1/dram"}
    for path, zone in told.items():
        assert zone["status"] == "ok"
        assert zone["energy_uj"] == pytest.approx(talking.live.machine.truth_uj(path) - before[path], rel=3e-6)
    assert told["package-0"]["energy_uj"] > 262_144_000_000


def test_registers_through_the_device_are_raw_steps_times_the_unit(talk: Callable[..., Talk]) -> None:
    talking = talk(
        "skylake-sp-2s", "--source", "msr", "--dev", "MOUNT/dev", "--cpu", "6:85", load="package=140,dram=20"
    )
    registers = {"package-0": (0x611, 10**9 / 2**14), "package-0/dram": (0x619, 15_300)}
    talking.ask("start")
    machine = talking.live.machine
    before = {path: machine.msr.read(0, register) for path, (register, _) in registers.items()}
    talking.advance(100)
    told = talking.ask("sample")
    for path, (register, unit_nj) in registers.items():
        steps = (machine.msr.read(0, register) - before[path]) % 2**32
        assert told[path]["energy_uj"] == int(steps * unit_nj) // 1000


def test_a_counter_that_fails_is_told_with_its_errno_and_made_up_for(talk: Callable[..., Talk]) -> None:
    talking = talk("kabylake", load="package=12")
    talking.ask("start")
    with talking.mount.held() as machine:
        machine.sysfs.inject("class/powercap/intel-rapl:0/energy_uj", on="read", errno=errno.EINVAL, times=1)
    talking.advance(10)
    failed = talking.ask("sample")["package-0"]
    assert (failed["status"], failed["error"], failed["energy_uj"]) == ("error", "EINVAL", None)
    talking.advance(10)
    healed = talking.ask("sample")["package-0"]
    assert (healed["status"], healed["energy_uj"]) == ("ok", pytest.approx(240_000_000, rel=1e-4))


def test_a_driver_that_goes_and_comes_is_followed(talk: Callable[..., Talk]) -> None:
    talking = talk("kabylake", load="package=12")
    talking.ask("start")
    with talking.mount.held() as machine:
        machine.driver.unload()
    talking.advance(10)
    assert {zone["error"] for zone in talking.ask("sample").values()} == {"ENODEV"}
    with talking.mount.held() as machine:
        machine.driver.load()
    talking.advance(10)
    told = talking.ask("sample")
    assert {zone["status"] for zone in told.values()} == {"ok"}
    assert told["package-0"]["energy_uj"] == pytest.approx(240_000_000, rel=1e-4)
    with talking.mount.held() as machine:
        machine.driver.unload()
        machine.driver.load()
    assert talking.ask("sample") == told


def test_a_machine_that_is_reset_is_not_taken_for_one_that_wrapped(talk: Callable[..., Talk]) -> None:
    talking = talk("skylake-sp-2s", load="package=140")
    talking.advance(500)
    talking.ask("start")
    with talking.mount.held() as machine:
        machine.reset()
    talking.advance(1)
    assert talking.ask("sample")["package-0"]["status"] == "reset"


def test_every_command_reads_the_mount(talk: Callable[..., Talk]) -> None:
    talking = talk("alderlake-p")
    sysfs = str(talking.root / "sys")
    for command, status in [
        (["list", "--why"], 0),
        (["read", "--interval", "0.01"], 0),
        (["watch", "--count", "1", "--interval", "0.01", "--json"], 0),
        (["read", "--interval", "0.01", "--prometheus"], 0),
        (["list", "--source", "perf"], 3),
    ]:
        done = subprocess.run([*PROGRAM, *command, "--sysfs", sysfs], capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stderr
        assert ("intel-rapl-mmio/package-0" in done.stdout) == (status == 0)
