# SPDX-License-Identifier: Apache-2.0
"""The file system in memory that a virtual machine starts with: a Python, the guest's code, modules, a description.

Debian's own Python is unpacked into it, less what nobody there needs, and compiled beforehand: emulated processors
are slow.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernel_witness.failure import WitnessError, run
from kernel_witness.initramfs import Node, archive, file_node, folder_nodes, link_node, program_node
from kernel_witness.packages import Archive

__all__ = ["Python", "base_files", "get_python", "machine_files", "suite_files"]

_GUEST = Path(__file__).parent / "guest"
_ROOT = Path(__file__).parents[2]
_SUITE = (_ROOT / "conformance" / "raplica_conformance", _ROOT / "fixtures" / "raplica_fixtures")
_LIBRARIES = ("libc6", "libexpat1", "libffi8", "zlib1g", "liblzma5", "libbz2-1.0")
_NEEDED = (
    "ld-linux-x86-64.so.2",
    "libc.so.6",
    "libm.so.6",
    "libexpat.so.1",
    "libffi.so.8",
    "libz.so.1",
    "liblzma.so.5",
    "libbz2.so.1.0",
)
_UNNEEDED = frozenset(
    {
        "__phello__",
        "asyncio",
        "concurrent",
        "config-3.11-x86_64-linux-gnu",
        "curses",
        "dbm",
        "distutils",
        "ensurepip",
        "html",
        "http",
        "idlelib",
        "lib2to3",
        "multiprocessing",
        "pydoc_data",
        "sqlite3",
        "test",
        "tkinter",
        "turtledemo",
        "unittest",
        "venv",
        "wsgiref",
        "xmlrpc",
    }
)


@dataclass(frozen=True, slots=True)
class Python:
    """The Python that runs in the machine: where it was unpacked, its version ("python3.11"), its shared libraries."""

    root: Path
    version: str
    libraries: dict[str, Path]

    @property
    def standard_library(self) -> Path:
        """The folder of its modules."""
        return self.root / "usr" / "lib" / self.version

    def compile(self, folder: Path) -> None:
        """Compile the modules in a folder with the very Python that will load them, once."""
        if (folder / "__pycache__").exists():
            return
        loader = self.libraries["ld-linux-x86-64.so.2"]
        paths = ":".join(str(self.root / place) for place in ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"))
        program = [str(loader), "--library-path", paths, str(self.root / "usr" / "bin" / self.version)]
        run(
            [*program, "-S", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(folder)],
            f"compiling {folder.name} for the virtual machine",
            environment={**os.environ, "PYTHONHOME": str(self.root / "usr")},
        )


def get_python(packages: Archive) -> Python:
    """Fetch a Python and the libraries it needs."""
    minimal = packages.depends("python3-minimal", r"python3\.\d+-minimal")
    if not minimal:
        raise WitnessError("the package sources of this machine have no python3-minimal, which runs in the machine")
    version = minimal[0].removesuffix("-minimal")
    root = packages.unpack([minimal[0], f"lib{version}-minimal", f"lib{version}-stdlib", *_LIBRARIES], version)
    library = root / "usr" / "lib" / version
    found = {path.name: path for path in root.rglob("*.so*") if path.name in _NEEDED}
    if lacking := sorted(set(_NEEDED) - set(found)):
        raise WitnessError(f"the packages of {version} lack {', '.join(lacking)}; this Debian is not known to work")
    python = Python(root, version, found)
    python.compile(library)
    return python


def base_files(python: Python) -> dict[str, Node]:
    """Return the Python and the guest's code."""
    version = python.version
    nodes = folder_nodes(python.standard_library, f"usr/lib/{version}", _UNNEEDED)
    for name, path in python.libraries.items():
        nodes[f"usr/lib/x86_64-linux-gnu/{name}"] = program_node(path.read_bytes())
    nodes[f"usr/bin/{version}"] = program_node((python.root / "usr" / "bin" / version).read_bytes())
    nodes |= {"lib": link_node("usr/lib"), "lib64": link_node("usr/lib/x86_64-linux-gnu")}
    starter = f"#!/usr/bin/{version} -IS\nimport sys\nsys.path.insert(0, '/raplica')\n"
    starter += "from kernel_witness.guest.main import main\nmain()\n"
    nodes["init"] = program_node(starter.encode())
    nodes |= {f"{folder}/.keep": file_node(b"") for folder in ("proc", "sys", "dev", "scratch")}
    nodes["raplica/kernel_witness/__init__.py"] = file_node(b"")
    return nodes | folder_nodes(_GUEST, "raplica/kernel_witness/guest", frozenset({"__pycache__"}))


def suite_files(python: Python) -> dict[str, Node]:
    """Return the conformance suite of this checkout and its cases, compiled; with the standard library it runs."""
    with tempfile.TemporaryDirectory(prefix="witness-") as folder:
        for package in _SUITE:
            place = Path(folder) / package.name
            shutil.copytree(package, place, ignore=shutil.ignore_patterns("__pycache__"))
            python.compile(place)
        return folder_nodes(Path(folder), "raplica")


def machine_files(base: Mapping[str, Node], modules: Mapping[str, bytes], description: Mapping[str, Any]) -> bytes:
    """Return the archive for one machine and kernel."""
    nodes = dict(base)
    nodes |= {f"m/{name}.ko": file_node(content) for name, content in modules.items()}
    nodes["raplica/machine.json"] = file_node(json.dumps(description).encode())
    return archive(nodes)
