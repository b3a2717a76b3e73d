# SPDX-License-Identifier: Apache-2.0
"""A client of `raplica serve-windows` for tests, and what it asks with."""

import json
import socket
from pathlib import Path
from typing import Any, Self

SCAPHANDRE = "\\\\.\\ScaphandreDriver"
READ_WRITE = 0xC0000000
CODE = 0x22D844  # what Scaphandre asks with
EMI = "{45BD8344-7ED6-49CF-A440-C276C933B053}"


class Client:
    """A client that knows nothing but JSON."""

    def __init__(self, path: str | Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(60)
        self.socket.connect(str(path))
        self.lines = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.lines.close()
        self.socket.close()

    def send(self, data: bytes) -> Any:
        self.socket.sendall(data)
        return json.loads(self.lines.readline())

    def ask(self, call: str, **parameters: object) -> Any:
        return self.send(json.dumps({"call": call, **parameters}).encode() + b"\n")

    def register(self, handle: int, register: int, cpu: int = 0) -> int:
        request = (cpu << 32 | register).to_bytes(8, "little").hex()
        told = self.ask("DeviceIoControl", handle=handle, code=CODE, size=8, **{"in": request})
        assert (told["ok"], told["returned"]) == (True, 8)
        return int.from_bytes(bytes.fromhex(told["out"]), "little")
