# SPDX-License-Identifier: Apache-2.0
"""Replaying what no recording of ours holds: another witness's modules, machines that crash or do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from errno import EACCES, EBADF, EINVAL, EISDIR, ENOENT, EPERM, EWOULDBLOCK
from functools import cache
from pathlib import Path

import pytest

from raplica_fixtures import recording_paths
from raplica_fixtures.recording import (
    Access,
    Calls,
    Crash,
    ModuleLoad,
    ModuleUnload,
    Read,
    ReadResult,
    Recording,
    RegisterChange,
    RegisterDump,
    RegisterRow,
    Step,
    Write,
    WriteResult,
    load_recording,
)
from raplica_simulator import Machine, load_profile
from raplica_simulator.linux.intel_rapl_tpmi import TpmiDriver
from raplica_simulator.profile.profile import Profile
from raplica_simulator.replay.player import replay

MakeMachine = Callable[..., Machine]
CLASS = "class/powercap"
MMIO = {0x5938: 0xA0E03, 0x593C: 0x1000, 0x59A0: 0x8320, 0x5930: 0x3E8}
TPMI = {0x00: 0x0000038700010201, 0x08: 0xA383, 0x10: 0x320, 0x38: 0x1000, 0x40: 0, 0x48: 0x3E8}
COMMON = ModuleLoad("intel_rapl_common", "", 0)


@cache
def some_recording() -> Recording:
    return load_recording(next(path for path in recording_paths() if "kbl_client-6.12" in path.name))


def recorded(steps: tuple[Step, ...], registers: dict[int, dict[int, int]], *, packages: int = 1) -> Recording:
    """A recording of these steps, behind the registers being set."""
    some = some_recording()
    changes = [RegisterChange("set", die, at, raw) for die, words in registers.items() for at, raw in words.items()]
    return replace(
        some,
        topology=replace(some.topology, packages=packages),
        registers=registers,
        steps=(RegisterChange("clear"), *changes, *steps),
    )


@pytest.fixture(scope="module")
def profile_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Recording], Profile]:
    """The profile that a recording makes, by way of a file."""
    folder = tmp_path_factory.mktemp("recordings")

    def make(recording: Recording) -> Profile:
        from raplica_fixtures.recording import dump_recording

        path = Path(folder) / "some.json"
        dump_recording(recording, path)
        return load_profile(path)

    return make


def read(path: str, content: bytes) -> Read:
    return Read(f"{CLASS}/{path}", ReadResult(content=content))


def touched(register: int, die: int = 0) -> tuple[Access, ...]:
    return (Access("r", die, die, register, 1, 0, 0, 0),)


def differing(recording: Recording, profile: Profile) -> list[str]:
    """What differs, accesses and events aside: the steps here do not say theirs."""
    found = replay(recording, profile).differences
    return [str(one) for one in found if "register accesses" not in one.what and ": events" not in one.what]


@pytest.mark.parametrize(
    "load",
    [
        ModuleLoad("raplica_mmio", "", 0),
        ModuleLoad("raplica_interfaces", "mmio=1", 0),
        ModuleLoad("another", "", 0, touched(0x593C)),
        ModuleLoad("another", "", 0, (), (("add@/devices/virtual/powercap/intel-rapl-mmio", "SUBSYSTEM=powercap"),)),
    ],
)
def test_whatever_brings_mmio_is_known_by_name_or_by_what_it_did(
    profile_of: Callable[[Recording], Profile], load: ModuleLoad
) -> None:
    steps = (
        COMMON,
        load,
        read("intel-rapl-mmio:0/name", b"package-0\n"),
        ModuleUnload(load.module, 0),
        Read(f"{CLASS}/intel-rapl-mmio:0/name", ReadResult(open_errno=2)),
    )
    recording = recorded(steps, {0: MMIO})
    profile = profile_of(recording)
    assert profile.mmio == MMIO
    assert differing(recording, profile) == []


@pytest.mark.parametrize(
    "load",
    [
        ModuleLoad("raplica_tpmi", "count=2", 0),
        ModuleLoad("devices", "tpmi=Y", 0),
        ModuleLoad("another", "", 0, touched(0x38) + touched(0x38, 1)),
        ModuleLoad("another", "", 0, (), (("add@/devices/virtual/powercap/intel-rapl", "SUBSYSTEM=powercap"),)),
    ],
)
def test_whatever_brings_tpmi_is_known_by_name_or_by_what_it_did(
    profile_of: Callable[[Recording], Profile], load: ModuleLoad
) -> None:
    steps = (
        COMMON,
        ModuleLoad("intel_rapl_tpmi", "", 0),
        load,
        read("intel-rapl:1/name", b"package-1\n"),
        RegisterChange("set", 1, 0x38, 1000),
        read("intel-rapl:1/energy_uj", b"61035\n"),
        RegisterDump((RegisterRow(1, 0x38, 1000, (), 2**64 - 1, 0), RegisterRow(0, 0x38, 0x1000, (), 2**64 - 1, 0))),
        ModuleUnload(load.module, 0),
        Read(f"{CLASS}/intel-rapl:1/name", ReadResult(open_errno=2)),
    )
    recording = recorded(steps, {0: TPMI, 1: TPMI}, packages=2)
    profile = profile_of(recording)
    assert profile.tpmi is not None
    assert profile.registers == {0: {}, 1: {}}
    assert differing(recording, profile) == []


@pytest.mark.parametrize("parameters", ["mmio=0", "mmio=N"])
def test_a_module_that_brings_nothing_causes_nothing(
    profile_of: Callable[[Recording], Profile], parameters: str
) -> None:
    steps = (COMMON, ModuleLoad("hardware", parameters, 0), ModuleUnload("hardware", 0))
    recording = recorded(steps, {0: MMIO})
    played = replay(recording, profile_of(recording))
    assert (played.causes, played.left_out, played.differences) == (3, {}, [])


def test_a_module_that_could_be_loaded_and_here_cannot_is_a_difference(
    profile_of: Callable[[Recording], Profile],
) -> None:
    recording = recorded((COMMON, ModuleLoad("raplica_mmio", "", 0)), {0: {**MMIO, 0x593C: 0}})
    assert differing(recording, profile_of(recording)) == [
        "step 6: ModuleLoad raplica_mmio: the kernel 0, the machine 19"
    ]
    failing = recorded((COMMON, ModuleLoad("raplica_mmio", "", 19), ModuleUnload("raplica_mmio", 0)), {0: {0x59A0: 1}})
    assert differing(failing, profile_of(failing)) == []


def test_the_common_module_cannot_go_before_the_one_that_needs_it(profile_of: Callable[[Recording], Profile]) -> None:
    steps = (
        COMMON,
        ModuleLoad("intel_rapl_msr", "", 0),
        ModuleUnload("intel_rapl_common", EWOULDBLOCK),
        ModuleUnload("intel_rapl_msr", 0),
        ModuleUnload("intel_rapl_common", 0),
    )
    recording = recorded(steps, {0: {0x611: 0}})
    played = replay(recording, profile_of(recording))
    # What the driver finds is of no interest here.
    assert {one.what for one in played.differences} == {"ModuleLoad: register accesses", "ModuleLoad: events"}


def test_the_first_processor_and_one_that_is_not_there_have_no_switch_and_a_switch_takes_booleans(
    profile_of: Callable[[Recording], Profile],
) -> None:
    switch = "devices/system/cpu/cpu{}/online"
    steps = (
        Write(switch.format(99), b"0", WriteResult(open_errno=ENOENT)),
        Write(switch.format(0), b"0", WriteResult(open_errno=ENOENT)),
        Write(switch.format(1), b"x", WriteResult(errno=EINVAL)),
        Write(switch.format(1), b"no", WriteResult(count=2)),
        Write(switch.format(1), b"y\n", WriteResult(count=2)),
    )
    recording = recorded((COMMON, *steps), {0: {0x611: 1}})
    played = replay(recording, profile_of(recording))
    assert (played.left_out, played.differences, played.causes) == ({}, [], 6)


def test_a_recording_without_the_common_modules_loading_is_played_all_the_same(
    profile_of: Callable[[Recording], Profile],
) -> None:
    words = {0x606: 0xA0E03, 0x610: 0, 0x611: 1000}
    steps = (ModuleLoad("intel_rapl_msr", "", 0), read("intel-rapl:0/energy_uj", b"61035\n"))
    recording = recorded(steps, {0: words})
    assert differing(recording, profile_of(recording)) == []


def without_units(last: Step) -> Recording:
    words = {0x610: 0, 0x611: 1000}
    return recorded((COMMON, ModuleLoad("intel_rapl_msr", "", 0), last), {0: words})


LIMIT = f"{CLASS}/intel-rapl:0/constraint_0_power_limit_uw"


@pytest.mark.parametrize(
    ("last", "wrong"),
    [
        (Crash(LIMIT, b"5", 11), []),
        (Crash(f"{CLASS}/intel-rapl:0/constraint_1_time_window_us", b"976", 11), []),
        (
            Crash(LIMIT, b"x", 11),
            [f"step 5: write b'x' to {LIMIT}: the kernel crashed, signal 11, the machine errno 22"],
        ),
        (
            Crash(f"{CLASS}/intel-rapl:0/enabled", b"0", 11),
            [f"step 5: write b'0' to {CLASS}/intel-rapl:0/enabled: the kernel crashed, signal 11, the machine went on"],
        ),
    ],
)
def test_where_the_kernel_crashed_the_machine_has_to(
    profile_of: Callable[[Recording], Profile], last: Crash, wrong: list[str]
) -> None:
    recording = without_units(last)
    assert differing(recording, profile_of(recording)) == wrong


def test_what_is_held_open_is_used_once_its_device_has_gone(profile_of: Callable[[Recording], Profile]) -> None:
    words = {0x606: 0xA0E03, 0x610: 0, 0x611: 1000}
    gone = {"read": -19, "write": -19, "lseek": -19, "poll": 1, "dir_getdents": 48, "openat_name": -2}
    steps = (
        COMMON,
        ModuleLoad("intel_rapl_msr", "", 0),
        Calls("hold", LIMIT, {"file": 6, "dir": 7}, {}),
        ModuleUnload("intel_rapl_msr", 0),
        Calls("held", None, gone, {"poll_revents": 11, "nlink": 1}),
        Calls("held", None, {"read": 1}, {}),
    )
    recording = recorded(steps, {0: words})
    played = replay(recording, profile_of(recording))
    assert played.calls == 2 + 7
    assert played.left_out == {"held: openat_name": 1, "held: read": 1}
    alive = replace(recording, steps=tuple(step for step in recording.steps if not isinstance(step, ModuleUnload)))
    assert {one.split(": ")[1] for one in differing(alive, profile_of(alive))} == {
        f"{name} on what was held open" for name in ("read", "write", "lseek", "dir_getdents", "poll_revents")
    }


def test_odd_calls_reach_the_driver_in_the_order_of_the_witness(profile_of: Callable[[Recording], Profile]) -> None:
    words = {0x606: 0xA0E03, 0x610: 0x8320, 0x611: 1000}
    # Writing 1 microwatt leaves a limit of 0, and what the chmod did is undone.
    calls: dict[str, int] = {
        "open_rdwr": 4,
        "read3": 3,
        "read_rest": 7,
        "pwrite_1_at_3": 1,
        "write_then_pos": 2,
        "poll": 1,
    }
    more = {"append_write": 1, "write_on_rdonly": -EBADF, "create_new": -EACCES, "access_x": -EACCES, "chmod_0600": 0}
    folder = {"open": 9, "create": -EACCES, "read": -EISDIR, "open_w": -EISDIR}
    facts: dict[str, int | str] = {
        "read3_data": "100",
        "read_rest_data": "000000\n",
        "poll_revents": 5,
        "mode_after_chmod": "0600",
    }
    steps = (
        COMMON,
        ModuleLoad("intel_rapl_msr", "", 0),
        Calls("file", LIMIT, {**calls, **more, "unlink": -EPERM}, facts),
        Calls("file", f"{CLASS}/intel-rapl:0/name", {"open_rdwr": -EACCES, "open_append": -EACCES}, {}),
        Calls(
            "directory", f"{CLASS}/intel-rapl", {"open": 9, "create": -EACCES, "read": -EISDIR, "open_w": -EISDIR}, {}
        ),
        RegisterDump((RegisterRow(0, 0x610, 0x8000, (), 2**64 - 1, 0),)),
    )
    recording = recorded(steps, {0: words})
    played = replay(recording, profile_of(recording))
    assert [one.what for one in played.differences] == ["ModuleLoad: register accesses", "ModuleLoad: events"]
    assert played.left_out == {"file: unlink": 1}
    assert played.calls == len(calls) + len(more) + len(facts) + 2 + len(folder)


def test_an_odd_call_that_gives_another_answer_is_a_difference(profile_of: Callable[[Recording], Profile]) -> None:
    steps = (
        COMMON,
        ModuleLoad("intel_rapl_msr", "", 0),
        Calls("file", LIMIT, {"open_rdwr": -EACCES, "read3": 2, "access_r": -EACCES}, {"mode_after_chmod": "0644"}),
        Calls("hold", f"{CLASS}/intel-rapl:0/no-such-name", {"file": 6, "dir": 7}, {}),
    )
    recording = recorded(steps, {0: {0x606: 0xA0E03, 0x610: 0x8320, 0x611: 1000}})
    found = replay(recording, profile_of(recording)).differences
    assert [one.what.partition(" ")[0] for one in found[2:]] == [
        *("open_rdwr", "read3", "access_r", "mode_after_chmod", "file", "dir"),
    ]


def test_a_lost_tpmi_limit_is_noticed(
    profile_of: Callable[[Recording], Profile], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = (
        COMMON,
        ModuleLoad("raplica_tpmi", "count=1", 0),
        Write(f"{CLASS}/intel-rapl:0/constraint_0_power_limit_uw", b"25000000", WriteResult(count=8)),
        RegisterDump((RegisterRow(0, 0x10, 200, (), 2**64 - 1, 0),)),
    )
    recording = recorded(steps, {0: TPMI})
    profile = profile_of(recording)
    assert differing(recording, profile) == []
    monkeypatch.setattr(TpmiDriver, "probe", lambda *_: None)
    assert len(differing(recording, profile)) == 2
