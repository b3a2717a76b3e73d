# SPDX-License-Identifier: Apache-2.0
"""Machines for tests, without pytest's fixtures: made, stepped, broken, shown, and left behind clean."""

import errno
import os
import re
import subprocess
import unittest
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyfakefs.fake_filesystem_unittest import Patcher, Pause

from raplica_simulator import Scenario, load_profile
from raplica_simulator.fake_machine import FakeMachine
from raplica_simulator.linux.kernel import KernelCrash
from raplica_simulator.linux.sysfs_nodes import Attribute
from raplica_simulator.live.machine import start
from raplica_simulator.scenario.punctual import Punctual
from raplica_simulator.testing import CannotMount, fake_machine, live_machine, powercap_fakefs, powercap_tree

ENERGY = "class/powercap/intel-rapl:0/energy_uj"
POWERCAP = "class/powercap"


def energy_uj(machine: FakeMachine) -> int:
    return int(machine.sysfs.read(ENERGY))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# Making one.


def test_who_names_no_machine_gets_the_default_one_or_that_of_the_scenario() -> None:
    assert fake_machine().profile.id == "skylake-sp-2s"
    assert fake_machine(scenario="die-names").profile is not None
    assert fake_machine(scenario=Scenario.load("die-names")).profile.id == Scenario.load("die-names").profile.id
    assert fake_machine(load_profile("zen4"), scenario="base").profile.id == "zen4"
    assert fake_machine("kabylake", kernel="6.1").kernel.version == "6.1"


@pytest.mark.parametrize("load", [{"package": 100, "dram": 7.5}, "package=100,dram=7.5", {"package": Decimal(100)}])
def test_its_load_is_given_as_a_mapping_or_as_on_the_command_line(load: object) -> None:
    machine = fake_machine(load=load)  # type: ignore[arg-type]
    machine.step(2)
    assert machine.truth_uj("package-0") == 200_000_000


def test_a_scenario_with_counters_near_their_wrap_is_the_one_that_a_mount_shows() -> None:
    ours, theirs = fake_machine(scenario="wrap"), start(scenario=Scenario.load("wrap")).machine
    assert energy_uj(ours) == int(theirs.sysfs.read(ENERGY))
    before = energy_uj(ours)
    ours.step(Decimal("4.9"))
    assert energy_uj(ours) > before
    ours.step("0.2")
    assert energy_uj(ours) < before


@pytest.mark.parametrize("machine", ["alderlake-p", "sapphirerapids-2s", "zen4"])
def test_every_counter_that_moves_wraps_after_near_wrap_s(machine: str) -> None:
    ours = fake_machine(machine, near_wrap_s=2.5, at_s=Fraction(7, 2))
    zones = [zone for zone in ours.control.zones() if zone.truth_uj]
    ours.step(3)
    after = {zone.id: zone.energy_uj for zone in ours.control.zones()}
    wrapped = [zone.id for zone in zones if (after[zone.id] or 0) < (zone.energy_uj or 0)]
    assert wrapped == [zone.id for zone in zones if zone.energy_uj is not None]
    assert wrapped


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"machine": "kabylak"}, "kabylak: unknown machine; did you mean kabylake?"),
        ({"scenario": "wrp"}, "wrp: unknown scenario; did you mean wrap?"),
        ({"machine": "kabylake", "scenario": "zone-vanishes"}, "zone-vanishes: event[0]: at 5 s: package 1 does not"),
        ({"kernel": "9.9"}, "kernel '9.9' is not simulated; the nearest that is"),
        ({"load": {"packge": 1}}, "load: unknown name 'packge': the names are"),
        ({"load": {"package": True}}, "load: package is 'True', it must be a number of watts"),
        ({"at_s": -1}, "at_s: -1 s is out of range"),
        ({"at_s": Fraction(-1, 2)}, "at_s: must be a number of seconds"),
        ({"near_wrap_s": 0}, "near_wrap_s is 0: counters wrap after some time"),
    ],
)
def test_what_is_wrong_with_it_is_said_in_one_line(options: dict[str, object], line: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(line)}[^\n]*$"):
        fake_machine(**options)  # type: ignore[arg-type]


# Time, and what happens.


def test_whatever_becomes_due_happens_when_time_is_moved_by_whatever_name() -> None:
    moves: list[Callable[[FakeMachine], None]] = [
        lambda machine: machine.step(6),
        lambda machine: machine.clock.advance(seconds=6),
        lambda machine: machine.control.advance(6),
        lambda machine: machine.live.advance(6),
    ]
    for move in moves:
        machine = fake_machine(scenario="zone-vanishes")
        assert "intel-rapl:1" in machine.sysfs.listdir(POWERCAP)
        move(machine)
        assert "intel-rapl:1" not in machine.sysfs.listdir(POWERCAP)
        machine.clock.advance(nanoseconds=10**10)
        assert "intel-rapl:1" in machine.sysfs.listdir(POWERCAP)


