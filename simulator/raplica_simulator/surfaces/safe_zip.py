# SPDX-License-Identifier: Apache-2.0
"""A snapshot as a zip archive that unpacks everywhere: no name in it has a colon, no entry is a link.

``intel-rapl:0`` is no file name on Windows, and a Go module that holds one cannot be downloaded.  So each part of a
path is percent-encoded (RFC 3986): a byte of its UTF-8 that is not a letter, a digit, ``-``, ``.`` or ``_`` is ``%XX``,
and so is what stands first or last where it would mislead (a dot, an underscore, the first letter of Windows' device
names).  Any percent-decoder - urllib.parse.unquote, url.PathUnescape - gives the name back.

``raplica-manifest.json`` in the archive has what a zip cannot hold: every path with its name in the archive, kind,
mode, the target of a link, and the errno of an attribute that could not be read.  It alone has the links and folders.
"""

import json
import re
from collections.abc import Iterator
from io import BytesIO
from typing import Any
from urllib.parse import quote
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from raplica_simulator.surfaces.snapshot import Folder, Snapshot
from raplica_simulator.surfaces.target import shown

__all__ = ["MANIFEST", "pack_zip", "safe_name"]

MANIFEST = "raplica-manifest.json"
_MANIFEST_FORMAT = 1
# The first moment that a zip can name.
_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
_REGULAR = 0o100000
# With any ending these are devices on Windows.
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)", re.IGNORECASE)


def safe_name(name: str) -> str:
    """One part of a path as it stands in the archive; percent-decoded it is ``name`` again."""
    safe = quote(name, safe="", errors="surrogateescape").replace("~", "%7E")
    if safe[:1] in (".", "_") or _DEVICE.match(safe):
        safe = f"%{ord(safe[0]):02X}{safe[1:]}"
    return f"{safe[:-1]}%2E" if safe.endswith(".") else safe


def pack_zip(snapshot: Snapshot, prefix: str = "") -> bytes:
    """The archive, its paths and its manifest below ``prefix``.

    Nothing is compressed: the same bytes whatever zlib there is.  ValueError for two names in one folder that differ
    only in case, which Windows takes for one.
    """
    above = "".join(f"{safe_name(part)}/" for part in prefix.split("/") if part)
    errnos = {one.path: one.errno for one in snapshot.unreadable}
    entries: list[dict[str, Any]] = []
    contents: list[tuple[str, int, bytes]] = []
    for entry, content in _entries(snapshot.root, "", "", errnos):
        entries.append(entry)
        if content is not None:
            contents.append((entry["name"], int(entry["mode"], 8), content))
    _check(entries)
    manifest = {"format": _MANIFEST_FORMAT, "names": "percent-encoded", "entries": entries}
    text = json.dumps(manifest, indent=1) + "\n"
    stream = BytesIO()
    with ZipFile(stream, "w") as archive:
        for name, mode, content in [(MANIFEST, 0o644, text.encode()), *contents]:
            info = ZipInfo(above + name, _EPOCH)
            info.compress_type = ZIP_STORED
            info.create_system = _UNIX
            info.external_attr = (_REGULAR | mode) << 16
            archive.writestr(info, content)
    return stream.getvalue()


def _entries(
    folder: Folder, path: str, safe: str, errnos: dict[str, str]
) -> Iterator[tuple[dict[str, Any], bytes | None]]:
    """What the manifest says of everything below a folder, with the content of files."""
    for name, mode, content in folder.files:
        entry = {"path": path + name, "name": safe + safe_name(name), "type": "file", "mode": f"{mode:04o}"}
        if errno := errnos.get(path + name):
            entry["errno"] = errno
        yield entry, content
    for name, target in folder.links:
        yield {"path": path + name, "name": safe + safe_name(name), "type": "link", "target": target}, None
    for below in folder.folders:
        here, safe_here = path + below.name, safe + safe_name(below.name)
        yield {"path": here, "name": safe_here, "type": "dir", "mode": f"{below.mode:04o}"}, None
        yield from _entries(below, f"{here}/", f"{safe_here}/", errnos)


def _check(entries: list[dict[str, Any]]) -> None:
    """Refuse names that are one on a system without case."""
    seen = {MANIFEST.lower(): MANIFEST}
    for entry in entries:
        name = entry["name"].lower()
        if other := seen.get(name):
            message = f"{shown(entry['path'])} cannot be written beside {shown(other)}: on Windows both are one name"
            raise ValueError(f"{message}; use --format tar")
        seen[name] = entry["path"]
