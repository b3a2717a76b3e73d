# SPDX-License-Identifier: Apache-2.0
"""The command `raplica`: list machines, show one, decode a register; cli_generate and cli_live have more of it.

Nothing heavier than click is imported before a command needs it: `raplica --help` has to come at once.  An error is
one line on stderr that says what is wrong and what to do.  Exit status: 0 done, 1 it could not be done, 2 it was asked
for wrongly (usage, a wrong profile, a refused place), 130 interrupted, 141 nobody reads the output any more.
"""

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import click

from raplica_simulator.cli_generate import generate
from raplica_simulator.cli_live import ctl, doctor, execute, mount
from raplica_simulator.cli_parts import (
    MachineCommand,
    is_terminal,
    json_option,
    kernel_option,
    machine_argument,
    make,
    make_mac,
    print_json,
    tell,
)
from raplica_simulator.cli_power_log import power_log
from raplica_simulator.cli_windows import serve_windows

__all__ = ["cli", "main"]

_HELP = {"help_option_names": ["-h", "--help"]}


class _Group(click.Group):
    """The command as a whole: how it ends when it is not let go on."""

    def invoke(self, ctx: click.Context) -> Any:
        # Left to click, the one prints an empty line as well and the other hides among the failures.
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            tell("raplica: interrupted")
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


@click.group(
    cls=_Group,
    context_settings=_HELP,
    epilog="""
\b
Examples: raplica machines
          raplica exec skylake-sp-2s -- cat /sys/class/powercap/intel-rapl:0/energy_uj
          raplica generate skylake-sp-2s DIR
""",
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
def cli() -> None:
    """Simulate machines that meter and cap their own power."""


for _command in (generate, mount, execute, ctl, doctor, serve_windows, power_log):
    cli.add_command(_command)


@cli.command(short_help="List the built-in machines.", epilog="Example: raplica machines --json")
@json_option
def machines(*, as_json: bool) -> None:
    """List the built-in machines: CPU, domains, the kernels that drive them, and those recorded on such a machine."""
    from raplica_fixtures import profile_ids
    from raplica_simulator.describe.document import summarize

    found = [summarize(make(name, None)) for name in profile_ids()]
    if as_json:
        print_json(found)
    elif is_terminal(sys.stdout):
        from raplica_simulator.describe.table import show_machines

        show_machines(found)
    else:
        from raplica_simulator.describe.text import render_machines

        click.echo(render_machines(found))


@cli.command(
    cls=MachineCommand, short_help="Show one machine.", epilog="Example: raplica show skylake-sp-2s --kernel 6.1"
)
@machine_argument
@kernel_option
@json_option
def show(machine: str, kernel: str | None, *, as_json: bool) -> None:
    """Show one machine: CPU, zones with their limits, registers and where their values come from; or a Mac."""
    from raplica_simulator.describe.document import describe
    from raplica_simulator.describe.text import render_machine

    render: Callable[[dict[str, Any]], str] = render_machine
    if mac := make_mac(machine):
        from raplica_simulator.describe.mac import describe_mac, render_mac

        if kernel is not None:
            raise click.UsageError(f"{machine} is a Mac, which runs no Linux: leave --kernel out")
        document, render = describe_mac(*mac), render_mac
    else:
        document = describe(make(machine, kernel))
    if as_json:
        print_json(document)
    else:
        click.echo(render(document))


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
@json_option
def decode(register: str, value: str, unit: str | None, cpu: str | None, *, as_json: bool) -> None:
    """Say what the VALUE of a REGISTER (address or name) means: by the manual, and as Linux shows it."""
    from raplica_simulator.decode import decode as decode_register
    from raplica_simulator.decode import render

    try:
        decoded = decode_register(register, value, unit=unit, cpu=cpu)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if as_json:
        print_json(decoded)
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
        tell(f"{where}: {' '.join(error.format_message().splitlines())}{hint}")
        status = error.exit_code
    except click.Abort:
        status = 130
    except BrokenPipeError:
        _give_up_stdout()
        status = 141
    except OSError as error:
        _give_up_stdout()
        tell(f"raplica: {f'{error.filename}: ' if error.filename else ''}{error.strerror or error}")
        status = 1
    sys.exit(status)


def _give_up_stdout() -> None:
    """Nothing more can be written there, not even by the interpreter's last flush."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except OSError:
        return


if __name__ == "__main__":
    main()
