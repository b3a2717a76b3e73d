# SPDX-License-Identifier: Apache-2.0
"""The command `raplica`: list machines, show one, write or mount its tree, decode a register.

Nothing heavier than click is imported before a command needs it: `raplica --help` has to come at once.  An error is
one line on stderr that says what is wrong and what to do.  Exit status: 0 done, 1 it could not be done, 2 it was asked
for wrongly (usage, a wrong profile, a refused place), 130 interrupted, 141 nobody reads the output any more.
"""

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from raplica_simulator.machine import Machine

__all__ = ["cli", "main"]

_HELP = {"help_option_names": ["-h", "--help"]}


class _MachineCommand(click.Command):
    """A command that takes a MACHINE: its help says which there are."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from raplica_fixtures import profile_ids

        formatter.write("\nMACHINE is a profile (.toml), a recording (.json, .json.xz) or a built-in id:\n")
        ids = profile_ids()
        # Ids have hyphens, at which a formatter would break them.
        for first in range(0, len(ids), 4):
            formatter.write(f"  {' '.join(ids[first : first + 4])}\n")
        super().format_epilog(ctx, formatter)


class _Group(click.Group):
    """The command as a whole: how it ends when it is not let go on."""

    def invoke(self, ctx: click.Context) -> Any:
        # Left to click, the one prints an empty line as well and the other hides among the failures.
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            _tell("raplica: interrupted")
            ctx.exit(130)
        except BrokenPipeError:
            _give_up_stdout()
            ctx.exit(141)


def _version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:  # noqa: FBT001 - click's
    """Print the version; importlib.metadata is slow to load, and only this needs it."""
    if wanted:
        from importlib.metadata import version

        click.echo(f"raplica {version('raplica')}")
        ctx.exit()


@click.group(cls=_Group, context_settings=_HELP, epilog="Example: raplica generate skylake-sp-2s DIR")
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
def cli() -> None:
    """Simulate machines that meter and cap their own power."""


_machine = click.argument("machine", metavar="MACHINE")
_kernel = click.option(
    "--kernel",
    metavar="V",
    help="The kernel that it runs: 6.1, 6.12 (default) or 7.2, witnessed; 3.13 or 5.5, from source, not witnessed.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")


@cli.command(short_help="List the built-in machines.", epilog="Example: raplica machines --json")
@_json
def machines(*, as_json: bool) -> None:
    """List the built-in machines: CPU, domains, the kernels that drive them, and those recorded on such a machine."""
    from raplica_fixtures import profile_ids
    from raplica_simulator.describe import summarize
    from raplica_simulator.describe_text import render_machines

    found = [summarize(_make(name, None)) for name in profile_ids()]
    if as_json:
        _print_json(found)
    else:
        click.echo(render_machines(found))


@cli.command(
    cls=_MachineCommand, short_help="Show one machine.", epilog="Example: raplica show skylake-sp-2s --kernel 6.1"
)
@_machine
@_kernel
@_json
def show(machine: str, kernel: str | None, *, as_json: bool) -> None:
    """Show one machine: CPU, zones with their limits, registers and where their values come from."""
    from raplica_simulator.describe import describe
    from raplica_simulator.describe_text import render_machine

    document = describe(_make(machine, kernel))
    if as_json:
        _print_json(document)
    else:
        click.echo(render_machine(document))


@cli.command(
    cls=_MachineCommand,
    short_help="Write a machine's /sys to a folder or an archive.",
    epilog="""
\b
Examples: raplica generate skylake-sp-2s DIR --at 12.5
          raplica generate kabylake - --format tar | tar -x -C DIR
""",
)
@_machine
@click.argument("out")
@click.option(
    "--at", metavar="SECONDS", default="0", show_default=True, help="The moment, in seconds since power-on, like 12.5."
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["tree", "tar"]),
    default="tree",
    show_default=True,
    help="A folder, or one file (- for stdout).",
)
@click.option("--force", is_flag=True, help="Replace files in an OUT that is not empty; nothing else is deleted.")
@_kernel
def generate(machine: str, out: str, at: str, kind: str, kernel: str | None, *, force: bool) -> None:
    """Write what a machine's /sys shows at one moment to OUT: a snapshot, which stands still.

    OUT becomes the root of a /sys: OUT/class/powercap and OUT/devices/virtual/powercap, with the kernel's links and
    modes. An attribute whose read fails is written empty; one line on stderr counts them. OUT is never /, or in /sys,
    /proc or /dev.
    """
    from raplica_simulator.generate import generate as write
    from raplica_simulator.live_options import read_seconds

    if kind == "tree" and out == "-":
        raise click.UsageError("OUT is -, and a folder cannot go to stdout: name a folder, or say --format tar")
    try:
        at_s = read_seconds("--at", at)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    simulated = _make(machine, kernel)
    try:
        lines = write(simulated, at_s, out, tar=kind == "tar", force=force)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        raise click.ClickException(f"{out} could not be written: {error.strerror}; name another place") from None
    for line in lines:
        _tell(f"raplica: {line}")


@cli.command(
    cls=_MachineCommand,
    short_help="Show a machine live, as a mounted file system.",
    epilog="""
