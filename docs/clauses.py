# SPDX-License-Identifier: Apache-2.0
"""Write docs/clauses.md from the clauses themselves: `python docs/clauses.py`, or `tox -e clauses`.

The page is kept in the repository so that it can be read without building anything; a test compares the two.
"""

import inspect
import sys
from collections.abc import Mapping
from pathlib import Path

import jinja2

from raplica_conformance.clause import GROUPS, Clause, load_clauses

HERE = Path(__file__).resolve().parent
PAGE = HERE / "clauses.md"


def kernels(clause: Clause) -> str:
    """Say in words on which kernels the clause holds; empty where it holds on all."""
    first, before = clause.kernels
    parts = [f"from {first}" if first else "", f"before {before}" if before else ""]
    return " and ".join(part for part in parts if part)


def why(clause: Clause) -> str:
    """Return what the clause's own docstring says about it."""
    return inspect.cleandoc(clause.function.__doc__ or "")


def thread(address: str) -> str:
    """Shorten the address of a thread to OWNER/NAME#NUMBER where it is of that kind; else the address itself."""
    parts = address.removesuffix("/").split("/")
    if len(parts) == 7 and parts[5] in {"issues", "pull"}:
        return f"{parts[3]}/{parts[4]}#{parts[6]}"
    return address


def page(clauses: Mapping[str, Clause]) -> str:
    """Return the page's text: the clauses by group and id, the usual groups first."""
    groups: dict[str, list[Clause]] = {group: [] for group in GROUPS}
    for _, clause in sorted(clauses.items()):
        groups.setdefault(clause.group, []).append(clause)
    groups = {group: members for group, members in groups.items() if members}
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=False,  # noqa: S701 - the output is Markdown of our own words
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(kernels=kernels, thread=thread, why=why)
    return environment.get_template("clauses.md.j2").render(groups=groups, total=len(clauses))


if __name__ == "__main__":
    PAGE.write_text(page(load_clauses()), encoding="utf-8")
    sys.stdout.write(f"{PAGE}: written\n")
