# SPDX-License-Identifier: Apache-2.0
"""Waiting for a command as if it were this process: its signals, its stops and its status.

Both are in one process group.  What a terminal sends, and what somebody sends to the whole group, the command gets by
itself; what was sent to this process alone is passed on, and all of it to a command that leads a group of its own.
When the command is stopped this process stops too, so that a shell sees its job stop, and goes on with it.
"""

import os
import signal
from contextlib import suppress

from raplica_simulator.exec.group_watch import GroupWatch

__all__ = ["wait_for"]

# Where somebody's own thread holds nothing back, it may be the one that the kernel tells of the command's end.
_LOOK_AGAIN_S = 1.0
_SIGNALLED = 128  # + the signal: what a shell says of a command that was ended by one
_TERMINAL_STOPS = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)


def wait_for(child: int, watch: GroupWatch) -> int:
    """Wait until a child has ended: its exit status, or 128 and the signal that ended it.

    For the main thread, with every signal held back: what comes is passed on, except what this process ignores.
    """
    wanted = {number for number in signal.valid_signals() if signal.getsignal(number) is not signal.SIG_IGN}
    while (status := _look(child)) is None:
        info = signal.sigtimedwait(wanted, _LOOK_AGAIN_S)
        if info is not None and info.si_signo != signal.SIGCHLD and not _has_it(child, info, watch):
            os.kill(child, info.si_signo)
    # What came too late was meant for the command.
    while signal.sigtimedwait(wanted, 0) is not None:
        pass
    return status


def _has_it(child: int, info: signal.struct_siginfo, watch: GroupWatch) -> bool:
    """Whether the command got a signal by itself, which it does in our group only: it may lead one of its own."""
    # From the kernel: a key, a hangup, a background job's read.  An alarm is of a process and survives exec.
    in_group = watch.got(info.si_signo, info.si_pid) or (info.si_code > 0 and info.si_signo != signal.SIGALRM)
    return in_group and os.getpgid(child) == os.getpgrp()


def _look(child: int) -> int | None:
    """How the child ended, None while it has not; where it has stopped, stop with it."""
    while True:
        state = os.waitid(os.P_PID, child, os.WEXITED | os.WSTOPPED | os.WNOHANG)
        if state is None:
            return None
        if state.si_code == os.CLD_EXITED:
            return state.si_status
        if state.si_code in (os.CLD_KILLED, os.CLD_DUMPED):
            return _SIGNALLED + state.si_status
        if state.si_code == os.CLD_STOPPED and (state.si_status in _TERMINAL_STOPS or _has_terminal()):
            _stop_with(child)


def _stop_with(child: int) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)
    # Somebody has let this process go on.  Usually the whole group; a shell of shells has a group of its own.
    with suppress(ProcessLookupError):
        if _is_stopped(child):
            group = os.getpgid(child)
            if group == os.getpgrp():
                os.kill(child, signal.SIGCONT)
            else:
                os.killpg(group, signal.SIGCONT)


def _is_stopped(child: int) -> bool:
    with suppress(OSError), open(f"/proc/{child}/stat", "rb") as file:  # noqa: PTH123 - one line
        return file.read().rpartition(b")")[2].split()[0] in (b"T", b"t")
    return False


def _has_terminal() -> bool:
    """Whether somebody at a terminal can let this process go on."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
