# SPDX-License-Identifier: Apache-2.0
"""What is imported when: the command starts lean, and what judges real trees needs nothing of ours but the fixtures."""

import subprocess
import sys

import pytest

import raplica_conformance


def imported_by(script: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after a script, less those it begins with."""
    begin = "import sys; begun = set(sys.modules)"
    show = "print(*{name.partition('.')[0] for name in set(sys.modules) - begun}, file=sys.stderr)"
    ran = subprocess.run(
        [sys.executable, "-c", f"{begin}\n{script}\n{show}"], capture_output=True, text=True, check=True
    )
    return set(ran.stderr.split())


HELP = """
from raplica_conformance.cli import main
try:
    main({arguments})
except SystemExit:
    pass
"""


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["list"], ["explain", "reader.energy.wrap"]])
def test_what_judges_nothing_loads_nothing_heavy(arguments: list[str]) -> None:
    loaded = imported_by(HELP.format(arguments=arguments))
    assert "click" in loaded
    heavy = {"rich", "msgspec", "jinja2", "pytest", "_pytest", "raplica_simulator", "raplica_reader"}
    assert not loaded & heavy


@pytest.mark.parametrize(
    "module",
    [
        *("judge", "loop", "plain", "verdicts", "clause", "reports"),
        *("subjects.tree", "subjects.real", "subjects.recording", "subjects.guarded"),
    ],
)
def test_what_judges_real_and_written_trees_needs_the_standard_library_and_the_fixtures(module: str) -> None:
    script = f"import importlib, raplica_conformance; importlib.import_module('raplica_conformance.{module}')"
    outside = imported_by(f"{script}; raplica_conformance.load_clauses()") - sys.stdlib_module_names
    # A development install hooks itself in under a name that begins with an underscore.
    assert {name for name in outside if not name.startswith("_")} <= {"raplica_conformance", "raplica_fixtures"}


def test_one_module_imports_the_simulator() -> None:
    for module in ("subjects.tree", "subjects.real", "subjects.recording", "gather", "running", "host_pytest"):
        loaded = imported_by(f"import raplica_conformance.{module}")
        assert "raplica_simulator" not in loaded


def test_the_package_exports_exactly_what_is_promised() -> None:
    assert raplica_conformance.__all__ == sorted(raplica_conformance.__all__)
    assert all(hasattr(raplica_conformance, name) for name in raplica_conformance.__all__)
    assert {"judge", "clause", "expect", "Provider", "Verdict", "load_clauses"} <= set(raplica_conformance.__all__)
