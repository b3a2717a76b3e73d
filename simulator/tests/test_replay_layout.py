# SPDX-License-Identifier: Apache-2.0
"""A TPMI package without headers, registered by another witness: its registers are told by what the driver read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_fixtures import recording_paths
from raplica_fixtures.recording import (
    Access,
    ModuleLoad,
    ModuleUnload,
    Recording,
    RegisterChange,
    RegisterDump,
    RegisterRow,
    Uevent,
    Write,
    WriteResult,
    dump_recording,
    load_recording,
)
from raplica_simulator import Machine, load_profile
from raplica_simulator.replay.layout import foreign_layout
from raplica_simulator.replay.player import replay

MakeMachine = Callable[..., Machine]
LIMIT = "class/powercap/intel-rapl:0/constraint_0_power_limit_uw"
PACKAGE = {0x08: 0xA383, 0x10: 0x40A00320, 0x18: 0x640, 0x28: 0x1900, 0x38: 0x1000, 0x40: 7, 0x48: 0x3E8}
MEMORY = {0x08: 0xA403, 0x10: 0x40, 0x38: 0x2000, 0x40: 0, 0x48: 0x100}
SYSTEM = {0x08: 0xA003, 0x10: 0x80, 0x18: 0x90, 0x38: 0x30, 0x50: 1}
Domains = Mapping[str, Mapping[int, int]]


def elsewhere(die: int, offset: int) -> int:
    """Where the other witness has a register: in an order of its own."""
    return 0x200000 + die * 0x1000 + (offset * 7 + 0x18) % 0x400


def machine_of(make_machine: MakeMachine, packages: Mapping[int, Domains]) -> Machine:
    lines = []
    for package, domains in packages.items():
        for name, words in domains.items():
            lines += [f"[tpmi.{package}.{name}]", *(f'{offset:#x} = "{raw:#x}"' for offset, raw in words.items())]
    machine = make_machine(
        "skylake-sp",
        "6.12",
        cpu="GenuineIntel:6:0xAD",
        topology=(2, 1, 2, 1),
        registers=dict.fromkeys((0x606, 0x610, 0x611, 0x613, 0x614, 0x618, 0x619, 0x61B, 0x61C)),
        more="\n".join(lines),
    )
    machine.driver.unload()
    machine.uevents.clear()
    return machine


def accesses(machine: Machine) -> tuple[Access, ...]:
    return tuple(
        Access(one.op, one.die, one.cpu, elsewhere(one.die, one.register), one.mask, one.value, one.content, one.errno)
        for one in machine.msr.log
    )


def events(machine: Machine) -> tuple[Uevent, ...]:
    found = []
    for words in machine.uevents:
        action, path = (word.partition("=")[2] for word in words[:2])
        found.append((f"{action}@{path}", *words, "SEQNUM=*"))
    machine.uevents.clear()
    return tuple(found)


def recorded(make_machine: MakeMachine, packages: Mapping[int, Domains]) -> Recording:
    """What another witness would have recorded of a package that it registers: loading, a write, unloading."""
    machine = machine_of(make_machine, packages)
    machine.driver.load_common()
    rows = [
        (package, offset, machine.tpmi.content(offset, package) or 0)
        for package in packages
        for offset in machine.tpmi.addresses(package)
        if offset % 128 and offset % 128 != 0x50
    ]
    changes = [RegisterChange("set", package, elsewhere(package, offset), raw) for package, offset, raw in rows]
    log: list[Access] = []
    for package in packages:
        machine.driver.attach_tpmi(package)
        log += accesses(machine)
    load = ModuleLoad("another", "", 0, tuple(log), events(machine))
    machine.sysfs.write(LIMIT, b"25000000")
    write = Write(LIMIT, b"25000000", WriteResult(count=8), None, accesses(machine))
    dump = [
        RegisterRow(package, elsewhere(package, at), machine.tpmi.content(at, package) or 0, (), 2**64 - 1, 0)
        for package, at, _ in rows
    ]
    log = []
    for package in packages:
        machine.driver.detach_tpmi(package)
        log += accesses(machine)
    unload = ModuleUnload("another", 0, tuple(log), events(machine))
    some = load_recording(next(path for path in recording_paths() if "skx_2s-6.12" in path.name))
    return replace(
        some,
        cpu=replace(some.cpu, model=0xAD),
        registers={
            package: {elsewhere(package, offset): raw for die, offset, raw in rows if die == package}
            for package in packages
        },
        steps=(
            RegisterChange("clear"),
            *changes,
            ModuleLoad("intel_rapl_common", "", 0),
            load,
            write,
            RegisterDump(tuple(dump)),
            unload,
        ),
    )


@pytest.mark.parametrize(
    "packages",
    [
        {0: {"package": PACKAGE}},
        {0: {"package": PACKAGE, "memory": MEMORY}},
        {0: {"package": PACKAGE, "system": SYSTEM}},
        {0: {"package": PACKAGE, "memory": MEMORY, "system": SYSTEM}, 1: {"package": PACKAGE, "memory": MEMORY}},
        {0: {"package": {at: raw for at, raw in PACKAGE.items() if at not in (0x18, 0x40)}}},
        {0: {"package": {at: raw for at, raw in PACKAGE.items() if at not in (0x18, 0x28, 0x48)}}},
    ],
)
def test_a_layout_of_its_own_is_found_and_replayed(
    make_machine: MakeMachine, tmp_path: Path, packages: Mapping[int, Domains]
) -> None:
    recording = recorded(make_machine, packages)
    path = tmp_path / "another.json"
    dump_recording(recording, path)
    profile = load_profile(path)
    assert profile.tpmi is None
    played = replay(load_recording(path), profile)
    assert [str(one) for one in played.differences] == []
    assert (played.steps, played.causes, dict(played.left_out)) == (1, 3, {})


@given(mask=st.sampled_from([0xFFFFFFFF, 0x7FFF, 0x1FFFF, 2**64 - 1]), register=st.integers(0, 2**32))
def test_what_has_no_limit_of_18_bits_is_no_tpmi(mask: int, register: int) -> None:
    load = ModuleLoad("another", "", 0, (Access("r", 0, 0, register, mask, 1, 1, 0),))
    assert foreign_layout(load, 0) is None
