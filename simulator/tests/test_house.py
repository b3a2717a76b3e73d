# SPDX-License-Identifier: Apache-2.0
"""The house's own tools: finding Pythons, setting up .venv, small mistakes in files."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
HERE = sys.version_info[:2]
NAME = f"python{HERE[0]}.{HERE[1]}"


def script(name: str) -> ModuleType:
    """Load a script of .ci, which lies in no package."""
    spec = importlib.util.spec_from_file_location(f"house_{name}", ROOT / ".ci" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def program(path: Path, text: str) -> Path:
    """Write a shell script that can be started."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def set_up(checkout: Path, python: str) -> subprocess.CompletedProcess[str]:
    """Run .ci/venv of a checkout that has nothing else."""
    (checkout / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "venv", checkout / ".ci" / "venv")
    shutil.copy(ROOT / "pyproject.toml", checkout / "pyproject.toml")
    return subprocess.run(
        [checkout / ".ci" / "venv", "run", python],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_a_launcher_that_does_not_start_is_passed_over_for_an_interpreter_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "shims" / NAME, "echo 'no version is selected' >&2; exit 127")
    real = program(tmp_path / "manager" / "versions" / "9" / "bin" / NAME, f'exec {sys.executable} "$@"')
    monkeypatch.setenv("PATH", str(tmp_path / "shims"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "manager"))
    assert script("pythons").find([HERE]) == {HERE: real}


def test_an_interpreter_that_says_another_version_than_its_name_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pythons = script("pythons")
    program(tmp_path / "python3.99", f'exec {sys.executable} "$@"')
    monkeypatch.setenv("PATH", str(tmp_path))
    assert pythons.find([(3, 99)]) == {}


def test_what_was_selected_on_the_path_comes_before_what_lies_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    selected = program(tmp_path / "selected" / NAME, f'exec {sys.executable} "$@"')
    program(tmp_path / "manager" / "versions" / "9" / "bin" / NAME, f'exec {sys.executable} "$@"')
    monkeypatch.setenv("PATH", os.pathsep.join(["", str(tmp_path / "selected")]))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "manager"))
    assert script("pythons").find([HERE]) == {HERE: selected}


@pytest.mark.parametrize(
    ("python", "line"),
    [
        ("exit 127", "does not start: install python3"),
        # Each case answers as that interpreter would: the version, then whether a venv can be made.
        ("case $2 in *exit*) exit 1;; *write*) printf '/old/python3 is Python 3.9';; esac", "needs 3.11 or newer"),
        ("case $3 in *ensurepip*) exit 1;; esac", "install python3-venv"),
    ],
    ids=["no python", "an old python", "no ensurepip"],
)
def test_setting_up_says_in_one_line_what_is_missing(tmp_path: Path, python: str, line: str) -> None:
    done = set_up(tmp_path / "checkout", str(program(tmp_path / "python3", python)))
    assert done.returncode == 1
    assert line in done.stderr
    assert done.stderr.startswith("raplica: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "checkout" / ".venv").exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"# SPDX-License-Identifier: Apache-2.0\nx = 1 \n", "blank"),
        (b"# SPDX-License-Identifier: Apache-2.0\nx = 1\n\n", "empty line"),
        (b"# SPDX-License-Identifier: Apache-2.0\nx = 1", "line end"),
        (b"# SPDX-License-Identifier: Apache-2.0\n<<<<<<< HEAD\n", "merge mark"),
        (b"x = 1\n", "licence"),
        (b"# SPDX-License-Identifier: Apache-2.0\n" + b"#" * 500_000 + b"\n", "500"),
    ],
)
def test_small_mistakes_in_files_are_told(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "module.py"
    path.write_bytes(content)
    (line,) = script("files").mistakes(path)
    assert told in line


def test_a_clean_file_is_left_in_peace(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_bytes(b"# SPDX-License-Identifier: Apache-2.0\nx = 1\n")
    assert script("files").mistakes(path) == []
