# SPDX-License-Identifier: Apache-2.0
"""The commands of `raplica` for machines that run: mount, exec, ctl, and doctor, which says what is possible here.

Nothing heavier than click is imported before a command needs it: `raplica --help` has to come at once.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import EAGAIN, EMFILE
from typing import TYPE_CHECKING, Any

import click

from raplica_simulator.cli_parts import (
    MachineCommand,
    json_option,
    kernel_option,
    machine_argument,
    make_mac,
    print_json,
    quiet_option,
    tell,
)

if TYPE_CHECKING:
    from raplica_simulator.live.machine import LiveMachine
    from raplica_simulator.macos.mac import Mac
    from raplica_simulator.profile.profile import Profile

__all__ = ["ctl", "doctor", "execute", "live_options", "mount", "start_machine"]

_EXEC_FAILED = 125  # as env(1), nice(1) and timeout(1) have it


def live_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say how a machine runs, in the order in which --help shows them."""
    options = (
        click.option(
            "--load",
            metavar="SPEC",
            help="package=100,dram=8 (watts, in every package), package=sine:20:100:60, package=ramp:20:100:60, "
            "a trace.csv, or host.",
        ),
        click.option(
            "--speed", metavar="X", default="1", show_default=True, help="Seconds of the machine in one of the host."
        ),
        click.option("--at", metavar="SECONDS", help="How long it has run already.  [default: 0, or the scenario's]"),
        click.option(
            "--start-near-wrap", "near_wrap", metavar="SECONDS", help="Let every energy counter wrap that much later."
        ),
        click.option(
            "--scenario", metavar="FILE", help="What happens to it: a scenario (.toml) or the id of a built-in one."
        ),
        click.option("--step", is_flag=True, help="Time moves only when it is told to, see raplica ctl."),
        click.option("--control", metavar="SOCKET", help="Take orders there, from raplica ctl."),
        kernel_option,
    )
    for option in reversed(options):
        command = option(command)
    return command


def start_machine(machine: "str | Profile", kernel: str | None, **options: Any) -> "LiveMachine":
    """The machine that the options describe; a mistake in them is wrong usage."""
    from raplica_simulator.live.options import start_live

    try:
        return start_live(machine, kernel, **options)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


