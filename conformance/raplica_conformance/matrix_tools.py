# SPDX-License-Identifier: Apache-2.0
"""The tools of the matrix: what each is, what it speaks of, how exact it can be, and whether it is here.

A tool is judged by what it claims. One that speaks of packages and memory alone is not wrong where it says nothing of
cores; one that shows watts is not wrong by a part in fifty, which is what its watts and a clock beside it can give.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any, NamedTuple

from raplica_conformance.readers.adapter import adapter_ids, find_adapter
from raplica_conformance.readers.tools.__main__ import python_with
from raplica_conformance.verdicts import quoted

__all__ = ["EVERYTHING", "QUICK", "TOOLS", "Tool", "tools_named"]

#: Where rdmsr is, also for who is not root.
_SYSTEM_PATHS = "/usr/local/sbin:/usr/sbin:/sbin"
_ASK_S = 20

#: The kinds of domains, by the last name of their path, that a tool can speak of.
EVERYTHING = frozenset({"package", "dram", "core", "uncore", "psys", "total", "other"})

#: The cases of a quick run: what the tools of the world differ in, one case each.
QUICK = (
    "topology/every-zone",
    "topology/all-sockets",
    "topology/total-of-packages-and-memory",
    "topology/numbers-swapped",
    "topology/number-missing",
    "topology/hexadecimal-numbers",
    "topology/dies-by-name",
    "topology/dies-add-up",
    "topology/psys-takes-a-number",
    "topology/mmio-twin-by-name",
    "topology/mmio-twin-once",
    "arithmetic/one-wrap",
    "arithmetic/wrap-in-the-first-interval",
    "errors/eacces",
    "errors/enodata",
    "errors/one-read-fails",
    "errors/one-zone-refused",
    "units/dram-15-uj-skylake-sp",
    "interfaces/msr-both-sockets",
    "interfaces/msr-every-domain",
)


@dataclass(frozen=True, slots=True)
class Tool:
    """One row of the matrix.

    Attributes:
        name: its adapter: a built-in one, or the path of a file.
        title: what a person calls it.
        program: what has to be in PATH; "" for a Python package.
        package: the Python package that has to be there; "" for a program.
        distribution: the Debian package of a program, or the name at PyPI of a package; "" where there is none.
        home: where a tool is to be had that is no package.
        driver: the driver that knows whether it is here, and which version; "" where a look into PATH is enough.
        version: the arguments that make a program print its version.
        is_tried: whether its adapter has met the tool, and not its documentation alone.
        speaks_of: the kinds of domains that it knows, of EVERYTHING.
        total_is: the kinds of domains whose sum it calls the whole.
        within: how far off, as a part of what was spent, its numbers may be because it shows no energies.
        shortest_s: the shortest window that it can be asked about, by its own period.
    """

    name: str
    title: str
    program: str = ""
    package: str = ""
    distribution: str = ""
    home: str = ""
    driver: str = ""
    version: tuple[str, ...] = ("--version",)
    is_tried: bool = True
    speaks_of: frozenset[str] = EVERYTHING
    total_is: frozenset[str] = frozenset({"package", "dram"})
    within: Fraction = Fraction(0)
    shortest_s: int = 0

    @property
    def missing(self) -> str:
        """Why it cannot be run, and what to do; "" where it can."""
        if self.driver:
            return _asked(self.driver).missing
        if self.program and shutil.which(self.program, path=_paths()) is None:
            if self.distribution:
                return f"{self.program} is not installed: apt-get install {self.distribution}"
            return f"{self.program} is not installed, and Debian has no package of it: {self.home}{self.caveat}"
        if self.package and python_with(self.package) is None:
            return (
                f"{self.package} is not installed: pip install {self.distribution}, "
                "and name that Python in RAPLICA_TOOLS_PYTHON"
            )
        return ""

    @property
    def caveat(self) -> str:
        """What to know of verdicts on it; "" where there is nothing."""
        return "" if self.is_tried else "; the adapter is written from its documentation and has never met the program"

    def again(self, case: str) -> str:
        """The command that judges it on a case again: one line for a shell."""
        python = os.environ.get("RAPLICA_TOOLS_PYTHON") if self.package else None
        given = f"RAPLICA_TOOLS_PYTHON={quoted(python)} " if python else ""
        return given + " ".join(map(quoted, ("conformance", "matrix", self.name, "--case", case)))

    def version_here(self) -> str:
        """The version that is installed; "" for what belongs to this project, or does not say."""
        if self.driver:
            return _asked(self.driver).version
        if self.package:
            python = python_with(self.package)
            code = f"from importlib.metadata import version; print(version({self.distribution!r}))"
            return _first_number([python or "python3", "-c", code])
        if self.program:
            return _first_number([self.program, *self.version]) or _of_debian(self.distribution)
        return ""

    @property
    def is_timed(self) -> bool:
        """Whether it takes real seconds."""
        return find_adapter(self.name).kind == "timed"

    def as_json(self) -> dict[str, Any]:
        """What a process that judges has to know."""
        return {
            "name": self.name,
            "title": self.title,
            "speaks_of": sorted(self.speaks_of),
            "total_is": sorted(self.total_is),
            "within": str(self.within),
            "shortest_s": self.shortest_s,
            "package": self.package,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Tool":
        """What `as_json` gave."""
        return cls(
            name=document["name"],
            title=document["title"],
            speaks_of=frozenset(document["speaks_of"]),
            total_is=frozenset(document["total_is"]),
            within=Fraction(document["within"]),
            shortest_s=document["shortest_s"],
            package=document["package"],
        )


_WHOLE = frozenset({"total"})
_PACKAGES = frozenset({"package"})
_AND_MEMORY = _PACKAGES | {"dram"}
_AND_PLANES = _AND_MEMORY | {"core", "uncore"}
_FIFTIETH = Fraction(1, 50)
#: Of watts that come twice a second, so many seconds are eight: fewer say more of their period than of the tool.
_PERIODS_S = 4

TOOLS = (
    Tool("raplica-reader-stepped", "raplica-reader"),
    Tool("raplica-reader-read", "raplica-reader read"),
    Tool(
        "node-exporter",
        "prometheus-node-exporter",
        program="prometheus-node-exporter",
        distribution="prometheus-node-exporter",
    ),
    Tool(
        "codecarbon",
        "codecarbon",
        package="codecarbon",
        distribution="codecarbon",
        speaks_of=_WHOLE,
        total_is=_PACKAGES,
        # Its microjoule is 2.77778e-13 kWh, which is 0.8 ppm too much.
        within=Fraction(1, 1_000_000),
    ),
    Tool(
        "pyjoules",
        "pyJoules",
        package="pyJoules",
        distribution="pyJoules",
        speaks_of=_AND_PLANES,
    ),
    Tool("pyrapl", "pyRAPL", package="pyRAPL", distribution="pyRAPL", speaks_of=_AND_MEMORY),
    Tool(
        "perun",
        "perun monitor",
        package="perun",
        distribution="perun",
        speaks_of=_WHOLE,
        within=_FIFTIETH,
        shortest_s=_PERIODS_S,
    ),
    Tool("s-tui", "s-tui", program="s-tui", distribution="s-tui", within=_FIFTIETH, shortest_s=_PERIODS_S),
    Tool(
        "powerstat",
        "powerstat -R",
        program="powerstat",
        distribution="powerstat",
        version=("-h",),
        speaks_of=_WHOLE,
        total_is=_PACKAGES,
        within=_FIFTIETH,
        shortest_s=_PERIODS_S,
    ),
    Tool("powercap-info", "powercap-info", program="powercap-info", distribution="powercap-utils", version=("-h",)),
    Tool(
        "rdmsr",
        "rdmsr in a script",
        program="rdmsr",
        distribution="msr-tools",
        speaks_of=_AND_PLANES,
    ),
    Tool("papi", "PAPI powercap", driver="papi", speaks_of=_AND_PLANES),
    Tool("papi-rapl", "PAPI rapl", driver="papi", speaks_of=_AND_PLANES | {"psys"}),
    Tool(
        "scaphandre",
        "scaphandre",
        program="scaphandre",
        home="https://github.com/hubblo-org/scaphandre",
        is_tried=False,
    ),
    Tool(
        "kepler",
        "Kepler",
        program="kepler",
        home="https://github.com/sustainable-computing-io/kepler",
        speaks_of=_WHOLE,
        is_tried=False,
    ),
    Tool(
        "alumet",
        "Alumet",
        program="alumet-agent",
        home="https://github.com/alumet-dev/alumet",
        speaks_of=_WHOLE,
        is_tried=False,
    ),
)


def tools_named(names: tuple[str, ...]) -> tuple[Tool, ...]:
    """The tools of some names, all where there are none; a reader that is no tool here is one that claims everything.

    AdapterError in one line for a name that is neither.
    """
    known = {tool.name: tool for tool in TOOLS}
    found = []
    for name in names or known:
        if name not in known:
            adapter = find_adapter(name)
            adapter.plug().close()
            known[name] = Tool(name, adapter.name if name not in adapter_ids() else name)
        found.append(known[name])
    return tuple(dict.fromkeys(found))


def _paths() -> str:
    return f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM_PATHS}"


def _first_number(command: list[str]) -> str:
    """The first version in what a command prints."""
    try:
        done = subprocess.run(  # noqa: S603 - the tool that is to be judged
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            check=False,
            timeout=_ASK_S,
            env={**os.environ, "PATH": _paths()},
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"(?<![\w.])\d+(?:\.\d+)+", done.stdout)
    return found[0] if found else ""


class _Here(NamedTuple):
    """What a driver says of its tool: its version, or why it cannot be run."""

    version: str
    missing: str


@cache
def _asked(driver: str) -> _Here:
    """Ask a driver, in a process of its own, since it may load what the tool is made of."""
    words = [sys.executable, "-m", f"raplica_conformance.readers.tools.{driver}", "--version"]
    try:
        done = subprocess.run(words, capture_output=True, stdin=subprocess.DEVNULL, check=False, timeout=_ASK_S)  # noqa: S603 - a module of this package
    except (OSError, subprocess.TimeoutExpired) as error:
        return _Here("", f"{driver} cannot be asked for its version: {error}")
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        return _Here("", lines[-1] if lines else f"{driver} ended with status {done.returncode}")
    return _Here(done.stdout.decode().strip(), "")


def _of_debian(package: str) -> str:
    """The version of a Debian package, for programs that do not tell theirs."""
    return _first_number(["dpkg-query", "--show", "--showformat=${Version}", package]) if package else ""
