# SPDX-License-Identifier: Apache-2.0
"""What stands in a folder, and what a machine's tree there should be, in one form that tests can compare."""

import os
import stat
from pathlib import Path

from raplica_simulator import Machine
from raplica_simulator.surfaces.snapshot import take_snapshot


def listed(root: Path) -> dict[str, tuple[str, int, object]]:
    """Everything below a folder: kind, mode, and content or target, by relative path."""
    found: dict[str, tuple[str, int, object]] = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder) / name
            mode = stat.S_IMODE(path.lstat().st_mode)
            if path.is_symlink():
                entry: tuple[str, int, object] = ("link", 0o777, str(path.readlink()))
            elif path.is_dir():
                entry = ("folder", mode, None)
            else:
                entry = ("file", mode, path.read_bytes())
            found[str(path.relative_to(root))] = entry
    return found


def wanted(machine: Machine) -> dict[str, tuple[str, int, object]]:
    """The same of a machine's tree."""
    found: dict[str, tuple[str, int, object]] = {}
    folders = [(take_snapshot(machine.sysfs).root, "")]
    while folders:
        folder, above = folders.pop()
        found |= {above + name: ("file", mode, content) for name, mode, content in folder.files}
        found |= {above + name: ("link", 0o777, target) for name, target in folder.links}
        found |= {above + below.name: ("folder", below.mode, None) for below in folder.folders}
        folders += [(below, f"{above}{below.name}/") for below in folder.folders]
    return found
