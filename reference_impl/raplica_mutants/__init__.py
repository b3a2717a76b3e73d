# SPDX-License-Identifier: Apache-2.0
"""Readers that are wrong on purpose, each in one way that has been published: they prove that the suite has teeth.

Each is the reference reader with one part replaced, and says which cases it fails. `conformance selftest` runs them all
and holds them to that: a case that no mutant fails might be one that no reader can fail.

    conformance run --reader raplica_mutants:wrap_ignored

`mutants()` is the table of them; an attribute of this package is the mutant of that name. `programs` are sources of
programs that are no readers at all: they crash, hang, print garbage or nothing, fork, or write without end.
"""

from raplica_mutants.program import PROGRAMS, Program
from raplica_mutants.right import Reading, Right, RightMsr, RightPerf, RightPowermetrics, RightWindows, Tree
from raplica_mutants.table import Mutant, mutants

__all__ = [
    "Mutant",
    "PROGRAMS",
    "Program",
    "Reading",
    "Right",
    "RightMsr",
    "RightPerf",
    "RightPowermetrics",
    "RightWindows",
    "Tree",
    "mutants",
]


def __getattr__(name: str) -> type[Right]:
    """Find the mutant of that name: what makes the reader, of a machine and its clock."""
    if name.startswith("_") or name not in mutants():
        raise AttributeError(f"raplica_mutants has no mutant {name!r}: mutants() has them all")
    return mutants()[name].open
