# SPDX-License-Identifier: Apache-2.0
"""Scripts are run under Wine, one after the other in the same prefix, and what was said is written down."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from wine_witness.failure import WitnessError
from wine_witness.images import build, compiler_version
from wine_witness.prefix import Prefix, wine_version
from wine_witness.recording import Recording, dump
from wine_witness.step import Script, answer

__all__ = ["record_all"]


def record_all(scripts: Iterable[Script], out: Path) -> None:
    """Write NAME.json for each script. `AbsentError` without wine or mingw-w64, before anything is made."""
    wine, mingw = wine_version(), compiler_version()
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="raplica-wine-") as folder, Prefix(Path(folder)) as prefix:
        build(prefix.drive / "raplica")
        for script in scripts:
            begin = time.monotonic()
            recording = Recording(script, _answers(script, prefix), wine, mingw)
            (out / f"{script.name}.json").write_text(dump(recording), encoding="utf-8")
            print(f"{script.name}: {len(script.steps)} steps, {time.monotonic() - begin:.1f} s", flush=True)


def _answers(script: Script, prefix: Prefix) -> tuple[dict[str, object], ...]:
    prefix.clear()
    said = []
    for number, step in enumerate(script.steps):
        try:
            said.append(answer(step, prefix))
        except WitnessError as error:
            raise WitnessError(f"{script.name}: step {number}: {error}") from None
    return tuple(said)
