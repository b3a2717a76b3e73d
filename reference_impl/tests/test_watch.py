# SPDX-License-Identifier: Apache-2.0
"""Watching: plain lines, JSON lines, and a picture in a terminal."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import raplica_reader
from raplica_reader import Meter, Sampler, cli, discover
from raplica_reader.watch import BLOCKS, Picture, sparkline, terminal

if TYPE_CHECKING:
    from tests.conftest import Tree

STYLE = re.compile(r"\x1b\[[0-9]*m")


class Screen(io.StringIO):
    """A stream that says of itself what it is told to."""

    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__()
        self.told = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.told

    def fileno(self) -> int:
        raise OSError("no descriptor")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], clock: SimpleNamespace) -> Callable[..., tuple[int, str, str]]:
    """Run the command: status, stdout, stderr. `change` is called whenever it sleeps."""

    def run(*argv: str | Path, change: Callable[[int], None] = lambda _: None) -> tuple[int, str, str]:
        times = iter(range(1, 1000))

        def sleep(seconds: float) -> None:
            clock.sleep(seconds)
            change(next(times))

        status = cli.main([str(word) for word in argv], clock=clock.read, sleep=sleep)
        out, err = capsys.readouterr()
        return status, out, err

    return run


Run = Callable[..., tuple[int, str, str]]


def test_each_interval_is_a_plain_line_where_there_is_no_terminal(tree: Tree, run: Run) -> None:
    tree.zone("intel-rapl:0", "package-0", 0)
    tree.zone("intel-rapl:0:0", "dram", 0)
    status, out, err = run(
        *("watch", "--interval", "2", "--count", "3", "--sysfs", tree.root),
        change=lambda number: tree.show("intel-rapl:0", number * number * 100_000_000),
    )
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "2.000 s  package-0 50.000 W  package-0/dram 0.000 W  total 50.000 W",
        "4.000 s  package-0 150.000 W  package-0/dram 0.000 W  total 150.000 W",
        "6.000 s  package-0 250.000 W  package-0/dram 0.000 W  total 250.000 W",
    ]


def test_what_is_unknown_is_said_in_the_line_and_once_on_stderr(tree: Tree, run: Run) -> None:
    tree.zone("intel-rapl:0", "package-0", 200_000_000_000)
    tree.zone("intel-rapl:0:0", "dram", 0)
    tree.write("intel-rapl:0:0", b"")
    status, out, err = run(
        *("watch", "--count", "3", "--sysfs", tree.root),
        change=lambda number: tree.show("intel-rapl:0", 5 if number == 3 else 200_000_000_000),
    )
    assert status == 0
    assert out.splitlines()[0] == "1.000 s  package-0 0.000 W  package-0/dram ENODATA  total ENODATA"
    assert out.splitlines()[2].startswith("3.000 s  package-0 reset  package-0/dram ENODATA")
    assert [line.partition(":")[0] for line in err.splitlines()] == ["raplica-reader"] * 2


def test_each_interval_is_a_json_line(client: Tree, run: Run) -> None:
    status, out, err = run(
        *("watch", "--json", "--count", "2", "--sysfs", client.root),
        change=lambda number: client.show("intel-rapl:0", 5_000_000 + number * 61_035_000),
    )
    assert (status, err) == (0, "")
    documents = [json.loads(line) for line in out.splitlines()]
    assert [document["at_s"] for document in documents] == [1.0, 2.0]
    for document in documents:
        assert (document["format"], document["command"], document["source"]) == (1, "watch", "powercap")
        package = document["zones"][0]
        assert (package["path"], package["status"], document["duration_s"]) == (
            "package-0",
            "ok",
            1.0,
        )
        assert package["power_w"] == pytest.approx(61.035)
        assert document["total"]["zones"] == ["intel-rapl:0", "intel-rapl:0:2"]


def test_what_a_source_leaves_out_is_said_once(tree: Tree, run: Run, tmp_path: Path) -> None:
    for cpu in (0, 1):
        device = tmp_path / f"dev/cpu/{cpu}/msr"
        device.parent.mkdir(parents=True)
        words = bytearray(0x700)
        words[0x606:0x60E] = (0xA0E03).to_bytes(8, "little")
        words[0x611:0x619] = (0x12345678).to_bytes(8, "little")
        device.write_bytes(bytes(words))
    argv = (
        "watch",
        "--source",
        "msr",
        "--count",
        "2",
        "--sysfs",
        tree.root,
        "--dev",
        tmp_path / "dev",
        "--cpu",
        "6:55",
    )
    status, out, err = run(*argv)
    assert (status, len(out.splitlines())) == (0, 2)
    assert err == (
        "raplica-reader: nobody says which CPUs share a package: only CPU 0 is asked, and called package-0\n"
    )


def test_a_machine_without_zones_is_not_watched(tmp_path: Path, run: Run) -> None:
    status, out, err = run("watch", "--sysfs", tmp_path)
    assert (status, out) == (3, "")
    assert "cannot be listed (ENOENT)" in err


def test_a_machine_of_which_nothing_can_be_read_ends_in_status_3(tree: Tree, run: Run) -> None:
    tree.zone("intel-rapl:0", "package-0")
    tree.write("intel-rapl:0", b"")
    assert run("watch", "--count", "2", "--sysfs", tree.root)[0] == 3


@pytest.mark.parametrize(
    ("series", "line"),
    [
        ([], ""),
        ([0.0, 0.0], "▁▁"),
        ([0.0, 50.0, 100.0], "▁▅█"),
        ([100.0, None, 100.0], "█?█"),
        ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], "▂▃▄▅▆▇█"),
    ],
)
def test_a_sparkline_has_a_character_for_each_value(series: list[float | None], line: str) -> None:
    assert sparkline(series) == line


@given(st.lists(st.none() | st.floats(0, 1e6), max_size=80))
def test_a_sparkline_is_as_long_as_its_series_and_its_largest_value_is_full(series: list[float | None]) -> None:
    line = sparkline(series)
    assert len(line) == len(series)
    known = [(value, mark) for value, mark in zip(series, line, strict=True) if value is not None]
    if any(value > 0 for value, _ in known):
        assert max(known)[1] == BLOCKS[-1]
    assert all(mark == "?" for value, mark in zip(series, line, strict=True) if value is None)


def picture_of(tree: Tree, screen: Screen, environment: dict[str, str], intervals: int = 3) -> list[str]:
    """Watch a package that draws 100 W, then 200 W and so on; gives what was drawn for each interval."""
    picture = Picture(screen, "title", environment)
    drawn = []
    times = iter(range(100))
    with Sampler(discover(tree.root), clock=lambda: next(times) * 10**9) as sampler:
        meter = Meter()
        meter.add(sampler.sample())
        energy_uj = 0
        for number in range(1, intervals + 1):
            energy_uj += number * 100_000_000
            tree.show("intel-rapl:0", energy_uj)
            picture.draw(number * 10**9, meter.add(sampler.sample()))
            drawn.append(screen.getvalue())
            screen.seek(0)
            screen.truncate()
    return drawn


def test_the_picture_has_a_line_for_each_zone_and_is_drawn_over_itself(tree: Tree) -> None:
    tree.zone("intel-rapl:0", "package-0", 0)
    tree.zone("intel-rapl:0:0", "core", 0)
    first, _, last = picture_of(tree, Screen(), {"NO_COLOR": "1"})
    assert first.startswith("\x1b[J")
    assert last.startswith("\x1b[5F\x1b[J")
    assert last.removeprefix("\x1b[5F\x1b[J").splitlines() == [
        "title  3.0 s",
        "path                 watts            joules  last 34 intervals",
        "package-0          300.000        600.000000  ▃▆█",
        "package-0/core       0.000          0.000000  ▁▁▁",
        "total              300.000",
    ]


def test_colours_are_there_unless_somebody_wants_none(tree: Tree) -> None:
    tree.zone("intel-rapl:0", "package-0", 0)
    plain = picture_of(tree, Screen(), {"NO_COLOR": "yes"})[0]
    assert not STYLE.search(plain)
    for environment in ({}, {"NO_COLOR": ""}):
        tree.show("intel-rapl:0", 0)
        coloured = picture_of(tree, Screen(), environment)[0]
        assert STYLE.search(coloured)
        assert STYLE.sub("", coloured) == plain


def test_a_terminal_that_has_no_blocks_gets_other_marks(tree: Tree) -> None:
    tree.zone("intel-rapl:0", "package-0", 0)
    assert picture_of(tree, Screen("latin-1"), {"NO_COLOR": "1"})[-1].isascii()


def test_more_zones_than_lines_are_cut_and_said_to_be(tree: Tree) -> None:
    for number in range(40):
        tree.zone(f"intel-rapl:{number:x}", f"package-{number}", 0)
    lines = picture_of(tree, Screen(), {"NO_COLOR": "1"})[0].splitlines()
    assert len(lines) == 23
    assert lines[-1] == "... 21 more lines: the terminal is too low"


@pytest.mark.parametrize(
    ("is_terminal", "term", "draws"), [(True, "xterm", True), (True, "dumb", False), (False, "xterm", False)]
)
def test_only_a_terminal_that_can_is_drawn_on(is_terminal: bool, term: str, draws: bool) -> None:  # noqa: FBT001
    stream = SimpleNamespace(isatty=lambda: is_terminal)
    assert terminal(stream, {"TERM": term}) is draws  # type: ignore[arg-type]


def test_a_real_terminal_shows_lines_of_its_own_width(client: Tree) -> None:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 60, 0, 0))
    command = [sys.executable, "-I", "-S", str(Path(raplica_reader.__file__).parent), "watch"]
    environment = {"TERM": "xterm", "NO_COLOR": "1", "LC_ALL": "C.UTF-8"}
    with subprocess.Popen(
        [*command, "--count", "2", "--interval", "0.05", "--sysfs", str(client.root)],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environment,
    ) as process:
        os.close(slave)
        shown = b""
        while True:
            try:
                part = os.read(master, 4096)
            except OSError:  # EIO: the other end is closed
                break
            if not part:
                break
            shown += part
    os.close(master)
    assert process.returncode == 0
    lines = shown.decode().replace("\r", "").split("\n")
    assert any(line.startswith("package-0 ") for line in lines)
    assert max(len(re.sub(r"\x1b\[[0-9]*[A-Z]", "", line)) for line in lines) <= 60
    assert "\x1b[9F" in shown.decode()
