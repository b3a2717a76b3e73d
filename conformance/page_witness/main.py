# SPDX-License-Identifier: Apache-2.0
"""The command: make the pages, look at each in both themes and sizes, and keep what came out."""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from page_witness.devtools import Browser, BrowserError, find_browser
from page_witness.looking import SIZES, look_at
from page_witness.samples import pages
from raplica_conformance.reports.page import TEMPLATES, source

__all__ = ["RECORDING", "main", "made_of"]

RECORDING = Path(__file__).with_name("recording.json")
_AXE = "axe-core@4"


def main(arguments: Sequence[str] | None = None) -> int:
    """Look, and write the recording where nothing is to be mended: 0; 1 where something is, or there is no browser."""
    parser = argparse.ArgumentParser(
        prog="witness.py", description="Look at the pages of the suite in a browser, and keep what came out."
    )
    parser.add_argument("--axe", type=Path, metavar="FILE", help="axe.min.js (else npm installs axe-core for this run)")
    parser.add_argument("--screenshots", type=Path, metavar="DIR", help="keep pages and pictures of them here")
    asked = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory(prefix="raplica-pages-") as folder:
            out = asked.screenshots or Path(folder)
            out.mkdir(parents=True, exist_ok=True)
            axe = asked.axe or _installed(Path(folder))
            recording = _look(out, axe.read_text(encoding="utf-8"), shots=asked.screenshots is not None)
    except (BrowserError, OSError) as error:
        sys.stderr.write(f"page witness: {error}\n")
        return 1
    bad = {name: seen for name, seen in recording["seen"].items() if not seen["is_good"]}
    if bad:
        sys.stdout.write(json.dumps(bad, indent=2) + "\n")
        return 1
    RECORDING.write_text(json.dumps(recording, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(f"{len(recording['seen'])} looks, nothing to mend: {RECORDING.name} is written\n")
    return 0


def made_of() -> str:
    """A hash of all that the pages are made of."""
    digest = hashlib.sha256()
    for name in TEMPLATES:
        digest.update(f"{name}\0{source(name)}\0".encode())
    return digest.hexdigest()


def _look(out: Path, axe: str, *, shots: bool) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    with Browser(find_browser()) as browser:
        version = browser.version
        for name, text in pages():
            page = out / f"{name}.html"
            page.write_text(text, encoding="utf-8")
            for size in SIZES:
                for theme in ("light", "dark"):
                    key = f"{name}, {size[0]} px, {theme}"
                    found = look_at(browser, page.resolve(), axe, size, dark=theme == "dark")
                    seen[key] = {"is_good": found.is_good, **asdict(found)}
                    if shots:
                        browser.open(page.resolve().as_uri())
                        (out / f"{name}-{size[0]}-{theme}.png").write_bytes(browser.screenshot())
    words = axe.partition("axe v")[2].split()
    return {"templates": made_of(), "browser": version, "axe": words[0] if words else "", "seen": seen}


def _installed(folder: Path) -> Path:
    """axe-core as npm installs it; it is no part of this project."""
    npm = shutil.which("npm")
    if npm is None:
        raise BrowserError("there is no npm in PATH: apt-get install npm, or give --axe axe.min.js")
    command = [npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), _AXE]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise BrowserError(f"npm cannot install {_AXE}: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
    return folder / "node_modules" / "axe-core" / "axe.min.js"
