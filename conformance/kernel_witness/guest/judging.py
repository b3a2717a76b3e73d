# SPDX-License-Identifier: Apache-2.0
"""Judging the kernel of this virtual machine with the suite's own clauses in its pytest-free loop, on the live files.

Twice: once by the subject that may do anything here, and once by the very command that a real machine is judged with,
which writes only what it can put back.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from kernel_witness.guest.machine import Machine
from kernel_witness.guest.recorder import Recorder, read_file
from kernel_witness.guest.scenarios import start
from kernel_witness.guest.subject import TABLE, VirtualMachine, command
from raplica_conformance import plain
from raplica_conformance.clause import load_clauses
from raplica_conformance.loop import run
from raplica_conformance.reports import json as json_report
from raplica_conformance.selection import pair, select
from raplica_conformance.verdicts import Verdict

__all__ = ["CAREFUL", "JOURNAL", "judge_this_machine", "prepare", "start_plain"]

JOURNAL = "/scratch/writes.journal"
CAREFUL = ("run", "--real", "--allow-writes", "--journal", JOURNAL, "--json")
_OUTPUT = "/scratch/report.json"


def prepare(recorder: Recorder, machine: Machine) -> None:
    """Load the driver and the msr device, and let the counters count where time is moved."""
    start(recorder, machine)
    for die, rates in machine.rates.items():
        for address, steps_per_second in rates.items():
            command(f"rate {die} {address:#x} {steps_per_second}")
    recorder.insmod("msr")


def judge_this_machine(recorder: Recorder, machine: Machine) -> None:
    """Judge every clause about providers in both ways, and say both reports and whether the registers are as before."""
    prepare(recorder, machine)
    subject = VirtualMachine(machine)

    def say(verdict: Verdict) -> None:
        recorder.say({"op": "verdict", "id": verdict.clause.id, "verdict": verdict.verdict, "reason": verdict.reason})

    try:
        verdicts = run(pair(select(load_clauses(), ()), [subject]), each=say)
    finally:
        subject.close()
    command("put-back")
    before = read_file(TABLE)
    status = os.waitpid(start_plain(CAREFUL, _OUTPUT), 0)[1]
    after = read_file(TABLE)
    recorder.say(
        {
            "op": "report",
            "kernel": subject.kernel,
            "report": json.loads(json_report.render(verdicts)),
            "careful": json.loads(Path(_OUTPUT).read_text(encoding="utf-8") or "null"),
            "careful_status": os.waitstatus_to_exitcode(status),
            "registers_changed": before != after,
        }
    )


def start_plain(arguments: tuple[str, ...], output: str) -> int:
    """Start the suite's plain command in a process of its own, its output in a file; return the process."""
    process = os.fork()
    if process:
        return process
    status = 70
    try:
        for number, path in ((1, output), (2, f"{output}.errors")):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        status = plain.main(arguments)
        sys.stdout.flush()
    finally:
        os._exit(status)
