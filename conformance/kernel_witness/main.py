# SPDX-License-Identifier: Apache-2.0
"""The command: from nothing to recordings and reports, one virtual machine after the other."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from kernel_witness.booting import Bench
from kernel_witness.compare import compare_folders
from kernel_witness.failure import WitnessError
from kernel_witness.machines import MachineDescription, load_description, machine_names
from kernel_witness.record import USUAL_KERNELS, pairs, record_all

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 when all went well, 1 when not, 2 for wrong usage, 130 for an interrupt."""
    options = _parser().parse_args(arguments)
    # An exception, so that the virtual machine is ended and the temporary folder goes.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return int(options.command(options))
    except WitnessError as error:
        sys.stderr.write(f"witness: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("witness: interrupted\n")
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="witness",
        description="Boot unmodified kernels without hardware, and record or judge what their RAPL drivers do.",
        epilog="example: witness record --kernel 6.12 --machine alderlake /tmp/recordings",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    record = commands.add_parser("record", help="make recordings: OUT_DIR gets MACHINE-KERNEL.json.xz for each")
    record.set_defaults(command=_record)
    _add_common(record)
    record.add_argument("--thorough", action="store_true", help="with the probes that the repository's do without")
    judge = commands.add_parser("judge", help="run the conformance suite inside, and compare with the simulator")
    judge.set_defaults(command=_judge)
    _add_common(judge)
    kill = commands.add_parser("kill", help="kill runs of the suite that write, inside, and restore after each")
    kill.set_defaults(command=_kill)
    _add_common(kill)
    kill.add_argument("--kills", type=int, default=50, metavar="N", help="how many runs (default: %(default)s)")
    kill.add_argument("--seed", type=int, default=1, metavar="N", help="chooses the moments (default: %(default)s)")
    compare = commands.add_parser("compare", help="tell whether two sets of recordings differ in more than times")
    compare.set_defaults(command=lambda options: compare_folders(options.first, options.second))
    compare.add_argument("first", type=Path, metavar="A", help="a folder of recordings, or one")
    compare.add_argument("second", type=Path, metavar="B", help="another")
    listed = commands.add_parser("list", help="list the machines")
    listed.set_defaults(command=_list)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, metavar="OUT_DIR")
    parser.add_argument(
        "--kernel",
        action="append",
        metavar="V",
        help=f"default: {', '.join(USUAL_KERNELS)}, or those that the machine names",
    )
    parser.add_argument("--machine", action="append", metavar="NAME", help="default: all of them")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path.home() / ".cache" / "raplica" / "witness",
        help="packages and what is built from them (default: %(default)s)",
    )


def _wanted(options: argparse.Namespace) -> list[MachineDescription]:
    return [load_description(name) for name in options.machine or machine_names()]


def _record(options: argparse.Namespace) -> int:
    machines = _wanted(options)
    if options.thorough:
        machines = [machine.thoroughly() for machine in machines]
    wanted = pairs(machines, options.kernel)
    return 1 if record_all(Bench(options.cache.resolve()), wanted, options.out) else 0


def _judge(options: argparse.Namespace) -> int:
    from kernel_witness.judging import judge_all

    machines = [machine for machine in _wanted(options) if options.machine or machine.load]
    wanted = pairs(machines, options.kernel)
    return 1 if judge_all(Bench(options.cache.resolve(), suite=True), wanted, options.out) else 0


def _kill(options: argparse.Namespace) -> int:
    from kernel_witness.killing import kill_all

    wanted = pairs(_wanted(options), options.kernel)
    bench = Bench(options.cache.resolve(), suite=True)
    return 1 if kill_all(bench, wanted, options.out, kills=options.kills, seed=options.seed) else 0


def _list(_: argparse.Namespace) -> int:
    for name in machine_names():
        machine = load_description(name)
        print(f"{name:24} {machine.what}")
    return 0
