# SPDX-License-Identifier: Apache-2.0
"""The command `raplica generate`: a machine's tree, written out in the format that another project's tests take.

Nothing heavier than click is imported before the command needs it: `raplica --help` has to come at once.
"""

from typing import TYPE_CHECKING

import click

from raplica_simulator.cli_parts import MachineCommand, kernel_option, machine_argument, make, quiet_option, tell

if TYPE_CHECKING:
    from raplica_simulator.machine import Machine

__all__ = ["generate"]

# As in generate.FORMATS and surfaces.selection.LAYOUTS, which would take long to import; a test compares.
_FORMATS = ("tree", "tar", "ttar", "umockdev", "recording", "zip")
_LAYOUTS = ("sys", "flat", "nested")


@click.command(
    cls=MachineCommand,
    short_help="Write a machine's /sys to a folder or an archive.",
    epilog="""
\b
Examples: raplica generate skylake-sp-2s DIR --at 12.5
          raplica generate kabylake - --format tar | tar -x -C DIR
          raplica generate zen4 zen4.ttar --format ttar --prefix fixtures/sys
          raplica generate kabylake DIR --layout flat --zones 'intel-rapl:0*'
""",
)
@machine_argument
@click.argument("out")
@click.option(
    "--at", metavar="SECONDS", default="0", show_default=True, help="The moment, in seconds since power-on, like 12.5."
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(_FORMATS),
    default="tree",
    show_default=True,
    help="A folder, or one file (- for stdout): a tar, a ttar as Prometheus has it, a device file of umockdev, a "
    "recording (.json, with errno), a zip without colons in its names.",
)
@click.option(
    "--layout",
    type=click.Choice(_LAYOUTS),
    default="sys",
    show_default=True,
    help="sys: links and devices as in /sys; flat: plain folders class/powercap/ZONE; nested: plain folders "
    "CONTROL-TYPE/ZONE/SUBZONE.",
)
@click.option("--zones", metavar="NAMES", help="Only these control types and zones, like intel-rapl,intel-rapl:0*.")
@click.option("--attributes", metavar="NAMES", help="Only these attributes of each, like name,energy_uj,max_energy_*.")
@click.option("--prefix", metavar="PATH", default="", help="Put it before every path in a tar, ttar or zip.")
@click.option("--packages", metavar="N", type=int, help="The same machine with N packages.")
@click.option("--force", is_flag=True, help="Replace files in an OUT that is not empty; nothing else is deleted.")
@quiet_option
@kernel_option
def generate(  # noqa: PLR0913 - each of them is an option of its own
    machine: str,
    out: str,
    *,
    at: str,
    kind: str,
    layout: str,
    zones: str | None,
    attributes: str | None,
    prefix: str,
    packages: int | None,
    kernel: str | None,
    force: bool,
    quiet: bool,
) -> None:
    """Write what a machine's /sys shows at one moment to OUT: a snapshot, which stands still.

    OUT becomes the root of a /sys: OUT/class/powercap and OUT/devices/virtual/powercap, with the kernel's links and
    modes. An attribute whose read fails is written empty; one line on stderr counts them and says what the format
    cannot hold. OUT is never /, or in /sys, /proc or /dev.
    """
    from raplica_simulator.generate import Wanted
    from raplica_simulator.generate import generate as write
    from raplica_simulator.live.options import read_seconds
    from raplica_simulator.surfaces.selection import Selection, read_names

    if kind == "tree" and out == "-":
        raise click.UsageError("OUT is -, and a folder cannot go to stdout: name a folder, or say --format tar")
    try:
        at_s = read_seconds("--at", at)
        selection = Selection(layout, read_names("--zones", zones), read_names("--attributes", attributes))
        wanted = Wanted(kind, selection, prefix.rstrip("/") or prefix)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    simulated = make(machine, kernel) if packages is None else _make_sized(machine, kernel, packages)
    try:
        lines = write(simulated, at_s, out, wanted, force=force)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        where = "stdout" if out == "-" else out
        raise click.ClickException(f"{where} could not be written: {error.strerror}; name another place") from None
    for line in lines:
        if not quiet or line.startswith("warning: "):
            tell(f"raplica: {line}")


def _make_sized(name: str, kernel: str | None, packages: int) -> "Machine":
    """Make the machine with another number of packages; errors as ``make`` gives them."""
    from raplica_simulator.machine import Machine
    from raplica_simulator.profile.profile import load_profile
    from raplica_simulator.profile.sized import with_packages

    try:
        return Machine.from_profile(with_packages(load_profile(name), packages), kernel=kernel)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
