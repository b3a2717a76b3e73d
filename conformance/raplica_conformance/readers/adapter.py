# SPDX-License-Identifier: Apache-2.0
"""From a file or a command line to a plug: what a reader is called, how it is started, and how its words are read.

An adapter is TOML:

    title      = "my-reader, as it comes"        # optional; for a person
    kind       = "oneshot"                       # callable, stepped, oneshot, timed
    command    = "my-reader --sysfs {sysfs}"     # or an array of words; for a callable: function = "module:function"
    extract    = "json"                          # what `extract` understands; an array of several is put together
    unit       = "uJ"                            # nJ, uJ, mJ, J, W*s, kJ, Wh, kWh
    counter    = false                           # oneshot: it prints what counters show
    interfaces = ["powercap"]                    # the doors that it reads through, as cases have them
    limit_s    = 10                              # seconds that it may take for one answer
    file       = "{state}/out.csv"               # where it writes instead of printing
    [zones]                                      # zones as it calls them, by what they are called here
    "cpu package 0" = "package-0"

The built-in ones lie beside this module, in `adapters`.
"""

import difflib
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from raplica_conformance.readers.called import CalledPlug, find_function
from raplica_conformance.readers.command import Command
from raplica_conformance.readers.extract import UNITS, Extractor, read_extractor
from raplica_conformance.readers.oneshot import OneshotPlug
from raplica_conformance.readers.plug import INTERFACES, KINDS, Plug
from raplica_conformance.readers.stepped import SteppedPlug
from raplica_conformance.readers.timed import TimedPlug

__all__ = ["Adapter", "AdapterError", "adapter_ids", "find_adapter", "load_adapter"]

_BUILT_IN = Path(__file__).with_name("adapters")
_KEYS = ("title", "kind", "command", "function", "extract", "unit", "counter", "interfaces", "limit_s", "file", "zones")
_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*\Z", re.ASCII)
_LONGEST_S = 3600
_LARGEST_FILE = 1 << 20


