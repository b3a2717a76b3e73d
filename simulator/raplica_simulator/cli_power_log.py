# SPDX-License-Identifier: Apache-2.0
"""The command `raplica power-log`: what Intel Power Gadget would have logged on a machine, at once.

Nothing heavier than click is imported before the command needs it: `raplica --help` has to come at once.
"""

from pathlib import Path

import click

from raplica_simulator.cli_parts import MachineCommand, kernel_option, machine_argument

__all__ = ["power_log"]

_MOST_ROWS = 1_000_000
_NS_PER_S = 1_000_000_000
_NS_PER_MS = 1_000_000


@click.command(
    "power-log",
    cls=MachineCommand,
    short_help="Print what Intel Power Gadget would log.",
    epilog="""
\b
Examples: raplica power-log kabylake --duration 5 --load package=15,core=9
          raplica power-log skylake-sp-2s --resolution 1000 --start-near-wrap 3 -o log.csv
""",
)
@machine_argument
@click.option("--duration", metavar="S", default="10", show_default=True, help="Log for so many seconds.")
@click.option(
    "--resolution",
    metavar="MS",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="A row each so many milliseconds.",
)
@click.option("-o", "--output", metavar="FILE", default="-", help="Write it there.  [default: stdout]")
@click.option("--load", metavar="SPEC", help="Watts, a shape or a trace.csv, as raplica mount has it.")
@click.option("--at", metavar="SECONDS", help="How long it has run already.  [default: 0, or the scenario's]")
@click.option(
    "--start-near-wrap", "near_wrap", metavar="SECONDS", help="Let every energy counter wrap that much later."
)
@click.option("--scenario", metavar="FILE", help="What happens to it: a scenario (.toml) or the id of a built-in one.")
@kernel_option
def power_log(
    machine: str, duration: str, resolution: int, output: str, kernel: str | None, **options: str | None
) -> None:
    """Print the CSV file that Intel Power Gadget's PowerLog would have written on a MACHINE.

    Time is the machine's and takes none of yours. The counters are read as the tool reads them: energy is right across
    wraps. Utilisation and temperatures are not simulated and read 0.
    """
    from raplica_simulator.live.options import read_seconds, start_live
    from raplica_simulator.windows.power_log import PowerLog

    if options["load"] == "host":
        raise click.UsageError("--load host follows this host in its own time: say watts, a shape or a trace.csv")
    try:
        duration_ns = int(read_seconds("--duration", duration) * _NS_PER_S)
        resolution_ns = resolution * _NS_PER_MS
        if not 0 < duration_ns // resolution_ns <= _MOST_ROWS:
            raise ValueError(
                f"--duration {duration} is {duration_ns // resolution_ns} rows of {resolution} ms: "
                f"say a --resolution with which it is 1 to {_MOST_ROWS}"
            )
        live = start_live(machine, kernel, speed="1", **options)
        log = PowerLog(live.machine, lambda step_ns: live.advance(nanoseconds=step_ns))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    try:
        text = "".join(f"{line}\n" for line in log.lines(duration_ns, resolution_ns))
    except OSError as error:
        raise click.ClickException(
            f"{error.filename}: {error.strerror}: a register of the log cannot be read, leave that fault out"
        ) from None
    if output == "-":
        click.echo(text, nl=False)
        return
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{output}: {error.strerror}: name another file") from None
