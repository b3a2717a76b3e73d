# SPDX-License-Identifier: Apache-2.0
"""What `raplica-reader` prints: a table for a person, one JSON document for a program, one line about trouble.

The JSON document, format 1:

* `format`, `command` ("list" or "read"), `source` ("powercap"), `sysfs` (the root of the tree);
* `zones`, each with `id`, `path`, `energy_uj`, `power_w`, `error` (null or an errno name like "EACCES"), `name`,
  `control_type`, `parent`, `max_energy_range_uj`, `unit_nj` (null where unknown), `counted` (in the total) and `why`.
  In `list` energy_uj is the counter as its file shows it, and power_w is null. In `read` they are the energy of the
  whole reading in microjoules, wraps corrected, and the mean watts over the measured time. null is unknown;
* in `read` also `duration_s`; per zone `intervals`, a list of `{"duration_s", "energy_uj", "power_w", "error"}`, each
  since the last good reading; and `total` with `energy_uj`, `power_w`, `error` and the ids of its `zones`.

Errors that are not the kernel's: ENODATA an empty file, EBADMSG a file that holds no number, EXDEV a link out of the
tree, ERANGE a counter that went backward and has no usable range.
"""

from collections.abc import Sequence
from typing import Any, TextIO

from raplica_reader.overlap import Share, shares, total
from raplica_reader.powercap import Zone
from raplica_reader.sample import Delta, Sample

__all__ = ["list_document", "print_json", "print_list", "print_read", "read_document", "trouble"]

ADVICE = {
    "EACCES": "run as root: {root}/class/powercap/*/energy_uj is closed to others, "
    "since it reveals what programs compute",
    "ENOENT": "the class lists zones whose directories are not there, as in a container that hides "
    "{root}/devices/virtual/powercap: mount that directory into it",
    "EXDEV": "the links lead out of {root}: give the root that they belong to with --sysfs",
    "ERANGE": "a counter went backward or stands where max_energy_range_uj says that it cannot: read again",
    "ENODATA": "the file is empty: in a written tree this stands for a counter that could not be read",
    "EINVAL": "the kernel could not read the counter's register",
}
NO_ADVICE = "look at the file energy_uj of the zone"


def list_document(root: str, sample: Sample) -> dict[str, Any]:
    """Make the document of `list`."""
    zones = [
        _zone(zone, share, energy_uj, None, error)
        for zone, share, energy_uj, error in zip(
            sample.zones, shares(sample.zones), sample.energies_uj, sample.errors, strict=True
        )
    ]
    return _head("list", root) | {"zones": zones}


def read_document(root: str, intervals: Sequence[Sequence[Delta]], whole: Sequence[Delta]) -> dict[str, Any]:
    """Make the document of `read` from the deltas of each interval and of all of them together."""
    zones = []
    for index, (spent, share) in enumerate(zip(whole, shares([spent.zone for spent in whole]), strict=True)):
        zone = _zone(spent.zone, share, spent.energy_uj, spent.power_w, spent.error)
        zone["intervals"] = [_spent(interval[index]) for interval in intervals]
        zones.append(zone)
    summed = total(whole)
    return _head("read", root) | {
        "duration_s": _seconds(max((spent.duration_ns for spent in whole), default=0)),
        "zones": zones,
        "total": {
            "energy_uj": summed.energy_uj,
            "power_w": summed.power_w,
            "error": summed.error,
            "zones": [zone.id for zone in summed.zones],
        },
    }


def print_json(document: dict[str, Any], stream: TextIO) -> None:
    """Print a document."""
    import json

    print(json.dumps(document, indent=1), file=stream)


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
                error or _joules(energy_uj),
                _joules(None if period_nj is None else period_nj // 1000),
                "yes" if share.counted else "no",
                *([share.why] if why else []),
            )
        )
    _print_table(rows, stream)


def print_read(whole: Sequence[Delta], stream: TextIO) -> None:
    """Print a table of what each zone spent, and the total of those that are counted."""
    rows: list[tuple[str, ...]] = [("id", "path", ">joules", ">watts", "total")]
    for spent, share in zip(whole, shares([spent.zone for spent in whole]), strict=True):
        joules = spent.error or _joules(spent.energy_uj)
        counted = "yes" if share.counted else "no"
        rows.append((spent.zone.id, spent.zone.path, joules, _watts(spent.power_w), counted))
    summed = total(whole)
    duration_ns = max((spent.duration_ns for spent in whole), default=0)
    name = f"in {_seconds(duration_ns):.3f} s"
    rows.append(("total", name, summed.error or _joules(summed.energy_uj), _watts(summed.power_w), ""))
    _print_table(rows, stream)


def trouble(root: str, zones: Sequence[Zone], errors: Sequence[str | None]) -> str | None:
    """Say in one line which zones could not be read and what to do; None when all could."""
    failed = [(zone, error) for zone, error in zip(zones, errors, strict=True) if error is not None]
    if not failed:
        return None
    kinds = sorted({error for _, error in failed})
    where = failed[0][0].path if len(failed) == 1 else f"{len(failed)} of {len(zones)} zones"
    advice = ADVICE.get(kinds[0], NO_ADVICE).format(root=root.rstrip("/"))
    return f"energy of {where} is unknown ({', '.join(kinds)}): {advice}"


def _head(command: str, root: str) -> dict[str, Any]:
    """The beginning of every document."""
    return {"format": 1, "command": command, "source": "powercap", "sysfs": root}


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


def _spent(spent: Delta) -> dict[str, Any]:
    """One interval of one zone."""
    return {
        "duration_s": _seconds(spent.duration_ns),
        "energy_uj": spent.energy_uj,
        "power_w": spent.power_w,
        "error": spent.error,
    }


def _seconds(duration_ns: int) -> float:
    """Seconds for a person or a document; only printed, never counted with."""
    return duration_ns / 1_000_000_000


def _joules(energy_uj: int | None) -> str:
    """Joules to the microjoule, without a float; "-" where unknown."""
    return "-" if energy_uj is None else f"{energy_uj // 1_000_000}.{energy_uj % 1_000_000:06d}"


def _watts(power_w: float | None) -> str:
    """Watts to the milliwatt; "-" where unknown."""
    return "-" if power_w is None else f"{power_w:.3f}"


def _print_table(rows: Sequence[tuple[str, ...]], stream: TextIO) -> None:
    """Print rows under their headings; a heading that begins with > sets its column to the right."""
    headings = [heading.removeprefix(">") for heading in rows[0]]
    right = [heading.startswith(">") for heading in rows[0]]
    lines = [headings, *rows[1:]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    for line in lines:
        cells = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        ]
        print("  ".join(cells).rstrip(), file=stream)
