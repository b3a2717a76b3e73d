# SPDX-License-Identifier: Apache-2.0
"""Answering what the kernel asks about the files of a live surface, over /dev/fuse.

Mirrors fs/fuse/dev.c from the other side; what is answered stands in :mod:`.fuse_answers`.  The kernel checks
permission bits (``default_permissions``) and keeps names and attributes until :meth:`FuseServer.call_in` takes them
back; it keeps no content (``direct_io``).  Every request is answered at once by one thread: nothing here waits.
"""

import io
import os
import select
from collections.abc import Callable
from errno import ECONNABORTED, EINTR, EIO, ENODEV, ENOENT, ENOSYS

from raplica_simulator.linux.kernel import KernelCrash
from raplica_simulator.live.machine import LiveMachine
from raplica_simulator.surfaces import fuse_wire as wire
from raplica_simulator.surfaces.caller import Caller, user_namespace
from raplica_simulator.surfaces.fuse_answers import MOST_WRITTEN, REFUSED, Answer, FuseAnswers
from raplica_simulator.surfaces.fuse_entries import changes
from raplica_simulator.surfaces.fuse_log import FuseLog
from raplica_simulator.surfaces.fuse_wire import Header, Op
from raplica_simulator.surfaces.live_tree import LiveTree

__all__ = ["FuseServer"]

_BUFFER = MOST_WRITTEN + 4096
_AT_ONCE = 64  # requests, before it is looked whether to stop
_LOOKS = 32  # for the next request, before this thread sleeps: some 45 us


class FuseServer:
    """One connection to the kernel.

    Attributes:
        descriptor: the open /dev/fuse of the mount, -1 once it is closed.
        troubles: called with one line on what cannot be told to whom it happened.
        answers: what it answers from.
    """

    def __init__(
        self,
        descriptor: int,
        live: LiveMachine,
        tree: LiveTree,
        troubles: Callable[[str], None],
        at_home: int | None = None,
    ) -> None:
        """``at_home`` is the user namespace in which capabilities count, that of this process unless it is given."""
        self.descriptor = descriptor
        self.troubles = troubles
        self._live = live
        self._held = live.held()
        self._log = FuseLog(live, tree)
        self._tree = tree
        self.answers = FuseAnswers(tree, user_namespace() if at_home is None else at_home)

    # The loop.

    def serve(self, wake: int) -> None:
        """Answer until the file system is unmounted or ``wake`` can be read; for a thread of its own."""
        buffer = bytearray(_BUFFER)
        os.set_blocking(self.descriptor, False)
        # It says None where there is no request; os.readv raises, which takes longer than to look.
        take = io.FileIO(self.descriptor, "r+", closefd=False).readinto
        poll = select.poll()
        poll.register(self.descriptor, select.POLLIN)
        poll.register(wake, select.POLLIN)
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == wake:
                    return
            try:
                # Somebody is always waiting on a busy mount; all the same it is told to stop.
                for _ in range(_AT_ONCE):
                    if not _take_soon(take, buffer):
                        break
                    answer = self._answer(Header.unpack(buffer), buffer)
                    if answer is not None:
                        self._send(answer)
            except OSError as error:
                if error.errno in (ENODEV, ECONNABORTED):
                    return
                # A request that was taken back in between.
                if error.errno not in (EINTR, ENOENT):
                    raise

    def _answer(self, header: Header, body: bytearray) -> Answer:
        """The whole answer to one request, or None where the kernel expects none."""
        answer = self.answers.handlers.get(header.op)
        if answer is None:
            return wire.message(header.unique, errno=REFUSED.get(header.op, ENOSYS))
        try:
            with self._held:
                payload = answer(header, body) if not self._live.log.on else self._log.answer(answer, header, body)
        except OSError as error:
            return wire.message(header.unique, errno=error.errno or EIO)
        except KernelCrash as crash:
            self._crash(header, crash)
            return wire.message(header.unique, errno=EIO)
        except Exception as error:  # noqa: BLE001 - a caller must not wait for ever for a mistake of ours
            self.troubles(f"{Op(header.op).name}: {error!r}: this is a mistake in raplica; the caller got EIO")
            return wire.message(header.unique, errno=EIO)
        return None if payload is None else wire.message(header.unique, payload)

    def _crash(self, header: Header, crash: KernelCrash) -> None:
        """End who made the kernel crash, as the kernel does; where that cannot be done say what it got instead."""
        try:
            Caller(header.pid, header.uid).kill()
        except OSError as error:
            self.troubles(f"kernel crash: {crash}; the caller got EIO, it could not be killed: {error.strerror}")
        else:
            self.troubles(f"kernel crash: {crash}; process {header.pid} was killed")

    def _send(self, message: bytes) -> None:
        try:
            os.write(self.descriptor, message)
        except OSError as error:
            # ENOENT: nobody waits for it any more, or nobody knows what is called in; ENODEV: unmounted.
            if error.errno not in (ENOENT, ENODEV):
                raise

    def call_in(self) -> None:
        """Let the kernel ask anew about everything that has changed since it was told.

        For a thread that does not serve: the kernel may wait for an answer before it takes this.
        """
        if self.descriptor < 0:
            return
        messages: list[bytes] = []
        with self._held:
            for entry in (self._tree.root, *self._tree.handed_out()):
                messages += changes(entry)
        for message in messages:
            self._send(message)


def _take_soon(take: Callable[[bytearray], int | None], buffer: bytearray) -> bool:
    """Take the request that waits, or comes at once; False where none does.

    Reads come in rows.  To sleep between two of them, and be woken, costs this processor and whoever waits for the
    answer more than to look again, and who wants to run here meanwhile goes first.
    """
    for _ in range(_LOOKS):
        if take(buffer) is not None:
            return True
        os.sched_yield()
    return False
