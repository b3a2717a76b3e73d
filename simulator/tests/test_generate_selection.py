# SPDX-License-Identifier: Apache-2.0
"""Parts of a machine's tree in other layouts, and machines with another number of packages."""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator import Machine
from raplica_simulator.profile.profile import load_profile
from raplica_simulator.profile.sized import with_packages
from raplica_simulator.surfaces.selection import LAYOUTS, Selection, read_names, select
from raplica_simulator.surfaces.snapshot import Folder, Snapshot, take_snapshot

KABYLAKE = take_snapshot(Machine.from_profile("kabylake").sysfs)
IDS = [name for name, _ in KABYLAKE.root.folders[0].folders[0].links]


def paths(folder: Folder, above: str = "") -> Iterator[str]:
    """Everything below a folder, directories with a slash at the end and links with an @."""
    yield from (above + file[0] for file in folder.files)
    yield from (f"{above}{link[0]}@" for link in folder.links)
    for below in folder.folders:
        yield f"{above}{below.name}/"
        yield from paths(below, f"{above}{below.name}/")


def files(snapshot: Snapshot) -> set[str]:
    return {path for path in paths(snapshot.root) if not path.endswith(("/", "@"))}


def fits(path: str, attribute: str) -> bool:
    """Whether a path ends in an attribute that a pattern names; power/* is those of a group."""
    *_, folder, name = path.split("/")
    return fnmatchcase(f"power/{name}" if folder == "power" else name, attribute)


def test_everything_is_the_snapshot_itself() -> None:
    assert select(KABYLAKE, Selection()) is KABYLAKE
    named = select(KABYLAKE, Selection(zones=("*",), attributes=("*",)))
    assert (named.root, named.attributes) == (KABYLAKE.root, KABYLAKE.attributes)
    assert set(named.unreadable) == set(KABYLAKE.unreadable)


def test_flat_has_every_zone_below_the_class_as_a_plain_folder() -> None:
    flat = select(KABYLAKE, Selection("flat"))
    assert [path for path in paths(flat.root) if path.endswith("/")] == [
        "class/",
        "class/powercap/",
        *(f"class/powercap/{name}/" for name in IDS),
    ]
    assert not any(path.endswith("@") for path in paths(flat.root))
    assert "class/powercap/intel-rapl:0:0/energy_uj" in files(flat)


def test_nested_has_the_control_types_at_the_root_and_zones_in_each_other() -> None:
    nested = select(KABYLAKE, Selection("nested", attributes=("name",)))
    assert files(nested) == {
        f"intel-rapl/{place}/name"
        for place in (
            "intel-rapl:1",
            *(f"intel-rapl:0{sub}" for sub in ("", *(f"/intel-rapl:0:{n}" for n in (0, 1, 2)))),
        )
    }


def test_zones_that_are_wanted_keep_bare_folders_above_them() -> None:
    core = select(KABYLAKE, Selection(zones=("intel-rapl:0:0",), attributes=("name", "power/control")))
    device = "devices/virtual/powercap/intel-rapl/intel-rapl:0/intel-rapl:0:0"
    assert sorted(paths(core.root)) == [
        "class/",
        "class/powercap/",
        "class/powercap/intel-rapl:0:0@",
        "devices/",
        "devices/virtual/",
        "devices/virtual/powercap/",
        "devices/virtual/powercap/intel-rapl/",
        "devices/virtual/powercap/intel-rapl/intel-rapl:0/",
        f"{device}/",
        f"{device}/device@",
        f"{device}/name",
        f"{device}/power/",
        f"{device}/power/control",
        f"{device}/subsystem@",
    ]


@given(
    st.sampled_from(LAYOUTS),
    st.lists(st.sampled_from(IDS), max_size=3).map(tuple),
    st.lists(st.sampled_from(["energy_uj", "constraint_*", "power/*", "name"]), max_size=2).map(tuple),
)
def test_what_is_counted_is_what_is_there(layout: str, zones: tuple[str, ...], attributes: tuple[str, ...]) -> None:
    wanted = Selection(layout, zones, attributes)
    fitting = {
        path for path in files(select(KABYLAKE, Selection(layout, zones))) if any(fits(path, one) for one in attributes)
    }
    if attributes and not fitting:
        with pytest.raises(ValueError, match="so nothing is left"):
            select(KABYLAKE, wanted)
        return
    chosen = select(KABYLAKE, wanted)
    there = files(chosen)
    assert not attributes or there == fitting
    assert chosen.attributes == len(there)
    assert {one.path for one in chosen.unreadable} <= there
    if not zones and "constraint_*" in attributes:
        silent = [one for one in KABYLAKE.unreadable if "constraint" in one.path]
        assert sorted(one.errno for one in chosen.unreadable if "constraint" in one.path) == [
            one.errno for one in silent
        ]


