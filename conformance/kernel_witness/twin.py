# SPDX-License-Identifier: Apache-2.0
"""The simulated twin of a machine description: a profile of the simulator with the same registers, as a plain table.

Needs the simulator, which recording does without: it is imported only when a twin is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from kernel_witness.failure import WitnessError
from kernel_witness.machines import MachineDescription, Table

__all__ = ["counting_rates", "profile_text", "verdicts_of_twin", "write_profile"]

_SECONDS = 100
#: Addresses below are those of MMIO and TPMI registers where a machine has such an interface.
_COUNTERS = (0x611, 0x619, 0x639, 0x641, 0x64D, 0xC001029A, 0xC001029B)
_MSR_ONLY = {"intel_rapl_common", "intel_rapl_msr"}


def profile_text(machine: MachineDescription) -> str:
    """Return the profile as TOML; `WitnessError` for a machine that has registers outside the MSRs."""
    if {name for name, _ in machine.modules} != _MSR_ONLY:
        raise WitnessError(f"{machine.name}: only machines whose zones are all made from MSRs have a twin")
    return "\n".join(_lines(machine)) + "\n"


def _lines(machine: MachineDescription) -> Iterator[str]:
    yield f"title = {json.dumps(machine.what)}"
    yield 'rules = "table"'
    yield "[cpu]"
    yield f"vendor = {json.dumps(machine.cpu_id.vendor)}"
    for name in ("family", "model", "stepping"):
        yield f"{name} = {getattr(machine.cpu_id, name)}"
    dies = machine.dies_per_package
    yield "[topology]"
    yield f"packages = {len(set(machine.cpu_dies)) // dies}"
    yield f"dies_per_package = {dies}"
    yield f"cores_per_die = {machine.cpu_dies.count(0)}"
    yield "threads_per_core = 1"
    for die, words in machine.registers.items():
        yield f'[registers.die."{die // dies}.{die % dies}"]'
        for address, value in sorted(words.items()):
            yield f'{address:#x} = "{value:#x}"'
    if machine.load:
        yield "[load]"
        for domain, watts in machine.load.items():
            yield f"{domain} = {watts}"


def write_profile(machine: MachineDescription, folder: Path) -> Path:
    """Write the profile into a folder."""
    path = folder / f"{machine.name}.toml"
    path.write_text(profile_text(machine), encoding="utf-8")
    return path


def counting_rates(profile: Path, kernel: str) -> Table:
    """Return by die and address how many steps a second each counter of the twin makes; 0 are left out.

    Raises `WitnessError` where a rate is not whole: the table of the virtual machine counts in whole steps.
    """
    from raplica_simulator import Machine, VirtualClock

    clock = VirtualClock()
    twin = Machine.from_profile(str(profile), kernel=kernel, clock=clock)
    topology = twin.profile.topology
    places = [
        (die, topology.cpus_of_die(die)[0], address)
        for die in topology.dies
        for address in _COUNTERS
        if address in twin.profile.registers[die]
    ]
    before = {place: twin.msr.content(place[1], place[2]) for place in places}
    clock.advance(seconds=_SECONDS)
    rates: Table = {}
    for die, cpu, address in places:
        steps = ((twin.msr.content(cpu, address) or 0) - (before[die, cpu, address] or 0)) % 2**32
        if steps % _SECONDS:
            raise WitnessError(f"{profile.name}: {address:#x} counts {steps} steps in {_SECONDS} s, no whole rate")
        if steps:
            rates.setdefault(die, {})[address] = steps // _SECONDS
    return rates


def verdicts_of_twin(profile: Path, kernel: str) -> dict[str, tuple[str, str]]:
    """Return by clause what the suite says of the twin: the verdict and its reason."""
    from raplica_conformance.clause import load_clauses
    from raplica_conformance.loop import run
    from raplica_conformance.selection import pair, select
    from raplica_conformance.subjects.simulator import SimulatedMachine

    subject = SimulatedMachine(str(profile), kernel)
    verdicts = run(pair(select(load_clauses(), ()), [subject]))
    return {verdict.clause.id: (verdict.verdict, verdict.reason) for verdict in verdicts}
