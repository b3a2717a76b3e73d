# SPDX-License-Identifier: Apache-2.0
"""Control types read back out of a recorded powercap tree: what `[[control_type]]` says, taken from the attributes.

An attribute that did not read is there with a number of 0: that it fails is said elsewhere, by the path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from raplica_fixtures.recording import Entry
from raplica_simulator.profile.control_types import Constraint, ControlType, Zone

__all__ = ["control_types_of"]

_ROOT = "devices/virtual/powercap"
_CONSTRAINT = re.compile(r"constraint_([0-9]+)_name|constraint_([0-9]+)_power_limit_uw")
_MOST = 2**64 - 1
# Slashes in the path of a zone that can have others below it; RAPL needs 4, and a stranger's file could have thousands.
_DEEPEST = 20
# What a control type without a switch of its own reads (powercap_sys.c enabled_show).
_NO_SWITCH = b"1\n"

Tree = Mapping[str, Entry]


def control_types_of(tree: Tree) -> tuple[ControlType, ...]:
    """Every control type of a recorded tree, in the order of their names."""
    folders = sorted(_folders(tree, _ROOT))
    return tuple(
        ControlType(
            name,
            enabled=None if _content(tree, f"{path}/enabled") == _NO_SWITCH else False,
            zones=_zones(tree, path, name),
        )
        for name in folders
        if "subsystem" in (tree[path := f"{_ROOT}/{name}"].order or ())
    )


def _zones(tree: Tree, above: str, prefix: str) -> tuple[Zone, ...]:
    """The zones right below a folder, in the order of their numbers, which is that of their registration."""
    if above.count("/") > _DEEPEST:
        return ()
    numbers = sorted(
        int(name.removeprefix(f"{prefix}:"))
        for name in _folders(tree, above)
        if re.fullmatch(re.escape(prefix) + ":[0-9]{1,9}", name)
    )
    return tuple(_zone(tree, f"{above}/{prefix}:{number}", f"{prefix}:{number}") for number in numbers)


def _zone(tree: Tree, path: str, name: str) -> Zone:
    files = tree[path].order or ()
    energy = tree.get(f"{path}/energy_uj")
    range_uj = _number(tree, f"{path}/max_energy_range_uj")
    energy_uj = _number(tree, f"{path}/energy_uj")
    power_uw = _number(tree, f"{path}/power_uw")
    # The kernel registers no zone without either, so a copy that lacks both has lost one.
    energy_uj = 0 if energy_uj is None and power_uw is None else energy_uj
    return Zone(
        name=_content(tree, f"{path}/name").decode("utf-8", "replace").removesuffix("\n"),
        energy_uj=energy_uj,
        max_energy_range_uj=range_uj,
        power_uw=power_uw,
        max_power_range_uw=_number(tree, f"{path}/max_power_range_uw"),
        enabled=_content(tree, f"{path}/enabled").strip() != b"0" if "enabled" in files else None,
        constraints=tuple(
            _constraint(tree, f"{path}/constraint_{number}")
            for number in sorted({int(a or b) for a, b in _CONSTRAINT.findall(" ".join(files))})
        ),
        zones=_zones(tree, path, name),
        # A counter that can be reset is one that can be written.
        resettable=energy is not None and bool(energy.mode & 0o200),
    )


def _constraint(tree: Tree, stem: str) -> Constraint:
    has_name = f"{stem}_name" in tree
    return Constraint(
        name=_content(tree, f"{stem}_name").decode("utf-8", "replace").removesuffix("\n") if has_name else None,
        power_limit_uw=_number(tree, f"{stem}_power_limit_uw") or 0,
        time_window_us=_number(tree, f"{stem}_time_window_us") or 0,
        max_power_uw=_number(tree, f"{stem}_max_power_uw"),
        min_power_uw=_number(tree, f"{stem}_min_power_uw"),
        max_time_window_us=_number(tree, f"{stem}_max_time_window_us"),
        min_time_window_us=_number(tree, f"{stem}_min_time_window_us"),
    )


def _folders(tree: Tree, path: str) -> list[str]:
    entry = tree.get(path)
    names = (entry.order or ()) if entry is not None else ()
    found = {name: tree.get(f"{path}/{name}") for name in names if "/" not in name}
    return [name for name, below in found.items() if below is not None and below.kind == "dir"]


def _number(tree: Tree, path: str) -> int | None:
    """What a file says; 0 where it did not read or is no number, None where there is none."""
    if path not in tree:
        return None
    text = _content(tree, path).strip()
    return min(int(text), _MOST) if text.isdigit() and len(text) <= 20 else 0


def _content(tree: Tree, path: str) -> bytes:
    entry = tree.get(path)
    return (entry.read.content or b"") if entry is not None and entry.read is not None else b""