@pytest.mark.parametrize(("text", "names"), [(None, ()), ("a", ("a",)), ("a, b:*", ("a", "b:*"))])
def test_names_are_separated_by_commas(text: str | None, names: tuple[str, ...]) -> None:
    assert read_names("--zones", text) == names


# Machines with another number of packages.


def ids(profile: str, packages: int, kernel: str | None = None) -> dict[str, str]:
    """The names of all zones by their id."""
    machine = Machine.from_profile(with_packages(load_profile(profile), packages), kernel=kernel)
    zones = [zone for zone in machine.sysfs.listdir("class/powercap") if ":" in zone]
    return {zone: machine.sysfs.read(f"class/powercap/{zone}/name").decode().strip() for zone in zones}


def test_the_eleventh_package_has_a_letter_in_its_id() -> None:
    found = ids("alderlake-p", 11)
    assert {zone: name for zone, name in found.items() if zone in ("intel-rapl:9", "intel-rapl:a")} == {
        "intel-rapl:9": "package-9",
        "intel-rapl:a": "package-10",
    }
    assert [zone for zone in found if zone.startswith("intel-rapl-mmio")] == ["intel-rapl-mmio:0"]


def test_new_packages_count_from_where_the_old_ones_do_and_spend_as_much() -> None:
    machine = Machine.from_profile(with_packages(load_profile("skylake-sp-2s"), 4))
    old = Machine.from_profile("skylake-sp-2s")
    for one in (machine, old):
        one.clock.advance(seconds=10)
    energies = [machine.sysfs.read(f"class/powercap/intel-rapl:{package}/energy_uj") for package in range(4)]
    first, second = (old.sysfs.read(f"class/powercap/intel-rapl:{package}/energy_uj") for package in range(2))
    assert energies == [first, second, first, second]


def test_the_platform_has_one_meter_however_many_packages_there_are() -> None:
    assert list(ids("kabylake", 3).values()).count("psys") == 1


def test_fewer_packages_are_the_first_ones() -> None:
    assert sorted(ids("haswell-ep-2s", 1).values()) == ["dram", "package-0"]
    one = with_packages(load_profile("haswell-ep-2s"), 1)
    assert one.title.endswith("(Haswell-EP), with 1 package")
    assert one.witnesses == ()
    assert with_packages(load_profile("zen4"), 1) == load_profile("zen4")


def test_cores_of_their_own_and_their_load_go_along(tmp_path: Path) -> None:
    path = tmp_path / "cores.toml"
    path.write_text(
        '[cpu]\nvendor = "AuthenticAMD"\nfamily = 25\nmodel = 97\n[topology]\npackages = 1\ncores_per_die = 2\n'
        "[registers]\n0xC0010299 = 0xA1003\n0xC001029A = 5\n0xC001029B = 9\n"
        '[registers.core."0.0.1"]\n0xC001029A = 6\n'
        '[load]\npackage = 10\n[load.core."0.0.1"]\nwatts = 3\n'
        '[firmware]\n0xC001029B = 7\n[[faults.register]]\npackage = 0\nregister = "0xC001029B"\non = "write"\n'
    )
    profile = with_packages(load_profile(path), 2)
    assert {place: words[0xC001029A] for place, words in profile.core_registers.items()} == {
        (0, 0): 5,
        (0, 1): 6,
        (1, 0): 5,
        (1, 1): 6,
    }
    assert profile.load is not None
    assert dict(profile.load.cores_uw) == {(0, 0, 1): 3_000_000, (1, 0, 1): 3_000_000}
    assert profile.firmware is not None
    assert profile.firmware.dies[1] == {0xC001029B: 7}
    assert Machine.from_profile(profile).msr.read(cpu=3, register=0xC001029A) == 6


def test_a_machine_with_tpmi_is_not_multiplied(tmp_path: Path) -> None:
    path = tmp_path / "tpmi.toml"
    path.write_text(
        '[cpu]\nvendor = "GenuineIntel"\nfamily = 6\nmodel = 173\n[topology]\npackages = 1\n'
        "[tpmi.0.package]\n0x8 = 0xA0E03\n0x30 = 7\n"
    )
    profile = load_profile(path)
    assert with_packages(profile, 1) is profile
    with pytest.raises(ValueError, match="has TPMI, which a profile must give for each package"):
        with_packages(profile, 2)
