# SPDX-License-Identifier: Apache-2.0
"""What `python3 raplica.pyz` starts: the commands of `conformance` and `raplica-reader` in one file.

It becomes the archive's `__main__.py` (see bundle.py), and nothing in the archive needs more than the standard library.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - a copied file has no installer that would refuse
    sys.exit("raplica.pyz: needs Python 3.11 or newer; this is %d.%d" % sys.version_info[:2])  # noqa: UP031

from collections.abc import Sequence

from raplica_reader import __version__

PROGRAM = "raplica.pyz"
READER = ("read", "watch")

HELP = f"""\
usage: {PROGRAM} COMMAND ...

Judge and read the power meters of this machine: one file, which needs python3 (3.11 or newer) and nothing else.

what `conformance` does:
  run        judge this machine, a tree or a recording, clause by clause
  list       every clause: id, level and title
  explain    what one clause checks, and where the rule comes from
  restore    put back what a killed run left
  record     this machine's tree and registers as one file
what `raplica-reader` does:
  read       joules and watts of every zone
  watch      watts as they happen
  reader     the whole command, such as `reader list --why`

examples:
  sudo python3 {PROGRAM} run --real
  sudo python3 {PROGRAM} run --real --report $(hostname).json
  sudo python3 {PROGRAM} read --count 10 --json
  python3 -I -S {PROGRAM} run --tree DIR    without anything that the environment or site-packages add

`{PROGRAM} COMMAND --help` tells more. Exit status: that of the command of the same name.
"""


def main(arguments: Sequence[str]) -> int:
    """Do what the arguments ask for; the exit status is that of the command that does it."""
    command = arguments[0] if arguments else ""
    if command in {"", "-h", "--help"}:
        (sys.stdout if command else sys.stderr).write(HELP)
        return 0 if command else 2
    if command in {"reader", *READER}:
        from raplica_reader.cli import main as read

        return read(arguments[1:] if command == "reader" else arguments)
    from raplica_conformance.plain import main as judge

    return judge(arguments, program=PROGRAM, version=__version__)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
