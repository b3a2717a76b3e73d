# SPDX-License-Identifier: Apache-2.0
"""Ask a tool of others on a mounted machine: `python -m raplica_conformance.readers.tools SYSFS DRIVER ARGUMENTS...`.

SYSFS is `MOUNT/sys`, or `--stepped` for a driver that is told when to look. DRIVER is the name of a file here. What is
written for a Python of its own says which package that has to have: RAPLICA_TOOLS_PYTHON names an interpreter, else it
is the one that runs this.
"""

import importlib.util
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from raplica_conformance.readers import placed

__all__ = ["main", "python_with"]

_HERE = Path(__file__).parent
_NOT_FOUND = 127


def main(arguments: Sequence[str]) -> int:
    """Become the driver of a tool; the exit status where that cannot be."""
    where, driver, *rest = arguments
    if driver == "rdmsr":
        return placed.main([where, "--", shutil.which("sh") or "/bin/sh", str(_HERE / "rdmsr.sh")])
    python = python_with(rest[0]) if driver in ("library", "perun") else sys.executable
    if python is None:
        sys.stderr.write(
            f"{rest[0]} is not installed: name a Python that has it in RAPLICA_TOOLS_PYTHON, "
            "like .tox/clients/bin/python\n"
        )
        return _NOT_FOUND
    if driver == "perun":
        rest[0] = str(Path(python).with_name("perun"))
    # PAPI is no package of a Python, and its driver is a module of this one.
    program = ["-m", f"{__package__}.papi"] if driver == "papi" else [str(_HERE / f"{driver}.py")]
    return placed.main([where, "--", python, "-W", "ignore", *program, *rest])


def python_with(package: str) -> str | None:
    """The interpreter that has a package; None where none is known that has."""
    given = os.environ.get("RAPLICA_TOOLS_PYTHON")
    if given and any(Path(given).parent.parent.glob(f"lib/python*/site-packages/{package}/__init__.py")):
        return str(Path(given).absolute())
    return sys.executable if importlib.util.find_spec(package) is not None else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
