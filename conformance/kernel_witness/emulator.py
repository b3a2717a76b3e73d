# SPDX-License-Identifier: Apache-2.0
"""Booting a kernel in QEMU's software emulation, and taking what it says on the debug console.

One thread emulates all processors: with several, a kernel now and then dies in its own start-up. It still happens, so
an oops is a panic until the guest says otherwise, a panic ends QEMU, and a machine that falls silent is given up.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from kernel_witness.failure import WitnessError, run
from kernel_witness.packages import Archive

__all__ = ["Emulator", "get_emulator"]

_PROGRAM = "qemu-system-x86_64"
# The memory that is left alone is where the TPMI registers lie (modules/raplica_table.h).
_COMMAND_LINE = "console=ttyS0 loglevel=3 oops=panic panic=-1 nokaslr suspend.pm_test_delay=0 memmap=64K$0x10000000"
_SILENCE_S = 240
_LOOK_S = 0.2
_LIBRARIES = "usr/lib/x86_64-linux-gnu"


@dataclass(frozen=True, slots=True)
class Emulator:
    """How QEMU is started: its program, where its firmware lies, and its environment."""

    program: str
    firmware: tuple[Path, ...]
    environment: dict[str, str]

    def boot(self, image: Path, files: Path, cpu: str, smp: str, told: Path, timeout_s: float) -> None:
        """Run a virtual machine until it switches itself off.

        `files` is the first file system; `told` gets what the debug console says, and beside it `.serial` the
        kernel's own console. Raises `WitnessError` where QEMU cannot start, the machine is not off in time, or says
        nothing for too long.
        """
        command = ["nice", self.program]
        for folder in self.firmware:
            command += ["-L", str(folder)]
        command += ["-accel", "tcg,thread=single", "-machine", "q35", "-m", "768", "-cpu", cpu, "-smp", smp]
        command += ["-nodefaults", "-display", "none", "-no-reboot", "-rtc", "base=2026-01-01"]
        command += ["-kernel", str(image), "-initrd", str(files)]
        command += ["-append", _COMMAND_LINE]
        command += ["-debugcon", f"file:{told}", "-serial", f"file:{told.with_suffix('.serial')}"]
        environment = {**os.environ, **self.environment}
        told.touch()
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as machine:
            try:
                _wait(machine, told, timeout_s)
            finally:
                machine.kill()
            _, complaint = machine.communicate()
        if machine.returncode:
            raise WitnessError(f"QEMU ended with {machine.returncode}: {complaint.strip() or 'no message'}")


def _wait(machine: subprocess.Popen[str], told: Path, timeout_s: float) -> None:
    """Wait until the machine is off; `WitnessError` where that takes too long, or the machine has fallen silent."""
    begun = heard = time.monotonic()
    length = 0
    while machine.poll() is None:
        time.sleep(_LOOK_S)
        now, size = time.monotonic(), told.stat().st_size
        if size != length:
            length, heard = size, now
        if now - heard > _SILENCE_S:
            raise WitnessError(f"the machine said nothing for {_SILENCE_S} s, after {length} bytes")
        if now - begun > timeout_s:
            raise WitnessError(f"the machine was not off after {timeout_s:g} s")


def get_emulator(archive: Archive) -> Emulator:
    """Return the QEMU of this machine, or fetch one."""
    found = shutil.which(_PROGRAM)
    if found is not None:
        return Emulator(found, (), {})
    root = archive.unpack(archive.missing_for("qemu-system-x86"), "qemu")
    libraries = f"{root / _LIBRARIES}:{root / 'lib/x86_64-linux-gnu'}"
    environment = {"LD_LIBRARY_PATH": libraries, "QEMU_MODULE_DIR": str(root / _LIBRARIES / "qemu")}
    program = str(root / "usr" / "bin" / _PROGRAM)
    run([program, "--version"], "starting QEMU", environment={**os.environ, **environment})
    firmware = (root / "usr" / "share" / "qemu", root / "usr" / "share" / "seabios")
    return Emulator(program, firmware, environment)
