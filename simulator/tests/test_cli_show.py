# SPDX-License-Identifier: Apache-2.0
"""`raplica show` and `raplica machines`: what they tell is what the machine is."""

import json
from collections.abc import Callable
from errno import errorcode
from fractions import Fraction
from pathlib import Path

import pytest

from raplica_fixtures import mac_ids, mac_path, profile_ids
from raplica_fixtures.recording import load_recording
from raplica_simulator import Machine
from raplica_simulator.cli import main
from raplica_simulator.linux.kernel import KERNELS

RECORDINGS = Path(__file__).resolve().parents[2] / "fixtures" / "recordings"
Result = tuple[int, str, str]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Run the command in this process, where that makes no difference: status, stdout, stderr."""

    def call(*arguments: str | Path) -> Result:
        with pytest.raises(SystemExit) as ended:
            main([*map(str, arguments)])
        told = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, told.out, told.err

    return call


@pytest.mark.parametrize("name", profile_ids())
@pytest.mark.parametrize("kernel", KERNELS)
def test_show_describes_the_zones_that_the_tree_has(run: Callable[..., Result], name: str, kernel: str) -> None:
    status, out, err = run("show", name, "--kernel", kernel, "--json")
    assert (status, err) == (0, "")
    document = json.loads(out)
    machine = Machine.from_profile(name, kernel=kernel)
    sysfs = machine.sysfs
    assert (document["format"], document["id"], document["kernel"]["version"]) == (1, name, kernel)
    zones = [zone for kind in document["control_types"] for zone in kind["zones"]]
    seen = {kind["name"] for kind in document["control_types"]}
    while zones:
        zone = zones.pop()
        zones += zone["zones"]
        seen.add(zone["id"])
        here = f"class/powercap/{zone['id']}/"
        assert sysfs.read(here + "name").decode() == zone["name"] + "\n"
        for monitor in ("energy_uj", "max_energy_range_uj", "power_uw", "max_power_range_uw"):
            assert (monitor in zone) is (monitor in sysfs.listdir(here))
            assert monitor not in zone or int(sysfs.read(here + monitor)) == zone[monitor]
        # What a profile brings under its own name counts in nobody's steps.
        if "unit_j" in zone:
            # The unit comes back from the range: the driver shows 2^32 - 1 steps of it.
            unit_nj = Fraction(zone["unit_j"]) * 10**9 if zone["unit_nj"] is None else zone["unit_nj"]
            # The first driver does not cut it to whole nJ.
            assert (zone["unit_nj"] is None) is (kernel == "3.13" and unit_nj != int(unit_nj))
            assert unit_nj * (2**32 - 1) // 1000 == zone["max_energy_range_uj"]
        else:
            assert zone["id"].partition(":")[0] in document["composed_control_types"]
        for constraint in zone["constraints"]:
            for what, value in constraint.items():
                if what != "number" and value is not None:
                    path = f"{here}constraint_{constraint['number']}_{what}"
                    assert sysfs.read(path).decode() == f"{value}\n"
        for attribute, errno in zone["errors"].items():
            with pytest.raises(OSError, match=r"No data available|Invalid argument") as failed:
                sysfs.read(here + attribute)
            assert errno == errorcode[failed.value.errno or 0]
    assert seen == set(sysfs.listdir("class/powercap"))


@pytest.mark.parametrize("name", profile_ids())
def test_show_says_where_each_registers_value_comes_from(run: Callable[..., Result], name: str) -> None:
    document = json.loads(run("show", name, "--json")[1])
    profile = Machine.from_profile(name).profile
    shown = {int(one["address"], 16): one for one in document["registers"]}
    assert set(shown) == {
        address for words in (*profile.registers.values(), *profile.core_registers.values()) for address in words
    }
    for address, register in shown.items():
        raws = {int(value["raw"], 16) for value in register["values"]}
        kept = (*profile.registers.values(), *profile.core_registers.values())
        assert raws == {words[address] for words in kept if address in words}
        assert register["provenance"] in ("observed", "documented", "composed")
    assert document["witnessed"] == list(profile.witnessed)
    text = run("show", name)[1]
    assert profile.title in text
    assert all(f"0x{address:X}" in text for address in shown)
    assert ("no recording" in text) is (not profile.witnesses)


@pytest.mark.pitfall("dram-15-3-uj-by-model")
def test_show_gives_the_exact_unit_beside_the_drivers(run: Callable[..., Result]) -> None:
    zones = json.loads(run("show", "skylake-sp-2s", "--json")[1])["control_types"][0]["zones"]
    assert (zones[0]["unit_j"], zones[0]["unit_nj"]) == ("1/16384", 61035)
    assert (zones[0]["zones"][0]["unit_j"], zones[0]["zones"][0]["unit_nj"]) == ("153/10000000", 15300)


def test_a_kernel_that_nobody_recorded_is_shown_as_such(run: Callable[..., Result]) -> None:
    assert "kernel     Linux 6.1 (6.1.192)\n" in run("show", "sandybridge", "--kernel", "6.1")[1]
    shown = run("show", "sandybridge", "--kernel", "3.13")[1]
    assert "kernel     Linux 3.13 (from source, not witnessed)\n" in shown
    document = json.loads(run("show", "sandybridge", "--kernel", "3.13", "--json")[1])
    assert document["kernel"] == {"version": "3.13", "release": "3.13", "witnessed": False}
    # It divides last, so its step is the silicon's.
    assert document["control_types"][0]["zones"][0]["unit_nj"] is None
    assert "a step is 1/65536 J, for the driver too" in shown


def test_help_names_every_kernel_and_how_it_is_known(run: Callable[..., Result]) -> None:
    words = " ".join(run("show", "--help")[1].split())
    assert "6.1, 6.12 (default) or 7.2, witnessed; 3.13 or 5.5, from source, not witnessed." in words
    assert set(KERNELS) == {"6.1", "6.12", "7.2", "3.13", "5.5"}


def test_show_says_what_is_odd_about_a_profile(run: Callable[..., Result], tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        '[cpu]\nvendor = "GenuineIntel"\nfamily = 6\nmodel = 85\n[topology]\npackages = 1\n'
        "[registers]\n0x606 = 0xA0E03\n0x611 = 0\n[load]\npackage = 10\n"
    )
    status, out, _ = run("show", path)
    assert status == 0
    assert "warnings" in out
    assert "0x611 is missing or reads 0" in out
    assert "class/powercap is empty" in out
    document = json.loads(run("show", path, "--json")[1])
    assert document["control_types"] == []
    assert len(document["warnings"]) == 1


@pytest.mark.untraced  # test_profile_recorded.py shows it
@pytest.mark.parametrize("recording", sorted(path.name for path in RECORDINGS.glob("*.json.xz")))
def test_a_recording_is_a_machine_too(run: Callable[..., Result], recording: str) -> None:
    status, out, err = run("show", RECORDINGS / recording, "--json")
    assert (status, err) == (0, "")
    document = json.loads(out)
    assert document["rules"] == "table"
    # A processor without RAPL has none, whatever else was registered while it was recorded.
    loaded = load_recording(RECORDINGS / recording).tree
    names = {kind["name"] for kind in document["control_types"]}
    assert names == {name for name in ("intel-rapl", "intel-rapl-mmio") if f"class/powercap/{name}" in loaded}
    assert recording.startswith(f"{document['id']}-{document['kernel']['version']}")


def test_machines_are_listed_with_cpu_domains_and_witnesses(run: Callable[..., Result]) -> None:
    table, _, legend = run("machines")[1].partition("\n\n")
    lines = table.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(profile_ids())
    assert legend.splitlines()[-2] == "* from source, not witnessed"
    assert next(line for line in lines if line.startswith("baytrail ")).split()[5:10] == [
        *("3.13*", "5.5*", "6.1", "6.12", "7.2")
    ]
    assert next(line for line in lines if line.startswith("kabylake ")).split()[1:8] == [
        *("6:142", "4", "package", "core", "uncore", "dram", "psys")
    ]
    document = json.loads(run("machines", "--json")[1])
    skylake = next(machine for machine in document if machine["id"] == "skylake-sp-2s")
    assert skylake["zones"] == ["package-0", "package-0/dram", "package-1", "package-1/dram"]
    assert skylake["witnessed"] == ["6.1", "6.12"]
    assert [kernel["version"] for kernel in skylake["kernels"]] == ["5.5", "6.1", "6.12", "7.2"]
    assert [kernel["witnessed"] for kernel in skylake["kernels"]] == [False, True, True, True]
    assert skylake["topology"]["cpus"] == 80


@pytest.mark.parametrize(
    ("cores", "core", "words"),
    [
        ('"0.0.0" = 4\n"0.0.1" = 6\n"1.0.0" = 10\n', 10_000_000, "package 60 W, core 10 W, in every package"),
        (
            '"0.0.0" = 10\n"1.0.1" = 2.5\n',
            [10_000_000, 2_500_000],
            "package 60 W, in every package; core 10 W in package 0; core 2.5 W in package 1",
        ),
    ],
)
def test_show_tells_what_single_cores_want_by_package_and_what_a_package_draws_at_least(
    run: Callable[..., Result], tmp_path: Path, cores: str, core: object, words: str
) -> None:
    path = tmp_path / "cores.toml"
    path.write_text(
        '[cpu]\nvendor = "GenuineIntel"\nfamily = 6\nmodel = 85\n[topology]\npackages = 2\ncores_per_die = 2\n'
        f"[load]\npackage = 60\n[load.core]\n{cores}[floor]\npackage = 4.5\n"
    )
    document = json.loads(run("show", path, "--json")[1])
    assert document["load_uw"]["core"] == core
    assert document["floors_uw"] == {"package": 4_500_000}
    assert f"load       {words}\nfloor      package 4.5 W, unless a limit clamps\n" in run("show", path)[1]


def test_show_describes_a_mac_by_what_its_powermetrics_shows(run: Callable[..., Result]) -> None:
    status, out, err = run("show", "macbook-m1", "--json")
    assert (status, err) == (0, "")
    document = json.loads(out)
    assert (document["id"], document["processor"], document["topology"]["cpus"]) == ("macbook-m1", "Apple M1", 8)
    assert document["macos"]["clusters"][1] == {"name": "P-Cluster", "cpus": [4, 5, 6, 7]}
    assert document["macos"]["powermetrics"] == ["cpu", "gpu", "ane", "dram", "package"]
    assert document["load_uw"]["package"] == 1_250_000
    _, text, _ = run("show", "macbookpro-2015")
    assert "system        macOS 15, build 24H23\n" in text
    assert "powermetrics  package\n" in text
    assert "--as macos -- powermetrics" in run("show", "mac-m2pro")[1]


def test_a_mac_is_refused_by_what_cannot_show_it_and_named_where_machines_are(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    own = tmp_path / "own.toml"
    own.write_bytes(mac_path("mac-m2pro").read_bytes())
    for name in ("macbook-m1", str(own)):
        status, out, err = run("generate", name, tmp_path / "out")
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert f"{name}: is a Mac" in err
        assert f"raplica exec {name} --as macos" in err
    status, _, err = run("show", "macbook-m1", "--kernel", "6.1")
    assert (status, "leave --kernel out" in err) == (2, True)
    own.write_text("[chip]\n[macos]\nmodel = 1\n", encoding="utf-8")
    status, _, err = run("show", own)
    assert (status, err.count("\n")) == (2, 1)
    assert all(name in run("machines")[1].splitlines()[-1] for name in mac_ids())
