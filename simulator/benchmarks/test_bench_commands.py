# SPDX-License-Identifier: Apache-2.0
"""Whole commands as a shell starts them: `raplica generate` beside `cp -a`, `raplica --help` beside an empty group."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

EMPTY_GROUP = '''
import click
@click.group()
def main():
    """Do nothing."""
@main.command()
def nothing():
    """Do nothing at all."""
'''


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
    compare: Callable[..., None], started: Callable[..., Callable[[], object]], tmp_path: Path
) -> None:
    (tmp_path / "empty_group.py").write_text(EMPTY_GROUP)
    compare(
        *("raplica --help", started("raplica_simulator.cli", "--help")),
        *("an empty click group's --help", started("empty_group", "--help")),
        aim="below 1.3",
        rounds=25,
    )