@settings(max_examples=15)  # it is the clock and the plan that are searched elsewhere
@given(st.lists(st.integers(0, 5_000_000_000), max_size=6))
def test_many_small_steps_are_one_large_one(steps_ns: list[int]) -> None:
    many, one = (fake_machine("kabylake", load={"package": "sine:5:15:2"}) for _ in range(2))
    for step_ns in steps_ns:
        many.step(Fraction(step_ns, 10**9))
    one.step(Fraction(sum(steps_ns), 10**9))
    assert many.clock.now_ns == one.clock.now_ns
    assert many.truth_uj("package-0") == one.truth_uj("package-0")
    assert many.sysfs.read(ENERGY) == one.sysfs.read(ENERGY)


def test_a_tenth_of_a_second_is_a_tenth_and_going_back_is_refused() -> None:
    machine = fake_machine()
    for _ in range(10):
        machine.step(0.1)
    assert machine.clock.now_ns == 10**9
    for wrong in (-1, Fraction(-1), "soon", True, float("nan")):
        with pytest.raises(ValueError, match=r"^step: "):
            machine.step(wrong)
    with pytest.raises(TypeError):
        machine.clock.advance(0.5)  # type: ignore[arg-type]


def test_time_runs_when_it_is_let_and_stands_again() -> None:
    machine = fake_machine()
    machine.run(speed=1_000_000)
    with machine.held() as held:
        assert held is machine
    while machine.clock.now_ns == 0:
        pass
    machine.pause()
    stood_ns = machine.clock.now_ns
    assert machine.clock.now_ns == stood_ns


def test_a_counter_wraps_a_read_fails_and_a_package_goes() -> None:
    machine = fake_machine(load={"package": 100})
    machine.wrap("package-0", 0.5)
    before = energy_uj(machine)
    machine.step(1)
    assert energy_uj(machine) < before
    machine.fault(ENERGY, errno=errno.ENODATA, after=1, times=1)
    machine.sysfs.read(ENERGY)
    with pytest.raises(OSError, match="No data available"):
        machine.sysfs.read(ENERGY)
    machine.sysfs.read(ENERGY)
    machine.fault(ENERGY, "open", "EACCES")
    with pytest.raises(PermissionError):
        machine.sysfs.read(ENERGY)
    machine.heal(ENERGY)
    machine.do("offline", package=1)
    assert "intel-rapl:1" not in machine.sysfs.listdir(POWERCAP)
    with pytest.raises(ValueError, match="did you mean offline"):
        machine.do("ofline", package=1)
    with pytest.raises(ValueError, match="99999"):
        machine.fault(ENERGY, errno=99999)


def test_an_event_that_can_no_longer_be_done_is_a_warning() -> None:
    machine = fake_machine(scenario="zone-vanishes")
    for cpu in machine.profile.topology.cpus:
        if cpu.package == 0:
            machine.cpu(cpu.number).offline()
    with pytest.warns(UserWarning, match=r"zone-vanishes: event\[0\]: at 5 s"):
        machine.step(6)


# Showing one.


def test_a_tree_is_a_snapshot_where_it_was_asked_for_or_in_a_folder_that_goes_again(tmp_path: Path) -> None:
    with fake_machine("kabylake") as machine, powercap_tree(machine, tmp_path / "sys") as tree:
        assert tree == tmp_path / "sys"
        before = (tree / ENERGY).read_bytes()
        machine.step(1)
        assert (tree / ENERGY).read_bytes() == before != machine.sysfs.read(ENERGY)
    assert (tmp_path / "sys" / ENERGY).exists()
    with powercap_tree("zen4", kernel="7.2") as passing:
        assert (passing / POWERCAP / "intel-rapl:0" / "name").read_text() == "package-0\n"
    assert not passing.parent.exists()
    with pytest.raises(ValueError, match="is not empty"), powercap_tree("zen4", tmp_path / "sys"):
        pass


def test_options_belong_to_who_makes_the_machine() -> None:
    with pytest.raises(TypeError, match=r"kernel is given beside a machine that is there: give it to fake_machine\(\)"):
        powercap_tree(fake_machine(), kernel="6.1").__enter__()


