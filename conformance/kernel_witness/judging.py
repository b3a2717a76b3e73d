# SPDX-License-Identifier: Apache-2.0
"""`conformance run --real` inside virtual machines, and whether the simulated twins get the same verdicts.

A report holds two of the suite's JSON reports, format 1: `report` of the subject that may do anything in its virtual
machine, to be compared with the twin word for word, and `careful` of the command that a real machine is judged with.
"""

from __future__ import annotations

import json
import lzma
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kernel_witness.booting import Bench, tell
from kernel_witness.failure import StepError, WitnessError
from kernel_witness.logs import said_in, write_atomically
from kernel_witness.machines import MachineDescription
from kernel_witness.twin import counting_rates, verdicts_of_twin, write_profile

__all__ = ["ENDING", "differences", "judge_all", "load_report", "report_in"]

Json = dict[str, Any]
_GOOD = frozenset({"pass", "not-applicable"})
_NOT_JUDGED = ("not judged", "")
ENDING = ".report.json.xz"


def judge_all(bench: Bench, wanted: Sequence[tuple[MachineDescription, str]], out: Path) -> int:
    """Judge each pair into OUT/MACHINE-KERNEL.report.json.xz and compare; return how many are not as they should be."""
    out.mkdir(parents=True, exist_ok=True)
    wrong = 0
    for index, (machine, series) in enumerate(wanted, 1):
        name = f"{machine.name}-{series}"
        with tempfile.TemporaryDirectory(prefix="witness-") as folder:
            profile = write_profile(machine, Path(folder))
            description = machine.for_guest(series, "judge", rates=counting_rates(profile, series))
            answer = bench.run(machine, series, description, report_in, out / f"{name}.failed")
            if answer is None:
                wrong += 1
                continue
            report, seconds = answer
            report = {"machine": machine.name, "kernel": series, **report}
            write_report(out / f"{name}{ENDING}", report)
            found = differences(report, verdicts_of_twin(profile, series))
        wrong += bool(found)
        here, careful = counts_in(report["report"]), counts_in(report["careful"])
        tell(f"{index} of {len(wanted)}: {name}: {here}; careful: {careful}; {len(found)} to explain, {seconds:.0f} s")
        for line in found:
            tell(f"   {line}")
    tell(f"{len(wanted)} machines judged; {wrong} are not as their twins, or not right")
    return wrong


def report_in(lines: str) -> Json:
    """Return the report among the lines of a virtual machine."""
    reports = [line for line in said_in(lines) if line.get("op") == "report"]
    if not reports:
        judged = [line["id"] for line in said_in(lines) if line.get("op") == "verdict"]
        raise StepError(f"no report came back; the last clause judged was {judged[-1] if judged else 'none'}")
    last = dict(reports[-1])
    del last["op"]
    return {"kernel_release": last.pop("kernel"), **last}


def counts_in(report: Json | None) -> str:
    """Return how many there are of each verdict, as words."""
    counts = Counter(result["verdict"] for result in report["results"]) if report else Counter()
    return ", ".join(f"{counts[word]} {word}" for word in sorted(counts)) or "none"


def differences(report: Mapping[str, Any], twin: Mapping[str, tuple[str, str]]) -> list[str]:
    """Return a line for each clause that is neither pass nor not-applicable, or that the twin has another word for.

    The careful run may skip what the twin passes, and nothing else; it leaves the registers as they were.
    """
    found = []
    kernel = _verdicts(report["report"])
    for clause in sorted({*kernel, *twin}):
        here, there = kernel.get(clause, _NOT_JUDGED), twin.get(clause, _NOT_JUDGED)
        if here[0] != there[0] or here[0] not in _GOOD:
            found.append(f"{clause}: the kernel {_told(here)}, the twin {_told(there)}")
    for clause, careful in _verdicts(report["careful"]).items():
        there = twin.get(clause, _NOT_JUDGED)
        if careful[0] not in (*_GOOD, "skip") or (careful[0] == "pass" and there[0] != "pass"):
            found.append(f"{clause}: the careful run {_told(careful)}, the twin {_told(there)}")
    if report["careful_status"] or report["registers_changed"]:
        changed = "did not leave" if report["registers_changed"] else "left"
        found.append(f"the careful run ended with {report['careful_status']} and {changed} the registers as they were")
    return found


def _verdicts(report: Json | None) -> dict[str, tuple[str, str]]:
    return {result["id"]: (result["verdict"], result["reason"]) for result in (report or {"results": ()})["results"]}


def _told(verdict: tuple[str, str]) -> str:
    return f"{verdict[0]} ({verdict[1]})" if verdict[1] else verdict[0]


def write_report(path: Path, report: Json) -> None:
    """Write a report; the same one gives the same bytes."""
    text = json.dumps(report, indent=0, sort_keys=True) + "\n"
    write_atomically(path, lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))


def load_report(path: Path) -> Json:
    """Read one; `WitnessError` where it is none."""
    try:
        report: Json = json.loads(lzma.decompress(path.read_bytes()))
    except (OSError, ValueError, lzma.LZMAError) as error:
        raise WitnessError(f"{path}: is no report: {error}") from None
    return report
