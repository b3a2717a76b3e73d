# SPDX-License-Identifier: Apache-2.0
r"""Send the calls of `windows_calls` over a socket to a program that answers them.

One JSON object on a line asks, one answers, and a connection is a process: what Windows keeps for a process, such as
its handles, the other side keeps for a connection. Bytes are hexadecimal digits.

    {"call": "CreateFile", "path": "\\\\.\\ScaphandreDriver", "access": 3221225472, "share": 3, "flags": 0}
    {"ok": true, "handle": 4}
    {"call": "DeviceIoControl", "handle": 4, "code": 2283588, "in": "1106000000000000", "size": 8}
    {"ok": true, "returned": 8, "out": "1111004000000000"}

A call that fails answers `{"ok": false, "error": N}` with Windows' number, and `returned`, which is null where the call
left lpBytesReturned alone. What is no call, and who is turned away, has a `message` in words.
"""

import errno
import json
import socket
from contextlib import suppress
from typing import Any

from raplica_reader.windows_calls import SHARE, Answer, LogicalProcessor, failure

__all__ = ["SocketCalls"]

TIMEOUT_S = 30.0
LONGEST = 1 << 24
"""Bytes of an answer that are read: a list of 65,536 processors has fewer."""


class SocketCalls:
    """The calls, as the program that listens on the socket `path` answers them.

    A connection lasts as long as a handle is open in it; what a thread is told, such as where to run, lasts as long.
    Where nobody listens every call is an OSError ECONNREFUSED.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._socket: socket.socket | None = None
        self._rest = b""
        self._handles: set[int] = set()

    def __repr__(self) -> str:
        return f"SocketCalls({self.path!r})"

    def close(self) -> None:
        """End the connection, and with it everything that was open in it."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._rest = b""
        self._handles.clear()

    def create_file(self, path: str, access: int, share: int = SHARE, flags: int = 0) -> int:
        """CreateFile."""
        try:
            answer = self._done(path, call="CreateFile", path=path, access=access, share=share, flags=flags)
            handle = self._number(answer, "handle")
            self._handles.add(handle)
        finally:
            self._rest_a_while()
        return handle

    def device_io_control(self, handle: int, code: int, data: bytes | None, size: int) -> Answer:
        """DeviceIoControl; what was not written of the buffer is zeros."""
        given = None if data is None else data.hex()
        answer = self._ask(call="DeviceIoControl", handle=handle, code=code, **{"in": given}, size=size)
        returned = answer.get("returned")
        if returned is not None:
            returned = self._number(answer, "returned")
        error = 0 if answer["ok"] else self._number(answer, "error")
        try:
            output = bytes.fromhex(answer.get("out") or "")
        except (TypeError, ValueError):
            raise self._odd("its bytes are no digits") from None
        return Answer(answer["ok"], error, returned, output[:size].ljust(size, b"\0"))

    def close_handle(self, handle: int) -> None:
        """CloseHandle."""
        self._handles.discard(handle)
        self._done(f"handle {handle}", call="CloseHandle", handle=handle)

    def device_interfaces(self, guid: str) -> list[str]:
        """CM_Get_Device_Interface_List."""
        paths = self._done(guid, call="DeviceInterfaces", guid=guid).get("paths")
        if not isinstance(paths, list):
            raise self._odd("it has no paths")
        return [str(path) for path in paths]

    def logical_processors(self) -> tuple[LogicalProcessor, ...]:
        """GetLogicalProcessorInformationEx."""
        found = self._done("the processors", call="LogicalProcessors").get("processors")
        if not isinstance(found, list):
            raise self._odd("it has no processors")
        return tuple(
            LogicalProcessor(*(self._number(one, field) for field in LogicalProcessor._fields)) for one in found
        )

    def cpu_vendor(self) -> str:
        """The vendor of `Cpu`."""
        return str(self._done("the processor", call="Cpu").get("vendor"))

    def cpu_signature(self) -> tuple[int, int, int]:
        """Family, model and stepping of `Cpu`."""
        answer = self._done("the processor", call="Cpu")
        return self._number(answer, "family"), self._number(answer, "model"), self._number(answer, "stepping")

    def set_thread_group_affinity(self, group: int, mask: int) -> tuple[int, int] | None:
        """SetThreadGroupAffinity of the connection's thread; what was before, where the answer says so."""
        answer = self._done(f"group {group}", call="SetThreadGroupAffinity", group=group, mask=mask)
        if "previous" not in answer:
            return None
        before = answer["previous"]
        return self._number(before, "group"), self._number(before, "mask")

    def _done(self, what: str, **request: Any) -> dict[str, Any]:
        """The answer to a call that has to succeed."""
        answer = self._ask(**request)
        if not answer["ok"] and isinstance(answer.get("message"), str):
            raise OSError(errno.EINVAL, answer["message"], self.path)
        if not answer["ok"]:
            raise failure(self._number(answer, "error"), what)
        return answer

    def _ask(self, **request: Any) -> dict[str, Any]:
        """Send one call and wait for its answer. A connection that fails is closed, and the next call makes another."""
        try:
            connection = self._connected()
            with suppress(BrokenPipeError):  # who is turned away is told why, whether it has asked or not
                connection.sendall(json.dumps(request).encode() + b"\n")
            answer = json.loads(self._line(connection))
        except ValueError:
            raise self._odd("it is no JSON") from None
        except TimeoutError:
            self.close()
            raise OSError(errno.ETIMEDOUT, "no answer", self.path) from None
        except OSError:
            self.close()
            raise
        if not isinstance(answer, dict) or not isinstance(answer.get("ok"), bool):
            raise self._odd("it has no ok")
        if "bug_check" in answer:
            self.close()
            raise OSError(errno.ECONNABORTED, f"the machine has crashed: {answer.get('message')}", self.path)
        if request["call"] != "CreateFile":
            self._rest_a_while()
        return answer

    def _rest_a_while(self) -> None:
        """End the connection where nothing is open in it, so that nobody has to."""
        if not self._handles:
            self.close()

    def _connected(self) -> socket.socket:
        if self._socket is None:
            if not hasattr(socket, "AF_UNIX"):
                raise OSError(errno.ENOSYS, "this Python has no local sockets", self.path)
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket.settimeout(TIMEOUT_S)
            try:
                self._socket.connect(self.path)
            except OSError as error:
                # With the error's own number it would read as Windows' word about a device that is not there.
                why = f"nobody answers for Windows: {error.strerror or error}"
                raise OSError(errno.ECONNREFUSED, why, self.path) from None
        return self._socket

    def _line(self, connection: socket.socket) -> bytes:
        """The next line of the connection."""
        while b"\n" not in self._rest:
            content = connection.recv(1 << 16)
            if not content:
                raise OSError(errno.ECONNRESET, "the other side has closed the connection", self.path)
            self._rest += content
            if len(self._rest) > LONGEST:
                raise OSError(errno.EMSGSIZE, "the answer does not end", self.path)
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def _number(self, answer: Any, field: str) -> int:
        """A whole number in an answer."""
        value = answer.get(field) if isinstance(answer, dict) else None
        if type(value) is not int:
            raise self._odd(f"{field} is no number")
        return value

    def _odd(self, why: str) -> OSError:
        """The error of an answer that is none; the next call begins a new connection."""
        self.close()
        return OSError(errno.EBADMSG, f"an answer that is not understood: {why}", self.path)
