# SPDX-License-Identifier: Apache-2.0
"""Zones that come and go while somebody watches."""

from __future__ import annotations

import contextlib
import errno
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_reader import Follower, OsFiles, Powercap, Sampler, Zone, discover
from raplica_simulator import Machine

if TYPE_CHECKING:
    from tests.conftest import Tree


def follow_machine(machine: Machine) -> Follower:
    source = Powercap(machine.sysfs)
    return Follower(source, Sampler(source.discover(), clock=lambda: machine.clock.now_ns))


def follow_tree(tree: Tree, clock: SimpleNamespace) -> Follower:
    source = Powercap(OsFiles(tree.root))
    return Follower(source, Sampler(source.discover(), clock=clock.read))


def open_descriptors() -> set[tuple[str, str]]:
    """Numbers and files of this process's descriptors below the tree."""
    links = ((path.name, path) for path in Path("/proc/self/fd").iterdir())
    return {(name, str(path.readlink())) for name, path in links if path.is_symlink()}


def statuses(follower: Follower) -> dict[str, str | None]:
    return {spent.zone.path: spent.error for spent in follower.sample()}


def test_a_driver_that_is_unloaded_and_loaded_again_costs_no_energy() -> None:
    machine = Machine.from_profile("skylake-sp-2s")
    follower = follow_machine(machine)
    follower.sample()
    machine.driver.unload()
    machine.clock.advance(seconds=10)
    assert set(statuses(follower).values()) == {"ENODEV"}
    machine.driver.load()
    machine.clock.advance(seconds=10)
    assert set(statuses(follower).values()) == {None}
    total = {spent.zone.path: spent for spent in follower.meter.total()}
    assert total["package-1"].energy_uj == pytest.approx(machine.truth_uj("package-1"), rel=1e-5)


def test_a_package_whose_id_changed_keeps_its_account() -> None:
    """Ids go to whoever is registered next: after hotplug package-1 may have the id that psys had."""
    machine = Machine.from_profile("sapphirerapids-2s")
    follower = follow_machine(machine)
    follower.sample()
    ids = {zone.path: zone.id for zone in follower.sampler.zones}
    for cpu in machine.profile.topology.cpus:
        if cpu.package == 0:
            machine.cpu(cpu.number).offline()
    machine.clock.advance(seconds=10)
    assert {path for path, error in statuses(follower).items() if error} == {"package-0", "package-0/dram", "psys"}
    for cpu in machine.profile.topology.cpus:
        if cpu.package == 0:
            machine.cpu(cpu.number).online()
    machine.clock.advance(seconds=10)
    assert set(statuses(follower).values()) == {None}
    assert ids["package-1"] == {zone.path: zone.id for zone in follower.sampler.zones}["package-1"]
    for spent in follower.meter.total():
        if spent.zone.parent is None and spent.zone.name != "psys":
            assert spent.energy_uj == pytest.approx(machine.truth_uj(spent.zone.path), rel=1e-5)


def test_another_zone_behind_the_same_id_is_not_taken_for_the_first(tree: Tree, clock: SimpleNamespace) -> None:
    tree.zone("intel-rapl:0", "package-0", 61_035_000)
    tree.zone("intel-rapl:1", "psys", 900_000_000)
    follower = follow_tree(tree, clock)
    follower.sample()
    directory = tree.path("intel-rapl:1")
    (directory / "energy_uj").rename(directory / "energy_of_psys")
    (directory / "energy_of_psys").chmod(0o600)
    (directory / "energy_of_psys").write_bytes(b"")  # which is what the open descriptor reads from now on
    (directory / "name").chmod(0o644)
    (directory / "name").write_bytes(b"package-1\n")
    (directory / "energy_uj").write_bytes(b"900061035\n")
    clock.sleep(1)
    assert statuses(follower)["psys"] == "ENODATA"
    clock.sleep(1)
    now = statuses(follower)
    assert (now["psys"], now["package-1"], now["package-0"]) == ("ENODEV", "ENODEV", None)
    clock.sleep(1)
    assert statuses(follower) == {"package-0": None, "package-1": None, "psys": "ENODEV"}


def test_the_memory_of_another_package_behind_the_same_id_is_not_taken_for_the_first(tree: Tree) -> None:
    """Where both packages went and came back in another order, each `dram` is called like the other."""
    for number in (0, 1):
        tree.zone(f"intel-rapl:{number}", f"package-{number}")
        tree.zone(f"intel-rapl:{number}:0", "dram", number * 1_000_000)
    with Sampler(discover(tree.root)) as sampler:
        sampler.sample()
        for number in (0, 1):
            tree.write(f"intel-rapl:{number}:0", b"")
        sampler.sample()
        for number in (0, 1):
            name = tree.path(f"intel-rapl:{number}") / "name"
            name.chmod(0o644)
            name.write_bytes(b"package-%d\n" % (1 - number))
            tree.show(f"intel-rapl:{number}:0", (1 - number) * 1_000_000)
        assert sampler.sample().errors == (None, "ENODEV", None, "ENODEV")


