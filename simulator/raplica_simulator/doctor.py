# SPDX-License-Identifier: Apache-2.0
"""What `raplica doctor` finds out: whether this system lets this user see a machine live, and what would allow it.

Everything is tried, in processes of their own that leave nothing behind, and what is in the way is said in the very
line in which ``raplica mount`` and ``raplica exec`` say it.
"""

import ctypes
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from raplica_simulator.surfaces import fuse_mounting, namespace
from raplica_simulator.surfaces import namespace_calls as calls
from raplica_simulator.surfaces.fuse_mounting import CannotMount
from raplica_simulator.surfaces.obstacles import DEVICE, NO_HELPER, namespace_refused, setting

__all__ = ["Finding", "examine"]

_PARANOID = "kernel.perf_event_paranoid"
_FILE_SYSTEMS = Path("/proc/filesystems")
_LIBRARIES = ("libfuse3.so.3", "libfuse3.so.4")


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes:
        name: what it is; "mount" and "exec", the last two, are the sum of it.
        works: whether it is there and this user may use it.
        says: what was found.
        fix: what would mend it; "" where nothing is to be mended.
    """

    name: str
    works: bool
    says: str
    fix: str


def examine() -> list[Finding]:
    """Look at everything that a live machine needs, and at some things that it does not."""
    return [
        _judge("FUSE device", _device_obstacle(), f"{DEVICE} can be opened"),
        _helper(),
        _judge("user namespaces", namespace.attempt(_new_user_namespace), "they can be made"),
        _judge("mount namespaces", namespace.attempt(_new_mount_namespace), "they can be made"),
        _overlay(),
        _library(),
        _perf(),
        _judge("mount", fuse_mounting.obstacle(), "a machine can be mounted"),
        _judge("exec", namespace.obstacle(), "a command can be run on a machine"),
    ]


def _judge(name: str, obstacle: str | None, fine: str) -> Finding:
    if obstacle is None:
        return Finding(name, works=True, says=fine, fix="")
    says, _, fix = obstacle.partition(": ")
    return Finding(name, works=False, says=says, fix=fix)


def _device_obstacle() -> str | None:
    try:
        os.close(fuse_mounting.open_device())
    except (CannotMount, OSError) as error:
        return str(error)
    return None


def _helper() -> Finding:
    found = shutil.which("fusermount3") or shutil.which("fusermount")
    if found:
        return Finding("fusermount3", works=True, says=f"{found} mounts for who is not root", fix="")
    if os.geteuid() == 0:
        return Finding("fusermount3", works=False, says="it is not installed; root does not need it", fix="")
    return _judge("fusermount3", NO_HELPER, "")


def _new_user_namespace() -> None:
    try:
        calls.unshare(calls.NEWUSER)
    except OSError as error:
        raise CannotMount(namespace_refused(error)) from error


def _new_mount_namespace() -> None:
    namespace.enter(unprivileged=False)


def _overlay() -> Finding:
    there = False
    with suppress(OSError):  # no /proc
        there = "overlay" in _FILE_SYSTEMS.read_text().split()
    return Finding("overlay", works=there, says=f"this kernel {_has(there)} it; nothing here needs it", fix="")


def _library() -> Finding:
    there = False
    for name in _LIBRARIES:
        with suppress(OSError):
            ctypes.CDLL(name)
            there = True
    return Finding("libfuse3", works=there, says=f"this system {_has(there)} it; nothing here needs it", fix="")


def _perf() -> Finding:
    """Energy counters of perf count whole processors: see perf_event_paranoid in the kernel's sysctl documentation."""
    paranoid = setting(_PARANOID)
    if paranoid is None:
        return Finding("perf", works=False, says="this kernel has no perf events; nothing here needs them", fix="")
    says = f"{_PARANOID} is {paranoid}"
    if paranoid <= 0 or os.geteuid() == 0:
        return Finding("perf", works=True, says=f"{says}: you may read the host's own energy counters", fix="")
    return Finding(
        "perf",
        works=False,
        says=f"{says}, so only root may read the host's own energy counters; no machine of ours needs them",
        fix=f"as root `sysctl {_PARANOID}=0`",
    )


def _has(there: object) -> str:
    return "has" if there else "lacks"