@click.command(
    cls=MachineCommand,
    short_help="Show a machine live, as a mounted file system.",
    epilog="""
\b
Examples: raplica mount skylake-sp-2s DIR --load package=100,dram=8
          raplica mount kabylake DIR --load host --start-near-wrap 30
          raplica mount skylake-sp-2s DIR --scenario wrap --step --control door
""",
)
@machine_argument
@click.argument("directory", metavar="DIR")
@live_options
@click.option("--allow-other", is_flag=True, help="Show it to other users too, with the modes that the files have.")
@quiet_option
def mount(
    machine: str,
    directory: str,
    kernel: str | None,
    control: str | None,
    *,
    step: bool,
    allow_other: bool,
    quiet: bool,
    **options: str | None,
) -> None:
    """Show a machine live: DIR/sys and DIR/dev/cpu/N/msr, with counters that move and limits that can be written.

    DIR is an empty folder, or is made. Prints "ready" when it answers; Ctrl-C or SIGTERM unmounts it, and so does a
    process beside if this one is killed. Needs /dev/fuse, and root or fusermount3.
    """
    from raplica_simulator.mount import CannotMount, show

    live = start_machine(machine, kernel, **options)

    def ready() -> None:
        click.echo("ready")
        if not quiet:
            shown = f"{live.machine.profile.id} is live in {directory}/sys and {directory}/dev/cpu"
            tell(f"raplica: {shown} until Ctrl-C or SIGTERM")

    try:
        show(
            live,
            directory,
            allow_other=allow_other,
            control=control,
            step=step,
            ready=ready,
            tell=lambda line: tell(f"raplica: {line}"),
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    except CannotMount as error:
        raise click.ClickException(str(error)) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.errno in (EAGAIN, EMFILE):
            from raplica_simulator.surfaces.obstacles import start_refused

            raise click.ClickException(start_refused(error)) from None
        raise click.ClickException(f"{directory}: {error.strerror}; name another place") from None


def _start_as(system: str, machine: str, kernel: str | None, **options: Any) -> "tuple[LiveMachine, Mac | None]":
    """The machine, and what macOS knows of it where that is to run there."""
    found = make_mac(machine)
    if system != "macos":
        if found is not None:
            raise click.UsageError(f"{machine} is a Mac: say --as macos, or name a machine of `raplica machines`")
        return start_machine(machine, kernel, **options), None
    if found is not None:
        return start_machine(found[0], kernel, **options), found[1]

    from raplica_simulator.macos.mac_files import intel_mac

    live = start_machine(machine, kernel, **options)
    try:
        return live, intel_mac(live.machine.profile)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


class _Failed(click.ClickException):
    """What raplica itself could not do, when it was to run another command."""

    exit_code = _EXEC_FAILED


class _WrongUsage(click.UsageError):
    """How raplica itself was asked for wrongly, when it was to run another command."""

    exit_code = _EXEC_FAILED


@contextmanager
def _own_status() -> Iterator[None]:
    """Let what is wrong with raplica be told, by the exit status, from what the other command says."""
    try:
        yield
    except click.UsageError as error:
        raise _WrongUsage(error.format_message(), error.ctx) from None
    except click.ClickException as error:
        raise _Failed(error.format_message()) from None
    except (click.exceptions.Exit, click.Abort, OSError):
        raise
    except Exception:  # noqa: BLE001 - a mistake of ours: where it lies is of use to who mends it
        import traceback

        traceback.print_exc()
        raise click.exceptions.Exit(_EXEC_FAILED) from None


class _ExecCommand(MachineCommand):
    """A command that runs another."""

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        with _own_status():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        with _own_status():
            return super().invoke(ctx)


@click.command(
    "exec",
    cls=_ExecCommand,
    short_help="Run a command on a live machine.",
    epilog="""
\b
Examples: raplica exec skylake-sp-2s -- cat /sys/class/powercap/intel-rapl:0/energy_uj
          raplica exec kabylake --load package=15 --speed 60 -- ./the-tool --its-option
          raplica exec macbook-m1 --as macos -- powermetrics -i 1000 -n 3

\b
Exit status: that of CMD; 128+N where signal N ended it; 125 raplica failed, 126 CMD cannot be executed, 127 it was
not found.
""",
)
@machine_argument
@click.argument("command", metavar="CMD...", nargs=-1, required=True, type=click.UNPROCESSED)
@live_options
@click.option("--perf-files", is_flag=True, help="Show the files of perf's power PMU too; its counters are not there.")
@click.option("--unprivileged", is_flag=True, help="CMD keeps your user id and has no capabilities: no root there.")
@click.option(
    "--as",
    "system",
    type=click.Choice(["linux", "macos"]),
    default="linux",
    show_default=True,
    help="What runs on the machine; with macos MACHINE may be a Mac, and CMD finds powermetrics in PATH.",
)
def execute(
    machine: str,
    command: tuple[str, ...],
    kernel: str | None,
    control: str | None,
    *,
    step: bool,
    perf_files: bool,
    unprivileged: bool,
    system: str,
    **options: str | None,
) -> None:
    """Run CMD where /sys and /dev/cpu show a machine, live, and the rest of the system is as it was.

    CMD is any program, unmodified; put -- before it. The machine is in a private mount namespace: nobody else sees
    it, and nothing stays when CMD has ended. Without root it is root in a user namespace of its own.
    """
    from raplica_simulator.exec.command import CannotMount, run

    if system == "macos" and perf_files:
        raise click.UsageError("--perf-files are of Linux, and --as macos is not: leave one out")
    live, mac = _start_as(system, machine, kernel, **options)
    try:
        status = run(
            live,
            command,
            control=control,
            step=step,
            perf_files=perf_files,
            unprivileged=unprivileged,
            mac=mac,
            tell=lambda line: tell(f"raplica: {line}"),
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    except CannotMount as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        from raplica_simulator.surfaces.obstacles import start_refused

        raise click.ClickException(start_refused(error)) from None
    click.get_current_context().exit(status)


class _CtlCommand(click.Command):
    """A command that takes an order: its help says which there are."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The orders, before the examples."""
        from raplica_simulator.control.words import USAGE

        with formatter.section("Orders"):
            formatter.write_dl(list(USAGE.items()))
        super().format_epilog(ctx, formatter)


@click.command(
    cls=_CtlCommand,
    short_help="Give orders to a running mount or exec, and ask it.",
    context_settings={"ignore_unknown_options": True},
    epilog="""
\b
Examples: raplica ctl door advance 5
          raplica ctl door wrap package-0
          raplica ctl door inject class/powercap/intel-rapl:0/energy_uj read EIO
          raplica ctl door truth package-0 --json
""",
)
@click.argument("socket")
@click.argument("words", metavar="ORDER...", nargs=-1, required=True, type=click.UNPROCESSED)
@json_option
def ctl(socket: str, words: tuple[str, ...], *, as_json: bool) -> None:
    """Tell the machine behind SOCKET (--control of mount and exec) what to do, or ask it something."""
    import json

    from raplica_simulator.control.client import Refused, carry_out

    try:
        for result, lines in carry_out(socket, words):
            for line in [json.dumps(result)] if as_json else lines:
                click.echo(line)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    except Refused as error:
        raise click.ClickException(str(error)) from None


@click.command(short_help="Say what this machine allows, and how to allow it.", epilog="Example: raplica doctor --json")
@json_option
def doctor(*, as_json: bool) -> None:
    """Say whether a machine can be shown live here, by mount and by exec, and how to mend what is in the way.

    Exit status: 0 both can, 1 one of them cannot.
    """
    from raplica_simulator.doctor import examine

    findings = examine()
    if as_json:
        print_json([finding._asdict() for finding in findings])
    else:
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            mark = "ok" if finding.works else "--"
            fix = f": {finding.fix}" if finding.fix else ""
            click.echo(f"{mark}  {finding.name:{width}}  {finding.says}{fix}")
    # The last two sum up what the others are about.
    click.get_current_context().exit(0 if all(finding.works for finding in findings[-2:]) else 1)
