# SPDX-License-Identifier: Apache-2.0
"""A recording of a running machine is that machine again: its tree, its errors, its modes, its registers."""

import errno
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raplica_fixtures.recording import (
    POWERCAP_ROOTS,
    Capture,
    Cpu,
    Entry,
    ReadResult,
    Recording,
    Topology,
    dump_recording,
)
from raplica_simulator import Machine, ProfileError
from raplica_simulator.replay.entries import read_entry

ZONE = "devices/virtual/powercap/intel-rapl/intel-rapl:0"
#: One of each kind: with dies, with MMIO, with psys, without limits, of the framework alone.
KINDS = (
    *("sandybridge", "skylake-sp-2s", "cascadelake-ap-2s", "alderlake-p", "sapphirerapids-2s"),
    *("baytrail", "zen2-epyc-2s", "kernel-doc-example", "dtpm", "idle-injection"),
)
KNOWN = (0x1B2, *range(0x601, 0x65D), *range(0xC0010299, 0xC001029C))


def tree_of(machine: Machine) -> dict[str, Entry]:
    found: dict[str, Entry] = {}

    def walk(path: str) -> None:
        found[path] = entry = read_entry(machine.sysfs, path)
        for name in entry.order or ():
            walk(f"{path}/{name}")

    for root in POWERCAP_ROOTS:
        walk(root)
    return found


def registers_of(machine: Machine) -> dict[int, dict[int, int]]:
    topology = machine.profile.topology
    return {
        die: {
            address: word
            for address in KNOWN
            if (word := machine.msr.content(topology.cpus_of_die(die)[0], address)) is not None
        }
        for die in topology.dies
    }


def recorded(machine: Machine, *, registers: bool = True, uid: int = 0) -> Recording:
    cpu, shape = machine.profile.cpu, machine.profile.topology
    return Recording(
        machine="somewhere",
        what="a machine somewhere",
        kernel=machine.kernel.version,
        kernel_full=machine.kernel.release,
        kernel_release=machine.kernel.release,
        kernel_build="",
        recorded="2026-01-02",
        cpu=Cpu(cpu.id.vendor, cpu.id.family, cpu.id.model, cpu.id.stepping),
        topology=Topology(shape.packages, shape.dies_per_package, shape.cores_per_die, shape.threads_per_core),
        registers=registers_of(machine) if registers else {},
        tree=tree_of(machine),
        steps=(),
        capture=Capture(program="a test", uid=uid, cpu_name=cpu.name, cpu_flags=tuple(sorted(cpu.flags))),
    )


Again = Callable[[Recording], Machine]


@pytest.fixture
def again(tmp_path: Path) -> Again:
    """Write a recording and make a machine of the file."""

    def make(recording: Recording) -> Machine:
        path = tmp_path / "machine.json"
        dump_recording(recording, path)
        return Machine.from_profile(path)

    return make


def without_opens(tree: dict[str, Entry]) -> dict[str, Entry]:
    return {path: replace(entry, opens=None) for path, entry in tree.items()}


@pytest.mark.parametrize("machine_id", KINDS)
def test_every_kind_of_machine_comes_back_with_and_without_its_registers(machine_id: str, again: Again) -> None:
    machine = Machine.from_profile(machine_id)
    machine.clock.advance(seconds=1000)
    for registers in (True, False):
        there = again(recorded(machine, registers=registers))
        assert without_opens(tree_of(there)) == without_opens(tree_of(machine))
        if there.profile.control_types and any(kind.name == "intel-rapl" for kind in there.profile.control_types):
            assert any("the zones stand still" in line for line in there.warnings)


def test_a_machine_of_registers_is_alive_and_one_of_its_tree_alone_is_not(again: Again) -> None:
    machine = Machine.from_profile("skylake-sp-2s")
    limit = f"{ZONE}/constraint_0_power_limit_uw"
    alive = again(recorded(machine))
    before = alive.msr.read(cpu=0, register=0x610)
    alive.sysfs.write(limit, b"90000000\n")
    assert alive.msr.read(cpu=0, register=0x610) != before
    assert alive.warnings == ()
    alive.load.set(package=50)
    counted = int(alive.sysfs.read(f"{ZONE}/energy_uj"))
    alive.clock.advance(seconds=10)
    assert abs(int(alive.sysfs.read(f"{ZONE}/energy_uj")) - counted - 500_000_000) < 1_000_000
    still = again(recorded(machine, registers=False))
    still.sysfs.write(limit, b"90000000\n")
    assert still.sysfs.read(limit) == b"90000000\n"
    with pytest.raises(OSError, match=r".") as fault:
        still.msr.read(cpu=0, register=0x610)
    assert fault.value.errno == errno.EIO
    assert any("were not readable" in line for line in still.warnings)