@pytest.mark.usefixtures("mounts")
def test_a_mount_follows_the_machine_and_is_gone_at_the_end(tmp_path: Path) -> None:
    with live_machine(scenario="zone-vanishes") as files:
        assert os.fspath(files) == str(files.directory)
        first = subprocess.run(["cat", files.sysfs / ENERGY], capture_output=True, check=True).stdout
        assert first == files.machine.sysfs.read(ENERGY)
        zones = set(names(files.sysfs / POWERCAP))
        files.machine.step(6)
        assert zones - set(names(files.sysfs / POWERCAP)) == {"intel-rapl:1", "intel-rapl:1:0"}
        files.machine.step(10)
        assert set(names(files.sysfs / POWERCAP)) == zones
        assert (files.proc / "cpuinfo").exists()
        assert (files.dev / "cpu/0/msr").stat().st_mode & 0o777 == 0o600
        with files.machine.held() as machine:
            machine.driver.unload()
        assert names(files.sysfs / POWERCAP) == []
    assert not files.directory.parent.exists()
    with live_machine(files.machine, tmp_path / "m") as again:
        assert again.machine is files.machine
    assert names(tmp_path / "m") == []


@pytest.mark.usefixtures("mounts")
def test_a_kernel_crash_in_the_tests_own_process_is_no_silent_end() -> None:
    def crash() -> bytes:
        raise KernelCrash("divide error")

    def look(machine: FakeMachine) -> None:
        with live_machine(machine) as files, pytest.raises(OSError, match="Input/output error"):
            (files.sysfs / ENERGY).read_bytes()

    machine = fake_machine()
    node = machine.sysfs._resolve(ENERGY)
    assert isinstance(node, Attribute)
    node.show = crash
    with pytest.raises(RuntimeError, match="kernel crash: divide error; the caller got EIO"):
        look(machine)


def test_where_nothing_can_be_mounted_the_reason_comes_and_nothing_stays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise CannotMount("there is no /dev/fuse: load it")

    monkeypatch.setattr("raplica_simulator.testing.FuseMount", refuse)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with pytest.raises(CannotMount, match="there is no /dev/fuse"), live_machine():
        pass
    assert names(tmp_path) == []


@pytest.mark.usefixtures("mounts")
def test_pyfakefs_and_a_mount_and_a_tree_show_one_machine_in_one_test() -> None:
    with Patcher() as patcher:
        assert patcher.fs is not None
        machine = fake_machine("kabylake")
        with powercap_tree(machine) as tree, powercap_fakefs(machine, patcher.fs):
            machine_uj = energy_uj(machine)
            assert int((tree / ENERGY).read_text()) == int(Path("/sys", ENERGY).read_text()) == machine_uj
            assert not Path(__file__).exists()
            with live_machine(machine) as files, Pause(patcher.fs):
                assert int((files.sysfs / ENERGY).read_text()) == machine_uj
        assert not tree.exists()
    assert Path(__file__).exists()


def test_for_who_is_not_root_the_files_are_his_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    monkeypatch.setattr(os, "getgid", lambda: 4712)
    machine = fake_machine()
    status = machine.sysfs.stat(ENERGY)
    assert (status.st_mode, status.st_uid, status.st_gid) == (0o100400, 4711, 4712)
    assert machine.sysfs.read(ENERGY, uid=4711)
    with pytest.raises(PermissionError):
        machine.sysfs.read(ENERGY, uid=65534)
    machine.sysfs.chown(ENERGY, 1, 1)
    machine.do("offline", package=1)
    machine.do("online", package=1)
    assert machine.sysfs.stat("class/powercap/intel-rapl:1/energy_uj").st_uid == 4711
    assert machine.sysfs.stat(ENERGY).st_uid == 1, "what the test has given away stays given"


class ReaderTest(unittest.TestCase):
    """What a project that uses unittest writes."""

    def setUp(self) -> None:
        self.machine = fake_machine("kabylake", load={"package": 10})
        self.tree = self.enterContext(powercap_tree(self.machine))
        self.fs = self.enterContext(powercap_fakefs(self.machine))

    def test_energy(self) -> None:
        self.machine.step(60)
        assert self.machine.truth_uj("package-0") == 600_000_000
        assert Path("/sys", ENERGY).read_bytes() == self.machine.sysfs.read(ENERGY)

    def test_that_it_is_another_machine(self) -> None:
        assert self.machine.clock.now_ns == 0


def test_a_scenario_whose_events_a_mount_has_to_tell_of_is_looked_after() -> None:
    machine = fake_machine(scenario="zone-vanishes")
    with Punctual(machine.live, machine.held):
        machine.step(30)
    assert machine.live.events is not None
    assert machine.live.events.done == 2
