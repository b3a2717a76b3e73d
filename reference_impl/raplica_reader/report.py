# SPDX-License-Identifier: Apache-2.0
"""What `raplica-reader` prints: a table for a person, one JSON document for a program.

The JSON document, format 1:

* `format`, `command` ("list", "read" or "watch"), `source` ("powercap", "perf", …), `sysfs` (the root of the tree;
  null for a source of another system than Linux), in `list` also `why` (of the source) and `others` (a reason for each
  source that was not taken), and with `--why` `energy_filtering` (true, false, null where that cannot be known);
* `zones`, each with `id`, `path`, `energy_uj`, `power_w`, `error` (null or an errno name like "EACCES"), `name`,
  `control_type`, `parent`, `max_energy_range_uj`, `unit_nj` (null where unknown), `counted` (in the total) and `why`.
  In `list` energy_uj is the counter as it stands, and power_w is null. In `read` they are the energy of the whole
  reading in microjoules, wraps corrected, and the mean watts over the measured time. null is unknown;
* in `read` and `watch` also `duration_s`; per zone `status` ("ok", "unknown", "reset", "error", or "none" for a zone
  without a counter); and `total` with `energy_uj`, `power_w`, `error` and the ids of its `zones`;
* in `read` per zone `intervals`, a list of `{"duration_s", "energy_uj", "power_w", "error"}`, each since the last good
  reading. `watch` prints a document a line, each about one interval, with the time since the start as `at_s`.

Errors that are not the kernel's: ENODATA an empty file, EBADMSG a file that holds no number, EXDEV a link out of the
tree, ENODEV a zone that is gone or is new, and those of `step`: ERANGE a counter that went backward and has no usable
range, EOVERFLOW one that may have wrapped more than once, ESTALE one that was reset, EDOM a total of energies of
different times.
"""

from collections.abc import Sequence
from typing import Any, TextIO

from raplica_reader.meter import Delta
from raplica_reader.overlap import Share, shares, total
from raplica_reader.sample import Sample
from raplica_reader.step import word
from raplica_reader.table import joules, lines, seconds, watts
from raplica_reader.zone import Zone

__all__ = ["head", "list_document", "print_json", "print_list", "print_read", "read_document", "watch_document"]


def head(command: str, source: str, sysfs: str | None) -> dict[str, Any]:
    """Make the beginning of every document."""
    return {"format": 1, "command": command, "source": source, "sysfs": sysfs}


def list_document(beginning: dict[str, Any], sample: Sample) -> dict[str, Any]:
    """Make the document of `list`."""
    zones = [
        _zone(zone, share, energy_uj, None, error)
        for zone, share, energy_uj, error in zip(
            sample.zones, shares(sample.zones), sample.energies_uj, sample.errors, strict=True
        )
    ]
    return beginning | {"zones": zones}


def read_document(
    beginning: dict[str, Any], intervals: Sequence[Sequence[Delta]], whole: Sequence[Delta]
) -> dict[str, Any]:
    """Make the document of `read` from the deltas of each interval and of all of them together."""
    document = _spent_document(beginning, whole)
    by_path = [{part.zone.path: part for part in interval} for interval in intervals]
    for zone in document["zones"]:
        zone["intervals"] = [_interval(parts[zone["path"]]) for parts in by_path if zone["path"] in parts]
    return document


def watch_document(beginning: dict[str, Any], since_ns: int, spent: Sequence[Delta]) -> dict[str, Any]:
    """Make the document of one interval of `watch`, `since_ns` after the first sample."""
    return _spent_document(beginning | {"at_s": seconds(since_ns)}, spent)


def print_json(document: dict[str, Any], stream: TextIO, *, indent: int | None = 1) -> None:
    """Print a document; without an indent on one line."""
    import json

    print(json.dumps(document, indent=indent), file=stream)


def print_list(sample: Sample, stream: TextIO, *, why: bool) -> None:
    """Print a table of the zones."""
    rows = [("id", "path", ">counter J", ">wraps after J", "total", *(["why"] if why else []))]
    for zone, share, energy_uj, error in zip(
        sample.zones, shares(sample.zones), sample.energies_uj, sample.errors, strict=True
    ):
        period_nj = zone.counter.period_nj
        rows.append(
            (
                zone.id,
                zone.path,
                error or joules(energy_uj),
                joules(None if period_nj is None else period_nj // 1000),
                "yes" if share.counted else "no",
                *([share.why] if why else []),
            )
        )
    print(*lines(rows), sep="\n", file=stream)


def print_read(whole: Sequence[Delta], stream: TextIO) -> None:
    """Print a table of what each zone spent, and the total of those that are counted."""
    rows: list[tuple[str, ...]] = [("id", "path", ">joules", ">watts", "total")]
    for spent, share in zip(whole, shares([spent.zone for spent in whole]), strict=True):
        counted = "yes" if share.counted else "no"
        rows.append((spent.zone.id, spent.zone.path, _joules(spent), watts(spent.power_w), counted))
    summed = total(whole)
    duration_ns = max((spent.duration_ns for spent in whole), default=0)
    name = f"in {seconds(duration_ns):.3f} s"
    rows.append(
        ("total", name, word(summed.error) if summed.error else joules(summed.energy_uj), watts(summed.power_w), "")
    )
    print(*lines(rows), sep="\n", file=stream)


def _joules(spent: Delta) -> str:
    """Joules, or why there are none: in a word where the counter turned, otherwise by the errno's name."""
    if spent.error is None:
        return joules(spent.energy_uj)
    return word(spent.error)


def _spent_document(beginning: dict[str, Any], whole: Sequence[Delta]) -> dict[str, Any]:
    """What all zones spent in one span of time."""
    zones = []
    for spent, share in zip(whole, shares([spent.zone for spent in whole]), strict=True):
        zone = _zone(spent.zone, share, spent.energy_uj, spent.power_w, spent.error)
        zones.append(zone | {"status": spent.status})
    summed = total(whole)
    return beginning | {
        "duration_s": seconds(max((spent.duration_ns for spent in whole), default=0)),
        "zones": zones,
        "total": {
            "energy_uj": summed.energy_uj,
            "power_w": summed.power_w,
            "error": summed.error,
            "zones": [zone.id for zone in summed.zones],
        },
    }


def _zone(zone: Zone, share: Share, energy_uj: int | None, power_w: float | None, error: str | None) -> dict[str, Any]:
    """One zone of a document."""
    return {
        "id": zone.id,
        "path": zone.path,
        "energy_uj": energy_uj,
        "power_w": power_w,
        "error": error,
        "name": zone.name,
        "control_type": zone.control_type,
        "parent": zone.parent,
        "max_energy_range_uj": zone.max_energy_range_uj,
        "unit_nj": zone.counter.unit_nj,
        "counted": share.counted,
        "why": share.why,
    }


def _interval(spent: Delta) -> dict[str, Any]:
    """One interval of one zone."""
    return {
        "duration_s": seconds(spent.duration_ns),
        "energy_uj": spent.energy_uj,
        "power_w": spent.power_w,
        "error": spent.error,
    }
