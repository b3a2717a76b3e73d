# SPDX-License-Identifier: Apache-2.0
"""The cases as plain directories, for suites in other languages: steps that a reader is shown, and the right answers.

    from raplica_conformance.export import export

    export("cases", ["arithmetic/*", "topology/two-*"])

A program in C, Go or a shell needs neither Python nor a mount: it points its reader at `step-00`, `step-01` and so on,
one after the other, and compares what the reader then says with `expect.tsv`. All that this leaves out is what only a
live file has: descriptors kept open, and errors at the call that the kernel makes them at (they are data here).
"""

from __future__ import annotations

import fnmatch
import json
import math
import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

from raplica_conformance.export_step import Events, write_step
from raplica_conformance.readers.moment import Moment, parts_of_total
from raplica_conformance.readers.stage import Stage
from raplica_fixtures.cases import Case, Expect, alternatives, case_ids, load_case

__all__ = ["FORMAT", "ExportError", "export", "right_answers"]

FORMAT = 1

_NUMBER = ("truth", "truth-or-unknown", "at-most-truth", "not-negative", "zero")

_README = """\
# Cases for readers of energy counters

Written by `conformance export`. `cases.json` lists the cases. Each is a directory GROUP/NAME, and GROUP/NAME is its
permanent id:

* `case.json`: what it is about, its level, the moments of its samples, and the right answers.
* `expect.tsv`: the right answers once more, a line each, fields parted by tabs:
  interface, domain, energy, from, to, least_uj, most_uj.
* `step-00`, `step-01`, ...: what a reader finds at sample 0, 1, ...: `class/powercap` of a sysfs, flat, without links.
  All numbers of a case have the same width, three digits where it has more than 100 samples: names sort as time goes.
* `step-NN.json`: the moment in ns, the modes of all attributes, what fails and how, and where the case is about them
  the registers of the processors and the counts of perf events.
* `step-NN.errors`: what fails, a line each: path, errno and call (open or read), parted by tabs. Such a file is not
  there.

In names of files and directories `%3A` stands for `:` (and `%25` for `%`); content is as the kernel prints it.

A reader takes sample 0 as its baseline. Its answer after sample N is the energy in uJ of each domain since then, or
that it is unknown. An expectation is about the answer after sample `to` less that after sample `from`; where one of the
two is no number, neither is the difference. A domain is the path of names from the top of the tree (`package-0/dram`;
control types other than intel-rapl in front, `intel-rapl-mmio/package-0`), or `total`, what the reader says that the
machine spent; a reader that gives no total is not judged by it. What is right:

| energy             | right is                                                      |
| ------------------ | ------------------------------------------------------------- |
| `truth`            | a number from least_uj to most_uj                             |
| `zero`             | the same                                                      |
| `truth-or-unknown` | the same, or no number                                        |
| `at-most-truth`    | the same, or no number                                        |
| `not-negative`     | the same, or no number; most_uj is - for no bound             |
| `unknown`          | no number; the domain may be left out                         |
| `error`            | the domain is listed with an error, and with no number        |
| `absent`           | the domain is not listed                                      |
| `listed`           | the domain is listed, whatever is said of it                  |

Of cases whose level is `alternative` one of each set has to pass.
"""


class ExportError(ValueError):
    """A directory that the cases cannot be written to: one line that says why and what to do."""


def export(directory: str | os.PathLike[str], selection: Sequence[str] = ("*",)) -> tuple[str, ...]:
    """Write the cases that the globs select into a directory that is new or empty, and give their ids.

    Errors, each with one line: FileExistsError for a directory that holds something, ExportError for one that cannot be
    written to, ValueError for a selection that matches nothing.
    """
    ids = [one for one in case_ids() if any(fnmatch.fnmatchcase(one, glob) for glob in selection)]
    if not ids:
        raise ValueError(f"{', '.join(selection)}: no case has such an id: `conformance list` names them")
    out = Path(directory)
    try:
        out.mkdir(parents=True, exist_ok=True)
        is_new = not any(out.iterdir())
        if is_new:
            _export(ids, out)
    except OSError as error:
        where = os.fsdecode(error.filename or out)
        if isinstance(error, FileExistsError) and where == str(out):
            raise ExportError(f"{out}: is no directory: name one that is new or empty") from error
        reason = error.strerror or str(error)
        raise ExportError(
            f"{where}: {reason}: name a directory that is new or empty, in a place where you may write"
        ) from error
    if not is_new:
        raise FileExistsError(f"{out}: is not empty: name a directory that is new")
    return tuple(ids)


