# SPDX-License-Identifier: Apache-2.0
"""Signals, job control and sudden ends of `raplica exec`: the command notices no difference, and nothing is left."""

import os
import pty
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

EXEC = [sys.executable, "-m", "raplica_simulator", "exec", "kabylake", "--"]
ENERGY = "/sys/class/powercap/intel-rapl:0/energy_uj"
# Says which signals it gets until its input ends.
COUNT = """
import os, signal, sys
def say(number, _frame):
    os.write(1, b"%d\\n" % number)
for number in map(int, sys.argv[1:]):
    signal.signal(number, say)
os.write(1, b"ready %d\\n" % os.getpid())
while sys.stdin.buffer.raw.read(1):
    os.write(1, open("/sys/class/powercap/intel-rapl:0/name", "rb").read())
"""


pytestmark = pytest.mark.usefixtures("places")


@contextmanager
def counting(*numbers: int, before: str = "") -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """A command that counts signals, in a group of its own: raplica's process, and the command's number."""
    command = [*EXEC, sys.executable, "-c", f"{before}\n{COUNT}", *map(str, map(int, numbers))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process, int(process.stdout.readline().removeprefix("ready "))
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def said(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def wait_until(what: Callable[[], bool]) -> None:
    for _ in range(3000):
        if what():
            return
        time.sleep(0.01)
    pytest.fail("it did not come about in half a minute")


def is_gone(pid: int) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in ("Z", "X")
    return True


def descendants(pid: int) -> list[int]:
    found = []
    with suppress(FileNotFoundError):
        for child in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
            found += [child, *descendants(child)]
    return found


def test_a_signal_reaches_the_command_once_whoever_it_was_sent_to() -> None:
    numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGTERM)
    with counting(*numbers) as (process, command):
        heard = []
        for number in numbers:
            for send in (os.kill, os.killpg):
                send(process.pid, number)
                heard.append(said(process))
        os.kill(command, signal.SIGUSR1)
        heard.append(said(process))
        process.communicate("")
    assert heard == [str(int(number)) for number in numbers for _ in range(2)] + [str(int(signal.SIGUSR1))]
    assert process.returncode == 0


def test_a_command_that_signals_its_own_group_gets_that_once() -> None:
    script = "import os, signal; signal.signal(15, lambda *_: print('got')); os.kill(0, 15); print('sent')"
    done = subprocess.run(
        [*EXEC, sys.executable, "-c", script], capture_output=True, text=True, start_new_session=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "got\nsent\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_status_says_which_signal_ended_the_command(number: int) -> None:
    with counting() as (process, command):
        os.kill(process.pid if number != signal.SIGKILL else command, number)
        if number == signal.SIGINT:  # of a Python program's own making
            assert process.wait(timeout=60) in (128 + number, 1)
        else:
            assert process.wait(timeout=60) == 128 + number


@contextmanager
def terminal(*command: str) -> Iterator[tuple[int, int]]:
    """A command that leads a session at a terminal: its number, and the other end of the terminal."""
    pid, end = pty.fork()
    if pid == 0:
        os.execvp(command[0], command)  # noqa: S606
    try:
        yield pid, end
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(end)


def read_until(end: int, wanted: bytes) -> bytes:
    seen = b""
    while wanted not in seen:
        assert select.select([end], [], [], 60)[0], seen
        seen += os.read(end, 4096)
    return seen


def test_a_key_at_the_terminal_reaches_the_command_once() -> None:
    with terminal(*EXEC, sys.executable, "-c", COUNT, str(int(signal.SIGINT)), str(int(signal.SIGQUIT))) as (_, end):
        read_until(end, b"\n")
        os.write(end, b"\x03")
        # The terminal echoes the key.
        seen = read_until(end, b"2\r\n")
        os.write(end, b"\x1c")
        seen += read_until(end, b"3\r\n")
        os.write(end, b"x\n")
        seen += read_until(end, b"package-0\r\npackage-0\r\n")
    assert seen.split() == [b"^C2", b"^\\3", b"x", b"package-0", b"package-0"]


# A shell, as small as can be: one job in the foreground, and again when it has stopped.
SHELL = """
import os, signal, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
job = os.fork()
if job == 0:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execvp(sys.argv[1], sys.argv[1:])
_, status = os.waitpid(job, os.WUNTRACED)
os.tcsetpgrp(0, os.getpgrp())
os.write(1, b"stopped\\n" if os.WIFSTOPPED(status) else b"ended\\n")
sys.stdin.buffer.raw.readline()
os.tcsetpgrp(0, job)
os.killpg(job, signal.SIGCONT)
_, status = os.waitpid(job, 0)
os.write(1, b"status %d\\n" % os.waitstatus_to_exitcode(status))
"""


def test_a_job_is_stopped_and_goes_on_as_one() -> None:
    script = f"echo begun; cat {ENERGY}; read x; cat {ENERGY}; exit 5"
    with terminal(sys.executable, "-c", SHELL, *EXEC, "sh", "-c", script) as (_, end):
        read_until(end, b"begun")
        time.sleep(0.1)  # until it waits for input
        os.write(end, b"\x1a")
        read_until(end, b"stopped")
        os.write(end, b"go on\n")
        time.sleep(0.1)
        os.write(end, b"typed\n")
        assert b"status 5" in read_until(end, b"status")


def test_a_key_reaches_a_command_that_leads_a_session_of_its_own() -> None:
    with terminal(*EXEC, sys.executable, "-c", f"import os; os.setsid()\n{COUNT}", str(int(signal.SIGINT))) as (_, end):
        read_until(end, b"\n")
        os.write(end, b"\x03")
        read_until(end, b"2\r\n")


# What changes of rights do as well: PR_SET_PDEATHSIG, none.
UNDO = "import ctypes; ctypes.CDLL(None).prctl(1, 0)"


@pytest.mark.parametrize(("before", "stop"), [("", True), (UNDO, False), (UNDO, True)])
def test_nothing_is_left_when_raplica_is_killed(before: str, *, stop: bool) -> None:
    with counting(before=before) as (process, command):
        family = descendants(process.pid)
        assert command in family
        if stop:
            os.killpg(process.pid, signal.SIGSTOP)
        process.kill()
        process.wait()
        wait_until(lambda: all(map(is_gone, family)))


def test_nothing_is_left_whoever_is_killed_at_whatever_moment(tmp_path: Path) -> None:
    chance = random.Random(4)  # noqa: S311 - moments
    family: set[int] = set()
    for cycle in range(10):
        with subprocess.Popen(
            [*EXEC, "sleep", "60"], start_new_session=True, env={**os.environ, "TMPDIR": str(tmp_path)}
        ) as process:
            time.sleep(chance.uniform(0, 0.4))
            below = descendants(process.pid)
            family |= {process.pid, *below}
            with suppress(ProcessLookupError):
                os.kill(chance.choice([process.pid, *below]), signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.2)
            family |= set(descendants(process.pid))
            if cycle % 2:
                process.terminate()
            else:
                process.kill()
            process.wait(timeout=60)
    wait_until(lambda: all(map(is_gone, family)))
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines() if "raplica" in line]
    assert [place for place in mounts if place.startswith(("/sys", "/dev/cpu", "/proc"))] == []
    assert list(tmp_path.iterdir()) == []
