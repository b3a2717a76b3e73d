# SPDX-License-Identifier: Apache-2.0
"""`raplica power-log`: the columns of Intel Power Gadget's log, and energies that are the truth."""

import csv
import io
import re
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator import Machine
from raplica_simulator.cli import cli, main
from raplica_simulator.windows.power_log import PowerLog

Make = Callable[..., Machine]
Refused = Callable[..., tuple[int, str]]

# One socket with cores, graphics and DRAM: as in the recording of codecarbon's tests.
COLUMNS = (
    "System Time,RDTSC,Elapsed Time (sec),CPU Utilization(%),"
    "CPU Frequency_0(MHz),CPU Min Frequency_0(MHz),CPU Max Frequency_0(MHz),CPU Requsted Frequency_0(MHz),"
    "Processor Power_0(Watt),Cumulative Processor Energy_0(Joules),Cumulative Processor Energy_0(mWh),"
    "IA Power_0(Watt),Cumulative IA Energy_0(Joules),Cumulative IA Energy_0(mWh),"
    "Package Temperature_0(C),Package Hot_0,CPU Min Temperature_0(C),CPU Max Temperature_0(C),"
    "DRAM Power_0(Watt),Cumulative DRAM Energy_0(Joules),Cumulative DRAM Energy_0(mWh),"
    "Package Power Limit_0(Watt),GT Frequency(MHz),GT Requsted Frequency(MHz)"
)


class Log(NamedTuple):
    """A log, read by what its readers know: a table, a blank line, and "name = value" in quotes."""

    columns: list[str]
    rows: list[dict[str, str]]
    summary: dict[str, float]

    def details(self) -> dict[str, float]:
        """What codecarbon makes of a log: the last value of what is cumulative, the mean of all else."""
        left_out = ("System Time", "Elapsed Time (sec)", "RDTSC")
        columns = {name: [float(row[name]) for row in self.rows] for name in self.columns if name not in left_out}
        return {name: column[-1] if "Cumulative" in name else mean(column) for name, column in columns.items()}


def read(text: str) -> Log:
    table, _, rest = text.partition("\n\n")
    rows = list(csv.DictReader(io.StringIO(table)))
    lines = [line for line in rest.splitlines() if line]
    assert all(re.fullmatch(r'"[^"]+ = [0-9.]+"', line) for line in lines), lines
    summary = {name: float(value) for name, _, value in (line.strip('"').partition(" = ") for line in lines)}
    return Log(table.splitlines()[0].split(","), rows, summary)


