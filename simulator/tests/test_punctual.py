# SPDX-License-Identifier: Apache-2.0
"""A scenario on a mount: other processes meet its events, on time, also with names that the kernel remembers."""

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from raplica_simulator import Machine, Scenario
from raplica_simulator.live.machine import LiveMachine, start
from raplica_simulator.scenario.punctual import Punctual
from raplica_simulator.surfaces.fuse import FuseMount

Mount = Callable[..., FuseMount]
PATIENCE_S = 60
# What lasts an hour is almost over so much later.
ALMOST_S = 3590


def wait_for(condition: Callable[[], bool]) -> None:
    """Until it holds; a machine's second may take this host longer."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def cat(path: str | Path) -> tuple[int, str]:
    """Read a file in a process of its own: its exit status and what it says."""
    done = subprocess.run(["cat", str(path)], capture_output=True, text=True, check=False, env={"LC_ALL": "C"})
    return done.returncode, done.stdout or done.stderr.rpartition(": ")[2]


@contextmanager
def playing(mount: Mount, live: LiveMachine) -> Iterator[Path]:
    """Show it: the folder of its zones."""
    mounted = mount(live)
    with Punctual(live, mounted.held):
        yield Path(mounted.directory) / "sys/class/powercap"


@pytest.fixture
def lasting(tmp_path: Path) -> Callable[[str, str], LiveMachine]:
    """A machine to which something happens after 5 s, and is over after an hour: nobody who is late misses it."""

    def make(machine: str, do: str) -> LiveMachine:
        file = tmp_path / "lasting.toml"
        file.write_text(f'machine = "{machine}"\n[[event]]\nat_s = 5\nuntil_s = 3600\n{do}\n')
        return start(scenario=Scenario.load(file), speed=10)

    return make


def test_root_is_refused_what_a_scenario_refuses(mount: Mount) -> None:
    live = start(scenario=Scenario.load("eacces"))
    with playing(mount, live) as zones:
        live.let_time_run()
        assert cat(zones / "intel-rapl:0/energy_uj") == (1, "Permission denied\n")
        assert cat(zones / "intel-rapl:0/name") == (0, "package-0\n")


def test_the_third_read_of_a_program_fails(mount: Mount) -> None:
    live = start(scenario=Scenario.load("eio-third-read"))
    with playing(mount, live) as zones:
        live.let_time_run()
        energy = os.open(zones / "intel-rapl:0/energy_uj", os.O_RDONLY)
        try:
            assert os.pread(energy, 100, 0)
            assert os.pread(energy, 100, 0)
            with pytest.raises(OSError, match="Input/output error"):
                os.pread(energy, 100, 0)
            assert os.pread(energy, 100, 0)
        finally:
            os.close(energy)


def test_names_go_and_come_on_time_without_anybody_asking_the_machine(
    mount: Mount, lasting: Callable[[str, str], LiveMachine]
) -> None:
    live = lasting("skylake-sp-2s", 'do = "offline"\npackage = 1')
    with playing(mount, live) as zones:
        energy = os.open(zones / "intel-rapl:1/energy_uj", os.O_RDONLY)
        live.let_time_run()
        try:
            # What stat shows of a name that the kernel knows comes from no look at the machine.
            wait_for(lambda: not (zones / "intel-rapl:1").exists())
            with pytest.raises(OSError, match="No such device"):
                os.pread(energy, 100, 0)
            live.advance(seconds=ALMOST_S)
            wait_for((zones / "intel-rapl:1").exists)
        finally:
            os.close(energy)
        assert cat(zones / "intel-rapl:1/name") == (0, "package-1\n")


def test_a_mask_is_laid_over_names_that_are_known_and_taken_away_again(
    mount: Mount, lasting: Callable[[str, str], LiveMachine]
) -> None:
    live = lasting("kabylake", 'do = "mask"')
    with playing(mount, live) as zones:
        tree = zones.parents[1] / "devices/virtual/powercap"
        energy = os.open(zones / "intel-rapl:0/energy_uj", os.O_RDONLY)
        live.let_time_run()
        try:
            wait_for(lambda: not (zones / "intel-rapl:0").exists())
            assert (zones / "intel-rapl:0").is_symlink()
            assert os.listdir(tree) == []  # noqa: PTH208 - names alone
            assert oct(tree.stat().st_mode) == "0o41777"
            assert cat(zones / "intel-rapl:0/name") == (1, "No such file or directory\n")
            # Who has it open reads on.
            assert os.pread(energy, 100, 0)
        finally:
            os.close(energy)
        live.advance(seconds=ALMOST_S)
        wait_for((zones / "intel-rapl:0").exists)
        assert cat(zones / "intel-rapl:0/name") == (0, "package-0\n")


# Without a mount.


class _Surface:
    """Counts how often somebody was told."""

    def __init__(self, live: LiveMachine) -> None:
        self.live = live
        self.told: list[int] = []

    @contextmanager
    def held(self) -> Iterator[Machine]:
        with self.live.held() as machine:
            yield machine
        assert self.live.events is not None
        self.told.append(self.live.events.done)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "raplica-punctual"]


def test_events_that_a_reader_let_happen_are_told_as_well() -> None:
    live = start(scenario=Scenario.load("zone-vanishes"))
    surface = _Surface(live)
    with Punctual(live, surface.held):
        live.advance(seconds=6)
        wait_for(lambda: surface.told == [1])
        live.advance(seconds=10)
        wait_for(lambda: surface.told == [1, 2])


def test_time_that_stands_brings_nothing_and_an_early_end_is_no_wait() -> None:
    live = start(scenario=Scenario.load("zone-vanishes"))
    surface = _Surface(live)
    with Punctual(live, surface.held):
        assert threads() == ["raplica-punctual"]
    assert (threads(), surface.told) == ([], [])
    with live.held() as machine:
        assert machine.clock.now_ns == 0


@pytest.mark.parametrize("live", [start("kabylake"), start(scenario=Scenario.load("wrap"))], ids=["none", "no-events"])
def test_nothing_is_started_for_a_machine_to_which_nothing_happens(live: LiveMachine) -> None:
    with Punctual(live, live.held):
        assert threads() == []


def test_what_could_not_be_done_any_more_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "late.toml").write_text(
        'machine = "kabylake"\n[[event]]\nat_s = 5\ndo = "fault"\npath = "class/powercap/intel-rapl:0/energy_uj"\n'
    )
    live = start(scenario=Scenario.load(tmp_path / "late.toml"))
    told: list[str] = []
    with Punctual(live, live.held, told.append):
        with live.held() as machine:
            machine.driver.unload()
        live.advance(seconds=5)
    (line,) = told
    assert line.startswith("warning: ")
    assert "late.toml: event[0]: at 5 s: class/powercap/intel-rapl:0/energy_uj: No such file or directory" in line
