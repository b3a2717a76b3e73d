# SPDX-License-Identifier: Apache-2.0
"""Metrics in Prometheus's text format."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from raplica_reader import Follower, OsFiles, Powercap, Sampler, cli
from raplica_reader.prometheus import write

if TYPE_CHECKING:
    from tests.conftest import Tree

SAMPLE = re.compile(r'(\w+)\{((?:\w+="(?:[^"\\\n]|\\["\\n])*",?)+)\} (\S+)')
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

Metrics = dict[tuple[str, str, str], float]


def parse(text: str) -> Metrics:
    """Each sample by its name, path and status; every line must be one or a comment about the family that follows."""
    found: Metrics = {}
    family = None
    for line in text.splitlines():
        if line.startswith("# HELP "):
            family = line.split()[2]
        elif line.startswith("# TYPE "):
            assert line.split()[2:] in ([family, "counter"], [family, "gauge"])
            assert (line.split()[3] == "counter") == line.split()[2].endswith("_total")
        else:
            match = SAMPLE.fullmatch(line)
            assert match is not None, line
            assert match[1] == family
            labels = dict(LABEL.findall(match[2]))
            assert set(labels) - {"status"} == {"source", "path", "counted"}
            key = match[1], labels["path"], labels.get("status", "")
            assert key not in found
            found[key] = float(match[3])
    return found


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], clock: SimpleNamespace) -> Callable[..., str]:
    """Run the command and give stdout; `change` is called whenever it sleeps."""

    def run(*argv: str | Path, change: Callable[[int], None] = lambda _: None) -> str:
        times = iter(range(1, 1000))

        def sleep(seconds: float) -> None:
            clock.sleep(seconds)
            change(next(times))

        assert cli.main([str(word) for word in argv], clock=clock.read, sleep=sleep) == 0
        return capsys.readouterr().out

    return run


Run = Callable[..., str]


def test_joules_are_a_counter_and_watts_a_gauge(client: Tree, run: Run) -> None:
    def change(_: int) -> None:
        client.show("intel-rapl:0", 105_000_000)

    metrics = parse(run("read", "--prometheus", "--interval", "2", "--sysfs", client.root, change=change))
    assert metrics["raplica_energy_joules_total", "package-0", ""] == 100
    assert metrics["raplica_energy_joules_total", "psys", ""] == 0
    assert metrics["raplica_power_watts", "package-0", ""] == 50
    assert metrics["raplica_energy_gaps_total", "package-0", "error"] == 0
    assert len([key for key in metrics if key[0] == "raplica_energy_joules_total"]) == 6


def test_the_counter_never_falls_when_the_register_wraps_or_is_reset_or_fails(
    client: Tree, run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "raplica.prom"
    client.show("intel-rapl:0", 262_143_328_789)
    shows = [b"262143328850\n", b"61035\n", b"", b"122070\n", b"99999999999\n", b"122070\n"]
    totals, gaps = [], []

    def change(number: int) -> None:
        if file.exists():
            metrics = parse(file.read_text())
            totals.append(metrics["raplica_energy_joules_total", "package-0", ""])
            gaps.append([metrics["raplica_energy_gaps_total", "package-0", kind] for kind in ("error", "reset")])
        client.write("intel-rapl:0", shows[number - 1] if number <= len(shows) else b"122070\n")

    argv = ["watch", "--prometheus", "--output", file, "--count", "7", "--sysfs", client.root]
    assert run(*argv, change=change) == ""
    assert totals == sorted(totals)
    assert totals[1] == pytest.approx(0.000061 * 1002, abs=1e-4)
    assert gaps[-1] == [1, 1]
    assert [path.name for path in tmp_path.iterdir() if "prom" in path.name] == ["raplica.prom"]


def test_a_zone_whose_watts_are_unknown_has_no_watts(client: Tree, run: Run) -> None:
    metrics = parse(
        run("read", "--prometheus", "--sysfs", client.root, change=lambda _: client.write("intel-rapl:0:2", b""))
    )
    assert ("raplica_power_watts", "package-0/dram", "") not in metrics
    assert metrics["raplica_energy_joules_total", "package-0/dram", ""] == 0
    assert metrics["raplica_energy_gaps_total", "package-0/dram", "error"] == 1


def test_names_that_have_quotes_in_them_are_escaped(tree: Tree, run: Run) -> None:
    tree.zone("intel-rapl:0", b'pack"age\\0\n2', newline=True)
    text = run("read", "--prometheus", "--sysfs", tree.root)
    assert next(iter(parse(text)))[1] == 'pack\\"age\\\\0\\\\n2'


def test_a_file_that_cannot_be_written_is_one_line(
    client: Tree, capsys: pytest.CaptureFixture[str], clock: SimpleNamespace, tmp_path: Path
) -> None:
    argv = ["watch", "--prometheus", "--output", str(tmp_path / "no/such/folder/x"), "--sysfs", str(client.root)]
    assert cli.main(argv, clock=clock.read, sleep=clock.sleep) == 3
    assert capsys.readouterr().err == f"raplica-reader: {argv[3]} cannot be written (ENOENT)\n"


def test_a_failed_replacement_leaves_no_half_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(IsADirectoryError):
        write("text", str(tmp_path / "taken"))
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_what_is_no_regular_file_is_not_replaced_by_one(
    client: Tree, capsys: pytest.CaptureFixture[str], clock: SimpleNamespace, tmp_path: Path
) -> None:
    # A pipe of our own and not /dev/null: were this test to fail, root would lose that.
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", tmp_path):
        argv = ["watch", "--prometheus", "--output", str(place), "--count", "1", "--sysfs", str(client.root)]
        assert cli.main(argv, clock=clock.read, sleep=clock.sleep) == 2
        assert f"--output {place} is there and no regular file, so it is not replaced" in capsys.readouterr().err
    assert (tmp_path / "pipe").is_fifo()


def test_a_link_in_the_way_is_not_written_through(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("untouched")
    (tmp_path / f"raplica.prom.{os.getpid()}.tmp").symlink_to(other)
    write("text", str(tmp_path / "raplica.prom"))
    assert (other.read_text(), (tmp_path / "raplica.prom").read_text()) == ("untouched", "text")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "raplica.prom"]


def test_an_interrupted_replacement_leaves_no_half_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write("text", str(tmp_path / "raplica.prom"))
    assert list(tmp_path.iterdir()) == []


def test_the_counter_goes_on_where_another_counter_takes_the_place_of_a_zone(client: Tree) -> None:
    """A driver that is loaded again may say another range, and then nobody knows the energy in between."""
    source, now_ns = Powercap(OsFiles(client.root)), 0
    follower = Follower(source, Sampler(source.discover(), clock=lambda: now_ns))
    joules = []
    for shown, range_uj in [(0, 1), (100, 1), (150, 2), (160, 2)]:
        client.show("intel-rapl:0", shown * 10**6)
        (client.path("intel-rapl:0") / "max_energy_range_uj").write_text(
            f"{262_143_328_850 if range_uj == 1 else 65_532_610_987}\n"
        )
        if shown == 150:
            client.zone("intel-rapl:2", "package-1")
        now_ns += 10**9
        follower.sample()
        joules.append(round(follower.meter.tallies()[0].energy_nj / 1e9))
    assert joules == [0, 100, 100, 110]
    assert follower.meter.tallies()[0].gaps == {"error": 1}
