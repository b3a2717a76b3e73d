# SPDX-License-Identifier: Apache-2.0
"""The command in process: tables, JSON, messages, exit status."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

import raplica_reader
from raplica_reader import cli

if TYPE_CHECKING:
    from tests.conftest import Tree

ZONE_KEYS = {"id", "path", "energy_uj", "power_w", "error"}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], clock: SimpleNamespace) -> Callable[..., tuple[int, str, str]]:
    """Run the command with a clock that stands still but for its own sleeping: status, stdout, stderr."""

    def run(*argv: str | Path, sleep: Callable[[float], None] = clock.sleep) -> tuple[int, str, str]:
        status = cli.main([str(word) for word in argv], clock=clock.read, sleep=sleep)
        out, err = capsys.readouterr()
        return status, out, err

    return run


Run = Callable[..., tuple[int, str, str]]


def test_list_prints_a_table(client: Tree, run: Run) -> None:
    status, out, err = run("list", "--sysfs", client.root)
    assert (status, err) == (0, "")
    assert out == (
        "id                 path                       counter J  wraps after J  total\n"
        "intel-rapl:0       package-0                   5.000000  262143.328911  yes\n"
        "intel-rapl:0:0     package-0/core              2.000000  262143.328911  no\n"
        "intel-rapl:0:1     package-0/uncore            1.000000  262143.328911  no\n"
        "intel-rapl:0:2     package-0/dram              0.500000  262143.328911  yes\n"
        "intel-rapl:1       psys                        9.000000  262143.328911  no\n"
        "intel-rapl-mmio:0  intel-rapl-mmio/package-0   5.000000  262143.328911  no\n"
    )


def test_list_why_gives_a_reason_for_each_zone(client: Tree, run: Run) -> None:
    _, out, _ = run("list", "--why", "--sysfs", client.root)
    lines = out.splitlines()
    assert lines[0].endswith("  why")
    assert lines[5].endswith("  no     psys is the whole platform and contains the packages")


def test_list_json_has_the_counters(client: Tree, run: Run) -> None:
    status, out, err = run("list", "--json", "--sysfs", client.root)
    document = json.loads(out)
    assert (status, err) == (0, "")
    assert {key: document[key] for key in ("format", "command", "source", "sysfs")} == {
        "format": 1,
        "command": "list",
        "source": "powercap",
        "sysfs": str(client.root),
    }
    assert document["zones"][1] == {
        "id": "intel-rapl:0:0",
        "path": "package-0/core",
        "energy_uj": 2_000_000,
        "power_w": None,
        "error": None,
        "name": "core",
        "control_type": "intel-rapl",
        "parent": "intel-rapl:0",
        "max_energy_range_uj": 262_143_328_850,
        "unit_nj": 61_035,
        "counted": False,
        "why": "it is contained in package-0",
    }


def test_read_measures_joules_and_watts(client: Tree, run: Run, clock: SimpleNamespace) -> None:
    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        client.show("intel-rapl:0", 105_000_000)
        client.show("intel-rapl:0:2", 20_500_000)

    status, out, err = run("read", "--interval", "2", "--sysfs", client.root, sleep=sleep)
    assert (status, err) == (0, "")
    assert out == (
        "id                 path                           joules   watts  total\n"
        "intel-rapl:0       package-0                  100.000000  50.000  yes\n"
        "intel-rapl:0:0     package-0/core               0.000000   0.000  no\n"
        "intel-rapl:0:1     package-0/uncore             0.000000   0.000  no\n"
        "intel-rapl:0:2     package-0/dram              20.000000  10.000  yes\n"
        "intel-rapl:1       psys                         0.000000   0.000  no\n"
        "intel-rapl-mmio:0  intel-rapl-mmio/package-0    0.000000   0.000  no\n"
        "total              in 2.000 s                 120.000000  60.000\n"
    )


def test_read_json_has_the_whole_reading_and_each_interval(client: Tree, run: Run, clock: SimpleNamespace) -> None:
    shown = iter([262_143_328_850, 61_035, 122_070])
    client.show("intel-rapl:0", 262_143_328_789)

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        client.show("intel-rapl:0", next(shown))

    status, out, err = run("read", "--count", "3", "--json", "--sysfs", client.root, sleep=sleep)
    document = json.loads(out)
    package = document["zones"][0]
    assert (status, err, document["duration_s"]) == (0, "", 3.0)
    assert set(package) >= ZONE_KEYS
    assert package["energy_uj"] == (1 + 1 + 1000 + 1000) * 61_035 // 1000
    assert package["power_w"] == pytest.approx(package["energy_uj"] / 3e6, rel=1e-5)
    assert [interval["energy_uj"] for interval in package["intervals"]] == [61, 1001 * 61_035 // 1000, 61_035]
    assert [interval["duration_s"] for interval in package["intervals"]] == [1.0, 1.0, 1.0]
    assert document["total"] == {
        "energy_uj": package["energy_uj"],
        "power_w": package["power_w"],
        "error": None,
        "zones": ["intel-rapl:0", "intel-rapl:0:2"],
    }


def test_read_keeps_its_cadence_when_sleeping_takes_longer(client: Tree, run: Run, clock: SimpleNamespace) -> None:
    asked = []

    def sleep(seconds: float) -> None:
        asked.append(seconds)
        clock.sleep(seconds + 0.25)

    _, out, _ = run("read", "--count", "3", "--json", "--sysfs", client.root, sleep=sleep)
    assert asked == [1.0, 0.75, 0.75]
    assert json.loads(out)["duration_s"] == 3.25


def test_read_measures_the_time_and_does_not_believe_the_interval(
    client: Tree, run: Run, clock: SimpleNamespace
) -> None:
    def sleep(_: float) -> None:
        clock.sleep(4)
        client.show("intel-rapl:0", 5_000_000 + 61_035_000)

    _, out, _ = run("read", "--json", "--sysfs", client.root, sleep=sleep)
    assert json.loads(out)["zones"][0]["power_w"] == pytest.approx(61.035 / 4)


def test_no_time_at_all_gives_joules_and_no_watts(client: Tree, run: Run) -> None:
    status, out, _ = run("read", "--sysfs", client.root, sleep=lambda _: None)
    assert status == 0
    assert "package-0                  0.000000      -  yes" in out


def test_a_zone_that_cannot_be_read_is_named_and_the_others_are_printed(client: Tree, run: Run) -> None:
    client.write("intel-rapl:0:0", b"")
    status, out, err = run("list", "--sysfs", client.root)
    assert status == 0
    assert out.splitlines()[2].split() == ["intel-rapl:0:0", "package-0/core", "ENODATA", "262143.328911", "no"]
    assert err == (
        "raplica-reader: energy of package-0/core is unknown (ENODATA): "
        "the file is empty: in a written tree this stands for a counter that could not be read\n"
    )


def test_the_total_shows_the_error_of_the_zone_that_it_lacks(client: Tree, run: Run) -> None:
    client.path("intel-rapl:0:2").joinpath("energy_uj").unlink()
    client.path("intel-rapl:0:2").joinpath("energy_uj").mkdir()
    status, out, err = run("read", "--json", "--sysfs", client.root)
    assert status == 0
    assert json.loads(out)["total"]["error"] == "EISDIR"
    assert json.loads(out)["total"]["energy_uj"] is None
    assert "look at the file energy_uj" in err


def test_a_hidden_device_directory_is_explained(client: Tree, run: Run) -> None:
    client.devices.rename(client.root / "hidden")
    status, out, err = run("list", "--json", "--sysfs", client.root)
    assert status == 3
    assert {zone["error"] for zone in json.loads(out)["zones"]} == {"ENOENT"}
    assert err.count("\n") == 1
    assert "mount that directory into it" in err
    assert f"{client.root}/devices/virtual/powercap" in err


@pytest.mark.parametrize("command", ["list", "read"])
@pytest.mark.parametrize("as_json", [True, False])
def test_without_powercap_one_line_says_so(tmp_path: Path, run: Run, command: str, as_json: bool) -> None:  # noqa: FBT001
    status, out, err = run(command, "--sysfs", tmp_path, *["--json"] * as_json)
    assert status == 3
    assert err.startswith(f"raplica-reader: {tmp_path}/class/powercap cannot be listed (ENOENT): ")
    assert err.count("\n") == 1
    assert json.loads(out)["zones"] == [] if as_json else out == ""


def test_an_empty_class_directory_is_said_to_be_empty(tree: Tree, run: Run) -> None:
    status, out, err = run("read", "--sysfs", tree.root)
    assert (status, out) == (3, "")
    assert "has no zones" in err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "the following arguments are required"),
        (["see"], "invalid choice: 'see'"),
        (["list", "--source", "tea"], "there is no source 'tea'; use auto, powercap, perf, msr"),
        (["list", "--cpu", "skylake"], "'skylake' is no processor; give FAMILY:MODEL, like 6:85 or 0x19:0x61"),
        (["list", "--cpu", "6:-1"], "'6:-1' is no processor"),
        (["read", "--max-power", "1.5"], "'1.5' is no number of watts"),
        (["read", "--max-power", "0"], "'0' is no number of watts"),
        (["read", "--json", "--prometheus"], "--json and --prometheus are two formats: give one"),
        (["watch", "--prometheus"], "--prometheus and --output FILE go together in watch"),
        (["watch", "--output", "x"], "--prometheus and --output FILE go together in watch"),
        (["list", "--prometheus"], "unrecognized arguments: --prometheus"),
        (["stepped", "--json"], "unrecognized arguments: --json"),
        (["read", "--interval", "0"], "'0' is no time in seconds"),
        (["read", "--interval", "-1"], "'-1' is no time in seconds"),
        (["read", "--interval", "nan"], "'nan' is no time in seconds"),
        (["read", "--interval", "1e99"], "'1e99' is no time in seconds"),
        (["read", "--interval", "soon"], "'soon' is no time in seconds"),
        (["read", "--count", "0"], "'0' is no number of intervals"),
        (["read", "--count", "1.5"], "'1.5' is no number of intervals"),
        (["read", "--count", "9999999999"], "'9999999999' is no number of intervals"),
        (["list", "--interval", "1"], "unrecognized arguments: --interval 1"),
        (["list", "--sysfs", ""], "'' is no directory"),
        (["list", "--sys", "/sys"], "unrecognized arguments: --sys /sys"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(run: Run, argv: list[str], message: str) -> None:
    status, out, err = run(*argv)
    assert (status, out) == (2, "")
    assert err.startswith("raplica-reader: ")
    assert message in err
    assert err.count("\n") == 1


def test_the_sources_of_this_version_are_accepted(client: Tree, run: Run) -> None:
    for source in ("auto", "powercap"):
        assert run("list", "--source", source, "--sysfs", client.root)[0] == 0


@pytest.mark.parametrize("command", [[], ["list"], ["read"], ["watch"], ["stepped"]])
def test_help_has_an_example(run: Run, command: list[str]) -> None:
    status, out, err = run(*command, "--help")
    assert (status, err) == (0, "")
    assert "examples:\n  raplica-reader" in out or "examples:\n  sudo raplica-reader" in out


def test_help_tells_the_exit_status(run: Run) -> None:
    assert "Exit status: 0 at least one counter was read" in run("--help")[1]


def test_the_version_is_that_of_the_distribution(run: Run) -> None:
    pyproject = Path(__file__).parents[2] / "pyproject.toml"
    version = tomllib.loads(pyproject.read_text())["project"]["version"]
    assert run("--version") == (0, f"raplica-reader {version}\n", "")


def test_an_interruption_is_one_line(client: Tree, run: Run) -> None:
    def sleep(_: float) -> None:
        raise KeyboardInterrupt

    assert run("read", "--sysfs", client.root, sleep=sleep) == (130, "", "raplica-reader: interrupted\n")


def test_the_public_names_are_sorted_and_there() -> None:
    names: list[str] = raplica_reader.__all__
    assert names == sorted(names)
    found: list[Any] = [getattr(raplica_reader, name) for name in names]
    assert len(found) == len(set(names))


def test_intervals_that_passed_while_nothing_ran_are_left_out(client: Tree, run: Run, clock: SimpleNamespace) -> None:
    """A process that was stopped does not make up for what it missed by samples of no time at all."""
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.sleep(seconds + (3.25 if len(slept) == 1 else 0))

    _, out, _ = run("read", "--count", "3", "--json", "--sysfs", client.root, sleep=sleep)
    intervals = json.loads(out)["zones"][0]["intervals"]
    assert [interval["duration_s"] for interval in intervals] == [4.25, 0.75, 1.0]


@pytest.mark.parametrize("command", ["list", "read", "watch"])
def test_zones_that_count_nothing_are_said_to(tree: Tree, run: Run, command: str) -> None:
    tree.zone("dtpm:0", "pkg", energy_uj=None)
    status, _, err = run(command, "--sysfs", tree.root)
    assert status == 3
    assert "has zones without energy counters only" in err
    assert err.count("\n") == 1
