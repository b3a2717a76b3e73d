# SPDX-License-Identifier: Apache-2.0
"""Everything that a virtual machine is started with, and starting it again where that failed."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from kernel_witness.emulator import Emulator, get_emulator
from kernel_witness.failure import StepError, WitnessError
from kernel_witness.files import Python, base_files, get_python, machine_files, suite_files
from kernel_witness.initramfs import Node
from kernel_witness.kernels import Kernel, get_kernel
from kernel_witness.machines import MachineDescription
from kernel_witness.packages import Archive

__all__ = ["ATTEMPTS", "Bench", "tell"]

ATTEMPTS = 3
Answer = TypeVar("Answer")


def tell(what: str) -> None:
    """Say one line to the person who waits."""
    print(f"witness: {what}", flush=True)


class Bench:
    """QEMU, a Python for the virtual machines, and kernels, each fetched when it is first needed.

    `cache` keeps what was fetched and built. With `suite` the machines have the conformance suite in them.
    """

    def __init__(self, cache: Path, *, suite: bool = False) -> None:
        tell(f"QEMU and a Python for the virtual machines, in {cache}")
        self._archive = Archive(cache)
        self._emulator: Emulator = get_emulator(self._archive)
        python: Python = get_python(self._archive)
        self._files: dict[str, Node] = base_files(python)
        if suite:
            self._files |= suite_files(python)
        self._kernels: dict[str, Kernel] = {}

    def kernel(self, series: str) -> Kernel:
        """Return the newest kernel of a series that the archive has; `WitnessError` where it has none."""
        if series not in self._kernels:
            tell(f"Linux {series}: packages and modules")
            self._kernels[series] = get_kernel(self._archive, series)
            tell(f"Linux {series}: {self._kernels[series].release}")
        return self._kernels[series]

    def run(
        self,
        machine: MachineDescription,
        series: str,
        description: Mapping[str, Any],
        understand: Callable[[str], Answer],
        failed: Path,
        timeout_s: float = 900,
    ) -> tuple[Answer, float] | None:
        """Boot until what the machine said can be understood; return that and the seconds it took.

        `description` goes into the machine, `understand` gets its lines and raises `WitnessError` where they are
        not whole. Each failure is told; `failed` keeps what the machine had said. None after the last attempt.
        """
        kernel = self.kernel(series)
        name = f"{machine.name}-{series}"
        with tempfile.TemporaryDirectory(prefix="witness-") as folder:
            files = Path(folder) / "files"
            files.write_bytes(machine_files(self._files, kernel.modules, description))
            for attempt in range(1, ATTEMPTS + 1):
                told = Path(folder) / f"told-{attempt}"
                begun = time.monotonic()
                try:
                    self._emulator.boot(kernel.image, files, machine.cpu, machine.smp, told, timeout_s)
                    return understand(told.read_text(encoding="utf-8")), time.monotonic() - begun
                except WitnessError as error:
                    tell(f"{name}: attempt {attempt} of {ATTEMPTS}: {error}")
                    _keep(told, failed)
                    if isinstance(error, StepError):
                        return None
        return None


def _keep(told: Path, place: Path) -> None:
    for path in (told, told.with_suffix(".serial")):
        if path.exists():
            place.with_name(f"{place.name}{path.suffix}").write_bytes(path.read_bytes())
