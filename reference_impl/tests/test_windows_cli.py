# SPDX-License-Identifier: Apache-2.0
"""The command on Windows: which source is taken, what is said, and what does not go together."""

from __future__ import annotations

import inspect
import io
import json
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from raplica_reader import Host, Sampler, cli, windows_api
from raplica_reader.source import WINDOWS, choose
from raplica_reader.stepped import Session
from raplica_simulator import Machine
from raplica_simulator.serve.windows_door import WindowsDoor
from raplica_simulator.serve.windows_drivers import install
from raplica_simulator.windows.system import WindowsSystem

Run = Callable[..., tuple[int, str, str]]
Windows = Callable[..., Machine]


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> Windows:
    """Make this a Windows with these drivers, of a machine whose time the command's sleeping moves."""

    def make(*drivers: str, machine_id: str = "kabylake") -> Machine:
        machine = Machine.from_profile(machine_id)
        system = WindowsSystem(machine)
        install(system, drivers)
        monkeypatch.setattr(sys, "platform", "win32")
        monkeypatch.setattr(windows_api, "this_machine", lambda: system.process(administrator=False))
        return machine

    return make


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(
        *argv: str | Path, machine: Machine | None = None, then: Callable[[], None] = lambda: None
    ) -> tuple[int, str, str]:
        def sleep(seconds: float) -> None:
            assert machine is not None
            machine.clock.advance(seconds=Fraction(round(seconds * 1e9), 10**9))
            then()

        def now_ns() -> int:
            return 1_000 if machine is None else machine.clock.now_ns

        status = cli.main([str(word) for word in argv], clock=now_ns, sleep=sleep)
        out, err = capsys.readouterr()
        return status, out, err

    return run


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Path]:
    """A socket where a Windows with the driver and the meters answers."""
    system = WindowsSystem(Machine.from_profile("skylake-sp-2s"))
    install(system, ["v3.2", "emi"])
    with WindowsDoor(system, tmp_path / "door"):
        yield tmp_path / "door"


def test_the_meters_of_windows_are_taken_before_a_driver_and_why_is_said(windows: Windows, run: Run) -> None:
    windows("emi", "v3.2")
    status, out, err = run("list", "--why")
    assert (status, err) == (0, "")
    assert out.splitlines()[1].startswith("emi:package-0         package-0")
    assert out.splitlines()[-3:] == [
        "source emi: 4 of 4 counters can be read; Windows' own meters: no other driver, no administrator",
        "not scaphandre: not looked at: it comes later",
        "energy filtering: not known, MSR 0xbc cannot be asked for here",
    ]


def test_the_driver_is_taken_where_there_is_no_meter(windows: Windows, run: Run) -> None:
    machine = windows("v3.2")
    status, out, err = run("read", "--interval", "10", "--json", machine=machine)
    document = json.loads(out)
    assert (status, err) == (0, "")
    assert (document["source"], document["sysfs"]) == ("scaphandre", None)
    watts = {zone["path"]: zone["power_w"] for zone in document["zones"]}
    assert watts == pytest.approx(
        {"package-0": 6, "package-0/core": 3, "package-0/uncore": 0.75, "package-0/dram": 1.25, "psys": 11.5}, abs=1e-4
    )
    assert document["total"]["zones"] == ["scaphandre:package-0", "scaphandre:package-0/dram"]


@pytest.mark.parametrize("source", ["auto", "windows"])
def test_where_there_is_neither_one_line_names_both(windows: Windows, run: Run, source: str) -> None:
    windows()
    status, out, err = run("list", "--source", source)
    assert (status, out) == (3, "")
    assert err == (
        "raplica-reader: Windows shows no energy meter (it does from Windows 11 on, and not in virtual machines); the "
        "Scaphandre driver does not run: install the Scaphandre driver for Windows and start it with "
        "`sc start ScaphandreDrv` (ENOENT)\n"
    )


def test_a_version_that_does_not_know_the_processor_says_so(windows: Windows, run: Run) -> None:
    windows("v3.1", machine_id="zen4")
    status, _, err = run("read", "--source", "scaphandre")
    assert status == 3
    assert err == (
        "raplica-reader: the Scaphandre driver cannot be read: the driver refuses AMD's unit register: up to version "
        "0.0.4 it knows Intel's\n"
    )


def test_a_unit_that_cannot_be_read_is_no_counter_and_no_unit_of_one(windows: Windows, run: Run) -> None:
    machine = windows("v3.2")
    for cpu in machine.profile.topology.cpus:
        machine.msr.inject(cpu.number, 0x606, on="read", errno=5)
    status, out, err = run("read", "--source", "scaphandre", machine=machine)
    assert (status, out) == (3, "")
    assert "count no energy" in err