class AdapterError(ValueError):
    """A reader that cannot be plugged in as it was described: one line that says what would be right."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """How one reader is plugged in; the fields are the keys of the file."""

    name: str
    kind: str
    command: Command | None = None
    function: str | None = None
    extract: tuple[str, ...] = ("json",)
    unit: str = "uJ"
    counter: bool = False
    interfaces: frozenset[str] | None = None
    limit_s: float | None = None
    file: str | None = None
    zones: Mapping[str, str] | None = None
    title: str = ""

    def plug(self) -> Plug:
        """The plug. AdapterError where what is described does not go together."""
        given: dict[str, Any] = {} if self.interfaces is None else {"interfaces": self.interfaces}
        if self.limit_s is not None:
            given["limit_s"] = self.limit_s
        if self.kind == "callable":
            return self._callable(given)
        if self.command is None or self.function is not None:
            raise AdapterError(f"{self.name}: a {self.kind} reader is started by a command")
        if not self.command.is_there:
            raise AdapterError(
                f"{self.name}: {self.command.words[0]}: there is no such program; install it, or give its path"
            )
        if self.counter and self.kind != "oneshot":
            raise AdapterError(f"{self.name}: counter is for oneshot readers: the others say energies")
        if self.kind == "stepped":
            if self.extract != ("json",) or self.unit != "uJ" or self.file is not None or self.zones:
                raise AdapterError(f"{self.name}: a stepped reader answers in its protocol: nothing is extracted")
            return SteppedPlug(self.name, self.command, **given)
        given |= {"extractor": self._extractor(), "file": self.file}
        if self.kind == "timed":
            return TimedPlug(self.name, self.command, **given)
        return OneshotPlug(self.name, self.command, counter=self.counter, **given)

    def _callable(self, given: dict[str, Any]) -> Plug:
        if self.function is None or self.command is not None:
            raise AdapterError(f"{self.name}: a callable is a function: name it like module:function")
        try:
            function = find_function(self.function)
        except ValueError as error:
            raise AdapterError(str(error)) from error
        own = getattr(function, "interfaces", None)
        if own is not None and "interfaces" not in given:
            given["interfaces"] = frozenset(own)
        return CalledPlug(self.name, function, **given)

    def _extractor(self) -> Extractor:
        try:
            return read_extractor(self.extract, self.unit, self.zones)
        except ValueError as error:
            raise AdapterError(f"{self.name}: {error}") from error


def adapter_ids() -> tuple[str, ...]:
    """The names of the built-in adapters."""
    return tuple(sorted(path.name.removesuffix(".toml") for path in _BUILT_IN.glob("*.toml")))


def find_adapter(
    reader: str, *, kind: str | None = None, extract: str | None = None, unit: str | None = None
) -> Adapter:
    """The adapter for what was said after --reader: a built-in name, a .toml file, module:function or a command.

    The rest is what was said beside it, and counts more than what a file says. AdapterError in one line.
    """
    if kind is not None and kind not in KINDS:
        raise AdapterError(f"there is no kind of reader {kind!r}: {', '.join(KINDS)}")
    if reader in adapter_ids():
        adapter = load_adapter(_BUILT_IN / f"{reader}.toml", reader)
    elif reader.endswith(".toml"):
        adapter = load_adapter(Path(reader), Path(reader).name.removesuffix(".toml"))
    elif kind in (None, "callable") and _FUNCTION.match(reader):
        adapter = Adapter(reader, "callable", function=reader)
    else:
        command = _command(reader, reader)
        adapter = Adapter(reader, "timed" if "seconds" in command.fields else "oneshot", command)
    return replace(
        adapter,
        kind=kind or adapter.kind,
        extract=adapter.extract if extract is None else (extract,),
        unit=unit or adapter.unit,
    )


def load_adapter(path: Path, name: str) -> Adapter:
    """The adapter that a file describes. AdapterError in one line with the file and the key."""
    try:
        with path.open("rb") as file:
            document = tomllib.loads(file.read(_LARGEST_FILE).decode())
    except OSError as error:
        raise AdapterError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise AdapterError(f"{path}: is not TOML: {error}") from error
    return _Table(document, str(path)).adapter(name)


class _Table:
    """The keys of a file, each looked at once."""

    def __init__(self, document: Mapping[str, Any], file: str) -> None:
        self._document = document
        self._file = file
        for key in document:
            if key not in _KEYS:
                raise self._wrong(key, f"unknown key{_nearest(key, _KEYS)} (known here: {', '.join(_KEYS)})")

    def adapter(self, name: str) -> Adapter:
        kind = self._word("kind", KINDS)
        if kind is None:
            raise AdapterError(f"{self._file}: kind is missing: {', '.join(KINDS)}")
        command = self._document.get("command")
        return Adapter(
            name=name,
            kind=kind,
            command=None if command is None else _command(command, f"{self._file}: command"),
            function=self._text("function"),
            extract=self._extract(),
            unit=self._word("unit", UNITS) or "uJ",
            counter=self._of("counter", bool, "true or false") or False,
            interfaces=self._interfaces(),
            limit_s=self._limit_s(),
            file=self._text("file"),
            zones=self._zones(),
            title=self._text("title") or "",
        )

    def _wrong(self, key: str, text: str) -> AdapterError:
        return AdapterError(f"{self._file}: {key}: {text}")

    def _of(self, key: str, wanted: Any, what: str) -> Any:
        value = self._document.get(key)
        if value is not None and not isinstance(value, wanted):
            raise self._wrong(key, f"must be {what}, not {value!r:.60}")
        return value

    def _text(self, key: str) -> str | None:
        text: str | None = self._of(key, str, "text")
        if text == "":
            raise self._wrong(key, "is empty; leave it out")
        return text

    def _word(self, key: str, words: Collection[str]) -> str | None:
        word = self._text(key)
        if word is not None and word not in words:
            raise self._wrong(key, f"{word!r} is none of {', '.join(words)}{_nearest(word, words)}")
        return word

    def _interfaces(self) -> frozenset[str] | None:
        names = self._of("interfaces", list, "an array of doors")
        if names is None:
            return None
        for name in names:
            if name not in INTERFACES:
                raise self._wrong("interfaces", f"{name!r} is none of {', '.join(INTERFACES)}")
        if not names:
            raise self._wrong("interfaces", "is empty: a reader reads through one door at least")
        return frozenset(names)

    def _extract(self) -> tuple[str, ...]:
        given = self._of("extract", str | list, "text or an array of texts")
        texts = [given] if isinstance(given, str) else given or ["json"]
        if not all(isinstance(text, str) and text for text in texts):
            raise self._wrong("extract", "must be text or an array of texts")
        return tuple(texts)

    def _limit_s(self) -> float | None:
        limit_s = self._of("limit_s", int | float, "a number of seconds")
        if limit_s is not None and (isinstance(limit_s, bool) or not 0 < limit_s <= _LONGEST_S):
            raise self._wrong("limit_s", f"must be above 0 and at most {_LONGEST_S} seconds")
        return None if limit_s is None else float(limit_s)

    def _zones(self) -> Mapping[str, str] | None:
        zones: dict[str, str] | None = self._of("zones", dict, "a table")
        for name, zone in (zones or {}).items():
            if not isinstance(zone, str):
                raise self._wrong(f"zones.{name}", "must be text: the id of a zone, its path or total")
        return zones


def _command(given: Any, where: str) -> Command:
    if not isinstance(given, str) and not (isinstance(given, list) and all(isinstance(word, str) for word in given)):
        raise AdapterError(f"{where}: must be text or an array of words")
    words: str | Sequence[str] = given
    try:
        return Command.parse(words)
    except ValueError as error:
        raise AdapterError(f"{where}: {error}" if where != given else f"--reader {error}") from error


def _nearest(word: str, words: Collection[str]) -> str:
    near = difflib.get_close_matches(word, list(words), n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""
