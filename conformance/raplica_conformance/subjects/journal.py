# SPDX-License-Identifier: Apache-2.0
"""The journal: what an attribute and its registers held before a run wrote to them, kept where a kill cannot reach.

A line is its CRC-32 in hexadecimal, a blank and one JSON object. The first line holds the id of the boot. A value is
announced before it is changed, and the change is made only when the line is on the disk; so a last line that breaks off
announces a change that was never made. A line `settled` says that everything above it was put back.
"""

import binascii
import contextlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raplica_conformance.subjects.disk import Disk, Lock

__all__ = [
    "Contents",
    "Entry",
    "Journal",
    "JournalError",
    "SavedRegister",
    "SavedText",
    "default_journal",
    "line_of",
    "parse",
]

#: Registers that a write to a limit or a switch changes: limits of package, dram, core, uncore and psys, peak power,
#: and the power limit notification (Intel SDM, MSR_PKG_POWER_LIMIT and its like; IA32_PACKAGE_THERM_INTERRUPT).
REGISTERS = frozenset({0x610, 0x618, 0x638, 0x640, 0x65C, 0x601, 0x1B2})

_BOOT = re.compile(r"[0-9a-f-]{8,64}")
_PATH = re.compile(
    r"(?:devices/virtual/powercap/\w[\w.!-]*(?:/\w[\w.!-]*:[\w:.!-]+){1,8}|class/powercap/\w[\w.!-]*:[\w:.!-]+)"
    r"/(?:enabled|constraint_[0-9]_(?:power_limit_uw|time_window_us))",
    re.ASCII,
)
_NUMBER = re.compile(r"[0-9]{1,20}\n?", re.ASCII)
_FORMAT = 1


class JournalError(ValueError):
    """A journal that cannot be used: one line that says what to do."""


@dataclass(frozen=True, slots=True)
class SavedText:
    """What an attribute read before it was written; `zone` is the name of its zone then, since ids are used again."""

    path: str
    text: str
    zone: str


@dataclass(frozen=True, slots=True)
class SavedRegister:
    """The 64 bits of a register before anything behind it was written."""

    cpu: int
    register: int
    value: int


Entry = SavedText | SavedRegister


@dataclass(slots=True)
class Contents:
    """What stands in a journal: `entries` are those after the last `settled`, `damaged` the lines that cannot be read.

    `boot` is None where the first line cannot be read: then nobody knows what the others are about.
    """

    boot: str | None = None
    entries: list[Entry] = field(default_factory=list)
    damaged: list[int] = field(default_factory=list)


def default_journal() -> Path:
    """For root /var/lib/raplica, whatever the environment says, so that `restore` finds it; else the user's own.

    Raises JournalError for a user who has no home.
    """
    if os.geteuid() == 0:
        return Path("/var/lib/raplica/writes.journal")
    state = os.environ.get("XDG_STATE_HOME", "")
    try:
        home = Path(state) if state.startswith("/") else Path.home() / ".local/state"
    except RuntimeError as error:
        raise JournalError("there is no home folder for the journal; name a place with --journal") from error
    return home / "raplica/writes.journal"


def parse(data: bytes) -> Contents:
    """Read a journal, whatever is in it: a line that is wrong is counted and never acted upon."""
    contents = Contents()
    lines = data.split(b"\n")
    # What follows the last line break is the line that was being written, or nothing.
    for number, line in enumerate(lines[:-1], start=1):
        found = _object(line)
        if number == 1:
            contents.boot = _boot(found)
        elif found is not None and found.get("settled") is True:
            contents.entries.clear()
            continue
        elif (entry := _entry(found)) is not None:
            contents.entries.append(entry)
            continue
        if number > 1 or contents.boot is None:
            contents.damaged.append(number)
    return contents


def line_of(entry: Entry) -> bytes:
    """An entry as it stands in the file."""
    if isinstance(entry, SavedText):
        return _line({"path": entry.path, "text": entry.text, "zone": entry.zone})
    return _line({"cpu": entry.cpu, "register": f"{entry.register:#x}", "value": f"{entry.value:#018x}"})


