# SPDX-License-Identifier: Apache-2.0
"""Killing a run that writes, at random moments, and restoring after each: every register has to be as it was."""

from __future__ import annotations

import os
import random
import signal
import time

from kernel_witness.guest.judging import CAREFUL, JOURNAL, prepare, start_plain
from kernel_witness.guest.machine import Machine
from kernel_witness.guest.recorder import Recorder, read_file
from kernel_witness.guest.subject import TABLE
from raplica_conformance.clause import load_clauses

__all__ = ["interrupt_runs"]

_OUTPUT = "/scratch/output"
_RESTORE = ("restore", "--journal", JOURNAL)


def interrupt_runs(recorder: Recorder, machine: Machine) -> None:
    """Measure one whole run, then kill as many as the machine's description says, and say what each left."""
    prepare(recorder, machine)
    # What never writes would only make the moments in which something is at stake rarer.
    writing = sorted(clause.id for clause in load_clauses().values() if "writable" in clause.needs)
    before = read_file(TABLE)
    begun = time.monotonic()
    whole = os.waitpid(start_plain((*CAREFUL, *writing), _OUTPUT), 0)[1]
    seconds = time.monotonic() - begun
    untouched = read_file(TABLE) == before
    recorder.say({"op": "whole run", "status": os.waitstatus_to_exitcode(whole), "restored": untouched})
    moments = random.Random(machine.seed)  # noqa: S311  # which moment is no secret
    for number in range(machine.kills):
        delay_s = moments.uniform(0, seconds)
        process = start_plain((*CAREFUL, *writing), _OUTPUT)
        time.sleep(delay_s)
        if number % 2:
            _await_change(process, before)
        os.kill(process, signal.SIGKILL)
        status = os.waitpid(process, 0)[1]
        at_kill = read_file(TABLE)
        restored = os.waitpid(start_plain(_RESTORE, _OUTPUT), 0)[1]
        recorder.say(
            {
                "op": "killed",
                "number": number,
                "part_of_the_run": round(delay_s / seconds, 3),
                "killed": os.WIFSIGNALED(status),
                "changed_at_kill": _changed(before, at_kill),
                "restore_status": os.waitstatus_to_exitcode(restored),
                "changed_after_restore": _changed(before, read_file(TABLE)),
            }
        )


def _await_change(process: int, before: object) -> None:
    """Wait until a register is changed, since it is for a small part of a run only; or until the run has ended."""
    while read_file(TABLE) == before and os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        time.sleep(0.001)


def _changed(before: object, after: object) -> list[str]:
    """Return the rows of the register table that differ."""
    rows = zip(str(before).splitlines(), str(after).splitlines(), strict=True)
    return [" ".join(new.split()[:3]) for old, new in rows if old != new]
