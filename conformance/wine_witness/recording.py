# SPDX-License-Identifier: Apache-2.0
"""A recording: a script with what was said to each step, as JSON that is read and compared line by line.

```text
{"format": 1, "name", "what", "wine", "mingw",
 "steps": [{"call": "CreateFile", "keep": "h", "path": …, "said": {"ok": false, "error": 2}, "departure": "…"}, …]}
```

Arguments stand beside `call`. Nothing of the day or the machine is in it: a second run gives the same file, but for
the versions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from wine_witness.failure import WitnessError
from wine_witness.step import Answer, Script, Step

__all__ = ["FOLDER", "Recording", "dump", "load", "load_all"]

FOLDER = Path(__file__).resolve().parents[2] / "fixtures" / "recordings" / "wine"
_FORMAT = 1
_OURS = ("call", "said", "departure")


@dataclass(frozen=True)
class Recording:
    """What came of a script, and by which versions."""

    script: Script
    answers: tuple[Answer, ...]
    wine: str
    mingw: str


def dump(recording: Recording) -> str:
    """Return the text of the file: the head, then a line for each step."""
    script = recording.script
    head = {
        "format": _FORMAT,
        "name": script.name,
        "what": script.what,
        "wine": recording.wine,
        "mingw": recording.mingw,
    }
    lines = [_line(_to_json(step, said)) for step, said in zip(script.steps, recording.answers, strict=True)]
    return _line(head)[:-1] + ',"steps":[\n' + ",\n".join(lines) + "\n]}\n"


def _line(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _to_json(step: Step, said: Answer) -> dict[str, object]:
    line: dict[str, object] = {"call": step.call, **step.arguments}
    if step.departure is not None:
        line["departure"] = step.departure
    return line | {"said": said}


def load(path: Path) -> Recording:
    """Read a file. `WitnessError` for what is no recording, with what is wrong."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] != _FORMAT:
            raise WitnessError(f"{path}: has format {found['format']}, this program reads {_FORMAT}: record it again")
        steps = tuple(_from_json(line) for line in found["steps"])
        script = Script(found["name"], found["what"], steps)
        return Recording(script, tuple(line["said"] for line in found["steps"]), found["wine"], found["mingw"])
    except OSError as error:
        raise WitnessError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise WitnessError(f"{path}: is no recording of Wine's: {error!r}: record it again") from None


def _from_json(line: dict[str, str | int]) -> Step:
    departure = line.get("departure")
    arguments = {key: value for key, value in line.items() if key not in _OURS}
    return Step(str(line["call"]), arguments, None if departure is None else str(departure))


def load_all(folder: Path = FOLDER) -> Iterator[Recording]:
    """Yield every recording of a folder, by name."""
    for path in sorted(folder.glob("*.json")):
        yield load(path)