class Journal:
    """The journal of one run, from `start` to `close`; `entries` are those that were not put back yet."""

    def __init__(self, path: Path, disk: Disk, lock: Lock) -> None:
        self.path = path
        self.entries: list[Entry] = []
        self._disk = disk
        self._lock = lock
        self._size = 0

    @classmethod
    def start(cls, path: Path, disk: Disk, boot: str, folders: Sequence[Path] = ()) -> "Journal":
        """Lock its folder and `folders`, and begin an empty journal.

        Raises JournalError where another run is going on, where an earlier one of this boot left something to put
        back, and where the file cannot be written.
        """
        try:
            disk.make_folder(path.parent)
            lock = disk.lock([path.parent, *folders])
        except BlockingIOError:
            raise JournalError(
                f"{path}: another run that writes to this machine is going on; wait for its end"
            ) from None
        except OSError as error:
            raise JournalError(_cannot(path, error)) from error
        journal = cls(path, disk, lock)
        try:
            journal._refuse_leftovers(boot)
            first = _line({"journal": _FORMAT, "boot": boot})
            disk.replace(path, first)
            journal._size = len(first)
        except OSError as error:
            lock.release()
            raise JournalError(_cannot(path, error)) from error
        except BaseException:
            lock.release()
            raise
        return journal

    def save(self, entries: Sequence[Entry]) -> None:
        """Announce what is not announced yet; on return it is on the disk. OSError, and nothing may be written then."""
        new = [entry for entry in entries if not self._has(entry)]
        if new:
            self._extend(b"".join(map(line_of, new)))
            self.entries.extend(new)

    def text_of(self, path: str) -> str | None:
        """What an attribute read before this run wrote to it, None where it was not written since the last `settle`."""
        found = (entry for entry in self.entries if isinstance(entry, SavedText) and entry.path == path)
        return next((entry.text for entry in found), None)

    def settle(self) -> None:
        """Everything announced so far was put back."""
        if self.entries:
            self.entries.clear()
            # Without this line the same values would only be put back once more.
            with contextlib.suppress(OSError):
                self._extend(_line({"settled": True}))

    def close(self) -> None:
        """Give up the lock; the file goes where nothing is left to put back, and stays otherwise."""
        try:
            if not self.entries:
                self._disk.remove(self.path)
        finally:
            self._lock.release()

    def _has(self, entry: Entry) -> bool:
        """Whether this attribute or register is announced; what it holds now is not what it held at first."""
        return any(_place(entry) == _place(known) for known in self.entries)

    def _extend(self, data: bytes) -> None:
        # Always from where the last complete line ends: what an append that failed has left there goes.
        self._disk.extend(self.path, self._size, data)
        self._size += len(data)

    def _refuse_leftovers(self, boot: str) -> None:
        """Nothing that an earlier run changed and did not put back may be forgotten."""
        data = self._disk.load(self.path)
        if data is None:
            return
        found = parse(data)
        if found.boot is None:
            raise JournalError(f"{self.path}: cannot be read; see what is in it, and remove it")
        if found.boot == boot and (found.entries or found.damaged):
            raise JournalError(
                f"{self.path}: an earlier run ended before it had put everything back; run `conformance restore` first"
            )


def _place(entry: Entry) -> tuple[object, ...]:
    return (entry.path,) if isinstance(entry, SavedText) else (entry.cpu, entry.register)


def _cannot(path: Path, error: OSError) -> str:
    return f"{path}: no journal can be kept there ({error.strerror or error}); name another place with --journal"


def _line(content: dict[str, Any]) -> bytes:
    text = json.dumps(content, sort_keys=True).encode("ascii")
    return b"%08x %s\n" % (binascii.crc32(text), text)


def _object(line: bytes) -> dict[str, Any] | None:
    """The object in a line, None where the line is not as it was written."""
    head, _, text = line.partition(b" ")
    if head != b"%08x" % binascii.crc32(text):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _boot(found: dict[str, Any] | None) -> str | None:
    boot = found.get("boot") if found is not None and found.get("journal") == _FORMAT else None
    return boot if isinstance(boot, str) and _BOOT.fullmatch(boot) else None


def _entry(found: dict[str, Any] | None) -> Entry | None:
    """An entry that says something that a run of this suite could have said, else None."""
    match found:
        case {"path": str(path), "text": str(text), "zone": str(zone)}:
            return SavedText(path, text, zone) if _PATH.fullmatch(path) and _NUMBER.fullmatch(text) else None
        case {"cpu": int(cpu), "register": str(register), "value": str(value)}:
            return _register(cpu, register, value)
    return None


def _register(cpu: int, register: str, value: str) -> SavedRegister | None:
    try:
        saved = SavedRegister(cpu, int(register, 16), int(value, 16))
    except ValueError:
        return None
    known = saved.register in REGISTERS and 0 <= saved.value < 1 << 64 and 0 <= cpu < 1 << 20
    return saved if known and not isinstance(cpu, bool) else None
