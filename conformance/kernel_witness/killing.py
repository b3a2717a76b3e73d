# SPDX-License-Identifier: Apache-2.0
"""Killing `conformance run --real --allow-writes` in a virtual machine, and what `conformance restore` made of it.

What comes out is one JSON document a machine and kernel: the seed, and for each kill when it was, which registers were
changed at that moment and which still were after the restore. The last is to be empty every time.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kernel_witness.booting import Bench, tell
from kernel_witness.failure import StepError
from kernel_witness.logs import said_in, write_atomically
from kernel_witness.machines import MachineDescription

__all__ = ["ENDING", "kill_all", "kills_in", "wrong_in"]

Json = dict[str, Any]
ENDING = ".kills.json"
_TIMEOUT_S = 3600


def kill_all(
    bench: Bench, wanted: Sequence[tuple[MachineDescription, str]], out: Path, *, kills: int, seed: int
) -> int:
    """Kill so many runs on each pair; write OUT/MACHINE-KERNEL.kills.json; return how many pairs were not all right."""
    out.mkdir(parents=True, exist_ok=True)
    failed = 0
    for machine, series in wanted:
        name = f"{machine.name}-{series}"
        description = machine.for_guest(series, "interrupt", seed=seed, kills=kills)
        answer = bench.run(machine, series, description, kills_in, out / f"{name}.failed", _TIMEOUT_S)
        if answer is None:
            failed += 1
            continue
        found, seconds = answer
        document = {"machine": machine.name, "kernel": series, "seed": seed, **found}
        write_atomically(out / f"{name}{ENDING}", (json.dumps(document, indent=1) + "\n").encode())
        wrong = wrong_in(document)
        failed += bool(wrong)
        changed = sum(bool(kill["changed_at_kill"]) for kill in document["kills"])
        tell(f"{name}: {kills} kills, {changed} with registers changed, {len(wrong)} wrong, {seconds:.0f} s")
        for line in wrong:
            tell(f"   {line}")
    return failed


def kills_in(lines: str) -> Json:
    """Return what a virtual machine said of the whole run and of each kill."""
    said = said_in(lines)
    whole = [line for line in said if line.get("op") == "whole run"]
    kills = [line for line in said if line.get("op") == "killed"]
    if not whole:
        raise StepError("the machine did not come to the end of one whole run")
    return {"whole_run": _without_op(whole[0]), "kills": [_without_op(kill) for kill in kills]}


def wrong_in(document: Json) -> list[str]:
    """Return a line for each thing that is not as it should be."""
    whole = document["whole_run"]
    wrong = [] if whole["status"] == 0 and whole["restored"] else [f"the run that nobody killed: {whole}"]
    left = (kill for kill in document["kills"] if kill["restore_status"] or kill["changed_after_restore"])
    return wrong + [f"kill {kill['number']}: {kill}" for kill in left]


def _without_op(line: Json) -> Json:
    return {key: value for key, value in line.items() if key != "op"}
