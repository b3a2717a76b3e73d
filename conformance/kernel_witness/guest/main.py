# SPDX-License-Identifier: Apache-2.0
"""The first process of the virtual machine: mounts, loads the register table, does the steps, switches off."""

from __future__ import annotations

import os
import re
import sys
import traceback

from kernel_witness.guest.catalogue import PROBES, named_scenario
from kernel_witness.guest.machine import Machine, load_machine
from kernel_witness.guest.recorder import CrashedError, Recorder
from kernel_witness.guest.scenarios import reload, start, stop
from kernel_witness.guest.system import load_module, mount_all, power_off, restart

__all__ = ["main"]

_MACHINE = "/raplica/machine.json"
_TOLD = re.compile(
    r"linux version|smpboot: cpu0|rapl|powercap|divide error|\boops:|\bbug:|warning: cpu|rip: 0010|kernel panic",
    re.IGNORECASE,
)
_CPU = re.compile(r"\bCPU: \d+")


def main() -> None:
    """Run; whatever happens, the machine goes off, since a first process must not end."""
    try:
        mount_all()
        _run()
    except BaseException:  # noqa: BLE001  (there is nobody above)
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        power_off()


def _run() -> None:
    machine = load_machine(_MACHINE)
    dies = ",".join(str(die) for die in machine.cpu_dies)
    load_module("/m/raplica_registers.ko", f"dies={dies}")
    recorder = Recorder()
    crashed = False
    try:
        recorder.settle()
        name = os.uname()
        recorder.say({"head": {"kernel": name.release, "kernel_version": name.version}})
        recorder.say({"op": "insmod", "file": "/m/raplica_registers.ko", "params": f"dies={dies}", "ret": 0})
        _take_steps(recorder, machine)
    except CrashedError:
        # Unloading would wait for ever for what the crashed process holds, and so may switching off.
        crashed = True
    except BaseException:
        recorder.say({"failed": traceback.format_exc()})
        raise
    recorder.say({"end": {"dmesg": _kernel_log()}})
    if crashed:
        restart()


def _take_steps(recorder: Recorder, machine: Machine) -> None:
    # Only the virtual machines for these two tasks have the suite in them.
    if machine.task == "judge":
        from kernel_witness.guest.judging import judge_this_machine

        judge_this_machine(recorder, machine)
        return
    if machine.task == "interrupt":
        from kernel_witness.guest.interrupting import interrupt_runs

        interrupt_runs(recorder, machine)
        return
    start(recorder, machine)
    for probe in machine.probes:
        PROBES[probe](recorder, machine)
    for scenario in machine.scenarios:
        named_scenario(recorder, machine, scenario)
    reload(recorder, machine, machine.copy(), "as at first")
    recorder.label("the driver goes")
    stop(recorder, machine)
    recorder.tree("driver gone")
    recorder.dump()


def _kernel_log() -> list[str]:
    """Return what the kernel said that matters, without times, and each line once."""
    lines: dict[str, None] = {}
    descriptor = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    try:
        while True:
            record = os.read(descriptor, 8192).decode(errors="replace")
            text = record.partition(";")[2].partition("\n")[0]
            # Which processor it was, and what else lay on its stack, differs from boot to boot.
            if _TOLD.search(text) and not text.startswith(" ? "):
                lines[_CPU.sub("CPU: *", text)] = None
    except BlockingIOError:
        return list(lines)
    finally:
        os.close(descriptor)
