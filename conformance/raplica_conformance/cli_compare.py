# SPDX-License-Identifier: Apache-2.0
"""`conformance compare`: two JSON reports, and whether anything got worse."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from raplica_conformance.cli_options import json_option, report_option
from raplica_conformance.printable import printable

if TYPE_CHECKING:
    from raplica_conformance.compare import Comparison

__all__ = ["compare"]

_ABOUT = """
\b
Examples: conformance compare before.json after.json
          conformance compare node-a.json node-b.json --report difference.html

\b
Exit status: 0 nothing is worse, 1 something is, 2 wrong usage (a file that is no report as well).
"""

#: A suite that has grown is no reason for thousands of lines.
_MOST_SHOWN = 20
_FORMATS = (".html", ".json")


@click.command(epilog=_ABOUT)
@click.argument("before", metavar="A.json", type=click.Path(path_type=Path))
@click.argument("after", metavar="B.json", type=click.Path(path_type=Path))
@report_option("Write the comparison: .html or .json.")
@json_option("Print one JSON document alone.")
def compare(before: Path, after: Path, *, reports: tuple[Path, ...], as_json: bool) -> None:
    """Compare two JSON reports: what broke, was mended, changed, is new, is gone."""
    from raplica_conformance.compare import MEANINGS, CompareError, load_report
    from raplica_conformance.compare import compare as compared
    from raplica_conformance.reports.writing import ReportError, write_whole

    try:
        for path in reports:
            _check(path)
        found = compared(load_report(before), load_report(after))
    except (CompareError, ReportError) as error:
        raise click.UsageError(str(error)) from error
    document = json.dumps(found.as_json(), indent=2) + "\n"
    if as_json:
        click.echo(document, nl=False)
    else:
        _show(found)
    for path in reports:
        text = document
        if path.suffix == ".html":
            from raplica_conformance.reports.page import render_page

            text = render_page(
                "comparison.html.j2", comparison=found, before=str(before), after=str(after), meanings=MEANINGS
            )
        try:
            write_whole(path, text)
        except ReportError as error:
            raise click.UsageError(str(error)) from error
    click.get_current_context().exit(1 if found.worse else 0)


def _check(path: Path) -> None:
    """Refuse what cannot be written before anything is read."""
    from raplica_conformance.reports.writing import check_place

    if path.suffix not in _FORMATS:
        raise click.UsageError(f"--report {path}: the name must end in {' or '.join(_FORMATS)}")
    check_place(path)


def _show(found: "Comparison") -> None:
    """Every change, of what is only there or not the first few, then the totals."""
    if found.subjects:
        click.echo(printable(f"{found.subjects[0]} before, {found.subjects[1]} now"))
    for kind, changes in found.kinds():
        most = _MOST_SHOWN if kind in ("new", "gone") else len(changes)
        for change in changes[:most]:
            was, now = change.before or "not there", change.after or "not there"
            click.echo(printable(f"{kind.upper():<8} {change.id} on {change.subject}: {was} -> {now}"))
            if change.reason:
                click.echo(printable(f"         {change.reason}"))
        if len(changes) > most:
            click.echo(f"{kind.upper():<8} {len(changes) - most} more; --json and --report name them all")
    totals = [f"{len(changes)} {kind}" for kind, changes in found.kinds() if changes]
    click.echo(", ".join([*totals, f"{found.same} the same"]))
