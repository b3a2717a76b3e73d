# SPDX-License-Identifier: Apache-2.0
"""Where a machine shows itself: the roots of its sysfs, its devices and its procfs.

They belong together: the msr devices of this machine say nothing about a tree that somebody copied here. So next to a
tree that is not /sys, only what lies beside it is its own, as a live mount and a bug reporter's archive have it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Places", "one_line", "places_below", "read_text"]

_MOST = 1 << 20


@dataclass(frozen=True, slots=True)
class Places:
    """The roots; None where there is none. `own`: this very machine is meant, whose kernel is the running one."""

    sys: Path
    dev: Path | None
    proc: Path | None
    own: bool

    def sys_text(self, path: str) -> str:
        """A file below sysfs on one line, "" where it does not read."""
        return read_text(self.sys / path)

    def proc_text(self, path: str) -> str:
        """A file below procfs as it is, "" where it does not read."""
        return "" if self.proc is None else read_text(self.proc / path, lines=True)


def places_below(sysfs: str | None = None, dev: str | None = None, proc: str | None = None) -> Places:
    """This machine's own places, or with `sysfs` those of another tree; `dev` and `proc` where they lie elsewhere."""
    if sysfs is None or os.path.realpath(sysfs) == "/sys":
        return Places(Path("/sys"), Path(dev or "/dev"), Path(proc or "/proc"), own=True)
    root = Path(sysfs)
    beside = {name: found for name in ("dev", "proc") if (found := root.resolve().parent / name).is_dir()}
    if root.resolve().parent == Path("/"):
        beside = {}
    return Places(root, Path(dev) if dev else beside.get("dev"), Path(proc) if proc else beside.get("proc"), own=False)


def read_text(path: Path, *, lines: bool = False) -> str:
    """A file as text, "" where it does not read; on one line unless `lines` are wanted."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            # None: a pipe that somebody holds open and writes nothing to.
            text = (file.read(_MOST) or b"").decode("utf-8", "replace")
    except (OSError, ValueError):
        return ""
    return text if lines else one_line(text)


def one_line(text: str) -> str:
    """Text without control characters, its white space single: what the recording's schema takes for text."""
    return " ".join("".join(" " if ord(letter) < 0x20 or ord(letter) == 0x7F else letter for letter in text).split())
