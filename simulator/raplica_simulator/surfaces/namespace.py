# SPDX-License-Identifier: Apache-2.0
"""A private mount namespace in which a machine stands where programs look for one.

For a process of one thread that is about to become somebody's command: it leaves the host's view behind with
:func:`enter`, mounts the machine's files with :func:`stage` and puts them into place with :func:`put`.  Nothing is
written to any disk; all of it goes with the last process that lives in it.

Folders that the host has are covered by a bind mount.  Where it has none the parent is covered: by a file system in
memory with every name of the host's bound into it, so that devices stay devices and sysfs stays sysfs.  An overlay
would be shorter, but below it sysfs cannot be written and is of another type.
"""

import os
import socket
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from errno import EINVAL, EPERM
from pathlib import Path
from typing import NoReturn

from raplica_simulator.surfaces import fuse_mounting
from raplica_simulator.surfaces import namespace_calls as calls
from raplica_simulator.surfaces.fuse_mounting import CannotMount
from raplica_simulator.surfaces.obstacles import mount_refused, namespace_refused, start_refused

__all__ = ["attempt", "enter", "guests", "obstacle", "put", "stage", "stage_mounted"]

# Every sysfs has it, and nothing of ours goes there.
_STAGE = "/sys/kernel"
_MACHINE = f"{_STAGE}/machine"
_NEW = f"{_STAGE}/new"
_VIRTUAL = "/sys/devices/virtual"
_POWERCAP = "powercap"
# The name, in a rebuilt /dev, of the one that it covers.
_HOST = ".host"
_PTMX = os.makedev(5, 2)
_WHOLE = calls.MS_BIND | calls.MS_REC
_CPUINFO = "/proc/cpuinfo"


# Where something of the machine's is to appear; it lies at the same place on the live surface.
_PLACES = (
    "/sys/class/powercap",
    _VIRTUAL,
    "/dev/cpu",
    "/sys/devices/system/cpu",
    _CPUINFO,
)
# What is there with the files of perf only.
_PERF_PLACES = (
    "/sys/bus/event_source/devices/power",
    "/sys/bus/event_source/devices/power_core",
)


def enter(*, unprivileged: bool) -> None:
    """Move this process into a mount namespace of its own, and where root is missing into a user namespace.

    There it is root, unless it is to be ``unprivileged``: then it keeps its user's number.  Raises CannotMount with the
    line that says what would allow it.
    """
    uid, gid = os.geteuid(), os.getegid()
    try:
        if not (uid == 0 and _unshare_mounts()):
            calls.unshare(calls.NEWUSER | calls.NEWNS)
            inside = (uid, gid) if unprivileged else (0, 0)
            # Who cannot leave a group must not use that to gain something: user_namespaces(7).
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{inside[0]} {uid} 1")
            Path("/proc/self/gid_map").write_text(f"{inside[1]} {gid} 1")
    except OSError as error:
        raise CannotMount(namespace_refused(error)) from error
    try:
        _keep_to_ourselves()
    except OSError as error:
        raise CannotMount(mount_refused(error)) from error


def _unshare_mounts() -> bool:
    """A mount namespace of its own; False for a root who may not, as in most containers."""
    try:
        calls.unshare(calls.NEWNS)
    except OSError as error:
        if error.errno != EPERM:
            raise
        return False
    return True


def _keep_to_ourselves() -> None:
    """Let no mount of ours appear anywhere else, and what the host mounts and unmounts later appear here too.

    Else a folder that autofs(5) keeps, such as a home, could not be entered, and what the host unmounts would stay.
    """
    try:
        calls.mount("", "/", flags=calls.MS_REC | calls.MS_SLAVE)
    except OSError as error:
        if error.errno != EINVAL:
            raise
        # Below chroot(2) the root is no mount, and it is enough that those are ours that we mount upon.
        for place in ("/sys", "/dev", "/proc"):
            calls.mount("", place, flags=calls.MS_REC | calls.MS_SLAVE)


def attempt(steps: Callable[[], None]) -> str | None:
    """What stands in the way of something, in one line, and None where nothing does; tried in a process of its own.

    Whatever ``steps`` does to its namespaces ends with that process.
    """
    try:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            child = os.fork()
            if child == 0:
                _report(steps, theirs)
            theirs.close()
            with ours.makefile("rb") as said:
                line = said.read().decode(errors="surrogateescape")
    except OSError as error:
        return start_refused(error)
    os.waitpid(child, 0)
    return line or None


def _report(steps: Callable[[], None], heard: socket.socket) -> NoReturn:
    """Take some steps, say what stands in the way of them, and end."""
    try:
        steps()
    except CannotMount as error:
        heard.sendall(str(error).encode(errors="surrogateescape"))
    except OSError as error:
        heard.sendall(start_refused(error).encode(errors="surrogateescape"))
    except BaseException as error:  # noqa: BLE001 - what has failed must not pass for what can be done
        heard.sendall(f"{error!r}: this is a mistake in raplica".encode(errors="backslashreplace"))
    finally:
        os._exit(0)


def obstacle() -> str | None:
    """Why no machine can be put into place on this system, in the line that is raised then; None where it can."""

    def steps() -> None:
        folders = guests()
        enter(unprivileged=False)
        os.close(stage())
        _stage_empty(folders)
        put(folders)

    return attempt(steps)


