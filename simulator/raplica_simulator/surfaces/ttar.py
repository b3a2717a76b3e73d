# SPDX-License-Identifier: Apache-2.0
"""A snapshot as a ttar archive: the text form of tar in which the Prometheus projects keep their fixtures.

Its rules are those of the script ``ttar`` in github.com/prometheus/procfs.  Each entry is a head (``Path:``,
``Directory:``), for a link ``SymlinkTo:``, for a file ``Lines:`` and that many lines, then ``Mode:`` in octal; lines
that begin with ``#`` stand between entries.  In content a NUL byte is ``NULLBYTE``, an ``EOF`` at the end of a line
says that the line does not end with a newline, and both words are preceded by a backslash where the content itself has
them.  Entries come in the order in which the script packs a folder, so that unpacking and packing again changes
nothing but the first line.
"""

from collections.abc import Iterator

from raplica_simulator.surfaces.snapshot import Folder, Snapshot
from raplica_simulator.surfaces.target import shown

__all__ = ["pack_ttar"]

_BETWEEN = b"# ttar" + b" -" * 36 + b"\n"


def pack_ttar(snapshot: Snapshot, prefix: str = "", title: str = "raplica generate") -> bytes:
    """The archive, its paths below ``prefix`` (such as fixtures/sys; its folders become entries too).

    ``title`` goes into the first line.  ValueError for what the format cannot hold: a name with a line break, and
    content in which a backslash stands before a NUL byte or before an end without a newline.
    """
    parts = [part for part in prefix.split("/") if part]
    out = [f"# Archive created by {shown(title)}\n".encode()]
    out += (_directory("/".join(parts[:count]), snapshot.root.mode) for count in range(1, len(parts) + 1))
    out += _entries(snapshot.root, "".join(f"{part}/" for part in parts))
    return b"".join(out)


def _entries(folder: Folder, above: str) -> Iterator[bytes]:
    """The entries below a folder, by the names' bytes with hidden ones last: as the script's globs find them."""
    found: dict[str, Iterator[bytes]] = {}
    for name, mode, content in folder.files:
        found[name] = iter((_file(above + name, mode, content),))
    for name, target in folder.links:
        found[name] = iter((_link(above + name, target),))
    for below in folder.folders:
        found[below.name] = _folder(below, above)
    for name in sorted(found, key=lambda one: (one.startswith("."), one.encode("utf-8", "surrogateescape"))):
        yield from found[name]


def _folder(folder: Folder, above: str) -> Iterator[bytes]:
    yield _directory(above + folder.name, folder.mode)
    yield from _entries(folder, f"{above}{folder.name}/")


def _directory(path: str, mode: int) -> bytes:
    return b"Directory: " + _one_line(path) + b"\nMode: %o\n" % mode + _BETWEEN


def _link(path: str, target: str) -> bytes:
    return b"Path: " + _one_line(path) + b"\nSymlinkTo: " + _one_line(target) + b"\n" + _BETWEEN


def _file(path: str, mode: int, content: bytes) -> bytes:
    ends_open = bool(content) and not content.endswith(b"\n")
    if b"\\\0" in content or (ends_open and content.endswith(b"\\")):
        raise ValueError(
            f"{shown(path)} cannot be written: ttar cannot say that a backslash stands before a NUL byte or before the "
            "end; use --format tar"
        )
    text = content.replace(b"EOF", b"\\EOF").replace(b"NULLBYTE", b"\\NULLBYTE").replace(b"\0", b"NULLBYTE")
    if ends_open:
        text += b"EOF\n"
    head = b"Path: " + _one_line(path) + b"\nLines: %d\n" % text.count(b"\n")
    return head + text + b"Mode: %o\n" % mode + _BETWEEN


def _one_line(text: str) -> bytes:
    if "\n" in text:
        raise ValueError(f"{shown(text)} cannot be written: ttar has no way to write a line break in a name")
    return text.encode("utf-8", "surrogateescape")
