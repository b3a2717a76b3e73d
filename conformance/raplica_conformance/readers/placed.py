# SPDX-License-Identifier: Apache-2.0
"""Run a program where a mounted machine stands in the place of the host's own meters, which it has fixed paths for.

    python -m raplica_conformance.readers.placed MOUNT/sys -- node_exporter --collector.rapl
    python -m raplica_conformance.readers.placed --stepped -- ./my-stepped-reader

In a mount namespace of its own /sys/class/powercap, /dev/cpu and what else the mount has are those of the machine, and
nobody else sees it. HOME is a folder in memory, since many programs write there. `--stepped` is for a reader that
speaks the protocol of `stepped` and looks at fixed paths: it is started anew for each machine, which `start` names.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from raplica_simulator.surfaces import namespace
from raplica_simulator.surfaces import namespace_calls as calls
from raplica_simulator.surfaces.fuse_mounting import CannotMount

__all__ = ["main"]

_USAGE = "usage: python -m raplica_conformance.readers.placed (SYSFS | --stepped) -- COMMAND..."
#: A folder of every Linux that no meter needs.
_HOMES = ("/mnt", "/srv", "/media", "/opt")
_CANNOT_MOUNT, _CANNOT_EXECUTE, _NOT_FOUND = 125, 126, 127


def main(arguments: Sequence[str]) -> int:
    """Become the command, or answer for one in steps; the exit status where it cannot be."""
    if len(arguments) < 3 or arguments[1] != "--":
        return _refuse(_USAGE, 2)
    where, _, *command = arguments
    if where == "--stepped":
        return _converse(command, sys.stdin, sys.stdout)
    try:
        put_into_place(Path(where).parent)
    except CannotMount as error:
        return _refuse(str(error), _CANNOT_MOUNT)
    try:
        os.execvp(command[0], command)  # noqa: S606 - what was asked for
    except OSError as error:
        return _refuse(
            f"{command[0]}: {error.strerror}", _NOT_FOUND if isinstance(error, FileNotFoundError) else _CANNOT_EXECUTE
        )


def put_into_place(mounted: Path) -> None:
    """Leave the host's view behind: from here on this process sees the machine that is mounted there.

    For a process of one thread. Raises CannotMount in one line where the system does not let us.
    """
    namespace.enter(unprivileged=False)
    namespace.stage_mounted(str(mounted))
    home = next((one for one in _HOMES if Path(one).is_dir()), None)
    if home is not None:
        try:
            calls.mount("raplica", home, "tmpfs", calls.MS_NOSUID, "mode=700")
        except OSError as error:
            raise CannotMount(f"{home}: {error.strerror}: no folder in memory can be mounted there") from error
        os.environ["HOME"] = home
    namespace.put(())


def _converse(command: Sequence[str], told: IO[str], say: IO[str]) -> int:
    """Pass the protocol on, to a process for each machine."""
    child: subprocess.Popen[str] | None = None
    try:
        for line in told:
            request = json.loads(line)
            if request["do"] == "start":
                _end(child)
                words = [sys.executable, "-m", "raplica_conformance.readers.placed", request["sysfs"], "--", *command]
                child = subprocess.Popen(  # noqa: S603 - this module
                    words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
                )
            say.write(_ask(child, line))
            say.flush()
            if request["do"] == "stop":
                return 0
    finally:
        _end(child)
    return 0


def _ask(child: "subprocess.Popen[str] | None", line: str) -> str:
    """One answer, of a child that may have ended by itself."""
    answer = ""
    if child is not None and child.stdin is not None and child.stdout is not None:
        try:
            child.stdin.write(line)
            child.stdin.flush()
            answer = child.stdout.readline()
        except BrokenPipeError:
            pass
    return answer or json.dumps({"ok": False, "problem": "the tool ended without an answer"}) + "\n"


def _end(child: "subprocess.Popen[str] | None") -> None:
    """End it, and with it what it has started."""
    if child is None:
        return
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    for stream in (child.stdin, child.stdout):
        if stream is not None:
            with suppress(BrokenPipeError):
                stream.close()


def _refuse(line: str, status: int) -> int:
    sys.stderr.write(f"{line}\n")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
