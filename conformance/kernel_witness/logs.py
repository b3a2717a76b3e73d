# SPDX-License-Identifier: Apache-2.0
"""From the lines of a virtual machine to a witness log, the document that raplica_fixtures turns into a recording."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from kernel_witness.failure import StepError, WitnessError
from kernel_witness.machines import MachineDescription

__all__ = ["assemble", "said_in", "write_atomically"]

Json = dict[str, Any]


def said_in(lines: str) -> list[Json]:
    """Return what a machine said, line by line, its last words left out.

    Raises `WitnessError` where it ends too early, `StepError` where a step failed: then booting again is of no use.
    """
    said: list[Json] = []
    for line in lines.splitlines():
        try:
            said.append(json.loads(line))
        except ValueError:
            raise WitnessError(f"after {len(said)} lines came one that is no JSON: {line[:60]!r}") from None
        if "failed" in said[-1]:
            raise StepError(f"after {len(said) - 1} lines: {said[-1]['failed'].strip().splitlines()[-1]}")
    if not said or "end" not in said[-1]:
        raise WitnessError(f"the machine stopped after {len(said)} lines")
    return said


def assemble(lines: str, machine: MachineDescription, day: str) -> Json:
    """Return the log of one machine; raises as `said_in` does."""
    head, *steps, end = said_in(lines)
    loaded = next(step for step in steps if step["op"] == "tree")
    tree = loaded.pop("entries")
    loaded["entries_are"] = "tree"
    return {
        "machine": machine.name,
        "what": machine.what,
        **head["head"],
        "recorded": day,
        "cpu_args": machine.cpu,
        "smp": machine.smp,
        "msr_table": machine.table(),
        "tree": tree,
        "dmesg": end["end"]["dmesg"],
        "probes": steps,
    }


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    half = path.with_name(f".{path.name}.{os.getpid()}")
    half.write_bytes(content)
    half.replace(path)