def _export(ids: Sequence[str], out: Path) -> None:
    """Write the cases, and what lists them."""
    for case_id in ids:
        _export_case(load_case(case_id), out / case_id)
    sets = {name: [one for one in members if one in ids] for name, members in alternatives().items()}
    listed = {"format": FORMAT, "cases": ids, "alternatives": {name: one for name, one in sets.items() if one}}
    _write_json(out / "cases.json", listed)
    (out / "README.md").write_text(_README, encoding="utf-8")


def _export_case(case: Case, out: Path) -> None:
    out.mkdir(parents=True)
    stage = Stage(case)
    try:
        events = Events(stage) if "perf" in case.interfaces else None
        moments: dict[str, list[Moment]] = {interface: [] for interface in case.interfaces}
        steps = []
        # So many digits that names sort as the samples come.
        digits = max(2, len(str(len(case.samples_ns) - 1)))
        for number, at_ns in enumerate(case.samples_ns):
            stage.go_to(at_ns)
            name = f"step-{number:0{digits}d}"
            step = write_step(stage, out / name, registers="msr" in case.interfaces, events=events)
            _write_json(out / f"{name}.json", step.document())
            _write_lines(out / f"{name}.errors", step.errors)
            steps.append(name)
            for interface, seen in moments.items():
                seen.append(stage.look(interface))
    finally:
        stage.close()
    right = [one for interface, seen in moments.items() for one in right_answers(case, interface, seen)]
    _write_lines(
        out / "expect.tsv",
        [tuple("-" if value is None else str(value) for value in one.values()) for one in right],
    )
    about = {
        "format": FORMAT,
        "id": case.id,
        "title": case.title,
        "level": case.level,
        "alternative": case.alternative,
        "bug_class": case.bug_class,
        "effect": case.effect,
        "threads": list(case.threads),
        "kernel_ref": case.kernel_ref,
        "interfaces": list(case.interfaces),
        "driver": case.driver,
        "samples_ns": list(case.samples_ns),
        "steps": steps,
        "expect": right,
    }
    _write_json(out / "case.json", about)


def right_answers(case: Case, interface: str, moments: Sequence[Moment]) -> Iterator[dict[str, object]]:
    """The right answers of a reader that uses this interface, each domain by itself."""
    for expect in case.expects:
        domains = [expect.domain]
        if expect.domain == "*":
            last = moments[expect.to_sample]
            domains = [gauge.path for gauge in last.gauges if gauge.path in last.spent]
        for domain in dict.fromkeys(domains):
            least_uj, most_uj = _bounds(case, expect, domain, moments)
            yield {
                "interface": interface,
                "domain": domain,
                "energy": expect.energy,
                "from": expect.from_sample,
                "to": expect.to_sample,
                "least_uj": least_uj,
                "most_uj": most_uj,
            }


def _bounds(case: Case, expect: Expect, domain: str, moments: Sequence[Moment]) -> tuple[int | None, int | None]:
    """Between which whole microjoules a number is right; None where there is no such bound."""
    if expect.energy not in _NUMBER:
        return None, None
    before, after = moments[expect.from_sample], moments[expect.to_sample]
    parts = expect.of or (parts_of_total(after) if domain == "total" else (domain,))
    truth_uj = tolerance_uj = Fraction(0)
    for part in parts:
        if part not in before.spent or part not in after.spent:
            if expect.energy in ("zero", "not-negative"):
                continue
            raise ValueError(f"{case.id}: expect: the machine has no {part}, so nobody can say what it spent")
        unit_uj = after.spent[part].unit_nj / 1000
        truth_uj += (after.spent[part].steps - before.spent[part].steps) * unit_uj
        tolerance_uj += 2 * unit_uj + 1
    if expect.tolerance_uj is not None:
        tolerance_uj = Fraction(expect.tolerance_uj)
    if expect.energy == "zero":
        truth_uj = Fraction(0)
    if expect.energy == "not-negative":
        return 0, None
    least_uj = 0 if expect.energy == "at-most-truth" else math.ceil(truth_uj - tolerance_uj)
    return least_uj, math.floor(truth_uj + tolerance_uj)


def _write_json(path: Path, document: dict[str, object]) -> None:
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _write_lines(path: Path, rows: Sequence[Sequence[str]]) -> None:
    path.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