\b
Examples: raplica mount skylake-sp-2s DIR --load package=100,dram=8
          raplica mount kabylake DIR --load host --start-near-wrap 30
""",
)
@_machine
@click.argument("directory", metavar="DIR")
@click.option("--load", metavar="SPEC", help="package=100,dram=8 (watts, in every package), a trace.csv, or host.")
@click.option("--speed", metavar="X", default="1", show_default=True, help="Seconds of the machine in one of the host.")
@click.option("--at", metavar="SECONDS", default="0", show_default=True, help="How long it has run already.")
@click.option(
    "--start-near-wrap", "near_wrap", metavar="SECONDS", help="Let every energy counter wrap that much later."
)
@click.option("--allow-other", is_flag=True, help="Show it to other users too, with the modes that the files have.")
@_kernel
def mount(
    machine: str,
    directory: str,
    load: str | None,
    speed: str,
    at: str,
    near_wrap: str | None,
    kernel: str | None,
    *,
    allow_other: bool,
) -> None:
    """Show a machine live: DIR/sys and DIR/dev/cpu/N/msr, with counters that move and limits that can be written.

    DIR is an empty folder, or is made. Prints "ready" when it answers; Ctrl-C or SIGTERM unmounts it, and so does a
    process beside if this one is killed. Needs /dev/fuse, and root or fusermount3.
    """
    from raplica_simulator.live_options import start_live
    from raplica_simulator.mount import CannotMount, show

    try:
        show(
            start_live(machine, kernel, load=load, speed=speed, at=at, near_wrap=near_wrap),
            directory,
            allow_other=allow_other,
            ready=lambda: click.echo("ready"),
            tell=lambda line: _tell(f"raplica: {line}"),
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    except CannotMount as error:
        raise click.ClickException(str(error)) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        raise click.ClickException(f"{directory}: {error.strerror}; name another place") from None


@cli.command(
    short_help="Say what a register's value means.",
    epilog="""
\b
Examples: raplica decode 0x610 0x00428440001B83E8 --unit 0xA0E03
          raplica decode MSR_DRAM_ENERGY_STATUS 0x20000777 --cpu 6:85 --json
""",
)
@click.argument("register")
@click.argument("value")
@click.option("--unit", metavar="RAW", help="What the unit register reads; default what it usually reads on the CPU.")
@click.option("--cpu", metavar="FAMILY:MODEL", help="Whose register it is, decimal or with 0x, such as 6:85.")
@_json
def decode(register: str, value: str, unit: str | None, cpu: str | None, *, as_json: bool) -> None:
    """Say what the VALUE of a REGISTER (address or name) means: by the manual, and as Linux shows it."""
    from raplica_simulator.decode import decode as decode_register
    from raplica_simulator.decode import render

    try:
        decoded = decode_register(register, value, unit=unit, cpu=cpu)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if as_json:
        _print_json(decoded)
    else:
        click.echo(render(decoded))


@cli.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    add_help_option=False,
    short_help="Judge trees and readers.",
    epilog="Example: raplica conformance run --machine skylake-sp-2s",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def conformance(arguments: tuple[str, ...]) -> None:
    """Judge trees and readers: the command conformance under another name."""
    # Looked up as a command, and not imported: the simulator does not know the suite, which knows the simulator.
    from importlib.metadata import entry_points

    for command in entry_points(group="console_scripts", name="conformance"):
        if command.value.startswith("raplica_conformance."):
            command.load()(list(arguments))
            return
    raise click.ClickException("the conformance suite is not installed here: install the distribution raplica whole")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and exit; a mistake in usage is one line on stderr, not click's four."""
    status = 0
    try:
        # A name out of a profile may not be in the terminal's encoding.
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="backslashreplace")
        status = cli.main(arguments, prog_name="raplica", standalone_mode=False) or 0
        if sys.stdout is not None:
            sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        status = error.exit_code
    except click.ClickException as error:
        where = getattr(getattr(error, "ctx", None), "command_path", "raplica")
        hint = f" (see {where} --help)" if isinstance(error, click.UsageError) else ""
        _tell(f"{where}: {' '.join(error.format_message().splitlines())}{hint}")
        status = error.exit_code
    except click.Abort:
        status = 130
    except BrokenPipeError:
        _give_up_stdout()
        status = 141
    except OSError as error:
        _give_up_stdout()
        _tell(f"raplica: {f'{error.filename}: ' if error.filename else ''}{error.strerror or error}")
        status = 1
    sys.exit(status)


def _make(name: str, kernel: str | None) -> "Machine":
    """Make the machine; a wrong profile or kernel is wrong usage."""
    from raplica_simulator.machine import Machine

    if kernel == "":
        raise click.UsageError("--kernel is empty: leave it out or name one, such as 6.12")
    try:
        return Machine.from_profile(name, kernel=kernel)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _print_json(document: Any) -> None:
    import json

    click.echo(json.dumps(document, indent=2))


def _tell(message: str) -> None:
    """One line on stderr, whatever is in the message."""
    line = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in message)
    click.echo(line, err=True)


def _give_up_stdout() -> None:
    """Nothing more can be written there, not even by the interpreter's last flush."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except OSError:
        return


if __name__ == "__main__":
    main()
