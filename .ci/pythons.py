# SPDX-License-Identifier: Apache-2.0
"""Find every supported Python that this machine has, wherever it was put.

A search of PATH is not enough. Version managers keep their interpreters in folders of their own and put launchers
on PATH that fail unless that version is the selected one, so each candidate is started and asked what it is.
Run as a script, it prints one line for each version: the version and the interpreter. tox uses it through toxfile.py.
"""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

SUPPORTED = ((3, 11), (3, 12), (3, 13), (3, 14))

# Folders in which pyenv, asdf, mise, uv, python-build and hosted runners keep one folder for each version.
VERSION_FOLDERS = (
    "~/.pyenv/versions/*/bin",
    "~/.asdf/installs/python/*/bin",
    "~/.local/share/mise/installs/python/*/bin",
    "~/.local/share/uv/python/*/bin",
    "/opt/pyenv/versions/*/bin",
    "/opt/python/*/bin",
    "/opt/hostedtoolcache/Python/*/x64/bin",
    "/usr/local/bin",
    "/usr/bin",
)

ASK = """
import ensurepip, sys, sysconfig, venv
print(*sys.version_info[:2], sysconfig.get_config_var("Py_GIL_DISABLED") or 0)
"""


def folders() -> Iterator[Path]:
    """Folders that may hold interpreters: PATH first, since what a user selected comes before what is lying about."""
    for entry in os.environ.get("PATH", "").split(os.pathsep):
        if entry:
            yield Path(entry)
    roots = list(VERSION_FOLDERS)
    if "PYENV_ROOT" in os.environ:
        roots.insert(0, os.environ["PYENV_ROOT"] + "/versions/*/bin")
    for pattern in roots:
        anchor, _, rest = str(Path(pattern).expanduser()).partition("*")
        if rest:
            yield from sorted(Path(anchor).glob("*" + rest))
        else:
            yield Path(anchor)


def version_of(python: Path) -> tuple[int, int] | None:
    """Ask an interpreter for its version; None when it does not start, has no venv, or runs without the GIL."""
    try:
        answer = subprocess.run(
            [python, "-I", "-c", ASK],
            capture_output=True,
            text=True,
            timeout=20,
            stdin=subprocess.DEVNULL,
            check=True,
        )
        major, minor, no_gil = (int(word) for word in answer.stdout.split())
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return None if no_gil else (major, minor)


def find(wanted: Iterable[tuple[int, int]] = SUPPORTED) -> dict[tuple[int, int], Path]:
    """Return the first working interpreter of each wanted version, oldest version first."""
    found: dict[tuple[int, int], Path] = {}
    places = list(dict.fromkeys(folders()))
    for version in wanted:
        for place in places:
            candidate = place / f"python{version[0]}.{version[1]}"
            if candidate.exists() and version_of(candidate) == version:
                found[version] = candidate
                break
    return found


if __name__ == "__main__":
    for (major, minor), python in find().items():
        sys.stdout.write(f"{major}.{minor} {python}\n")