def test_a_zone_that_appears_is_followed_from_then_on(tree: Tree, clock: SimpleNamespace) -> None:
    tree.zone("intel-rapl:0", "package-0", 61_035_000)
    follower = follow_tree(tree, clock)
    follower.sample()
    tree.zone("intel-rapl:1", "package-1", 122_070_000)
    clock.sleep(1)
    assert statuses(follower) == {"package-0": None, "package-1": "ENODEV"}
    tree.show("intel-rapl:1", 183_105_000)
    clock.sleep(1)
    assert [spent.energy_uj for spent in follower.sample()] == [0, 61_035_000]


def test_the_tree_is_looked_through_again_only_when_something_changed(
    tree: Tree, clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree.zone("intel-rapl:0", "package-0")
    tree.zone("intel-rapl:1", "package-1")
    tree.write("intel-rapl:1", b"")  # a container that hides it for good
    follower = follow_tree(tree, clock)
    looks = []

    def look() -> tuple[Zone, ...]:
        looks.append(clock.now_ns)
        return follower.sampler.zones

    monkeypatch.setattr(follower.source, "discover", look)
    for _ in range(10):
        follower.sample()
    assert len(looks) == 1


def test_what_stays_is_not_opened_again(client: Tree, clock: SimpleNamespace) -> None:
    follower = follow_tree(client, clock)
    with follower.sampler:
        follower.sample()
        before = open_descriptors()
        client.zone("intel-rapl:2", "package-1")
        follower.sample()
        now = open_descriptors()
        assert before < now
        assert len(now) == len(before) + 1


SMALL = """
rules = "silicon"
[cpu]
vendor = "GenuineIntel"
family = 6
model = 85
[topology]
packages = 2
dies_per_package = 1
cores_per_die = 1
threads_per_core = 1
[registers]
0x606 = 0xA0E03
0x610 = 0x0000000000000000
0x618 = 0x0
[registers.package.0]
0x611 = 0xFFF00000
0x619 = 0xFFFF0000
[registers.package.1]
0x611 = 0x00001111
0x619 = 0xFFFFF000
[load]
package = 80.0
dram = 10.0
"""
ZONES = ("intel-rapl:0", "intel-rapl:0:0", "intel-rapl:1", "intel-rapl:1:0")
EVENTS = st.one_of(
    st.tuples(st.just("advance"), st.sampled_from([1, 7, 60, 90])),
    st.tuples(st.just("load"), st.integers(0, 400)),
    st.tuples(st.sampled_from(["offline", "online", "unload", "load driver", "sample"]), st.just(0)),
    st.tuples(st.just("fail"), st.integers(0, len(ZONES) - 1)),
)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server of two packages of one CPU each, whose counters are about to wrap."""
    path = tmp_path_factory.mktemp("profile") / "small.toml"
    path.write_text(SMALL)
    return path


def happen(machine: Machine, event: str, argument: int) -> None:
    """Let something happen; what cannot happen now does not."""
    if event == "advance":
        machine.clock.advance(seconds=argument)
    elif event == "load":
        machine.load.set(package=argument)
    elif event == "unload":
        machine.driver.unload()
    elif event == "load driver":
        machine.driver.load()
    elif event in {"offline", "online"}:
        getattr(machine.cpu(1), event)()
    elif event == "fail":
        path = f"class/powercap/{ZONES[argument]}/energy_uj"
        with contextlib.suppress(OSError):
            machine.sysfs.inject(path, on="read", errno=errno.EINVAL, times=1)


@given(st.lists(EVENTS, max_size=40))
def test_whatever_happens_to_a_machine_every_energy_that_is_told_is_true(
    small: Path, events: list[tuple[str, int]]
) -> None:
    machine = Machine.from_profile(small)
    follower = follow_machine(machine)
    follower.sample()
    last = {path: machine.truth_uj(path) for path in ("package-0", "package-0/dram", "package-1", "package-1/dram")}
    first = dict(last)
    for event, argument in [*events, ("sample", 0)]:
        happen(machine, event, argument)
        if event != "sample":
            continue
        for spent in follower.sample():
            truth_uj = machine.truth_uj(spent.zone.path)
            if spent.status == "ok":
                assert spent.energy_uj == pytest.approx(truth_uj - last[spent.zone.path], rel=3e-6, abs=130)
                last[spent.zone.path] = truth_uj
            else:
                # Every walk is within what is possible, and a zone that is gone or fails keeps its baseline.
                assert spent.error in {"EINVAL", "ENODEV", "ENOENT", "EOVERFLOW"}
                if spent.error == "EOVERFLOW":
                    last[spent.zone.path] = truth_uj
    for spent in follower.meter.total():
        if spent.status == "ok":
            truth_uj = machine.truth_uj(spent.zone.path) - first[spent.zone.path]
            assert spent.energy_uj == pytest.approx(truth_uj, rel=3e-6, abs=130)
