# SPDX-License-Identifier: Apache-2.0
"""A simulated machine as a recording: the one format that holds everything a program can see of its tree.

Content, modes, owners, links, the kernel's order, who may open what, and each errno, as a witness of a real kernel
would have written them down; and the registers as they are now, so that the file is a MACHINE again: the same tree,
alive where registers make it, else standing still.  It says that it is simulated wherever a person looks.
"""

import re

from raplica_fixtures.recording import Cpu, Entry, Recording, Topology
from raplica_fixtures.recording_capture import Capture
from raplica_fixtures.recording_files import to_text
from raplica_fixtures.recording_values import POWERCAP_ROOTS
from raplica_simulator.machine import Machine
from raplica_simulator.replay.entries import read_entry

__all__ = ["forgotten_by_replay", "pack_recording", "record_machine"]

# A recording names its day, and a simulated machine has no calendar.
_NO_DAY = "1970-01-01"


def pack_recording(machine: Machine) -> bytes:
    """The JSON text of the machine as it is now; see :func:`record_machine`."""
    return to_text(record_machine(machine)).encode("ascii")


def record_machine(machine: Machine) -> Recording:
    """The machine as it is now.  The same machine at the same moment gives the same recording."""
    profile, cpu, topology = machine.profile, machine.profile.cpu.id, machine.profile.topology
    tree: dict[str, Entry] = {}
    for root in POWERCAP_ROOTS:
        _walk(machine, root, tree)
    return Recording(
        machine=re.sub(r"[^A-Za-z0-9_-]", "-", profile.id)[:64] or "machine",
        what=f"{profile.title} (simulated by raplica)",
        kernel=machine.kernel.version,
        kernel_full=machine.kernel.release,
        kernel_release=machine.kernel.release,
        kernel_build="simulated by raplica",
        recorded=_NO_DAY,
        cpu=Cpu(cpu.vendor, cpu.family, cpu.model, cpu.stepping),
        topology=Topology(
            topology.packages, topology.dies_per_package, topology.cores_per_die, topology.threads_per_core
        ),
        # Last: reading a register can use up a fault that fails a number of times.
        registers=_registers(machine),
        tree=tree,
        steps=(),
        # Without it the file would say that a witness booted this kernel.
        capture=Capture(
            program="raplica generate",
            uid=0,
            cpu_name=profile.cpu.name,
            cpu_flags=tuple(sorted(profile.cpu.flags)),
            cpus=len(topology.cpus),
            filesystem="fuse.raplica",
        ),
        log=(f"raplica: simulated, {machine.clock.now_ns} ns after power-on; no real machine was recorded",),
    )


def forgotten_by_replay(machine: Machine) -> list[str]:
    """What this machine has and the recording, replayed as a MACHINE, has not; a few words each."""
    profile = machine.profile
    control_types = " and ".join(table.name for table in profile.control_types)
    kinds = (
        (profile.load is not None, "its load"),
        (bool(profile.core_registers), "registers of single cores"),
        (bool(control_types), f"what {control_types} draws by itself"),
        (bool(profile.faults.registers or profile.faults.sysfs), "faults"),
        (profile.firmware is not None, "what firmware loads"),
    )
    return [words for is_there, words in kinds if is_there]


def _walk(machine: Machine, path: str, tree: dict[str, Entry]) -> None:
    entry = read_entry(machine.sysfs, path)
    if entry.kind == "missing":
        return
    tree[path] = entry
    for name in entry.order or ():
        _walk(machine, f"{path}/{name}", tree)


def _registers(machine: Machine) -> dict[int, dict[int, int]]:
    """MSRs by logical die, with MCHBAR's words on die 0 and TPMI's on the die of their package's number.

    A register whose read faults is left out: absent registers fault, too.
    """
    topology = machine.profile.topology
    found: dict[int, dict[int, int]] = {}
    for die in topology.dies:
        cpu = topology.cpus_of_die(die)[0]
        found[die] = {}
        for address in machine.msr.addresses(cpu):
            try:
                found[die][address] = machine.msr.read(cpu, address)
            except OSError:
                continue
    for space in (machine.mmio, machine.tpmi):
        for package in space.packages():
            for offset in space.addresses(package):
                content = space.content(offset, package)
                if content is not None and package in found:
                    found[package][offset] = content
    return found
