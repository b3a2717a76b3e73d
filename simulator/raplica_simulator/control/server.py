# SPDX-License-Identifier: Apache-2.0
"""The control door as a unix socket: lines of JSON, a request and its answer at a time.

Each client has a thread of its own, so that nobody waits for one that is slow, and whatever a client sends can end no
more than its own connection.  The socket is the owner's alone: its mode says so from the first moment on, and who
connects is asked for again.
"""

import json
import os
import socket
import stat
import struct
import threading
import time
from contextlib import suppress
from decimal import Decimal
from errno import EADDRINUSE, EAGAIN, ECONNREFUSED
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from raplica_simulator.control.door import Control
from raplica_simulator.control.requests import REQUESTS, answer, failure
from raplica_simulator.faults.verbs import VERBS

__all__ = ["LONGEST_PATH", "MOST_CLIENTS", "MOST_IN_LINE", "VERSION", "ControlDoor", "door_path"]

VERSION = 1
#: Bytes of a request line, its end included.
MOST_IN_LINE = 64 * 1024
MOST_CLIENTS = 64
#: Bytes of a path (unix(7), sun_path less the 0 at its end).
LONGEST_PATH = 107

_BREATH_S = 0.05
_PATIENCE_S = 0.5
_PEER = struct.Struct("3i")  # struct ucred: pid, uid, gid


