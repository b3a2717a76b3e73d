# SPDX-License-Identifier: Apache-2.0
r"""A snapshot as a device file of umockdev: ``umockdev-run --device FILE -- CMD`` shows it to CMD below /sys.

A file is a row of blocks, one for each device: ``P:`` its path, ``E:`` a property of its uevent, ``A:`` an attribute
with ``\n`` and ``\\`` for a newline and a backslash, ``H:`` one whose bytes are no text in hexadecimal, ``L:`` a
link.  umockdev makes the ``subsystem`` link, what lies in ``class/`` and the ``uevent`` file itself, from
``E: SUBSYSTEM``.
"""

import re
from collections.abc import Iterator

from raplica_simulator.surfaces.snapshot import Folder, Snapshot
from raplica_simulator.surfaces.target import shown

__all__ = ["pack_umockdev"]

# What stands on a line of such a file as it is.
_NAME = re.compile(r"[^\s=\\][^=\\\n]*")
_TEXT = re.compile(r"[^\x00-\x09\x0b-\x1f\x7f]*")


def pack_umockdev(snapshot: Snapshot) -> bytes:
    """The device file.  ValueError for a name that cannot stand in one."""
    return "\n".join(_blocks(snapshot.root, "")).encode()


def _blocks(folder: Folder, path: str) -> Iterator[str]:
    """The devices at and below a folder, each before those in it."""
    links = dict(folder.links)
    if "subsystem" in links and folder.name:
        subsystem = links.pop("subsystem").rpartition("/")[2]
        lines = [f"P: {_line(path)}", f"E: SUBSYSTEM={_line(subsystem)}"]
        lines += _properties(folder)
        lines += (_attribute(name, content) for name, _, content in folder.files if name != "uevent")
        for inner in folder.folders:
            if not any(name == "subsystem" for name, _ in inner.links):
                lines += (_attribute(f"{inner.name}/{name}", content) for name, _, content in inner.files)
        lines += (f"L: {_name(name)}={_line(target)}" for name, target in links.items())
        yield "\n".join(lines) + "\n"
    for inner in folder.folders:
        yield from _blocks(inner, f"{path}/{inner.name}")


def _properties(folder: Folder) -> Iterator[str]:
    """What the device's uevent file says, but for the subsystem, which stands first."""
    content = next((content for name, _, content in folder.files if name == "uevent"), b"")
    for line in content.decode("utf-8", "backslashreplace").splitlines():
        if "=" in line and not line.startswith("SUBSYSTEM="):
            yield f"E: {line}"


def _attribute(name: str, content: bytes) -> str:
    try:
        text = content.decode("ascii")
    except UnicodeDecodeError:
        text = "\0"
    if _TEXT.fullmatch(text):
        return f"A: {_name(name)}=" + text.replace("\\", "\\\\").replace("\n", "\\n")
    return f"H: {_name(name)}={content.hex().upper()}"


def _name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{shown(name)} cannot be written: umockdev has no way to write this name; use --format tar")
    return name


def _line(text: str) -> str:
    if "\n" in text or text != text.strip():
        raise ValueError(f"{shown(text)} cannot be written: umockdev has no way to write this; use --format tar")
    return text
