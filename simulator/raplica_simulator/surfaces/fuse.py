# SPDX-License-Identifier: Apache-2.0
"""A machine as a mounted file system: ``DIR/sys`` and ``DIR/dev/cpu/N/msr``, live.

Unmodified programs meet a sysfs that behaves like the kernel's: every read at offset 0 asks the machine anew, also on
a descriptor kept open, errors come at the call at which the kernel raises them, and what goes away goes from under
those who hold it.  What FUSE cannot give stands in the manual.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import ENOTCONN
from types import TracebackType
from typing import Self

from raplica_simulator.live.machine import LiveMachine
from raplica_simulator.machine import Machine
from raplica_simulator.surfaces.fuse_mounting import CannotMount, mount
from raplica_simulator.surfaces.fuse_server import FuseServer
from raplica_simulator.surfaces.fuse_serving import Serving
from raplica_simulator.surfaces.live_tree import LiveTree
from raplica_simulator.surfaces.target import OPEN_DIRECTORY, Refused, find_target, shown

__all__ = ["CannotMount", "FuseMount", "Refused"]


class FuseMount:
    """A live machine on a directory; a context manager.

    Attributes:
        directory: where it is mounted, absolute and without links.
    """

    def __init__(
        self,
        live: LiveMachine,
        directory: str | os.PathLike[str],
        *,
        allow_other: bool = False,
        host_files: bool = False,
        troubles: Callable[[str], None] = lambda _line: None,
    ) -> None:
        """Mount on ``directory``, which is made if it is not there, and answer from a thread of our own.

        ``allow_other`` shows it to other users too, with the modes that the files have; ``host_files`` adds
        ``sys/devices/system/cpu`` and ``proc/cpuinfo``.  ``troubles`` is called with a line on what cannot be told to
        whom it happened.  Raises CannotMount where the system does not let us, Refused for a directory that is not
        empty or belongs to the host, OSError where it cannot be made.
        """
        self.directory, moment_ns = _prepare(os.fspath(directory))
        _let_programs_start()
        self._mounted = mount(self.directory, allow_other=allow_other)
        try:
            self._serving = Serving(
                live,
                LiveTree(live.machine.sysfs, live.msr_module, moment_ns, host_files=host_files),
                self._mounted.descriptor,
                troubles,
                place=f"the mount on {shown(self.directory)}",
                failed=self._mounted.unmount,
            )
        except BaseException:
            self._mounted.unmount()
            raise
        self._closed = False
        try:
            os.stat(f"{self.directory}/sys")  # noqa: PTH116 - answered by our own thread: it works
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def held(self) -> Iterator[Machine]:
        """Change the machine, with nobody looking; what has gone or come is known to everybody when this ends.

        Not for the thread that serves, and without a call on the mount inside, which would wait for ever.
        """
        with self._serving.held() as machine:
            yield machine

    def call_in(self) -> None:
        """Let everybody know what has gone or come, after a change that was not made under :meth:`held`."""
        self._serving.server.call_in()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it is unmounted, by whomever; False when the time was over before."""
        return self._serving.wait(timeout_s)

    def close(self) -> None:
        """Unmount; who has a file open gets ENOTCONN from now on.  Closing twice does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            self._mounted.unmount()
        finally:
            self._serving.close()

    @property
    def _server(self) -> FuseServer:
        return self._serving.server


def _let_programs_start(version: tuple[int, ...] = sys.version_info[:3]) -> None:
    """Let a program that this process starts not wait for the thread that serves, which then waits for it.

    Up to Python 3.11.3 `subprocess` keeps the interpreter for itself until the program has begun, and before that the
    new process closes files of ours and goes to its working directory (python/cpython#104372).  The manual of
    `subprocess` names this switch.
    """
    if version < (3, 11, 4):
        vars(subprocess)["_USE_VFORK"] = False


def _prepare(path: str) -> tuple[str, int]:
    """Make the directory or see that it is empty: its real path, and when it was last changed, in ns."""
    try:
        with find_target(path) as target:
            here = os.dup(target.descriptor)
            try:
                for name in target.missing:
                    os.mkdir(name, 0o775, dir_fd=here)  # less the umask: nobody else writes there even without one
                    here, above = os.open(name, OPEN_DIRECTORY, dir_fd=here), here
                    os.close(above)
                if os.listdir(f"/proc/self/fd/{here}"):  # noqa: PTH208 - names are all that is asked for
                    raise Refused(f"{shown(path)} is not empty: name an empty folder, or one that is not there")
                return os.path.realpath(path), os.fstat(here).st_mtime_ns
            finally:
                os.close(here)
    except OSError as error:
        if error.errno == ENOTCONN:
            command = "fusermount3 -uz" if os.geteuid() else "umount -l"
            raise Refused(f"{shown(path)} is a mount that nobody answers for: `{command} {shown(path)}`") from error
        raise
