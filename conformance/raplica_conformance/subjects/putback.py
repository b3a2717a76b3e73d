# SPDX-License-Identifier: Apache-2.0
"""Putting back what a run has changed: after each clause, at its end, and from the journal of one that was killed.

Registers first, each with all its bits, the last that was announced first; then attributes that still read something
else; then the notification bit, which every write to a limit clears. At the end everything is read again, and only
what reads as before counts as put back.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from raplica_conformance.clauses._reading import name_of, value
from raplica_conformance.clauses._registers import LOCKS
from raplica_conformance.subject import Provider, Zone, zones
from raplica_conformance.subjects.disk import Disk
from raplica_conformance.subjects.host import Host
from raplica_conformance.subjects.journal import Entry, SavedRegister, SavedText, parse

__all__ = ["PLN", "PLN_ENABLE", "put_back", "restore"]

#: IA32_PACKAGE_THERM_INTERRUPT and its bit "power limit notification enable" (Intel SDM). The other bits are the
#: kernel's, which may have changed them in the meantime.
PLN = 0x1B2
PLN_ENABLE = 1 << 24


def put_back(entries: Sequence[Entry], tree: Provider, host: Host) -> list[str]:
    """Let everything read as it did before; a line for each entry that does not. It may be called again."""
    causes: dict[Entry, str] = {}
    registers = [entry for entry in reversed(entries) if isinstance(entry, SavedRegister)]
    texts = [entry for entry in reversed(entries) if isinstance(entry, SavedText)]
    for register in registers:
        if register.register != PLN:
            _register_back(host, register, causes)
    known = {zone.path: zone for zone in zones(tree)} if texts else {}
    for text in texts:
        _text_back(tree, host, text, known, causes)
    for register in registers:
        if register.register == PLN:
            _register_back(host, register, causes)
    return [line for entry in reversed(entries) if (line := _difference(tree, host, entry, causes.get(entry, "")))]


def restore(path: Path, tree: Provider, host: Host, disk: Disk, folders: Sequence[Path] = ()) -> tuple[int, list[str]]:
    """`conformance restore`: the exit status and what to say.

    0: everything is as it was, or nothing was to be put back, or the machine was started again since; 1: something is
    not as it was, and the journal stays; 2: the journal cannot be used, or a run that writes to it is going on.
    """
    if (data := _loaded(path, disk)) is None:
        return 0, [f"{path}: no journal there: nothing to put back"]
    if isinstance(data, str):
        return 2, [data]
    try:
        lock = disk.lock([path.parent, *folders])
    except OSError as error:
        busy = isinstance(error, BlockingIOError)
        why = (
            "a run that writes to this machine is going on, and puts everything back itself" if busy else _words(error)
        )
        return 2, [f"{path}: {why}; nothing is written"]
    try:
        # The run that held the lock may have put everything back and taken its journal away.
        data = _loaded(path, disk)
        if not isinstance(data, bytes):
            return (0, [f"{path}: no journal there: nothing to put back"]) if data is None else (2, [data])
        return _restore(path, data, tree, host, disk)
    finally:
        lock.release()


def _loaded(path: Path, disk: Disk) -> bytes | str | None:
    """The journal, None where there is none, or why it is not read."""
    try:
        return disk.load(path)
    except OSError as error:
        return f"{path}: {error.strerror or error}; nothing is written"


def _restore(path: Path, data: bytes, tree: Provider, host: Host, disk: Disk) -> tuple[int, list[str]]:
    found = parse(data)
    if found.boot is None:
        return 2, [f"{path}: its first line cannot be read, so it may be about another boot; nothing is written"]
    try:
        boot = host.boot_id()
    except OSError as error:
        return 2, [f"{path}: which boot this is cannot be read ({error.strerror}); nothing is written"]
    if found.boot != boot:
        return 0, [f"{path}: the machine was started again since, and its firmware set the limits; nothing is written"]
    lines = put_back(found.entries, tree, host)
    lines += [f"line {number} of {path} cannot be read; what it announced is not put back" for number in found.damaged]
    if lines:
        return 1, [*lines, f"{path}: stays until everything in it is put back; remove it to give that up"]
    disk.remove(path)
    count = len(found.entries)
    return 0, [f"{path}: {count} {'value is' if count == 1 else 'values are'} as before the run that was stopped"]


def _register_back(host: Host, saved: SavedRegister, causes: dict[Entry, str]) -> None:
    try:
        now = host.msr_read(saved.cpu, saved.register)
        if saved.register == PLN:
            wanted = now & ~PLN_ENABLE | saved.value & PLN_ENABLE
        elif (now ^ saved.value) & LOCKS:
            causes[saved] = "its lock bit is not as it was"
            return
        else:
            wanted = saved.value
        if now != wanted:
            host.msr_write(saved.cpu, saved.register, wanted)
    except OSError as error:
        causes[saved] = _words(error)


def _text_back(tree: Provider, host: Host, saved: SavedText, known: dict[str, Zone], causes: dict[Entry, str]) -> None:
    """Write the text where something else reads, unless the zone is another one or writing to it crashes Linux 6.12."""
    try:
        if tree.read(saved.path) == saved.text.encode():
            return
    except OSError as error:
        causes[saved] = _words(error)
        return
    where, _, attribute = saved.path.rpartition("/")
    zone = known.get(where)
    if zone is None or name_of(tree, zone) != saved.zone:
        causes[saved] = f"the zone was called {saved.zone} and is another one now"
    elif attribute != "enabled" and value(tree, f"{where}/max_energy_range_uj") == 0:
        causes[saved] = "the driver has no units for this zone"
    else:
        try:
            host.write(saved.path, saved.text.encode())
        except OSError as error:
            causes[saved] = _words(error)


def _difference(tree: Provider, host: Host, saved: Entry, cause: str) -> str:
    """A line that says what is not as it was, "" for nothing."""
    if isinstance(saved, SavedText):
        where, was, bits = saved.path, saved.text.strip(), 0
    else:
        bits = PLN_ENABLE if saved.register == PLN else (1 << 64) - 1
        where, was = f"register {saved.register:#x} of CPU {saved.cpu}", f"{saved.value & bits:#018x}"
    try:
        if isinstance(saved, SavedText):
            now = tree.read(saved.path).decode("ascii", "replace").strip()
        else:
            now = f"{host.msr_read(saved.cpu, saved.register) & bits:#018x}"
    except OSError as error:
        return f"{where}: was {was}, and cannot be read now ({_words(error)})"
    if now == was:
        return ""
    return f"{where}: was {was}, is {now}" + (f" ({cause})" if cause else "")


def _words(error: OSError) -> str:
    return error.strerror or (os.strerror(error.errno) if error.errno else str(error))
