# SPDX-License-Identifier: Apache-2.0
"""Taking out of a recording what tells whose machine it is, before it is written.

Two nets: most of what identifies is never put in; and of the free text that is - the kernel's release and build,
the processor's name, hints, the board - every occurrence of a name known here is replaced. Attributes of the powercap
tree are the kernel's own words and numbers and stay as they are; its links are relative, so one that is not is the work
of whoever made the copy, and leads through their folders.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from raplica_fixtures.recording import Capture, Entry, Recording

__all__ = ["LEFT_OUT", "MARK", "redacted"]

#: What a redacted recording lacks, in the words of its list `left_out`.
LEFT_OUT = (
    "host name",
    "user name and home directory",
    "machine id and boot id",
    "serial numbers and UUIDs",
    "container ids and paths",
)
MARK = "(redacted)"
_SHORTEST = 2
# Names that half of all machines have: to replace them says nothing about anybody and spoils other words.
_COMMON = frozenset({"root", "localhost", "user", "linux", "debian", "ubuntu", "nobody", "none", "unknown", "/", "vm"})
_WORDY = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|\b[0-9a-f]{32,64}\b|[\w.+-]+@[\w.-]+")


def redacted(recording: Recording, capture: Capture, identity: Mapping[str, str]) -> tuple[Recording, Capture]:
    """Both without anything of `identity`, and with the list of what was left out."""
    secrets = sorted(_secrets(identity), key=len, reverse=True)

    def clean(text: str) -> str:
        # First what has the shape of an id or an address: half of one, replaced, would hide the other half.
        text = _WORDY.sub(MARK, text)
        for secret in secrets:
            text = re.sub(rf"(?<![0-9A-Za-z]){re.escape(secret)}(?![0-9A-Za-z])", MARK, text, flags=re.IGNORECASE)
        return text

    return (
        replace(
            recording,
            what=clean(recording.what),
            kernel_release=clean(recording.kernel_release),
            kernel_build=clean(recording.kernel_build),
            tree={path: _without_path(entry) for path, entry in recording.tree.items()},
        ),
        replace(
            capture,
            cpu_name=clean(capture.cpu_name),
            hints=tuple(replace(hint, text=clean(hint.text)) for hint in capture.hints),
            firmware={name: clean(text) for name, text in capture.firmware.items()},
            left_out=(*LEFT_OUT, *capture.left_out),
            identity={},
        ),
    )


def _without_path(entry: Entry) -> Entry:
    return replace(entry, target=MARK) if (entry.target or "").startswith("/") else entry


def _secrets(identity: Mapping[str, str]) -> set[str]:
    found = set()
    for name, text in identity.items():
        words = {text, text.partition(".")[0]} if name == "host_name" else {text}
        found |= {word for word in words if len(word) >= _SHORTEST and word.lower() not in _COMMON}
    return found
