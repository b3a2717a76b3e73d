# SPDX-License-Identifier: Apache-2.0
"""What the commands of `raplica` have in common: their arguments, and how they say things.

Nothing heavier than click is imported before a command needs it: `raplica --help` has to come at once.
"""

import os
from typing import IO, TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from raplica_simulator.machine import Machine
    from raplica_simulator.macos.mac import Mac
    from raplica_simulator.profile.profile import Profile

__all__ = [
    "MachineCommand",
    "complete_machine",
    "is_terminal",
    "json_option",
    "kernel_option",
    "machine_argument",
    "make",
    "make_mac",
    "print_json",
    "quiet_option",
    "tell",
]


#: What to do where an argument is missing, by its name in the function.
_NEXT = {
    "machine": "Name one of `raplica machines`, or a file",
    "command": "Say what to run on it, behind two hyphens: -- ./the-tool",
}


class MachineCommand(click.Command):
    """A command that takes a MACHINE: its help says which there are."""

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        """As click does it; where an argument is missing, or an option unknown, the line says what to give."""
        try:
            return super().make_context(*arguments, **options)
        except click.MissingParameter as error:
            name = error.param.name if error.param is not None else None
            if name not in _NEXT:
                raise
            raise click.UsageError(f"{error.format_message()} {_NEXT[name]}", error.ctx) from None
        except click.NoSuchOption as error:
            if not self._takes("command"):
                raise
            message = f"{error.format_message()} If it is one of CMD, put -- before CMD"
            raise click.UsageError(message, error.ctx) from None

    def _takes(self, name: str) -> bool:
        return any(parameter.name == name for parameter in self.params)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What a MACHINE can be, before the examples."""
        from raplica_fixtures import profile_ids

        formatter.write("\nMACHINE is a profile (.toml), a recording (.json, .json.xz) or a built-in id:\n")
        ids = profile_ids()
        # Ids have hyphens, at which a formatter would break them.
        for first in range(0, len(ids), 4):
            formatter.write(f"  {' '.join(ids[first : first + 4])}\n")
        if self._takes("scenario"):
            formatter.write("With --scenario it may be -, the machine that the scenario names.\n")
        super().format_epilog(ctx, formatter)


def complete_machine(_ctx: click.Context, _parameter: click.Parameter, begun: str) -> "list[CompletionItem]":
    """What a shell offers for a MACHINE: the built-in ids that begin so, or else files."""
    from click.shell_completion import CompletionItem

    from raplica_fixtures import profile_ids

    ids = [CompletionItem(name) for name in profile_ids() if name.startswith(begun)]
    return ids or [CompletionItem(begun, type="file")]


machine_argument = click.argument("machine", metavar="MACHINE", shell_complete=complete_machine)
kernel_option = click.option(
    "--kernel",
    metavar="V",
    help="The kernel that it runs: 6.1, 6.12 (default) or 7.2, witnessed; 3.13 or 5.5, from source, not witnessed.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")


quiet_option = click.option("-q", "--quiet", is_flag=True, help="Say nothing on stderr but what is amiss.")


def is_terminal(stream: IO[str] | None) -> bool:
    """Whether somebody looks at the stream who can be shown more than plain lines."""
    return stream is not None and stream.isatty() and os.environ.get("TERM") not in {None, "", "dumb"}


def make(name: str, kernel: str | None) -> "Machine":
    """Make the machine; a wrong profile or kernel is wrong usage."""
    from raplica_simulator.machine import Machine

    if kernel == "":
        raise click.UsageError("--kernel is empty: leave it out or name one, such as 6.12")
    try:
        return Machine.from_profile(name, kernel=kernel)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def make_mac(name: str) -> "tuple[Profile, Mac] | None":
    """The machine and the Mac of that name or file, None where it is no Mac; a wrong file is wrong usage."""
    from raplica_simulator.macos.mac_files import read_mac

    try:
        return read_mac(name)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def print_json(document: Any) -> None:
    """Print one document, for programs."""
    import json

    click.echo(json.dumps(document, indent=2))


def tell(message: str) -> None:
    """One line on stderr, whatever is in the message."""
    line = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in message)
    click.echo(line, err=True)
