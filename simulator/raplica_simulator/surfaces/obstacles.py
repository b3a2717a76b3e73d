# SPDX-License-Identifier: Apache-2.0
"""What stands in the way of a mount or of a namespace, and what would allow it: one line each.

``raplica mount``, ``raplica exec`` and ``raplica doctor`` say the same about the same thing, because they say it from
here.  The kernel gives an errno only, and often the same for several reasons, so the settings that are known to forbid
these things are looked at.
"""

import os
from contextlib import suppress
from errno import EACCES, EAGAIN, EINVAL, EMFILE, ENOENT, ENOSPC, ENOSYS, EPERM, EUSERS
from pathlib import Path

__all__ = [
    "DEVICE",
    "DEVICE_CLOSED",
    "NO_DEVICE",
    "NO_HELPER",
    "NO_RIGHT",
    "helper_refused",
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
_NO_NEW_RIGHTS = (
    "fusermount3 gets no rights here, because no_new_privs is set: use `raplica exec`, run this as root, "
    "or start it without NoNewPrivileges=, in a container without `--security-opt no-new-privileges`"
)
_HELPER_FIX = "name a folder of your own; to show it to other users, root writes user_allow_other into /etc/fuse.conf"
_NO_NAMESPACE = f"namespaces are not allowed here: in a container start it with {_CONTAINER} {_POD}"
_RESTRICTED = (
    "AppArmor lets only root use what is in a user namespace: "
    "as root `sysctl kernel.apparmor_restrict_unprivileged_userns=0`, or run this as root"
)
_LIMITS = {EAGAIN: "`ulimit -u` allows no more processes", EMFILE: "`ulimit -n` allows no more open files"}
_SETTINGS = Path("/proc/sys")
_UID_MAP = Path("/proc/self/uid_map")  # the first number in this user namespace, what it is outside, how many


def setting(name: str) -> int | None:
    """What a sysctl, such as "user.max_user_namespaces", is set to; None where this kernel has none of that name."""
    with suppress(OSError, ValueError):
        return int((_SETTINGS / name.replace(".", "/")).read_text())
    return None


def namespace_refused(error: OSError) -> str:
    """Why a process got no namespace of its own."""
    if error.errno == ENOENT:  # it is what files of /proc are written for
        return mount_refused(error)
    if error.errno == EPERM and os.geteuid() == 0:
        # A root without CAP_SYS_ADMIN: what is set for users is not what stops it, and not all there is to mend.
        return _NO_NAMESPACE
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
    if _of_a_user() and setting("kernel.apparmor_restrict_unprivileged_userns"):
        return _RESTRICTED
    return NO_RIGHT


def helper_refused(name: str, said: str) -> str:
    """Why fusermount3 did not mount, by what it ``said``; ``name`` is the one that was asked."""
    if "mount failed: Operation not permitted" in said:  # it has no rights, or they do not help it
        return _NO_NEW_RIGHTS if _gets_no_rights() else NO_RIGHT
    return f"{name} could not mount: {said or 'it does not say why'}; {_HELPER_FIX}"


def start_refused(error: OSError) -> str:
    """Why the processes of a machine could not be started, or a file that they need could not be opened."""
    limit = _LIMITS.get(error.errno or 0)
    if limit is None and error.filename is not None:
        return f"{error.filename}: {error.strerror}: without it no machine can be shown"
    return f"nothing can be started here: {limit or error.strerror or error}: raise the limit, or end other programs"


def _of_a_user() -> bool:
    """Whether this process is in the user namespace of somebody who is not root outside of it."""
    with suppress(OSError, ValueError):
        _, outside, _ = _UID_MAP.read_text().split()
        return outside != "0"
    return False


def _gets_no_rights() -> bool:
    """Whether nothing that this process starts gets rights of its own, be it setuid root: PR_SET_NO_NEW_PRIVS."""
    with suppress(OSError):
        return "NoNewPrivs:\t1" in Path("/proc/self/status").read_text().splitlines()
    return False
