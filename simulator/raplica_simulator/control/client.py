# SPDX-License-Identifier: Apache-2.0
"""What `raplica ctl` does: it asks a machine that another process shows, and makes lines for a person of the answers.

Needs nothing but the standard library.
"""

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from errno import EACCES, ECONNREFUSED, ENOENT, ENOTSOCK
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from raplica_simulator.control.words import USAGE, read_order

__all__ = ["Connection", "Refused", "ask", "carry_out"]

_LONGEST = 64 * 1024 * 1024
_VERSION = 1
_FOLLOW_EVERY_S = 0.1
_PATIENCE_S = 30.0
_NS_PER_S = 10**9
_HINTS = {
    ENOENT: "start mount or exec with --control and this path",
    ECONNREFUSED: "nobody answers there any more",
    EACCES: "it belongs to another user: ask as the one who started the machine, or as root",
    ENOTSOCK: "name the socket of --control",
}


class Refused(RuntimeError):
    """The machine did not do it: one line that says why.

    Attributes:
        errno: the name of the kernel's errno, where that is what came of it.
    """

    def __init__(self, line: str, errno: str | None = None) -> None:
        super().__init__(line)
        self.errno = errno


class Connection:
    """A connection to the control socket of a mount or of exec; a context manager.

    Attributes:
        hello: what the machine said of itself.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Connect.  Refused in one line where nobody answers, or something else than a machine."""
        where = os.fspath(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(where)
            self._lines = self._socket.makefile("rb")
            # A machine says hello at once, however busy it is; others wait to be spoken to.
            self._socket.settimeout(_PATIENCE_S)
            self.hello: dict[str, Any] = self._receive()
            self._socket.settimeout(None)
            if self.hello.get("raplica") != "control" or self.hello.get("version") != _VERSION:
                raise Refused(f"{where}: it does not speak version {_VERSION} of raplica's control protocol")
        except BaseException as error:
            self._socket.close()
            if isinstance(error, OSError):
                # A plain file refuses as a socket does of which nobody listens any more.
                no_socket = error.errno == ECONNREFUSED and not Path(where).is_socket()
                hint = _HINTS.get(ENOTSOCK if no_socket else error.errno or 0, _HINTS[ENOTSOCK])
                raise Refused(f"{where}: {error.strerror or error}: {hint}") from None
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._lines.close()
        self._socket.close()

    def ask(self, verb: str, arguments: Mapping[str, Any] | None = None) -> Any:
        """The result of one request.  Refused with what the machine says against it."""
        with suppress(BrokenPipeError):  # what it said before it hung up can still be read
            self._socket.sendall(json.dumps({**(arguments or {}), "do": verb}).encode("ascii") + b"\n")
        return self._receive().get("result")

    def _receive(self) -> dict[str, Any]:
        try:
            line = self._lines.readline(_LONGEST)
        except ConnectionResetError:
            line = b""
        if not line.endswith(b"\n"):
            raise Refused("the machine has ended, or hung up")
        try:
            document = json.loads(line)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise Refused("this is no control socket of raplica: it says something else")
        if document.get("ok") is False:
            raise Refused(str(document.get("error")), document.get("errno"))
        return document


def ask(path: str | os.PathLike[str], verb: str, arguments: Mapping[str, Any] | None = None) -> Any:
    """The result of one request, on a connection of its own; errors as for :class:`Connection`."""
    with Connection(path) as connection:
        return connection.ask(verb, arguments)


def carry_out(path: str | os.PathLike[str], words: Sequence[str]) -> Iterator[tuple[Any, list[str]]]:
    """Carry out an order: each answer, and the same as lines for a person; more than one only of a log.

    ValueError in one line for words that are no order, before anything is sent; errors as for :class:`Connection`.
    """
    order = read_order(words)
    verb = order.request["do"]
    with Connection(path) as connection:
        known = connection.hello.get("verbs")
        if isinstance(known, list) and verb not in known:
            raise ValueError(f"{verb!r} is no order: say one of {', '.join(USAGE)}")
        if verb == "log" and len(order.request) == 1:
            yield from _pages(connection, follow=order.follow)
        else:
            result = connection.ask(verb, order.request)
            yield result, _lines(verb, result)


def _pages(connection: Connection, *, follow: bool) -> Iterator[tuple[Any, list[str]]]:
    """The log up to now, or for ever."""
    if follow:
        connection.ask("log-on")
    since = until = 0
    while True:
        page = connection.ask("log", {"since": since})
        # What comes while we read belongs to the next time.
        until = page["last"] if follow or not since else until
        calls = page["calls"]
        if calls or not follow:
            dropped = (
                [f"{page['dropped']} calls before these are kept no more"] if page["dropped"] and not since else []
            )
            yield page, dropped + _lines("log", page)
        if calls:
            since = calls[-1]["number"]
        if calls and since < until:
            continue
        if not follow:
            return
        time.sleep(_FOLLOW_EVERY_S)


def _lines(verb: str, result: Any) -> list[str]:
    if verb in ("status", "advance", "pause", "run", "speed"):
        return [_status(result)]
    if verb == "truth":
        return [_truth(one) for one in result]
    if verb == "energies":
        return [
            f"{_seconds(result['now_ns'])} s",
            *(f"{one['domain']}  {one['truth_uj']} uJ" for one in result["energies"]),
        ]
    if verb == "zones":
        return [_printable(_zone(one)) for one in result]
    if verb == "log":
        return [_printable(_call(one)) for one in result["calls"]]
    return []


def _printable(line: str) -> str:
    """What programs wrote into a file may be anything."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line)


def _status(status: Mapping[str, Any]) -> str:
    time_s = _seconds(status["now_ns"])
    moves = f"runs at {status['speed']} s/s" if status["running"] else "stands"
    log = "on" if status["log_on"] else "off"
    return f"{status['machine']} on Linux {status['kernel']}: {time_s} s, time {moves}, log {log}"


def _truth(one: Mapping[str, Any]) -> str:
    counters = "".join(
        f"  {value['space']} {value['owner']} {value['register']} = {value['raw']:#x}" for value in one["counters"]
    )
    return f"{one['domain']}  {one['truth_uj']} uJ{counters}"


def _zone(one: Mapping[str, Any]) -> str:
    shown = one["error"] if one["energy_uj"] is None else f"{one['energy_uj']} uJ"
    truth = "" if one["truth_uj"] is None else f"  truth {one['truth_uj']} uJ"
    return f"{one['id']}  {one['path']}  {shown or 'no energy'}{truth}"


def _call(one: Mapping[str, Any]) -> str:
    where = f"{one['path']}@{one['offset']:#x}" if one["path"].startswith("dev/") else one["path"]
    what = " ".join(word for word in (one["value"], one["errno"]) if word)
    truth = "" if one["truth_uj"] is None else f"  truth {one['truth_uj']} uJ"
    who = f"{one['command'] or '?'}[{one['pid']}]"
    return f"{_seconds(one['at_ns'])} {who} {one['operation']} {where} {what}{truth}".rstrip()


def _seconds(moment_ns: int) -> str:
    return f"{moment_ns // _NS_PER_S}.{moment_ns % _NS_PER_S:09d}"
