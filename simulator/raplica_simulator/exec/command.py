# SPDX-License-Identifier: Apache-2.0
"""What `raplica exec` does: run a command where a machine stands in the place of the host's own power meters.

The command is a child that leaves the host's mounts behind before it begins; this process answers for the machine
until the command has ended.  What was mounted was mounted among the child's own mounts only, so nothing is left to
clean up, whoever is killed at whatever moment.
"""

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from errno import EACCES, ENOENT, ENOEXEC
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from raplica_simulator.exec.child import GO, MOST_REPORTED, Errand, Report, become
from raplica_simulator.exec.group_watch import GroupWatch
from raplica_simulator.exec.wait import wait_for
from raplica_simulator.live.machine import LiveMachine
from raplica_simulator.scenario.punctual import Punctual
from raplica_simulator.surfaces import namespace
from raplica_simulator.surfaces.caller import user_namespace
from raplica_simulator.surfaces.fuse_mounting import CannotMount
from raplica_simulator.surfaces.fuse_serving import Serving
from raplica_simulator.surfaces.live_placed import PlacedTree

if TYPE_CHECKING:
    from raplica_simulator.macos.mac import Mac

__all__ = ["CannotMount", "run"]

_CANNOT_EXECUTE = 126  # as env(1), nice(1) and timeout(1) have it
_NOT_FOUND = 127
# What a command is told of its machine, the last two by :mod:`.as_macos`.
_DOOR, *_ABOUT_A_MAC = "RAPLICA_CONTROL", "RAPLICA_MAC", "RAPLICA_MAC_BOOT_NS"
_HINTS = {
    ENOENT: ": name a program in PATH, or the path of one",
    EACCES: ": name a file that may be executed",
    ENOEXEC: ": it is a program for another processor, or a script without a #! line",
}


def run(
    live: LiveMachine,
    command: Sequence[str],
    *,
    control: str | os.PathLike[str] | None = None,
    step: bool = False,
    perf_files: bool = False,
    unprivileged: bool = False,
    mac: "Mac | None" = None,
    tell: Callable[[str], None],
) -> int:
    """Run ``command`` where ``live`` is to be seen, let its time run unless it is to ``step``, and wait for the end.

    The exit status: that of the command, 128+N where signal N ended it, 126 where it cannot be executed, 127 where
    there is none, both after a line through ``tell``, which also gets the machine's warnings.  ``control`` is where its
    control door stands meanwhile, which the command finds in RAPLICA_CONTROL; an order to end is a SIGTERM for it.  The
    command is root in a user namespace where this process is not root, and without any right if it is to be
    ``unprivileged``.  With ``mac`` it is not Linux that runs on the machine: there are no zones and no registers, and
    the tools of macOS stand first in PATH.

    For the main thread of a program that has no other yet.  Raises CannotMount in one line where the system does not
    let us, ValueError for an empty command or a wrong ``control``.
    """
    if not command:
        raise ValueError("there is no command: name one after --, such as -- cat /sys/class/powercap/*/name")
    if any("\0" in word for word in command):
        raise ValueError("a word of the command has a NUL in it, which no program can be given: leave it out")
    with _place(live, mac, control, runs=not step) as (door, environment):
        return _run(
            live, command, door, environment, step=step, perf_files=perf_files, unprivileged=unprivileged, tell=tell
        )


def _run(
    live: LiveMachine,
    command: Sequence[str],
    door: str | None,
    environment: Mapping[str, str | None],
    *,
    step: bool,
    perf_files: bool,
    unprivileged: bool,
    tell: Callable[[str], None],
) -> int:
    """As :func:`run`, with all that is checked."""
    for warning in live.machine.warnings:
        tell(f"warning: {warning}")
    perf_type = None
    if perf_files:
        from raplica_simulator.linux.perf_power import free_perf_type

        perf_type = free_perf_type()
    guests = namespace.guests()
    with _signals_held() as (mask, dispositions), GroupWatch() as watch:
        words = [os.fsencode(word) for word in command]
        errand = Errand(words, guests, unprivileged, os.getpid(), dispositions, mask, environment)
        child = _Child(errand)
        try:
            watch.guard(child.pid)
            serving = Serving(
                live,
                PlacedTree(live, Path("/sys").stat().st_mtime_ns, guests, perf_type=perf_type),
                child.expect(Report.MOUNTED),
                tell,
                place="the machine",
                at_home=user_namespace(child.pid),
            )
            try:
                child.expect(Report.PLACED)
                with _door(door, live, serving, child.pid), Punctual(live, serving.held, tell):
                    if not step:
                        live.let_time_run()
                    errno = child.let_go()
                    if errno is None:
                        return wait_for(child.pid, watch)
                    tell(f"{command[0] or repr('')}: {os.strerror(errno)}{_HINTS.get(errno, '')}")
                    return _NOT_FOUND if errno == ENOENT else _CANNOT_EXECUTE
            finally:
                serving.close()
        except _Ended:
            return wait_for(child.pid, watch)
        finally:
            child.close()


