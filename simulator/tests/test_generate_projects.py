# SPDX-License-Identifier: Apache-2.0
"""What other projects wrote by hand, each from one line: the same paths, and fields that mean the same.

The layouts are described here as they are in prometheus/procfs (testdata/fixtures.ttar, class_powercap_test.go),
sustainable-computing-io/kepler (internal/device/testdata/sys) and mlco2/codecarbon (tests/test_cpu.py, and the tree
that it had in tests/test_data/rapl), with the values of fields that do not depend on the moment.
"""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from raplica_simulator.cli import cli

#: The lines, as docs/generate.md has them.
PROCFS = (
    "raplica generate alderlake-p fixtures.ttar --format ttar --prefix fixtures/sys --layout flat --packages 11 "
    "--zones intel-rapl,intel-rapl:0,intel-rapl:0:0,intel-rapl:a "
    "--attributes 'constraint_[01]_*,enabled,energy_uj,max_energy_range_uj,name,uevent'"
)
KEPLER = (
    "raplica generate alderlake-p sys --layout flat --packages 11 "
    "--zones intel-rapl,intel-rapl-mmio,intel-rapl-mmio:0,intel-rapl:0,intel-rapl:0:0,intel-rapl:a "
    "--attributes enabled,uevent,energy_uj,max_energy_range_uj,name"
)
CODECARBON = (
    "raplica generate kabylake rapl --layout nested --zones intel-rapl:0,intel-rapl:1 "
    "--attributes name,energy_uj,max_energy_range_uj"
)
# 2^32-1 steps of 2^-14 J, as the driver's integers have them.
RANGE_UJ = 262143328850
CONSTRAINT = ("max_power_uw", "name", "power_limit_uw", "time_window_us")
MANUAL = Path(__file__).resolve().parents[2] / "docs" / "generate.md"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(line: str) -> None:
    """Run a line as a shell would."""
    result = CliRunner().invoke(cli, shlex.split(line)[1:])
    assert result.exit_code == 0, result.output


def tree(root: Path) -> dict[str, str]:
    """Every plain file below a folder; no entry may be a link."""
    assert not any(path.is_symlink() for path in root.rglob("*"))
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def energies(found: dict[str, str]) -> dict[str, int]:
    """The counters by the folder of their zone, as a program parses them: each below its range."""
    zones = {path.rpartition("/")[0]: int(text) for path, text in found.items() if path.endswith("/energy_uj")}
    for zone, energy_uj in zones.items():
        assert re.fullmatch(r"[0-9]+\n", found[f"{zone}/energy_uj"])
        assert 0 < energy_uj <= int(found[f"{zone}/max_energy_range_uj"]) == RANGE_UJ
    return zones


def test_procfs_has_a_control_type_a_package_its_core_and_the_eleventh_package(folder: Path) -> None:
    run(PROCFS)
    lines = (folder / "fixtures.ttar").read_text().splitlines()
    modes = {}
    found = {}
    for number, line in enumerate(lines):
        if line.startswith("Path: fixtures/sys/"):
            path, count = line.removeprefix("Path: fixtures/sys/"), int(lines[number + 1].removeprefix("Lines: "))
            found[path] = "".join(f"{text}\n" for text in lines[number + 2 : number + 2 + count])
            modes[path] = lines[number + 2 + count]
    base = "class/powercap"
    package = {f"constraint_{one}_{what}" for one in (0, 1) for what in CONSTRAINT}
    zone = {"enabled", "energy_uj", "max_energy_range_uj", "name", "uevent"}
    assert set(found) == {
        *(f"{base}/intel-rapl/{name}" for name in ("enabled", "uevent")),
        *(f"{base}/{one}/{name}" for one in ("intel-rapl:0", "intel-rapl:a") for name in package | zone),
        *(f"{base}/intel-rapl:0:0/{name}" for name in {f"constraint_0_{what}" for what in CONSTRAINT} | zone),
    }
    folders = [line.removeprefix("Directory: ") for line in lines if line.startswith("Directory: ")]
    # ttar creates folders with those above them, so the first three are none of the fixture's own.
    assert folders[3:] == [
        f"fixtures/sys/{base}{below}"
        for below in ("", "/intel-rapl", "/intel-rapl:0", "/intel-rapl:0:0", "/intel-rapl:a")
    ]
    assert not any(line.startswith("SymlinkTo:") for line in lines)
    names = {path: text for path, text in found.items() if path.endswith("name")}
    assert {names[f"{base}/{one}/name"] for one in ("intel-rapl:0", "intel-rapl:0:0", "intel-rapl:a")} == {
        "package-0\n",
        "core\n",
        "package-10\n",
    }
    assert names[f"{base}/intel-rapl:0/constraint_0_name"] == names[f"{base}/intel-rapl:0:0/constraint_0_name"]
    assert names[f"{base}/intel-rapl:a/constraint_0_name"] == "long_term\n"
    assert names[f"{base}/intel-rapl:a/constraint_1_name"] == "short_term\n"
    assert (found[f"{base}/intel-rapl:0:0/constraint_0_max_power_uw"], found[f"{base}/intel-rapl/uevent"]) == ("", "")
    assert [found[f"{base}/{one}/enabled"] for one in ("intel-rapl", "intel-rapl:0", "intel-rapl:0:0")] == [
        "1\n",
        "1\n",
        "0\n",
    ]
    assert len(energies(found)) == 3
    assert {modes[path] for path in modes if path.endswith(("_limit_uw", "_window_us", "enabled"))} == {"Mode: 644"}
    assert {modes[path] for path in modes if path.endswith(("name", "range_uj", "max_power_uw"))} == {"Mode: 444"}
    # The one difference: the fixture is older than the kernel's answer to CVE-2020-8694.
    assert {modes[path] for path in modes if path.endswith("energy_uj")} == {"Mode: 400"}