def guests() -> list[str]:
    """The folders of the host's that are to stand beside the machine's in ``/sys/devices/virtual``.

    Raises CannotMount where the host has none.
    """
    try:
        with os.scandir(_VIRTUAL) as found:
            folders = [entry.name for entry in found if entry.is_dir(follow_symlinks=False)]
    except OSError as error:
        raise CannotMount(mount_refused(error)) from error
    return sorted(name for name in folders if name != _POWERCAP)


def stage() -> int:
    """Mount a live surface, which nobody answers for yet, in a corner of this namespace: its open /dev/fuse.

    Raises CannotMount where the system does not let us.
    """
    _make_stage()
    descriptor = fuse_mounting.open_device()
    try:
        fuse_mounting.mount_connection(descriptor, _MACHINE, allow_other=True)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def stage_mounted(directory: str) -> None:
    """Let a surface that is mounted on ``directory`` already be what :func:`put` puts into place.

    Raises CannotMount where the system does not let us, and where nothing is there.
    """
    _make_stage()
    try:
        calls.mount(directory, _MACHINE, flags=calls.MS_BIND)
    except OSError as error:
        raise CannotMount(f"{directory}: {error.strerror}: name a folder on which a machine is mounted") from error


def _stage_empty(guests: Sequence[str]) -> None:
    """Let empty files and folders lie on the stage where a machine's would, which need nobody to answer for them."""
    try:
        calls.umount(_MACHINE)
        for place in (*_PLACES, *(f"{_VIRTUAL}/{name}" for name in guests)):
            path = Path(f"{_MACHINE}{place}")
            path.parent.mkdir(parents=True, exist_ok=True)
            if place == _CPUINFO:
                path.touch()
            else:
                path.mkdir(exist_ok=True)
    except OSError as error:
        raise CannotMount(mount_refused(error)) from error


def _make_stage() -> None:
    try:
        calls.mount("raplica", _STAGE, "tmpfs", calls.MS_NOSUID | calls.MS_NOEXEC, "mode=700")
        _make_place(_MACHINE, folder=True)
        _make_place(_NEW, folder=True)
    except OSError as error:
        raise CannotMount(mount_refused(error)) from error


def put(guests: Sequence[str]) -> None:
    """Put what lies on the stage into place, and take the stage away; somebody must answer for it by now.

    ``guests`` are the empty folders that the surface has in ``sys/devices/virtual`` for those of the host.  Raises
    CannotMount where the system does not let us.
    """
    here = _working_directory()
    try:
        for place in (*_PLACES, *_PERF_PLACES):
            source = f"{_MACHINE}{place}"
            if place == _VIRTUAL:
                _put_virtual(source, guests)
            elif os.path.lexists(source):
                _put(source, place)
        calls.umount(_STAGE)
    except OSError as error:
        raise CannotMount(mount_refused(error)) from error
    if here.startswith(("/sys", "/dev", "/proc")):
        # It may have been covered, and whoever works there is to see what stands there now.
        with suppress(OSError):
            os.chdir(here)


def _working_directory() -> str:
    """Where this process works; "" where that has no path."""
    try:
        return os.getcwd()  # noqa: PTH109 - text
    except OSError:
        return ""


def _put(source: str, host: str) -> None:
    """Cover what the host has there; where it has nothing, cover the parent with one that has."""
    if Path(host).exists():
        calls.mount(source, host, flags=calls.MS_BIND)
        return
    parent, name = os.path.split(host)
    mode = stat.S_IMODE(Path(parent).stat().st_mode)
    calls.mount("raplica", _NEW, "tmpfs", calls.MS_NOSUID | calls.MS_NOEXEC, f"mode={mode:o}")
    with os.scandir(parent) as found:
        for entry in found:
            if entry.name != name:
                _rebuild(entry)
    _make_place(f"{_NEW}/{name}", folder=Path(source).is_dir())
    calls.mount(source, f"{_NEW}/{name}", flags=calls.MS_BIND)
    calls.mount(_NEW, parent, flags=calls.MS_MOVE)


def _put_virtual(source: str, guests: Sequence[str]) -> None:
    """Cover the parent of the machine's powercap folder, which comes and goes with the driver, as no mount can."""
    calls.mount(source, _NEW, flags=calls.MS_BIND)
    for name in guests:
        with suppress(FileNotFoundError):  # it went in between
            calls.mount(f"{_VIRTUAL}/{name}", f"{_NEW}/{name}", flags=_WHOLE)
    calls.mount(_NEW, _VIRTUAL, flags=calls.MS_MOVE)


def _rebuild(entry: "os.DirEntry[str]") -> None:
    """Let a new folder have something of the host's."""
    target = f"{_NEW}/{entry.name}"
    if entry.is_symlink():
        Path(target).symlink_to(Path(entry.path).readlink())
        return
    if entry.stat(follow_symlinks=False).st_rdev == _PTMX:
        # It looks for pts beside itself, which it finds only in the folder that it really lies in.
        _make_place(f"{_NEW}/{_HOST}", folder=True)
        calls.mount(os.path.dirname(entry.path), f"{_NEW}/{_HOST}", flags=_WHOLE)  # noqa: PTH120 - text
        Path(target).symlink_to(f"{_HOST}/{entry.name}")
        return
    folder = entry.is_dir(follow_symlinks=False)
    _make_place(target, folder=folder)
    try:
        calls.mount(entry.path, target, flags=_WHOLE)
    except FileNotFoundError:  # it went in between
        (os.rmdir if folder else os.unlink)(target)


def _make_place(path: str, *, folder: bool) -> None:
    """Something empty to mount on."""
    if folder:
        os.mkdir(path, 0o755)  # noqa: PTH102 - one system call
    else:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
