# SPDX-License-Identifier: Apache-2.0
"""Writing the first file system of a virtual machine: a cpio archive of format "newc", as the kernel unpacks it.

Mirrors the kernel's Documentation/driver-api/early-userspace/buffer-format.rst. Times are 0 and names are sorted, so
the same content gives the same bytes.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Node", "archive", "file_node", "folder_nodes", "link_node", "program_node"]

_FOLDER = stat.S_IFDIR | 0o755
_END = "TRAILER!!!"


@dataclass(frozen=True, slots=True)
class Node:
    """One inode: `mode` with its type bits, and a file's content or a link's target."""

    mode: int
    content: bytes = b""


def file_node(content: bytes) -> Node:
    """Return a regular file."""
    return Node(stat.S_IFREG | 0o644, content)


def program_node(content: bytes) -> Node:
    """Return a regular file that can be executed."""
    return Node(stat.S_IFREG | 0o755, content)


def link_node(target: str) -> Node:
    """Return a symbolic link."""
    return Node(stat.S_IFLNK | 0o777, target.encode())


def folder_nodes(source: Path, place: str, leave_out: frozenset[str] = frozenset()) -> dict[str, Node]:
    """Return every file and link below `source`, to lie below `place`; `leave_out` names parts of paths."""
    nodes: dict[str, Node] = {}
    for path in sorted(source.rglob("*")):
        inner = path.relative_to(source)
        if leave_out.intersection(inner.parts):
            continue
        if path.is_symlink():
            nodes[f"{place}/{inner}"] = link_node(str(path.readlink()))
        elif path.is_file():
            node = program_node if path.stat().st_mode & 0o100 else file_node
            nodes[f"{place}/{inner}"] = node(path.read_bytes())
    return nodes


def archive(nodes: Mapping[str, Node]) -> bytes:
    """Return the archive: `nodes` by path without a leading slash; the folders above them are made."""
    everything: dict[str, Node] = {}
    for path in sorted(nodes):
        parts = path.split("/")
        for depth in range(1, len(parts)):
            everything.setdefault("/".join(parts[:depth]), Node(_FOLDER))
        everything[path] = nodes[path]
    return b"".join(_records(everything))


def _records(nodes: Mapping[str, Node]) -> Iterator[bytes]:
    for number, (path, node) in enumerate(sorted(nodes.items()), 1):
        yield _record(number, path, node)
    yield _record(0, _END, Node(0))


def _record(number: int, path: str, node: Node) -> bytes:
    name = path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(node.mode) else 1
    fields = (number, node.mode, 0, 0, links, 0, len(node.content), 0, 0, 0, 0, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    return _padded(head) + _padded(node.content)


def _padded(part: bytes) -> bytes:
    return part + b"\0" * (-len(part) % 4)