def run(*arguments: str) -> str:
    done = CliRunner().invoke(cli, ["power-log", *arguments], catch_exceptions=False)
    assert (done.exit_code, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture
def refused(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """How the command ends when it cannot: its status, and the one line that it says."""

    def call(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["power-log", *arguments])
        told = capfd.readouterr()
        assert (told.out, told.err.count("\n")) == ("", 1)
        return int(ended.value.code or 0), told.err

    return call


def log_of(machine: Machine, duration_ns: int, resolution_ns: int = 100_000_000) -> Log:
    log = PowerLog(machine, lambda step_ns: machine.clock.advance(nanoseconds=step_ns))
    return read("\n".join(log.lines(duration_ns, resolution_ns)))


def test_the_columns_are_those_of_a_recorded_log_and_the_summary_those_of_another() -> None:
    log = read(run("kabylake", "--duration", "2", "--load", "package=15,core=9,dram=1.25"))
    assert ",".join(log.columns) == COLUMNS
    names = ["Total Elapsed Time (sec)", "Measured RDTSC Frequency (GHz)"]
    for domain in ("Processor", "IA", "DRAM", "GT"):
        names += [f"Cumulative {domain} Energy_0 ({unit})" for unit in ("Joules", "mWh")]
        names += [f"Average {domain} Power_0 (Watt)"]
    assert list(log.summary) == names
    assert len(log.rows) == 20
    assert log.rows[0]["System Time"] == "00:00:00:100"
    assert log.rows[-1]["Elapsed Time (sec)"] == "2.000"


def test_a_row_is_a_step_of_the_resolution_in_the_machines_own_time() -> None:
    log = read(run("kabylake", "--duration", "1", "--resolution", "250", "--at", "86399.5"))
    assert [row["System Time"] for row in log.rows] == ["23:59:59:750", "00:00:00:000", "00:00:00:250", "00:00:00:500"]
    assert [row["Elapsed Time (sec)"] for row in log.rows] == ["0.250", "0.500", "0.750", "1.000"]
    stamps = [int(row["RDTSC"]) for row in log.rows]
    assert [after - before for before, after in pairwise(stamps)] == [675_000_000] * 3  # 2.7 GHz


def test_what_codecarbon_makes_of_it_is_the_load() -> None:
    details = read(run("kabylake", "--duration", "4", "--load", "package=15,core=9,dram=1.25")).details()
    assert details["Processor Power_0(Watt)"] == pytest.approx(15, rel=1e-4)
    assert details["IA Power_0(Watt)"] == pytest.approx(9, rel=1e-4)
    assert details["Cumulative Processor Energy_0(Joules)"] == pytest.approx(60, rel=1e-4)
    assert details["Cumulative Processor Energy_0(mWh)"] == pytest.approx(60 / 3.6, rel=1e-4)
    assert details["Cumulative DRAM Energy_0(Joules)"] == pytest.approx(5, rel=1e-3)
    assert details["Package Power Limit_0(Watt)"] == 17
    assert "pandas" not in sys.modules


@pytest.mark.parametrize("profile", ["kabylake", "skylake-sp-2s", "cascadelake-ap-2s", "baytrail", "sapphirerapids-2s"])
def test_energies_are_the_truth_of_each_socket_in_steps_of_the_counters_across_their_wraps(profile: str) -> None:
    machine = Machine.from_profile(profile)
    topology = machine.profile.topology
    for cpu in topology.cpus:
        machine.msr.poke(cpu.number, 0x611, 0xFFFFFFF0)
    log = log_of(machine, 3_000_000_000)
    for socket in range(topology.packages):
        truth_j = float(machine.truth_joules(f"package-{socket}"))
        step_j = float(machine.counter_units()["package"]) * topology.dies_per_package
        assert abs(log.summary[f"Cumulative Processor Energy_{socket} (Joules)"] - truth_j) <= step_j + 1e-6
        assert float(log.rows[-1][f"Cumulative Processor Energy_{socket}(Joules)"]) == pytest.approx(truth_j, abs=1e-3)
        assert log.summary[f"Average Processor Power_{socket} (Watt)"] == pytest.approx(truth_j / 3, abs=1e-3)
        assert machine.msr.read(topology.cpus_of_die(socket * topology.dies_per_package)[0], 0x611) < 0xFFFFFFF0
    assert f"Cumulative Processor Energy_{topology.packages} (Joules)" not in log.summary


def test_dram_of_a_server_counts_in_its_own_unit() -> None:
    machine = Machine.from_profile("skylake-sp-2s")
    machine.load.set(dram=20)
    assert log_of(machine, 10**10).summary["Average DRAM Power_1 (Watt)"] == pytest.approx(20, rel=1e-5)


def test_each_socket_has_its_columns_and_what_a_processor_does_not_have_has_none() -> None:
    columns = read(run("haswell-ep-2s", "--duration", "0.1")).columns
    assert [name for name in columns if name.startswith("Processor")] == [
        "Processor Power_0(Watt)",
        "Processor Power_1(Watt)",
    ]
    assert len(set(columns)) == len(columns)
    assert not any(name.startswith(("IA", "DRAM")) for name in read(run("apollolake", "--duration", "1")).columns) or (
        Machine.from_profile("apollolake").msr.content(0, 0x619) is not None
    )


def test_a_domain_without_register_has_no_columns_and_a_package_without_limit_shows_none(make_machine: Make) -> None:
    machine = make_machine("kabylake", registers={0x639: None, 0x619: None, 0x641: None, 0x610: None})
    log = log_of(machine, 10**9)
    assert not any(name.startswith(("IA", "DRAM", "Cumulative IA")) for name in log.columns)
    assert "Average GT Power_0 (Watt)" not in log.summary
    assert log.rows[0]["Package Power Limit_0(Watt)"] == "0.000"
    assert log.rows[0]["CPU Frequency_0(MHz)"] == "2000"  # its name says none


def test_counters_are_looked_at_often_enough_at_any_resolution() -> None:
    machine = Machine.from_profile("sandybridge")
    machine.load.set(package=90)
    log = log_of(machine, 2_000 * 10**9, 2_000 * 10**9)
    assert len(log.rows) == 1
    truth_j = machine.truth_joules("package-0")
    assert truth_j > 2 * (1 << 32) * machine.counter_units()["package"]
    assert log.summary["Cumulative Processor Energy_0 (Joules)"] == pytest.approx(float(truth_j), rel=1e-9)


def test_the_summary_covers_what_is_left_after_the_last_row() -> None:
    log = read(run("kabylake", "--duration", "1.05", "--load", "package=10"))
    assert len(log.rows) == 10
    assert log.summary["Total Elapsed Time (sec)"] == 1.05
    assert log.summary["Cumulative Processor Energy_0 (Joules)"] == pytest.approx(10.5, rel=1e-4)


SANDYBRIDGE = Machine.from_profile("sandybridge")


@given(
    resolution_ms=st.integers(20, 400),
    duration_ms=st.integers(400, 600),
    start=st.integers(0, (1 << 32) - 1),
    watts=st.integers(0, 300),
)
def test_rows_add_up_whatever_the_steps_and_wherever_the_counter_stands(
    resolution_ms: int, duration_ms: int, start: int, watts: int
) -> None:
    machine = SANDYBRIDGE
    machine.load.set(package=watts, core=0, uncore=0)
    machine.msr.poke(0, 0x611, start)
    before_j = machine.truth_joules("package-0")
    log = log_of(machine, duration_ms * 10**6, resolution_ms * 10**6)
    spent_j = float(machine.truth_joules("package-0") - before_j)
    assert len(log.rows) == duration_ms // resolution_ms
    assert log.summary["Cumulative Processor Energy_0 (Joules)"] == pytest.approx(spent_j, abs=1 / (1 << 14) + 1e-6)
    cumulative = [float(row["Cumulative Processor Energy_0(Joules)"]) for row in log.rows]
    assert cumulative == sorted(cumulative)
    summed = sum(float(row["Processor Power_0(Watt)"]) for row in log.rows) * resolution_ms / 1000
    assert summed == pytest.approx(cumulative[-1], abs=0.001 * len(log.rows))


def test_a_limit_that_binds_shows_in_the_log() -> None:
    machine = Machine.from_profile("kabylake")
    machine.load.set(package=60)
    log = log_of(machine, 120 * 10**9, 10**9)
    assert float(log.rows[-1]["Processor Power_0(Watt)"]) == pytest.approx(17, abs=0.01)
    assert log.rows[-1]["Package Power Limit_0(Watt)"] == "17.000"


def test_it_is_written_to_a_file_as_it_is_printed(tmp_path: Path) -> None:
    arguments = ("kabylake", "--duration", "1", "--start-near-wrap", "0.5")
    assert run(*arguments, "-o", str(tmp_path / "log.csv")) == ""
    assert (tmp_path / "log.csv").read_text(encoding="utf-8") == run(*arguments)


def test_a_register_that_a_scenario_lets_fail_is_said_in_one_line(tmp_path: Path, refused: Refused) -> None:
    scenario = tmp_path / "fault.toml"
    scenario.write_text(
        'title = "Reads fail"\nmachine = "kabylake"\n'
        '[[event]]\nat_s = 1.0\ndo = "fault"\nregister = 0x611\npackage = 0\non = "read"\nerrno = "EIO"\n',
        encoding="utf-8",
    )
    assert len(read(run("-", "--scenario", str(scenario), "--duration", "0.9")).rows) == 9
    status, told = refused("-", "--scenario", str(scenario), "--duration", "3")
    assert status == 1
    assert "register of the log cannot be read" in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["zen4"], "Intel"),
        (["dtpm"], "0x606"),
        (["nothing"], "nothing"),
        (["kabylake", "--duration", "0.01"], "--resolution"),
        (["kabylake", "--duration", "1000000", "--resolution", "1"], "--resolution"),
        (["kabylake", "--duration", "x"], "--duration"),
        (["kabylake", "--resolution", "0"], "--resolution"),
        (["kabylake", "--load", "package=x"], "--load"),
        (["kabylake", "--load", "host"], "watts"),
    ],
)
def test_what_is_asked_for_wrongly_is_said_in_one_line(arguments: list[str], told: str, refused: Refused) -> None:
    status, line = refused(*arguments)
    assert status == 2
    assert told in line


def test_a_file_that_cannot_be_written_is_said_in_one_line(tmp_path: Path, refused: Refused) -> None:
    status, told = refused("kabylake", "--duration", "1", "-o", str(tmp_path))
    assert status == 1
    assert str(tmp_path) in told
