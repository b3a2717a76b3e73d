# SPDX-License-Identifier: Apache-2.0
"""Another process that makes odd_calls.py's calls on a mount, and what it may call with."""

import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EACCES, ENOTDIR, EOPNOTSUPP, EPERM
from pathlib import Path
from typing import Any

import pytest

from raplica_simulator import Machine
from raplica_simulator.live.machine import LiveMachine
from raplica_simulator.surfaces.fuse import FuseMount

PROGRAM = Path(__file__).with_name("odd_calls.py")
NOT_BACK_S = 60
MACHINE = "kabylake"
CLASS = "class/powercap"
ZONE = f"{CLASS}/intel-rapl:0"
ATTRIBUTES = [
    f"{ZONE}/{name}"
    for name in ("energy_uj", "max_energy_range_uj", "name", "enabled", "uevent", "power/control", "constraint_0_name")
] + [f"{ZONE}/constraint_{n}_{name}" for n in (0, 1) for name in ("power_limit_uw", "time_window_us", "max_power_uw")]
ATTRIBUTES += [f"{ZONE}:0/energy_uj", f"{ZONE}/intel-rapl:0:1/name", f"{CLASS}/intel-rapl/enabled"]
FOLDERS = [".", "class", CLASS, ZONE, f"{ZONE}/power", "devices/virtual/powercap/intel-rapl", f"{CLASS}/intel-rapl"]
MISSING = [f"{ZONE}/nothing", f"{ZONE}/name/below", f"{CLASS}/intel-rapl:9/name", f"{CLASS}/dtpm"]
PLACES = ATTRIBUTES + FOLDERS + MISSING
ACCESS = [os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_ACCMODE]
MORE_FLAGS = [
    0,
    os.O_TRUNC,
    os.O_CREAT,
    os.O_CREAT | os.O_EXCL,
    os.O_DIRECTORY,
    os.O_NOFOLLOW,
    os.O_DIRECT,
    os.O_NONBLOCK,
]
TEXTS = [
    b"",
    b"1\n",
    b"0",
    b"90000000\n",
    b"0x10",
    b"-1",
    b"28000000\n",
    b"auto\n",
    b"on",
    b"1" * 30,
    bytes(5000),
    b" 7",
]

# What recordings say of calls that the model has no door for, on an attribute and on a directory.
ON_ATTRIBUTE: dict[str, object] = {
    **{name: {"errno": EPERM} for name in ("unlink", "mkdir", "rename", "link", "symlink")},
    **{name: {"errno": EOPNOTSUPP} for name in ("setxattr", "removexattr")},
    "rmdir": {"errno": ENOTDIR},
    "create": {"errno": EACCES},
    "mknod": {"errno": EACCES},
    "listxattr": [],
    "statvfs": [4096, 4096, 0, 0, 0, 0, 255],
    "utime": None,
}


class Caller:
    """The other process."""

    def __init__(self, root: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", PROGRAM, root],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def call(self, name: str, where: str | int, *arguments: object) -> Any:
        """Make one call: what it gave, `{"errno": N}` for an error; it fails when the call does not come back."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([name, where, *arguments]) + "\n")
        self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], NOT_BACK_S)[0]:
            self._process.kill()
            pytest.fail(f"{name} on {where} {arguments} has not come back in {NOT_BACK_S} s")
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


@contextmanager
def shown(machine: Machine, *, allow_other: bool = False) -> Iterator[tuple[FuseMount, list[str]]]:
    """A mount of a machine, and what it could tell nobody."""
    troubles: list[str] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        FuseMount(LiveMachine(machine), f"{folder}/m", allow_other=allow_other, troubles=troubles.append) as mount,
    ):
        yield mount, troubles
