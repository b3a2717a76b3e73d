# SPDX-License-Identifier: Apache-2.0
"""A unix socket that speaks lines of JSON, a request and its answer at a time; what is said is the business of others.

Each client has a thread of its own, so that nobody waits for one that is slow, and whatever a client sends can end no
more than its own connection.  The socket is the owner's alone: its mode says so, and who connects is asked for again.
"""

import json
import os
import socket
import struct
import threading
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from errno import EAGAIN
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, NoReturn, Protocol, Self

from raplica_simulator.decimals import read_decimal
from raplica_simulator.live.socket_file import bind, clear, whole_path

__all__ = ["MOST_CLIENTS", "MOST_IN_LINE", "LineDoor", "Talk"]

#: Bytes of a request line, its end included.
MOST_IN_LINE = 64 * 1024
MOST_CLIENTS = 64

_BREATH_S = 0.05
_PATIENCE_S = 0.5
_PEER = struct.Struct("3i")  # struct ucred: pid, uid, gid


class Talk(Protocol):
    """One connection."""

    def hello(self) -> dict[str, Any] | None:
        """What is said before the first request; None where the client begins."""
        ...

    def answer(self, table: dict[str, Any], /) -> dict[str, Any]:
        """The answer to a request."""
        ...

    def end(self) -> None:
        """The client has gone, or is hung up on."""
        ...


class LineDoor(ABC):
    """A socket at which a machine is asked; a context manager.

    Attributes:
        path: where the socket is, absolute.
        name: of its threads, and of the socket in what a person is told.
        does: what it does for a client, and what others may not have, as parts of such a sentence.
        example: a request, for who has sent none.
    """

    name: ClassVar[str]
    does: ClassVar[tuple[str, str]]
    example: ClassVar[str]

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Make the socket, of mode 0600, and answer from threads of our own.

        What a process that was killed left behind is taken away first.  ValueError in one line for a path at which
        no socket can be made, OSError(EAGAIN) where no thread can be started.
        """
        self.path = whole_path(path, self.name)
        self._clients: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            clear(self.path, self.does[0])
            self._inode = bind(self._listener, self.path)
        except BaseException:
            self._listener.close()
            raise
        self._listener.listen(MOST_CLIENTS)
        self._thread = threading.Thread(target=self._accept, name=f"raplica-{self.name}", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            self._listener.close()
            Path(self.path).unlink(missing_ok=True)
            raise OSError(EAGAIN, os.strerror(EAGAIN)) from None

    @abstractmethod
    def talk(self) -> Talk:
        """Begin a connection."""

    @abstractmethod
    def failure(self, why: str) -> dict[str, Any]:
        """The answer to what is no request at all, in one line."""

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
                client.sendall(_line(self.failure(refusal)))

    def _refusal(self, client: socket.socket) -> str | None:
        """Why a client is not served; None where it is."""
        if self._closed:
            return "the machine is about to end"
        if len(self._clients) >= MOST_CLIENTS:
            return f"{MOST_CLIENTS} clients are connected already: end one of them"
        _, uid, _ = _PEER.unpack(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        if uid not in (0, os.geteuid()):
            return f"only user {os.geteuid()}, who started the machine, and root may {self.does[1]}"
        return None

    def _begin(self, client: socket.socket) -> str | None:
        """Serve a client from now on; why not, where that cannot be."""
        thread = threading.Thread(target=self._serve, args=(client,), name=f"raplica-{self.name}-client", daemon=True)
        self._clients[client] = thread
        try:
            thread.start()
        except RuntimeError:
            del self._clients[client]
            return "no more threads can be started here: end a client"
        return None

    def _serve(self, client: socket.socket) -> None:
        talk = self.talk()
        try:
            # A client that goes away in between has nothing to be told.
            with client, suppress(OSError), client.makefile("rb") as lines:
                hello = talk.hello()
                if hello is not None:
                    client.sendall(_line(hello))
                while line := lines.readline(MOST_IN_LINE + 1):
                    if len(line) > MOST_IN_LINE:
                        why = f"request: longer than {MOST_IN_LINE} bytes: send less at once"
                        client.sendall(_line(self.failure(why)))
                        return
                    # Half a line is none: who sent it has gone.
                    if line.endswith(b"\n"):
                        client.sendall(_line(self._answer(talk, line)))
        finally:
            try:
                talk.end()
            finally:
                with self._lock:
                    del self._clients[client]

    def _answer(self, talk: Talk, line: bytes) -> dict[str, Any]:
        try:
            table = json.loads(
                line, parse_float=read_decimal, parse_constant=_refuse_constant, object_pairs_hook=_table
            )
        except _KeyTwice as error:
            return self.failure(f"request: {error}")
        except (ValueError, RecursionError):
            return self.failure(f"request: this is no JSON: send one line such as {self.example}")
        if not isinstance(table, dict):
            return self.failure(f"request: this is no JSON object: send one line such as {self.example}")
        try:
            return talk.answer(table)
        except Exception as error:  # noqa: BLE001 - the client must not wait for ever for a mistake of ours
            return self.failure(f"{error!r}: this is a mistake in raplica")


def _line(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode("ascii") + b"\n"


class _KeyTwice(ValueError):
    """A key stands in an object twice: which of the two is meant, nobody can know."""


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _KeyTwice(f"{twice[:40]!a} is given twice: give it once")
    return table


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(word)
