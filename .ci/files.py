# SPDX-License-Identifier: Apache-2.0
"""Small mistakes in files: `python .ci/files.py [FILE...]`, a pre-commit hook and a part of `tox -e lint`.

Without names it looks at every text file of the checkout.
No trailing blanks, one line end at the end, no carriage returns, no merge marks, no large text, and the licence line
first in every source file.
"""

import sys
from pathlib import Path

MERGE_MARKS = (b"<<<<<<< ", b">>>>>>> ")
LARGE = 400_000
LICENCE = b"# SPDX-License-Identifier: Apache-2.0\n"
FOLDERS = (".", ".ci", "simulator/**", "conformance/**", "reference_impl/**", "fixtures/**", "docs/**")
TEXT = {".py", ".md", ".toml", ".ini", ".yaml", ".yml", ".json", ".j2", ".sh", ".xsd", "", ".typed"}
PLAIN = {"LICENSE", "docs/clauses.md"}


def mistakes(path: Path) -> list[str]:
    """Say what is wrong with one file, a line each."""
    data = path.read_bytes()
    found = []
    if len(data) > LARGE:
        found.append(f"{len(data)} bytes of text: does it belong into the repository?")
    if data and not data.endswith(b"\n"):
        found.append("does not end with a line end")
    if data.endswith(b"\n\n"):
        found.append("ends with an empty line")
    for number, line in enumerate(data.split(b"\n"), start=1):
        if line != line.rstrip(b" \t\r") and str(path) not in PLAIN:
            found.append(f"line {number} ends with a blank or a carriage return")
        if line.startswith(MERGE_MARKS):
            found.append(f"line {number} is a merge mark")
    if path.suffix == ".py" and not data.removeprefix(b"#!/usr/bin/env python3\n").startswith(LICENCE):
        found.append("does not begin with the licence line")
    return [f"{path}: {what}" for what in found]


def everything() -> list[Path]:
    """Return every text file of the checkout, without what tools leave behind."""
    files = {path for folder in FOLDERS for path in Path().glob(f"{folder}/*") if path.is_file()}
    kept = (p for p in files if p.suffix in TEXT and not {"__pycache__", "_build", ".hypothesis"} & set(p.parts))
    return sorted(p for p in kept if not p.name.startswith(".coverage"))


if __name__ == "__main__":
    told = [line for path in [Path(name) for name in sys.argv[1:]] or everything() for line in mistakes(path)]
    sys.stdout.writelines(f"{line}\n" for line in told)
    sys.exit(bool(told))
