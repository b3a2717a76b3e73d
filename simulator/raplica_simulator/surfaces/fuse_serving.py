# SPDX-License-Identifier: Apache-2.0
"""Answering for a live surface from a thread of our own, from when it is mounted until it is not.

What :class:`.FuseMount` and ``raplica exec`` have in common: they differ in who mounts, and where.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import EAGAIN

from raplica_simulator.live.machine import LiveMachine
from raplica_simulator.machine import Machine
from raplica_simulator.surfaces.fuse_server import FuseServer
from raplica_simulator.surfaces.live_tree import LiveTree

__all__ = ["Serving"]


class Serving:
    """A connection to the kernel, which it owns, and the thread that answers what comes through it.

    Attributes:
        live: the machine.
        server: what answers.
    """

    def __init__(
        self,
        live: LiveMachine,
        tree: LiveTree,
        descriptor: int,
        troubles: Callable[[str], None],
        *,
        place: str,
        at_home: int | None = None,
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        """Answer for ``descriptor``, which is mounted, from now on.

        ``troubles`` is called with a line on what cannot be told to whom it happened, ``failed`` after a mistake of
        ours has ended it; ``place`` is how a line names it.  ``at_home`` as :class:`.FuseServer` takes it.  Raises
        OSError(EAGAIN), with the connection closed, where no thread can be started.
        """
        self.live = live
        self._descriptor = descriptor
        self._troubles = troubles
        self._place = place
        self._failed = failed
        self.server = FuseServer(descriptor, live, tree, troubles, at_home)
        self._lock = threading.Lock()
        self._ending = False
        self._beside: list[threading.Thread] = []
        # Not by the thread that answers: the kernel asks it something before the names are gone.
        tree.when_switched = self._call_in_beside
        self._wake_out, self._wake = os.pipe()
        self._thread = threading.Thread(target=self._serve, name="raplica-fuse", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            for one in (self._wake, self._wake_out, descriptor):
                os.close(one)
            raise OSError(EAGAIN, os.strerror(EAGAIN)) from None

    @contextmanager
    def held(self) -> Iterator[Machine]:
        """Change the machine, with nobody looking; what has gone or come is known to everybody when this ends.

        Not for the thread that serves, and without a call on the surface inside, which would wait for ever.
        """
        try:
            with self.live.held() as machine:
                yield machine
        finally:
            self.server.call_in()

    def _call_in_beside(self) -> None:
        with self._lock:
            if self._ending:
                return
            thread = threading.Thread(target=self.server.call_in, name="raplica-call-in", daemon=True)
            self._beside = [*(one for one in self._beside if one.is_alive()), thread]
            thread.start()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it is unmounted, by whomever; False when the time was over before."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def close(self) -> None:
        """Answer no more: whoever still asks gets ENOTCONN.  Closing twice does nothing."""
        with self._lock:
            if self._ending:
                return
            self._ending = True
        # First: the kernel may let them wait for somebody who waits for an answer, and a call that is still under way
        # keeps the connection from ending.
        for thread in self._beside:
            thread.join()
        os.close(self._wake)
        self._thread.join()
        os.close(self._wake_out)
        self.server.descriptor = -1
        os.close(self._descriptor)

    def _serve(self) -> None:
        try:
            self.server.serve(self._wake_out)
        except Exception as error:  # noqa: BLE001 - whoever waits for an answer must not wait for ever
            self._troubles(f"{self._place} has ended: {error!r}: this is a mistake in raplica")
            # The connection goes at once, its number stays taken until close.
            nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            os.dup2(nothing, self._descriptor, inheritable=False)
            os.close(nothing)
            self._failed()
