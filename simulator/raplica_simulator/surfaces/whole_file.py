# SPDX-License-Identifier: Apache-2.0
"""One file, written whole or not at all: what every format that is not a folder ends in.

The file is first written into a directory of our own beside its place and then renamed, so that a reader meets the
old file or the new one, and an error or an interrupt leaves nothing behind.
"""

import os
import stat
from collections.abc import Callable
from typing import IO

from raplica_simulator.surfaces.target import OPEN_DIRECTORY, Refused, find_target, shown, staging_directory

__all__ = ["write_whole_file"]

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# Less the umask: nobody else writes there even without one.
_MODE, _MODE_ABOVE = 0o664, 0o775


def write_whole_file(
    out: str | os.PathLike[str],
    prepare: Callable[[], Callable[[IO[bytes]], None]],
    *,
    example: str,
    force: bool = False,
) -> None:
    """Let ``out`` be the file that somebody writes, with missing folders above it and the mode that the umask gives.

    ``prepare`` is called once the place is known to be free, and gives what writes to a binary stream.  ``example`` is
    a file name to suggest, such as machine.tar.  Raises Refused for ``/``, ``/sys``, ``/proc``, ``/dev`` and what is
    in them, for what exists and is no plain file, and for a file that is not empty unless ``force``; OSError as the
    file system says; and what the two functions raise.
    """
    path = os.fsdecode(out)
    with find_target(path, file=True) as target:
        *above, name = target.missing
        if not above:
            _check(path, name, target.descriptor, example, force=force)
        write = prepare()
        with staging_directory(target) as stage:
            here = os.dup(stage)
            try:
                for folder in above:
                    os.mkdir(folder, _MODE_ABOVE, dir_fd=here)
                    here, left = os.open(folder, OPEN_DIRECTORY, dir_fd=here), here
                    os.close(left)
                with os.fdopen(os.open(name, _CREATE, _MODE, dir_fd=here), "wb") as file:
                    write(file)
            finally:
                os.close(here)
            first = target.missing[0]
            os.rename(first, first, src_dir_fd=stage, dst_dir_fd=target.descriptor)


def _check(path: str, name: str, descriptor: int, example: str, *, force: bool) -> None:
    """Refuse to replace anything but a plain file, and one that holds something only by ``force``."""
    try:
        found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISREG(found.st_mode):
        raise Refused(f"{shown(path)} is not a file: this format needs one, such as {example}, or - for stdout")
    if found.st_size and not force:
        raise Refused(f"{shown(path)} exists: name another file, or say --force to replace it")