def test_a_counter_that_fails_while_it_is_read_is_unknown_and_told_in_words(windows: Windows, run: Run) -> None:
    machine = windows("v3.2")

    def fail() -> None:
        for cpu in machine.profile.topology.cpus:
            machine.msr.inject(cpu.number, 0x619, on="read", errno=5)

    status, out, err = run("read", "--json", machine=machine, then=fail)
    zones = {zone["path"]: zone for zone in json.loads(out)["zones"]}
    assert status == 0
    assert (zones["package-0/dram"]["energy_uj"], zones["package-0/dram"]["error"]) == (None, "EIO")
    assert json.loads(out)["total"]["energy_uj"] is None
    assert err == (
        "raplica-reader: energy of package-0/dram is unknown (EIO): the driver refuses the register, or it cannot be "
        "read on this processor\n"
    )


def test_another_machine_is_read_over_a_socket(door: Path, run: Run) -> None:
    for source in ("auto", "windows", "scaphandre"):
        status, out, err = run("list", "--json", "--source", source, "--windows", door)
        assert (status, err) == (0, "")
        assert len(json.loads(out)["zones"]) == 4


@pytest.mark.parametrize("source", ["auto", "emi", "scaphandre"])
def test_where_nobody_answers_the_socket_is_named_and_no_driver_blamed(tmp_path: Path, run: Run, source: str) -> None:
    nobody = tmp_path / "nobody"
    for why in ("No such file or directory", "Connection refused"):
        status, out, err = run("list", "--source", source, "--windows", nobody)
        assert (status, out) == (3, "")
        assert err == (
            f"raplica-reader: {nobody}: nobody answers for Windows: {why}; name the socket of a `raplica "
            "serve-windows` that is yours and runs\n"
        )
        nobody.touch()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--source", "windows"], "windows is read on Windows; elsewhere a socket is named that answers its calls"),
        (["--source", "scaphandre"], "scaphandre is read on Windows"),
        (["--source", "msr", "--windows", "door"], "there is no msr on Windows: use auto, windows, emi, scaphandre"),
        (["--windows", "door", "--sysfs", "/sys"], "Windows has neither /sys nor /dev"),
        (["--windows", "door", "--dev", "/dev"], "Windows has neither /sys nor /dev"),
        (["--windows", ""], "'' is no socket"),
    ],
)
def test_what_does_not_go_together_is_wrong_usage(argv: list[str], words: str, run: Run) -> None:
    status, out, err = run("list", *argv)
    assert (status, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1


def test_a_session_begins_on_the_windows_that_it_is_told(door: Path) -> None:
    session = Session(Host(), "auto", lambda: 0)
    started = session.answer(json.dumps({"do": "start", "at_ns": 0, "windows": str(door)}))
    assert (started["ok"], started["source"], started["trouble"]) == (True, "emi", None)
    sampled = session.answer(json.dumps({"do": "sample", "at_ns": 10**9}))
    assert sampled["total"] == {"energy_uj": 0, "status": "ok", "error": None}
    session.close()


@pytest.mark.parametrize(
    ("start", "problem"),
    [
        ({"source": "emi"}, "emi is read on Windows; elsewhere a socket is named that answers its calls"),
        ({"windows": "door", "sysfs": "sys"}, "Windows has neither /sys nor /dev: leave these directories out"),
        ({"windows": ""}, "windows is no name of a socket"),
        ({"windows": 7}, "sysfs, dev, cpu, windows and source are text"),
    ],
)
def test_a_session_that_cannot_begin_says_why(start: dict[str, Any], problem: str) -> None:
    answer = Session(Host(), "auto", lambda: 0).answer(json.dumps({"do": "start"} | start))
    assert answer == {"do": "start", "ok": False, "problem": problem}


def test_on_windows_its_own_sources_are_looked_at_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert Host().usual() == WINDOWS
    assert Host().clash("windows") is Host().clash("auto") is None
    assert Host().clash("powercap") == "there is no powercap on Windows: use auto, windows, emi, scaphandre"


def test_time_is_taken_from_the_clock_that_has_fine_steps_on_windows_too() -> None:
    defaults = (inspect.signature(function).parameters["clock"].default for function in (cli.main, choose, Sampler))
    assert set(defaults) == {time.perf_counter_ns}


def test_elsewhere_there_is_no_windows_to_choose() -> None:
    with pytest.raises(OSError, match="no Windows"):
        choose(Host(), "windows")


def test_watch_goes_on_line_by_line(windows: Windows, run: Run) -> None:
    machine = windows("emi")
    status, out, err = run("watch", "--count", "2", "--json", machine=machine)
    lines = [json.loads(line) for line in io.StringIO(out)]
    assert (status, err, len(lines)) == (0, "", 2)
    assert all(line["total"]["power_w"] == pytest.approx(7.25, abs=1e-3) for line in lines)
