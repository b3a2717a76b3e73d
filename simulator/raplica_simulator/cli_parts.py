# SPDX-License-Identifier: Apache-2.0
"""What the commands of `raplica` have in common: their arguments, and how they say things.

Nothing heavier than click is imported before a command needs it: `raplica --help` has to come at once.
"""

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from raplica_simulator.machine import Machine

__all__ = ["MachineCommand", "json_option", "kernel_option", "machine_argument", "make", "print_json", "tell"]


class MachineCommand(click.Command):
    """A command that takes a MACHINE: its help says which there are."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What a MACHINE can be, before the examples."""
        from raplica_fixtures import profile_ids

        formatter.write("\nMACHINE is a profile (.toml), a recording (.json, .json.xz) or a built-in id:\n")
        ids = profile_ids()
        # Ids have hyphens, at which a formatter would break them.
        for first in range(0, len(ids), 4):
            formatter.write(f"  {' '.join(ids[first : first + 4])}\n")
        super().format_epilog(ctx, formatter)


machine_argument = click.argument("machine", metavar="MACHINE")
kernel_option = click.option(
    "--kernel",
    metavar="V",
    help="The kernel that it runs: 6.1, 6.12 (default) or 7.2, witnessed; 3.13 or 5.5, from source, not witnessed.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")


def make(name: str, kernel: str | None) -> "Machine":
    """Make the machine; a wrong profile or kernel is wrong usage."""
    from raplica_simulator.machine import Machine

    if kernel == "":
        raise click.UsageError("--kernel is empty: leave it out or name one, such as 6.12")
    try:
        return Machine.from_profile(name, kernel=kernel)
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
