# SPDX-License-Identifier: Apache-2.0
"""`conformance matrix`: tools by cases, each tool by its public command or interface on machines that are not there.

Tools that are not installed are named and left out. Each is judged by processes of its own, several side by side: those
with a clock of their own take real seconds, and mostly wait.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from threading import Lock
from typing import Any, Self

import click

from raplica_conformance.matrix_report import Matrix, check_matrix_path, render, render_failures, write_matrix
from raplica_conformance.matrix_results import Result, Results, ResultsError, origin
from raplica_conformance.matrix_show import Shown, progress
from raplica_conformance.matrix_tools import QUICK, Tool, tools_named
from raplica_conformance.printable import printable
from raplica_conformance.readers.adapter import AdapterError
from raplica_conformance.reports.writing import ReportError
from raplica_conformance.selection import nearest
from raplica_fixtures.cases import case_ids

__all__ = ["MatrixOptions", "run_matrix"]

#: A tool with a clock of its own is judged by so many processes at once.
_TIMED_SHARES = 2
_END_S = 15.0
#: The command of the process that judges, but for what it is to do.
WORKER = [sys.executable, "-m", "raplica_conformance.matrix_worker"]


@dataclass(frozen=True, slots=True)
class MatrixOptions:
    """The command line of `conformance matrix`, option by option.

    Attributes:
        tools: names of tools, adapters or files of adapters; all tools where there are none.
        cases: ids or globs; the quick set where there are none.
        full: every case.
        results: where results are kept as they come, and from where a run goes on; None keeps nothing.
        afresh: forget what is in `results`.
        reports: files to write: .md, .txt, .json or .html.
        jobs: how many processes judge at once; 0 for twice the processors and two.
        as_json: print the JSON report alone.
    """

    tools: tuple[str, ...] = ()
    cases: tuple[str, ...] = ()
    full: bool = False
    results: Path | None = None
    afresh: bool = False
    reports: tuple[Path, ...] = ()
    jobs: int = 0
    as_json: bool = False


@dataclass(frozen=True, slots=True)
class _Errand:
    """What one process is to do."""

    tool: Tool
    version: str
    cases: tuple[str, ...]


def run_matrix(options: MatrixOptions) -> int:
    """Measure, print and write what came out; the exit status.

    0: it was measured, whatever the verdicts; 3: something broke, or no tool is here. Raises click.UsageError, in one
    line, for everything that was asked in a wrong way.
    """
    try:
        for path in options.reports:
            check_matrix_path(path)
        tools = tools_named(options.tools)
        cases = _cases(options)
        results = Results(options.results, afresh=options.afresh)
    except (AdapterError, ReportError, ResultsError) as error:
        raise click.UsageError(str(error)) from error
    missing = {tool.name: tool.missing for tool in tools}
    versions = {tool.name: tool.version_here() for tool in tools if not missing[tool.name]}
    try:
        _measure([tool for tool in tools if tool.name in versions], versions, cases, results, options)
    finally:
        results.write()
    matrix = _matrix(tools, missing, versions, cases, results)
    if options.as_json:
        click.echo(render(matrix, "json"), nl=False)
    else:
        click.echo(printable_text(render(matrix, "txt")), nl=False)
        click.echo(printable_text(render_failures(matrix)), nl=False)
    try:
        for path in options.reports:
            write_matrix(path, matrix)
    except ReportError as error:
        raise click.UsageError(str(error)) from error
    words = {result.verdict for result in matrix.results.values()}
    return 0 if words - {"broken", "skip"} and "broken" not in words else 3


def printable_text(text: str) -> str:
    """Lines without what a terminal would obey."""
    return "".join(f"{printable(line)}\n" for line in text.splitlines())


def _cases(options: MatrixOptions) -> tuple[str, ...]:
    known = case_ids()
    if options.full and options.cases:
        raise click.UsageError("--full is every case; leave the names of cases out, or --full")
    if options.full:
        return known
    for pattern in options.cases:
        if not any(fnmatchcase(case, pattern) for case in known):
            raise click.UsageError(f"--case {pattern}: there is no such case{nearest(pattern, known)}")
    wanted = options.cases or QUICK
    return tuple(case for case in known if any(fnmatchcase(case, pattern) for pattern in wanted))


def _measure(
    tools: Sequence[Tool], versions: dict[str, str], cases: Sequence[str], results: Results, options: MatrixOptions
) -> None:
    """Judge what has not been judged yet."""
    errands: list[_Errand] = []
    kept = 0
    for tool in tools:
        origins = {case: origin(tool, versions[tool.name], case) for case in cases}
        left = tuple(case for case in cases if results.of(tool.name, case, origins[case]) is None)
        kept += len(cases) - len(left)
        shares = _TIMED_SHARES if tool.is_timed else 1
        errands += [_Errand(tool, versions[tool.name], left[share::shares]) for share in range(shares)]
    # The slow ones first: what is quick fills the gaps.
    errands = sorted((one for one in errands if one.cases), key=lambda one: not one.tool.is_timed)
    total = sum(len(errand.cases) for errand in errands)
    with progress(total, kept, quiet=options.as_json) as show, _Workers() as workers:
        jobs = options.jobs or 2 * (os.cpu_count() or 1) + 2
        with ThreadPoolExecutor(jobs) as pool:
            futures = [pool.submit(_run, errand, workers, results, show) for errand in errands]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                workers.end()
                raise


def _run(errand: _Errand, workers: "_Workers", results: Results, show: Callable[[Shown], None]) -> None:
    """One process, and what it says until it ends."""
    left = list(errand.cases)
    for document in workers.lines(errand):
        result = Result(
            tool=errand.tool.name,
            version=errand.version,
            origin=origin(errand.tool, errand.version, document["case"]),
            **document,
        )
        results.add(result)
        left.remove(result.case)
        show(Shown(errand.tool.title, result.case, result.verdict))
    if workers.ended:
        return
    for case in left:
        reason = "the process that judges ended without a verdict"
        # Without an origin it is judged again the next time.
        results.add(Result(errand.tool.name, errand.version, case, "", "broken", reason, 0.0, ""))
        show(Shown(errand.tool.title, case, "broken"))


class _Workers:
    """The processes that judge; none is left when this ends."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = Lock()
        self.ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.end()

    def lines(self, errand: _Errand) -> Iterator[dict[str, Any]]:
        """What a process says, document by document."""
        with self._lock:
            if self.ended:
                return
            # In a group of its own: a terminal's Ctrl-C is for this process, which tells them.
            worker = subprocess.Popen(  # noqa: S603 - this package
                [*WORKER, json.dumps(errand.tool.as_json()), *errand.cases],
                stdout=subprocess.PIPE,
                stdin=subprocess.DEVNULL,
                text=True,
                process_group=0,
            )
            self._running.add(worker)
        try:
            for line in worker.stdout or ():
                yield json.loads(line)
        finally:
            self._end(worker)

    def end(self) -> None:
        """End all of them; each takes its machine away."""
        with self._lock:
            self.ended = True
            running = tuple(self._running)
        for worker in running:
            with suppress(ProcessLookupError):
                worker.send_signal(signal.SIGTERM)
        for worker in running:
            self._end(worker)

    def _end(self, worker: "subprocess.Popen[str]") -> None:
        try:
            worker.wait(_END_S)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
        with self._lock:
            self._running.discard(worker)
            if worker.stdout is not None and not worker.stdout.closed:
                with suppress(ValueError):
                    worker.stdout.close()


def _matrix(
    tools: Sequence[Tool], missing: dict[str, str], versions: dict[str, str], cases: Sequence[str], results: Results
) -> Matrix:
    found: dict[tuple[str, str], Result] = {}
    for tool in tools:
        for case in cases if tool.name in versions else ():
            result = results.of(tool.name, case, origin(tool, versions[tool.name], case)) or results.of(
                tool.name, case, ""
            )
            if result is not None:
                found[tool.name, case] = result
    return Matrix(tools=tuple(tools), versions=versions, missing=missing, cases=tuple(cases), results=found)
