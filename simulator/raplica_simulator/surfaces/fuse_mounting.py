# SPDX-License-Identifier: Apache-2.0
"""Getting a file system in user space mounted, and away again, whatever becomes of the process that answers for it.

Root mounts by itself, anybody else asks fusermount3, which is setuid root.  A small process waits beside either, to
unmount after a SIGKILL.  (fusermount3 has ``auto_unmount`` for that; it fails where a mount is not shown to root.)
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from errno import EACCES, EAGAIN, EMFILE, ENODEV, ENOENT, ENXIO, EPERM
from pathlib import Path

from raplica_simulator.surfaces import fuse_watch
from raplica_simulator.surfaces import namespace_calls as calls
from raplica_simulator.surfaces.obstacles import (
    DEVICE,
    DEVICE_CLOSED,
    NO_DEVICE,
    NO_HELPER,
    NO_RIGHT,
    helper_refused,
    mount_refused,
    start_refused,
)

__all__ = ["CannotMount", "Mounted", "mount", "mount_connection", "obstacle", "open_device"]

_DEVICE = DEVICE
_SHELL = "/bin/sh"
_HELPERS = ("fusermount3", "fusermount")


class CannotMount(RuntimeError):
    """This machine does not let us mount: one line that says why and what to do."""


@dataclass(slots=True)
class Mounted:
    """A mount.  ``descriptor`` is its open /dev/fuse, which belongs to the caller."""

    descriptor: int
    directory: str
    _device: str
    _helper: str
    _watch: subprocess.Popen[str]

    def unmount(self) -> None:
        """Take it away, also while it is in use; nothing happens where it is gone already."""
        try:
            fuse_watch.unmount(self.directory, self._device, self._helper)
        finally:
            _end_watch(self._watch)


def mount(directory: str, *, allow_other: bool) -> Mounted:
    """Mount on an absolute path; ``allow_other`` shows it to other users too.

    Raises CannotMount in one line where the system does not let us.
    """
    helper = _find_way(directory)
    connection = -1 if helper else open_device()
    watch = _start_watch(directory, helper)
    try:
        if helper:
            connection = _ask_helper(helper, directory, allow_other=allow_other)
        else:
            mount_connection(connection, directory, allow_other=allow_other)
    except BaseException:
        _end_watch(watch)
        if connection >= 0:
            os.close(connection)
        raise
    device = fuse_watch.device_of(directory)
    if watch.stdin is not None:
        watch.stdin.write(f"{device}\n")
        watch.stdin.flush()
    return Mounted(connection, directory, device, helper, watch)


def _start_watch(directory: str, helper: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-I", "-S", fuse_watch.__file__, directory, helper]
    if os.access(_SHELL, os.X_OK):
        command = [_SHELL, "-c", fuse_watch.WAIT, _SHELL, *command]
    return subprocess.Popen(  # noqa: S603 - our own file, or our own script
        command,
        stdin=subprocess.PIPE,
        text=True,
        # Who ends a whole session or group does not end this one.
        start_new_session=True,
        cwd="/",
    )


def _end_watch(watch: subprocess.Popen[str]) -> None:
    if watch.returncode is None:
        watch.communicate(f"{fuse_watch.DONE}\n")


def obstacle() -> str | None:
    """Why nothing can be mounted on this machine, in the line that :func:`mount` raises; None where it can."""
    try:
        _find_way("/")  # first, because a folder to mount on may be missing too
        with tempfile.TemporaryDirectory(prefix="raplica-") as directory:
            mounted = mount(os.path.realpath(directory), allow_other=False)
            try:
                mounted.unmount()
            finally:
                # Where it is still mounted nobody waits for our answer.
                os.close(mounted.descriptor)
    except CannotMount as error:
        return str(error)
    except OSError as error:
        if error.errno in (EAGAIN, EMFILE):
            return start_refused(error)
        return f"no mount can be tried here: {error.strerror}: set TMPDIR to a folder that you may write to"
    return None


def open_device() -> int:
    """Open /dev/fuse: a connection that is not mounted yet.  CannotMount where that is not possible."""
    try:
        return os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (ENOENT, ENODEV, ENXIO):
            raise CannotMount(NO_DEVICE) from error
        if error.errno in (EPERM, EACCES):
            # EACCES is for who lacks permission bits, as root of a user namespace may; EPERM for a whole container.
            closed = error.errno == EACCES or os.geteuid() != 0
            raise CannotMount(DEVICE_CLOSED if closed else NO_RIGHT) from error
        raise


def mount_connection(descriptor: int, directory: str, *, allow_other: bool) -> None:
    """Mount an open connection; for root, be it of a user namespace.  CannotMount, or OSError as mount(2) says."""
    options = [f"fd={descriptor}", "rootmode=40755", f"user_id={os.geteuid()}", f"group_id={os.getegid()}"]
    options += ["default_permissions"] + ["allow_other"] * allow_other
    flags = calls.MS_NOSUID | calls.MS_NODEV | calls.MS_NOEXEC
    try:
        calls.mount("raplica", directory, fuse_watch.FILE_SYSTEM, flags, ",".join(options))
    except OSError as error:
        if error.errno in (EPERM, EACCES):
            raise CannotMount(mount_refused(error)) from error
        raise


def _find_way(directory: str) -> str:
    """Who can mount there: the path of fusermount3, or "" where this process can.  CannotMount where nobody can."""
    try:
        fuse_watch.device_of(directory)
    except OSError as error:
        # Without /proc we should not find the mount again to take it away, and would wait for ourselves.
        raise CannotMount(mount_refused(error)) from error
    if os.geteuid() != 0:
        return _find_helper()
    os.close(open_device())
    return ""


def _find_helper() -> str:
    if not Path(_DEVICE).exists():
        raise CannotMount(NO_DEVICE)
    # The helper opens it in the name of who calls.
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        raise CannotMount(DEVICE_CLOSED)
    for name in _HELPERS:
        if found := shutil.which(name):
            return found
    raise CannotMount(NO_HELPER)


def _ask_helper(helper: str, directory: str, *, allow_other: bool) -> int:
    """Let fusermount3 mount; it sends the open /dev/fuse through a socket."""
    options = ["fsname=raplica", "subtype=raplica", "default_permissions", "nosuid", "nodev", "noexec"]
    options += ["allow_other"] * allow_other
    ours, theirs = socket.socketpair()
    with ours, theirs:
        done = subprocess.run(  # noqa: S603 - the system's own program
            [helper, "-o", ",".join(options), "--", directory],
            env={**os.environ, "_FUSE_COMMFD": str(theirs.fileno())},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        theirs.close()
        _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
    if not descriptors:
        raise CannotMount(helper_refused(Path(helper).name, " ".join(done.stderr.decode(errors="replace").split())))
    os.set_inheritable(descriptors[0], False)
    return descriptors[0]
