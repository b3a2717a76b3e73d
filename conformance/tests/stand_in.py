# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for other people's tools: programs to write, and what a driver answers of them."""

import json
from pathlib import Path
from typing import Any

import pytest


def answers(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def energies(answer: dict[str, Any]) -> dict[str, int | None]:
    assert answer["ok"] is True
    said = {zone["id"]: zone["energy_uj"] for zone in answer.get("zones", ())}
    return {**said, **({"total": answer["total_uj"]} if "total_uj" in answer else {})}


def program(folder: Path, name: str, source: str) -> Path:
    path = folder / name
    path.write_text(source)
    path.chmod(0o755)
    return path