def test_what_failed_fails_again_at_the_same_call(again: Again) -> None:
    machine = Machine.from_profile("skylake-sp-2s")
    for name, on, number in (
        ("energy_uj", "read", errno.EIO),
        ("max_energy_range_uj", "read", errno.ENODATA),
        ("constraint_0_max_power_uw", "open", errno.EACCES),
    ):
        machine.sysfs.inject(f"{ZONE}/{name}", on=on, errno=number)
    for registers in (True, False):
        there = again(recorded(machine, registers=registers))
        assert without_opens(tree_of(there)) == without_opens(tree_of(machine))
        assert read_entry(there.sysfs, f"{ZONE}/constraint_0_max_power_uw").read == ReadResult(open_errno=errno.EACCES)


def test_modes_and_owners_that_somebody_changed_are_changed_again(again: Again) -> None:
    machine = Machine.from_profile("skylake-sp-2s")
    machine.sysfs.chmod(f"{ZONE}/energy_uj", 0o440)
    machine.sysfs.chown(f"{ZONE}/energy_uj", 0, 998)
    there = again(recorded(machine))
    status = there.sysfs.stat(f"{ZONE}/energy_uj")
    assert (status.st_mode & 0o777, status.st_uid, status.st_gid) == (0o440, 0, 998)


def test_an_owner_that_a_user_namespace_could_not_name_is_taken_for_root(again: Again) -> None:
    recording = recorded(Machine.from_profile("skylake-sp-2s"))
    foreign = {path: replace(entry, uid=65534, gid=65534) for path, entry in recording.tree.items()}
    assert again(replace(recording, tree=foreign)).profile.permissions == {}


def test_what_an_unprivileged_user_was_refused_refuses_everybody_and_says_so(again: Again) -> None:
    recording = recorded(Machine.from_profile("skylake-sp-2s"), registers=False, uid=1000)
    closed = {
        path: replace(entry, read=ReadResult(open_errno=errno.EACCES)) if path.endswith("energy_uj") else entry
        for path, entry in recording.tree.items()
    }
    there = again(replace(recording, tree=closed))
    with pytest.raises(PermissionError):
        there.sysfs.read(f"{ZONE}/energy_uj")
    assert "4 attributes were closed to who recorded (user 1000): they refuse everybody" in there.warnings


@pytest.mark.parametrize(
    ("machine_id", "kernel", "stands"),
    [
        ("skylake-sp-2s", "6.18", "6.12"),
        ("skylake-sp-2s", "5.15", "6.1"),
        ("skylake-sp-2s", "6.8", "6.12"),
        # Since 6.9 dies count through all packages, and the names of zones with them.
        ("cascadelake-ap-2s", "6.8", "6.1"),
        ("skylake-sp-2s", "9.1", "7.2"),
        ("sandybridge", "2.6", "3.13"),
    ],
)
def test_of_the_kernels_beside_one_that_is_not_simulated_that_one_stands_for_it_whose_tree_is_alike(
    machine_id: str, kernel: str, stands: str, again: Again
) -> None:
    machine = Machine.from_profile(machine_id, kernel=stands)
    there = again(replace(recorded(machine), kernel=kernel))
    assert there.kernel.version == stands
    assert f"kernel {kernel} is not simulated: {stands} stands for it, which makes the most similar tree" in (
        there.warnings
    )
    assert there.profile.witnesses == ()


def test_what_cannot_be_brought_back_is_counted_in_the_warnings(again: Again) -> None:
    recording = recorded(Machine.from_profile("skylake-sp-2s"))
    tree = dict(recording.tree)
    tree[f"{ZONE}/of_a_vendor"] = replace(tree[f"{ZONE}/name"], read=ReadResult(content=b"x\n"))
    tree[f"{ZONE}/constraint_0_name"] = replace(tree[f"{ZONE}/name"], read=ReadResult(content=b"odd\n"))
    there = again(replace(recording, tree=tree))
    assert f"1 entries are not as recorded, the first is {ZONE}/of_a_vendor" in there.warnings
    assert f"1 attributes read otherwise than recorded, the first is {ZONE}/constraint_0_name" in there.warnings


def test_zones_whose_numbers_have_gaps_are_said_to_be_elsewhere(again: Again) -> None:
    recording = recorded(Machine.from_profile("skylake-sp-2s"), registers=False)
    tree = {path: entry for path, entry in recording.tree.items() if "intel-rapl:0" not in path}
    parent = "devices/virtual/powercap/intel-rapl"
    order = tuple(name for name in tree[parent].order or () if name != "intel-rapl:0")
    there = again(replace(recording, tree={**tree, parent: replace(tree[parent], order=order)}))
    assert any("entries are not as recorded" in line for line in there.warnings)


