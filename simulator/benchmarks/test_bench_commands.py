# SPDX-License-Identifier: Apache-2.0
"""Whole commands as a shell starts them: `raplica generate` beside `cp -a`, `raplica --help` beside an empty group."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

EMPTY_GROUP = '''
import click
@click.group()
def main():
    """Do nothing."""
@main.command()
def nothing():
    """Do nothing at all."""
'''
# What an installer makes of an entry point.
START = "import sys\nfrom {module} import main\nsys.exit(main())\n"


@pytest.fixture
def started(tmp_path: Path) -> Callable[..., Callable[[], object]]:
    """Make functions that run a console script, with compiled modules kept as where a program is installed."""
    (tmp_path / "empty_group.py").write_text(EMPTY_GROUP)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(tmp_path / "compiled")

    def make(module: str, *arguments: object) -> Callable[[], object]:
        script = tmp_path / f"start_{module.partition('.')[0]}"
        script.write_text(START.format(module=module))
        line = [sys.executable, str(script), *map(str, arguments)]
        return lambda: subprocess.run(line, check=True, env=environment, capture_output=True)

    return make


def test_generating_a_thousand_zones_beside_copying_them(
    compare: Callable[..., None],
    started: Callable[..., Callable[[], object]],
    profiles: dict[str, Path],
    tmp_path: Path,
) -> None:
    source, out, copy = tmp_path / "source", tmp_path / "out", tmp_path / "copy"
    started("raplica_simulator.cli", "generate", profiles["1000 zones"], source)()

    def clear() -> None:
        shutil.rmtree(out, ignore_errors=True)
        shutil.rmtree(copy, ignore_errors=True)

    compare(
        *("raplica generate, 1000 zones", started("raplica_simulator.cli", "generate", profiles["1000 zones"], out)),
        *("cp -a of the result", lambda: subprocess.run(["cp", "-a", str(source), str(copy)], check=True)),
        aim="below 3",
        rounds=5,
        prepare=clear,
    )


def test_help_beside_that_of_an_empty_group(
    compare: Callable[..., None], started: Callable[..., Callable[[], object]]
) -> None:
    compare(
        *("raplica --help", started("raplica_simulator.cli", "--help")),
        *("an empty click group's --help", started("empty_group", "--help")),
        aim="below 1.3",
        rounds=25,
    )
