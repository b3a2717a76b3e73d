# SPDX-License-Identifier: Apache-2.0
"""Doing one step at a time and writing down all that it caused: result, register accesses, kernel events.

Each step is one JSON object in a line on the debug console, written before the next one begins, so that what was
seen before a crash is not lost.
"""

from __future__ import annotations

import json
import os
import select
import socket
from collections.abc import Callable, Iterable
from typing import Any

from kernel_witness.guest.system import errno_name, load_module, unload_module
from kernel_witness.guest.tree import walk

__all__ = ["CrashedError", "Recorder", "read_file", "write_file"]

_TABLE = "/proc/raplica/registers"
_ACCESSES = "/proc/raplica/accesses"
_CONSOLE = "/proc/raplica/console"
_ROOTS = ("/sys/class/powercap", "/sys/devices/virtual/powercap")
_UEVENTS = 15  # NETLINK_KOBJECT_UEVENT
# A processor that goes or comes announces itself too, and all that hangs on it; that is no business of the driver.
_KEPT = frozenset(f"SUBSYSTEM={name}" for name in ("powercap", "platform", "module", "drivers"))
Json = dict[str, Any]


def read_file(path: str) -> str | Json:
    """Open and read to the end: the text, or which of open and read failed with what."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        return {"open_errno": errno_name(error.errno or 0)}
    try:
        parts = []
        while part := os.read(descriptor, 65536):
            parts.append(part)
        return b"".join(parts).decode()
    except OSError as error:
        return {"errno": errno_name(error.errno or 0)}
    finally:
        os.close(descriptor)


def write_file(path: str, data: bytes) -> Json:
    """Open for writing and write once: the count, or which of open and write failed with what."""
    try:
        descriptor = os.open(path, os.O_WRONLY)
    except OSError as error:
        return {"open_errno": errno_name(error.errno or 0)}
    try:
        return {"ret": os.write(descriptor, data)}
    except OSError as error:
        return {"ret": -1, "errno": errno_name(error.errno or 0)}
    finally:
        os.close(descriptor)


class CrashedError(Exception):
    """The kernel was crashed on purpose; the recording ends here."""


class Recorder:
    """The one who does and writes. `loaded` names the modules of the kernel's own that are in."""

    def __init__(self) -> None:
        self._console = os.open(_CONSOLE, os.O_WRONLY)
        self._accesses = os.open(_ACCESSES, os.O_RDWR)
        self._events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _UEVENTS)
        self._events.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._events.bind((0, 1))
        self.loaded: list[str] = []

    def say(self, line: Json) -> None:
        """Write one line to the host."""
        os.write(self._console, json.dumps(line).encode() + b"\n")

    def label(self, text: str) -> None:
        """Write a heading."""
        self.say({"op": "label", "text": text})

    def control(self, command: str) -> None:
        """Change the register table from outside: a command of the module raplica_registers."""
        with open(_TABLE, "w", encoding="ascii") as table:
            table.write(command)
        self.say({"op": "ctl", "path": _TABLE, "data": command})

    def fill(self, registers: dict[int, dict[int, int]]) -> None:
        """Replace the whole table."""
        self.control("clear")
        for die, words in sorted(registers.items()):
            for address, value in sorted(words.items()):
                self.control(f"set {die} {address:#x} {value:#x}")

    def dump(self) -> None:
        """Write down the register table as it is."""
        self.say({"op": "raw", "path": _TABLE, "text": read_file(_TABLE)})

    def insmod(self, name: str, parameters: str = "") -> bool:
        """Load /m/NAME.ko; tells whether it worked."""
        path = f"/m/{name}.ko"
        result = self._caused(lambda: _outcome(lambda: load_module(path, parameters)))
        self.say({"op": "insmod", "file": path, "params": parameters, **result})
        if result["ret"] == 0:
            self.loaded.append(name)
        return bool(result["ret"] == 0)

    def rmmod(self, name: str) -> None:
        """Unload a module, if it is in."""
        if name not in self.loaded:
            return
        result = self._caused(lambda: _outcome(lambda: unload_module(name)))
        self.say({"op": "rmmod", "name": name, **result})
        if result["ret"] == 0:
            self.loaded.remove(name)

    def read(self, path: str) -> None:
        """Read a file."""
        result = self._caused(lambda: {"content": read_file(path)})
        self.say({"op": "read", "path": path, **result})

    def write(self, path: str, data: str) -> Json:
        """Write a file with one call, and return what came of it."""
        result = self._caused(lambda: write_file(path, data.encode()))
        self.say({"op": "write", "path": path, "data": data, **result})
        return result

    def write_read(self, path: str, data: str) -> None:
        """Write a file, then read it; the accesses are those of the write."""
        result = self._caused(lambda: write_file(path, data.encode()))
        self.say({"op": "rw", "path": path, "data": data, **result, "after": read_file(path)})

    def write_long(self, path: str, head: str, byte: str, length: int) -> None:
        """Write `length` bytes, `head` and then `byte` again and again; then read."""
        data = head + byte * (length - len(head))
        result = self._caused(lambda: write_file(path, data.encode()))
        step: Json = {"op": "writen", "path": path, "data_len": length, "data_byte": byte}
        if head:
            step["data_head"] = head
        self.say({**step, **result, "after": read_file(path)})

    def calls(self, op: str, path: str | None, doing: Callable[[], Json]) -> None:
        """Do several system calls as one step."""
        result = self._caused(doing)
        self.say({"op": op, **({} if path is None else {"path": path}), **result})

    def crash(self, path: str, data: str) -> None:
        """Let another process do a write that the kernel does not survive unharmed, and write down how that ended.

        What the kernel held at that moment stays held: nothing may be done after this.
        """

        def doing() -> Json:
            process = os.fork()
            if process == 0:
                write_file(path, data.encode())
                os._exit(0)
            status = os.waitpid(process, 0)[1]
            return {"signal": os.WTERMSIG(status)} if os.WIFSIGNALED(status) else {"ret": os.WEXITSTATUS(status)}

        result = self._caused(doing)
        self.say({"op": "crash", "path": path, "data": data, **result})
        raise CrashedError

    def tree(self, label: str) -> None:
        """Write down everything below the powercap class and its devices."""
        entries = [entry for root in _ROOTS for entry in walk(root)]
        self.say({"op": "tree", "label": label, "entries": entries})

    def settle(self) -> None:
        """Wait until the kernel has announced nothing for half a second: what booting started is then done."""
        while self._drain(0.5):
            pass

    def _caused(self, doing: Callable[[], Json]) -> Json:
        self._drain(0)
        os.write(self._accesses, b"forget")
        result = doing()
        accesses = self._read_accesses()
        if accesses:
            result["msr"] = accesses
        events = self._drain(0)
        if events:
            result["uevents"] = events
        return result

    def _read_accesses(self) -> list[str]:
        parts = []
        offset = 0
        while part := os.pread(self._accesses, 1 << 16, offset):
            parts.append(part)
            offset += len(part)
        return b"".join(parts).decode().splitlines()

    def _drain(self, wait_s: float) -> list[list[str]]:
        events = []
        while select.select([self._events], [], [], wait_s)[0]:
            events.append(list(_event_lines(self._events.recv(65536))))
        return [event for event in events if _KEPT.intersection(event)]


def _event_lines(message: bytes) -> Iterable[str]:
    for line in message.rstrip(b"\0").split(b"\0"):
        # The sequence number counts everything since the machine was started.
        yield "SEQNUM=*" if line.startswith(b"SEQNUM=") else line.decode()


def _outcome(doing: Callable[[], None]) -> Json:
    try:
        doing()
    except OSError as error:
        return {"ret": -1, "errno": errno_name(error.errno or 0)}
    return {"ret": 0}