def test_a_control_type_with_a_switch_that_is_off_keeps_it(again: Again) -> None:
    recording = recorded(Machine.from_profile("skylake-sp-2s"), registers=False)
    switch = "devices/virtual/powercap/intel-rapl/enabled"
    off = {**recording.tree, switch: replace(recording.tree[switch], read=ReadResult(content=b"0\n"))}
    there = again(replace(recording, tree=off))
    assert there.sysfs.read(switch) == b"0\n"
    there.sysfs.write(switch, b"1\n")
    assert there.sysfs.read(switch) == b"1\n"


def test_an_empty_class_gives_a_machine_without_zones(again: Again) -> None:
    recording = recorded(Machine.from_profile("skylake-sp-2s"), registers=False)
    bare = replace(recording, tree={"class/powercap": replace(recording.tree["class/powercap"], order=())})
    assert [name for name in again(bare).sysfs.listdir("class/powercap") if ":" in name] == []


def test_registers_of_a_die_that_is_not_there_are_refused_in_one_line(again: Again) -> None:
    recording = recorded(Machine.from_profile("skylake-sp-2s"))
    with pytest.raises(ProfileError, match=r"registers\.9: there is no such die: the topology has 2"):
        again(replace(recording, registers={9: {0x606: 1}}))


def test_a_copy_that_lost_its_counters_still_has_its_zones(again: Again) -> None:
    recording = recorded(Machine.from_profile("baytrail"), registers=False)
    lost = {path: entry for path, entry in recording.tree.items() if not path.endswith("energy_uj")}
    there = again(replace(recording, tree=lost))
    assert there.sysfs.read(f"{ZONE}/name") == b"package-0\n"
    assert any(line.startswith("2 entries are not as recorded") for line in there.warnings)


def test_registers_of_mmio_and_its_zones_are_one_and_the_same(again: Again) -> None:
    machine = Machine.from_profile("alderlake-p")
    recording = recorded(machine)
    mmio = {offset: machine.mmio.content(offset) or 0 for offset in machine.profile.mmio or {}}
    there = again(replace(recording, registers={0: {**recording.registers[0], **mmio}}))
    assert there.profile.control_types == ()
    assert without_opens(tree_of(there)) == without_opens(tree_of(machine))


def test_a_tree_that_no_kernel_makes_is_refused_in_one_line(again: Again) -> None:
    recording = recorded(Machine.from_profile("baytrail"), registers=False)
    limits = {f"{ZONE}/constraint_{n}_power_limit_uw": recording.tree[f"{ZONE}/name"] for n in range(12)}
    order = tuple({*(recording.tree[ZONE].order or ()), *(path.rpartition("/")[2] for path in limits)})
    folder = {ZONE: replace(recording.tree[ZONE], order=order)}
    with pytest.raises(ProfileError, match=r"^somewhere: control_type: [^\n]+$"):
        again(replace(recording, tree={**recording.tree, **limits, **folder}))


def test_zones_nested_deeper_than_any_driver_nests_them_are_left_out_and_counted(again: Again) -> None:
    recording = recorded(Machine.from_profile("baytrail"), registers=False)
    tree, path, name = dict(recording.tree), ZONE, "intel-rapl:0"
    for _ in range(40):
        name = f"{name}:0"
        tree[path] = replace(tree[path], order=(*(tree[path].order or ()), name)) if path != ZONE else tree[path]
        path = f"{path}/{name}"
        tree.setdefault(path, replace(tree[ZONE], order=("name",)))
        tree.setdefault(f"{path}/name", tree[f"{ZONE}/name"])
    there = again(replace(recording, tree=tree))
    assert any("entries are not as recorded" in line for line in there.warnings)
    assert there.sysfs.read(f"{ZONE}/intel-rapl:0:0/name") == b"core\n"


@given(text=st.binary(max_size=24))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_an_attribute_held_a_machine_comes_of_it(text: bytes, again: Again) -> None:
    recording = recorded(Machine.from_profile("baytrail"), registers=False)
    names = ("energy_uj", "max_energy_range_uj", "constraint_0_power_limit_uw", "name", "enabled")
    odd = {
        path: replace(entry, read=ReadResult(content=text)) if path.rpartition("/")[2] in names else entry
        for path, entry in recording.tree.items()
    }
    there = again(replace(recording, tree=odd))
    assert there.sysfs.listdir("class/powercap")
