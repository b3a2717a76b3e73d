# SPDX-License-Identifier: Apache-2.0
"""A program for tests: run a command on a system that allows less, or shows less, than this one.

``python room.py TRAITS FOLDER COMMAND...``, as root.  TRAITS, joined by commas and applied in this order:
``no-library`` no libfuse3, ``no-device`` no /dev/fuse, ``open-device`` one that everybody may use, ``closed-device``
one that only root may use, ``no-cpu`` no /dev/cpu, ``no-sys`` and ``no-proc`` nothing in those, ``nobody`` a user
without rights, ``no-new-rights`` no setuid program helps, ``no-namespaces`` and ``no-mounts`` a filter of system calls
as containers have, ``limit`` a user namespace in which no other can be made, ``no-admin`` a root without CAP_SYS_ADMIN.
FOLDER is empty and of this program alone.
"""

import ctypes
import os
import platform
import stat
import struct
import sys
from collections.abc import Callable
from pathlib import Path

from raplica_simulator.surfaces import namespace_calls as calls

NOBODY = 65534
UNSHARE = {"x86_64": 272, "aarch64": 97}
MOUNT = {"x86_64": 165, "aarch64": 40}


def bind(source: str, target: str) -> None:
    calls.mount(source, target, flags=calls.MS_BIND | calls.MS_REC)


def own_device(folder: Path, mode: int) -> None:
    node = folder / "fuse"
    os.mknod(node, stat.S_IFCHR | mode, os.makedev(10, 229))
    node.chmod(mode)
    calls.mount(str(node), "/dev/fuse", flags=calls.MS_BIND)


def rebuild_dev(folder: Path, without: str) -> None:
    """A /dev as containers have it: nodes of its own in memory, and what was mounted in it."""
    new = folder / f"dev-without-{without}"
    new.mkdir()
    calls.mount("tmpfs", str(new), "tmpfs", 0, "mode=755")
    for entry in os.scandir("/dev"):
        copy, status = new / entry.name, entry.stat(follow_symlinks=False)
        if entry.name == without:
            continue
        if entry.is_symlink():
            copy.symlink_to(Path(entry.path).readlink())
        elif entry.is_dir():
            copy.mkdir()
            bind(entry.path, str(copy))
        elif stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
            os.mknod(copy, status.st_mode, status.st_rdev)
            copy.chmod(stat.S_IMODE(status.st_mode))
    calls.mount(str(new), "/dev", flags=calls.MS_MOVE)


def reveal(folder: Path) -> None:
    """Let everybody reach the interpreter and the packages, be they in root's own folder."""
    hidden: dict[Path, list[Path]] = {}
    for path in {Path(sys.prefix), Path(sys.base_prefix), *map(Path, filter(os.path.isabs, sys.path))}:
        for above in reversed(path.parents):
            if path.is_dir() and not above.stat().st_mode & stat.S_IXOTH:
                hidden.setdefault(above, []).append(path)
                break
    for above, paths in hidden.items():
        shown = [path for path in paths if not any(other in path.parents for other in paths)]
        for number, path in enumerate(shown):
            (folder / f"shown-{number}").mkdir(exist_ok=True)
            bind(str(path), str(folder / f"shown-{number}"))
        calls.mount("tmpfs", str(above), "tmpfs", 0, "mode=755")
        for number, path in enumerate(shown):
            path.mkdir(parents=True)
            calls.mount(str(folder / f"shown-{number}"), str(path), flags=calls.MS_MOVE)


def hide_library() -> None:
    for path in Path("/usr/lib").glob("*/libfuse3.so*"):
        if not path.is_symlink():
            bind("/dev/null", str(path))


def become_nobody() -> None:
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def no_new_rights() -> None:
    assert ctypes.CDLL(None).prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS


def forbid(number: int) -> None:
    """Let a system call fail with EPERM: seccomp(2), a program of four instructions."""
    program = b"".join(
        struct.pack("=HBBI", *instruction)
        for instruction in ((0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7FFF0000))
    )
    libc = ctypes.CDLL(None, use_errno=True)
    kept = ctypes.create_string_buffer(program)
    filters = ctypes.create_string_buffer(struct.pack("@HP", 4, ctypes.addressof(kept)))
    no_new_rights()
    assert libc.prctl(22, 2, filters, 0, 0) == 0, os.strerror(ctypes.get_errno())  # PR_SET_SECCOMP


def limit_namespaces() -> None:
    uid = os.geteuid()
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: what has changed its user may not open its own /proc
    calls.unshare(calls.NEWUSER)
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/sys/user/max_user_namespaces").write_text("0")


def without_admin() -> None:
    ctypes.CDLL(None).prctl(24, 21, 0, 0, 0)  # PR_CAPBSET_DROP: gone with the next program


def steps(folder: Path) -> dict[str, Callable[[], None]]:
    """What makes each trait, in the order in which they are applied."""

    def nobody() -> None:
        reveal(folder)
        become_nobody()

    return {
        "no-library": hide_library,
        "no-device": lambda: rebuild_dev(folder, "fuse"),
        "open-device": lambda: own_device(folder, 0o666),
        "closed-device": lambda: own_device(folder, 0o600),
        "no-cpu": lambda: rebuild_dev(folder, "cpu"),
        "no-sys": lambda: calls.umount("/sys"),
        "no-proc": lambda: calls.umount("/proc"),
        "nobody": nobody,
        "no-new-rights": no_new_rights,
        "no-namespaces": lambda: forbid(UNSHARE[platform.machine()]),
        "no-mounts": lambda: forbid(MOUNT[platform.machine()]),
        "limit": limit_namespaces,
        "no-admin": without_admin,
    }


def main(traits: str, folder: Path, command: list[str]) -> None:
    wanted, known = set(traits.split(",")), steps(folder)
    assert wanted <= {*known}, traits
    calls.unshare(calls.NEWNS)
    calls.mount("", "/", flags=calls.MS_REC | calls.MS_PRIVATE)
    for name, step in known.items():
        if name in wanted:
            step()
    os.execvp(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