@contextmanager
def _place(
    live: LiveMachine, mac: "Mac | None", control: str | os.PathLike[str] | None, *, runs: bool
) -> Iterator[tuple[str | None, Mapping[str, str | None]]]:
    """Where the control door stands, and what the command is told of it; and the machine is made what it is to be."""
    door = _door_path(control)
    if mac is None:
        # Where this runs in another exec, what that has told is of another machine.
        yield door, {_DOOR: door, **dict.fromkeys(_ABOUT_A_MAC)}
        return
    from raplica_simulator.exec.as_macos import environment, own_door, without_linux

    without_linux(live)
    with own_door() if door is None else nullcontext(door) as place:
        yield place, environment(mac, live, place, os.environ.get("PATH"), runs=runs)


def _door_path(control: str | os.PathLike[str] | None) -> str | None:
    if control is None:
        return None
    from raplica_simulator.control.server import door_path

    return door_path(control)


def _door(path: str | None, live: LiveMachine, serving: Serving, child: int) -> AbstractContextManager[object]:
    if path is None:
        return nullcontext()
    from raplica_simulator.control.door import Control
    from raplica_simulator.control.server import ControlDoor

    end = partial(os.kill, child, signal.SIGTERM)
    return ControlDoor(Control(live, serving.server.call_in, end=end), path)


@contextmanager
def _signals_held() -> Iterator[tuple[frozenset[int], Mapping[int, object]]]:
    """Hold back every signal: the mask that was, and what becomes of each signal then."""
    dispositions: dict[int, object] = {number: signal.getsignal(number) for number in signal.valid_signals()}
    # Children whose end nobody wants to hear of cannot be waited for.
    if dispositions[signal.SIGCHLD] is signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    mask = frozenset(signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()))
    try:
        yield mask, dispositions
    finally:
        if dispositions[signal.SIGCHLD] is signal.SIG_IGN:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class _Ended(Exception):
    """Somebody has ended the child before it could report."""


class _Child:
    """The process that becomes the command.

    Attributes:
        pid: its number.
    """

    def __init__(self, errand: Errand) -> None:
        # What is still to be printed is printed once.
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        self._reports, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self.pid = os.fork()
        except OSError:
            self._reports.close()
            theirs.close()
            raise
        if self.pid == 0:
            self._reports.close()
            become(errand, theirs)
        theirs.close()

    def expect(self, wanted: Report) -> int:
        """Wait for a report: the descriptor that came with it, or -1.

        Raises CannotMount as the child says, _Ended where it says nothing any more.
        """
        _, descriptors = self._receive(wanted)
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
            return descriptor
        return -1

    def let_go(self) -> int | None:
        """Let it become the command: None once it has, or has ended, or the errno that execve(2) gave."""
        try:
            self._reports.send(GO)
            text, _ = self._receive(Report.NOT_EXECUTED)
        except (_Ended, BrokenPipeError):
            return None
        return int(text)

    def _receive(self, wanted: Report) -> tuple[str, list[int]]:
        """What a report says, and the descriptors that came with it; errors as :meth:`expect`."""
        try:
            message, descriptors, _, _ = socket.recv_fds(self._reports, MOST_REPORTED, 1)
        except ConnectionResetError:  # it ended before it took what we had sent
            raise _Ended from None
        if not message:
            raise _Ended
        report, text = Report(message[:1]), message[1:].decode(errors="surrogateescape")
        if report is Report.CANNOT_MOUNT:
            raise CannotMount(text)
        if report is not wanted:
            raise RuntimeError(f"{report.name}: {text}: this is a mistake in raplica")
        return text, descriptors

    def close(self) -> None:
        """Whatever has become of it, nothing of it is left."""
        self._reports.close()
        # Where it was waited for already its number may be somebody else's.
        with suppress(ChildProcessError):
            if os.waitpid(self.pid, os.WNOHANG)[0] == 0:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
