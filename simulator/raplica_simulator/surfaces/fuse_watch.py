# SPDX-License-Identifier: Apache-2.0
"""Unmounting, also when the process that answers for a mount was killed and cannot do it itself.

Run as a program (``python -I -S fuse_watch.py DIRECTORY HELPER``) this waits until its standard input ends.  If nothing
came it unmounts whatever of ours is mounted there by then, after a device number only that, after ``.`` nothing any
more.  It is started before there is a mount, so that no moment goes unwatched.  Needs the standard library only.

A signal that ends whatever is around, such as a service's, does not end it: it ends with the process that it watches.

Most mounts end in order, and starting a Python costs more than all else that they do: so a shell waits in its place
(:data:`WAIT`, whose arguments are the command above), and starts it only where there is something to do.
"""

import ctypes
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

__all__ = ["WAIT", "device_of", "unmount"]

FILE_SYSTEM = "fuse.raplica"
DONE = "."  # what ends the watch, alone on a line
WAIT = f"""\
trap '' HUP INT TERM
told=
while IFS= read -r line; do
    case $line in {DONE}) exit 0 ;; esac
    told=$line
done
printf '%s\\n' "$told" | "$@"
"""
_DETACH = 2  # MNT_DETACH: those who still use it do not keep it in place
_NO_FOLLOW = 8  # UMOUNT_NOFOLLOW


def device_of(directory: str) -> str:
    """The device number, such as "0:57", of our file system on a directory; "" where it is not (proc(5), mountinfo).

    stat would ask the file system, which nobody may answer for.
    """
    found = ""
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        fields, _, kind = line.partition(b" - ")
        words = fields.split()
        where = re.sub(rb"\\([0-7]{3})", lambda code: bytes([int(code[1], 8)]), words[4])
        if where == os.fsencode(directory):
            # The last one lies on top.
            found = words[2].decode() if kind.startswith(FILE_SYSTEM.encode()) else ""
    return found


def unmount(directory: str, device: str, helper: str = "") -> None:
    """Unmount it, if it is still there, by ``helper`` (fusermount3) or as root.  OSError as umount2(2) says."""
    if not device or device_of(directory) != device:
        return
    if helper:
        subprocess.run([helper, "-u", "-z", "-q", "--", directory], check=False)  # noqa: S603 - the system's own program
    elif ctypes.CDLL(None, use_errno=True).umount2(os.fsencode(directory), _DETACH | _NO_FOLLOW):
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno), directory)


def _watch(directory: str, helper: str) -> None:
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    told = sys.stdin.read()
    if not told.rstrip().endswith(DONE):
        unmount(directory, told.strip() or device_of(directory), helper)


if __name__ == "__main__":
    _watch(*sys.argv[1:])
