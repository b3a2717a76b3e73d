# SPDX-License-Identifier: Apache-2.0
"""Meters for a person at a terminal: powerstat, which finds one control type only, and s-tui."""

import csv
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from .observation import Observation, Said, assert_right, truth_j, unevenness

Observe = Callable[..., Observation]
Program = Callable[[str], str]

ZONES = [f"intel-rapl:{package}{part}" for package in (0, 1) for part in ("", ":0", ":1", ":2")]
NAMES = [
    f"{name},{package}" if name != "package" else f"package-{package},0"
    for package in (0, 1)
    for name in ("package", "core", "uncore", "dram")
]
# Watts high enough that a tenth of one, the last digit that is shown, is little.
LOAD = "package=100,core=60,uncore=20,dram=40"
# A terminal for a program that draws on it; `q` once it has written down so many rows, which ends s-tui.
TERMINAL = """
import os, pty, select, sys

child, terminal = pty.fork()
if not child:
    os.environ["TERM"] = "xterm"
    os.execv(sys.argv[2], sys.argv[2:])
def rows():
    with open("rows.csv") as file:
        return sum(1 for _ in file) - 1
ending = False
while True:
    if not ending and os.path.exists("rows.csv") and rows() >= int(sys.argv[1]):
        ending = bool(os.write(terminal, b"q"))
    if select.select([terminal], [], [], 0.1)[0]:
        try:
            if not os.read(terminal, 65536):
                break
        except OSError:
            break
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.fixture
def powerstat(program: Program) -> list[str]:
    """The command: one sample in half a second until it is interrupted, since it wants a minute at least."""
    path = program("powerstat")
    version = re.findall(
        r"version (\S+)", subprocess.run([path, "-h"], capture_output=True, text=True, check=True).stdout
    )
    if version != ["0.03.01"]:
        pytest.skip(f"powerstat is {version[0]} here, and this was seen on 0.03.01")
    timeout = shutil.which("timeout")
    assert timeout is not None, "timeout is not installed: apt-get install coreutils"
    return [timeout, "--preserve-status", "-s", "INT", "3.5", path, "-R", "-d", "0", "0.5", "120"]


def test_powerstat_finds_no_zone_of_intel_rapl(observe: Observe, powerstat: list[str]) -> None:
    seen = observe(*powerstat, scenario="base")
    assert seen.status == 1
    assert "Device does not have any RAPL domains, cannot power measure power usage" in seen.out + seen.err
    assert seen.zones_read() == set()


@pytest.mark.slow
def test_powerstat_meters_the_twin_of_mmio(observe: Observe, powerstat: list[str]) -> None:
    def run() -> Said:
        seen = observe(*powerstat, scenario="mmio-twin")
        assert "power read from RAPL domains: package-0." in seen.out
        assert seen.zones_read() == {"intel-rapl-mmio:0"}
        average_w = [float(watts) for watts in re.findall(r"CPU:\s+(\S+) Watts on average", seen.out)]
        # The load is constant, so its watts are those of every interval; the first look is one to try.
        reads = seen.reads("intel-rapl-mmio:0")
        return Said(average_w, [truth_j(reads) / ((reads[-1].at_ns - reads[0].at_ns) / 1e9)], unevenness(reads[1:]))

    assert_right(run, rel=0.01)


def s_tui_rows(observe: Observe, program: Program, folder: Path, rows: int, **options: str) -> Observation:
    """Let s-tui draw on a terminal and write down so many readings, one in half a second."""
    (folder / "rows.csv").unlink(missing_ok=True)
    seen = observe(
        sys.executable,
        "-I",
        "-c",
        TERMINAL,
        str(rows),
        program("s-tui"),
        "-r",
        "0.5",
        "-c",
        "--csv-file",
        "rows.csv",
        **options,
    )
    assert seen.status == 0, seen.err
    return seen


@pytest.mark.slow
def test_s_tui_shows_the_watts_of_every_zone(observe: Observe, program: Program, tmp_path: Path) -> None:
    def run() -> Said:
        seen = s_tui_rows(observe, program, tmp_path, 6, scenario="base", load=LOAD)
        rows = list(csv.DictReader((tmp_path / "rows.csv").read_text().splitlines()))
        assert [name.removeprefix("Power:") for name in rows[0] if name.startswith("Power:")] == NAMES
        # It looks at the clock after it has read the last zone, at every reading but the first.
        ends = seen.reads(ZONES[-1])
        said, truth = list[float](), list[float]()
        for zone, name in zip(ZONES, NAMES, strict=True):
            # What puts off the clock of one reading puts off the next reading: of the last one nothing would tell.
            pairs = list(zip(pairwise(seen.reads(zone)), pairwise(ends[:-1]), rows, strict=False))[1:]
            assert len(pairs) >= 3
            said.append(sum(float(row[f"Power:{name}"]) * (b.at_ns - a.at_ns) / 1e9 for _, (a, b), row in pairs))
            truth.append(sum(truth_j(list(pair)) for pair, *_ in pairs))
        return Said(said, truth, unevenness(ends[1:]))

    assert_right(run, rel=0.01)


@pytest.mark.slow
def test_s_tui_shows_the_last_watts_again_where_a_counter_wraps(
    observe: Observe, program: Program, tmp_path: Path
) -> None:
    seen = s_tui_rows(observe, program, tmp_path, 6, scenario="several-wraps", speed="10")
    rows = list(csv.DictReader((tmp_path / "rows.csv").read_text().splitlines()))
    wrapped = [number for number, (a, b) in enumerate(pairwise(seen.reads("intel-rapl:0"))) if b.given < a.given]
    shown = [number for number in wrapped if 0 < number < len(rows)]
    assert shown
    for number in shown:
        assert rows[number]["Power:package-0,0"] == rows[number - 1]["Power:package-0,0"]


@pytest.mark.parametrize("option", ["-t", "-j"])
def test_s_tui_on_one_line_reads_low(observe: Observe, program: Program, option: str) -> None:
    # Its clock starts before the first look and stops after the second, and little else is in between.
    seen = observe(program("s-tui"), option, scenario="base", load=LOAD)
    if option == "-j":
        said_w = {name: float(watts) for name, watts in json.loads(seen.out)["Power"].items()}
    else:
        said_w = {name: float(watts) for name, watts in re.findall(r"([\w-]+,\d): ([\d.]+)", seen.out)}
    assert list(said_w) == NAMES
    clock_s = (seen.reads(ZONES[-1])[1].at_ns - seen.reads(ZONES[0])[0].at_ns) / 1e9
    for zone, name in zip(ZONES, NAMES, strict=True):
        first, last = seen.reads(zone)
        most_w = (last.given - first.given) / 1e6 / clock_s
        assert 0 < said_w[name] <= most_w + 0.05
        assert most_w < truth_j([first, last]) / ((last.at_ns - first.at_ns) / 1e9) * 1.001 or zone in ZONES[-1:]
