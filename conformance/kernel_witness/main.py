# SPDX-License-Identifier: Apache-2.0
"""The command: from nothing to recordings, one virtual machine after the other."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from kernel_witness.emulator import Emulator, get_emulator
from kernel_witness.failure import StepError, WitnessError
from kernel_witness.files import base_files, machine_files
from kernel_witness.initramfs import Node
from kernel_witness.kernels import Kernel, get_kernel
from kernel_witness.logs import assemble, write_atomically
from kernel_witness.machines import MachineDescription, load_description, machine_names
from kernel_witness.packages import Archive

__all__ = ["main"]

_KERNELS = ("6.1", "6.12")
_ATTEMPTS = 3
_TIMEOUT_S = 900


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 when every machine was recorded, 1 when not, 2 for wrong usage."""
    options = _parser().parse_args(arguments)
    if options.list:
        for name in machine_names():
            print(f"{name:24} {load_description(name).what}")
        return 0
    if options.out is None:
        _parser().error("say where the recordings go: OUT_DIR")
    try:
        return _record_all(options)
    except WitnessError as error:
        print(f"witness: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="witness",
        description="Boot unmodified kernels without hardware and record what their RAPL drivers do.",
        epilog="example: witness --kernel 6.12 --machine alderlake --machine zen2-2s /tmp/logs",
    )
    parser.add_argument("out", nargs="?", type=Path, metavar="OUT_DIR", help="gets MACHINE-KERNEL.json for each")
    parser.add_argument("--kernel", action="append", metavar="V", help=f"default: {', '.join(_KERNELS)}")
    parser.add_argument("--machine", action="append", metavar="NAME", help="default: all of them")
    parser.add_argument("--list", action="store_true", help="list the machines and stop")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path.home() / ".cache" / "raplica" / "witness",
        help="packages and what is built from them (default: %(default)s)",
    )
    return parser


def _record_all(options: argparse.Namespace) -> int:
    machines = [load_description(name) for name in options.machine or machine_names()]
    cache: Path = options.cache.resolve()
    options.out.mkdir(parents=True, exist_ok=True)
    archive = Archive(cache)
    _tell("QEMU and a Python for the virtual machine")
    emulator = get_emulator(archive)
    base = base_files(archive)
    failed = 0
    for series in options.kernel or _KERNELS:
        _tell(f"Linux {series}: packages and modules")
        kernel = get_kernel(archive, cache, series)
        for machine in machines:
            if machine.kernels is not None and series not in machine.kernels:
                continue
            failed += not _record(emulator, base, kernel, machine, options.out)
    return 1 if failed else 0


def _record(emulator: Emulator, base: dict[str, Node], kernel: Kernel, machine: MachineDescription, out: Path) -> bool:
    """Record one machine on one kernel, with more than one attempt; tells whether it worked."""
    name = f"{machine.name}-{kernel.series}"
    with tempfile.TemporaryDirectory(prefix="witness-") as folder:
        files = Path(folder) / "files"
        files.write_bytes(machine_files(base, kernel.modules, machine.for_guest(kernel.series)))
        for attempt in range(1, _ATTEMPTS + 1):
            told = Path(folder) / f"told-{attempt}"
            begun = time.monotonic()
            try:
                emulator.boot(kernel.image, files, machine.cpu, machine.smp, told, _TIMEOUT_S)
                log = assemble(told.read_text(encoding="utf-8"), machine, datetime.now(UTC).date().isoformat())
            except WitnessError as error:
                _tell(f"{name}: attempt {attempt} of {_ATTEMPTS}: {error}")
                _keep(told, out / f"{name}.failed")
                if isinstance(error, StepError):
                    return False
                continue
            write_atomically(out / f"{name}.json", json.dumps(log, indent=0) + "\n")
            _tell(f"{name}: {len(log['probes'])} steps in {time.monotonic() - begun:.0f} s")
            return True
    return False


def _keep(told: Path, place: Path) -> None:
    """Keep what a machine that failed had said."""
    for path in (told, told.with_suffix(".serial")):
        if path.exists():
            place.with_suffix(f".failed{path.suffix}").write_bytes(path.read_bytes())


def _tell(what: str) -> None:
    print(f"witness: {what}", flush=True)
