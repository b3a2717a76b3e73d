# SPDX-License-Identifier: Apache-2.0
"""`conformance smoke`: whether a reader is plugged in rightly, said before anything about the reader itself.

A machine on which nothing goes wrong is shown for two seconds. What matters is that the reader starts, answers in a
form that is understood, calls zones by names that are known, and speaks of energies of the right size.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import click

from raplica_conformance.clause import ClauseSkipped
from raplica_conformance.ending import held
from raplica_conformance.printable import printable
from raplica_conformance.readers.adapter import AdapterError, find_adapter
from raplica_conformance.readers.extract import UNITS
from raplica_conformance.readers.moment import Moment, parts_of_total
from raplica_conformance.readers.plug import INTERFACES, TOTAL, NotExpressible, Plug, ReaderFault, ReaderHung
from raplica_conformance.readers.trial import Trial
from raplica_fixtures.cases import load_case

__all__ = ["Smoke", "smoke_command", "try_out"]

_CASE = Path(__file__).with_name("smoke.toml")
_WINDOW_S = 2
#: An energy that is off by less than this factor is a matter for the cases.
_PLAUSIBLE = 3


@dataclass(slots=True)
class Smoke:
    """What came out: lines for a person, what is wrong with the plug, and what each key of its answer was taken for."""

    reader: str
    kind: str
    interfaces: tuple[str, ...]
    took_s: float = 0.0
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    said: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """As a program reads it."""
        return {
            "format": 1,
            "reader": self.reader,
            "kind": self.kind,
            "interfaces": list(self.interfaces),
            "works": not self.problems,
            "problems": self.problems,
            "remarks": self.remarks,
            "answer": self.said,
        }


def smoke_command(
    *,
    readers: Sequence[str],
    reader_kind: str | None,
    extract: str | None,
    unit: str | None,
    as_json: bool,
) -> int:
    """Try one reader and print what came out; the exit status."""
    if len(readers) != 1:
        raise click.UsageError('name one reader with --reader, like --reader "./my-reader {sysfs}"')
    try:
        plug = find_adapter(readers[0], kind=reader_kind, extract=extract, unit=unit).plug()
    except AdapterError as error:
        raise click.UsageError(str(error)) from error
    try:
        smoke = try_out(plug)
    except ClauseSkipped as skipped:
        click.echo(printable(f"conformance smoke: {skipped}"), err=True)
        return 3
    finally:
        with held():
            plug.close()
    if as_json:
        click.echo(json.dumps(smoke.as_json(), indent=2))
    else:
        _print(smoke)
    return 1 if smoke.problems else 0


def try_out(plug: Plug) -> Smoke:
    """Show a reader a machine on which nothing goes wrong. ClauseSkipped where nothing can be mounted."""
    doors = tuple(one for one in INTERFACES if one in plug.interfaces)
    smoke = Smoke(plug.name, plug.kind, doors)
    with Trial(load_case(_CASE), plug) as trial:
        begun_s = time.monotonic()
        try:
            moments = trial.moments()
        except (ReaderFault, ReaderHung, NotExpressible) as error:
            smoke.problems.append(str(error))
            return smoke
        smoke.took_s = time.monotonic() - begun_s
        unit = getattr(getattr(plug, "extractor", None), "unit", None)
        _look_at(smoke, moments, unit, counter=plug.counter)
    return smoke


def _look_at(smoke: Smoke, moments: Sequence[Moment], unit: str | None, *, counter: bool) -> None:
    first, last = moments[0], moments[-1]
    ids = {gauge.id: gauge.path for gauge in last.gauges}
    numbers = 0
    ratios: list[Fraction] = []
    for key, reading in last.answer.items():
        path = ids.get(key, key)
        domains = parts_of_total(last) if key == TOTAL else (path,)
        smoke.said[key] = str(reading)
        if not all(name in last.spent for name in domains):
            smoke.remarks.append(f"{key!r} is no zone here: it will be ignored")
            continue
        if reading.energy_uj is None:
            continue
        numbers += 1
        said_uj = reading.energy_uj
        if counter:
            before = first.answer.get(key)
            if before is None or before.energy_uj is None:
                continue
            said_uj -= before.energy_uj
        truth_uj = sum(last.spent[name].truth_uj - first.spent[name].truth_uj for name in domains)
        if truth_uj:
            ratios.append(Fraction(said_uj, truth_uj))
    if not last.answer:
        smoke.problems.append("its answer is empty: nothing of what it says was understood (--extract)")
    elif not numbers:
        known = ", ".join([*ids, TOTAL][:6])
        said = next((f": it says {one}" for one in last.answer.values() if one.error), "")
        smoke.problems.append(f"its answer has no number for any zone of this machine ({known}, ...){said}")
    for gauge in last.gauges:
        if gauge.id not in last.answer and gauge.path not in last.answer:
            smoke.remarks.append(f"it says nothing of {gauge.path} ({gauge.id})")
    _look_at_sizes(smoke, ratios, unit)


def _look_at_sizes(smoke: Smoke, ratios: Sequence[Fraction], unit: str | None) -> None:
    """Energies that are all off by the same large factor speak of a wrong unit."""
    if not ratios:
        return
    middle = sorted(ratios)[len(ratios) // 2]
    if Fraction(1, _PLAUSIBLE) <= middle <= _PLAUSIBLE:
        return
    right = UNITS[unit] / middle if unit is not None and middle > 0 else Fraction(0)
    fits = [name for name, worth in UNITS.items() if worth / 2 < right < worth * 2]
    hint = f"; --unit {fits[0]} would fit" if fits else ""
    smoke.problems.append(f"its energies are {float(middle):.3g} times those that were spent{hint}")


def _print(smoke: Smoke) -> None:
    doors = " and ".join(smoke.interfaces) or "nothing that is known"
    click.echo(printable(f"{smoke.reader}: {smoke.kind}, reads {doors}"))
    for key, said in smoke.said.items():
        click.echo(printable(f"    {key:<20} {said}"))
    for remark in smoke.remarks:
        click.echo(printable(f"    note: {remark}"))
    for problem in smoke.problems:
        click.echo(printable(f"    wrong: {problem}"))
    if not smoke.problems:
        click.echo(f"    the plug works: {_WINDOW_S} s of the machine in {smoke.took_s:.2f} s")
