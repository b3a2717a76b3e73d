# SPDX-License-Identifier: Apache-2.0
"""From a recording to a profile, so that a machine somewhere else can be simulated here.

A witness's recording has a register table that was set on purpose: it is the machine. A recording of a running machine
(`conformance record`) has the registers that somebody was allowed to read, which may be none, and always the tree. Its
machine is built from the registers where the driver makes the recorded zones of them, and is then alive: limits reach
registers, and counters count where a load is given. Else - MMIO, TPMI, a closed msr device, another driver than RAPL -
the zones become clients of the powercap framework, each attribute as it read. Either way what failed fails again, and
modes and owners that somebody had changed are so again; `profile.warnings` say what could not be brought back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from errno import EIO
from pathlib import Path

from raplica_fixtures.recording import Entry, Recording, RecordingError, load_recording
from raplica_simulator.hardware.registers import CpuId
from raplica_simulator.linux.kernel import KERNELS, NEWEST
from raplica_simulator.machine import Machine
from raplica_simulator.profile import tables
from raplica_simulator.profile.parts import CpuInfo, Faults, Provenance, SysfsFault, TopologyTable, Witness
from raplica_simulator.profile.profile import Profile
from raplica_simulator.profile.recorded_zones import control_types_of
from raplica_simulator.profile.shape import ProfileError, Where, file_name
from raplica_simulator.profile.spaces import spaces_of_table
from raplica_simulator.replay.entries import read_entry

__all__ = ["profile_of_recording"]

#: What a user namespace shows for an owner that it does not know (fs/proc: overflowuid); it says nothing about him.
_OVERFLOW = 65534
_READ = Provenance("observed", "read through the msr device when the machine was recorded")
_SIMULATED_BY = "raplica generate"
_RAPL = "intel-rapl"
_MMIO = "intel-rapl-mmio"


def profile_of_recording(path: Path, file: str) -> Profile:
    """The machine of a recording; ``file`` is its name as the person gave it.  Raises `ProfileError` in one line."""
    try:
        recording = load_recording(path)
    except RecordingError as error:
        raise ProfileError(str(error)) from None
    except OSError as error:
        raise ProfileError(f"{file_name(file)}: cannot be read: {error.strerror or error}") from None
    profile = _of_table(recording, path, Where(file_name(file)))
    return profile if recording.capture is None else _as_recorded(recording, profile)


def _of_table(recording: Recording, path: Path, where: Where) -> Profile:
    cpu, shape, capture = recording.cpu, recording.topology, recording.capture
    counts = TopologyTable(shape.packages, shape.dies_per_package, shape.cores_per_die, shape.threads_per_core)
    topology = tables.sized_topology(counts, where.at("topology"))
    for die in recording.registers:
        if die not in topology.dies:
            raise (
                where.at("registers").at(str(die)).error(f"there is no such die: the topology has {len(topology.dies)}")
            )
    registers, mmio, tpmi = spaces_of_table(recording.registers)
    simulated = capture is not None and capture.program == _SIMULATED_BY
    return Profile(
        id=recording.machine,
        title=recording.what,
        source=f"{'simulated as' if simulated else 'recorded from'} Linux {recording.kernel_full}",
        rules="table",
        cpu=CpuInfo(
            CpuId(cpu.vendor, cpu.family, cpu.model, cpu.stepping),
            capture.cpu_name if capture else "",
            frozenset(capture.cpu_flags if capture else ()),
        ),
        topology=topology,
        registers={die: registers.get(die, {}) for die in topology.dies},
        core_registers={},
        mmio=mmio,
        tpmi=tpmi,
        provenance={address: _READ for words in registers.values() for address in words} if capture else {},
        witnesses=() if simulated else (Witness(recording.kernel, path.name, "this machine"),),
        kernel=recording.kernel,
        recorded=True,
    )


@dataclass(frozen=True, slots=True)
class _Fit:
    """A way to build the machine, and how near to the recording it comes."""

    profile: Profile
    strange: tuple[str, ...]
    different: tuple[str, ...]
    seen: Mapping[str, Entry]
    distance: int = 0


def _as_recorded(recording: Recording, profile: Profile) -> Profile:
    """The same profile, from whatever brings the recorded tree back best."""
    wanted = {path: entry for path, entry in recording.powercap_tree().items() if entry.kind != "missing"}
    # Of ways that are equally near the first is the best: alive before still, the nearest kernel before another.
    fits = [_fit(way, wanted) for way in _ways(recording, profile)]
    best = min(fits, key=lambda fit: (len(fit.strange), bool(fit.profile.control_types), fit.distance))
    faults = tuple(_faults(wanted, best.seen))
    given = dict(_given(wanted, best.seen))
    return replace(
        best.profile,
        # Nobody has seen this machine on the kernel that stands for its own.
        witnesses=best.profile.witnesses if best.profile.kernel == recording.kernel else (),
        faults=Faults(sysfs=faults),
        permissions=given,
        warnings=tuple(_warnings(recording, best, {fault.path for fault in faults})),
    )


def _ways(recording: Recording, profile: Profile) -> Iterator[Profile]:
    types = control_types_of(recording.powercap_tree())
    made = {_RAPL, _MMIO} if profile.mmio else {_RAPL}
    others = tuple(kind for kind in types if kind.name not in made)
    for kernel in _kernels_near(recording.kernel):
        if any(profile.registers.values()) or profile.tpmi:
            yield replace(profile, kernel=kernel, control_types=others)
        # Registers beside zones that are not made of them would make zones of their own.
        nothing: dict[int, dict[int, int]] = {die: {} for die in profile.topology.dies}
        yield replace(profile, kernel=kernel, control_types=types, registers=nothing, mmio=None, tpmi=None)


def _kernels_near(version: str) -> tuple[str, ...]:
    """The simulated kernel of that version; else its neighbours, the nearer one first."""
    if version in KERNELS:
        return (version,)
    wanted = _number(version)
    older = [kernel for kernel in KERNELS if _number(kernel) < wanted]
    newer = [kernel for kernel in KERNELS if _number(kernel) > wanted]
    near = [*older[-1:], *newer[:1]]
    # What everything was recorded on stands for the kernels around it better than any other.
    return tuple(sorted(near, key=lambda kernel: (kernel != NEWEST, kernel)))


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _fit(profile: Profile, wanted: Mapping[str, Entry]) -> _Fit:
    try:
        machine = Machine.from_profile(profile)
    except ProfileError:
        # No kernel would make such a zone; whoever makes the machine is told.
        return _Fit(profile, tuple(wanted), (), {})
    seen: dict[str, Entry] = {}
    for root in ("class/powercap", "devices/virtual/powercap"):
        _walk(machine, root, seen)
    seen = {path: entry for path, entry in seen.items() if entry.kind != "missing"}
    common = wanted.keys() & seen.keys()
    return _Fit(
        profile,
        strange=tuple(sorted(wanted.keys() ^ seen.keys())),
        different=tuple(sorted(path for path in common if wanted[path].read != seen[path].read)),
        seen=seen,
        distance=sum(_shown(wanted[path]) != _shown(seen[path]) for path in common),
    )


def _shown(entry: Entry) -> tuple[object, ...]:
    return entry.read, entry.mode, entry.order, entry.target


def _walk(machine: Machine, path: str, seen: dict[str, Entry]) -> None:
    seen[path] = entry = read_entry(machine.sysfs, path)
    for name in entry.order or ():
        _walk(machine, f"{path}/{name}", seen)


def _faults(wanted: Mapping[str, Entry], seen: Mapping[str, Entry]) -> Iterator[SysfsFault]:
    """What failed when it was recorded and would not fail by itself."""
    for path, entry in wanted.items():
        result, own = entry.read, seen[path].read if path in seen else None
        if result is None or own is None or result == own or result.content is not None:
            continue
        on = "open" if result.errno is None else "read"
        yield SysfsFault(path, on, result.errno or result.open_errno or EIO)


def _given(wanted: Mapping[str, Entry], seen: Mapping[str, Entry]) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """Modes and owners that somebody has changed since the kernel made the files."""
    for path, entry in wanted.items():
        if path not in seen or entry.kind == "link":
            continue
        uid, gid = (0 if owner == _OVERFLOW else owner for owner in (entry.uid, entry.gid))
        own = seen[path]
        if (entry.mode, uid, gid) != (own.mode, own.uid, own.gid):
            yield path, (entry.mode, uid, gid)


def _warnings(recording: Recording, fit: _Fit, failing: set[str]) -> Iterator[str]:
    kernel = fit.profile.kernel
    if kernel != recording.kernel:
        yield f"kernel {recording.kernel} is not simulated: {kernel} stands for it, which makes the most similar tree"
    if fit.profile.control_types and any(kind.name == _RAPL for kind in fit.profile.control_types):
        why = "make other zones" if any(recording.registers.values()) else "were not readable"
        yield f"the RAPL registers {why}: the zones stand still as they were recorded, and no register is behind them"
    if fit.strange:
        yield f"{len(fit.strange)} entries are not as recorded, the first is {fit.strange[0]}"
    different = [path for path in fit.different if path not in failing]
    if different:
        yield f"{len(different)} attributes read otherwise than recorded, the first is {different[0]}"
    refused = sum(entry.read is not None and entry.read.open_errno is not None for entry in recording.tree.values())
    if refused and recording.capture is not None and recording.capture.uid != 0:
        yield f"{refused} attributes were closed to who recorded (user {recording.capture.uid}): they refuse everybody"
