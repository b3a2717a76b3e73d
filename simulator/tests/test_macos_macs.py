# SPDX-License-Identifier: Apache-2.0
"""Macs: their files, what is refused in one, and what their parts have spent."""

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_fixtures import mac_ids, mac_path
from raplica_simulator import Machine, ProfileError, load_profile
from raplica_simulator.macos.mac import ANE, DRAM, GPU, PACKAGE, Cluster, Mac
from raplica_simulator.macos.mac_files import intel_mac, read_mac

APPLE = """
[chip]
name = "Apple M9"
ane_part = 0.25
[[chip.cluster]]
name = "E-Cluster"
cores = 2
[[chip.cluster]]
name = "P-Cluster"
cores = 3
[load]
package = 10
core = 5
uncore = 2
dram = 1
[macos]
model = "Mac99,1"
release = 14
build = "23A1"
seed = 7
"""


def written(folder: Path, text: str) -> str:
    path = folder / "mac.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_the_folder_holds_the_macs_that_are_listed_and_no_other() -> None:
    assert {path.stem for path in mac_path("macbook-m1").parent.glob("*.toml")} == set(mac_ids())
    with pytest.raises(KeyError):
        mac_path("kabylake")


@pytest.mark.parametrize("name", mac_ids())
def test_a_built_in_mac_runs_and_goes_through_an_environment_as_it_is(name: str) -> None:
    found = read_mac(name)
    assert found is not None
    profile, mac = found
    machine = Machine.from_profile(profile)
    machine.clock.advance(seconds=10)
    spent_uj = mac.spent_uj({domain: machine.truth_uj(domain) for domain in mac.domains})
    assert spent_uj[PACKAGE] > 1_000_000
    assert Mac.from_json(mac.to_json()) == mac
    assert mac.is_apple == (profile.cpu.id.vendor == "Apple")


def test_apple_silicon_has_no_register_and_no_zone() -> None:
    found = read_mac("macbook-m1")
    assert found is not None
    machine = Machine.from_profile(found[0])
    assert machine.sysfs.listdir("class/powercap") == []
    assert list(machine.msr.addresses(0)) == []


def test_a_file_says_clusters_and_the_parts_add_up(tmp_path: Path) -> None:
    found = read_mac(written(tmp_path, APPLE))
    assert found is not None
    profile, mac = found
    assert mac.clusters == (Cluster("E-Cluster", 0, 2), Cluster("P-Cluster", 2, 3))
    assert (mac.model, mac.release, mac.build, mac.seed, mac.ane_part) == ("Mac99,1", 14, "23A1", 7, Fraction(1, 4))
    machine = Machine.from_profile(profile)
    machine.clock.advance(seconds=1)
    spent = mac.spent_uj({domain: machine.truth_uj(domain) for domain in mac.domains})
    million = 1_000_000
    assert spent == {
        "E-Cluster": 2 * million,
        "P-Cluster": 3 * million,
        GPU: 2 * million,
        ANE: 3 * million // 4,
        DRAM: million,
        PACKAGE: 11 * million,
    }


@pytest.mark.parametrize("name", ["skylake-sp-2s", "kabylake"])
def test_any_intel_machine_can_be_a_mac_with_the_energy_of_all_its_packages(name: str) -> None:
    machine = Machine.from_profile(name)
    mac = intel_mac(machine.profile)
    machine.clock.advance(seconds=1)
    truths = {domain: machine.truth_uj(domain) for domain in mac.domains}
    assert len(truths) == machine.profile.topology.packages
    assert mac.spent_uj(truths) == {PACKAGE: sum(truths.values())}


def test_no_mac_has_a_processor_of_amd(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"zen4: no Mac has a processor of AuthenticAMD: name an Intel machine, or"):
        intel_mac(load_profile("zen4"))
    file = Path(load_profile("zen4").id)
    text = (mac_path("macbook-m1").parents[1] / "machines" / f"{file}.toml").read_text(encoding="utf-8")
    about = '\n[macos]\nmodel = "m"\nrelease = 14\nbuild = "b"\n'
    with pytest.raises(ProfileError, match="no Mac has a processor of AuthenticAMD"):
        read_mac(written(tmp_path, text + about))


def test_what_is_no_mac_is_left_to_others(tmp_path: Path) -> None:
    assert read_mac("kabylake") is None
    assert read_mac("-") is None
    assert read_mac(written(tmp_path, 'title = "a machine"\n')) is None


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("cores = 2", "cores = 0", "chip.cluster[0].cores: 0 is out of range"),
        ("ane_part = 0.25", "ane_part = 1.5", "chip.ane_part: must be a number from 0 to 1"),
        ("ane_part = 0.25", "ane_part = true", "chip.ane_part: must be a number from 0 to 1, not"),
        ('name = "P-Cluster"', 'name = "E-Cluster"', "clusters have one name: E-Cluster, E-Cluster; give each its own"),
        ("cores = 3", "cores = 1023", "chip: 1025 cores"),
        ("release = 14", 'release = "14"', "macos.release: must be a whole number"),
        ('build = "23A1"', "", "build is missing"),
        ("seed = 7", "sead = 7", "did you mean seed?"),
        ("[load]", "[lode]", "did you mean load?"),
        ("package = 10", "package = 1", "load"),
    ],
)
def test_a_mistake_in_a_file_is_told_in_one_line_with_its_place(
    tmp_path: Path, before: str, after: str, said: str
) -> None:
    file = written(tmp_path, APPLE.replace(before, after, 1))
    with pytest.raises(ProfileError) as refused:
        read_mac(file)
    assert said in str(refused.value)
    assert str(refused.value).startswith(f"{file}: ")
    assert "\n" not in str(refused.value)


def test_a_chip_without_clusters_is_refused(tmp_path: Path) -> None:
    text = '[chip]\nname = "x"\ncluster = []\n[macos]\nmodel = "m"\nrelease = 14\nbuild = "b"\n'
    with pytest.raises(ProfileError, match="chip: 0 cores"):
        read_mac(written(tmp_path, text))


@given(
    cores=st.lists(st.integers(0, 10**12), min_size=5, max_size=5),
    gpu=st.integers(0, 10**12),
    beside=st.integers(0, 10**12),
    dram=st.integers(0, 10**12),
    part=st.fractions(0, 1),
)
def test_no_part_of_apple_silicon_is_more_than_its_package(
    cores: list[int], gpu: int, beside: int, dram: int, part: Fraction
) -> None:
    clusters = (Cluster("E-Cluster", 0, 2), Cluster("P-Cluster", 2, 3))
    mac = Mac("m", 12, "b", clusters, ane_part=part)
    names = dict(zip(mac.domains[4:], cores, strict=True))
    package = sum(cores) + gpu + beside
    spent = mac.spent_uj({**dict(zip(mac.domains[:4], (package, sum(cores), gpu, dram), strict=True)), **names})
    assert spent["E-Cluster"] + spent["P-Cluster"] == sum(cores)
    assert sum(uj for name, uj in spent.items() if name != PACKAGE) <= spent[PACKAGE] == package + dram