class ControlDoor:
    """A socket at which a machine takes orders; a context manager.

    Attributes:
        path: where the socket is, absolute.
    """

    def __init__(self, control: Control, path: str | os.PathLike[str]) -> None:
        """Make the socket, of mode 0600, and answer from threads of our own.

        What a process that was killed left behind is taken away first.  ValueError in one line for a path at which
        no socket can be made, OSError(EAGAIN) where no thread can be started.
        """
        self.path = door_path(path)
        self._control = control
        self._clients: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _clear(self.path)
            self._inode = _bind(self._listener, self.path)
        except BaseException:
            self._listener.close()
            raise
        self._listener.listen(MOST_CLIENTS)
        self._thread = threading.Thread(target=self._accept, name="raplica-control", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            self._listener.close()
            Path(self.path).unlink(missing_ok=True)
            raise OSError(EAGAIN, os.strerror(EAGAIN)) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take the socket away; clients find their connections ended.  Closing twice does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            clients = dict(self._clients)
        # The folder may have gone, or may not be written any more: a socket of nobody's is replaced by the next one.
        with suppress(OSError):
            if Path(self.path).lstat().st_ino == self._inode:
                Path(self.path).unlink()
        # Wakes the thread that accepts, which close alone would not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        # Who has given an order, such as the one to end, is answered first; who does not listen is not waited for.
        until_s = time.monotonic() + _PATIENCE_S
        for how in (socket.SHUT_RD, socket.SHUT_RDWR):
            for client in clients:
                with suppress(OSError):
                    client.shutdown(how)
            for thread in clients.values():
                if thread is not threading.current_thread():
                    thread.join(max(0, until_s - time.monotonic()) if how == socket.SHUT_RD else None)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                if self._closed:
                    return
                # No descriptor is left, or whoever came has gone again.
                time.sleep(_BREATH_S)
                continue
            with self._lock:
                refusal = self._refusal(client) or self._begin(client)
            if refusal is None:
                continue
            with client, suppress(OSError):
                client.sendall(_line(failure(refusal)))

    def _refusal(self, client: socket.socket) -> str | None:
        """Why a client is not served; None where it is."""
        if self._closed:
            return "the machine is about to end"
        if len(self._clients) >= MOST_CLIENTS:
            return f"{MOST_CLIENTS} clients are connected already: end one of them"
        _, uid, _ = _PEER.unpack(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        if uid not in (0, os.geteuid()):
            return f"only user {os.geteuid()}, who started the machine, and root may give it orders"
        return None

    def _begin(self, client: socket.socket) -> str | None:
        """Serve a client from now on; why not, where that cannot be."""
        thread = threading.Thread(target=self._serve, args=(client,), name="raplica-client", daemon=True)
        self._clients[client] = thread
        try:
            thread.start()
        except RuntimeError:
            del self._clients[client]
            return "no more threads can be started here: end a client"
        return None

    def _serve(self, client: socket.socket) -> None:
        try:
            # A client that goes away in between has nothing to be told.
            with client, suppress(OSError), client.makefile("rb") as lines:
                client.sendall(_line(self._hello()))
                while line := lines.readline(MOST_IN_LINE + 1):
                    if len(line) > MOST_IN_LINE:
                        client.sendall(_line(failure(f"request: longer than {MOST_IN_LINE} bytes: send less at once")))
                        return
                    # Half a line is none: who sent it has gone.
                    if line.endswith(b"\n"):
                        client.sendall(self._answer(line))
        finally:
            with self._lock:
                del self._clients[client]

    def _hello(self) -> dict[str, Any]:
        status = self._control.status()
        return {
            "raplica": "control",
            "version": VERSION,
            "machine": status.machine,
            "kernel": status.kernel,
            "verbs": [*REQUESTS, *VERBS],
        }

    def _answer(self, line: bytes) -> bytes:
        try:
            table = json.loads(line, parse_float=Decimal, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            return _line(failure('request: this is no JSON: send one line such as {"do": "status"}'))
        if not isinstance(table, dict):
            return _line(failure('request: this is no JSON object: send one line such as {"do": "status"}'))
        try:
            return _line(answer(self._control, table))
        except Exception as error:  # noqa: BLE001 - the client must not wait for ever for a mistake of ours
            return _line(failure(f"{error!r}: this is a mistake in raplica"))


def _line(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode("ascii") + b"\n"


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(word)


def door_path(path: str | os.PathLike[str]) -> str:
    """The same as an absolute path.  ValueError in one line for one that no socket can have."""
    name = os.fspath(path)
    if not name or "\0" in name:
        raise ValueError("the control socket needs a path: name a file that is not there yet")
    try:
        whole = os.path.abspath(name)  # noqa: PTH100 - links stay as they are, and nothing has to be there
    except FileNotFoundError:
        raise ValueError(f"{name}: the working directory has gone: name a path that begins with /") from None
    length = len(os.fsencode(whole))
    if length > LONGEST_PATH:
        raise ValueError(
            f"{name}: a socket's path has at most {LONGEST_PATH} bytes, this one {length}: name a shorter one"
        )
    return whole


def _clear(path: str) -> None:
    """Remove what a process of ours left at a path when it was killed; ValueError for anything else that is there."""
    try:
        found = Path(path).lstat()
    except OSError:
        return  # who makes the socket is told why there is nothing
    if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.geteuid():
        raise ValueError(f"{path}: something else is there already: name a path that is not there yet")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # Who is too busy to take us in is there all the same.
        probe.setblocking(False)
        refused = probe.connect_ex(path)
    if refused != ECONNREFUSED:
        raise ValueError(f"{path}: another machine takes orders there: name another path")
    with suppress(OSError):  # who makes the socket is told that it is there
        Path(path).unlink()


def _bind(listener: socket.socket, path: str) -> int:
    """Make the socket at a path; its inode.  ValueError in one line where that cannot be."""
    # Before it is bound: the file then begins with this mode (net/unix/af_unix.c, unix_bind_bsd).
    os.fchmod(listener.fileno(), 0o600)
    try:
        listener.bind(path)
    except OSError as error:
        if error.errno == EADDRINUSE:
            raise ValueError(f"{path}: something else is there already: name a path that is not there yet") from None
        why = error.strerror
        raise ValueError(f"{path}: {why}: name a path in a folder that is there and that you may write to") from None
    return Path(path).lstat().st_ino
