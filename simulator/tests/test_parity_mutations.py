# SPDX-License-Identifier: Apache-2.0
"""Parity has teeth: a simulator that is wrong in a single line differs from a recorded kernel.

Each mutation replaces one text that stands in one line of one module by another, in a copy of the package, and the
recording named beside it is played on that copy in a process of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

import raplica_simulator
from raplica_fixtures import recordings_dir

PACKAGE = Path(raplica_simulator.__file__).parent
PLAY = """
import json, sys
from raplica_fixtures.recording import load_recording
from raplica_simulator import load_profile
from raplica_simulator.replay.player import replay
path = sys.argv[1]
print(json.dumps([str(found)[:300] for found in replay(load_recording(path), load_profile(path)).differences]))
"""


@dataclass(frozen=True)
class Mutation:
    """`old` stands exactly once in `file` and becomes `new`; `recording` is one that must then differ."""

    file: str
    old: str
    new: str
    rule: str
    recording: str


MUTATIONS = [
    Mutation(**row)
    for row in tomllib.loads((Path(__file__).parent / "mutations.toml").read_text(encoding="utf-8"))["mutation"]
]


def test_there_are_twenty_mutations_of_different_lines() -> None:
    assert len({(mutation.file, mutation.old) for mutation in MUTATIONS}) >= 20


def differences(root: Path, recording: str) -> list[str]:
    """What replaying a recording on the package below `root` finds; fails where the replay itself breaks."""
    path = recordings_dir() / f"{recording}.json.xz"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *sys.path]), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", PLAY, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


@pytest.mark.slow
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.rule.replace(" ", "-"))
def test_a_simulator_wrong_in_one_line_differs_from_the_recorded_kernel(mutation: Mutation, tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / PACKAGE.name)  # bytecode as well: one module is compiled anew
    mutated = tmp_path / PACKAGE.name / mutation.file
    text = mutated.read_text(encoding="utf-8")
    assert text.count(mutation.old) == 1, f"{mutation.old!r} does not stand exactly once in {mutation.file}"
    assert "\n" not in mutation.old
    mutated.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
    assert differences(tmp_path, mutation.recording)


@pytest.mark.slow
def test_an_unchanged_copy_does_not_differ(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / PACKAGE.name)  # bytecode as well: one module is compiled anew
    assert differences(tmp_path, "skx_2s-6.12") == []