def test_kepler_has_the_mmio_interface_beside_it(folder: Path) -> None:
    run(KEPLER)
    found = tree(folder / "sys")
    base = "class/powercap"
    zones = ("intel-rapl-mmio:0", "intel-rapl:0", "intel-rapl:0:0", "intel-rapl:a")
    by_hand = {
        *(f"{base}/{one}/{name}" for one in ("intel-rapl", "intel-rapl-mmio") for name in ("enabled", "uevent")),
        *(f"{base}/{one}/{name}" for one in zones for name in ("enabled", "energy_uj", "max_energy_range_uj", "name")),
    }
    # A zone has an empty uevent as well, which was left out by hand.
    assert set(found) - by_hand == {f"{base}/{one}/uevent" for one in zones}
    assert by_hand <= set(found)
    assert [found[f"{base}/{one}/name"] for one in zones] == ["package-0\n", "package-0\n", "core\n", "package-10\n"]
    assert set(energies(found)) == {f"{base}/{one}" for one in zones}
    # Both interfaces count the same joules, as both files had one number.
    assert found[f"{base}/intel-rapl-mmio:0/energy_uj"] == found[f"{base}/intel-rapl:0/energy_uj"]


def test_codecarbon_has_a_package_and_the_platform_in_the_folder_of_their_control_type(folder: Path) -> None:
    run(CODECARBON)
    found = tree(folder / "rapl")
    assert set(found) == {
        f"intel-rapl/intel-rapl:{zone}/{name}"
        for zone in (0, 1)
        for name in ("name", "energy_uj", "max_energy_range_uj")
    }
    assert [found[f"intel-rapl/intel-rapl:{zone}/name"].strip() for zone in (0, 1)] == ["package-0", "psys"]
    assert len(energies(found)) == 2


def test_codecarbons_older_tree_is_a_kaby_lake_as_it_is(folder: Path) -> None:
    """Copied from a laptop in 2020: a control type's folder with zones in each other, their links and power groups."""
    run("raplica generate kabylake sys")
    rapl = folder / "sys/class/powercap/intel-rapl"
    package, core = rapl / "intel-rapl:0", rapl / "intel-rapl:0" / "intel-rapl:0:0"
    assert [(package / f"intel-rapl:0:{one}" / "name").read_text().strip() for one in range(3)] == [
        "core",
        "uncore",
        "dram",
    ]
    assert (rapl / "intel-rapl:1" / "name").read_text() == "psys\n"
    links = {rapl / "subsystem", *(one / name for one in (package, core) for name in ("device", "subsystem"))}
    assert all(link.is_symlink() for link in links)
    groups = [one / "power" for one in (rapl, package, core)]
    for name in ("autosuspend_delay_ms", "control", "runtime_active_time", "runtime_status", "runtime_suspended_time"):
        assert all((group / name).is_file() for group in groups)
    # Files that could not be copied are empty in it, and so they are here.
    assert (package / "power" / "autosuspend_delay_ms").read_bytes() == b""
    assert {(one / "constraint_0_max_power_uw").read_bytes() for one in (core, rapl / "intel-rapl:1")} == {b""}


def test_the_manual_has_these_lines() -> None:
    text = re.sub(r" \\\n>? *", " ", MANUAL.read_text(encoding="utf-8"))
    assert all(f"$ {line}\n" in text for line in (PROCFS, KEPLER, CODECARBON))
