# SPDX-License-Identifier: Apache-2.0
"""The child of `raplica exec`, from the fork to the command that takes its place.

It reports to its parent through a socket, in the order of :class:`Report`, and waits once: until somebody answers for
what it has mounted and the machine's time runs.
"""

import os
import signal
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from errno import ENOENT
from pathlib import Path
from typing import NoReturn

from raplica_simulator.surfaces import namespace
from raplica_simulator.surfaces import namespace_calls as calls
from raplica_simulator.surfaces.fuse_mounting import CannotMount
from raplica_simulator.surfaces.obstacles import start_refused

__all__ = ["GO", "MOST_REPORTED", "Errand", "Report", "become"]

GO = b"!"
MOST_REPORTED = 64 * 1024
# Python ignores these from its start on, whatever they were; every other program expects them as the kernel has them.
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
_COERCED = {b"C.UTF-8", b"C.utf8", b"UTF-8"}  # see PEP 538


class Report(Enum):
    """What a message of the child begins with; the end of the messages says that the command has begun."""

    MOUNTED = b"m"  # with the open /dev/fuse
    PLACED = b"p"
    CANNOT_MOUNT = b"c"  # and the line that says why
    NOT_EXECUTED = b"e"  # and the errno
    MISTAKE = b"x"  # and what went wrong


@dataclass(frozen=True, slots=True)
class Errand:
    """What the child is to do.

    Attributes:
        command: the program and its arguments.
        guests: see :func:`.namespace.put`.
        unprivileged: whether the command is to be without any right.
        parent: the number of the process that answers.
        dispositions: what becomes of signals in the parent: a function of ours, or one of the kernel's.
        mask: the signals that were held back before all were.
        environment: what the command's environment has besides that of this process, or in its place; what it does not
            have (None), whatever this process was given.
    """

    command: Sequence[bytes]
    guests: Sequence[str]
    unprivileged: bool
    parent: int
    dispositions: Mapping[int, object]
    mask: frozenset[int]
    environment: Mapping[str, str | None] = field(default_factory=dict)


def become(errand: Errand, report: socket.socket) -> NoReturn:
    """Become the command.  For a forked child, with every signal held back; it ends where that cannot be."""
    try:
        _become(errand, report)
    except CannotMount as error:
        report.send(Report.CANNOT_MOUNT.value + str(error).encode(errors="surrogateescape"))
    except OSError as error:
        report.send(Report.CANNOT_MOUNT.value + start_refused(error).encode(errors="surrogateescape"))
    except BaseException as error:  # noqa: BLE001 - the parent has to hear of it, and nobody else may
        report.send(Report.MISTAKE.value + repr(error).encode(errors="backslashreplace")[: MOST_REPORTED - 1])
    finally:
        os._exit(125)


def _become(errand: Errand, report: socket.socket) -> None:
    _die_with(errand.parent)
    namespace.enter(unprivileged=errand.unprivileged)
    descriptor = namespace.stage()
    socket.send_fds(report, [Report.MOUNTED.value], [descriptor])
    # The parent alone holds it: when that ends, nobody waits for an answer any more.
    os.close(descriptor)
    namespace.put(errand.guests)
    if errand.unprivileged:
        calls.drop_capabilities()
    report.send(Report.PLACED.value)
    if report.recv(1) != GO:
        return
    environment = _environment(errand.environment)
    # Some changes of rights undo it.
    _die_with(errand.parent)
    _restore_signals(errand)
    try:
        if not errand.command[0]:  # which execvpe refuses by another name
            raise FileNotFoundError(ENOENT, os.strerror(ENOENT))
        os.execvpe(errand.command[0], list(errand.command), environment)  # noqa: S606 - what was asked for
    except OSError as error:
        report.send(Report.NOT_EXECUTED.value + str(error.errno).encode())


def _die_with(parent: int) -> None:
    calls.die_with_parent(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(125)


def _restore_signals(errand: Errand) -> None:
    """What was done to signals for our own sake ends here; those that are held back come now."""
    for number, disposition in errand.dispositions.items():
        if callable(disposition) and not isinstance(disposition, signal.Handlers):
            signal.signal(number, signal.SIG_DFL)
    for number in _IGNORED_BY_PYTHON:
        signal.signal(number, signal.SIG_DFL)
    if errand.dispositions.get(signal.SIGCHLD) is signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, errand.mask)


def _environment(changes: Mapping[str, str | None]) -> dict[bytes, bytes]:
    """The environment as this process was given it, but for ``changes``.

    Where the locale is C, Python sets LC_CTYPE for itself.
    """
    environment = dict(os.environb)
    if environment.get(b"LC_CTYPE") in _COERCED:
        with suppress(OSError):
            given = Path("/proc/self/environ").read_bytes().split(b"\0")
            del environment[b"LC_CTYPE"]
            for word in given:
                if word.startswith(b"LC_CTYPE="):
                    environment[b"LC_CTYPE"] = word.removeprefix(b"LC_CTYPE=")
    for name, value in changes.items():
        environment.pop(os.fsencode(name), None)
        if value is not None:
            environment[os.fsencode(name)] = os.fsencode(value)
    return environment
