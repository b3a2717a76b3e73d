# SPDX-License-Identifier: Apache-2.0
"""Recording machines on kernels: each virtual machine's log becomes a recording in the project's format."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from kernel_witness.booting import Bench, tell
from kernel_witness.failure import WitnessError
from kernel_witness.logs import assemble
from kernel_witness.machines import MachineDescription
from raplica_fixtures.recording import RecordingError, dump_recording, from_witness_log

__all__ = ["USUAL_KERNELS", "pairs", "record_all"]


#: The kernels that a machine is recorded on unless its description or the command names others.
USUAL_KERNELS = ("6.1", "6.12")


def pairs(
    machines: Sequence[MachineDescription], kernels: Sequence[str] | None = None
) -> list[tuple[MachineDescription, str]]:
    """Return each machine with each kernel that it is meant for, kernel by kernel; `kernels` None: its own."""
    meant = {machine.name: machine.kernels or kernels or USUAL_KERNELS for machine in machines}
    every = kernels or sorted({series for own in meant.values() for series in own}, key=_version)
    return [(machine, series) for series in every for machine in machines if series in meant[machine.name]]


def _version(series: str) -> list[int]:
    return [int(part) for part in series.split(".")]


def record_all(bench: Bench, wanted: Sequence[tuple[MachineDescription, str]], out: Path) -> int:
    """Record each pair into OUT/MACHINE-KERNEL.json.xz, and return how many failed."""
    out.mkdir(parents=True, exist_ok=True)
    failed = steps = size = 0
    begun = time.monotonic()
    for index, (machine, series) in enumerate(wanted, 1):
        path = out / f"{machine.name}-{series}.json.xz"
        found = _record(bench, machine, series, path)
        if found is None:
            failed += 1
            continue
        steps += found[0]
        size += path.stat().st_size
        tell(f"{index} of {len(wanted)}: {path.name}: {found[0]} steps, {path.stat().st_size} bytes, {found[1]:.0f} s")
    done = len(wanted) - failed
    tell(f"{done} recordings, {steps} steps, {size / 1000:.0f} KB in {time.monotonic() - begun:.0f} s; {failed} failed")
    return failed


def _record(bench: Bench, machine: MachineDescription, series: str, path: Path) -> tuple[int, float] | None:
    """Record one machine on one kernel: the number of steps and the seconds in the virtual machine."""
    day = datetime.now(UTC).date().isoformat()
    understand = functools.partial(assemble, machine=machine, day=day)
    answer = bench.run(machine, series, machine.for_guest(series), understand, path.with_suffix(".failed"))
    if answer is None:
        return None
    log, seconds = answer
    try:
        recording = from_witness_log(log)
        dump_recording(recording, path)
    except RecordingError as error:
        # A log that was whole and cannot be converted is a mistake of the witness's own.
        sys.stderr.write(f"witness: {path.name}: {error}\n")
        return None
    except OSError as error:
        raise WitnessError(f"{path} cannot be written: {error.strerror}") from None
    return len(recording.steps), seconds
