# SPDX-License-Identifier: Apache-2.0
"""What stands in the way of a mount or of a namespace, and what would allow it: one line each.

``raplica mount``, ``raplica exec`` and ``raplica doctor`` say the same about the same thing, because they say it from
here.  The kernel gives an errno only, and often the same for several reasons, so the settings that are known to forbid
these things are looked at.
"""

from contextlib import suppress
from errno import EACCES, EAGAIN, EINVAL, EMFILE, ENOENT, ENOSPC, ENOSYS, EPERM, EUSERS
from pathlib import Path

__all__ = [
    "DEVICE",
    "DEVICE_CLOSED",
    "NO_DEVICE",
    "NO_HELPER",
    "NO_RIGHT",
    "mount_refused",
    "namespace_refused",
    "setting",
    "start_refused",
]

DEVICE = "/dev/fuse"
_CONTAINER = f"`--device {DEVICE} --cap-add SYS_ADMIN --security-opt apparmor=unconfined`"
_POD = "(in Kubernetes `securityContext: {privileged: true}`)"
NO_DEVICE = (
    f"there is no {DEVICE}: as root `modprobe fuse`; "
    f"in a container start it with `--device {DEVICE} --cap-add SYS_ADMIN` {_POD}"
)
DEVICE_CLOSED = f"{DEVICE} is closed to you: as root `chmod 666 {DEVICE}`, or run this as root"
NO_RIGHT = f"mounting is not allowed here: in a container start it with {_CONTAINER} {_POD}"
NO_HELPER = "only root may mount without fusermount3: `apt-get install fuse3`, or run this as root"
_NO_NAMESPACE = f"namespaces are not allowed here: in a container start it with {_CONTAINER} {_POD}"
_RESTRICTED = (
    "AppArmor lets only root use what is in a user namespace: "
    "as root `sysctl kernel.apparmor_restrict_unprivileged_userns=0`, or run this as root"
)
_LIMITS = {EAGAIN: "`ulimit -u` allows no more processes", EMFILE: "`ulimit -n` allows no more open files"}
_SETTINGS = Path("/proc/sys")
_WHOLE = ["0", "0", "4294967295"]  # the user namespace that a machine starts with maps every number to itself


def setting(name: str) -> int | None:
    """What a sysctl, such as "user.max_user_namespaces", is set to; None where this kernel has none of that name."""
    with suppress(OSError, ValueError):
        return int((_SETTINGS / name.replace(".", "/")).read_text())
    return None


def namespace_refused(error: OSError) -> str:
    """Why a process got no namespace of its own."""
    for name in ("user.max_user_namespaces", "user.max_mnt_namespaces"):
        if setting(name) == 0:
            return f"{name} is 0 here: as root `sysctl {name}=10000`, or run this as root"
    if setting("kernel.unprivileged_userns_clone") == 0:
        return (
            "only root may make user namespaces here: as root `sysctl kernel.unprivileged_userns_clone=1`, "
            "or run this as root"
        )
    if setting("kernel.apparmor_restrict_unprivileged_userns"):
        return _RESTRICTED
    if error.errno in (ENOSPC, EUSERS):
        return (
            "there are too many namespaces, or too many in each other: "
            "as root raise `sysctl user.max_user_namespaces`, or run this outside of a sandbox"
        )
    if error.errno in (EINVAL, ENOSYS):
        return "this kernel has no user namespaces: run this as root"
    return _NO_NAMESPACE


def mount_refused(error: OSError) -> str:
    """Why nothing could be mounted in a namespace of one's own."""
    if error.errno == ENOENT:
        return f"there is no {error.filename}: where /sys, /proc and /dev are not mounted no machine can be shown there"
    if error.errno not in (EPERM, EACCES):
        return f"{error.filename} cannot be covered here: {error.strerror}"
    if _in_user_namespace() and setting("kernel.apparmor_restrict_unprivileged_userns"):
        return _RESTRICTED
    return NO_RIGHT


def start_refused(error: OSError) -> str:
    """Why the processes of a machine could not be started, or a file that they need could not be opened."""
    if error.filename is not None:
        return f"{error.filename}: {error.strerror}: without it no machine can be shown"
    why = _LIMITS.get(error.errno or 0, error.strerror or str(error))
    return f"nothing can be started here: {why}: raise the limit, or end other programs"


def _in_user_namespace() -> bool:
    with suppress(OSError):
        return Path("/proc/self/uid_map").read_text().split() != _WHOLE
    return False
