# SPDX-License-Identifier: Apache-2.0
"""Where a surface may write: OUT as somebody typed it becomes an open directory and names to make below it.

A generated tree looks like ``/sys``, so a slip of the hand must not put one over the real one: ``/`` and everything
in ``/sys``, ``/proc`` and ``/dev`` is refused, whatever links, ``..`` or bind mounts lead there.  What is checked is
the directory that was opened, and all writing is relative to its descriptor, so a path that somebody changes in
between leads nowhere else.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["OPEN_DIRECTORY", "Refused", "Target", "find_target", "shown", "staging_directory"]

OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_PATH = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_ROOT = Path("/")
_FORBIDDEN = (_ROOT / "sys", _ROOT / "proc", _ROOT / "dev")


class Refused(ValueError):
    """A place that is not written to: one line with the place, the reason and what to do."""


@dataclass(frozen=True, slots=True)
class Target:
    """An open directory and what is to be made in it.

    Attributes:
        path: OUT as it was given, for messages.
        descriptor: the deepest directory at or above OUT that exists.
        missing: the names from there down to OUT: none where OUT is a directory that exists, its own name at least
            where OUT is to be a file.
    """

    path: str
    descriptor: int
    missing: tuple[str, ...]


@contextmanager
def find_target(out: str, *, file: bool = False) -> Iterator[Target]:
    """Open the directory that ``out`` is, or for a ``file`` the one that it stands in, and close it again.

    Links are resolved.  Raises Refused for a forbidden place and for a file where a directory is needed, OSError where
    it cannot be opened.
    """
    if not out or "\0" in out:
        raise Refused(f"'{shown(out)}' is no path: name a place to write to")
    real = os.path.realpath(out)
    _refuse_by_name(out, real)
    missing: list[str] = []
    if file:
        real, name = os.path.split(real)
        missing.append(name)
    descriptor = _open_deepest(real, missing)
    try:
        _refuse_by_descriptor(out, descriptor, is_out=not missing)
        yield Target(out, descriptor, tuple(missing))
    finally:
        os.close(descriptor)


@contextmanager
def staging_directory(target: Target) -> Iterator[int]:
    """A directory of our own beside what is to be written; whatever is left in it at the end is deleted.

    Yields its descriptor.  It is the caller's to rename what is finished out of it.
    """
    name = f".raplica-{os.urandom(8).hex()}"
    try:
        os.mkdir(name, 0o700, dir_fd=target.descriptor)
        try:
            descriptor = os.open(name, OPEN_DIRECTORY, dir_fd=target.descriptor)
        except PermissionError:  # a umask that takes the owner's own bits
            os.chmod(name, 0o700, dir_fd=target.descriptor)
            descriptor = os.open(name, OPEN_DIRECTORY, dir_fd=target.descriptor)
        try:
            yield descriptor
        finally:
            os.close(descriptor)
    finally:
        try:
            _remove(name, target.descriptor)
        except BaseException:
            # An interrupt that comes just now does not come twice.
            _remove(name, target.descriptor)
            raise


def shown(path: str) -> str:
    """A path on one line of a message, whatever bytes are in it."""
    return path if path.isprintable() else ascii(path)[1:-1]


def _open_deepest(real: str, missing: list[str]) -> int:
    """Open the deepest directory of a path that exists; the names below it are put before those in ``missing``."""
    while True:
        try:
            return os.open(real, _OPEN_PATH | os.O_NOFOLLOW)
        except FileNotFoundError:
            real, name = os.path.split(real)
            missing.insert(0, name)
        except NotADirectoryError:
            found = next(path for path in (Path(real), *Path(real).parents) if os.path.lexists(path))
            raise Refused(f"{shown(str(found))} is not a directory: name another place") from None


def _remove(name: str, descriptor: int) -> None:
    """Delete the staging directory: usually it is empty by now."""
    try:
        os.rmdir(name, dir_fd=descriptor)
    except FileNotFoundError:
        return
    except OSError:
        # Something went wrong, so there is time to load what only then is needed.
        import shutil

        shutil.rmtree(name, ignore_errors=True, dir_fd=descriptor)


def _refuse_by_name(out: str, real: str) -> None:
    """Refuse what a path says by itself, also where nothing is mounted or made yet."""
    places = {*map(str, _FORBIDDEN), *map(os.path.realpath, _FORBIDDEN)}
    # As typed as well: /dev/stdout may lead to a file, which is then no place for another one.
    for path in (os.path.normpath(Path(out).absolute()), real):
        plain = "/" + path.lstrip("/")
        if plain == "/" or any(plain == place or plain.startswith(place + "/") for place in places):
            raise _forbidden(out, real)


def _refuse_by_descriptor(out: str, descriptor: int, *, is_out: bool) -> None:
    """Refuse what a descriptor lies in: a bind mount shows these places under other names."""
    root = _ROOT.stat()
    here = os.fstat(descriptor)
    if is_out and os.path.samestat(here, root):
        raise _forbidden(out, "/")
    forbidden = []
    for place in _FORBIDDEN:
        with suppress(OSError):
            found = place.stat()
            forbidden.append(found)
            if here.st_dev == found.st_dev != root.st_dev:
                raise _forbidden(out, str(place))
    inside = os.open(".", _OPEN_PATH, dir_fd=descriptor)
    try:
        while True:
            if any(os.path.samestat(here, place) for place in forbidden):
                raise _forbidden(out, os.path.realpath(out))
            inside, below = os.open("..", _OPEN_PATH, dir_fd=inside), inside
            os.close(below)
            above = os.fstat(inside)
            if os.path.samestat(above, here):
                return
            here = above
    finally:
        os.close(inside)


def _forbidden(out: str, real: str) -> Refused:
    means = "" if out == real else f", which is {shown(real)}"
    return Refused(
        f"nothing is ever written to {shown(out)}{means}: "
        "/, /sys, /proc and /dev belong to the host; name a place of your own"
    )
