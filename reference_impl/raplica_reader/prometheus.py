# SPDX-License-Identifier: Apache-2.0
"""What was measured in Prometheus's text format, version 0.0.4, for a scrape or for a textfile collector.

`raplica_energy_joules_total` is a counter in the sense of Prometheus: it begins at 0, wraps of the register behind it
are put right, and it never falls, so rate() over it is watts. Exporting the register itself would look like a reset
that does not begin at 0 at every wrap (hubblo-org/scaphandre issue 323). What could not be measured is missing in it,
and `raplica_energy_gaps_total` says how often and why.

Zones are told apart by `path`, since ids change with CPU hotplug. Those with counted="yes" add up to the machine.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress

from raplica_reader.meter import Delta, Meter
from raplica_reader.overlap import shares
from raplica_reader.table import joules
from raplica_reader.zone import Zone

__all__ = ["exposition", "write"]

STATUSES = ("error", "reset", "unknown")


def exposition(source: str, meter: Meter, latest: Sequence[Delta]) -> str:
    """The text of all metrics: what the meter has added up, and the watts of the latest interval."""
    return "".join(f"{line}\n" for line in _lines(source, meter, latest))


def write(text: str, path: str) -> None:
    """Put the text into a file in one step, so that nobody reads half of it; OSError where that cannot be done."""
    beside = f"{path}.{os.getpid()}.tmp"
    with suppress(FileNotFoundError):
        os.unlink(beside)  # noqa: PTH108 - of an earlier process with this number, or a link that was laid there
    try:
        with open(beside, "x", encoding="utf-8") as file:  # noqa: PTH123 - as everywhere here, without pathlib
            file.write(text)
        os.replace(beside, path)  # noqa: PTH105
    except BaseException:  # Ctrl-C too
        with suppress(OSError):
            os.unlink(beside)  # noqa: PTH108
        raise


def _lines(source: str, meter: Meter, latest: Sequence[Delta]) -> Iterator[str]:
    tallies = meter.tallies()
    zones = [tally.zone for tally in tallies]
    counted = {zone.path: share.counted for zone, share in zip(zones, shares(zones), strict=True)}

    def labels(zone: Zone) -> str:
        return f'source="{source}",path="{_escaped(zone.path)}",counted="{"yes" if counted[zone.path] else "no"}"'

    yield "# HELP raplica_energy_joules_total Energy that was measured since the start, wraps corrected."
    yield "# TYPE raplica_energy_joules_total counter"
    for tally in tallies:
        if tally.zone.has_energy:
            yield f"raplica_energy_joules_total{{{labels(tally.zone)}}} {joules(tally.energy_nj // 1000)}"
    yield "# HELP raplica_energy_gaps_total Intervals that the counter lacks; an error is made up for later."
    yield "# TYPE raplica_energy_gaps_total counter"
    for tally in tallies:
        for status in STATUSES if tally.zone.has_energy else ():
            yield (f'raplica_energy_gaps_total{{{labels(tally.zone)},status="{status}"}} {tally.gaps.get(status, 0)}')
    yield "# HELP raplica_power_watts Mean power of the latest interval, where it is known."
    yield "# TYPE raplica_power_watts gauge"
    for spent in latest:
        if spent.power_w is not None:
            yield f"raplica_power_watts{{{labels(spent.zone)}}} {spent.power_w!r}"


def _escaped(text: str) -> str:
    """A label's value as the format wants it."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
