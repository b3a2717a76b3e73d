# SPDX-License-Identifier: Apache-2.0
"""A subject as a report shows it: its facts, and its zones with their limits, as they read when the run had ended.

Nothing is worked out here: each value is the text that the tree gives, or the name of the errno that a read failed
with. A subject that knows more of itself than its kernel has an attribute `facts`, text by name.
"""

import errno
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raplica_conformance.subject import Crashed, Provider, Zone, constraints, control_types, zones
from raplica_conformance.verdicts import Verdict, quoted

__all__ = ["DrawnConstraint", "DrawnZone", "Portrait", "portrait", "portraits"]

#: More zones of a control type, and deeper ones, than any machine has; a tree that somebody made may have any.
_MOST_ZONES = 500
_DEEPEST = 20
_POWER = (("limit", "power_limit_uw"), ("window", "time_window_us"), ("most", "max_power_uw"))


@dataclass(frozen=True, slots=True)
class DrawnConstraint:
    """One constraint: its number, its name, and (what, text) for limit, window and most."""

    number: int
    name: str
    values: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class DrawnZone:
    """A zone or a control type, with what lies below it. `values` are (attribute, text as it reads)."""

    id: str
    name: str
    values: tuple[tuple[str, str], ...] = ()
    constraints: tuple[DrawnConstraint, ...] = ()
    children: tuple["DrawnZone", ...] = ()


@dataclass(frozen=True, slots=True)
class Portrait:
    """What was judged. `zones` are the control types, `note` says why some or all are not there."""

    subject: str
    kind: str
    facts: tuple[tuple[str, str], ...] = ()
    zones: tuple[DrawnZone, ...] = ()
    note: str = ""


def portraits(subjects: Iterable[Any], verdicts: Sequence[Verdict]) -> list[Portrait]:
    """Each subject in order. One that let a clause wait in vain is not read again: nothing would end that."""
    hung = {verdict.subject for verdict in verdicts if verdict.verdict == "timeout"}
    return [portrait(subject, looked_at=subject.name not in hung) for subject in subjects]


def portrait(subject: Any, *, looked_at: bool = True) -> Portrait:
    """One subject. `looked_at` says whether its tree may be read."""
    kind = getattr(subject, "kind", "provider")
    facts = dict(getattr(subject, "facts", {}))
    if getattr(subject, "kernel", None):
        facts["kernel"] = subject.kernel
    if arguments := getattr(subject, "arguments", ()):
        facts["judged by"] = " ".join(map(quoted, ("conformance", "run", *arguments)))
    drawn: tuple[DrawnZone, ...] = ()
    note = ""
    if kind == "provider":
        if looked_at:
            drawn, note = _drawn(subject)
        else:
            note = "not drawn: a clause waited for this tree in vain"
    return Portrait(subject.name, kind, tuple(facts.items()), drawn, note)


def _drawn(subject: Any) -> tuple[tuple[DrawnZone, ...], str]:
    """The zones, and a word where they cannot be had, or not all."""
    try:
        fresh = getattr(subject, "fresh", None)
        tree = subject if fresh is None else fresh()
        found = {name: zones(tree, name) for name in control_types(tree)}
        shown = {name: [zone for zone in some[:_MOST_ZONES] if zone.depth < _DEEPEST] for name, some in found.items()}
        drawn = tuple(_control_type(tree, name, some) for name, some in shown.items())
    except (OSError, Crashed, RecursionError) as error:
        return (), f"not drawn: {error}"
    left_out = sum(map(len, found.values())) - sum(map(len, shown.values()))
    return drawn, f"drawn but for {left_out}, which are too many or lie too deep" if left_out else ""


def _control_type(tree: Provider, name: str, found: Sequence[Zone]) -> DrawnZone:
    """One control type with its zones, by their paths: in a tree that is wrong an id may be there twice.

    A zone hangs on the one that its directory lies in; in plain folders, on the one with its parent's id; and where
    there is neither, on the control type.
    """
    paths = {zone.path for zone in found}
    below: dict[str, list[Zone]] = {}
    for zone in found:
        folder = zone.path.rpartition("/")[0]
        above = next((path for path in (folder, f"{folder}/{zone.parent}") if path in paths), "")
        below.setdefault(above, []).append(zone)
    return DrawnZone(name, "", children=tuple(_zone(tree, zone, below) for zone in below.get("", ())))


def _zone(tree: Provider, zone: Zone, below: Mapping[str, Sequence[Zone]]) -> DrawnZone:
    names = set(tree.listdir(zone.path))
    return DrawnZone(
        zone.id,
        _text(tree, f"{zone.path}/name"),
        tuple(
            (attribute, _text(tree, f"{zone.path}/{attribute}"))
            for attribute in ("energy_uj", "max_energy_range_uj", "power_uw", "enabled")
            if attribute in names
        ),
        tuple(_constraint(tree, zone, number, names) for number in constraints(tree, zone)),
        tuple(_zone(tree, child, below) for child in below.get(zone.path, ())),
    )


def _constraint(tree: Provider, zone: Zone, number: int, names: set[str]) -> DrawnConstraint:
    start = f"constraint_{number}_"
    return DrawnConstraint(
        number,
        _text(tree, f"{zone.path}/{start}name") if f"{start}name" in names else "",
        tuple((what, _text(tree, f"{zone.path}/{start}{end}")) for what, end in _POWER if f"{start}{end}" in names),
    )


def _text(tree: Provider, path: str) -> str:
    """The first line that reads, or why none does."""
    try:
        return tree.read(path).decode("utf-8", "backslashreplace").partition("\n")[0]
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, error.strerror or "cannot be read")
