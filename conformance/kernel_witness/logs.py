# SPDX-License-Identifier: Apache-2.0
"""From the lines of a virtual machine to a witness log, the document that raplica_fixtures turns into a recording."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from kernel_witness.failure import StepError, WitnessError
from kernel_witness.machines import MachineDescription

__all__ = ["assemble", "write_atomically"]


def assemble(lines: str, machine: MachineDescription, day: str) -> dict[str, Any]:
    """Return the log of one machine; `WitnessError` where it ends too early, `StepError` where a step failed."""
    head: dict[str, Any] | None = None
    end: dict[str, Any] | None = None
    steps: list[dict[str, Any]] = []
    for line in lines.splitlines():
        try:
            said = json.loads(line)
        except ValueError:
            raise WitnessError(f"after {len(steps)} steps came a line that is no JSON: {line[:60]!r}") from None
        if "failed" in said:
            raise StepError(f"after {len(steps)} steps: {said['failed'].strip().splitlines()[-1]}")
        if "head" in said:
            head = said["head"]
        elif "end" in said:
            end = said["end"]
        else:
            steps.append(said)
    if head is None or end is None:
        raise WitnessError(f"the machine stopped after {len(steps)} steps")
    loaded = next(step for step in steps if step["op"] == "tree")
    tree = loaded.pop("entries")
    loaded["entries_are"] = "tree"
    return {
        "machine": machine.name,
        "what": machine.what,
        **head,
        "recorded": day,
        "cpu_args": machine.cpu,
        "smp": machine.smp,
        "msr_table": machine.table(),
        "tree": tree,
        "dmesg": end["dmesg"],
        "probes": steps,
    }


def write_atomically(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    half = path.with_name(f".{path.name}.{os.getpid()}")
    half.write_text(text, encoding="utf-8")
    half.replace(path)
