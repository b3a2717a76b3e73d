# SPDX-License-Identifier: Apache-2.0
"""The command `raplica serve-windows`: a simulated Windows for programs in any language.

Nothing heavier than click is imported before the command needs it.
"""

import click

from raplica_simulator.cli_live import live_options, start_machine
from raplica_simulator.cli_parts import MachineCommand, machine_argument, quiet_option, tell

__all__ = ["serve_windows"]


class _ServeCommand(MachineCommand):
    """A command that runs drivers: its help says which there are."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The drivers, before the machines and the examples."""
        from raplica_simulator.serve.windows_drivers import DEFAULT_DRIVERS, DRIVERS

        formatter.write("\nNAME of a driver is a version of Scaphandre's, fixed (the newest without its defects), or\n")
        formatter.write("another door; without --driver " + " and ".join(DEFAULT_DRIVERS) + " run:\n")
        formatter.write(f"  {' '.join(DRIVERS)}\n")
        super().format_epilog(ctx, formatter)


@click.command(
    "serve-windows",
    cls=_ServeCommand,
    short_help="Answer Windows' calls (CreateFile, DeviceIoControl, services) at a socket.",
    epilog="""
\b
Examples: raplica serve-windows skylake-sp-2s door --load package=100
          raplica serve-windows kabylake door --driver v2-8 --driver pawnio --step --control orders
""",
)
@machine_argument
@click.argument("socket")
@click.option("--driver", "drivers", metavar="NAME", multiple=True, help="A driver that runs there; may be repeated.")
@click.option("--standard-user", is_flag=True, help="Clients are ordinary users, not administrators.")
@live_options
@quiet_option
def serve_windows(
    machine: str,
    socket: str,
    drivers: tuple[str, ...],
    kernel: str | None,
    control: str | None,
    *,
    standard_user: bool,
    step: bool,
    quiet: bool,
    **options: str | None,
) -> None:
    """Let programs in any language make Windows' calls on a machine that runs Windows, at the unix socket SOCKET.

    They send lines of JSON, a call and its answer at a time; a connection is a process. Prints "ready" when it
    answers; Ctrl-C or SIGTERM ends it and takes the socket away.
    """
    from raplica_simulator.serve.windows import serve_windows as serve
    from raplica_simulator.serve.windows_drivers import DEFAULT_DRIVERS

    live = start_machine(machine, kernel, **options)

    def ready() -> None:
        click.echo("ready")
        if not quiet:
            tell(f"raplica: Windows on {live.machine.profile.id} answers at {socket} until Ctrl-C or SIGTERM")

    try:
        serve(
            live,
            socket,
            drivers=drivers or DEFAULT_DRIVERS,
            administrator=not standard_user,
            control=control,
            step=step,
            ready=ready,
            tell=lambda line: tell(f"raplica: {line}"),
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        from raplica_simulator.surfaces.obstacles import start_refused

        raise click.ClickException(start_refused(error)) from None
